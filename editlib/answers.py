"""Reading the answer out of a chain of thought, and comparing it with the gold one.

Two ways. `strict` is the rule behind the published BBH accuracies: what follows the last marker,
letter for letter. `lenient` also reads what a person would: "B." or the text of an option for
"(B)", "1,234" for 1234, a boxed answer. It never takes back a strict match; where it cannot tell,
it says what strict says. Puzzles are read strictly, real benchmarks leniently.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Literal

import pandas as pd

from editlib import reading
from editlib.records import Question

MARKER = "the answer is"  # as in "Therefore, the answer is X." and "So the answer is X."
Mode = Literal["strict", "lenient"]


def read_answer(text: str) -> str | None:
    """What follows the last marker, without the full stop; None where nothing can be read.

    The strict rule. Everything up to the end of the text belongs to the answer: text that rambles
    on after its answer is not forgiven.

    >>> read_answer("5 minus 2 is 3. Therefore, the answer is (B).")
    '(B)'
    """
    _, marker, rest = text.rpartition(MARKER)
    return rest.strip().removesuffix(".").rstrip() or None if marker else None


def states_answer(text: str, mode: Mode) -> bool:
    """Whether a text says in a form known to the mode that its answer follows."""
    return read_answer(text) is not None or (mode == "lenient" and reading.cued(text))


def matches(read: str | None, gold: str) -> bool:
    """Whether an answer equals the gold one, letter for letter; an unread one never does."""
    return read == gold


def mode_of(question: Question) -> Mode:
    """How answers to a question are read unless told: puzzles strictly, all else leniently."""
    return mode_for(question.benchmark)


def mode_for(benchmark: str) -> Mode:
    """The same for all questions of a benchmark."""
    return "strict" if benchmark == "puzzles" else "lenient"


def read_for(question: Question, text: str, mode: Mode | None = None) -> str | None:
    """The answer that a text gives to a question; None where none can be read.

    Leniently, an answer that can be told is written as the gold ones of its kind are: "(B)",
    "1234", "Yes". Of the gold answer only its kind is used. mode None: that of mode_of.
    """
    strict = read_answer(text)
    if (mode or mode_of(question)) == "strict":
        return strict
    before, _, after = text.rpartition(MARKER)
    later = reading.cued(after)  # such as "No. Answer: (B)"
    told = reading.found(question, text) if later or not strict else None
    sure = strict and not reading.supposed(before, MARKER)
    return told or (reading.told(question, strict) if sure else None) or strict


def agrees(question: Question, read: str | None, mode: Mode | None = None) -> bool:
    """Whether an answer read is the gold one; numbers by value, words whatever their case."""
    if read is None or (mode or mode_of(question)) == "strict":
        return matches(read, question.answer)
    return matches(read, question.answer) or reading.same(
        reading.kind(question), read, question.answer
    )


def before_answer(text: str) -> str:
    """A chain without its answer: up to the last marker or other cue; all of it if there is none.

    >>> before_answer("2 is 2. **Answer:** 2")
    '2 is 2. **'
    """
    marker, cue = text.rfind(MARKER), reading.last_cue(text)
    end = cue if marker < 0 or cue > marker + len(MARKER) else marker
    return text if end < 0 else text[:end]


def misses(question: Question, read: str | None, mode: Mode | None = None) -> bool:
    """Whether an answer read is plainly another one than the gold one.

    Leniently, "(A) or (B)" neither agrees with (B) nor misses it, and "twelve" may be 12.
    """
    if read is None or agrees(question, read, mode):
        return False
    if (mode or mode_of(question)) == "strict":
        return True
    if reading.told(question, read) is not None or re.fullmatch(r"\([A-Z]\)", read):
        return True  # a lone letter too that is no option
    worded = reading.kind(question) in ("text", "brackets")  # "empty" closes no bracket
    return worded and not reading.mentions(read, question.answer)


def differences(questions: Iterable[Question], texts: Mapping[str, str]) -> pd.DataFrame:
    """The texts (by question id) that strict and lenient read differently, one a row.

    None for puzzles, which are read strictly. Columns: question, gold, strict, lenient (what was
    read; None: nothing), strict_right, lenient_right, end (the last 160 characters of the text).
    """
    rows = []
    for question in questions:
        if question.id not in texts or mode_of(question) == "strict":
            continue
        text = texts[question.id]
        read = {mode: read_for(question, text, mode) for mode in ("strict", "lenient")}
        if read["strict"] != read["lenient"]:
            right = {f"{mode}_right": agrees(question, read[mode], mode) for mode in read}
            row = {"question": question.id, "gold": question.answer, **read, **right}
            rows.append({**row, "end": text[-160:]})
    columns = ["question", "gold", "strict", "lenient", "strict_right", "lenient_right", "end"]
    return pd.DataFrame(rows, columns=columns)
