"""The registry of kinds of mistakes. A new kind is one entry; all that counts kinds then has it."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from random import Random

import pandas as pd

from editlib.errors import KitError, unknown
from editlib.mistakes import rules

NONE, UNREAD = "none", "unread"  # no mistake found; a judge's reply that cannot be read


class UnknownTruth(KitError):
    """Nothing, or something else than expected, is known about the mistakes of a completion."""


class BadKind(KitError):
    """An entry of the registry that clashes with another one, or whose rule or plant fails."""


Rule = Callable[[str, str], Iterable[tuple[int, int, str]]]  # (question, text) -> start, end, why
Plant = Callable[[str, str, Random], str | None]  # (question, right chain) -> wrong chain, if any


@dataclass(frozen=True)
class Kind:
    """A kind of mistake; rule finds it without an LLM, plant puts it into a right puzzle chain."""

    name: str
    short: str  # the label in tables and figures; see register() for what it may hold
    description: str  # for the judge, a noun phrase
    rule: Rule | None = None
    plant: Plant | None = None


KINDS: dict[str, Kind] = {}  # in the order of every table
_NO_KINDS = (NONE, UNREAD, "control", "no second phase")  # what tables call something else
PAPERS = ("logical", "knowledge", "calculation", "other")  # of Table 6; they stay as they are


def register(kind: Kind) -> Kind:
    """Add a kind, or replace the one of that name.

    Raises BadKind where the name is that of a kind of the paper, where another kind has its label,
    or where the label is none (is_label).
    """
    if kind.name in PAPERS and kind.name in KINDS:
        raise BadKind(f"kind {kind.name!r} is one of the paper's own; choose another name")
    taken = {*_NO_KINDS, *(other.short for name, other in KINDS.items() if name != kind.name)}
    if kind.short.casefold() in map(str.casefold, taken):  # folders may not tell case apart
        raise BadKind(
            f"kind {kind.name!r}: label {kind.short!r} is taken "
            f"(as are {', '.join(sorted(taken))}); choose another one"
        )
    if not is_label(kind.short):
        raise BadKind(
            f"kind {kind.name!r}: label {kind.short!r} cannot be shown or name a set of pairs; "
            "expected letters, digits, _ and -, with spaces between them and no _ in front, at "
            "most 30 characters; choose another one"
        )
    KINDS[kind.name] = kind
    return kind


def is_label(text: str) -> bool:
    """Whether a figure can show a text, and a folder and a method can be named by it.

    That is: letters, digits, "_" and "-", with spaces between them, at most 30 characters; no "_"
    in front, which hides a line from a legend, and no "+", which joins the labels of several kinds.

    >>> is_label("lost not"), is_label("C/N"), is_label("LE+KE")
    (True, False, False)
    """
    return len(text) <= 30 and re.fullmatch(r"(?!_)[\w-]([\w -]*[\w-])?", text) is not None


def shorts() -> list[str]:
    """The labels of single kinds, in the order of the registry."""
    return [kind.short for kind in KINDS.values()]


def registered(names: Iterable[str]) -> tuple[str, ...]:
    """Names of kinds, each once, in the order of the registry; UnknownTruth for any other.

    >>> registered(["calculation", "logical", "logical"])
    ('logical', 'calculation')
    """
    names = set(names)
    for name in names - KINDS.keys():
        raise UnknownTruth(unknown("kind of mistake", name, KINDS))
    return tuple(name for name in KINDS if name in names)


def label(kinds: Iterable[str]) -> str:
    """Kinds in the short names and the order of Table 6; "none" for none.

    >>> label(["calculation", "logical", "logical"])
    'LE+MCE'
    """
    return "+".join(KINDS[name].short for name in registered(kinds)) or NONE


def kinds_of(truth: Mapping) -> str:
    """The label of all mistakes of one completion; truth as pipeline.known_mistakes gives it."""
    return label(mistake["kind"] for mistake in truth["mistakes"])


def in_order(labels: Iterable[str]) -> list[str]:
    """Labels as Table 6 lists them: single kinds, combinations, then "none" and "unread".

    >>> in_order(["none", "KE+MCE", "KE", "LE"])
    ['LE', 'KE', 'KE+MCE', 'none']
    """
    return sorted(set(labels), key=_rank)


def _rank(found: str) -> tuple:
    order = shorts()
    if found in (NONE, UNREAD):
        return len(order) + 1, [found == UNREAD]
    parts = found.split("+")
    return len(parts), [order.index(part) for part in parts]


def usual() -> list[str]:
    """The labels that every table shows: single kinds, and the combinations of Table 6."""
    three = ("LE", "KE", "MCE")
    return [*shorts(), *("+".join(group) for n in (2, 3) for group in combinations(three, n))]


def shown(found: pd.Series) -> list[str]:
    """The usual labels and those found beside them, in order."""
    return in_order([*usual(), *found])


register(
    Kind(
        "logical",
        "LE",
        "a wrong inference: the step does not follow from what it rests on, an instruction or a "
        "premise of the question is not heeded, or the conclusion contradicts the steps",
        rule=rules.of("logical"),
    )
)
register(
    Kind(
        "knowledge",
        "KE",
        "a wrong fact, definition, convention or rule: a false statement about the world or about "
        "what the question says, or operations taken in the wrong order",
        rule=rules.of("knowledge"),
    )
)
register(
    Kind(
        "calculation",
        "MCE",
        "a wrong result of a right calculation: a sum, a count or a date that does not come out",
        rule=rules.of("calculation"),
    )
)
register(Kind("other", "OE", "a mistake of none of the kinds above"))
