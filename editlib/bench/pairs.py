"""Dual CoTs to measure on: those of the puzzles, the published ones, and made-up ids."""

import random
from collections.abc import Sequence
from functools import partial
from itertools import accumulate

from editlib import benchmarks, keysteps, prompts, puzzles
from editlib.records import DualCoT

VOCABULARY = 32_000
RESERVED = 2  # ids for padding and the end


def of_puzzles(per_family: int) -> list[DualCoT]:
    """Training questions with the right chain and one with a slip, each worded in its own way."""
    rng = random.Random("bench")
    return [_puzzle_pair(question, rng) for question in puzzles.questions("train", per_family)]


def _puzzle_pair(question, rng: random.Random) -> DualCoT:
    puzzle = puzzles.read_question(question.text)
    slip = rng.choice(puzzles.sites(puzzle))
    right, wrong = (
        puzzles.reason(puzzle, puzzles.Voice(question.text, 0.15, rng), slips)
        for slips in ((), (slip,))
    )
    answers = right.answer, wrong.answer
    sides = right.text, wrong.text
    names = question.id, question.id, question.task, "D+dual", question.text
    return DualCoT(*names, *sides, *answers, "", "")


def published() -> list[DualCoT]:
    """The real dual CoTs of the data folder; none without one."""
    try:
        return benchmarks.published_duals()
    except benchmarks.MissingData:
        return []


def rows(duals: Sequence[DualCoT]) -> list[dict]:
    """Pairs as KRSL takes them, with one id for each word or mark: about what a large vocabulary
    makes of them."""

    def small(ids: Sequence[int]) -> list[int]:
        return [RESERVED + i % (VOCABULARY - RESERVED) for i in ids]

    made = tokenized(duals, keysteps.WordSegmenter())
    return [
        row | {name: small(row[name]) for name in ("prompt", "correct", "wrong")} for row in made
    ]


def tokenized(duals: Sequence[DualCoT], segment: keysteps.Segmenter) -> list[dict]:
    """Pairs as KRSL takes them, in the units of a segmenter."""
    asked = segment.ids([prompts.student(pair.question) for pair in duals])
    sides = ["correct_ids", "correct_key", "wrong_ids", "wrong_key"]
    marks = keysteps.mark(duals, segment)[sides].rename(columns=lambda n: n.removesuffix("_ids"))
    return [
        {"prompt": list(prompt)} | row
        for prompt, row in zip(asked, marks.to_dict("records"), strict=True)
    ]


def made_up(tokens: int, n: int) -> list[tuple[list[int], list[int]]]:
    """Sides of so many made-up ids that part at a third; from there one in ten is drawn anew.

    As with the words of a text, the second id comes half as often as the first, the third a third
    as often (Zipf's law).
    """
    rng, law = random.Random(tokens), list(accumulate(1 / r for r in range(1, VOCABULARY + 1)))
    draw = partial(rng.choices, range(VOCABULARY), cum_weights=law)
    pairs = []
    for _ in range(n):
        correct = draw(k=tokens)
        changed = [i >= tokens // 3 and rng.random() < 0.1 for i in range(tokens)]
        wrong = [draw()[0] if new else token for new, token in zip(changed, correct, strict=True)]
        pairs.append((correct, wrong))
    return pairs
