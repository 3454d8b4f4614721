"""Mistakes of any kind with a `plant`, put into right chains, with the truth about them beside.

The chain that comes back is compared with the right one, word by word: where the two first differ
is the mistake, where they differ later its consequences.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

from Levenshtein import opcodes

from editlib import puzzles
from editlib.answers import matches, read_answer
from editlib.errors import KitError
from editlib.keysteps import WordSegmenter
from editlib.mistakes.kinds import BadKind, Kind
from editlib.records import DualCoT


def misread(question: str, as_if: str, chain: str) -> str | None:
    """The chain of one who reads another question, in the words of a chain of the real one.

    What is misread is so carried through to the answer. None where as_if asks no puzzle.

    >>> misread("What is the value of 2 + 3 * 2?", "What is the value of 2 + 4 * 2?",
    ...         "We have 2 + 3 * 2. Therefore, the answer is 8.").startswith("We have 2 + 4 * 2.")
    True
    """
    try:
        puzzle = puzzles.read_question(as_if)
    except puzzles.UnknownPuzzle:
        return None
    return puzzles.reason(puzzle, puzzles.Voice(question, like=chain)).text


def planted(
    kind: Kind, pairs: Sequence[DualCoT], truths: Mapping[str, Mapping], seed: int = 0
) -> tuple[list[DualCoT], dict[str, dict]]:
    """Pairs whose wrong side holds one mistake of this kind, and the truth about each.

    pairs: those whose correct sides are used, where the teacher knows of no mistake in them.
    Left out is a question in which the kind cannot be planted, or to which the planted chain
    gives the right answer. All are of D+dual: a pair of D-dual begins with a CoT that the teacher
    got wrong by itself, and a planted mistake is nobody's own. The truth lies under
    wrong_completion, as pipeline.known_mistakes has it; but it is told by an edit distance over
    words (truth), so marks of edit distance have a precision near 1 on it by construction, and a
    recall that is too kind. Raises KitError for a kind without a way to plant it, BadKind where its
    plant fails or returns anything but a text or None.
    """
    if kind.plant is None:
        raise KitError(f"kind {kind.name!r} has no plant; give its entry one: Kind(..., plant=...)")
    made, known = [], {}
    for pair in {pair.question_id: pair for pair in pairs}.values():
        if truths.get(pair.correct_completion, {"mistakes": True})["mistakes"]:
            continue
        rng = Random(f"{seed}|{kind.name}|{pair.question_id}")
        text = _planted(kind, pair, rng)
        answer = read_answer(text) if text else None
        if answer is None or matches(answer, pair.correct_answer):
            continue
        key = f"planted/{kind.name}/{seed}/{pair.question_id}"
        id = f"{pair.question_id}#{kind.short}"
        own = {"subset": "D+dual", "wrong": text, "wrong_answer": answer, "wrong_completion": key}
        made.append(replace(pair, id=id, **own))
        known[key] = truth(kind.name, pair.correct, text)
    return made, known


def _planted(kind: Kind, pair: DualCoT, rng: Random) -> str | None:
    """The right chain of a pair with a mistake in it."""
    where = f"kind {kind.name!r}, correct CoT of pair {pair.id!r}: its plant"
    try:
        text = kind.plant(pair.question, pair.correct, rng)
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
        raise BadKind(f"{where} raised {found}; expected a wrong chain or None") from error
    if text is not None and not isinstance(text, str):
        raise BadKind(f"{where} returned {text!r}; expected a wrong chain (str) or None")
    return text


def truth(kind: str, correct: str, wrong: str) -> dict[str, list[dict]]:
    """Where a planted mistake lies, and what follows from it: mistakes and consequences.

    A mistake that leaves something out lies on the word before which it is missing. Raises
    KitError where the two chains do not differ.
    """
    segment = WordSegmenter()
    left, right = segment(correct), segment(wrong)
    changes = [each for each in opcodes(left.ids, right.ids) if each[0] != "equal"]
    if not changes:
        raise KitError(f"a planted mistake of kind {kind!r} changes nothing in {wrong[:60]!r}")
    spans = [_span(right.spans, start, end) for _, _, _, start, end in changes]
    step = wrong[: spans[0][0]].count(". ")
    mistake = {"kind": kind, "step": step, "start": spans[0][0], "end": spans[0][1]}
    later = [{"start": start, "end": end} for start, end in spans[1:]]
    return {"mistakes": [mistake], "consequences": later}


def _span(words: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """The characters of words[start:end], or of the word at start where there are none."""
    start = min(start, len(words) - 1)
    return words[start][0], words[max(end - 1, start)][1]
