import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from editlib.keysteps import NoKeySteps, edits, key_mask

TIES = ("library", "authors")
tokens = st.lists(st.integers(0, 4), min_size=1, max_size=12)


def distance(a, b):
    """Edit distance by the textbook recursion: an independent reference."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (x != y)))
    return row[-1]


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
    assert deleted + replaced + inserted == distance(a, b)


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
