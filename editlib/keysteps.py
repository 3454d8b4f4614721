"""Key reasoning steps: the tokens by which two rationales of one question differ (section 3.3).

The alignment runs on response tokens alone: no prompt, no padding. Nothing here knows what the
answer is or where a mistake was made.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import Levenshtein
import numpy as np
import pandas as pd

from editlib.errors import KitError
from editlib.records import DualCoT

Ties = Literal["library", "authors"]


class NoKeySteps(KitError):
    """A side of a dual CoT holds no token, so there is nothing to compare."""


def key_mask(tokens: Sequence[int], twin: Sequence[int], ties: Ties = "library") -> np.ndarray:
    """Which tokens of one rationale must change to turn it into its twin (ω of eqs. 5-7).

    tokens: response ids, length T. twin: response ids of the other rationale, length U.
    ties: minimal edit scripts are not unique; "library" takes the one of Levenshtein, "authors"
    repeats the published backtrace (deletion before insertion before diagonal, from the end).
    Returns bool (T,): True where the script replaces or deletes. What it inserts belongs to the
    twin and is found by swapping the arguments. Raises NoKeySteps if either side is empty.

    >>> key_mask([5, 6, 7], [5, 9, 7, 8]).tolist()
    [False, True, False]
    """
    return np.isin(edits(tokens, twin, ties), ("delete", "replace"))


def edits(tokens: Sequence[int], twin: Sequence[int], ties: Ties = "library") -> np.ndarray:
    """What the minimal edit script does to each token: "equal", "delete" or "replace"; (T,)."""
    if not len(tokens) or not len(twin):
        raise NoKeySteps(f"{len(tokens)} and {len(twin)} tokens: both sides need at least one")
    labels = np.full(len(tokens), "equal", dtype="<U7")
    script = _SCRIPTS[ties](list(tokens), list(twin))
    for operation, position in script:
        if operation != "insert":
            labels[position] = operation
    return labels


def _library_script(tokens: list[int], twin: list[int]) -> list[tuple[str, int]]:
    """One alignment serves both sides: asked from the twin's side it is the same one, inverted."""
    if tokens <= twin:
        script = Levenshtein.editops(tokens, twin)
    else:
        script = Levenshtein.inverse(Levenshtein.editops(twin, tokens))
    return [(operation, position) for operation, position, _ in script]


def _authors_script(tokens: list[int], twin: list[int]) -> list[tuple[str, int]]:
    start = _common_prefix(tokens, twin)
    a, b = tokens[start:], twin[start:]
    distance = _distances(a, b)
    row, column, script = len(a), len(b), []
    while row or column:
        here = distance[row][column]
        if row and here == distance[row - 1][column] + 1:
            row -= 1
            script.append(("delete", start + row))
        elif column and here == distance[row][column - 1] + 1:
            column -= 1
            script.append(("insert", start + row))
        else:
            row, column = row - 1, column - 1
            if a[row] != b[column]:
                script.append(("replace", start + row))
    return script[::-1]


def _distances(a: list[int], b: list[int]) -> list[list[int]]:
    """Edit distance of every prefix of a to every prefix of b."""
    table = [list(range(len(b) + 1))]
    for i, token in enumerate(a, start=1):
        above, row = table[-1], [i]
        for j, other in enumerate(b, start=1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (token != other)))
        table.append(row)
    return table


def _common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    return next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )


_SCRIPTS: dict[str, Callable] = {"library": _library_script, "authors": _authors_script}


# --- from text to units and back -------------------------------------------------------------


@dataclass(frozen=True)
class Segments:
    """A response in units: ids to align, and the characters text[start:end] of each unit."""

    ids: list[int]
    spans: list[tuple[int, int]]


Segmenter = Callable[[str], Segments]


def token_segmenter(tokenizer) -> Segmenter:
    """Units are the tokens of a student, end-of-text included (its span is empty)."""

    def segment(text: str) -> Segments:
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        end = (len(text), len(text))
        return Segments(
            [*encoded["input_ids"], tokenizer.eos_token_id], [*encoded["offset_mapping"], end]
        )

    return segment


def word_segmenter() -> Segmenter:
    """Units are words and punctuation marks, for text that no student reads."""
    vocabulary: dict[str, int] = {}

    def segment(text: str) -> Segments:
        found = list(re.finditer(r"\w+|[^\w\s]", text))
        ids = [vocabulary.setdefault(match[0], len(vocabulary)) for match in found]
        return Segments(ids, [match.span() for match in found])

    return segment


def overlaps(spans: Sequence[tuple[int, int]], marked: Sequence[Sequence[int]]) -> np.ndarray:
    """Which units share a character with a marked span; bool (units,).

    >>> overlaps([(0, 1), (1, 4), (5, 6)], [(3, 5)]).tolist()
    [False, True, False]
    """
    return np.array([any(max(s, a) < min(e, b) for a, b in marked) for s, e in spans], dtype=bool)


# --- how much of a pair is key ---------------------------------------------------------------


def mark(duals: Sequence[DualCoT], segment: Segmenter, ties: Ties = "library") -> pd.DataFrame:
    """Ids and key marks (bool) of both sides, one a unit; the marks stay with their ids.

    Returns id, task, subset, correct_ids, correct_key, wrong_ids, wrong_key.
    """
    return pd.DataFrame([_marked(pair, segment, ties) for pair in duals])


def _marked(pair: DualCoT, segment: Segmenter, ties: Ties) -> dict:
    correct, wrong = segment(pair.correct).ids, segment(pair.wrong).ids
    return {
        "id": pair.id,
        "task": pair.task,
        "subset": pair.subset,
        "correct_ids": correct,
        "correct_key": key_mask(correct, wrong, ties),
        "wrong_ids": wrong,
        "wrong_key": key_mask(wrong, correct, ties),
    }


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


# --- key steps against known mistakes --------------------------------------------------------

Locator = Callable[[Sequence[int], Sequence[int]], np.ndarray]  # (tokens, twin) -> bool (T,)


def random_mask(key: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many marks at random places: the level of chance for a locator that made key."""
    return rng.permutation(key)


def agreement(
    duals: Sequence[DualCoT], truths: Mapping[str, dict], segment: Segmenter, locate: Locator
) -> pd.DataFrame:
    """How the marks on each wrong CoT meet the mistakes that are known in it, counted in units.

    truths: completion key -> mistakes (dicts of kind, start, end) and consequences (start, end);
    pairs whose wrong completion has no mistake there are left out.
    Returns one row a pair: id, task, subset, kind (those of its mistakes, joined by "+"), units,
    key (marked units), mistake (units of mistakes), found (mistake and marked), hit (marked and of
    a mistake or of what follows from one).
    """
    known = [(pair, truths.get(pair.wrong_completion, {})) for pair in duals]
    return pd.DataFrame(
        [_meet(pair, truth, segment, locate) for pair, truth in known if truth.get("mistakes")],
        columns=["id", "task", "subset", "kind", "units", "key", "mistake", "found", "hit"],
    )


def _meet(pair: DualCoT, truth: dict, segment: Segmenter, locate: Locator) -> dict:
    wrong, correct = segment(pair.wrong), segment(pair.correct)
    key = locate(wrong.ids, correct.ids)
    mistake = overlaps(wrong.spans, [(m["start"], m["end"]) for m in truth["mistakes"]])
    follows = overlaps(wrong.spans, [(c["start"], c["end"]) for c in truth["consequences"]])
    return {
        "id": pair.id,
        "task": pair.task,
        "subset": pair.subset,
        "kind": "+".join(sorted({m["kind"] for m in truth["mistakes"]})),
        "units": len(key),
        "key": int(key.sum()),
        "mistake": int(mistake.sum()),
        "found": int((key & mistake).sum()),
        "hit": int((key & (mistake | follows)).sum()),
    }


def scores(counts: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Precision, recall and F1 of key units for each group of rows of agreement().

    recall = found / mistake: which share of the mistakes bears a mark. precision = hit / key:
    which share of the marks lies on a mistake or on what follows from it. All three pool the units
    of a group; nan where there is nothing to divide by. reached: share of pairs with a mark on any
    unit of a mistake. Returns by, pairs, precision, recall, f1, reached.
    """
    groups = counts.groupby(list(by), sort=False) if by else counts.groupby(lambda _: 0)
    sums = groups[["key", "mistake", "found", "hit"]].sum()
    precision, recall = sums["hit"] / sums["key"], sums["found"] / sums["mistake"]
    table = pd.DataFrame(
        {
            "pairs": groups.size(),
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / (precision + recall),
            "reached": (counts["found"] > 0).groupby(groups.ngroup()).mean().to_numpy(),
        }
    )
    return table.reset_index(drop=not by)
