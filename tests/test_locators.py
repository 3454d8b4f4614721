"""Locators mark what they say, and their marks are counted against known mistakes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from editlib.keysteps import WordSegmenter
from editlib.locators import LOCATORS, agreement, at_random, edit_distance, scores
from editlib.records import DualCoT

RIGHT = "We add 2 and 5. That is 7. So it is 7."
WRONG = "We add 2 and 5. That is 8. Hence it is 8."
MARKED = {
    "edit distance": ["8", "Hence", "8"],
    "first differing token": ["8"],
    "first changed run": ["8"],
    "longest blocks (difflib)": ["8", "Hence", "8"],
    "words": ["8", "Hence", "8"],
    "sentences": ["That", "is", "8", ".", "Hence", "it", "is", "8", "."],
    "all from the first difference": ["8", ".", "Hence", "it", "is", "8", "."],
    "all tokens": ["We", "add", "2", "and", "5", ".", "That", "is", "8", ".",
                   "Hence", "it", "is", "8", "."],
}  # fmt: skip


def marked(name, wrong=WRONG, right=RIGHT):
    wrong, right = map(WordSegmenter(), (wrong, right))
    mask = LOCATORS[name](wrong, right)
    assert mask.shape == (len(wrong.ids),) and mask.dtype == bool
    return [wrong.text[a:b] for (a, b), key in zip(wrong.spans, mask, strict=True) if key]


@pytest.mark.parametrize("name", LOCATORS)
def test_each_locator_marks_what_its_name_says(name):
    assert marked(name) == MARKED[name]


def test_difflib_keeps_the_longest_block_where_edit_distance_keeps_the_most():
    right, wrong = "a b c x y z w d e f", "d e f x a b c"
    assert marked("longest blocks (difflib)", wrong, right) != marked("edit distance", wrong, right)


@pytest.mark.parametrize("name", [name for name in LOCATORS if name != "all tokens"])
def test_equal_responses_bear_no_mark(name):
    assert marked(name, RIGHT, RIGHT) == []


@given(seed=st.integers(0, 9))
def test_chance_marks_as_many_tokens_and_repeats(seed):
    wrong, right = map(WordSegmenter(), (WRONG, RIGHT))
    first, again = (
        at_random(edit_distance, np.random.default_rng(seed))(wrong, right) for _ in range(2)
    )
    assert first.sum() == edit_distance(wrong, right).sum() and (first == again).all()


# --- against known mistakes -------------------------------------------------------------------


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


def meet(*known, locate=edit_distance):
    pairs, truths = [pair for pair, _ in known], {pair.id: truth for pair, truth in known}
    return agreement(pairs, truths, WordSegmenter(), locate)


SLIP = with_truth(
    "a",
    "9 minus 2 is 7 so we say 7",
    "9 minus 2 is six thus we say 6",
    [("calculation", "six")],
    ["6"],
)


def test_a_mistake_a_consequence_and_a_paraphrase_are_told_apart():
    row = meet(SLIP).iloc[0]
    assert row["kind"] == "calculation" and row["units"] == 9
    assert row[["key", "mistake", "found", "hit"]].tolist() == [3, 1, 1, 2]  # six, thus, 6


def test_precision_and_recall_pool_the_tokens_of_all_pairs():
    missed = with_truth("b", "they are two dogs", "they are two cats", [("knowledge", "they are")])
    table = scores(meet(SLIP, missed)).iloc[0]
    assert table["pairs"] == 2
    assert table["precision"] == pytest.approx(2 / 4)
    assert table["recall"] == pytest.approx(1 / 3)
    assert table["f1"] == pytest.approx(2 / (4 / 2 + 3 / 1))
    assert table["reached"] == 1 / 2


def test_scores_come_by_group_in_the_order_of_the_rows():
    other = with_truth("b", "it is red", "it is blue", [("logical", "blue"), ("knowledge", "is")])
    table = scores(meet(SLIP, other), by=["kind"])
    assert table["kind"].tolist() == ["calculation", "knowledge+logical"]
    assert table["pairs"].tolist() == [1, 1]
    assert table["reached"].tolist() == [1, 1]


def test_marks_on_everything_find_all_and_marks_on_nothing_find_none():
    everything = meet(SLIP, locate=lambda tokens, twin: np.ones(len(tokens.ids), dtype=bool))
    nothing = meet(SLIP, locate=lambda tokens, twin: np.zeros(len(tokens.ids), dtype=bool))
    assert scores(everything)["recall"].item() == 1
    assert scores(everything)["precision"].item() == pytest.approx(2 / 9)
    assert scores(nothing)["recall"].item() == 0
    assert scores(nothing)["precision"].isna().item()


def test_pairs_of_unknown_truth_are_left_out():
    pair, _ = SLIP
    nothing = agreement([pair], {}, WordSegmenter(), edit_distance)
    assert nothing.empty and scores(nothing, by=["task"]).empty
