"""Key reasoning steps: the tokens by which two rationales of one question differ (section 3.3).

The alignment runs on response tokens alone: no prompt, no padding. Nothing here knows what the
answer is or where a mistake was made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal, Protocol

import Levenshtein
import numpy as np
import pandas as pd
import pyarrow as pa

from editlib import encoding
from editlib.errors import KitError
from editlib.records import DualCoT

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Ties = Literal["library", "authors"]


class NoKeySteps(KitError):
    """A side of a dual CoT holds no token, so there is nothing to compare."""


EQUAL, DELETE, REPLACE = range(3)  # what the script does to a token
EDITS = np.array(["equal", "delete", "replace"])
_IS_KEY = bytes(code != EQUAL for code in range(256))


def key_masks(
    correct: Sequence[int], wrong: Sequence[int], ties: Ties = "library"
) -> tuple[np.ndarray, np.ndarray]:
    """Which tokens of each rationale must change to turn it into the other (ω of eqs. 5-7).

    correct, wrong: response ids, lengths T and U: ints from 0 to 2**61 - 2, as Levenshtein compares
    their hashes. ties: minimal edit scripts are not unique; "library" takes the one of Levenshtein,
    "authors" repeats the published backtrace (deletion before insertion before diagonal, from the
    end), once from each side.
    Returns bool (T,) and (U,): True where a token is replaced, or stands on this side alone.
    Raises NoKeySteps if either side is empty.

    >>> [mask.tolist() for mask in key_masks([5, 6, 7], [5, 9, 7, 8])]
    [[False, True, False], [False, True, False, True]]
    """
    first, second = _codes(correct, wrong, ties)
    key, other = first.translate(_IS_KEY), second.translate(_IS_KEY)
    return np.frombuffer(key, bool), np.frombuffer(other, bool)


def key_mask(tokens: Sequence[int], twin: Sequence[int], ties: Ties = "library") -> np.ndarray:
    """Which tokens of one rationale must change to turn it into its twin; bool (T,)."""
    return key_masks(tokens, twin, ties)[0]


def edits(tokens: Sequence[int], twin: Sequence[int], ties: Ties = "library") -> np.ndarray:
    """What the minimal edit script does to each token: "equal", "delete" or "replace"; (T,).

    What it inserts belongs to the twin, and is found there as deleted: swap the arguments.
    """
    return EDITS[np.frombuffer(_codes(tokens, twin, ties)[0], np.uint8)]


def _codes(a: Sequence[int], b: Sequence[int], ties: Ties) -> tuple[bytearray, bytearray]:
    """EQUAL, DELETE or REPLACE for each token of both sides."""
    if not len(a) or not len(b):
        raise NoKeySteps(f"{len(a)} and {len(b)} tokens: both sides need at least one")
    a = a if isinstance(a, list) else list(a)
    b = b if isinstance(b, list) else list(b)
    return _RULES[ties](a, b)


def _library(a: list[int], b: list[int]) -> tuple[bytearray, bytearray]:
    """One alignment serves both sides; it is the same one whichever side comes first."""
    if b < a:
        return _library(b, a)[::-1]
    first, second = bytearray(len(a)), bytearray(len(b))
    for operation, i, j in Levenshtein.editops(a, b):
        if operation == "replace":
            first[i] = second[j] = REPLACE
        elif operation == "delete":
            first[i] = DELETE
        else:
            second[j] = DELETE
    return first, second


def _authors(a: list[int], b: list[int]) -> tuple[bytearray, bytearray]:
    """Two backtraces through one table, each preferring to delete on its own side."""
    start = common_prefix(a, b)
    a, b = a[start:], b[start:]
    down, across = _rises(a, b)

    def deletes_a(i: int, j: int) -> int:
        return not j or down[j] >> (i - 1) & 1

    def deletes_b(i: int, j: int) -> int:
        return not i or across[j] >> (i - 1) & 1

    from_a = _backtrace(a, b, deletes_a, deletes_b)
    from_b = _backtrace(b, a, lambda j, i: deletes_b(i, j), lambda j, i: deletes_a(i, j))
    return bytearray(start) + from_a, bytearray(start) + from_b


def _backtrace(a: list[int], b: list[int], deletes: Callable, inserts: Callable) -> bytearray:
    """What happens to a on the way back from the end: delete, else insert, else diagonal."""
    i, j, codes = len(a), len(b), bytearray(len(a))
    while i or j:
        if i and deletes(i, j):
            i -= 1
            codes[i] = DELETE
        elif j and inserts(i, j):
            j -= 1
        else:
            i, j = i - 1, j - 1
            if a[i] != b[j]:
                codes[i] = REPLACE
    return codes


def _rises(a: list[int], b: list[int]) -> tuple[list[int], list[int]]:
    """Where the table of edit distances D rises, a column a step (Myers 1999, Hyyrö 2003).

    down[j] has bit i - 1 set where D[i][j] = D[i - 1][j] + 1, across[j] where
    D[i][j] = D[i][j - 1] + 1, for prefixes of i tokens of a and j tokens of b.
    """
    full, places = (1 << len(a)) - 1, {}
    for i, token in enumerate(a):
        places[token] = places.get(token, 0) | 1 << i
    rise, fall, down, across = full, 0, [full], [0]
    for token in b:
        equal = places.get(token, 0)
        level = ((((equal & rise) + rise) ^ rise) | equal | fall) & full
        right, left = fall | (full & ~(level | rise)), level & rise
        across.append(right)
        right, left = (right << 1 | 1) & full, left << 1 & full
        rise, fall = left | (full & ~(level | right)), right & level
        down.append(rise)
    return down, across


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens both begin with."""
    return next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )


_RULES: dict[str, Callable] = {"library": _library, "authors": _authors}


# --- from text to units and back -------------------------------------------------------------


@dataclass(frozen=True)
class Segments:
    """A response in units: ids to align, and the characters text[start:end] of each unit."""

    text: str
    ids: list[int]
    spans: list[tuple[int, int]]


class Segmenter(Protocol):
    """Cuts responses into the units that are aligned."""

    def __call__(self, text: str) -> Segments:
        """The units of one response, with their place in the text."""

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The units of many responses by id alone, which is faster."""


@dataclass(frozen=True)
class TokenSegmenter:
    """Units are the tokens of a student, end-of-text included (its span is empty)."""

    tokenizer: PreTrainedTokenizerBase

    def __call__(self, text: str) -> Segments:
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        end = (len(text), len(text))
        ids = [*encoded["input_ids"], self.tokenizer.eos_token_id]
        return Segments(text, ids, [*encoded["offset_mapping"], end])

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        return encoding.response_ids(self.tokenizer, texts)


class WordSegmenter:
    """Units are words and punctuation marks, for text that no student reads.

    The id of a word is a hash, so it does not depend on what was segmented before.
    """

    def __call__(self, text: str) -> Segments:
        found = list(re.finditer(r"\w+|[^\w\s]", text))
        ids = [unit_id(match[0]) for match in found]
        return Segments(text, ids, [match.span() for match in found])

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        return [self(text).ids for text in texts]


@lru_cache(maxsize=100_000)  # the usual ones; unusual words of a large set are without end
def unit_id(word: str) -> int:
    """A number for a unit of text, the same in every run."""
    return int.from_bytes(blake2b(word.encode(), digest_size=7).digest(), "big")


def overlaps(spans: Sequence[tuple[int, int]], marked: Sequence[Sequence[int]]) -> np.ndarray:
    """Which units share a character with a marked span; bool (units,).

    >>> overlaps([(0, 1), (1, 4), (5, 6)], [(3, 5)]).tolist()
    [False, True, False]
    """
    starts, ends = np.array(spans, dtype=int).reshape(-1, 2, 1).swapaxes(0, 1)
    first, last = np.array(marked, dtype=int).reshape(-1, 2).T
    return (np.maximum(starts, first) < np.minimum(ends, last)).any(axis=1)


# --- how much of a pair is key ---------------------------------------------------------------


MARKS = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "task", "subset")),
        ("correct_ids", pa.list_(pa.int64())),
        ("correct_key", pa.list_(pa.bool_())),
        ("wrong_ids", pa.list_(pa.int64())),
        ("wrong_key", pa.list_(pa.bool_())),
    ]
)


def mark(duals: Sequence[DualCoT], segment: Segmenter, ties: Ties = "library") -> pd.DataFrame:
    """Ids and key marks (bool) of both sides, one a unit; the marks stay with their ids.

    Returns the columns of MARKS: id, task, subset, correct_ids, correct_key, wrong_ids, wrong_key.
    """
    corrects = segment.ids([pair.correct for pair in duals])
    wrongs = segment.ids([pair.wrong for pair in duals])
    sides = zip(duals, corrects, wrongs, strict=True)
    rows = [
        (pair.id, pair.task, pair.subset, correct, keys[0], wrong, keys[1])
        for pair, correct, wrong in sides
        for keys in [key_masks(correct, wrong, ties)]
    ]
    return pd.DataFrame(rows, columns=MARKS.names)


def shares(marks: pd.DataFrame) -> pd.DataFrame:
    """Key share of each pair and side, from the columns of mark().

    Returns one row a pair and side ("correct", "wrong", "both"): id, task, subset, side, units,
    key, share (key / units).
    """
    sides = {
        "correct": marks["correct_key"],
        "wrong": marks["wrong_key"],
        "both": [[*a, *b] for a, b in zip(marks["correct_key"], marks["wrong_key"], strict=True)],
    }
    rows = [
        (row.id, row.task, row.subset, side, len(key), int(sum(key)))
        for side, keys in sides.items()
        for row, key in zip(marks.itertuples(), keys, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["id", "task", "subset", "side", "units", "key"])
    return table.assign(share=table["key"] / table["units"])


def compare_marks(marks: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """How two locators differ on the same pairs, from the columns of mark(), side by side.

    Returns side, pairs, changed (pairs with another mark anywhere), units, key, key_other, common
    (units marked by both).
    """
    rows = []
    for side in ("correct", "wrong"):
        keys = [np.concatenate(list(table[f"{side}_key"])) for table in (marks, others)]
        both = zip(marks[f"{side}_key"], others[f"{side}_key"], strict=True)
        changed = sum(not np.array_equal(first, second) for first, second in both)
        counted = len(keys[0]), keys[0].sum(), keys[1].sum(), (keys[0] & keys[1]).sum()
        rows.append((side, len(marks), changed, *counted))
    columns = ["side", "pairs", "changed", "units", "key", "key_other", "common"]
    return pd.DataFrame(rows, columns=columns)
