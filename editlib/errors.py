"""Errors that a user of the kit can do something about."""

from collections.abc import Iterable
from difflib import get_close_matches


class KitError(ValueError):
    """Says what was found, what was expected, where, and what to do next."""


MOST = 12  # names in a message
LISTS = {"method": "METHODS in editlib/methods.py"}  # of names that are too many for it, by kind


def unknown(kind: str, name: str, valid: Iterable[str]) -> str:
    """The message for a name that is none of the valid ones; those nearest to it come first.

    Of a longer list it shows the nearest few and says where the whole one stands, if that is known.

    >>> unknown("split", "tset", ["train", "test"])
    "unknown split 'tset'; valid, nearest first: test, train"
    """
    names = list(valid)
    shown = len(names) if len(names) <= MOST or kind not in LISTS else MOST // 2
    nearest = get_close_matches(name, names, n=max(shown, 1), cutoff=0.0)
    found = f"unknown {kind} {name!r}; valid, nearest first: "
    if shown == len(names):
        return found + ", ".join(nearest)
    # names of methods hold commas
    return found + f"{'; '.join(nearest)} (and {len(names) - shown} more, see {LISTS[kind]})"
