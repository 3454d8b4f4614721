"""How well marks of wrong CoTs meet the mistakes that are known, by two notions of a hit.

What follows from a mistake in a wrong CoT must change too, but is often the right inference from a
wrong premise. So marks on it count in precision, and do not count in strict precision.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from editlib.keysteps import Segmenter, overlaps
from editlib.locators import Locator
from editlib.records import DualCoT

MEASURES = ["strict_precision", "precision", "recall", "strict_f1", "f1", "reached"]  # 0 to 1


def of_locator(
    duals: Sequence[DualCoT], truths: Mapping[str, dict], segment: Segmenter, locate: Locator
) -> pd.DataFrame:
    """How the marks on each wrong CoT meet the mistakes that are known in it, counted in units.

    truths: completion key -> mistakes (dicts of kind, start, end) and consequences (start, end);
    pairs whose wrong completion has no mistake there are left out.
    Returns one row a pair: id, task, subset, kind (those of its mistakes, joined by "+"), units,
    key (marked units), mistake (units of mistakes), found (mistake and marked), hit (marked and of
    a mistake or of what follows from one).
    """
    return _table(truths, segment, [(pair, locate) for pair in duals])


def of_rows(
    duals: Sequence[DualCoT], truths: Mapping[str, dict], segment: Segmenter, rows: Sequence[dict]
) -> pd.DataFrame:
    """of_locator, of marks that took more than the two responses, as those of marks.py do.

    rows: id, wrong_key (bool, one a unit of the wrong CoT); pairs without a row are left out.
    """
    keys = {row["id"]: np.asarray(row["wrong_key"], dtype=bool) for row in rows}
    found = [(pair, keys[pair.id]) for pair in duals if pair.id in keys]
    return _table(truths, segment, [(pair, lambda *_, key=key: key) for pair, key in found])


def _table(
    truths: Mapping[str, dict], segment: Segmenter, ways: Sequence[tuple[DualCoT, Locator]]
) -> pd.DataFrame:
    known = [(pair, truths.get(pair.wrong_completion, {}), locate) for pair, locate in ways]
    return pd.DataFrame(
        [_meet(pair, truth, segment, way) for pair, truth, way in known if truth.get("mistakes")],
        columns=["id", "task", "subset", "kind", "units", "key", "mistake", "found", "hit"],
    )


def _meet(pair: DualCoT, truth: dict, segment: Segmenter, locate: Locator) -> dict:
    wrong, correct = segment(pair.wrong), segment(pair.correct)
    key = locate(wrong, correct)
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
    """Precision, recall and F1 of key units for each group of rows of of_locator().

    recall = found / mistake: which share of the mistakes bears a mark. precision = hit / key:
    which share of the marks lies on a mistake or on what follows from it; strict_precision =
    found / key: on a mistake itself. f1 and strict_f1 are those of recall and of either precision.
    All pool the units of a group; nan where there is nothing to divide by, but an F1 is 0 where no
    mark is a hit. reached: share of pairs with a mark on any unit of a mistake. Returns by, pairs
    and MEASURES.
    """
    groups = counts.groupby(list(by), sort=False) if by else counts.groupby(lambda _: 0)
    sums = groups[["key", "mistake", "found", "hit"]].sum()
    recall = sums["found"] / sums["mistake"]
    precision, strict = sums["hit"] / sums["key"], sums["found"] / sums["key"]
    table = pd.DataFrame(
        {
            "pairs": groups.size(),
            "strict_precision": strict,
            "precision": precision,
            "recall": recall,
            "strict_f1": _f1(strict, recall),
            "f1": _f1(precision, recall),
            "reached": (counts["found"] > 0).groupby(groups.ngroup()).mean().to_numpy(),
        }
    )
    return table.reset_index(drop=not by)


def _f1(precision: pd.Series, recall: pd.Series) -> pd.Series:
    mean = 2 * precision * recall / (precision + recall)
    return mean.mask(precision.eq(0) & recall.eq(0), 0.0)
