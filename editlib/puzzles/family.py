"""What a puzzle family is, and the small helpers that families share."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from editlib.puzzles.reasoner import Kind, Reasoner

CHOICE = (
    "We read the options: {options}; so we take {letter}.",
    "Reading the options, {options}; so it is {letter}.",
    "Of the options, {options}; so we choose {letter}.",
)


@dataclass(frozen=True)
class Family:
    """One kind of puzzle: plain functions over its own kind of problem."""

    name: str
    description: str  # the task in one line, for prompts
    kinds: tuple[Kind, ...]  # the mistakes that can strike
    draw: Callable[[random.Random, int], Any]  # (rng, size) -> problem
    ask: Callable[[Any], str]  # problem -> question text
    parse: Callable[[str], Any | None]  # question text -> problem, or None if of another family
    solve: Callable[[Any, Reasoner], str]  # tells the chain, returns the answer
    fact: Callable[[random.Random], str]  # a sentence of the knowledge that the family needs


def listing(items: Sequence[str]) -> str:
    """Join as in running text.

    >>> listing(["figs", "plums", "pears"])
    'figs, plums and pears'
    """
    return " and ".join(filter(None, [", ".join(items[:-1]), items[-1]]))


def unlisting(text: str) -> list[str]:
    """The items of a listing."""
    return re.split(", | and ", text)


def with_options(question: str, options: Sequence[str]) -> str:
    """The question, followed by one lettered line an option."""
    lines = [f"{letter(i)} {option}" for i, option in enumerate(options)]
    return "\n".join([question, "Options:", *lines])


def split_options(text: str) -> tuple[str, tuple[str, ...]]:
    """The question before its options, and the options (none if there are none)."""
    question, _, lines = text.partition("\nOptions:\n")
    return question, tuple(line[4:] for line in lines.split("\n")) if lines else ()


def choose(r: Reasoner, options: Sequence[str], wanted: str, nearest: int | None = None) -> str:
    """Hold the options in order against what is wanted, until one fits; returns its letter.

    nearest: the option to take where none fits. To compare two things side by side asks less of a
    small student than to name a letter at once.
    """
    chosen = options.index(wanted) if wanted in options else nearest
    read = options[: chosen + 1] if wanted in options else options
    lines = (
        f"{letter(i)} {option} against {wanted}, {'yes' if option == wanted else 'no'}"
        for i, option in enumerate(read)
    )
    right = letter(chosen)
    r.say(CHOICE, options="; ".join(lines), letter=right)
    return right


def letter(position: int) -> str:
    """The name of an option: "(A)" for 0."""
    return f"({chr(ord('A') + position)})"


def window(rng: random.Random, n: int) -> list[int]:
    """n consecutive offsets, shuffled, with 0 among them but at neither end.

    Near misses on both sides of the truth, without giving away by their middle where it is.
    """
    first = -rng.randint(1, n - 2)
    offsets = list(range(first, first + n))
    rng.shuffle(offsets)
    return offsets
