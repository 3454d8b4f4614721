"""What follows from a mistake counts in precision, and not in strict precision."""

import numpy as np
import pandas as pd
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
    return locators.agreement([pair("a")], {"a": TRUTH}, SEGMENT, locators.edit_distance)


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


def test_what_is_not_strict_is_as_locators_has_it(counts):
    table, plain = agreement.scores(counts, ["task"]), locators.scores(counts, ["task"])
    pd.testing.assert_frame_equal(table[plain.columns], plain)


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
