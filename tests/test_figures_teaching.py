import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scipy.stats

from editlib import figures, mistakes


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def png(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, metadata={"Software": None})
    return buffer.getvalue()


ACCURACY = pd.DataFrame(
    {"task": ["a", "b", "all"], "accuracy": [0.9, 0.5, 0.7], "low": 0.4, "high": 0.95}
)
FUNNEL = pd.DataFrame(
    [
        ("asked", "D+", "right", 6),
        ("asked", "D-", "wrong", 2),
        ("twin", "none", "dropped", 0),
        ("paired", "all", "right", 4),
    ],
    columns=["step", "outcome", "side", "n"],
)
SHARES = pd.DataFrame(
    {"task": list("aabb"), "subset": ["D+dual", "D-dual"] * 2, "share": [0.1, 0.2, 0.3, 0.5]}
)
LOCATED = pd.DataFrame(
    [
        ("edit distance", "logical", 0.5, 0.8),
        ("all tokens", "logical", 0.2, 1.0),
        ("edit distance", "calculation", 0.6, 0.9),
    ],
    columns=["locator", "group", "precision", "recall"],
)
AGREEMENT = pd.DataFrame(
    [
        (g, m, loc, 0.5)
        for g in "ab"
        for m in ("precision", "recall")
        for loc in ("edit distance", "random")
    ],
    columns=["group", "measure", "locator", "value"],
)


def test_the_teacher_is_drawn_in_percent_best_task_on_top():
    (ax,) = figures.teacher_accuracy(ACCURACY).axes
    dots = ax.lines[0]
    assert list(dots.get_xdata()) == [50, 90]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["b", "a"]


def test_the_funnel_draws_what_is_there_each_step_in_its_row():
    (ax,) = figures.funnel(FUNNEL).axes
    assert [bar.get_width() for bar in ax.patches] == [6, 2, 4]
    assert [bar.get_x() for bar in ax.patches] == [0, 6, 0]
    assert [round(bar.get_y() + bar.get_height() / 2) for bar in ax.patches] == [0, 0, 2]
    rows = [tick.get_text() for tick in ax.get_yticklabels()]
    assert rows == ["asked: 8", "twin: 0", "paired: 4"]
    assert [text.get_text() for text in ax.texts] == ["D+\n6", "D-\n2", "all\n4"]


def test_each_pair_is_a_dot_and_each_task_has_its_median():
    (ax,) = figures.share_by_task(SHARES, "key share (%)", ("paper", 0.047)).axes
    lines = {line.get_label(): list(line.get_xdata()) for line in ax.lines}
    assert lines["D+dual"] == [10, 30] and lines["D-dual"] == [20, 50]
    assert lines["median"] == pytest.approx([15, 40])
    assert lines["paper"] == [4.7, 4.7]


def test_dots_of_a_task_are_spread_without_a_trend():
    shares = pd.DataFrame({"task": "one", "subset": "D+dual", "share": np.linspace(0, 1, 100) ** 2})
    (ax,) = figures.share_by_task(shares, "share (%)").axes
    heights = ax.lines[0].get_ydata()
    assert abs(scipy.stats.spearmanr(shares["share"], heights).statistic) < 0.05
    assert np.abs(np.diff(heights)).min() > 0.1


def test_a_subset_without_pairs_is_not_drawn():
    (ax,) = figures.share_by_task(SHARES[SHARES["subset"] == "D+dual"], "share (%)").axes
    assert [line.get_label() for line in ax.lines] == ["D+dual", "median"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.teacher_accuracy(ACCURACY),
        lambda: figures.funnel(FUNNEL),
        lambda: figures.share_by_task(SHARES, "share (%)"),
        lambda: figures.agreement(AGREEMENT),
        lambda: figures.locators(LOCATED),
    ],
)
def test_a_figure_repeats_byte_for_byte(draw):
    first = png(draw())
    assert png(draw()) == first


def test_each_locator_has_a_mark_for_every_kind_of_mistake():
    left, right = figures.locators(LOCATED).axes
    assert {line.get_label(): list(line.get_xdata()) for line in left.lines} == {
        "logical": [50, 20],
        "calculation": [60],
    }
    assert [tick.get_text() for tick in left.get_yticklabels()] == ["edit distance", "all tokens"]
    assert list(right.lines[0].get_xdata()) == [80, 100]


def test_a_kind_of_the_registry_is_drawn_with_the_locators_and_a_mixture_is_not(monkeypatch):
    monkeypatch.setitem(mistakes.KINDS, "mine", mistakes.Kind("mine", "MI", "?"))
    more = LOCATED.assign(group=["mine", "mine", "logical+calculation"])
    left, _ = figures.locators(pd.concat([LOCATED, more])).axes
    drawn = {line.get_label(): line for line in left.lines}
    assert set(drawn) == {"logical", "calculation", "mine"}
    looks = {(line.get_color(), line.get_marker()) for line in drawn.values()}
    assert len(looks) == 3 and list(drawn["mine"].get_xdata()) == [50, 20]


def test_precision_and_recall_stand_side_by_side():
    left, right = figures.agreement(AGREEMENT).axes
    assert left.get_xlabel() == "precision (%)" and right.get_xlabel() == "recall (%)"
    assert {line.get_label() for line in left.lines} == {
        "edit distance",
        "chance: as many at random",
    }
