"""The embedded benchmark: puzzles in plain English, solved step by step, with known mistakes."""

from editlib.puzzles.benchmark import (
    FAMILIES,
    HELD_OUT,
    IN_DOMAIN,
    SPLITS,
    Mistake,
    Puzzle,
    Solution,
    Span,
    UnknownPuzzle,
    corpus,
    questions,
    read_question,
    reason,
    sites,
    split_of,
)
from editlib.puzzles.family import Family
from editlib.puzzles.reasoner import Site, Voice

__all__ = [
    "FAMILIES",
    "HELD_OUT",
    "IN_DOMAIN",
    "SPLITS",
    "Family",
    "Mistake",
    "Puzzle",
    "Site",
    "Solution",
    "Span",
    "UnknownPuzzle",
    "Voice",
    "corpus",
    "questions",
    "read_question",
    "reason",
    "sites",
    "split_of",
]
