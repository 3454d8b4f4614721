import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from editlib import plain
from editlib.keysteps import (
    NoKeySteps,
    WordSegmenter,
    compare_marks,
    edits,
    key_mask,
    key_masks,
    mark,
    overlaps,
    shares,
)
from editlib.records import DualCoT

TIES = ("library", "authors")
tokens = st.lists(st.integers(0, 4), min_size=1, max_size=12)


def words(text, twin, ties="library"):
    ids = {word: i for i, word in enumerate(sorted(set((text + " " + twin).split())))}
    mask = key_mask([ids[w] for w in text.split()], [ids[w] for w in twin.split()], ties)
    return [word for word, key in zip(text.split(), mask, strict=True) if key]


@pytest.mark.parametrize("ties", TIES)
def test_the_mask_marks_the_words_that_flip_the_answer(ties):
    correct = "5 minus 2 is 3 . The answer is 3"
    wrong = "5 minus 2 is 4 . The answer is 4"
    assert words(correct, wrong, ties) == ["3", "3"]
    assert words(wrong, correct, ties) == ["4", "4"]


@pytest.mark.parametrize("ties", TIES)
def test_equal_rationales_have_no_key_step(ties):
    assert not key_mask([1, 2, 3], [1, 2, 3], ties).any()


@pytest.mark.parametrize("ties", TIES)
@given(a=tokens, b=tokens)
def test_the_script_is_minimal(ties, a, b):
    """Each deletion costs one, each replacement one, and what is inserted is the rest."""
    labels = edits(a, b, ties)
    deleted, replaced = (labels == "delete").sum(), (labels == "replace").sum()
    inserted = len(b) - (len(a) - deleted)
    assert deleted + replaced + inserted == plain.edit_table(a, b)[-1][-1]


@pytest.mark.parametrize("ties", TIES)
@given(a=tokens, b=tokens)
def test_kept_tokens_stand_in_the_twin_in_the_same_order(ties, a, b):
    kept = [token for token, key in zip(a, key_mask(a, b, ties), strict=True) if not key]
    rest = iter(b)
    assert all(token in rest for token in kept)


@given(a=tokens, b=tokens)
def test_the_library_marks_both_sides_from_one_alignment(a, b):
    """What is left of both sides is the same; the authors align twice and cannot promise it."""
    kept = [
        [token for token, key in zip(side, key_mask(side, twin), strict=True) if not key]
        for side, twin in ((a, b), (b, a))
    ]
    assert kept[0] == kept[1]


@given(a=tokens, b=tokens)
def test_the_authors_rule_equals_the_published_backtrace_from_each_side(a, b):
    sides = key_masks(a, b, "authors")
    for mask, one, other in zip(sides, (a, b), (b, a), strict=True):
        assert np.flatnonzero(mask).tolist() == plain.authors_key(one, other)


GOLDEN = [  # tokens, twin, key positions by the library, by the authors; each traced by hand
    ([5, 6, 7], [5, 9, 7, 8], [1], [1]),
    ([1, 2, 2, 3], [1, 2, 3], [2], [2]),
    ([0, 1], [1, 2], [0, 1], [0]),  # two replacements, or a deletion and an insertion
    ([0, 0], [1, 0, 1], [1], [0]),  # the insertion stands first or last
]


@pytest.mark.parametrize("row", GOLDEN)
def test_each_tie_rule_keeps_its_golden_masks(row):
    a, b, library, authors = row
    assert np.flatnonzero(key_mask(a, b, "library")).tolist() == library
    assert np.flatnonzero(key_mask(a, b, "authors")).tolist() == authors


@pytest.mark.parametrize("ties", TIES)
def test_an_empty_side_is_refused(ties):
    with pytest.raises(NoKeySteps, match="0 and 2 tokens"):
        key_mask([], [1, 2], ties)


def test_shares_count_key_tokens_of_each_side_and_of_both():
    pair = DualCoT(*("a", "q", "colours", "D-dual", "?", "it is red now", "it is blue"), *"1200")
    table = shares(mark([pair], WordSegmenter())).set_index("side")
    assert table["units"].to_dict() == {"correct": 4, "wrong": 3, "both": 7}
    assert table["key"].to_dict() == {"correct": 2, "wrong": 1, "both": 3}
    assert table.loc["both", "share"] == 3 / 7


def test_the_tie_rules_are_compared_mark_by_mark():
    segment = WordSegmenter()
    pairs = [
        DualCoT(*("a", "q", "t", "D-dual", "?", "a b", "b c"), *"1200"),
        DualCoT(*("b", "q", "t", "D-dual", "?", "5 6 7", "5 9 7"), *"1200"),
    ]
    table = compare_marks(mark(pairs, segment, "library"), mark(pairs, segment, "authors"))
    row = table.set_index("side").loc["correct"]
    assert row[["pairs", "changed", "units"]].tolist() == [2, 1, 5]
    assert row[["key", "key_other", "common"]].tolist() == [3, 2, 2]


def test_units_overlap_a_span_by_any_character():
    assert overlaps([(0, 2), (2, 4), (4, 4)], [(3, 9)]).tolist() == [False, True, False]


def test_word_marks_do_not_depend_on_what_was_segmented_before():
    fresh, used = WordSegmenter(), WordSegmenter()
    used("c b a")
    masks = [key_masks(cut("a a a").ids, cut("a b a b").ids) for cut in (fresh, used)]
    assert [m.tolist() for m in masks[0]] == [m.tolist() for m in masks[1]]
