"""Does the kind of mistake trained on matter? Differences with power, and what they cannot say.

Tables are tidy: one row a (kind, seed, split, question) with an outcome such as correct.
"""

import warnings
from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf

from editlib import statistics
from editlib.errors import KitError, unknown

ALPHA = 0.05


def compare_kinds(
    table: pd.DataFrame,
    outcome: str = "correct",
    by: Sequence[str] = ("split",),
    against: str | None = None,
) -> pd.DataFrame:
    """Each two kinds, or each less one of them, paired by question and seed, in each group of by.

    table: one row a kind, seed and question_id, with the outcome (0 or 1) and the columns of by.
    against: the one, such as a control, which is a kind to this table. None: each two.
    Returns by, kind, other, seeds, questions, difference (kind less other), low, high (95 %, over
    seeds and questions), low_seeds, high_seeds (these questions again), p, p_holm (over all rows),
    smallest: the difference that so many seeds and questions would have shown with a probability
    of 80 %, were it there (two-sided, 5 % shared among all rows); 1 where it would have shown none,
    nan where nothing varies.
    Raises KitError with fewer than two seeds, or where nothing was trained on against.
    """
    kinds = list(table["kind"].unique())
    if against not in (None, *kinds):
        raise KitError(unknown("kind", against, kinds))
    others = [kind for kind in kinds if kind != against]
    contests = list(combinations(kinds, 2)) if against is None else list(product(others, [against]))
    rows = []
    for group, part in table.groupby(list(by), sort=False):
        scores = part.pivot(index="question_id", columns=["kind", "seed"], values=outcome) * 1.0
        for kind, other in contests:
            differences = (scores[kind] - scores[other]).dropna(axis=1, how="all").dropna()
            rows.append((*group, kind, other, differences.to_numpy()))
    found = pd.DataFrame(rows, columns=[*by, "kind", "other", "differences"])
    numbers = [_paired(each, len(found)) for each in found.pop("differences")]
    found = pd.concat([found, pd.DataFrame(numbers)], axis=1)
    return found.assign(p_holm=statistics.holm(found["p"]))[[*by, "kind", "other", *_NUMBERS]]


_BOUNDS = ("low", "high", "low_seeds", "high_seeds")
_NUMBERS = ("seeds", "questions", "difference", *_BOUNDS, "p", "p_holm", "smallest")


def _paired(differences: np.ndarray, comparisons: int) -> dict[str, float]:
    questions, seeds = differences.shape
    if seeds < 2:
        raise KitError(f"found {seeds} seed that two kinds share, a comparison needs 2 or more")
    found, variances = statistics.estimate(differences), statistics.spread(differences)
    size = seeds, questions, ALPHA / comparisons
    smallest = np.nan if variances is None else statistics.detectable(variances, *size)
    row = {"seeds": seeds, "questions": questions, "difference": found.mean, "p": found.p}
    bounds = {name: np.clip(getattr(found, name), -1, 1) for name in _BOUNDS}
    return row | bounds | {"smallest": np.minimum(smallest, 1.0)}


def reachable(
    predictions: pd.DataFrame, method: str, baseline: str, comparisons: int, seeds: Sequence[int]
) -> pd.DataFrame:
    """The smallest difference that so many seeds find with a probability of 80 %, split by split.

    Judged by how the difference of two methods varies, paired by question and seed; 5 %,
    two-sided, shared among the comparisons (Bonferroni). Returns split, seeds, same_questions
    (what holds of these questions alone) and new_questions (as many others; what holds of the
    method), shares. Splits in which nothing varies are left out.
    """
    rows = []
    for split, part in predictions.groupby("split", sort=False):
        differences = statistics.paired(part, method, baseline).to_numpy()
        variances = statistics.spread(differences)
        if variances is None or not differences.mean(axis=0).std():
            continue
        size = len(differences), ALPHA / comparisons
        for n in seeds:
            found = [statistics.detectable(variances, n, *size, asked) for asked in ("same", "new")]
            rows.append((split, n, *found))
    return pd.DataFrame(rows, columns=["split", "seeds", "same_questions", "new_questions"])


def mixed_model(table: pd.DataFrame, reference: str, outcome: str = "accuracy") -> pd.DataFrame:
    """Kinds against a reference in each split, by a mixed-effects model.

    table: one row a (kind, seed, split, task) with the outcome, a mean over questions. Fixed: the
    kind. Random: the seed, the task, and each seed in each task, as the students of one seed share
    their first phase. Returns split, kind, other (the reference), rows, difference, low, high
    (95 %), p, converged.
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
    random = {"seed": "0 + C(seed)", "task": "0 + C(task)", "both": "0 + C(seed):C(task)"}
    model = smf.mixedlm(f"outcome ~ {kind}", table, groups="all", vc_formula=random)
    with warnings.catch_warnings():  # a variance of zero lies on the boundary, and is no fault
        warnings.simplefilter("ignore")
        return model.fit(reml=True, method=["lbfgs", "powell"])


def statement(row: pd.Series) -> str:
    """What a row of compare_kinds says and what it leaves open, in points."""
    points = {name: 100 * row[name] for name in ("difference", "low", "high", "smallest")}
    said = f"{row['kind']} less {row['other']}: {points['difference']:+.1f} points"
    size = f"{row['seeds']:.0f} seeds, {row['questions']:.0f} questions"
    if np.isnan(row["smallest"]):
        return (
            f"{said} ({size}); the same on every question, so nothing tells what could have gone "
            "unseen."
        )
    said = f"{said} ({points['low']:+.1f} to {points['high']:+.1f}; {size})"
    if row["p_holm"] < ALPHA:
        return f"{said}; a difference."
    return f"{said}; undecided: one below {points['smallest']:.1f} points would often go unseen."
