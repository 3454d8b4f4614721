"""Key steps where they are known: which tokens are decided, and what chance would give."""

import numpy as np
import pandas as pd
import pytest
import torch

from editlib import bases, encoding, keysteps, pivots, profiles, students, training
from editlib.puzzles import Voice, questions, read_question, reason
from editlib.records import Question

TEXT = "What is the value of 2 * 2?"
CHAIN = "We have 2 * 2. Now 2 * 2 = 4, leaving 4. Therefore, the answer is 4."


def chains(roles, decided_seen=1, copied_seen=1, seed=0, task="sums"):
    """Rows of quality.inspect() whose first mistakes are of these roles; None: no mistake."""
    rows = [
        {
            "split": "test",
            "method": "EDIT",
            "seed": seed,
            "question_id": f"{task}/{i}",
            "role": role,
            "task": task,
            "first": None if role is None else 0,
            "position": None if role is None else i / len(roles),
            "decided_seen": decided_seen,
            "copied_seen": copied_seen,
            "decided_length": decided_seen,
            "copied_length": 4 * copied_seen,
            "slot": "sum",
            "kinds": "other",
        }
        for i, role in enumerate(roles)
    ]
    return pd.DataFrame(rows)


def test_each_token_is_decided_copied_or_wording():
    words = CHAIN.split(" ")
    starts = np.cumsum([0, *(len(word) + 1 for word in words[:-1])])
    spans = [(start, start + len(word)) for start, word in zip(starts, words, strict=True)]
    found = dict(zip(enumerate(words), pivots.parts(TEXT, CHAIN, spans), strict=True))
    assert [w for (_, w), part in found.items() if part == "decided"] == ["4,"]
    copied = [w for (_, w), part in found.items() if part == "copied"]
    assert copied == ["2", "*", "2.", "2", "*", "2", "4.", "4."]
    assert {found[i, w] for i, w in enumerate(words) if w.isalpha()} == {"wording"}


def test_chance_is_the_share_of_decisions_among_what_was_written_so_far():
    rows = pivots.first_mistakes(chains(["decided"] * 9 + ["copied", "form", None], 1, 3))
    (row,) = rows.to_dict("records")
    assert (row["chains"], row["wrong"], row["form"], row["values"]) == (12, 11, 1, 10)
    assert (row["decided"], row["chance"]) == (pytest.approx(0.9), 0.25)
    assert row["chance_by_length"] == pytest.approx(1 / 13)  # copies are long here
    assert row["low"] < 0.9 < row["high"] and row["p"] < 0.01


def test_mistakes_spread_as_by_chance_are_not_called_anything_else():
    (row,) = pivots.first_mistakes(chains(["decided", "copied"] * 20)).to_dict("records")
    assert row["decided"] == row["chance"] == 0.5 and row["p"] == pytest.approx(1)


def test_chance_is_that_of_each_family_and_not_of_their_sum():
    """Families where all is decided fail often, those where all is copied seldom: mere chance."""
    decides = chains(["decided"] * 8 + [None] * 2, 1, 0, task="boolean_expressions")
    copies = chains(["copied"] * 2 + [None] * 8, 0, 1, task="sums")
    both = pivots.first_mistakes(pd.concat([decides, copies])).set_index("families")
    assert both.loc["all", "decided"] == both.loc["all", "chance"] == 0.8
    pooled = 0.5  # of all values
    assert both.loc["all", "chance"] != pooled
    assert both.loc["no expressions", ["decided", "chance", "values"]].tolist() == [0, 0, 2]


def test_the_interval_ranges_over_seeds_as_well():
    alike = pd.concat([chains(["decided"] * 10 + ["copied"] * 10, seed=s) for s in range(3)])
    other = [["decided"] * n + ["copied"] * (20 - n) for n in (2, 10, 18)]
    apart = pd.concat([chains(roles, seed=s) for s, roles in enumerate(other)])
    (one,), (two,) = (pivots.first_mistakes(t).to_dict("records") for t in (alike, apart))
    assert one["decided"] == pytest.approx(two["decided"]) == 0.5
    assert one["high"] - one["low"] < two["high"] - two["low"]


def gold(missed, seeds=3, questions=30, noise=0.01, draw=0):
    """What gold_path() gives, with the share that is missed by part, and some noise."""
    rng = np.random.default_rng(draw)
    rows = [
        ("EDIT", seed, str(question), part, 1 - share - rng.normal(0, noise))
        for seed in range(seeds)
        for question in range(questions)
        for part, share in missed.items()
    ]
    table = pd.DataFrame(rows, columns=["method", "seed", "question_id", "part", "accuracy"])
    return table.assign(nll=-np.log(table["accuracy"]), tokens=10)


def test_a_part_that_is_missed_more_often_is_told_from_one_that_is_not():
    found = pivots.gaps(gold({"decided": 0.10, "copied": 0.05, "wording": 0.05}))
    found = found.set_index(["part", "other"])
    real, none = found.loc[("decided", "copied")], found.loc[("copied", "wording")]
    assert real["low"] < 0.05 < real["high"] and real["p_holm"] < 0.01
    assert none["low"] < 0 < none["high"] and none["p_holm"] > 0.05
    assert (real["seeds"], real["questions"]) == (3, 30)


def test_a_gap_that_is_narrower_than_that_of_a_rival_is_told_from_one_that_is_as_wide():
    narrow = gold({"decided": 0.06, "copied": 0.05, "wording": 0.05})
    wide = gold({"decided": 0.20, "copied": 0.05, "wording": 0.05}, seeds=5, draw=1)
    # misses more, but has no wider gap
    alike = gold({"decided": 0.31, "copied": 0.30, "wording": 0.30}, draw=2)
    rivals = {"wide": wide, "alike": alike}
    table = pd.concat([narrow, *(t.assign(method=name) for name, t in rivals.items())])
    found = pivots.narrowings(table, "EDIT", list(rivals)).set_index(["baseline", "of", "other"])
    real = found.loc[("wide", "missed", "copied")]
    assert real["difference"] == pytest.approx(-0.14, abs=0.01)
    assert real["high"] < 0 and real["p_holm"] < 0.01
    assert real["seeds"] == 3  # in common
    assert found.loc[("wide", "nll", "wording"), "high"] < 0
    assert found.loc[("alike", "missed", "copied"), "p_holm"] > 0.05
    assert len(found) == 2 * 2 * 2


def test_what_is_shown_of_parts_is_what_is_tested_of_them():
    """One question, of many tokens, says the reverse of all others."""
    table = pd.concat(
        [
            gold({"decided": 0.10, "copied": 0.05, "wording": 0.05}, seeds=2, questions=9),
            gold({"decided": 0.0, "copied": 0.5, "wording": 0.1}, seeds=2, questions=1).assign(
                question_id="long", tokens=1000
            ),
        ]
    )
    means = pivots.question_means(table, ["method", "part"]).set_index("part")
    tested = pivots.gaps(table).set_index(["part", "other"])["difference"]
    for (part, other), difference in tested.items():
        missed = 1 - means["accuracy"]
        assert missed[part] - missed[other] == pytest.approx(difference)
    assert means["questions"].eq(10).all()
    assert means.loc["copied", "nll"] == pytest.approx(
        table.loc[table["part"] == "copied", "nll"].mean()
    )


def test_a_method_without_mistakes_has_no_share():
    table = pivots.first_mistakes(
        pd.concat([chains(["decided"] * 12), chains([None]).assign(method="Std-CoT")])
    )
    assert np.isnan(table["decided"].iloc[1]) and np.isnan(table["p_holm"].iloc[1])


def test_hazards_divide_what_went_wrong_by_what_was_written():
    table = pivots.hazards(chains(["decided", "copied", "copied", None], 2, 4)).set_index("role")
    assert table.loc["decided", ["seen", "wrong", "share"]].tolist() == [8, 1, 0.125]
    assert table.loc["copied", ["seen", "wrong", "share"]].tolist() == [16, 2, 0.125]


def test_the_curve_of_chains_gone_wrong_rises_to_their_share():
    table = pivots.gone_wrong(chains(["decided", "copied", None, None]))
    assert table["share"].is_monotonic_increasing and table["share"].iloc[-1] == 0.5


@pytest.mark.parametrize("pads", [False, True])
def test_foresight_is_the_loss_and_the_first_choice_of_the_model(pads):
    student = profiles.load("smoke").student
    tokenizer, model = bases.load_tokenizer(student), students.load_base(student)
    asked = [q for q in questions("test", 1) if q.task in ("navigate", "object_counting")]
    rows = pivots.right_chains(asked, tokenizer)
    assert training.goes_ragged(model)
    table = pivots.foresight(model, rows, pads)
    assert len(table) == sum(len(row["response"]) for row in rows)
    ids = torch.tensor([rows[0]["prompt"] + rows[0]["response"]])  # alone, without padding
    with torch.inference_mode():
        logits = model(input_ids=ids).logits[0]
    start, width = len(rows[0]["prompt"]), len(rows[0]["response"])
    expected = torch.nn.functional.cross_entropy(
        logits[start - 1 : -1], ids[0, start:], reduction="none"
    )
    assert table["nll"][:width].to_numpy() == pytest.approx(expected.numpy(), abs=1e-4)
    hits = (logits[start - 1 : -1].argmax(-1) == ids[0, start:]).numpy()
    assert table["hit"][:width].tolist() == hits.tolist()


def test_a_right_chain_is_that_of_the_solver_and_every_token_has_a_part():
    tokenizer = bases.load_tokenizer(profiles.load("smoke").student)
    asked = Question("q", "puzzles", "sums", "test", TEXT, "4")
    (row,) = pivots.right_chains([asked], tokenizer)
    text = reason(read_question(TEXT), Voice(TEXT)).text
    assert row["response"] == encoding.response_ids(tokenizer, [text])[0]
    assert len(row["part"]) == len(row["response"])
    assert set(row["part"]) == {*pivots.PARTS, pivots.FREE}


def test_a_token_is_free_just_where_another_voice_parts_from_the_chain():
    """All other voices for one question: where they first part is free, and nothing else is."""
    tokenizer = bases.load_tokenizer(profiles.load("smoke").student)
    for asked in questions("test", 1):
        (row,) = pivots.right_chains([asked], tokenizer)
        puzzle, marked = read_question(asked.text), np.flatnonzero(row["part"] == pivots.FREE)
        told = {reason(puzzle, Voice(f"other habits {n}")).text for n in range(300)}
        ids = encoding.response_ids(tokenizer, told)
        parted = {keysteps.common_prefix(row["response"], other) for other in ids}
        assert parted - {len(row["response"])} == set(marked)
