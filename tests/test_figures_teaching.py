import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scipy.stats

from editlib import figures


@pytest.fixture(autouse=True)
def closed():
    yield
    assert not plt.get_fignums()  # a notebook would show them a second time


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
        ("edit distance", "logical", 0.3, 0.5, 0.8, 0.44),
        ("all tokens", "logical", 0.1, 0.2, 1.0, 0.18),
        ("edit distance", "calculation", 0.4, 0.6, 0.9, np.nan),
        ("all tokens", "calculation", 0.1, 0.2, 1.0, 0.18),
    ],
    columns=["locator", "group", *figures.HITS],
)
AGREEMENT = pd.DataFrame(
    [(g, loc, 0.3, 0.5, 0.7) for g in "ab" for loc in ("edit distance", "random")],
    columns=["group", "locator", "strict_precision", "precision", "recall"],
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


def test_each_locator_has_a_square_for_every_group_in_each_of_four_panels():
    panels = figures.locators(LOCATED).axes
    assert [ax.get_title() for ax in panels] == [f"{name} (%)" for name in figures.HITS.values()]
    assert [[text.get_text() for text in ax.texts] for ax in panels] == [
        ["30", "40", "10", "10"],
        ["50", "60", "20", "20"],
        ["80", "90", "100", "100"],
        ["44", "18", "18"],  # nothing to divide by: a blank square
    ]
    names = [tick.get_text() for tick in panels[0].get_yticklabels()]
    groups = [tick.get_text() for tick in panels[2].get_xticklabels()]
    assert names == ["edit distance", "all tokens"] and groups == ["logical", "calculation"]


def test_both_precisions_and_recall_stand_side_by_side():
    left, *others = figures.agreement(AGREEMENT).axes
    labels = ["strict precision (%)", "precision (%)", "recall (%)"]
    assert [ax.get_xlabel() for ax in (left, *others)] == labels
    assert [list(ax.lines[0].get_xdata()) for ax in (left, *others)] == [
        [30, 30],
        [50, 50],
        [70, 70],
    ]
    assert {line.get_label() for line in left.lines} == {
        "edit distance",
        "chance: as many at random",
    }
