"""Every plot of the kit: functions of tables, so that each can be redrawn without a model.

One colour is one method, or one kind of mistake, in every notebook; all are safe for colour-blind
eyes and differ in grey.
"""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle, product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import (
    LogLocator,
    MaxNLocator,
    MultipleLocator,
    NullFormatter,
    PercentFormatter,
)

from editlib import mistakes

WIDTH = 6.5  # inches


# --- teaching: notebooks 01 to 03 -------------------------------------------------------------

FATES = {"right": "#0072b2", "wrong": "#d55e00", "dropped": "#c9ccd1"}  # of a CoT, of a pair
SUBSETS = {"D+dual": FATES["right"], "D-dual": FATES["wrong"]}
SUBSET_MARKERS = {"D+dual": "o", "D-dual": "X"}
HITS = {  # how marks are measured against known mistakes
    "strict_precision": "strict precision",
    "precision": "precision",
    "recall": "recall",
    "strict_f1": "strict F1",
}
GOLDEN = (math.sqrt(5) - 1) / 2  # its multiples, less their whole part, spread evenly


def teacher_accuracy(table: pd.DataFrame) -> Figure:
    """Accuracy of the teacher by task, best first, with its interval over questions.

    table: task, accuracy, low, high (0 to 1); the row of task "all" is drawn as a line.
    """
    tasks = table[table["task"] != "all"].sort_values("accuracy", kind="stable")
    fig, ax = _horizontal(len(tasks))
    bounds = [tasks["accuracy"] - tasks["low"], tasks["high"] - tasks["accuracy"]]
    ax.errorbar(
        100 * tasks["accuracy"],
        tasks["task"],
        xerr=[100 * side for side in bounds],
        fmt="o",
        color=FATES["right"],
    )
    (mean,) = 100 * table.loc[table["task"] == "all", "accuracy"]
    ax.axvline(mean, color="0.4", ls="--", lw=1)
    ax.text(mean, 1.01, "all questions", transform=ax.get_xaxis_transform(), ha="center", size=8)
    ax.set(xlabel="accuracy of the teacher (%), bars: 95% over questions", xlim=(0, 102))
    return fig


def funnel(table: pd.DataFrame) -> Figure:
    """What became of the questions, step by step, as stacked bars.

    table: step, outcome, side (a name of FATES), n, in the order to draw; zeros leave no trace.
    """
    steps = list(dict.fromkeys(table["step"]))
    fig, ax = _horizontal(len(steps), height=0.55)
    left = dict.fromkeys(steps, 0)
    for row in table[table["n"] > 0].itertuples():
        place, colour = steps.index(row.step), FATES[row.side]
        bar = ax.barh(place, row.n, left=left[row.step], color=colour, ec="white", height=0.7)
        left[row.step] += row.n
        if row.n > 0.08 * table.groupby("step")["n"].sum().max():  # else the words do not fit
            ink = "white" if row.side == "right" else "black"
            ax.bar_label(bar, [f"{row.outcome}\n{row.n}"], label_type="center", size=8, color=ink)
    names = [f"{step}: {left[step]}" for step in steps]
    ax.set(xlabel="questions", yticks=range(len(steps)), yticklabels=names)
    ax.set_ylim(len(steps) - 0.5, -0.5)  # a step without bars keeps its row
    return fig


def share_by_task(
    table: pd.DataFrame, xlabel: str, reference: tuple[str, float] | None = None
) -> Figure:
    """Share of each pair by task: one dot a pair, a stroke at the median of the task.

    table: task, subset, share (0 to 1). reference: name and value of a line to compare with.
    """
    tasks = list(dict.fromkeys(table["task"]))
    fig, ax = _horizontal(len(tasks), height=0.33)
    for subset in [name for name in SUBSETS if name in set(table["subset"])]:
        part = table[table["subset"] == subset]
        rank = part.groupby("task")["share"].rank(method="first")
        place = rank * GOLDEN % 1 - 0.5  # neighbours stand apart, and no trend appears
        height = part["task"].map(tasks.index) + 0.6 * place
        style = {"color": SUBSETS[subset], "ms": 3, "alpha": 0.6, "label": subset}
        ax.plot(100 * part["share"], height, "o", **style)
    medians = 100 * table.groupby("task")["share"].median()[tasks]
    ax.plot(medians, range(len(tasks)), "|", color="black", ms=16, mew=2, label="median")
    if reference:
        ax.axvline(100 * reference[1], color="0.4", ls="--", lw=1, label=reference[0])
    ax.set(xlabel=xlabel, xlim=(0, None), yticks=range(len(tasks)), yticklabels=tasks)
    ax.invert_yaxis()
    fig.legend(*ax.get_legend_handles_labels(), **_BELOW | {"ncols": 4}, markerscale=0.6)
    return fig


def agreement(table: pd.DataFrame) -> Figure:
    """How key steps meet known mistakes, beside the level of chance: a row a group of pairs.

    table: group, locator ("edit distance", "random"), strict_precision, precision, recall (0 to 1).
    """
    groups = list(dict.fromkeys(table["group"]))
    fig = _blank(0.9 + 0.28 * len(groups))
    axes = fig.subplots(1, 3, sharey=True)
    looks = {
        "edit distance": ("o", FATES["right"], "edit distance"),
        "random": ("x", "0.5", "chance: as many at random"),
    }
    for ax, measure in zip(axes, HITS, strict=False):
        for locator, (marker, colour, label) in looks.items():
            part = table[table["locator"] == locator]
            ax.plot(100 * part[measure], part["group"], marker, color=colour, label=label)
        ax.set(xlabel=f"{HITS[measure]} (%)", xlim=(-3, 103))
        ax.grid(axis="x", color="0.9")
    axes[0].invert_yaxis()
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False)
    return fig


def locators(table: pd.DataFrame) -> Figure:
    """How every locator meets known mistakes: a row each, a column a group of pairs.

    table: locator, group, and the measures of HITS (0 to 1; nan leaves a square blank).
    """
    names, groups = (list(dict.fromkeys(table[of])) for of in ("locator", "group"))
    fig = _blank(1.6 + 0.5 * len(names))
    axes = fig.subplots(2, 2, sharex=True, sharey=True)
    for ax, (measure, title) in zip(axes.flat, HITS.items(), strict=True):
        wide = table.pivot(index="locator", columns="group", values=measure).loc[names, groups]
        sns.heatmap(100 * wide, annot=True, fmt=".0f", annot_kws={"size": 7}, ax=ax, **_SQUARES)
        ax.tick_params(length=0, labelsize=8)
        ax.tick_params(axis="x", rotation=90)
        ax.tick_params(axis="y", rotation=0)
        ax.set(xlabel="", ylabel="")
        ax.set_title(f"{title} (%)", fontsize=9)
    return fig


def _horizontal(n: int, height: float = 0.28) -> tuple[Figure, Axes]:
    """A figure of horizontal rows."""
    fig = _blank(0.9 + height * n)
    ax = fig.subplots()
    ax.spines[["top", "right"]].set_visible(False)
    return fig, ax


# --- students: notebooks 04 to 06 -------------------------------------------------------------

STUDENTS = {  # and who taught them, in the order of every figure
    "teacher": "#000000",
    "Base student": "#767676",
    "student, zero-shot": "#bfbfbf",
    "student, few-shot": "#a6a08c",
    "student, zero-shot-CoT": "#8c7f6f",
    "student, few-shot-CoT": "#54514a",
    "MT-CoT": "#882255",
    "SCOTT": "#cc79a7",
    "Std-CoT": "#0072b2",
    "SBS": "#44aa99",
    "SBS-MI": "#88ccbb",
    "CasCoD": "#332288",
    "Std-CoT, repeat sampling": "#6699cc",
    "Std-CoT, dual CoTs": "#999933",
    "Std-CoT continued": "#56b4e9",
    "EDIT w/o KRSL": "#009e73",
    "EDIT w/o KRSL continued": "#117733",
    "EDIT w/o RWC": "#e69f00",
    "EDIT w/o RWC, KRSL on Ddual": "#8c510a",
    "EDIT": "#d55e00",
}
OTHER = "#444444"  # a method that has no colour of its own
KINDS = {"LE": "#0072b2", "KE": "#e69f00", "MCE": "#882255", "OE": "#767676"}
_SAFE = sns.color_palette("colorblind").as_hex()  # whose blue, orange and grey are taken
MORE_KINDS = ("#000000", *(_SAFE[n] for n in (2, 9, 4, 3, 5, 6, 8)))  # that readers add, in turn
LINES = ("-", "--", "-.", ":")
STROKES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (3, 2)), (0, (1, 3)))  # of students
PROBED = {"correct": (FATES["right"], "o"), "wrong": (FATES["wrong"], "X")}
PARTS = {"mistake": ("#d55e00", ""), "consequence": ("#f0c060", "///"), "routine": ("#d9d9d9", "")}
MARKS = {  # who says it: colour, marker, how far above the middle of its row
    "this run": ("#222222", "o", 0.13),
    "the paper": ("#c0267e", "D", -0.13),
}

OUTSIDE = "#f0f0f0"  # the ground where a scale is another one
MISSED = "#e3e3e3"  # differences that were likely to be missed
DECIDED = ("reproduced", "opposite")  # verdicts on claims
EXCLUDED = "not reproduced"  # no sign is decided, and an effect as large as the paper's is excluded
BESIDE_PAPER = {  # the legend of ours beside theirs
    "this run, decided": {"color": "#222222", "marker": "o"},
    "this run, open": {"color": "#222222", "marker": "o", "markerfacecolor": "white"},
    "the paper": {"color": "#c0267e", "marker": "D"},
}
FACES = dict.fromkeys(DECIDED, MARKS["this run"][0]) | {
    EXCLUDED: "#a0a0a0"
}  # of our dot; else open


def loss_curves(curves: pd.DataFrame) -> Figure:
    """Training loss (nats per token) by update; lines are means over seeds, bands their range.

    Each panel has its own scale: wrong key tokens are unlikely from the start.
    curves: method, seed, step, tokens (one panel each), nll.
    """
    figure, axes = _panels(_in_order(curves["tokens"]), height=2.9, sharex=False, sharey=False)
    for name, ax in axes.items():
        sns.lineplot(
            curves[curves["tokens"] == name],
            **{"x": "step", "y": "nll", "hue": "method", "ax": ax, "legend": False},
            hue_order=_students(curves),
            palette={name: _colour(name) for name in _students(curves)},
            errorbar=("pi", 100),
        )
        ax.set(xlabel="updates", ylabel="")
        ax.set_ylim(0, None)
    next(iter(axes.values())).set_ylabel("NLL (nats per token)")
    _legend(figure, {name: {"color": _colour(name)} for name in _students(curves)})
    return figure


def preference_curves(curves: pd.DataFrame) -> Figure:
    """NLL (nats per token) of both sides of pairs by update: a row a method, a line a rate.

    Lines are means over seeds, bands their range; the scale is logarithmic, as a collapse is a
    matter of powers of ten. curves: method, lr, seed, step, tokens (a column each), nll (above 0).
    """
    methods, sides = _students(curves), _in_order(curves["tokens"])
    rates = sorted(set(curves["lr"]), reverse=True)  # the highest is the darkest
    shades = sns.color_palette("cividis", len(rates) + 1)  # but for the last, which is too light
    looks = {
        rate: {"color": shade, "linestyle": stroke}
        for rate, shade, stroke in zip(rates, shades, cycle(STROKES), strict=False)
    }
    figure = _blank(height=0.8 + 1.7 * len(methods))
    axes = figure.subplots(len(methods), len(sides), sharex=True, sharey=True, squeeze=False)
    for (row, method), (column, side) in product(enumerate(methods), enumerate(sides)):
        part, ax = _only(curves, {"method": method, "tokens": side}), axes[row, column]
        for rate, line in part.groupby("lr"):
            steps = line.groupby("step")["nll"].agg(["mean", "min", "max"])
            ax.plot(steps.index, steps["mean"], marker=".", markersize=4, **looks[rate])
            band = {"color": looks[rate]["color"], "alpha": 0.2, "linewidth": 0}
            ax.fill_between(steps.index, steps["min"], steps["max"], **band)
        axes[row, 0].set_ylabel(method)
        axes[0, column].set_title(side, fontsize=9)
        axes[-1, column].set_xlabel("updates")
    axes[0, 0].set_yscale("log")
    axes[0, 0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes[0, 0].yaxis.set_major_formatter("{x:g}")
    axes[0, 0].yaxis.set_minor_formatter(NullFormatter())
    figure.supylabel("NLL (nats per token)", fontsize=10)
    sns.despine(figure)
    _legend(figure, {f"rate {rate:g}": look for rate, look in looks.items()})
    return figure


def validation_accuracy(epochs: pd.DataFrame) -> Figure:
    """Accuracy (%) on validation questions after each epoch; a ring marks the epoch kept.

    A line is one seed at one learning rate. Where a method was tried at several, a legend in its
    panel names them: the darker, the higher. epochs: method, seed, lr, epoch, accuracy, chosen.
    """
    figure, axes = _panels(_students(epochs), height=2.1, sharex=False)
    for name, ax in axes.items():
        part = epochs[epochs["method"] == name]
        looks = _rate_looks(part["lr"], alone=_colour(name))
        for (rate, _), line in part.groupby(["lr", "seed"]):
            ax.plot(line["epoch"], 100 * line["accuracy"], ".-", **looks[rate])
        if len(looks) > 1:
            lines = [Line2D([], [], **look) for look in looks.values()]
            names = [f"{rate:.3g}" for rate in looks]
            ax.legend(lines, names, title="learning rate", **_INSIDE)
        kept = part[part["chosen"]]
        ring = {"facecolors": "none", "edgecolors": "black", "zorder": 3, "clip_on": False}
        ax.scatter(kept["epoch"], 100 * kept["accuracy"], 70, **ring)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if part["epoch"].nunique() == 1:  # else ticks closer than their names are long
            ax.set_xticks(part["epoch"].unique()[:1].round(2))
    figure.supxlabel("epoch", fontsize=10)
    figure.supylabel("accuracy (%)", fontsize=10)
    return figure


def _rate_looks(rates: pd.Series, alone: str) -> dict[float, dict]:
    """The line of each learning rate in rising order, ever darker; of a single one, in its colour.

    Thinner as well, so that of lines that lie on each other all are seen.

    >>> list(_rate_looks(pd.Series([1e-3, 1e-5, 1e-3]), alone="red"))
    [1e-05, 0.001]
    """
    found = sorted(set(rates))
    if len(found) == 1:
        return {found[0]: {"color": alone, "alpha": 0.7}}
    shades = sns.color_palette("mako_r", len(found)).as_hex()
    widths = np.linspace(3, 1, len(found))
    looks = [{"color": c, "linewidth": w} for c, w in zip(shades, widths, strict=True)]
    return dict(zip(found, looks, strict=True))


def probes(table: pd.DataFrame) -> Figure:
    """Mean NLL (nats) of key and of routine tokens of both sides; dots are seeds, marks means.

    table: method, seed, tokens ("key", "routine"), side ("correct", "wrong"), nll.
    """
    methods = _students(table)
    figure, axes = _panels(_in_order(table["tokens"]), height=0.9 + 0.33 * len(methods))
    for name, ax in axes.items():
        part = table[table["tokens"] == name]
        means = part.groupby(["method", "side"])["nll"].mean().unstack()
        for row, method in enumerate(methods):
            ax.plot(means.loc[method, list(PROBED)], [row, row], color="#bbbbbb", zorder=1)
        for side, (colour, marker) in PROBED.items():
            rows = part[part["side"] == side]
            ax.scatter(rows["nll"], [methods.index(m) for m in rows["method"]], s=5, color=colour)
            ax.scatter(means.loc[methods, side], range(len(methods)), 45, colour, marker=marker)
        _name_rows(ax, methods)
        ax.set_title(f"{name} tokens", fontsize=9)
        ax.set_xlabel("mean NLL (nats)")
    _legend(figure, {f"{s} CoT": {"color": c, "marker": m} for s, (c, m) in PROBED.items()})
    return figure


def accuracy_by_method(
    accuracy: pd.DataFrame,
    summary: pd.DataFrame,
    guessing: Mapping[str, float],
    on_top: str | None = None,
) -> Figure:
    """Accuracy (%) of each method and split; dots are seeds, bars 95 % intervals.

    accuracy: split, method, seed, accuracy. summary: of statistics.summarise by split and method;
    bars range over seeds and questions, or, dotted, over questions where there is one student.
    guessing: accuracy by chance of each split, drawn as a dashed line. on_top: the method that
    the others are compared with, in the first row.
    """
    methods = sorted(_students(summary), key=lambda name: name != on_top)
    figure, axes = _panels(_in_order(summary["split"]), height=1.1 + 0.3 * len(methods))
    for split, ax in axes.items():
        for row, method in enumerate(methods):
            own = {"split": split, "method": method}
            mean = _only(summary, own).iloc[0]
            _interval(ax, mean, "accuracy", row, color=_colour(method), marker="|", markersize=13)
            if pd.isna(mean["low"]):
                bar = 100 * mean[["low_questions", "high_questions"]]
                ax.plot(
                    bar, [row, row], color=_colour(method), linewidth=2, linestyle=(0, (1, 0.7))
                )
            seeds = 100 * _only(accuracy, own)["accuracy"]
            ax.plot(seeds, [row] * len(seeds), ".", color="black", alpha=0.6, zorder=3)
        ax.axvline(100 * guessing[split], color="black", linestyle="--", linewidth=1)
        _name_rows(
            ax, [textwrap.fill(name, 30) for name in methods]
        )  # beside long ones panels are narrow
        ax.tick_params(axis="y", labelsize=8)
        ax.set_xlabel("accuracy (%)", fontsize=8)
        ax.xaxis.set_major_locator(MultipleLocator(25))
    ax.set_xlim(0, None)
    legend = {
        "over seeds and questions": {"color": OTHER, "linewidth": 2},
        "one student: over questions": {"color": OTHER, "linewidth": 2, "linestyle": (0, (1, 0.7))},
        "guessing": {"color": "black", "linestyle": "--"},
    }
    _legend(figure, legend)
    return figure


def accuracy_by_setting(summary: pd.DataFrame) -> Figure:
    """Accuracy (%) of each method against a setting; bars are 95 % intervals over seeds and
    questions, of a student without seeds over questions. A column is a study, a row a domain.

    summary: study, value (in the order of the axis), domain, method, and the columns of
    statistics.summarise.
    """
    studies, domains = _in_order(summary["study"]), _in_order(summary["domain"])
    methods = _students(summary)
    figure = _blank(height=0.8 + 1.9 * len(domains))
    axes = figure.subplots(len(domains), len(studies), sharex="col", sharey="row", squeeze=False)
    for (row, domain), (column, study) in product(enumerate(domains), enumerate(studies)):
        part, ax = _only(summary, {"study": study, "domain": domain}), axes[row, column]
        values = _in_order(part["value"])
        for n, method in enumerate(methods):
            line = part[part["method"] == method].set_index("value").reindex(values)
            x = np.arange(len(values)) + 0.12 * (n - (len(methods) - 1) / 2)  # side by side
            ax.plot(x, 100 * line["accuracy"], ".-", color=_colour(method))
            low, high = (line[b].fillna(line[f"{b}_questions"]) for b in ("low", "high"))
            ax.vlines(x, 100 * low, 100 * high, color=_colour(method))
        ax.set_xticks(range(len(values)), values)
        axes[row, 0].set_ylabel(f"{domain} (%)")
        axes[0, column].set_title(study, fontsize=9)
    for ax in axes[:, 0]:  # shared: set before all panels are drawn, it would cut the later ones
        ax.set_ylim(0, None)
    sns.despine(figure)
    _legend(figure, {name: {"color": _colour(name)} for name in methods})
    return figure


def accuracy_by_task(table: pd.DataFrame) -> Figure:
    """Accuracy (%) of each task and method as a map, a block a split, beside what guessing gets.

    table: split, task, method, accuracy (mean over seeds), chance (nan where it is not known).
    """
    splits = _in_order(table["split"])
    blocks = [_task_block(table[table["split"] == split]) for split in splits]
    figure = _blank(height=1.3 + 0.26 * sum(map(len, blocks)))
    figure.set_figwidth(max(WIDTH, 2.8 + 0.32 * blocks[0].shape[1]))  # numbers need their room
    ratios = [len(block) for block in blocks]
    axes = figure.subplots(len(splits), sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    for split, block, ax in zip(splits, blocks, axes, strict=True):
        sns.heatmap(block, annot=True, fmt=".0f", annot_kws={"fontsize": 8}, ax=ax, **_SQUARES)
        ax.set(xlabel="", ylabel="")
        ax.set_title(split, fontsize=9, loc="left")
        ax.tick_params(length=0)
    _colour_scale(figure, axes, "accuracy (%)")
    axes[-1].tick_params(axis="x", rotation=30)
    for name in axes[-1].get_xticklabels():
        name.set(horizontalalignment="right", rotation_mode="anchor")
    return figure


def _task_block(table: pd.DataFrame) -> pd.DataFrame:
    """Percentages: tasks down; guessing, then the methods across."""
    wide = table.pivot(index="task", columns="method", values="accuracy")[_students(table)]
    wide.insert(0, "guessing", table.groupby("task")["chance"].first())
    return 100 * wide.loc[_in_order(table["task"])].rename_axis(index=None, columns=None)


def differences(table: pd.DataFrame) -> Figure:
    """Accuracy of one method less that of others (points), ours with its 95 % interval over seeds
    and questions, and the paper's; a filled dot is a difference that the corrected test decides.

    table: split, baseline, difference, low, high, decided, paper (nan where it has none).
    """
    baselines = _in_order(table["baseline"])
    figure, axes = _panels(_in_order(table["split"]), height=1.1 + 0.4 * len(baselines))
    for split, ax in axes.items():
        for _, row in table[table["split"] == split].iterrows():
            face = MARKS["this run"][0] if row["decided"] else "white"
            _beside_paper(ax, row, baselines.index(row["baseline"]), face)
        ax.axvline(0, color="black", linewidth=1)
        _name_rows(ax, [f"less {baseline}" for baseline in baselines])
        ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        ax.set_xlabel("points")
    _legend(figure, BESIDE_PAPER)
    return figure


def claims(table: pd.DataFrame) -> Figure:
    """Every claim as a row: the difference that it speaks of (points), ours with its 95 % interval
    over seeds and questions, and the paper's. To the right of zero is what is claimed. Our dot is
    filled if a sign is decided, grey if an effect as large as the paper's is excluded, else open.

    Linear up to 10 points; beyond, where the ground is grey, logarithmic. table: claim, method,
    baseline, domain, paper, difference, low, high, verdict; rows that were not run are left out.
    """
    drawn = table.dropna(subset="difference")
    figure = _blank(height=1.5 + 0.2 * (len(drawn) + drawn["claim"].nunique()))
    ax, names, heads = figure.subplots(), [], set()
    for claim, part in drawn.groupby("claim", sort=False):
        heads.add(len(names))
        names.append(claim)
        for _, row in part.iterrows():
            _beside_paper(ax, row, len(names), FACES.get(row["verdict"], "white"))
            name = f"{row['method']} less {row['baseline']} ({row['domain']})"
            names.append(name.replace(", self-consistency", " by vote"))
    ax.axvline(0, color="black", linewidth=1)
    _name_rows(ax, names)
    for place, label in enumerate(ax.get_yticklabels()):
        label.set(fontsize=7, fontweight="bold" if place in heads else "normal")
    _points_axis(ax, drawn)
    excluded = BESIDE_PAPER["this run, open"] | {"markerfacecolor": FACES[EXCLUDED]}
    _legend(figure, BESIDE_PAPER | {f"this run, {EXCLUDED}": excluded})
    sns.despine(figure)
    return figure


def _points_axis(ax: Axes, table: pd.DataFrame) -> None:
    """An axis of points, linear up to 10 on each side and logarithmic beyond."""
    farthest = 115 * table[["paper", "difference", "low", "high"]].abs().max().max()
    ticks = [-30, -10, -5, 0, 5, 10, 30]
    ax.set_xscale("symlog", linthresh=10, linscale=1)
    ax.set_xticks(ticks, map(str, ticks), fontsize=8)
    ax.minorticks_off()
    ax.set_xlim(-max(farthest, 12), max(farthest, 12))
    for start, end in zip(ax.get_xlim(), (-10, 10), strict=True):
        ax.axvspan(start, end, color=OUTSIDE, linewidth=0, zorder=0)
    ax.set_xlabel("difference (points)")
    title = "grey ground: more than 10 points, drawn closer together (logarithmic)"
    ax.set_title(title, fontsize=8, loc="right")  # beside long names the axis is narrower than it


def _beside_paper(ax: Axes, row: pd.Series, y: float, face: str) -> None:
    """Our difference with its interval, the dot filled with face, and the paper's beside it."""
    colour, marker, above = MARKS["this run"]
    style = {"color": colour, "marker": marker, "markerfacecolor": face}
    _interval(ax, row, "difference", y - above, markersize=5, **style)
    colour, marker, above = MARKS["the paper"]
    ax.plot(100 * row["paper"], y - above, marker, color=colour, markersize=5)


def gain_by_rate(table: pd.DataFrame) -> Figure:
    """What a second phase adds (points) by its learning rate; bars are 95 % intervals over seeds
    and questions. The paper's gain, at its own rate, is a dotted line.

    table: domain (one panel each), lr, difference, low, high, paper.
    """
    figure, axes = _panels(_in_order(table["domain"]), height=2.7)
    for domain, ax in axes.items():
        part = table[table["domain"] == domain].sort_values("lr")
        ax.plot(part["lr"], 100 * part["difference"], "o-", color=_colour("EDIT"), markersize=4)
        ax.vlines(part["lr"], 100 * part["low"], 100 * part["high"], color=_colour("EDIT"))
        ax.axhline(0, color="black", linewidth=1)
        ax.axhline(100 * part["paper"].iloc[0], color=MARKS["the paper"][0], linestyle=":")
        ax.set(xlabel="learning rate", xscale="log")
    next(iter(axes.values())).set_ylabel("points")
    paper = {"color": MARKS["the paper"][0], "linestyle": ":"}
    _legend(figure, {"this run": {"color": _colour("EDIT")}, "the paper": paper})
    return figure


def power(table: pd.DataFrame, reported: Mapping[str, float]) -> Figure:
    """Smallest difference (points) found four times in five, by the number of seeds.

    table: of statistics.reach, a line for each number of questions, dashed where they are the same
    in every run. reported: differences of the paper by name, drawn as horizontal lines.
    """
    figure = _blank(height=3.4)
    ax, sizes = figure.subplots(), _in_order(table["questions"])
    for shade, size in zip(sns.color_palette("crest", len(sizes)), sizes, strict=True):
        for asked, line in (("new", "-"), ("same", "--")):
            part = table[(table["questions"] == size) & (table["asked"] == asked)]
            colour = shade if asked == "new" else "black"  # where the two are equal, both show
            style = {"color": colour, "linestyle": line, "label": f"{size:,} {asked} questions"}
            ax.plot(part["seeds"], 100 * part["detectable"], **style) if len(part) else None
    here = table[table["here"]]
    ax.plot(here["seeds"], 100 * here["detectable"], "o", color="black", label="this run")
    for name, value in reported.items():
        ax.axhline(100 * value, color=MARKS["the paper"][0], linestyle=":", linewidth=1)
        ax.annotate(
            name,
            (1, 100 * value),  # beside the axes, where no curve runs
            (4, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="left",
            va="center",
            fontsize=7,
        )
    ax.set(xlabel="seeds", ylabel="detectable (points)", xscale="log", yscale="log")
    ticks, points = [2, 3, 5, 10, 20, 50, 100], [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]
    ax.set_ylim(points[0], points[-1])  # with two seeds nothing that exists would be found
    ax.set_xticks(ticks, map(str, ticks))
    ax.set_yticks(points, map(str, points))
    ax.minorticks_off()
    ax.grid(color="#e5e5e5")
    sns.despine(figure)
    figure.legend(*ax.get_legend_handles_labels(), **_BELOW)
    return figure


def mistake_shares(table: pd.DataFrame) -> Figure:
    """Share (%) of wrong CoTs by the kinds of their mistakes; bars are 95 % intervals over CoTs.

    table: source (a name of MARKS), subset (one panel each), kinds, share, low, high.
    """
    kinds = _in_order(table["kinds"])
    figure, axes = _panels(_in_order(table["subset"]), height=1.1 + 0.3 * len(kinds))
    for subset, ax in axes.items():
        for _, row in table[table["subset"] == subset].iterrows():
            colour, marker, above = MARKS[row["source"]]
            style = {"color": colour, "marker": marker, "markersize": 5}
            _interval(ax, row, "share", kinds.index(row["kinds"]) - above, **style)
        _name_rows(ax, kinds)
        ax.set(xlabel="share of wrong CoTs (%)")
    ax.set_xlim(0, None)
    _legend(figure, {name: {"color": c, "marker": m} for name, (c, m, _) in MARKS.items()})
    return figure


def mistake_shares_by_task(table: pd.DataFrame) -> Figure:
    """Share (%) of the wrong CoTs of a task and subset by kind; bars are 95 % intervals over CoTs.

    table: task (a row each), subset (of SUBSETS), kinds (a panel each), share, low, high.
    """
    tasks = _in_order(table["task"])
    figure, axes = _panels(_in_order(table["kinds"]), height=1.0 + 0.28 * len(tasks))
    for kinds, ax in axes.items():
        for row in table[table["kinds"] == kinds].to_dict("records"):
            y = tasks.index(row["task"]) + (0.13 if row["subset"] == "D-dual" else -0.13)
            style = {"color": SUBSETS[row["subset"]], "marker": SUBSET_MARKERS[row["subset"]]}
            _interval(ax, pd.Series(row), "share", y, **style, markersize=4)
        _name_rows(ax, tasks)
        ax.set(xlabel="share (%)", xlim=(-3, 103))
    lines = {name: {"color": c, "marker": SUBSET_MARKERS[name]} for name, c in SUBSETS.items()}
    _legend(figure, lines)
    return figure


def kind_colours(kinds: Iterable[str]) -> dict[str, str]:
    """A colour for each single kind that occurs, those of the paper first.

    Kinds of readers have theirs by the order of the registry; those that are not in it come last.

    >>> list(kind_colours(["MCE", "LN", "LE", "LE+KE", "none"]))
    ['LE', 'MCE', 'LN']
    """
    found = [k for k in dict.fromkeys(kinds) if "+" not in k and k not in ("none", "unread")]
    more = [k for k in dict.fromkeys([*mistakes.shorts(), *found]) if k not in KINDS]
    colours = KINDS | dict(zip(more, cycle(MORE_KINDS), strict=False))
    return {kind: colour for kind, colour in colours.items() if kind in found}


def mistake_positions(table: pd.DataFrame) -> Figure:
    """Share (%) of mistakes that begin no later than a place in their CoT (share of its text).

    table: kinds (combinations are left out), position (0: start, 1: end).
    """
    colours = kind_colours(table["kinds"])
    figure = _blank(height=2.9 + 0.2 * math.ceil(len(colours) / 3))
    ax = figure.subplots()
    for (kind, colour), line in zip(colours.items(), cycle(LINES)):
        places = table.loc[table["kinds"] == kind, "position"]
        ax.ecdf(places, color=colour, linestyle=line, label=f"{kind} ({len(places)})")
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    sns.despine(figure)
    where = "where the mistake begins (share of the text before it)"
    ax.set(xlabel=where, ylabel="mistakes so far", xlim=(0, 1))
    if ax.lines:
        named = ax.get_legend_handles_labels()
        figure.legend(*named, title="kind (mistakes)", title_fontsize=8, **_BELOW)
    return figure


def classifier_scores(table: pd.DataFrame) -> Figure:
    """Precision and recall (%) of a classifier by kind; bars are 95 % intervals over chains.

    table: of mistakes.against_truth. A kind that nobody has, or nobody is said to have, has none.
    """
    kinds = _in_order(table["kind"])
    colours = kind_colours(kinds)
    figure, axes = _panels(["precision", "recall"], height=1.0 + 0.3 * len(kinds))
    for measure, ax in axes.items():
        for y, row in enumerate(table.to_dict("records")):
            bounds = {"low": row[f"{measure}_low"], "high": row[f"{measure}_high"]}
            style = {"color": colours[row["kind"]], "marker": "o"}
            _interval(ax, pd.Series({measure: row[measure]} | bounds), measure, y, **style)
        _name_rows(ax, kinds)
        ax.set(xlabel=f"{measure} (%)", xlim=(-3, 103), title="")
    return figure


def confusion(table: pd.DataFrame) -> Figure:
    """How often each label by one classifier meets each by another; colour: share of the row.

    table: of mistakes.confusion; a panel for each two classifiers, one below the other.
    """
    squares = {
        two: part.set_index(["label", "other_label"])["n"].unstack(sort=False)
        for two, part in table.groupby(["classifier", "other"], sort=False)
    }
    heights = [1.4 + 0.34 * len(square) for square in squares.values()]
    figure = _blank(height=sum(heights))
    axes = figure.subplots(len(squares), height_ratios=heights, squeeze=False)[:, 0]
    for ax, ((rows, columns), square) in zip(axes, squares.items(), strict=True):
        shares = 100 * square.div(square.sum(axis=1).where(lambda n: n > 0, 1), axis=0)
        sns.heatmap(shares, annot=square, fmt="d", ax=ax, **_SQUARES)
        ax.tick_params(length=0)
        ax.tick_params(axis="x", rotation=45)
        ax.tick_params(axis="y", rotation=0)
        ax.set(ylabel=rows, xlabel=columns)
        ax.set_title("number of chains", fontsize=9)
    _colour_scale(figure, axes, "share of the row (%)")
    return figure


def kind_effects(table: pd.DataFrame) -> Figure:
    """Outcome of one kind less another (points), 95 % intervals over seeds and questions.

    A filled dot is a difference that the corrected test decides. Grey: differences that the design
    would often have missed. table: of mistakes.compare_kinds.
    """
    names = [f"{row.kind} less {row.other}" for row in table.itertuples()]
    table = table.assign(name=names)
    order = _in_order(table["name"])
    figure, axes = _panels(_in_order(table["split"]), height=1.8 + 0.3 * len(order))
    dot = {"color": "#222222", "marker": "o", "markersize": 5}
    for split, ax in axes.items():
        part = table[table["split"] == split]
        for _, row in part.iterrows():
            y, reach = order.index(row["name"]), 100 * row["smallest"]
            ax.barh(y, 2 * reach, left=-reach, height=0.7, color=MISSED)
            fill = "#222222" if row["p_holm"] < mistakes.ALPHA else "white"
            _interval(ax, row, "difference", y, **dot, markerfacecolor=fill)
        ax.axvline(0, color="black", linewidth=1)
        _name_rows(ax, order)
        asked = f"{_range(part['questions'])} questions, {_range(part['seeds'])} seeds"
        ax.set_xlabel(f"difference (points)\n{asked}")
    legend = {
        "decided": dot,
        "open": dot | {"markerfacecolor": "white"},
        "95% over seeds and questions": {"color": "#222222", "linewidth": 2},
        "too small to be found four times in five": {"color": MISSED, "linewidth": 8},
    }
    _legend(figure, legend)
    return figure


def _range(numbers: pd.Series) -> str:
    """The one number there is, or the least and the greatest.

    >>> _range(pd.Series([3, 3])), _range(pd.Series([3, 5, 4]))
    ('3', '3 to 5')
    """
    return " to ".join(str(n) for n in dict.fromkeys((numbers.min(), numbers.max())))


def composition(table: pd.DataFrame) -> Figure:
    """Of which parts all tokens, and of which the key tokens, of wrong CoTs consist (%).

    table: kinds, of ("all tokens", "key tokens"), part, share.
    """
    bars = table.set_index(["kinds", "of", "part"])["share"].unstack()
    kinds = kind_colours(table["kinds"])
    bars = bars.reindex([(k, o) for k in kinds for o in _in_order(table["of"])]).dropna()
    figure = _blank(height=1 + 0.3 * len(bars))
    ax, names = figure.subplots(), [f"{kind}, {of}" for kind, of in bars.index]
    left = 0 * bars.iloc[:, 0]
    for part, (colour, hatch) in PARTS.items():
        style = {"color": colour, "hatch": hatch, "edgecolor": "white", "label": part}
        drawn = ax.barh(names, 100 * bars[part], left=left, **style)
        texts = [f"{share:.0%}" if share > 0.04 else "" for share in bars[part]]
        ax.bar_label(drawn, texts, label_type="center", fontsize=8)
        left = left + 100 * bars[part]
    ax.invert_yaxis()
    sns.despine(figure)
    ax.set(xlabel="share of the tokens (%)", xlim=(0, 100))
    figure.legend(*ax.get_legend_handles_labels(), **_BELOW)
    return figure


# --- the quality of chains: notebook 07 -------------------------------------------------------

CHANCE = "#c0267e"
FAMILIES = {"all": (-0.15, "full"), "no expressions": (0.15, "none")}  # how far off its row; fill
OUTCOMES = {  # of an answer: colour, hatch
    "right, by right steps": ("#0072b2", ""),
    "right, by wrong steps": ("#e69f00", "///"),
    "wrong": ("#d9d9d9", ""),
}


def foreseen(table: pd.DataFrame) -> Figure:
    """Share (%) of tokens of right chains that are not a student's first choice; dots are seeds.

    The accuracy of a seed is a mean over questions.

    table: method, seed, part (one panel each), accuracy.
    """
    methods = _students(table)
    figure, axes = _panels(_in_order(table["part"]), height=0.9 + 0.33 * len(methods))
    for part, ax in axes.items():
        for row, method in enumerate(methods):
            missed = 100 * (1 - _only(table, {"part": part, "method": method})["accuracy"])
            ax.plot(missed, [row] * len(missed), ".", color=_colour(method), alpha=0.8)
            ax.plot(missed.mean(), row, "|", color=_colour(method), markersize=13)
        _name_rows(ax, methods)
        ax.set(xlabel="missed (%)")
    ax.set_xlim(0, None)
    return figure


def first_mistakes(table: pd.DataFrame) -> Figure:
    """Share (%) of first wrong values that are decisions, and what chance would give.

    Two rows a method: all families, and hollow those without expressions. Bars are 95 % intervals
    over seeds and questions. table: split, method, families, decided, low, high, chance.
    """
    methods = _students(table)
    figure, axes = _panels(_in_order(table["split"]), height=1.2 + 0.42 * len(methods))
    for split, ax in axes.items():
        for row in table[table["split"] == split].to_dict("records"):
            y = methods.index(row["method"]) + FAMILIES[row["families"]][0]
            fill = {"fillstyle": FAMILIES[row["families"]][1], "clip_on": False}
            style = {"color": _colour(row["method"]), "marker": "o", "markersize": 4, **fill}
            _interval(ax, pd.Series(row), "decided", y, **style)
            ax.plot(100 * row["chance"], y, "D", color=CHANCE, markersize=3.5, **fill)
        _name_rows(ax, methods)
        _mark_absent(ax, methods, table[table["split"] == split], "none to count")
        ax.set(xlabel="at decisions (%)")
    ax.set_xlim(0, 100)
    lines = {f"students, {name}": ("#444444", "o", fill) for name, (_, fill) in FAMILIES.items()}
    lines |= {f"by chance, {name}": (CHANCE, "D", fill) for name, (_, fill) in FAMILIES.items()}
    _legend(
        figure,
        {n: {"color": c, "marker": m, "fillstyle": fill} for n, (c, m, fill) in lines.items()},
    )
    return figure


def gone_wrong(table: pd.DataFrame) -> Figure:
    """Share (%) of all chains that have gone wrong by a place in the text (share of it).

    Each line has a mark and a stroke of its own, and marks stand in places of their own, so that
    lines that lie on each other can be told apart. table: split (one panel each), method, place
    (0: start, 1: end), share.
    """
    splits = _in_order(table["split"])
    figure = _blank(height=0.8 + 2.4 * len(splits))
    axes = figure.subplots(len(splits), sharex=True, squeeze=False)[:, 0]
    methods = _students(table)
    looks = {
        name: {"color": _colour(name), "linestyle": stroke, "marker": mark, "linewidth": 1.3}
        | {"markersize": 4.5, "markerfacecolor": "white"}
        for name, stroke, mark in zip(methods, cycle(STROKES), cycle("os^DvPX*"))
    }
    for split, ax in zip(splits, axes, strict=True):
        for n, method in enumerate(methods):
            part = _only(table, {"split": split, "method": method})
            ax.plot(part["place"], part["share"], markevery=(n, len(methods)), **looks[method])
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.set(ylabel="chains gone wrong", xlim=(0, 1), ylim=(0, 1.02))
        ax.set_title(split, fontsize=9)
    axes[-1].xaxis.set_major_formatter(PercentFormatter(1))
    axes[-1].set_xlabel("place in the text (share of the text before it)")
    sns.despine(figure)
    _legend(figure, looks)
    return figure


def reasons(table: pd.DataFrame) -> Figure:
    """What answers rest on (% of all answers), means over seeds.

    table: split, method, outcome (of OUTCOMES), share.
    """
    methods = _students(table)
    figure, axes = _panels(_in_order(table["split"]), height=0.9 + 0.33 * len(methods))
    for split, ax in axes.items():
        part = table[table["split"] == split]
        bars = part.pivot(index="method", columns="outcome", values="share").reindex(methods)
        left = 0 * bars.iloc[:, 0]
        for outcome, (colour, hatch) in OUTCOMES.items():
            style = {"color": colour, "hatch": hatch, "edgecolor": "white"}
            drawn = ax.barh(range(len(methods)), 100 * bars[outcome], left=left, **style)
            texts = [f"{share:.0%}" if share > 0.12 else "" for share in bars[outcome]]
            ink = "white" if outcome == "right, by right steps" else "black"
            numbers = ax.bar_label(drawn, texts, label_type="center", fontsize=7, color=ink)
            for number in numbers if hatch else []:
                number.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1})
            left = left + 100 * bars[outcome]
        _name_rows(ax, methods)
        _mark_absent(ax, methods, part, "not asked")
        ax.set(xlabel="answers (%)", xlim=(0, 100))
    swatches = [Patch(facecolor=c, hatch=h, edgecolor="white") for c, h in OUTCOMES.values()]
    figure.legend(swatches, OUTCOMES, **_BELOW)
    return figure


def judged(table: pd.DataFrame) -> Figure:
    """How a judge's scores are spread by method (% of questions), in place of a density (Figure 7).

    A question counts with its mean, and a bar counts the means from half a point below its score
    to less than half a point above it: those of a method add up to all its questions.

    table: question_id, method, score.
    """
    figure = _blank(height=2.9)
    ax = figure.subplots()
    means = table.groupby(["method", "question_id"])["score"].mean().dropna().reset_index()
    colours = {name: _colour(name) for name in _students(means)}
    bars = {"bins": np.arange(0.5, 11), "stat": "percent", "common_norm": False, "shrink": 0.8}
    looks = {"multiple": "dodge", "palette": colours, "alpha": 1, "linewidth": 0, "legend": False}
    if colours:
        sns.histplot(means, x="score", hue="method", hue_order=[*colours], ax=ax, **bars, **looks)
        figure.legend([Patch(color=colour) for colour in colours.values()], colours, **_BELOW)
    ax.set(xlabel="score of the judge (mean over orders)", ylabel="questions (%)", xlim=(0.5, 10.5))
    ax.set_xticks(range(1, 11))
    sns.despine(figure)
    return figure


_SQUARES = {"cmap": "YlGnBu", "vmin": 0, "vmax": 100, "cbar": False, "linewidths": 1}  # percent
_INSIDE = {"fontsize": 6, "title_fontsize": 6, "frameon": False, "labelspacing": 0.2}
_BELOW = {"loc": "outside lower center", "ncols": 3, "frameon": False, "fontsize": 8}


def _blank(height: float) -> Figure:
    """An empty figure, closed for pyplot, which would show it a second time."""
    figure = plt.figure(figsize=(WIDTH, height), layout="constrained")
    plt.close(figure)
    return figure


def _panels(
    names: Sequence[str], height: float, sharex: bool = True, sharey: bool = True
) -> tuple[Figure, dict[str, Axes]]:
    """A row of panels, three at most in each, and their axes by name."""
    rows, columns = math.ceil(len(names) / 3), min(len(names), 3)
    figure = _blank(height * rows)
    grid = figure.subplots(rows, columns, sharex=sharex, sharey=sharey, squeeze=False)
    for spare in grid.flat[len(names) :]:
        spare.remove()
    axes = dict(zip(names, grid.flat, strict=False))
    for name, ax in axes.items():
        ax.set_title(name, fontsize=9)
    sns.despine(figure)
    return figure, axes


def _colour_scale(figure: Figure, axes: Axes | np.ndarray, label: str) -> None:
    """The scale of the colours of squares, at their right."""
    drawn = np.atleast_1d(axes)[0].collections[0]
    bar = figure.colorbar(drawn, ax=axes, label=label, fraction=0.04, pad=0.01)
    bar.outline.set_visible(False)


def _in_order(column: pd.Series) -> list[str]:
    """The values of a column in the order of their first row."""
    return list(dict.fromkeys(column))


def _students(table: pd.DataFrame) -> list[str]:
    """Methods in the order of STUDENTS, then those it does not name as they come."""
    found = _in_order(table["method"])
    return [*(name for name in STUDENTS if name in found), *(n for n in found if n not in STUDENTS)]


def _colour(method: str) -> str:
    return STUDENTS.get(method, OTHER)


def _only(table: pd.DataFrame, values: Mapping[str, str]) -> pd.DataFrame:
    """The rows that hold these values."""
    return table[(table[list(values)] == pd.Series(values)).all(axis=1)]


def _interval(ax: Axes, row: pd.Series, of: str, y: float, **style) -> None:
    """A mark at row[of] with a bar from row["low"] to row["high"], in percent; bars may be nan."""
    value, low, high = 100 * row[of], 100 * row["low"], 100 * row["high"]
    # butt: the ends of a line would reach out by half its width
    bar = {"color": style["color"], "linewidth": 2, "solid_capstyle": "butt"}
    ax.plot([low, high], [y, y], **bar)
    ax.plot(value, y, linestyle="", **style)


def _name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Name the rows 0, 1, ... of a dot plot from the top down."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="x", color="#e5e5e5")
    ax.set_axisbelow(True)


def _mark_absent(ax: Axes, methods: Sequence[str], table: pd.DataFrame, why: str) -> None:
    """Say in the row of each method that the table of a panel lacks why it is empty."""
    for row, method in enumerate(methods):
        if method not in set(table["method"]):
            style = {"fontsize": 8, "color": "0.4", "ha": "center", "va": "center"}
            ax.text(0.5, row, why, transform=ax.get_yaxis_transform(), **style)


def _legend(figure: Figure, lines: Mapping[str, Mapping]) -> None:
    """A legend below the panels, one entry a name, drawn as a line of this style."""
    drawn = [
        Line2D([], [], **({"linestyle": ""} if "marker" in s else {}) | s) for s in lines.values()
    ]
    figure.legend(drawn, lines, **_BELOW)
