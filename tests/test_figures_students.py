"""Figures of the students' notebooks: functions of tables that repeat and leave nothing out."""

import io
from itertools import combinations, product

import matplotlib
import numpy as np
import pandas as pd
import pytest

from editlib import figures, mistakes, paper, profiles

STUDENTS = ["Base student", "Std-CoT", "EDIT"]
SPLITS = ["test", "longer", "families"]
GREY = (0.299, 0.587, 0.114)  # how bright red, green and blue are in grey


def rows(**columns):
    """A table with one row for each combination of the values of the columns."""
    return pd.DataFrame(product(*columns.values()), columns=list(columns))


def numbers(table, *names):
    """The table with made-up numbers between 0 and 1 in further columns."""
    return table.assign(**{name: np.linspace(0.1, 0.9, len(table)) for name in names})


def curves():
    tokens = ["SFT: response tokens", "KRSL: correct key tokens"]
    return numbers(rows(method=STUDENTS[1:], seed=[0, 1], tokens=tokens, step=[10, 20]), "nll")


def preferences():
    sides = ["correct CoT, all tokens", "wrong CoT, all tokens"]
    table = rows(method=["DPO", "SimPO"], lr=[1e-5, 1e-3], seed=[0, 1], tokens=sides, step=[1, 10])
    return numbers(table, "nll")


def epochs():
    table = numbers(rows(method=STUDENTS[1:], seed=[0, 1], lr=[1e-3], epoch=[1.0, 2.0]), "accuracy")
    return table.assign(chosen=table["epoch"] == 2.0)


def probed():
    sides = ["correct", "wrong"]
    return numbers(rows(method=STUDENTS, seed=[0], tokens=["key", "routine"], side=sides), "nll")


def accuracies():
    seeds = numbers(rows(split=SPLITS, method=STUDENTS, seed=[0, 1]), "accuracy")
    means = seeds.groupby(["split", "method"], sort=False)["accuracy"].mean().reset_index()
    base = means["method"] == "Base student"
    low, high = means["accuracy"].mask(base), means["accuracy"].mask(base)
    means = means.assign(low=low - 0.1, high=high + 0.1)
    of_questions = {"low_questions": means["accuracy"] - 0.05}
    of_questions["high_questions"] = means["accuracy"] + 0.05
    return seeds, means.assign(**of_questions), dict.fromkeys(SPLITS, 0.25)


def settings():
    """Two studies, one of which has a value more; in domain and out of it."""
    table = rows(study=["errors", "size"], value=["few", "some"], domain=["in", "out"])
    more = rows(study=["size"], value=["many"], domain=["in", "out"])
    table = pd.concat([table, more]).merge(pd.DataFrame({"method": STUDENTS}), how="cross")
    table = numbers(table, "accuracy")
    low, high = table["accuracy"] - 0.1, table["accuracy"] + 0.1
    trained = table["method"] != STUDENTS[0]
    return table.assign(
        low=low.where(trained), high=high.where(trained), low_questions=low, high_questions=high
    )


def tasks():
    table = numbers(rows(split=SPLITS, task=["sums", "sorting"], method=STUDENTS), "accuracy")
    return table.assign(chance=table["task"].map({"sums": 0.5, "sorting": np.nan}))


def differences():
    table = rows(split=SPLITS, baseline=["Std-CoT", "Std-CoT continued"])
    table["paper"] = table["baseline"].map({"Std-CoT": 0.067, "Std-CoT continued": np.nan})
    return table.assign(difference=0.05, low=-0.01, high=0.1, decided=[True, False] * 3)


def verdicts():
    table = rows(
        claim=["key steps help", "DPO in place of KRSL hurts"], baseline=["Std-CoT", "DPO"]
    )
    table = table.assign(method="EDIT", domain="all", paper=[0.067, np.nan, 0.36, 0.02])
    table = table.assign(difference=[0.05, np.nan, np.nan, -0.3], verdict="not decided")
    return table.assign(low=table["difference"] - 0.1, high=table["difference"] + 0.1)


def reach():
    table = numbers(rows(questions=[10, 100], seeds=[2, 3, 4]), "detectable")
    return table.assign(asked="new", here=[False, True, *[False] * 4])


def kinds():
    sources, subsets = ["this run", "the paper"], ["D+dual", "D-dual"]
    table = rows(source=sources, subset=subsets, kinds=mistakes.usual())
    return numbers(table, "share").assign(low=0.1, high=0.9)


def kinds_by_task():
    table = rows(task=["navigate", "date"], subset=figures.SUBSETS, kinds=["LE", "KE"])
    return numbers(table, "share").assign(low=0.1, high=0.9)


def parts():
    of = ["all tokens", "key tokens"]
    return rows(kinds=["LE", "MCE"], of=of, part=mistakes.PARTS).assign(share=1 / 3)


def classified():
    columns = [
        "precision",
        "precision_low",
        "precision_high",
        "recall",
        "recall_low",
        "recall_high",
    ]
    return numbers(pd.DataFrame({"kind": mistakes.shorts()}), *columns)


def squares():
    table = rows(other=["rules", "judge"], label=["LE", "none"], other_label=["LE", "none"])
    return table.assign(classifier="truth", n=[5, 1, 0, 2, 3, 4, 0, 6])


WRITERS = ["teacher", "Std-CoT", "EDIT", "a method without a colour of its own"]


def firsts():
    table = numbers(rows(split=SPLITS, method=WRITERS, families=figures.FAMILIES), "decided")
    return table.assign(low=table["decided"] - 0.1, high=table["decided"] + 0.1, chance=0.5)


def reasons():
    return rows(split=SPLITS, method=WRITERS, outcome=figures.OUTCOMES).assign(share=1 / 3)


def scored(table):
    return 1 + 9 * table["score"]


DRAWN = {
    "classifier_scores": lambda: figures.classifier_scores(classified()),
    "confusion": lambda: figures.confusion(squares()),
    "loss_curves": lambda: figures.loss_curves(curves()),
    "preference_curves": lambda: figures.preference_curves(preferences()),
    "validation_accuracy": lambda: figures.validation_accuracy(epochs()),
    "probes": lambda: figures.probes(probed()),
    "accuracy_by_method": lambda: figures.accuracy_by_method(*accuracies()),
    "accuracy_by_setting": lambda: figures.accuracy_by_setting(settings()),
    "accuracy_by_task": lambda: figures.accuracy_by_task(tasks()),
    "differences": lambda: figures.differences(differences()),
    "claims": lambda: figures.claims(verdicts()),
    "power": lambda: figures.power(reach(), {"less Std-CoT": 0.05}),
    "mistake_shares": lambda: figures.mistake_shares(kinds()),
    "mistake_shares_by_task": lambda: figures.mistake_shares_by_task(kinds_by_task()),
    "mistake_positions": lambda: figures.mistake_positions(
        numbers(rows(kinds=["LE", "KE"], n=range(5)), "position")
    ),
    "composition": lambda: figures.composition(parts()),
    "foreseen": lambda: figures.foreseen(
        numbers(rows(method=STUDENTS, seed=[0, 1], part=["decided", "copied"]), "accuracy")
    ),
    "first_mistakes": lambda: figures.first_mistakes(firsts()),
    "gone_wrong": lambda: figures.gone_wrong(
        numbers(rows(split=SPLITS, method=WRITERS, place=[0.0, 0.5, 1.0]), "share")
    ),
    "reasons": lambda: figures.reasons(reasons()),
    "judged": lambda: figures.judged(
        numbers(rows(question_id=range(9), method=WRITERS), "score").assign(score=scored)
    ),
}


def svg(figure):
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "test"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def texts(figure):
    return {text.get_text() for text in figure.findobj(matplotlib.text.Text)}


@pytest.mark.parametrize("name", DRAWN)
def test_the_same_table_gives_the_same_picture(name):
    assert svg(DRAWN[name]()) == svg(DRAWN[name]())


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_is_shown_where_it_is_returned_and_not_again_by_pyplot(name):
    DRAWN[name]()
    assert not matplotlib.pyplot.get_fignums()


@pytest.mark.parametrize(
    "name",
    ["validation_accuracy", "accuracy_by_method", "mistake_shares", "mistake_shares_by_task"],
)
def test_no_panel_cuts_off_what_is_drawn_in_it(name):
    """The numbers grow from panel to panel, and the panels share an axis."""
    for ax in DRAWN[name]().axes:
        drawn = [line.get_xydata() for line in ax.lines if line.get_transform() == ax.transData]
        points = np.concatenate(drawn)
        points = points[~np.isnan(points).any(axis=1)]  # the untrained student has no interval
        assert len(points)
        for values, ends in zip(points.T, (ax.get_xlim(), ax.get_ylim()), strict=True):
            assert min(ends) <= values.min() and values.max() <= max(ends)


def test_shares_by_task_show_each_kind_and_every_task_in_both_subsets():
    figure = figures.mistake_shares_by_task(kinds_by_task())
    assert [ax.get_title() for ax in figure.axes] == ["LE", "KE"]
    assert {"navigate", "date", "D+dual", "D-dual"} <= texts(figure)
    points = [line for line in figure.axes[0].lines if line.get_marker() in ("o", "X")]
    assert len(points) == 4


def test_every_method_has_a_colour_of_its_own():
    assert set(profiles.load("mini").training.methods) < set(figures.STUDENTS)
    assert len(set(figures.STUDENTS.values())) == len(figures.STUDENTS)
    assert set(figures.KINDS) == set(mistakes.shorts())
    assert tuple(figures.PARTS) == mistakes.PARTS


def test_eight_kinds_of_readers_have_a_colour_of_their_own_wherever_they_are_drawn(monkeypatch):
    for name in "ABCDEFGH":
        monkeypatch.setitem(mistakes.KINDS, name, mistakes.Kind(name, name, "?"))
    colours = figures.kind_colours(mistakes.shorts())
    assert len(colours) == 12 == len(set(colours.values()))
    assert figures.kind_colours(["G"]) == {"G": colours["G"]}
    near = [colours[k] for k in "ABCDEFGH"]
    apart = [
        np.abs(np.subtract(*map(matplotlib.colors.to_rgb, two))).max()
        for two in combinations(near, 2)
    ]
    assert min(apart) > 0.1


def test_no_legend_of_many_kinds_lies_on_their_lines(monkeypatch):
    for name in "ABCDEFGH":
        monkeypatch.setitem(mistakes.KINDS, name, mistakes.Kind(name, name, "?"))
    table = numbers(rows(kinds=mistakes.shorts(), n=range(5)), "position")
    figure = figures.mistake_positions(table)
    figure.draw_without_rendering()
    legend, axes = figure.legends[0].get_window_extent(), figure.axes[0].get_tightbbox()
    assert legend.y0 >= 0 and legend.y1 <= axes.y0 and axes.height > 0.5 * figure.bbox.height
    assert len(figure.legends[0].get_texts()) == 12


def test_places_in_a_text_are_shares_of_it():
    for name, label in {"mistake_positions": "begins", "gone_wrong": "place"}.items():
        figure = DRAWN[name]()
        figure.draw_without_rendering()
        ax = figure.axes[-1]
        assert label in ax.get_xlabel() and "share of the text" in ax.get_xlabel()
        assert ax.get_xticklabels()[-1].get_text() == "100%"


def test_students_whose_chains_go_wrong_alike_can_be_told_apart():
    names = ["Std-CoT", "Std-CoT continued", "EDIT w/o KRSL", "EDIT"]
    alike = rows(split=SPLITS, method=names, place=[0.0, 0.25, 0.5, 0.75, 1.0]).assign(share=0.5)
    figure = figures.gone_wrong(alike)
    for ax in figure.axes:
        assert len({line.get_linestyle() for line in ax.lines}) == 4
        assert len({line.get_marker() for line in ax.lines}) == 4
        assert len({line.get_markevery() for line in ax.lines}) == 4
    handles = figure.legends[0].legend_handles
    assert [h.get_marker() for h in handles] == [line.get_marker() for line in ax.lines]


def test_a_row_without_answers_says_so():
    asked = reasons().query("split == 'test' or method != 'teacher'")
    first, *others = figures.reasons(asked).axes
    told = [[text.get_text() for text in ax.texts] for ax in (first, *others)]
    assert "not asked" not in told[0] and all(texts.count("not asked") == 1 for texts in told[1:])


def test_numbers_on_a_hatch_stand_on_a_ground_of_their_own():
    figure = figures.reasons(reasons())
    grounds = [text.get_bbox_patch() for text in figure.axes[0].texts]
    assert sum(ground is not None for ground in grounds) == len(WRITERS)
    assert [h.get_hatch() for h in figure.legends[0].legend_handles] == ["", "///", ""]


def test_accuracy_shows_each_split_method_and_what_guessing_gets():
    figure = figures.accuracy_by_method(*accuracies())
    assert {*SPLITS, *STUDENTS, "guessing"} <= texts(figure)
    assert [ax.get_title() for ax in figure.axes] == SPLITS
    for ax in figure.axes:
        assert any(set(line.get_xdata()) == {25.0} for line in ax.lines)


def test_the_method_that_others_are_compared_with_stands_on_top_with_its_own_numbers():
    seeds, means, guessing = accuracies()
    figure = figures.accuracy_by_method(seeds, means, guessing, on_top="EDIT")
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["EDIT", "Base student", "Std-CoT"]
    own = seeds.query("method == 'EDIT' and split == 'test'")["accuracy"]
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "."]
    assert dots[0].get_xdata().tolist() == pytest.approx((100 * own).tolist())
    assert set(dots[0].get_ydata()) == {0}


def test_each_rate_of_a_preference_loss_has_a_line_of_its_own_in_the_row_of_its_method():
    figure = figures.preference_curves(preferences())
    assert [ax.get_ylabel() for ax in figure.axes] == ["DPO", "", "SimPO", ""]
    assert {"rate 1e-05", "rate 0.001", "updates"} <= texts(figure)
    means = preferences().groupby(["method", "tokens", "lr", "step"])["nll"].mean()
    for ax, (_, part) in zip(figure.axes, means.groupby(["method", "tokens"]), strict=True):
        assert [line.get_ydata().tolist() for line in ax.lines] == [
            pytest.approx(line.tolist()) for _, line in part.groupby("lr")
        ]
        colours, strokes = (
            {getattr(line, f"get_{of}")() for line in ax.lines} for of in ("color", "linestyle")
        )
        assert len(colours) == len(strokes) == 2


def test_five_methods_take_two_rows_of_panels_and_leave_no_empty_one():
    five = [name for name in figures.STUDENTS if name != "Base student"]
    table = numbers(rows(method=five, seed=[0], lr=[1.0], epoch=[1.0]), "accuracy")
    drawn = figures.validation_accuracy(table.assign(chosen=True))
    assert [ax.get_title() for ax in drawn.axes] == five


def test_a_part_of_an_epoch_that_stands_alone_has_one_tick():
    table = epochs().assign(epoch=0.3636, chosen=True)
    for ax in figures.validation_accuracy(table).axes:
        assert [label.get_text() for label in ax.get_xticklabels()] == ["0.36"]


def test_a_rate_is_darker_and_thinner_than_the_lower_ones_and_named_in_its_panel():
    tried = rows(method=STUDENTS[1:], seed=[0, 1], lr=[1e-3, 1e-5, 8e-3, 3e-5, 3e-4])
    table = numbers(tried.merge(pd.DataFrame({"epoch": [1.0, 2.0]}), how="cross"), "accuracy")
    for ax in figures.validation_accuracy(table.assign(chosen=False)).axes:
        legend = ax.get_legend()
        names = [text.get_text() for text in legend.get_texts()]
        assert names == ["1e-05", "3e-05", "0.0003", "0.001", "0.008"]
        lines = [(line.get_color(), line.get_linewidth()) for line in ax.lines]
        named = [(line.get_color(), line.get_linewidth()) for line in legend.legend_handles]
        assert lines == [look for look in named for _ in (0, 1)]  # a line a seed, thin ones on top
        greys = [np.dot(matplotlib.colors.to_rgb(colour), GREY) for colour, _ in named]
        assert max(np.diff(greys)) < -0.08 and greys[0] < 0.8  # told apart, and seen on white
        assert max(np.diff([width for _, width in named])) < 0


def test_a_single_rate_is_drawn_in_the_colour_of_its_method():
    for ax, name in zip(figures.validation_accuracy(epochs()).axes, STUDENTS[1:], strict=True):
        assert {line.get_color() for line in ax.lines} == {figures.STUDENTS[name]}
        assert ax.get_legend() is None


def test_the_map_of_tasks_leaves_unknown_chances_blank():
    figure = figures.accuracy_by_task(tasks())
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert len(shown) == 7 and shown[0] == "50"  # two tasks, four columns, one chance unknown


def test_only_a_decided_difference_is_filled():
    figure = figures.differences(differences())
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [dot.get_markerfacecolor() for dot in dots] == ["#222222", "white"]


def test_a_claim_that_is_not_reproduced_has_a_dot_of_its_own():
    shown = ["reproduced", "not decided", "not reproduced", "opposite"]
    figure = figures.claims(verdicts().assign(difference=0.05, verdict=shown))
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    dark, grey = figures.FACES["reproduced"], figures.FACES["not reproduced"]
    assert [dot.get_markerfacecolor() for dot in dots] == [dark, "white", grey, dark]
    legend = figure.legends[0]
    names = [text.get_text() for text in legend.get_texts()]
    handle = legend.legend_handles[names.index("this run, not reproduced")]
    assert handle.get_markerfacecolor() == grey not in (dark, "white")


def test_hollow_dots_are_explained():
    for figure in (figures.differences(differences()), figures.claims(verdicts())):
        legend = figure.legends[0]
        names = [text.get_text() for text in legend.get_texts()]
        handles = dict(zip(names, legend.legend_handles, strict=True))
        assert handles["this run, open"].get_markerfacecolor() == "white"
        assert handles["this run, decided"].get_markerfacecolor() != "white"


def test_claims_show_what_was_run_and_nothing_else():
    names = [label.get_text() for label in figures.claims(verdicts()).axes[0].get_yticklabels()]
    assert names == [
        "key steps help",
        "EDIT less Std-CoT (all)",
        "DPO in place of KRSL hurts",
        "EDIT less DPO (all)",
    ]


def test_the_longest_names_of_claims_leave_room_for_the_axis_and_its_title():
    name = "Std-CoT, repeat sampling"
    figure = figures.claims(verdicts().assign(method=paper.voted(name), baseline=name))
    figure.draw_without_rendering()
    ax = figure.axes[0]
    assert ax.get_yticklabels()[1].get_text() == f"{name} by vote less {name} (all)"
    assert ax.get_window_extent().width > 0.3 * figure.bbox.width
    (title,) = ax.findobj(lambda artist: "logarithmic" in getattr(artist, "get_text", str)())
    extent = title.get_window_extent()
    assert extent.x0 >= 0 and extent.x1 <= figure.bbox.width


def test_claims_cut_nothing_off():
    ax = figures.claims(verdicts()).axes[0]
    drawn = np.concatenate([line.get_xdata() for line in ax.lines if len(line.get_xdata())])
    low, high = ax.get_xlim()
    assert low <= np.nanmin(drawn) and np.nanmax(drawn) <= high


def test_power_marks_this_run():
    ax = figures.power(reach(), {"less Std-CoT": 0.05}).axes[0]
    (dot,) = [line for line in ax.lines if line.get_marker() == "o"]
    here = reach().query("here")
    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (3, 100 * here["detectable"].item())


def test_a_method_without_a_colour_is_drawn_too():
    seeds, means, guessing = accuracies()
    seeds, means = (t.replace({"method": {"EDIT": "another"}}) for t in (seeds, means))
    figure = figures.accuracy_by_method(seeds, means, guessing)
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == [*STUDENTS[:2], "another"]


def test_parts_of_a_bar_add_up_to_all_tokens():
    bars = figures.composition(parts()).axes[0].patches
    assert sum(bar.get_width() for bar in bars) == pytest.approx(4 * 100)


def test_what_answers_rest_on_adds_up_to_all_answers():
    bars = figures.reasons(reasons()).axes[0].patches
    assert sum(bar.get_width() for bar in bars) == pytest.approx(len(WRITERS) * 100)


def spread(figure):
    """The bars of the judged figure: % of questions by score, from 1 to 10, of each colour."""
    return {
        matplotlib.colors.to_hex(bars[0].get_facecolor()): [bar.get_height() for bar in bars]
        for bars in figure.axes[0].containers
    }


def test_scores_at_the_ends_of_the_scale_count_and_each_method_adds_up_to_all_questions():
    given = {"teacher": [10] * 6, "Std-CoT": [1, 1, 2, 4.5, 10, 10], "EDIT": [1, 1, 1, 1, 1, None]}
    table = pd.DataFrame(given).rename_axis("question_id").reset_index()
    drawn = spread(figures.judged(table.melt("question_id", var_name="method", value_name="score")))
    assert [sum(drawn[figures.STUDENTS[name]]) for name in given] == pytest.approx([100] * 3)
    counts = [6 / 100 * share for share in drawn[figures.STUDENTS["Std-CoT"]]]
    assert counts == pytest.approx([2, 1, 0, 0, 1, 0, 0, 0, 0, 2])


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda: figures.confusion(squares()), "share of the row (%)"),
        (lambda: figures.accuracy_by_task(tasks()), "accuracy (%)"),
    ],
)
def test_squares_have_a_scale_of_their_colours(draw, said):
    assert draw().axes[-1].get_ylabel() == said


def test_each_two_classifiers_have_a_panel_with_their_own_counts():
    *panels, _ = figures.confusion(squares()).axes  # the last is the scale of colours
    named = [(ax.get_ylabel(), ax.get_xlabel()) for ax in panels]
    assert named == [("truth", "rules"), ("truth", "judge")]
    written = [[text.get_text() for text in ax.texts] for ax in panels]
    assert written == [["5", "1", "0", "2"], ["3", "4", "0", "6"]]


def test_shares_of_kinds_are_of_wrong_cots_with_a_twin_or_without():
    axes = figures.mistake_shares(kinds()).axes
    assert {ax.get_xlabel() for ax in axes} == {"share of wrong CoTs (%)"}


def test_claims_say_where_their_axis_is_not_linear():
    ax = figures.claims(verdicts()).axes[0]
    title = ax.get_title("right")
    assert "grey" in title and "logarithmic" in title
    sides = [sorted((bar.get_x(), bar.get_x() + bar.get_width())) for bar in ax.patches]
    assert sides == [[ax.get_xlim()[0], -10], [10, ax.get_xlim()[1]]]


def test_a_score_that_never_differs_is_one_bar_and_no_score_is_none():
    table = rows(question_id=range(3), method=WRITERS).assign(score=1.0)
    assert set(map(tuple, spread(figures.judged(table)).values())) == {(100, *[0] * 9)}
    none = figures.judged(table.assign(score=np.nan))
    assert not none.axes[0].patches and not none.legends


def test_each_study_has_its_own_values_and_each_domain_its_row():
    figure = figures.accuracy_by_setting(settings())
    assert {*STUDENTS, "errors", "size", "in (%)", "out (%)"} <= texts(figure)
    ticks = [[t.get_text() for t in ax.get_xticklabels()] for ax in figure.axes[2:]]
    assert ticks == [["few", "some"], ["few", "some", "many"]]  # shown below the last row
    drawn = figure.axes[1].lines[-1].get_ydata()  # "in", the last method
    own = settings().query("study == 'size' and domain == 'in' and method == @STUDENTS[-1]")
    assert drawn.tolist() == (100 * own["accuracy"]).tolist()
