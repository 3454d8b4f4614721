"""Chains whose mistakes are known, on puzzles that no student is taught, to try a classifier on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from random import Random

from editlib import puzzles
from editlib.mistakes.classifiers import Chain

SPLITS = ("test", "longer", "families")
PARAPHRASE = 0.3  # share of steps worded another way than usual; ours, twice that of profile mini


def exam(
    per_family: int, seed: int = 0, splits: Sequence[str] = SPLITS
) -> tuple[list[Chain], list[Chain], dict[str, Mapping]]:
    """Right chains, wrong chains with one slip each, and what is known of all of them.

    Of every question the right chain and, for each kind that can strike in it, one with a slip of
    that kind at a random step. The truth lies under the completion of a chain.
    """
    right, wrong, truths = [], [], {}
    for question in (q for split in splits for q in puzzles.questions(split, per_family)):
        puzzle, rng = puzzles.read_question(question.text), Random(f"{seed}|{question.id}")
        places: dict[str, list] = {"": []}  # "": the right chain
        for site in puzzles.sites(puzzle):
            places.setdefault(site.kind, []).append(site)
        for kind, sites in places.items():
            voice = puzzles.Voice(question.text, PARAPHRASE, rng)
            solution = puzzles.reason(puzzle, voice, [rng.choice(sites)] if kind else [])
            key = f"{question.id}#{kind or 'right'}"
            truths[key] = {"mistakes": [asdict(each) for each in solution.mistakes]}
            side = wrong if solution.mistakes else right
            side.append(Chain(key, question.text, solution.text, key))
    return right, wrong, truths
