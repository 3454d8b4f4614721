"""Intervals, paired tests and power, by scipy and statsmodels. Each says what it ranges over.

Scores form a table: one row a question, one column a seed, each cell right (1) or wrong (0), or the
difference of two methods there. Another run would draw other questions and other seeds, so three
intervals are given: over seeds (these questions again), over questions (these students again), and
over both, which alone speaks of the method and alone decides.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_effectsize

RESAMPLES = 2_000
CONFIDENCE = 0.95
POWER = 0.8  # how often a real difference should be found
MOST = {"seeds": 1_000, "questions": 1_000_000}  # more than anyone will run
SCORE = ["question_id", "seed", "correct"]  # columns of predictions
UNTRAINED = ("Base student", "student, ")  # how students are named that no seed has trained
Questions = Literal["new", "same"]  # another run draws others like them, or asks these again


# --- intervals --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """A mean of scores with its intervals; what one seed, or no variation, cannot give is nan."""

    seeds: int
    n: int  # questions
    mean: float
    low: float  # over seeds and questions
    high: float
    low_seeds: float
    high_seeds: float
    low_questions: float
    high_questions: float
    p: float  # of a mean of zero, over seeds and questions


ESTIMATED = [*Estimate.__dataclass_fields__]
CONTRASTED = [*({"mean": "difference"}.get(name, name) for name in ESTIMATED), "h", "apart"]


@dataclass(frozen=True)
class Spread:
    """Variances of scores: between seeds, between questions, and what neither explains."""

    seeds: float
    questions: float
    rest: float

    def error(self, seeds, questions, asked: Questions = "new"):
        """Standard error of the mean of so many seeds and questions, and its degrees of freedom.

        The squares of a two-way layout, each score the sum of a seed's part, a question's part and
        a rest; the degrees of freedom are Satterthwaite's. Where the same questions are asked
        again, their part is no error: what is left is that of a t test over seeds. It then tells
        of these questions alone. Takes numbers or arrays.
        """
        if asked == "same":
            return np.sqrt((self.seeds + self.rest / questions) / seeds), seeds - 1
        of_seeds = questions * self.seeds + self.rest  # expected mean squares
        of_questions = seeds * self.questions + self.rest
        total = of_seeds + of_questions - self.rest
        doubt = of_seeds**2 / (seeds - 1) + of_questions**2 / (questions - 1)
        doubt = doubt + self.rest**2 / ((seeds - 1) * (questions - 1))
        return np.sqrt(total / (seeds * questions)), total**2 / doubt


def spread(scores: np.ndarray) -> Spread | None:
    """The variances of scores (questions, seeds), none below zero.

    None with one of either, and where nothing varies, which tells of no spread.
    """
    n, seeds = scores.shape
    if min(n, seeds) < 2 or np.ptp(scores) == 0:
        return None
    by_seed, by_question = scores.mean(axis=0), scores.mean(axis=1)
    rest = scores - by_seed - by_question[:, None] + scores.mean()
    square = (rest**2).sum() / ((n - 1) * (seeds - 1))
    return Spread(
        seeds=max(by_seed.var(ddof=1) - square / n, 0.0),
        questions=max(by_question.var(ddof=1) - square / seeds, 0.0),
        rest=square,
    )


def estimate(scores: np.ndarray) -> Estimate:
    """Mean of scores (questions, seeds) with its 95 % intervals and a test of a mean of zero.

    All nan where there is no score, as of two methods that have no seed in common.
    """
    scores = np.asarray(scores, dtype=float)
    if not scores.size:
        return Estimate(scores.shape[1], len(scores), *[np.nan] * 8)
    mean, *seeds = over_seeds(scores.mean(axis=0))
    low, high, p = _over_both(scores)
    questions = over_questions(scores.mean(axis=1))
    return Estimate(scores.shape[1], len(scores), mean, low, high, *seeds, *questions, p)


def over_seeds(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and t interval over seeds: how far another seed of the same run may fall.

    Returns mean, low, high; the interval is nan with one seed, and where all are equal.
    """
    values = np.asarray(values, dtype=float)
    if len(values) < 2 or np.ptp(values) == 0:
        return values.mean(), np.nan, np.nan
    half = stats.sem(values) * stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
    return values.mean(), values.mean() - half, values.mean() + half


def over_questions(values: np.ndarray) -> tuple[float, float]:
    """Bootstrap interval of the mean over questions, each with its mean over seeds.

    nan where all are equal: there is nothing to resample.
    """
    if np.ptp(values) == 0:
        return np.nan, np.nan
    return _resampled(tuple(values))


@cache  # several tables show the same mean
def _resampled(values: tuple[float, ...]) -> tuple[float, float]:
    interval = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return interval.low, interval.high


def _over_both(scores: np.ndarray) -> tuple[float, float, float]:
    """Low and high of the t interval over seeds and questions, and p of a mean of zero.

    nan without a spread; but p is 1 where every score is 0, which no test could tell from zero.
    """
    variances, mean = spread(scores), scores.mean()
    if variances is None:
        same = scores.shape[1] > 1 and not scores.any()
        return np.nan, np.nan, 1.0 if same else np.nan
    error, freedom = variances.error(scores.shape[1], len(scores))
    half = error * stats.t.ppf((1 + CONFIDENCE) / 2, freedom)
    return mean - half, mean + half, p_value(variances, mean, scores.shape[1], len(scores))


def p_value(variances: Spread, distance: float, seeds: int, questions: int) -> float:
    """p of a two-sided t test, of a mean found at a distance from the one taken for true."""
    error, freedom = variances.error(seeds, questions)
    return 2 * stats.t.sf(abs(distance) / error, freedom)


# --- tables -----------------------------------------------------------------------------------


def scores(predictions: pd.DataFrame, method: str) -> pd.DataFrame:
    """Right or wrong, one row a question and one column a seed, of one method."""
    return _wide(predictions.loc[predictions["method"] == method, SCORE])


def _wide(answered: pd.DataFrame) -> pd.DataFrame:
    scored = answered.assign(correct=answered["correct"] * 1.0)
    return scored.pivot(index="question_id", columns="seed", values="correct")


def shared_scores(
    predictions: pd.DataFrame, method: str, baseline: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of a method and of a baseline, on the questions and seeds that both have.

    An untrained student (UNTRAINED) has no seed: it stands beside each seed of the other. A method
    that was trained with one seed is one of many that could have been, and only that seed is kept.
    """
    ours, theirs = scores(predictions, method), scores(predictions, baseline)
    if baseline.startswith(UNTRAINED):
        theirs = _for_seeds(theirs, ours.columns)
    elif method.startswith(UNTRAINED):
        ours = _for_seeds(ours, theirs.columns)
    both = (ours - theirs).dropna(how="all")  # no row where one of the methods is absent
    kept = both.dropna(axis=1, how="all").dropna()
    return ours.loc[kept.index, kept.columns], theirs.loc[kept.index, kept.columns]


def _for_seeds(alone: pd.DataFrame, seeds: pd.Index) -> pd.DataFrame:
    return pd.DataFrame({seed: alone.iloc[:, 0] for seed in seeds})


def paired(predictions: pd.DataFrame, method: str, baseline: str) -> pd.DataFrame:
    """Score of a method less that of a baseline, on what shared_scores keeps of both."""
    ours, theirs = shared_scores(predictions, method, baseline)
    return ours - theirs


def summarise(predictions: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Mean accuracy of each group of by with its intervals, one row a group.

    predictions: one row a (seed, question) of each group, with correct. Returns the columns of
    by, then those of Estimate but p, the mean named accuracy; shares and bounds from 0 to 1.
    """
    groups = predictions[[*by, *SCORE]].groupby(list(by), sort=False, observed=True)
    rows = [
        dict(zip(by, key, strict=True)) | asdict(estimate(_wide(group).dropna().to_numpy()))
        for key, group in groups
    ]
    columns = [*by, *ESTIMATED]  # all of them, also of no predictions
    table = pd.DataFrame(rows, columns=columns).drop(columns="p")
    table = table.rename(columns={"mean": "accuracy"})
    bounds = [name for name in table if name.startswith(("low", "high"))]
    return table.assign(**table[bounds].clip(0, 1))


def compare(predictions: pd.DataFrame, method: str, baselines: Sequence[str]) -> pd.DataFrame:
    """Paired comparison of a method with each baseline on the same questions, split by split.

    predictions: one row a (method, seed, question) with correct. Returns split, method, baseline,
    then those of Estimate, the mean named difference (method less baseline, -1 to 1), Cohen's h,
    and apart, the share (0 to 1) of answers that one of the two alone got right, which no
    difference can exceed; all on what shared_scores keeps. p is not corrected. Baselines without
    predictions are left out.
    """
    rows = [
        {"split": split} | contrast(part, method, baseline)
        for split, part in predictions[["split", "method", *SCORE]].groupby(
            "split", sort=False, observed=True
        )
        for baseline in baselines
        if baseline in part["method"].unique()
    ]
    return pd.DataFrame(rows, columns=["split", "method", "baseline", *CONTRASTED])


def contrast(predictions: pd.DataFrame, method: str, baseline: str) -> dict:
    """A row of compare, without split."""
    sides = shared_scores(predictions, method, baseline)
    ours, theirs = (each.to_numpy() for each in sides)
    found = asdict(estimate(ours - theirs)).values()
    h = proportion_effectsize(ours.mean(), theirs.mean()) if ours.size else np.nan
    apart = np.abs(ours - theirs).mean() if ours.size else np.nan
    values = dict(zip(CONTRASTED, (*found, h, apart), strict=True))
    return {"method": method, "baseline": baseline, **values}


def holm(p: pd.Series) -> pd.Series:
    """p values corrected for their number (Holm); nan stays nan and does not count."""
    known = p.dropna().astype(float)
    corrected = multipletests(known, method="holm")[1] if len(known) else []
    return pd.Series(corrected, index=known.index, dtype=float).reindex(p.index)


# --- power ------------------------------------------------------------------------------------


def power(
    variances: Spread,
    difference: float,
    seeds,
    questions,
    alpha: float = 0.05,
    asked: Questions = "new",
):
    """How often so many seeds and questions would find a difference (0 to 1), by a t test.

    Found means decided, and of the right sign: the upper tail of a noncentral t alone. (The lower
    one, which statsmodels adds, is nan for large differences with few seeds.)
    """
    error, freedom = variances.error(seeds, questions, asked)
    return stats.nct.sf(stats.t.isf(alpha / 2, freedom), freedom, abs(difference) / error)


def detectable(variances: Spread, seeds, questions, alpha: float = 0.05, asked: Questions = "new"):
    """The smallest difference that so many seeds and questions find four times in five.

    (t(1 - alpha/2) + t(0.8)) standard errors.
    """
    error, freedom = variances.error(seeds, questions, asked)
    return error * (stats.t.isf(alpha / 2, freedom) + stats.t.ppf(POWER, freedom))


def reach(variances: Spread, seeds: int, questions: int, alpha: float = 0.05) -> pd.DataFrame:
    """What larger runs can find: questions, asked, seeds, detectable, here (true for this size).

    Seeds from 2 to 100; as many questions as now, ten and a hundred times as many, all of them new
    ones, then as many as now that are the same again.
    """
    counts = np.unique([seeds, *np.geomspace(2, 100, 60).astype(int)])
    sizes = [*((factor * questions, "new") for factor in (1, 10, 100)), (questions, "same")]
    rows = [
        {
            "questions": size,
            "asked": asked,
            "seeds": counts,
            "detectable": detectable(variances, counts, size, alpha, asked),
        }
        for size, asked in sizes
    ]
    table = pd.concat(map(pd.DataFrame, rows), ignore_index=True)
    here = (table["seeds"] == seeds) & (table["questions"] == questions)
    return table.assign(here=here & (table["asked"] == "new"))


def seeds_needed(
    variances: Spread,
    difference: float,
    questions: int,
    alpha: float = 0.05,
    asked: Questions = "new",
):
    """Seeds that find a difference four times in five on so many questions; nan: no number does."""
    seeds = np.arange(2, MOST["seeds"] + 1)
    return _first(seeds, power(variances, difference, seeds, questions, alpha, asked))


def questions_needed(variances: Spread, difference: float, seeds: int, alpha: float = 0.05):
    """Questions that find a difference four times in five with so many seeds; nan: none do."""
    questions = np.unique(np.geomspace(2, MOST["questions"], 1_000).astype(int))
    return _first(questions, power(variances, difference, seeds, questions, alpha))


def _first(numbers: np.ndarray, powers: np.ndarray) -> float:
    enough = powers >= POWER
    return float(numbers[enough.argmax()]) if enough.any() else np.nan
