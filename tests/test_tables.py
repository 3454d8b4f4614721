"""The paper's tables beside ours leave nothing out, and LaTeX shows every character."""

import numpy as np
import pandas as pd
import pytest

from editlib import paper, profiles, tables
from editlib.workspace import open_workspace
from tests.test_claims import predictions

METHODS = {"Base student": 0.3, "Std-CoT": 0.5, "EDIT": 0.5, "EDIT, alpha 1, beta 0.1": 0.5}


@pytest.fixture(scope="module")
def answered():
    return predictions(METHODS, n=20, seeds=3)


def test_every_number_of_the_paper_stands_in_its_table(answered):
    both = tables.by_method(tables.levels(answered)).set_index(["table", "method", "domain"])
    assert both.loc[("Table 1", "EDIT", "in domain"), "paper"] == pytest.approx(0.609)
    assert both.loc[("Table 9", "DPO", "all"), "paper"] == pytest.approx(0.081)
    assert both.loc[("Table 8", paper.voted("EDIT"), "all"), "paper"] == pytest.approx(0.491)
    methods = both.loc["Table 1"].index.unique("method")
    assert set(methods) == set(paper.TABLE_1["method"])


def test_what_was_not_run_says_so(answered):
    both = tables.by_method(tables.levels(answered))
    run = both[both["status"] == tables.RUN]
    assert set(run["method"]) == {"Std-CoT", "EDIT"}
    assert both.loc[~both.index.isin(run.index), "seeds"].eq(0).all()
    wide = tables.side_by_side(both[both["table"] == "Table 5"], ["method"], "domain")
    assert wide.set_index("method")["all: here"].tolist()[:2] == [tables.NOT_RUN] * 2
    assert wide["method"].tolist() == list(dict.fromkeys(paper.TABLE_5["method"]))


def test_our_numbers_are_means_over_the_questions_of_a_domain(answered):
    both = tables.by_method(tables.levels(answered)).set_index(["table", "method", "domain"])
    own = answered[(answered["method"] == "EDIT") & (answered["split"] == "test")]
    row = both.loc[("Table 1", "EDIT", "in domain")]
    assert row["accuracy"] == pytest.approx(own["correct"].mean()) and row["n"] == 20


def test_weights_that_the_paper_lacks_are_only_here(answered):
    both = tables.by_weights(tables.levels(answered)).set_index(["alpha", "beta"])
    assert both.loc[(1, 0.1), "status"] == tables.ONLY_HERE
    assert both.loc[(0, 0), "method"] == "EDIT w/o KRSL"
    assert both.loc[(1, 0.025), "status"] == tables.RUN
    assert both.loc[(1, 0.05), "status"] == tables.NOT_RUN
    assert len(both) == len(paper.TABLE_4) + 1


def test_a_family_stands_beside_the_subtask_of_its_name(answered):
    both = tables.by_task(answered.assign(task="date_understanding"))
    assert (both["task"].iloc[0], both["status"].iloc[:6].tolist().count(tables.RUN)) == (
        "date_understanding",
        2,  # Std-CoT and EDIT, of six methods
    )
    assert set(both["split"].dropna()) == {"test"}  # the first that asks it
    assert not both.duplicated(["task", "method"]).any()
    assert len(both) == len(paper.TABLE_3) - 6  # without its line of averages


def test_a_cell_shows_its_interval_where_there_is_one():
    row = {"accuracy": 0.5, "difference": -0.021, "low": -0.1, "high": 0.2}
    row = pd.Series(row | {"low_questions": 0.4, "high_questions": 0.6})
    assert tables.cell(row, "difference") == "-2.1 (-10.0 to +20.0)"
    assert tables.cell(row.replace(-0.1, np.nan)) == "50.0 (40.0 to 60.0, over questions)"
    assert tables.cell(row.replace(0.5, np.nan)) == tables.NOT_RUN


def test_a_line_says_which_methods_were_not_run_and_who_runs_them(answered):
    both, full = tables.by_method(tables.levels(answered)), profiles.load("full")
    lines = {name: tables.left_out(part, full, "full") for name, part in both.groupby("table")}
    assert "Std-CoT, dual CoTs. To have them: make reproduce PROFILE=full." in lines["Table 5"]
    assert "teacher, few-shot-CoT" in lines["Table 1"].partition("In no profile")[2]
    assert "SBS-MI" not in lines["Table 1"].partition("In no profile")[2]
    weights = tables.by_weights(tables.levels(answered))
    assert "EDIT w/o KRSL" in tables.left_out(weights, full, "full")
    run = both[both["status"] == tables.RUN]
    assert tables.left_out(run, full, "full") == "Every method of this table was run."


def test_latex_has_the_rules_of_booktabs_and_escapes_everything():
    nasty = r"\input{x} 5 % of $a_b$ & #1 ~ ^"
    text = tables.latex(pd.DataFrame({"p_holm & %": [nasty], "n": [0.025], "m": [np.nan]}))
    rules = [line for line in text.splitlines() if line.endswith("rule")]
    assert rules == [r"\toprule", r"\midrule", r"\bottomrule"]
    assert r"p\_holm \& \%" in text and r"\textbackslash input\{x\} 5 \% of \$a\_b\$" in text
    assert r"\input" not in text and " & 0.025 & " in text and "nan" not in text


def test_a_table_is_saved_as_csv_and_latex(tmp_path):
    ws = open_workspace("smoke", results=tmp_path)
    frame = pd.DataFrame({"method": ["EDIT"], "accuracy": [0.5]})
    assert tables.save(ws, frame, "one", shown=frame[["method"]]) is frame
    folder = ws.folder / "tables"
    assert pd.read_csv(folder / "one.csv").equals(frame)
    assert (
        "EDIT" in (folder / "one.tex").read_text() and "0.5" not in (folder / "one.tex").read_text()
    )
