"""What a comparison of kinds says, on made-up tables whose effects are known."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from editlib import figures, mistakes
from editlib.errors import KitError
from editlib.records import Prediction, Question


def table(effect, seeds=10, noise=0.03, seed=0, split="test"):
    """Accuracies by kind, seed and task; LE is better by effect, seeds and tasks differ."""
    rng = np.random.default_rng(seed)
    of_seed, of_task = rng.normal(0, 0.05, seeds), rng.normal(0, 0.2, 5)
    rows = [
        (kind, s, split, f"task {t}", 0.5 + of_seed[s] + of_task[t] + effect * (kind == "LE"))
        for kind in ("LE", "KE", "MCE")
        for s in range(seeds)
        for t in range(5)
    ]
    frame = pd.DataFrame(rows, columns=["kind", "seed", "split", "task", "accuracy"])
    return frame.assign(accuracy=frame["accuracy"] + rng.normal(0, noise, len(frame)))


def row(found, kind, other):
    return found.set_index(["kind", "other"], drop=False).loc[(kind, other)]


def test_an_effect_larger_than_the_smallest_in_reach_is_found_though_seeds_and_tasks_differ():
    found = mistakes.compare_kinds(table(0.05))
    real = row(found, "LE", "KE")
    assert real["smallest"] < 0.05 and real["p_holm"] < 0.01
    assert real["low"] < 0.05 < real["high"] and "a difference" in mistakes.statement(real)


def test_without_an_effect_nothing_is_claimed():
    found = mistakes.compare_kinds(table(0.0))
    assert (found["p_holm"] > 0.05).all() and (found["low"] < 0).all() and (found["high"] > 0).all()
    assert "undecided" in mistakes.statement(found.iloc[0])


def test_the_smallest_effect_is_the_one_that_is_found_four_times_in_five():
    rng = np.random.default_rng(1)
    effect = mistakes.smallest_effect(spread=1.0, seeds=10)
    draws = rng.normal(effect, 1.0, (4_000, 10))
    assert (stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(
        0.8, abs=0.02
    )
    assert mistakes.smallest_effect(1.0, 30) < effect < mistakes.smallest_effect(1.0, 10, 3)


def test_the_mixed_model_agrees_with_the_paired_comparison():
    data = pd.concat([table(0.05), table(0.0, seed=5, split="longer")])
    fitted = mistakes.mixed_model(data, reference="KE").set_index(["split", "kind"])
    paired = mistakes.compare_kinds(data).query("kind == 'LE' and other == 'KE'").set_index("split")
    for split in ("test", "longer"):
        here = fitted.loc[(split, "LE")]
        assert here["difference"] == pytest.approx(paired.loc[split, "difference"], abs=1e-4)
        assert here["converged"] and here["low"] < here["difference"] < here["high"]
    assert fitted.loc[("test", "LE"), "p"] < 0.001 < fitted.loc[("longer", "LE"), "p"]


def test_one_seed_compares_nothing():
    with pytest.raises(KitError, match="needs 2"):
        mistakes.compare_kinds(table(0.05, seeds=1))


def test_the_figure_shows_every_comparison_of_every_split():
    found = mistakes.compare_kinds(pd.concat([table(0.05), table(0.0, split="longer")]))
    first, second = figures.kind_effects(found).axes
    assert [first.get_title(), second.get_title()] == ["test", "longer"]
    assert first.get_yticklabels()[0].get_text() == "LE less KE"


def test_the_mistakes_of_students_are_counted_by_who_made_them():
    asked = [Question(str(n), "puzzles", "sums", "test", "?", "4") for n in range(2)]
    texts = {"KRSL on LE": ["2 + 2 = 5", "2 + 2 = 4"], "KRSL on MCE": ["fine", "fine"]}
    answers = [
        Prediction(q.id, "sums", "test", method, 0, text, "4", None, False)
        for method, told in texts.items()
        for q, text in zip(asked, told, strict=True)
    ]
    made = mistakes.mistakes_made(asked, answers, mistakes.by_rules)
    sums = made.query("made == 'MCE'").set_index("method")["share"]
    assert sums.to_dict() == {"KRSL on LE": 0.5, "KRSL on MCE": 0.0}
    assert (made["answers"] == 2).all()
