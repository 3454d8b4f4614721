import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_effectsize

from editlib import evaluation, exams, grid, statistics
from editlib.records import Question


def predictions(accuracy_by_method, n=200, seeds=3, rng=None):
    """Independent right-or-wrong answers of each method with a given accuracy."""
    rng = rng or np.random.default_rng(0)
    return pd.DataFrame(
        [
            {
                "split": "test",
                "question_id": f"q{q}",
                "method": m,
                "seed": s,
                "correct": rng.random() < a,
            }
            for m, a in accuracy_by_method.items()
            for s in range(seeds)
            for q in range(n)
        ]
    )


def test_the_interval_over_seeds_is_the_textbook_one():
    mean, low, high = statistics.over_seeds([0.5, 0.6, 0.7])
    half = 4.302653 * 0.1 / np.sqrt(3)  # t of 2 degrees of freedom
    assert (mean, low, high) == pytest.approx((0.6, 0.6 - half, 0.6 + half), rel=1e-6)


def test_one_seed_has_no_interval():
    mean, low, high = statistics.over_seeds([0.5])
    assert mean == 0.5 and np.isnan(low) and np.isnan(high)


def test_a_real_difference_is_found_and_signed():
    table = statistics.compare(predictions({"A": 0.4, "B": 0.7}), "B", ["A"])
    row = table.iloc[0]
    assert (row["baseline"], row["method"], row["n"]) == ("A", "B", 200)
    assert row["low"] > 0.15 and row["p"] < 0.01


def test_no_difference_is_rarely_called_one():
    rng = np.random.default_rng(1)
    tables = [
        statistics.compare(predictions({"A": 0.5, "B": 0.5}, 60, 3, rng), "B", ["A"])
        for _ in range(40)
    ]
    false_alarms = sum(table["p"].iloc[0] < 0.05 for table in tables)
    assert false_alarms <= 6  # 2 expected; more than 6 has probability under 1 %


def test_identical_answers_differ_by_nothing():
    frame = predictions({"A": 0.5})
    both = pd.concat([frame, frame.assign(method="B")])
    row = statistics.compare(both, "B", ["A"]).iloc[0]
    assert (row["difference"], row["p"]) == (0, 1) and row[["low", "high"]].isna().all()


@pytest.mark.parametrize(("questions", "seeds"), [(2, 2), (100, 5)])
def test_answers_that_all_differ_alike_tell_of_no_spread_and_decide_nothing(questions, seeds):
    found = statistics.estimate(np.ones((questions, seeds)))
    assert found.mean == 1 and np.isnan([found.low, found.high, found.p]).all()
    almost = np.ones((questions, seeds))
    almost[0] = 0
    assert (statistics.estimate(almost).p < 0.05) == (questions == 100)


def test_one_seed_decides_nothing():
    row = statistics.compare(predictions({"A": 0.2, "B": 0.8}, seeds=1), "B", ["A"]).iloc[0]
    assert row["low_questions"] > 0.4  # these two students differ
    assert np.isnan(row["low"]) and np.isnan(row["p"])


def test_a_baseline_that_was_not_run_is_left_out():
    table = statistics.compare(predictions({"A": 0.5, "B": 0.55, "C": 0.6}), "C", ["A", "B", "D"])
    assert table["baseline"].tolist() == ["A", "B"]


def test_a_missing_p_value_does_not_count_as_a_comparison():
    corrected = statistics.holm(pd.Series([0.01, np.nan, 0.04]))
    assert corrected.tolist() == pytest.approx([0.02, np.nan, 0.04], nan_ok=True)


@pytest.mark.parametrize("untrained", [grid.UNTRAINED, f"{exams.STUDENT}few-shot"])
def test_an_untrained_student_is_compared_with_every_seed(untrained):
    frame = predictions({untrained: 0.5, "B": 0.7}, n=50)
    frame = frame[(frame["method"] == "B") | (frame["seed"] == 0)]
    scores = {method: statistics.scores(frame, method) for method in (untrained, "B")}
    expected = scores["B"].to_numpy() - scores[untrained].to_numpy()
    assert (statistics.paired(frame, "B", untrained).to_numpy() == expected).all()
    assert (statistics.paired(frame, untrained, "B").to_numpy() == -expected).all()
    means = [scores[name].to_numpy().mean() for name in ("B", untrained)]
    row = statistics.compare(frame, "B", [untrained]).iloc[0]
    assert row["h"] == pytest.approx(proportion_effectsize(*means)) and row["p"] < 0.05


def test_one_seed_of_a_trained_method_is_one_of_many():
    frame = predictions({"A": 0.2, "B": 0.8})
    frame = frame[(frame["method"] == "B") | (frame["seed"] == 1)]
    row = statistics.compare(frame, "B", ["A"]).iloc[0]
    assert row["seeds"] == 1 and row["low_questions"] > 0.4
    assert row[["low", "high", "p"]].isna().all()


def test_methods_without_a_common_seed_have_no_difference(recwarn):
    frame = predictions({"A": 0.5, "B": 0.5}, n=10)
    apart = frame.assign(seed=frame["seed"] + 3 * (frame["method"] == "B"))
    row = statistics.compare(apart, "B", ["A"]).iloc[0]
    assert row["seeds"] == 0 and row[["difference", "low", "p", "h"]].isna().all()
    assert not recwarn.list


def test_only_questions_and_seeds_of_both_are_compared():
    frame = predictions({"A": 0.5, "B": 0.5}, n=10)
    cut = (frame["method"] == "A") & ((frame["question_id"] == "q3") | (frame["seed"] == 2))
    assert statistics.paired(frame[~cut], "B", "A").shape == (9, 2)


def test_the_effect_size_is_cohens():
    row = statistics.compare(predictions({"A": 0.0, "B": 1.0}), "B", ["A"]).iloc[0]
    assert row["h"] == pytest.approx(math.pi)  # the largest there is


def test_the_effect_size_is_that_of_the_paired_difference():
    frame = predictions({"A": 0.5}, n=61, seeds=5)
    more = frame.assign(method="B")
    frame = frame[frame["seed"] < 3]  # five seeds of B, three of A, and the same answers
    row = statistics.compare(pd.concat([frame, more]), "B", ["A"]).iloc[0]
    assert (row["seeds"], row["difference"], row["h"]) == (3, 0, 0)
    assert more["correct"].mean() != frame["correct"].mean()
    few = more[(more["question_id"] != "q0") | (more["seed"] > 1)]
    row = statistics.compare(pd.concat([frame, few]), "B", ["A"]).iloc[0]
    assert (row["n"], row["h"]) == (60, 0)


def test_the_summary_of_no_predictions_has_its_columns():
    some = predictions({"A": 0.5}, n=4)
    whole, nothing = (statistics.summarise(frame, ["method"]) for frame in (some, some[:0]))
    assert len(whole) == 1 and nothing.empty
    assert list(nothing) == list(whole)


def test_the_summary_holds_one_row_a_group():
    summary = statistics.summarise(predictions({"A": 0.5, "B": 0.99}), ["split", "method"])
    assert summary["method"].tolist() == ["A", "B"] and summary["seeds"].tolist() == [3, 3]
    low, high = (summary[[n for n in summary if n.startswith(side)]] for side in ("low", "high"))
    assert (low.le(summary["accuracy"], axis=0) & (low >= 0)).all(axis=None)
    assert (high.ge(summary["accuracy"], axis=0) & (high <= 1)).all(axis=None)


# --- over seeds and questions -----------------------------------------------------------------


def layout(n, seeds, of_seeds, of_questions, rest, rng):
    """Scores of known variances, their mean zero."""
    return (
        of_seeds * rng.standard_normal(seeds)
        + of_questions * rng.standard_normal((n, 1))
        + rest * rng.standard_normal((n, seeds))
    )


def test_the_variances_of_a_layout_are_found():
    found = statistics.spread(layout(2_000, 400, 0.3, 0.5, 1.0, np.random.default_rng(0)))
    expected = (0.09, 0.25, 1.0)
    assert (found.seeds, found.questions, found.rest) == pytest.approx(expected, rel=0.1)


def test_the_error_is_that_of_errors_clustered_both_ways():
    scores = layout(60, 40, 0.3, 0.5, 1.0, np.random.default_rng(0))
    questions, seeds = (index.ravel() for index in np.indices(scores.shape))
    groups = {"groups": np.column_stack([questions, seeds])}
    model = OLS(scores.ravel(), np.ones(scores.size)).fit(cov_type="cluster", cov_kwds=groups)
    error, _ = statistics.spread(scores).error(40, 60)
    assert error == pytest.approx(model.bse[0], rel=0.05)


def test_the_p_value_of_an_assumed_mean_is_the_t_tests_where_seeds_alone_differ():
    seeds = np.array([0.1, 0.3, 0.2, 0.5])
    alone = statistics.Spread(seeds=seeds.var(ddof=1), questions=0.0, rest=0.0)
    found = statistics.p_value(alone, seeds.mean() - 0.6, len(seeds), 50)
    assert found == pytest.approx(stats.ttest_1samp(seeds, 0.6).pvalue)
    assert found != pytest.approx(stats.ttest_1samp(seeds, 0).pvalue)


def covered(estimates):
    return np.mean([low <= 0 <= high for low, high in estimates])


def test_the_interval_over_both_holds_where_seeds_differ_and_that_over_questions_does_not():
    rng = np.random.default_rng(0)
    found = [statistics.estimate(layout(200, 3, 0.1, 0.1, 0.4, rng)) for _ in range(150)]
    assert covered((e.low, e.high) for e in found) >= 0.91  # of 0.95
    assert covered((e.low_questions, e.high_questions) for e in found) < 0.6


# --- power ------------------------------------------------------------------------------------

VARIANCES = statistics.Spread(seeds=0.0005, questions=0.01, rest=0.25)


def test_power_is_the_share_of_runs_that_find_the_difference():
    rng, seeds, n, difference = np.random.default_rng(0), 8, 100, 0.06
    roots = np.sqrt([VARIANCES.seeds, VARIANCES.questions, VARIANCES.rest])
    runs = [difference + layout(n, seeds, *roots, rng) for _ in range(300)]
    found = np.mean([statistics.estimate(run).p < 0.05 for run in runs])
    assert statistics.power(VARIANCES, difference, seeds, n) == pytest.approx(found, abs=0.12)


def test_a_large_difference_is_found_for_sure():
    found = statistics.power(VARIANCES, np.array([0.1, 0.3, 0.5, 1.0]), 3, 200, 0.001)
    assert (np.diff(found) > 0).all() and found[-1] > 0.95  # and none of them is nan


def test_the_detectable_difference_is_found_four_times_in_five():
    smallest = statistics.detectable(VARIANCES, 6, 300)
    assert statistics.power(VARIANCES, smallest, 6, 300) == pytest.approx(0.8, abs=0.02)


def test_the_seeds_needed_are_the_fewest_that_are_enough():
    seeds = statistics.seeds_needed(VARIANCES, 0.03, 300)
    assert statistics.power(VARIANCES, 0.03, seeds, 300) >= 0.8
    assert statistics.power(VARIANCES, 0.03, seeds - 1, 300) < 0.8


def test_no_number_of_questions_makes_up_for_seeds_that_differ():
    unsure = statistics.Spread(seeds=0.01, questions=0.01, rest=0.25)
    assert math.isnan(statistics.questions_needed(unsure, 0.03, 3))
    assert statistics.questions_needed(unsure, 0.03, 1_000) < 1_000


def test_the_same_questions_again_leave_the_t_test_over_seeds():
    rng, n, seeds = np.random.default_rng(0), 500, 30
    scores = layout(n, seeds, 0.1, 0.5, 0.4, rng)
    found = statistics.spread(scores)
    by_seed = scores.mean(axis=0)
    error, freedom = found.error(seeds, n, "same")
    assert (error, freedom) == pytest.approx((stats.sem(by_seed), seeds - 1))
    smallest = statistics.detectable(found, seeds, n, asked="same")
    textbook = TTestPower().solve_power(nobs=seeds, alpha=0.05, power=0.8) * by_seed.std(ddof=1)
    assert smallest == pytest.approx(textbook, rel=0.03)


def test_a_claim_about_the_same_questions_needs_fewer_seeds():
    new, same = (statistics.seeds_needed(VARIANCES, 0.02, 300, asked=a) for a in ("new", "same"))
    assert same < new
    assert statistics.seeds_needed(VARIANCES, 0.01, 300, asked="same") > 2
    assert math.isnan(statistics.seeds_needed(VARIANCES, 0.01, 300))  # the questions are too few


def test_reach_marks_the_size_of_this_run_once():
    table = statistics.reach(VARIANCES, 7, 300)
    here = table.loc[table["here"], ["seeds", "questions", "asked"]]
    assert here.values.tolist() == [[7, 300, "new"]]
    lines = table.groupby(["questions", "asked"])["detectable"]
    assert (lines.diff().dropna() < 0).all() and lines.ngroups == 4  # more seeds, finer


@pytest.mark.parametrize(
    ("text", "answer", "expected"),
    [
        ("Which?\nOptions:\n(A) one\n(B) two\n(C) three\n(D) four", "(C)", 0.25),
        ("Does it hold?", "True", 0.5),
        ("How many?", "12", math.nan),
    ],
)
def test_the_chance_of_guessing(text, answer, expected):
    question = Question("x/y/0", "x", "y", "test", text, answer)
    assert evaluation.chance(question) == pytest.approx(expected, nan_ok=True)
