"""What wrong CoTs are made of: how often which kinds, where they strike, how far they reach.

For analysis only: what a teacher knows about its mistakes is read by no stage of the pipeline.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from editlib.agreement import scores
from editlib.keysteps import Segmenter, Segments, overlaps
from editlib.mistakes.kinds import UnknownTruth, kinds_of, shown
from editlib.records import DualCoT

PARTS = ("mistake", "consequence", "routine")  # of a wrong CoT; each token is of one


def tally(kinds: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """How often each label occurs within each group, with 95 % Wilson intervals over rows.

    kinds: one row a wrong CoT, with the columns of by and kinds. Returns by, kinds, n, share, low,
    high (share of the group, 0 to 1), labels in the order of Table 6, those that never occur with
    n 0.
    """
    counts = kinds.groupby([*by, "kinds"], sort=False).size().unstack(fill_value=0)
    counts = (
        counts.reindex(columns=shown(kinds["kinds"]), fill_value=0)
        .stack()
        .rename("n")
        .reset_index()
    )
    of = counts.groupby(list(by))["n"].transform("sum")
    low, high = proportion_confint(counts["n"], of, method="wilson")
    return counts.assign(share=counts["n"] / of, low=low, high=high)


def anatomy(
    duals: Sequence[DualCoT],
    truths: Mapping[str, Mapping],
    marks: Mapping[str, Sequence[bool]],
    segment: Segmenter,
) -> pd.DataFrame:
    """What each wrong CoT is made of, counted in tokens, and where its key tokens lie.

    truths: completion key (or id, of a pair without one) -> mistakes and consequences.
    marks: pair id -> its wrong_key.
    Returns one row a pair: id, task, subset, kinds, mistakes (how many), position (where the first
    begins: 0 at the start of the text, 1 at its end), tokens, then for each of PARTS its tokens
    and, with the prefix key_, those of them that are key.
    Raises UnknownTruth for a wrong CoT in which no mistake is known.
    """
    return pd.DataFrame(
        [
            _row(d, truths.get(d.wrong_completion or d.id), marks[d.id], segment(d.wrong))
            for d in duals
        ]
    )


def _row(dual: DualCoT, truth: Mapping | None, key: Sequence[bool], segments: Segments) -> dict:
    if not truth or not truth["mistakes"]:
        raise UnknownTruth(f"{dual.id}: no mistake is known in its wrong CoT")
    parts = _parts(segments, truth)
    counts = {name: int((parts == name).sum()) for name in PARTS}
    keys = {f"key_{name}": int(((parts == name) & np.asarray(key)).sum()) for name in PARTS}
    return {
        "id": dual.id,
        "task": dual.task,
        "subset": dual.subset,
        "kinds": kinds_of(truth),
        "mistakes": len({(m["kind"], m["step"]) for m in truth["mistakes"]}),
        "position": min(m["start"] for m in truth["mistakes"]) / len(dual.wrong),
        "tokens": len(parts),
        **counts,
        **keys,
    }


def _parts(segments: Segments, truth: Mapping) -> np.ndarray:
    """The part that each token belongs to: of two, the mistake."""
    spans = {
        name: overlaps(segments.spans, [(span["start"], span["end"]) for span in truth[known]])
        for name, known in {"mistake": "mistakes", "consequence": "consequences"}.items()
    }
    return np.select([spans["mistake"], spans["consequence"]], PARTS[:2], default=PARTS[2])


def composition(rows: pd.DataFrame, by: Sequence[str] = ("kinds",)) -> pd.DataFrame:
    """Of which parts all tokens, and of which the key tokens, of wrong CoTs consist.

    rows: of anatomy(). Tokens of a group are pooled. Returns by, of ("all tokens", "key tokens"),
    part, n, share (0 to 1).
    """
    pooled = rows.groupby(list(by), sort=False)[[*PARTS, *(f"key_{part}" for part in PARTS)]].sum()
    tables = [
        pooled[[f"{prefix}{part}" for part in PARTS]]
        .set_axis(PARTS, axis=1)
        .melt(var_name="part", value_name="n", ignore_index=False)
        .assign(of=of)
        for of, prefix in {"all tokens": "", "key tokens": "key_"}.items()
    ]
    table = pd.concat(tables).reset_index()
    total = table.groupby([*by, "of"])["n"].transform("sum")
    return table.assign(share=table["n"] / total)[[*by, "of", "part", "n", "share"]]


def located(rows: pd.DataFrame, by: Sequence[str] = ("kinds",)) -> pd.DataFrame:
    """How well key tokens meet the mistakes of each group of rows of anatomy().

    Returns by, pairs, precision, recall, f1, reached (as agreement.scores), low, high (95 % Wilson
    interval of reached, over pairs), and what as many marks at random places of the same CoT get on
    average (locators.at_random draws them once): chance_precision, chance_recall.
    """
    counts = rows.assign(
        key=rows[[f"key_{part}" for part in PARTS]].sum(axis=1),
        found=rows["key_mistake"],
        hit=rows["key_mistake"] + rows["key_consequence"],
        wrong=rows["mistake"] + rows["consequence"],
    )
    table = scores(counts, by).drop(columns=["strict_precision", "strict_f1"])
    reached = (table["reached"] * table["pairs"]).round()
    low, high = proportion_confint(reached, table["pairs"], method="wilson")
    share = counts["key"] / counts["tokens"]  # of each CoT: the chance of a token to be marked
    random = counts.assign(hit=share * counts["wrong"], found=share * counts["mistake"])
    chance = scores(random, by)[["precision", "recall"]].add_prefix("chance_")
    return table.assign(low=low, high=high).join(chance)
