"""How well marks of wrong CoTs meet the mistakes that are known, by two notions of a hit.

What follows from a mistake in a wrong CoT must change too, but is often the right inference from a
wrong premise. So marks on it count in precision, and do not count in strict precision.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from editlib import locators
from editlib.keysteps import Segmenter
from editlib.records import DualCoT

MEASURES = ["strict_precision", "precision", "recall", "strict_f1", "f1", "reached"]  # 0 to 1


def of_rows(
    duals: Sequence[DualCoT], truths: Mapping[str, dict], segment: Segmenter, rows: Sequence[dict]
) -> pd.DataFrame:
    """locators.agreement of marks that took more than the two responses, as those of marks.py do.

    rows: id, wrong_key (bool, one a unit of the wrong CoT); pairs without a row are left out.
    """
    keys = {row["id"]: np.asarray(row["wrong_key"], dtype=bool) for row in rows}
    counts = [
        locators.agreement([pair], truths, segment, lambda *_, key=keys[pair.id]: key)
        for pair in duals
        if pair.id in keys
    ]
    return pd.concat(counts, ignore_index=True)


def scores(counts: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """locators.scores, and beside them what they are if only the mistake itself is a hit.

    counts: of locators.agreement. strict_precision = found / key: which share of the marks lies on
    a mistake; strict_f1 is that of strict_precision and recall, so that both count the same tokens.
    An F1 is 0 where no mark is a hit. Returns by, pairs and MEASURES.
    """
    table = _scores(counts, by)
    strict = _scores(counts.assign(hit=counts["found"]), by)
    table = table.assign(strict_precision=strict["precision"], strict_f1=strict["f1"])
    return table[[*by, "pairs", *MEASURES]]


def _scores(counts: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    table = locators.scores(counts, by)
    missed = table["precision"].eq(0) & table["recall"].eq(0)
    return table.assign(f1=table["f1"].mask(missed, 0.0))
