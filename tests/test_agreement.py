"""Marks are counted against known mistakes; what follows from one counts, or strictly does not."""

import numpy as np
import pytest

from editlib import agreement, locators, marks
from editlib.keysteps import WordSegmenter
from editlib.methods import KNOWN
from editlib.records import DualCoT

SEGMENT = WordSegmenter()
CORRECT = "9 minus 2 is 7 so we say 7"
WRONG = "9 minus 2 is six thus we say 6"  # a mistake, a new wording, what follows from the mistake


def span(word):
    start = WRONG.index(word)
    return {"start": start, "end": start + len(word)}


TRUTH = {
    "mistakes": [{"kind": "calculation", "step": 0, **span("six")}],
    "consequences": [span("6")],
}


def pair(name):
    return DualCoT(name, "q", "subtraction", "D+dual", "?", CORRECT, WRONG, "", "", "", name)


def row(name):
    ids = {"correct": SEGMENT(CORRECT).ids, "wrong": SEGMENT(WRONG).ids}
    return {"id": name, **ids}


@pytest.fixture
def counts():
    return agreement.of_locator([pair("a")], {"a": TRUTH}, SEGMENT, locators.edit_distance)


def test_strict_precision_counts_the_mistake_alone_and_its_f1_the_same_tokens_as_recall(counts):
    table = agreement.scores(counts).iloc[0]
    assert table["strict_precision"] == pytest.approx(1 / 3)  # six of six, thus, 6
    assert table["precision"] == pytest.approx(2 / 3)
    assert table["recall"] == 1
    assert table["strict_f1"] == pytest.approx(2 / (3 + 1))
    assert table["f1"] == pytest.approx(2 / (3 / 2 + 1))


def test_f1_is_nought_where_no_mark_hits_and_unknown_where_there_is_none(counts):
    missed, none = counts.assign(found=0, hit=0), counts.assign(key=0, found=0, hit=0)
    assert agreement.scores(missed)[["strict_f1", "f1"]].eq(0).all(axis=None)
    assert agreement.scores(none)[["strict_f1", "f1"]].isna().all(axis=None)


def test_the_known_mistake_is_right_by_construction():
    rows = marks.marked([row("a")], {"a": pair("a")}, SEGMENT, KNOWN, {"a": TRUTH})
    table = agreement.scores(agreement.of_rows([pair("a")], {"a": TRUTH}, SEGMENT, rows)).iloc[0]
    assert table[agreement.MEASURES].eq(1).all()


def test_marks_of_rows_stay_with_their_pair():
    truths = {name: TRUTH for name in "abc"}
    mistaken = np.array([word == "six" for word in WRONG.split()])
    rows = [row("c") | {"wrong_key": ~mistaken}, row("a") | {"wrong_key": mistaken.tolist()}]
    counts = agreement.of_rows([pair(name) for name in "abc"], truths, SEGMENT, rows)
    assert counts["id"].tolist() == ["a", "c"]
    assert counts["found"].tolist() == [1, 0] and counts["key"].tolist() == [1, 8]


def with_truth(name, correct, wrong, mistakes, consequences=()):
    """A pair and what is known of it; a mistake is (kind, word), a consequence a word."""
    place = {
        word: {"start": (i := wrong.index(word)), "end": i + len(word)}
        for word in [*(word for _, word in mistakes), *consequences]
    }
    pair = DualCoT(*(name, "q", "subtraction", "D+dual", "?", correct, wrong), "", "", "", name)
    return pair, {
        "mistakes": [{"kind": kind, "step": 0, **place[word]} for kind, word in mistakes],
        "consequences": [place[word] for word in consequences],
    }


def meet(*known, locate=locators.edit_distance):
    pairs, truths = [pair for pair, _ in known], {pair.id: truth for pair, truth in known}
    return agreement.of_locator(pairs, truths, SEGMENT, locate)


SLIP = with_truth(
    "a",
    CORRECT,
    WRONG,
    [("calculation", "six")],
    ["6"],
)


def test_a_mistake_a_consequence_and_a_paraphrase_are_told_apart():
    row = meet(SLIP).iloc[0]
    assert row["kind"] == "calculation" and row["units"] == 9
    assert row[["key", "mistake", "found", "hit"]].tolist() == [3, 1, 1, 2]  # six, thus, 6


def test_precision_and_recall_pool_the_tokens_of_all_pairs():
    missed = with_truth("b", "they are two dogs", "they are two cats", [("knowledge", "they are")])
    table = agreement.scores(meet(SLIP, missed)).iloc[0]
    assert table["pairs"] == 2
    assert table["precision"] == pytest.approx(2 / 4)
    assert table["recall"] == pytest.approx(1 / 3)
    assert table["f1"] == pytest.approx(2 / (4 / 2 + 3 / 1))
    assert table["reached"] == 1 / 2


def test_scores_come_by_group_in_the_order_of_the_rows():
    other = with_truth("b", "it is red", "it is blue", [("logical", "blue"), ("knowledge", "is")])
    table = agreement.scores(meet(SLIP, other), by=["kind"])
    assert table["kind"].tolist() == ["calculation", "knowledge+logical"]
    assert table["pairs"].tolist() == [1, 1]
    assert table["reached"].tolist() == [1, 1]


def test_marks_on_everything_find_all_and_marks_on_nothing_find_none():
    everything = meet(SLIP, locate=lambda tokens, twin: np.ones(len(tokens.ids), dtype=bool))
    nothing = meet(SLIP, locate=lambda tokens, twin: np.zeros(len(tokens.ids), dtype=bool))
    assert agreement.scores(everything)["recall"].item() == 1
    assert agreement.scores(everything)["precision"].item() == pytest.approx(2 / 9)
    assert agreement.scores(nothing)["recall"].item() == 0
    assert agreement.scores(nothing)["precision"].isna().item()


def test_pairs_of_unknown_truth_are_left_out():
    pair, _ = SLIP
    nothing = agreement.of_locator([pair], {}, SEGMENT, locators.edit_distance)
    assert nothing.empty and agreement.scores(nothing, by=["task"]).empty
