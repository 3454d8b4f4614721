"""What a comparison of kinds says, on made-up tables whose effects are known."""

import numpy as np
import pandas as pd
import pytest

from editlib import figures, mistakes
from editlib.errors import KitError


def table(effect, seeds=10, noise=0.03, seed=0, split="test"):
    """Scores by kind, seed and question; LE is better by effect; seeds and tasks differ, and so do
    the seeds within a task, as the kinds of one seed share their first phase."""
    rng = np.random.default_rng(seed)
    of_seed, of_task = rng.normal(0, 0.05, seeds), rng.normal(0, 0.2, 5)
    shared = rng.normal(0, 0.1, (seeds, 5))
    rows = [
        (kind, s, split, f"task {t}", f"{t}/{q}", 0.5 + of_seed[s] + of_task[t] + shared[s, t])
        for kind in ("LE", "KE", "MCE")
        for s in range(seeds)
        for t in range(5)
        for q in range(4)
    ]
    frame = pd.DataFrame(rows, columns=["kind", "seed", "split", "task", "question_id", "correct"])
    own = effect * (frame["kind"] == "LE") + rng.normal(0, noise, len(frame))
    return frame.assign(correct=frame["correct"] + own)


def row(found, kind, other):
    return found.set_index(["kind", "other"], drop=False).loc[(kind, other)]


def test_an_effect_larger_than_the_smallest_in_reach_is_found_though_seeds_and_tasks_differ():
    found = mistakes.compare_kinds(table(0.05))
    real = row(found, "LE", "KE")
    assert real["smallest"] < 0.05 and real["p_holm"] < 0.01
    assert real["low"] < 0.05 < real["high"] and "a difference" in mistakes.statement(real)


def test_kinds_are_held_against_a_control_in_a_family_of_their_own():
    data = table(0.05).replace({"kind": {"MCE": "control"}})
    found = mistakes.compare_kinds(data, against="control")
    both = mistakes.compare_kinds(data)
    assert found[["kind", "other"]].to_numpy().tolist() == [["LE", "control"], ["KE", "control"]]
    one = row(both, "LE", "control")
    assert found.loc[0, "difference"] == one["difference"] and found.loc[0, "p"] == one["p"]
    assert found.loc[0, "p_holm"] == 2 * one["p"] and found.loc[0, "smallest"] < one["smallest"]
    with pytest.raises(KitError, match="unknown kind 'controls'"):
        mistakes.compare_kinds(data, against="controls")


def test_without_an_effect_nothing_is_claimed():
    found = mistakes.compare_kinds(table(0.0))
    assert (found["p_holm"] > 0.05).all() and (found["low"] < 0).all() and (found["high"] > 0).all()
    assert "undecided" in mistakes.statement(found.iloc[0])


def test_where_nothing_varies_nothing_is_said_of_what_was_in_reach():
    found = mistakes.compare_kinds(table(0.0, noise=0.0)).iloc[0]
    assert found["difference"] == 0 and np.isnan(found["smallest"])
    said = mistakes.statement(found)
    assert "nothing tells" in said and "nan" not in said


def test_no_bound_lies_beyond_what_shares_can_differ_by():
    rare = table(0.0, seeds=2, noise=2.0).query("task == 'task 0'")
    found = mistakes.compare_kinds(rare)
    assert found[["low", "high", "smallest"]].abs().max(axis=None) <= 1


def test_the_mixed_model_agrees_with_the_paired_comparison():
    data = pd.concat([table(0.05), table(0.0, seed=5, split="longer")])
    means = data.groupby(["kind", "seed", "split", "task"], as_index=False, sort=False)
    means = means["correct"].mean().rename(columns={"correct": "accuracy"})
    fitted = mistakes.mixed_model(means, reference="KE").set_index(["split", "kind"])
    paired = mistakes.compare_kinds(data).query("kind == 'LE' and other == 'KE'").set_index("split")
    for split in ("test", "longer"):
        here = fitted.loc[(split, "LE")]
        assert here["difference"] == pytest.approx(paired.loc[split, "difference"], abs=1e-4)
        assert here["converged"] and here["low"] < here["difference"] < here["high"]
        wide, beside = (
            here["high"] - here["low"],
            paired.loc[split, "high"] - paired.loc[split, "low"],
        )
        assert 0.5 < wide / beside < 2, "students of a seed share how they do in a task"
    assert fitted.loc[("test", "LE"), "p"] < 0.001 < fitted.loc[("longer", "LE"), "p"]


def test_one_seed_compares_nothing():
    with pytest.raises(KitError, match="needs 2"):
        mistakes.compare_kinds(table(0.05, seeds=1))


def test_the_figure_shows_every_comparison_of_every_split():
    found = mistakes.compare_kinds(pd.concat([table(0.05), table(0.0, split="longer")]))
    first, second = figures.kind_effects(found).axes
    assert [first.get_title(), second.get_title()] == ["test", "longer"]
    assert first.get_yticklabels()[0].get_text() == "LE less KE"
    seeds, questions = found.loc[0, ["seeds", "questions"]]
    assert first.get_xlabel().endswith(f"{questions} questions, {seeds} seeds")
    legend = [text.get_text() for text in first.figure.legends[0].get_texts()]
    assert any("too small to be found" in name for name in legend)


def test_the_figure_fills_what_the_corrected_test_decides_and_nothing_else():
    """The interval of the second row excludes zero too, but the correction leaves it open."""
    found = mistakes.compare_kinds(table(0.05)).head(2)
    found = found.assign(difference=0.03, low=0.01, high=0.05, p=[0.001, 0.03], p_holm=[0.01, 0.2])
    drawn = figures.kind_effects(found)
    dots = [line for line in drawn.axes[0].lines if line.get_marker() == "o"]
    assert [dot.get_markerfacecolor() for dot in dots] == ["#222222", "white"]
    legend = drawn.legends[0]
    names = [text.get_text() for text in legend.get_texts()]
    handles = dict(zip(names, legend.legend_handles, strict=True))
    assert handles["decided"].get_markerfacecolor() == "#222222"
    assert handles["open"].get_markerfacecolor() == "white"


def test_what_is_in_reach_is_less_where_other_questions_count_and_more_with_more_seeds():
    rng = np.random.default_rng(2)
    right = rng.random((3, 2, 60)) < 0.5  # seeds, methods, questions
    rows = [
        ("test", name, seed, str(q), right[seed, m, q])
        for seed in range(3)
        for m, name in enumerate(("EDIT", "EDIT w/o KRSL"))
        for q in range(60)
    ]
    told = pd.DataFrame(rows, columns=["split", "method", "seed", "question_id", "correct"])
    found = mistakes.reachable(told, "EDIT", "EDIT w/o KRSL", 3, seeds=(3, 10))
    assert found["seeds"].tolist() == [3, 10]
    assert found["new_questions"].is_monotonic_decreasing
    assert found["same_questions"].is_monotonic_decreasing
    assert mistakes.reachable(told.iloc[:0], "EDIT", "EDIT w/o KRSL", 3, seeds=(3,)).empty
    alone = told[told["method"] == "EDIT w/o KRSL"]  # as in profile kinds
    assert mistakes.reachable(alone, "EDIT", "EDIT w/o KRSL", 3, seeds=(3,)).empty
