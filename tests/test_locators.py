"""Locators mark what they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from editlib.keysteps import WordSegmenter
from editlib.locators import LOCATORS, at_random, edit_distance

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
