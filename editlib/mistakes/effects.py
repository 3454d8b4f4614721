"""Does the kind of mistake trained on matter? Differences with power, and what they cannot say.

Tables are tidy: one row a (kind, seed, split, task) with an outcome such as accuracy (0 to 1).
"""

import warnings
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from editlib.errors import KitError
from editlib.mistakes.classifiers import Classifier, chains
from editlib.mistakes.kinds import KINDS
from editlib.records import CoT, Prediction, Question

POWER, ALPHA = 0.8, 0.05


def compare_kinds(
    table: pd.DataFrame, outcome: str = "accuracy", by: Sequence[str] = ("split",)
) -> pd.DataFrame:
    """Each two kinds, paired by seed, in each group of by: difference, interval, what was in reach.

    The outcome of a seed is its mean over tasks. Returns by, kind, other, seeds, difference (kind
    less other), low, high (95 %, t over seeds), p, p_holm (over all rows), smallest: the
    difference that so many seeds would have shown with a probability of 80 %, were it there
    (two-sided, 5 % shared among all rows). Raises KitError with fewer than two seeds.
    """
    rows = []
    for group, part in table.groupby(list(by), sort=False):
        wide = part.pivot_table(index="seed", columns="kind", values=outcome, sort=False)
        for kind, other in combinations(wide.columns, 2):
            rows.append((*group, kind, other, (wide[kind] - wide[other]).dropna().to_numpy()))
    found = pd.DataFrame(rows, columns=[*by, "kind", "other", "differences"])
    numbers = [_paired(each, len(found)) for each in found.pop("differences")]
    found = pd.concat([found, pd.DataFrame(numbers)], axis=1)
    found["p_holm"] = multipletests(found["p"], method="holm")[1]
    return found[[*by, "kind", "other", *_NUMBERS]]


_NUMBERS = ("seeds", "difference", "low", "high", "p", "p_holm", "smallest")


def _paired(differences: np.ndarray, comparisons: int) -> dict[str, float]:
    n = len(differences)
    if n < 2:
        raise KitError(f"found {n} seed that two kinds share, a comparison needs 2 or more")
    half = stats.sem(differences) * stats.t.ppf(0.975, n - 1)
    mean = differences.mean()
    # Differences that are all the same have no spread to test against.
    p = stats.ttest_1samp(differences, 0).pvalue if half else float(mean == 0)
    row = {"seeds": n, "difference": mean, "low": mean - half, "high": mean + half, "p": p}
    return row | {"smallest": smallest_effect(differences.std(ddof=1), n, comparisons)}


def smallest_effect(spread: float, seeds: int, comparisons: int = 1) -> float:
    """The mean difference that a paired t test over seeds finds with a probability of 80 %.

    spread: standard deviation of the differences over seeds; the result is in its unit. 5 %,
    two-sided, is shared among the comparisons (Bonferroni).
    """
    size = TTestPower().solve_power(nobs=seeds, alpha=ALPHA / comparisons, power=POWER)
    return float(size) * float(spread)


def mixed_model(table: pd.DataFrame, reference: str, outcome: str = "accuracy") -> pd.DataFrame:
    """Kinds against a reference in each split, by a mixed-effects model.

    Fixed: the kind. Random and crossed: the seed and the task. Returns split, kind, other (the
    reference), rows, difference, low, high (95 %), p, converged.
    """
    found = []
    for split, part in table.groupby("split", sort=False):
        fitted = _fit(part.assign(outcome=part[outcome], all=1), reference)
        bounds = fitted.conf_int()
        for name in [name for name in fitted.fe_params.index if name != "Intercept"]:
            kind = name.partition("[T.")[2].removesuffix("]")
            low, high = bounds.loc[name]
            value, p = fitted.fe_params[name], fitted.pvalues[name]
            found.append((split, kind, reference, len(part), value, low, high, p, fitted.converged))
    columns = ["split", "kind", "other", "rows", "difference", "low", "high", "p", "converged"]
    return pd.DataFrame(found, columns=columns)


def _fit(table: pd.DataFrame, reference: str):
    kind = f"C(kind, Treatment({reference!r}))"
    random = {name: f"0 + C({name})" for name in ("seed", "task")}
    model = smf.mixedlm(f"outcome ~ {kind}", table, groups="all", vc_formula=random)
    with warnings.catch_warnings():  # a variance of zero lies on the boundary, and is no fault
        warnings.simplefilter("ignore")
        return model.fit(reml=True, method=["lbfgs", "powell"])


def statement(row: pd.Series) -> str:
    """What a row of compare_kinds says and what it leaves open, in points."""
    points = {name: 100 * row[name] for name in ("difference", "low", "high", "smallest")}
    said = (
        f"{row['kind']} less {row['other']}: {points['difference']:+.1f} points "
        f"({points['low']:+.1f} to {points['high']:+.1f}, {row['seeds']:.0f} seeds)"
    )
    if row["p_holm"] < ALPHA:
        return f"{said}; a difference."
    return f"{said}; undecided: one below {points['smallest']:.1f} points would often go unseen."


def mistakes_made(
    questions: Sequence[Question], predictions: Sequence[Prediction], classify: Classifier
) -> pd.DataFrame:
    """Which kinds of mistakes students make: one row a (method, seed, split, task, made).

    Columns beside these: answers, share (of them that hold a mistake of this kind, 0 to 1).
    Rename method to kind, and compare_kinds(..., "share", ["split", "made"]) shows the transfer.
    """
    cots = [
        CoT(p.question_id, p.question_id, p.task, "student", p.text, p.answer, p.read, "")
        for p in predictions
    ]
    verdicts = classify(chains(questions, cots))
    table = pd.DataFrame(
        [
            (p.method, p.seed, p.split, p.task, kind.short, name in (verdict.kinds or ()))
            for p, verdict in zip(predictions, verdicts, strict=True)
            for name, kind in KINDS.items()
        ],
        columns=["method", "seed", "split", "task", "made", "has"],
    )
    keys = ["method", "seed", "split", "task", "made"]
    return table.groupby(keys, sort=False)["has"].agg(answers="size", share="mean").reset_index()
