"""Contests beside the claims: each is there once, and adds up as hand-made answers do."""

import numpy as np
import pandas as pd
import pytest

from editlib import claims, contests, profiles
from editlib.methods import METHODS, control, phases

CLAIMED = {(claim.method, claim.baseline) for claim in claims.CLAIMS}


def answers(study, method, right):
    """right: seed -> whether each of four questions was; two of them in domain."""
    return [
        {"study": study, "method": method, "seed": seed, "question_id": f"q{n}", "correct": bool(c)}
        | {"split": "test" if n < 2 else "longer"}
        for seed, marks in enumerate(right)
        for n, c in enumerate(marks)
    ]


def test_sets_of_pairs_are_held_against_their_equals():
    found = contests.of_sets()
    less = {name: [b for m, b in found if m == name] for name, _ in found}
    assert less["EDIT, answer-only pairs"] == ["EDIT w/o KRSL continued", "EDIT"]
    assert less["EDIT, half of the pairs"] == ["EDIT w/o KRSL as long as EDIT, half of the pairs"]
    for name in ("half D-dual", "all D-dual"):
        assert less[f"EDIT, {name}"][1:] == ["EDIT, no D-dual"]
    assert len(less["EDIT, no D-dual"]) == 1


def test_no_contest_stands_twice_or_is_a_claim():  # one test, one corrected p
    found = [*contests.of_sets(), *contests.of_controls(), *contests.of_rates()]
    found += contests.of_variants()
    assert len(set(found)) == len(found) and not CLAIMED & set(found)
    assert {name for contest in found for name in contest} <= set(METHODS)


def test_what_full_trains_as_a_control_is_held_against_its_method():
    trained = profiles.load("full").training.students
    found = {rival: method for method, rival in contests.of_controls() if method in trained}
    controls = [name for name in trained if " as long as " in name]
    assert len(controls) == 7 and set(controls) <= set(found)
    assert all(control(found[name]) == name for name in controls)


def test_every_second_phase_of_full_that_weighs_or_loses_otherwise_is_held_against_edit():
    named = {name for _, name in contests.of_variants()}
    for name in ("EDIT, alpha 1, beta 0.1", "EDIT, per key token", "DPO", "DPO-Positive", "SimPO"):
        assert name in named
    assert all(phases(name)[0] == phases("EDIT")[0] for name in named)
    assert all(len(phases(name)) == 2 and phases(name)[1].data == "Ddual" for name in named)
    again = {name for name in named if phases(name)[1].objective == "krsl"}
    assert len({(p.alpha, p.beta, p.per) for p in (phases(n)[1] for n in again)}) == len(again)


def test_a_rate_of_its_own_changes_nothing_else_and_is_not_searched():
    training = profiles.load("full").training
    krsl = training.krsl.model_copy(update={"also_try": [1e-6]})
    own = training.model_copy(update={"krsl": krsl})
    settings = own.of(phases("EDIT, rate 0.0003")[-1])
    assert settings == krsl.model_copy(update={"lr": 3e-4, "also_try": []})
    assert own.of(phases("EDIT")[-1]) == krsl
    rated = [name for name, _ in contests.of_rates() if ", rate " in name]
    assert all(control(name) == control(name.split(", rate ")[0]) for name in rated)
    assert set(rated) <= set(training.students)


def test_differences_are_of_the_same_questions_by_domain_and_corrected_over_all():
    rows = answers("a", "EDIT", [(1, 1, 0, 1), (1, 0, 0, 1)])
    rows += answers("a", "Std-CoT", [(0, 1, 0, 0), (0, 0, 1, 0)])
    rows += answers("b", "EDIT", [(1, 1, 1, 1), (1, 1, 1, 1)])
    asked = [("EDIT", "Std-CoT"), ("EDIT", "DPO")]
    table = contests.against(pd.DataFrame(rows), asked, ["study"])
    found = table.set_index(["study", "domain"])
    assert found["difference"].to_dict() == pytest.approx(
        {("a", "in domain"): 0.5, ("a", "out of domain"): 0.25, ("a", "all"): 0.375}
    )
    assert found["apart"].to_dict() == pytest.approx(
        {("a", "in domain"): 0.5, ("a", "out of domain"): 0.75, ("a", "all"): 0.625}
    )
    known = table.dropna(subset="p")
    assert (known["p_holm"] >= known["p"]).all() and not np.isnan(known["p_holm"]).any()
    assert contests.against(pd.DataFrame(rows), [("EDIT", "DPO")]).empty


def test_second_phases_stand_beside_edit_with_their_rates_and_the_papers_gain():
    rng = np.random.default_rng(0)
    named = ["EDIT", "EDIT w/o KRSL", "EDIT, rate 0.001", "SimPO"]
    rows = [row for m in named for row in answers("", m, rng.random((3, 4)) < 0.5)]
    predictions, rates = pd.DataFrame(rows), {"EDIT": 2e-5, "EDIT, rate 0.001": 1e-3, "SimPO": 3e-5}
    verdicts = claims.verdicts(predictions)
    found = contests.of_second_phases(predictions, verdicts, rates)
    assert found.groupby("method", sort=False)["lr"].first().to_dict() == rates
    assert set(found["baseline"]) == {"EDIT w/o KRSL"} and len(found) == 9
    gains = found.set_index(["method", "domain"])["paper"]
    assert gains["EDIT, rate 0.001", "all"] == gains["EDIT", "all"] == pytest.approx(0.022)
    assert gains["SimPO"].isna().all()
    own = verdicts.query("method == 'EDIT' and baseline == 'EDIT w/o KRSL'")["p_paper_holm"]
    assert found.query("method == 'EDIT'")["p_paper_holm"].tolist() == pytest.approx(
        own.tolist(), nan_ok=True
    )
    tested = found[found["method"] == "EDIT, rate 0.001"]
    assert (tested["p_paper_holm"] >= tested["p_paper"]).all() and tested["p_paper"].notna().all()
    few = predictions[predictions["method"].isin(named[:2])]
    assert not len(contests.of_second_phases(few, claims.verdicts(few), rates))


def test_what_is_decided_is_listed():
    table = pd.DataFrame([("all", "EDIT", "Std-CoT", 0.02, p) for p in (0.04, 0.06)])
    table.columns = ["domain", "method", "baseline", "difference", "p_holm"]
    said = contests.decided(table)
    assert said.splitlines()[0] == "Decided, corrected for all of them: 1 of 2."
    assert said.splitlines()[2:] == ["- all: EDIT less Std-CoT: +2.0 points"]


def test_the_papers_difference_is_tested_in_place_of_zero():
    rng = np.random.default_rng(1)
    rows = answers("", "EDIT w/o KRSL", rng.random((5, 4)) < 0.5)
    rows += answers("", "EDIT", rng.random((5, 4)) < 0.5)
    asked = contests.against(pd.DataFrame(rows), [("EDIT", "EDIT w/o KRSL")])
    zero = claims.beside_theirs(asked.assign(paper=0.0), pd.DataFrame(rows))
    assert zero["p_paper"].to_numpy() == pytest.approx(asked["p"].to_numpy())
    same = claims.beside_theirs(asked.assign(paper=asked["difference"]), pd.DataFrame(rows))
    assert same["p_paper"].to_numpy() == pytest.approx(1)
    far = claims.beside_theirs(asked.assign(paper=5.0), pd.DataFrame(rows))
    assert (far["p_paper"] < zero["p_paper"]).all()
    said = contests.excluded(pd.DataFrame({"p_paper_holm": [0.01, 0.2, np.nan]}))
    assert "in 1 of the 2 that have one" in said
