"""The paper's tables beside ours leave nothing out, and LaTeX shows every character."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from editlib import beside_paper, claims, paper, profiles, statistics, tables
from editlib.records import write_frame
from editlib.workspace import open_workspace
from tests.test_claims import predictions

METHODS = {"Base student": 0.3, "Std-CoT": 0.5, "EDIT": 0.5, "EDIT, alpha 1, beta 0.1": 0.5}


@pytest.fixture(scope="module")
def answered():
    return predictions(METHODS, n=20, seeds=3)


def test_every_number_of_the_paper_stands_in_its_table(answered):
    both = beside_paper.by_method(answered).set_index(["table", "method", "domain"])
    assert both.loc[("Table 1", "EDIT", "in domain"), "paper"] == pytest.approx(0.609)
    assert both.loc[("Table 9", "DPO", "all"), "paper"] == pytest.approx(0.081)
    assert both.loc[("Table 8", paper.voted("EDIT"), "all"), "paper"] == pytest.approx(0.491)
    methods = both.loc["Table 1"].index.unique("method")
    assert set(methods) == set(paper.TABLE_1["method"])


def test_what_was_not_run_says_so(answered):
    both = beside_paper.by_method(answered)
    run = both[both["status"] == tables.RUN]
    assert set(run["method"]) == {"Std-CoT", "EDIT"}
    assert both.loc[~both.index.isin(run.index), "seeds"].eq(0).all()
    wide = tables.side_by_side(both[both["table"] == "Table 5"], ["method"], "domain")
    assert wide.set_index("method")["all: here"].tolist()[:2] == [tables.NOT_RUN] * 2
    assert wide["method"].tolist() == list(dict.fromkeys(paper.TABLE_5["method"]))
    assert wide["seeds"].tolist() == [0, 0, 3]


def test_our_numbers_are_means_over_the_questions_of_a_domain(answered):
    both = beside_paper.by_method(answered).set_index(["table", "method", "domain"])
    own = answered[(answered["method"] == "EDIT") & (answered["split"] == "test")]
    row = both.loc[("Table 1", "EDIT", "in domain")]
    assert row["accuracy"] == pytest.approx(own["correct"].mean()) and row["n"] == 20


def test_weights_that_the_paper_lacks_are_only_here(answered):
    both = beside_paper.by_weights(answered).set_index(["alpha", "beta"])
    assert both.loc[(1, 0.1), "status"] == tables.ONLY_HERE
    assert both.loc[(0, 0), "method"] == "EDIT w/o KRSL"
    assert both.loc[(1, 0.025), "status"] == tables.RUN
    assert both.loc[(1, 0.05), "status"] == tables.NOT_RUN
    assert len(both) == len(paper.TABLE_4) + 1


def test_a_family_stands_beside_the_subtask_of_its_name(answered):
    both = beside_paper.by_task(answered.assign(task="date_understanding"))
    assert (both["task"].iloc[0], both["status"].iloc[:6].tolist().count(tables.RUN)) == (
        "date_understanding",
        2,  # Std-CoT and EDIT, of six methods
    )
    asked = both["task"] == "date_understanding"
    assert set(both.loc[asked, "split"]) == {"test"}  # the first that asks it, of every method
    assert set(both.loc[~asked, "split"]) == {""}
    assert not both.duplicated(["task", "method"]).any()
    assert len(both) == len(paper.TABLE_3)
    assert both["task"].iloc[-1] == paper.AVERAGE and both["accuracy"].iloc[-6:].isna().all()


def test_a_small_p_value_is_not_shown_as_zero():
    shown = [tables.p_value(p) for p in (0.03125, 0.0001, 3e-38, 0.0, np.nan)]
    assert shown == ["0.0312", "0.0001", "below 0.0001", "below 0.0001", ""]


def test_a_cell_shows_its_interval_where_there_is_one():
    row = {"accuracy": 0.5, "difference": -0.021, "low": -0.1, "high": 0.2}
    row = pd.Series(row | {"low_questions": 0.4, "high_questions": 0.6})
    assert tables.cell(row, "difference") == "-2.1 (-10.0 to +20.0)"
    assert tables.cell(row.replace(-0.1, np.nan)) == "50.0 (40.0 to 60.0, over questions)"
    assert tables.cell(row.replace(0.5, np.nan)) == tables.NOT_RUN


def test_methods_of_one_table_are_shown_by_the_seeds_that_all_have():
    met = predictions({"EDIT": 0.5, "DPO": 0.1, "Std-CoT": 0.4, "Base student": 0.3}, seeds=5)
    met = met[(met["method"] != "DPO") | met["seed"].isin([1, 3])]
    met = met[(met["method"] != "Base student") | (met["seed"] == 0)]
    both = beside_paper.by_method(met).set_index(["table", "method", "domain"])["seeds"]
    assert both["Table 9", "EDIT", "all"] == both["Table 9", "DPO", "all"] == 2
    assert both["Table 1", "EDIT", "all"] == both["Table 1", "Std-CoT", "all"] == 5
    own = met[met["method"].isin(["EDIT", "DPO"])]
    gap = statistics.contrast(claims.by_domain(own).query("domain == 'all'"), "EDIT", "DPO")
    shown = beside_paper.by_method(met).query("table == 'Table 9' and domain == 'all'")
    levels = shown.set_index("method")["accuracy"]
    assert levels["EDIT"] - levels["DPO"] == pytest.approx(gap["difference"])
    alone = (
        beside_paper.on_common_seeds(met, ["EDIT", "Base student"])
        .groupby("method")["seed"]
        .nunique()
    )
    assert alone.to_dict() == {"Base student": 1, "EDIT": 5}


def test_methods_without_a_common_seed_keep_their_own():
    met = predictions({"EDIT": 0.5, "DPO": 0.1}, seeds=4)
    met = met[(met["method"] == "DPO") == (met["seed"] > 1)]
    assert len(beside_paper.on_common_seeds(met, ["EDIT", "DPO"])) == len(met)


def test_a_line_says_which_methods_were_not_run_and_who_runs_them(answered):
    both = beside_paper.by_method(answered)
    more = {name: profiles.load(name) for name in ("full", "mechanism")}
    lines = {name: beside_paper.left_out(part, more) for name, part in both.groupby("table")}
    assert lines["Table 5"] == (
        "Not run here, but by make reproduce PROFILE=full: Std-CoT, repeat sampling; Std-CoT, dual "
        "CoTs."
    )
    assert "teacher, few-shot-CoT" in lines["Table 1"].partition("In no profile")[2]
    assert "SBS-MI" not in lines["Table 1"].partition("In no profile")[2]
    assert "EDIT w/o KRSL" in beside_paper.left_out(beside_paper.by_weights(answered), more)
    run = both[both["status"] == tables.RUN]
    assert beside_paper.left_out(run, more) == "Every method of this table was run."


def test_the_first_profile_that_has_a_method_is_the_one_that_is_named():
    names = ["EDIT, words", "DPO", "EDIT", "EDIT, LE alone", "EDIT, nobody"]
    both = pd.DataFrame({"method": names, "status": tables.NOT_RUN})
    more = {name: profiles.load(name) for name in ("full", "mechanism", "kinds")}
    assert beside_paper.left_out(both, more) == (
        "Not run here, but by make reproduce PROFILE=full: DPO; EDIT. "
        "Not run here, but by make reproduce PROFILE=mechanism: EDIT, words. "
        "Not run here, but by make reproduce PROFILE=kinds: EDIT, LE alone. "
        "In no profile of the kit: EDIT, nobody."
    )


def test_a_number_without_its_questions_is_not_blamed_on_a_method(answered):
    answered = answered[answered["method"].isin(["EDIT", "Std-CoT"])]
    both = beside_paper.by_task(answered.assign(task="date_understanding"))
    both = both[both["method"].isin(["EDIT", "Std-CoT"])]
    line = "Where a method that was run has no number, those questions are not asked here."
    assert beside_paper.left_out(both, {}) == line


def test_how_far_a_method_moved_is_counted_answer_by_answer():
    columns = ["method", "seed", "question_id", "text", "read", "correct"]
    before = [("A", 0, "p", "so 3", "3", True), ("A", 0, "q", "so", None, False)]
    after = [("B", 0, "p", "so 4", "4", False), ("B", 0, "q", "well", None, False)]
    elsewhere = [("B", 1, "p", "so 5", "5", False)]  # a seed that A lacks
    table = pd.DataFrame([*before, *after, *elsewhere], columns=columns)
    found = beside_paper.moved(table, "B", "A")
    assert found.to_dict() == {"answers": 2, "text": 1.0, "read": 0.5, "correct": 0.5}


def test_a_vote_stands_beside_one_greedy_answer_of_the_same_students():
    met = predictions({"EDIT": 0.5, "Std-CoT": 0.4}, seeds=3).assign(read="3")
    cast = met[(met["method"] == "EDIT") & (met["seed"] < 2)].assign(correct=True)
    cast.loc[cast["seed"] == 0, "read"] = None
    both = claims.with_votes(met, cast)
    (row,) = beside_paper.voting(both).to_dict("records")
    greedy = met[(met["method"] == "EDIT") & (met["seed"] < 2)]["correct"].mean()
    assert row["method"] == paper.voted("EDIT") and row["unread"] == 0.5
    assert (row["seeds"], row["n"]) == (2, 300)
    assert row["greedy"] == pytest.approx(greedy) and row["difference"] == pytest.approx(1 - greedy)
    rows = beside_paper.by_method(both).query("table == 'Table 8'")
    wide = tables.side_by_side(rows, ["method"], "domain")
    shown = tables.beside_greedy(wide, beside_paper.voting(both)).set_index("method")
    assert shown.loc[paper.voted("EDIT"), "all: greedy"] == f"{100 * greedy:.1f}"
    assert shown.loc[paper.voted("EDIT"), "vote less greedy"].startswith(
        f"+{100 * (1 - greedy):.1f} ("
    )
    assert shown.loc[paper.voted("SCOTT"), "vote less greedy"] == tables.NOT_RUN


def test_a_vote_that_the_paper_lacks_follows_those_of_table_8():
    met = predictions({"Std-CoT continued": 0.4, "EDIT": 0.5}, seeds=2).assign(read="3")
    both = claims.with_votes(met, met)
    votes = [paper.voted(name) for name in ("EDIT", "Std-CoT continued")]
    assert beside_paper.voting(both)["method"].tolist() == votes
    rows = beside_paper.by_method(both).query("table == 'Table 8'")
    shown = rows.drop_duplicates("method").set_index("method")["status"]
    assert list(shown.index)[-1] == votes[1] and set(shown.index[:-1]) == {
        paper.voted(name) for name in paper.TABLE_8["method"]
    }
    assert shown[votes[1]] == tables.ONLY_HERE


def test_without_a_vote_no_row_of_table_8_was_run(answered):
    votes = beside_paper.voting(answered.assign(read="3"))
    wide = pd.DataFrame({"method": [paper.voted("EDIT")]})
    assert tables.beside_greedy(wide, votes).iloc[0, 1:].tolist() == [tables.NOT_RUN] * 2


@pytest.mark.parametrize("profile", ["full", "full-gpu"])
def test_every_method_votes_in_full_those_of_the_paper_among_them(profile):
    settings = profiles.load(profile)
    assert settings.exam.self_consistency == settings.training.methods
    assert {*paper.TABLE_8["method"]} <= {*settings.training.methods}


def test_prompts_that_show_exemplars_are_told_from_those_that_show_none(tmp_path):
    shy = "student, few-shot-CoT"
    texts = {"a": " ", "b": "The answer is 3", "c": "no end"}
    met = pd.DataFrame({"question_id": texts.keys(), "text": texts.values()})
    met = met.assign(method=shy, read=[None, "3", None], correct=[False, True, False])
    met = pd.concat([met, met.assign(method="EDIT"), met.assign(method="student, zero-shot")])
    folder = tmp_path / "predictions" / shy / "seed 0"
    folder.mkdir(parents=True)
    prompts = pd.DataFrame({"question": ["c", "b", "a"], "shown": [2, 0, 1]})
    write_frame(folder / "prompts.parquet", prompts)
    found = beside_paper.by_exemplars(SimpleNamespace(artifacts=tmp_path), met)
    assert found.values.tolist() == [
        [shy, "shown", 2, 0.5, 1.0, 0.0],
        [shy, "none shown", 1, 0.0, 0.0, 1.0],
    ]


def test_latex_has_the_rules_of_booktabs_and_escapes_everything():
    nasty = r"\input{x} 5 % of $a_b$ & #1 ~ ^"
    text = tables.latex(pd.DataFrame({"p_holm & %": [nasty], "n": [0.025], "m": [np.nan]}))
    rules = [line for line in text.splitlines() if line.endswith("rule")]
    assert rules == [r"\toprule", r"\midrule", r"\bottomrule"]
    assert r"p\_holm \& \%" in text and r"\textbackslash input\{x\} 5 \% of \$a\_b\$" in text
    assert r"\input" not in text and " & 0.025 & " in text and "nan" not in text


def test_latex_of_a_long_table_goes_over_pages_and_of_a_wide_one_fits_the_line():
    long = tables.latex(pd.DataFrame({"n": range(tables.LONG + 1)}))
    assert long.startswith(r"\begin{longtable}") and long.rstrip().endswith(r"\end{longtable}")
    wide = tables.latex(pd.DataFrame([range(tables.WIDE + 1)]))
    assert wide.startswith("\\resizebox{\\linewidth}{!}{%\n\\begin{tabular}") and wide.endswith(
        "}\n"
    )
    assert wide.count("{") == wide.count("}")
    plain = tables.latex(pd.DataFrame([range(tables.WIDE)]))
    assert plain.startswith(r"\begin{tabular}")


def test_latex_has_a_minus_before_numbers_and_a_hyphen_elsewhere():
    text = tables.latex(pd.DataFrame({"method": ["D-dual 3-4"], "x": ["-1.8 (-4.0 to +0.5)"]}))
    assert "$-$1.8 ($-$4.0 to +0.5)" in text and "D-dual 3-4" in text


def test_differences_by_domain_have_a_line_a_contest():
    row = {"difference": 0.02, "low": -0.01, "high": 0.05}
    names = {"method": "EDIT", "baseline": "Std-CoT"}
    both = [{"domain": domain} | names | row for domain in ("in domain", "all")]
    found = tables.by_domain(pd.DataFrame(both), ["method", "baseline"])
    said = ["EDIT", "Std-CoT", *["+2.0 (-1.0 to +5.0)"] * 2]
    assert found.to_dict("list") == dict(
        zip(["method", "less", "in domain", "all"], [[x] for x in said], strict=True)
    )


def test_a_table_is_saved_as_csv_and_latex(tmp_path):
    ws = open_workspace("smoke", results=tmp_path)
    frame = pd.DataFrame({"method": ["EDIT"], "accuracy": [0.5]})
    assert tables.save(ws, frame, "one", shown=frame[["method"]]) is frame
    folder = ws.folder / "tables"
    assert pd.read_csv(folder / "one.csv").equals(frame)
    assert (
        "EDIT" in (folder / "one.tex").read_text() and "0.5" not in (folder / "one.tex").read_text()
    )
