"""Each verdict is given where it is due, and not where a run is too small to know."""

import numpy as np
import pandas as pd
import pytest

from editlib import claims, paper, statistics
from editlib.methods import METHODS


def predictions(accuracy, n=150, seeds=6):
    """Independent answers of methods with a given accuracy, half in domain and half out of it."""
    rng = np.random.default_rng(0)
    splits = [(split, q) for split in ("test", "longer") for q in range(n)]
    return pd.DataFrame(
        [
            (method, seed, f"{split} {q}", "sums", split, rng.random() < share)
            for method, share in accuracy.items()
            for seed in range(seeds)
            for split, q in splits
        ],
        columns=["method", "seed", "question_id", "task", "split", "correct"],
    )


def verdict(accuracy, method="EDIT", baseline="Std-CoT", domain="in domain", **size):
    found = claims.verdicts(predictions(accuracy, **size))
    own = {"method": method, "baseline": baseline, "domain": domain}
    return found[(found[list(own)] == pd.Series(own)).all(axis=1)].squeeze()


def test_a_difference_as_claimed_is_reproduced():
    row = verdict({"EDIT": 0.7, "Std-CoT": 0.4})
    assert row["verdict"] == claims.REPRODUCED and row["low"] > 0.2
    assert row["paper"] == pytest.approx(0.067)
    assert (row["assumed"], row["assumed_from"]) == (row["paper"], "paper")


def test_a_difference_the_other_way_is_opposite():
    assert verdict({"EDIT": 0.4, "Std-CoT": 0.7})["verdict"] == claims.OPPOSITE


ABSENT = ("EDIT w/o KRSL", "DPO", "all")  # the paper: +36.2 points


def test_a_difference_that_is_absent_though_the_paper_has_a_large_one_is_not_reproduced():
    row = verdict({"EDIT w/o KRSL": 0.5, "DPO": 0.5}, *ABSENT)
    assert row["verdict"] == claims.NOT_REPRODUCED
    assert row["p_holm"] > claims.LEVEL > row["p_paper_holm"] and row["high"] < row["paper"]
    assert row[list(claims.NEEDED)].isna().all()  # nothing is left to be decided


def test_too_few_answers_cannot_exclude_the_difference_of_the_paper():
    row = verdict({"EDIT w/o KRSL": 0.5, "DPO": 0.5}, *ABSENT, n=4, seeds=2)
    assert row["verdict"] == claims.UNDECIDED and row["p_paper"] > 0


def test_the_test_of_the_papers_difference_is_that_of_zero_on_scores_less_it():
    frame = predictions({"EDIT": 0.5, "Std-CoT": 0.45})
    row = verdict({"EDIT": 0.5, "Std-CoT": 0.45})
    scores = statistics.paired(frame[frame["split"] == "test"], "EDIT", "Std-CoT").to_numpy()
    assert row["p_paper"] == pytest.approx(statistics.estimate(scores - row["paper"]).p)
    assert row["p"] == pytest.approx(statistics.estimate(scores).p) != row["p_paper"]


def test_the_tests_of_the_papers_differences_are_corrected_for_one_another_alone():
    frame = predictions({"EDIT": 0.5, "Std-CoT": 0.5, "Std-CoT continued": 0.5, "SBS": 0.5})
    found = claims.verdicts(frame, statistics.compare(frame, "EDIT", ["Std-CoT", "another"]))
    tested = found["p_paper"].notna()
    assert tested.sum() == 3 < found["p"].notna().sum()  # the control has no number in the paper
    assert found.loc[tested, "p_paper_holm"].min() == pytest.approx(3 * found["p_paper"].min())


def test_a_difference_beyond_the_papers_is_never_called_not_reproduced():
    row = pd.Series({"seeds": 3, "p_holm": 0.06, "p_paper_holm": 0.01, "paper": 0.02})
    assert claims._verdict(pd.concat([row, pd.Series({"difference": 0.3})])) == claims.UNDECIDED
    assert (
        claims._verdict(pd.concat([row, pd.Series({"difference": 0.01})])) == claims.NOT_REPRODUCED
    )


def test_a_sign_as_claimed_is_reproduced_whatever_its_size():
    row = verdict({"EDIT": 0.9, "Std-CoT": 0.4})
    assert row["p_paper_holm"] < claims.LEVEL and row["difference"] > 2 * row["paper"]
    assert row["verdict"] == claims.REPRODUCED


def test_students_that_answer_alike_exclude_nothing():
    frame = predictions({"EDIT w/o KRSL": 0.5})
    found = claims.verdicts(pd.concat([frame, frame.assign(method="DPO")]))
    row = found[found["baseline"] == "DPO"].squeeze()
    assert row["difference"] == 0 and pd.isna(row["p_paper"])
    assert row["verdict"] == claims.UNDECIDED


def test_voters_are_those_of_the_papers_table():
    leads = [claim for claim in claims.CLAIMS if claim.claim == "EDIT leads under voting"]
    others = {paper.voted(name) for name in paper.TABLE_8["method"]} - {paper.voted("EDIT")}
    assert {claim.baseline for claim in leads} == others
    adds = {claim.baseline for claim in claims.CLAIMS if claim.claim == "voting adds"}
    assert adds == set(paper.TABLE_8["method"])


def test_no_difference_is_not_decided_and_says_how_many_seeds_would():
    row = verdict({"EDIT": 0.5, "Std-CoT": 0.5}, n=40, seeds=3)
    assert row["verdict"] == claims.UNDECIDED
    assert row["power"] < 0.8 and row["detectable"] > row["paper"] and row["seeds_needed"] > 3


def test_one_seed_leaves_a_clear_difference_open():
    row = verdict({"EDIT": 0.9, "Std-CoT": 0.1}, seeds=1)
    assert row["verdict"] == claims.UNDECIDED and pd.isna(row["seeds_needed"])
    assert claims.size(claims.verdicts(predictions({"EDIT": 0.9, "Std-CoT": 0.1}, seeds=1))) == 0


def test_a_claim_about_a_method_that_is_missing_is_not_run():
    row = verdict({"EDIT": 0.5, "Std-CoT": 0.5}, "EDIT w/o KRSL", "DPO", "all")
    assert row["verdict"] == claims.NOT_RUN and pd.isna(row["difference"])
    assert row["paper"] == pytest.approx(0.362)


def test_a_claim_that_the_paper_implies_is_tested_without_its_number():
    row = verdict({"EDIT": 0.4, "Std-CoT continued": 0.7}, baseline="Std-CoT continued")
    assert row["verdict"] == claims.OPPOSITE and pd.isna(row["paper"])
    assert (row["assumed"], row["assumed_from"]) == (claims.LEAST, claims.OF_INTEREST)


def test_more_claims_make_each_harder_to_decide():
    few = {"EDIT": 0.56, "Std-CoT": 0.5}
    more = few | dict.fromkeys(("EDIT w/o KRSL", "EDIT w/o RWC", "MT-CoT"), 0.5)
    found = [claims.verdicts(predictions(methods)) for methods in (few, more)]
    assert claims.level(found[1]) < claims.level(found[0])
    assert found[1].loc[0, "p"] == found[0].loc[0, "p"]
    assert found[1].loc[0, "p_holm"] > found[0].loc[0, "p_holm"]


def test_claims_and_the_comparisons_beside_them_are_one_family():
    frame = predictions({"EDIT": 0.56, "Std-CoT": 0.5, "another": 0.5})
    beside = statistics.compare(frame, "EDIT", ["Std-CoT", "another"])  # two splits each
    alone, both = claims.verdicts(frame), claims.verdicts(frame, beside)
    tested = alone["p"].notna().sum()
    assert claims.size(both, beside) == tested + 3  # one of the four is a claim too
    assert claims.level(both, beside) == pytest.approx(0.05 / (tested + 3))
    assert both.loc[0, "p_holm"] >= alone.loc[0, "p_holm"]
    found = claims.decided(beside, both).set_index(["split", "baseline"])
    assert (
        found.loc[("test", "Std-CoT"), "p_holm"] == both.loc[0, "p_holm"]
    )  # one test, one verdict
    expected = statistics.holm(pd.concat([beside["p"], both["p"].iloc[1:]], ignore_index=True))
    assert found["p_holm"].tolist() == pytest.approx(expected.iloc[: len(beside)].tolist())
    assert (found["decided"] == (found["p_holm"] < claims.LEVEL)).all()


def test_every_method_that_a_claim_names_can_be_trained():
    votes = {paper.voted(name) for name in METHODS}
    named = {name for claim in claims.CLAIMS for name in (claim.method, claim.baseline)}
    assert named - votes <= set(METHODS)


def test_every_claim_that_the_paper_puts_in_numbers_goes_its_way():
    stated = [claim for claim in claims.CLAIMS if claim.source != "implied"]
    for claim in stated:
        benchmarks = paper.DOMAINS[claim.domain]
        assert paper.difference(claim.method, claim.baseline, benchmarks) > 0, claim
    assert len(stated) > 20


def test_no_comparison_is_counted_twice():
    rows = [(c.method, c.baseline, c.domain) for c in claims.CLAIMS]
    assert len(set(rows)) == len(rows)


def test_no_claim_says_more_than_which_way_a_difference_goes():
    row = verdict({"EDIT w/o KRSL": 0.55, "DPO": 0.45}, "EDIT w/o KRSL", "DPO", "all", n=400)
    assert row["verdict"] == claims.REPRODUCED and row["high"] < 0.5 * row["paper"]
    assert row["claim"] == "DPO in place of KRSL hurts"  # by how much, the columns beside it say
    assert not any("collapse" in claim.claim for claim in claims.CLAIMS)


def test_a_sign_counts_once_a_domain_whatever_the_splits():
    frame = predictions({"EDIT": 0.7, "Std-CoT": 0.4, "Std-CoT continued": 0.1, "DPO": 0.99})
    further = frame[frame["split"] == "longer"].assign(split="families")
    further["question_id"] = further["question_id"].str.replace("longer", "families")
    others = ["Std-CoT", "Std-CoT continued", "DPO", "EDIT w/o RWC"]
    found = claims.signs(pd.concat([frame, further]), "EDIT", others)
    assert found[["domain", "baseline", "same"]].values.tolist() == [
        ["in domain", "Std-CoT", True],
        ["in domain", "DPO", False],
        ["out of domain", "Std-CoT", True],
        ["out of domain", "DPO", False],
    ]
    assert (found["same"] == (found["difference"] * found["paper"] > 0)).all()
    twin = frame[frame["method"] == "EDIT"]
    alike = pd.concat([twin, twin.assign(method="Std-CoT")])
    assert claims.signs(alike, "EDIT", ["Std-CoT"]).empty  # zero has no sign


def test_votes_are_further_methods_of_the_same_students():
    greedy = predictions({"EDIT": 0.4})
    votes = predictions({"EDIT": 0.8}).drop(columns="task").assign(votes=8, agreement=0.7)
    found = claims.verdicts(claims.with_votes(greedy, votes)).set_index(["method", "baseline"])
    row = found.loc[(paper.voted("EDIT"), "EDIT")]
    assert row["verdict"] == claims.REPRODUCED and row["difference"] == pytest.approx(0.4, abs=0.05)
    assert claims.with_votes(greedy, None) is greedy


def test_all_questions_are_those_in_domain_and_out_of_it():
    sizes = claims.by_domain(predictions({"EDIT": 0.5}, n=7, seeds=1)).groupby("domain").size()
    assert sizes.to_dict() == {"in domain": 7, "out of domain": 7, "all": 14}
    assert set(sizes.index) == set(paper.DOMAINS)
