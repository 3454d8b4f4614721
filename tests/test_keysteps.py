import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from editlib import plain
from editlib.keysteps import (
    NoKeySteps,
    WordSegmenter,
    agreement,
    compare_marks,
    edits,
    key_mask,
    key_masks,
    mark,
    overlaps,
    random_mask,
    scores,
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


def meet(*known, locate=key_mask):
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
    everything = meet(SLIP, locate=lambda tokens, twin: np.ones(len(tokens), dtype=bool))
    nothing = meet(SLIP, locate=lambda tokens, twin: np.zeros(len(tokens), dtype=bool))
    assert scores(everything)["recall"].item() == 1
    assert scores(everything)["precision"].item() == pytest.approx(2 / 9)
    assert scores(nothing)["recall"].item() == 0
    assert scores(nothing)["precision"].isna().item()


def test_pairs_of_unknown_truth_are_left_out():
    pair, _ = SLIP
    nothing = agreement([pair], {}, WordSegmenter(), key_mask)
    assert nothing.empty and scores(nothing, by=["task"]).empty


@given(st.lists(st.booleans(), min_size=1), st.integers(0, 9))
def test_chance_marks_as_many_tokens_and_repeats(key, seed):
    key = np.array(key)
    first, again = (random_mask(key, np.random.default_rng(seed)) for _ in range(2))
    assert first.sum() == key.sum() and (first == again).all()


def test_units_overlap_a_span_by_any_character():
    assert overlaps([(0, 2), (2, 4), (4, 4)], [(3, 9)]).tolist() == [False, True, False]


def test_word_marks_do_not_depend_on_what_was_segmented_before():
    fresh, used = WordSegmenter(), WordSegmenter()
    used("c b a")
    masks = [key_masks(cut("a a a").ids, cut("a b a b").ids) for cut in (fresh, used)]
    assert [m.tolist() for m in masks[0]] == [m.tolist() for m in masks[1]]
