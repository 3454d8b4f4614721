"""The paper's numbers agree with one another, and their names with those of the kit."""

from math import isnan

import pytest

from editlib import paper, profiles, puzzles
from editlib.methods import METHODS, WEIGHTS

HALF_A_DIGIT = 0.0005 + 1e-9  # percentages are printed to one digit


@pytest.mark.parametrize("table", [paper.TABLE_1, paper.TABLE_2, paper.TABLE_5, paper.TABLE_9])
def test_printed_averages_are_those_of_their_columns(table):
    wide = table.pivot(index="method", columns="benchmark", values="accuracy").dropna()
    means = wide[list(paper.BENCHMARKS)].mean(axis=1)
    partial = {"teacher, few-shot-CoT"} & set(table["method"])  # BBH alone
    assert len(wide) == table["method"].nunique() - len(partial)
    assert (means - wide[paper.AVERAGE]).abs().max() <= HALF_A_DIGIT


def test_tables_repeat_the_same_number_for_the_same_student():
    edit = paper.TABLE_1.query("method == 'EDIT'")["accuracy"].tolist()
    for table in (paper.TABLE_2, paper.TABLE_5, paper.TABLE_9):
        assert table.query("method == 'EDIT'")["accuracy"].tolist() == edit
    best = paper.TABLE_4.query("alpha == 1 and beta == 0.025")["accuracy"].item()
    assert best == edit[-1]


def test_averages_over_subtasks_are_printed_right_but_for_one():
    wide = paper.TABLE_3.pivot(index="task", columns="method", values="accuracy")
    off = (wide.drop(paper.AVERAGE).mean() - wide.loc[paper.AVERAGE]).abs() > HALF_A_DIGIT
    assert off[off].index.tolist() == ["Std-CoT, dual CoTs"]


def test_a_method_has_one_number_in_all_tables():
    assert not paper.REPORTED.duplicated(["method", "benchmark"]).any()
    assert paper.level("EDIT, only correct steps", (paper.AVERAGE,)) == 0.4496
    assert paper.level(paper.voted("EDIT"), (paper.AVERAGE,)) == 0.491
    assert isnan(paper.level("teacher, few-shot-CoT", paper.OUT_OF_DOMAIN))


def test_weights_name_a_method():
    assert {paper.BEST, *paper.ONE_SIDE} <= set(paper.WEIGHTS) <= set(WEIGHTS)
    assert [WEIGHTS[pair] for pair in (paper.BEST, (0, 0))] == ["EDIT", "EDIT w/o KRSL"]
    row = paper.TABLE_4.query("alpha == 0 and beta == 0")["accuracy"].item()
    assert row == pytest.approx(paper.level("EDIT w/o KRSL", (paper.AVERAGE,)), abs=HALF_A_DIGIT)


def test_subtasks_are_compared_with_families_that_exist():
    assert set(paper.TASKS) <= set(paper.TABLE_3["task"])
    assert set(paper.TASKS.values()) <= set(puzzles.FAMILIES)


def test_kinds_of_mistakes_add_up_to_the_pairs():
    assert paper.TABLE_6.groupby("subset")["n"].sum().to_dict() == {"D+dual": 3805, "D-dual": 1402}
    mce = paper.TABLE_6.query("kinds == 'MCE'")["n"].sum()
    assert set(paper.TABLE_7["pairs"]) == {mce}  # the rarest kind sets the size for all


def test_methods_of_the_kit_are_found_in_the_paper_by_name():
    asked = {name for name in paper.REPORTED["method"] if name.startswith(("teacher,", "student,"))}
    students = set(paper.REPORTED["method"]) | set(paper.TABLE_3["method"])
    named = {name.removesuffix(paper.voted("")) for name in students - asked}
    assert named <= set(METHODS)
    styles = {f"student, {style}" for style in profiles.load("full").exam.untrained}
    assert styles == {name for name in asked if name.startswith("student")}


def test_a_difference_is_the_mean_over_the_benchmarks_named():
    assert paper.difference("EDIT", "Std-CoT", paper.IN_DOMAIN) == pytest.approx(0.067)
    assert paper.difference("EDIT", "Std-CoT", paper.BENCHMARKS) == pytest.approx(0.0466)
    assert isnan(paper.difference("EDIT", "Std-CoT continued", paper.IN_DOMAIN))


def test_settings_have_the_names_of_a_profile_and_stand_beside_its_own():
    table = paper.settings(profiles.load("paper")).set_index("setting")
    assert list(table.index) == list(paper.SETTINGS["setting"])
    assert table.loc["student.lora.targets", "here"] == "q_proj, v_proj"
    assert table.loc["training.krsl.beta", ["here", "paper"]].tolist() == ["0.025"] * 2


def test_settings_of_lora_are_not_set_where_all_weights_are_trained():
    lora, whole = (
        paper.settings(profiles.load("mini", changes)).set_index("setting")["here"]
        for changes in ([], ["student.lora=null"])
    )
    assert list(whole.index[whole == "not set"]) == [s for s in lora.index if ".lora." in s]
    assert "not set" not in set(lora)
    assert lora[whole != "not set"].equals(whole[whole != "not set"])
