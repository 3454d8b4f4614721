"""How the two paths of a pair differ: in the answer alone, in wording, or in what a step says."""

import re
from collections.abc import Iterable
from typing import Literal

import pandas as pd

from editlib.answers import before_answer
from editlib.records import DualCoT

Difference = Literal["answer", "paraphrase", "step"]

_WORD = re.compile(r"\w+(?:'\w+)?|[^\w\s]")
_SAID = re.compile(
    r"\w*\d\w*|true|false|yes|no|not|never|valid|invalid|none|\w+n't|[-+*/=<>\[\]{}]"
)


def difference(pair: DualCoT) -> Difference:
    """How the paths of a pair differ, from the words before the answer of each side.

    "answer": not at all, word for word. "paraphrase": in words only, since both say the same
    numbers, signs, truth words, names and options in the same order. "step": in one of those. A
    rule on the surface: a step that changes by any other word alone counts as paraphrase.
    """
    correct, wrong = (_words(before_answer(side)) for side in (pair.correct, pair.wrong))
    if correct == wrong:
        return "answer"
    known = _named(pair.question)
    return "paraphrase" if _facts(correct, known) == _facts(wrong, known) else "step"


def differences(duals: Iterable[DualCoT]) -> pd.DataFrame:
    """One row a pair: id, differs_in (answer, paraphrase or step)."""
    rows = [(pair.id, difference(pair)) for pair in duals]
    return pd.DataFrame(rows, columns=["id", "differs_in"])


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _named(question: str) -> set[str]:
    """Names of a question, and every word of its options: what a step can be about."""
    stem, _, listed = question.rpartition("Options:\n")
    names = {word for word in _words(stem) if word[0].isupper()}
    return {word.casefold() for word in [*names, *_words(listed)] if word[0].isalpha()} - _SMALL


def _facts(words: Iterable[str], known: set[str]) -> list[str]:
    said = (word.casefold() for word in words)
    return [word for word in said if word in known or _SAID.fullmatch(word)]


_SMALL = set(
    [
        "a",
        "an",
        "the",
        "of",
        "in",
        "on",
        "at",
        "to",
        "is",
        "are",
        "was",
        "were",
        "be",
        "and",
        "or",
        "by",
        "it",
        "its",
        "he",
        "she",
        "they",
    ]
)
