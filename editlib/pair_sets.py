"""Sets of pairs that differ in one respect: how many, from which subset, where the sides part.

A set is a function of Ddual. Which pairs it takes is decided once, whatever the seed of a student:
students of one set learn from the same pairs.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import TypeVar

from editlib import keysteps
from editlib.answers import MARKER, before_answer
from editlib.records import DualCoT

Item = TypeVar("Item")


@dataclass(frozen=True)
class PairSet:
    """How a set is made of all pairs, and its size by name: sets of one size can be compared."""

    make: Callable[[Sequence[DualCoT]], list[DualCoT]]
    size: str | None = None  # None: as many as there are


def part(duals: Sequence[DualCoT], share: float) -> list[DualCoT]:
    """This share of the pairs, and of those of each task and subset; a smaller part lies within."""
    groups = {(pair.task, pair.subset): [] for pair in duals}
    for pair in _shuffled(duals):
        groups[pair.task, pair.subset].append(pair)
    taken = {pair.id for pair in _spread(groups.values())[: round(share * len(duals))]}
    return [pair for pair in duals if pair.id in taken]


def mixed(duals: Sequence[DualCoT], share: float) -> list[DualCoT]:
    """Equally many pairs of each task whatever the share of D-dual; in each, what both can give."""
    found = {pair.task: {"D+dual": [], "D-dual": []} for pair in duals}
    for pair in _shuffled(duals):
        found[pair.task][pair.subset].append(pair)
    places = _spread([list(zip(*sides.values(), strict=False)) for sides in found.values()])
    minus = round(share * len(places))
    taken = {place[n < minus].id for n, place in enumerate(places)}
    return [pair for pair in duals if pair.id in taken]


def answer_only(duals: Sequence[DualCoT], share: float) -> list[DualCoT]:
    """All pairs; in this share of them the wrong side goes the right path to its wrong answer.

    Such a twin has no mistaken step: a teacher that copies the path and changes the conclusion.
    """
    changed = {pair.id for pair in part(duals, share)}
    return [_copied(pair) if pair.id in changed else pair for pair in duals]


def _copied(pair: DualCoT) -> DualCoT:
    wrong = f"{before_answer(pair.correct)}{MARKER} {pair.wrong_answer}."
    return replace(pair, wrong=wrong, wrong_completion="")  # no teacher wrote it


def _shuffled(duals: Iterable[DualCoT]) -> list[DualCoT]:
    """In an order that the ids alone decide."""
    return sorted(duals, key=lambda pair: Random(pair.id).random())


def _spread(groups: Iterable[Sequence[Item]]) -> list[Item]:
    """The items of all groups in one order: every beginning of it holds its share of each group."""
    placed = [((n + 0.5) / len(group), item) for group in groups for n, item in enumerate(group)]
    return [item for _, item in sorted(placed, key=lambda each: each[0])]


PAIR_SETS = {
    "a quarter of the pairs": PairSet(partial(part, share=0.25), "a quarter"),
    "half of the pairs": PairSet(partial(part, share=0.5), "half"),
    "no D-dual": PairSet(partial(mixed, share=0.0), "as many as both subsets can give"),
    "half D-dual": PairSet(partial(mixed, share=0.5), "as many as both subsets can give"),
    "all D-dual": PairSet(partial(mixed, share=1.0), "as many as both subsets can give"),
    "half answer-only pairs": PairSet(partial(answer_only, share=0.5)),
    "answer-only pairs": PairSet(partial(answer_only, share=1.0)),
}


def rows_of(
    duals: Sequence[DualCoT],
    rows: Iterable[dict],
    segment: keysteps.Segmenter,
    ties: keysteps.Ties,
) -> list[dict]:
    """The rows (id, prompt, ids and key marks of both sides) of these pairs, marked by their texts.

    rows: of all pairs. Those of other pairs are left out.
    """
    sides = ["correct_ids", "correct_key", "wrong_ids", "wrong_key"]
    marks = keysteps.mark(duals, segment, ties).set_index("id")[sides]
    found = marks.set_axis([name.removesuffix("_ids") for name in sides], axis=1).to_dict("index")
    return [row | found[row["id"]] for row in rows if row["id"] in found]
