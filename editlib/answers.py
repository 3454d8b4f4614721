"""Reading the answer out of a chain of thought, and comparing it with the gold one."""

MARKER = "the answer is"  # as in "Therefore, the answer is X." and "So the answer is X."


def read_answer(text: str) -> str | None:
    """What follows the last marker, without the full stop; None where nothing can be read.

    Everything up to the end of the text belongs to the answer: text that rambles on after its
    answer is not forgiven.

    >>> read_answer("5 minus 2 is 3. Therefore, the answer is (B).")
    '(B)'
    """
    _, marker, rest = text.rpartition(MARKER)
    return rest.strip().removesuffix(".").rstrip() or None if marker else None


def matches(read: str | None, gold: str) -> bool:
    """Whether an answer equals the gold one, letter for letter; an unread one never does."""
    return read == gold
