"""Errors that a user of the kit can do something about."""

from collections.abc import Iterable
from difflib import get_close_matches


class KitError(ValueError):
    """Says what was found, what was expected, where, and what to do next."""


def unknown(kind: str, name: str, valid: Iterable[str]) -> str:
    """The message for a name that is none of the valid ones; those nearest to it come first.

    >>> unknown("split", "tset", ["train", "test"])
    "unknown split 'tset'; valid, nearest first: test, train"
    """
    names = list(valid)
    nearest = get_close_matches(name, names, n=len(names) or 1, cutoff=0.0)
    return f"unknown {kind} {name!r}; valid, nearest first: {', '.join(nearest)}"
