"""What wrong CoTs are made of, on made-up chains whose mistakes are known."""

import pandas as pd
import pytest

from editlib import mistakes
from editlib.keysteps import WordSegmenter, key_mask
from editlib.records import DualCoT

CORRECT = "5 plus 2 is 7 . Then 7 plus 1 is 8 . The answer is 8"
WRONG = "5 plus 2 is 6 . So 6 plus 1 is 7 . The answer is 7"


def truth(*words, text=WRONG, after=()):
    """words: (kind, step, the word's place among the words of the text)."""
    spans = WordSegmenter()(text).spans
    struck = [{"kind": k, "step": s, "start": spans[w][0], "end": spans[w][1]} for k, s, w in words]
    return {
        "mistakes": struck,
        "consequences": [{"start": spans[w][0], "end": spans[w][1]} for w in after],
    }


def pair(name="a", correct=CORRECT, wrong=WRONG, subset="D+dual"):
    return DualCoT(name, name, "sums", subset, "?", correct, wrong, "8", "7", "c", f"{name} wrong")


def anatomy(pairs, truths):
    segment = WordSegmenter()
    marks = {p.id: key_mask(segment(p.wrong).ids, segment(p.correct).ids) for p in pairs}
    return mistakes.anatomy(pairs, truths, marks, segment)


SLIP = truth(("calculation", 0, 4), after=(7, 11, 16))


def test_each_token_is_of_one_part_and_key_tokens_lie_where_the_sides_differ():
    row = anatomy([pair()], {"a wrong": SLIP}).iloc[0]
    parts = {part: (row[part], row[f"key_{part}"]) for part in mistakes.PARTS}
    # the 6 that should be 7; then 6, 7 and 7 that follow; "So" for "Then" is wording
    assert parts == {"mistake": (1, 1), "consequence": (3, 3), "routine": (13, 1)}
    assert row["tokens"] == len(WRONG.split())


def test_a_mistake_by_omission_bears_no_mark():
    row = anatomy(
        [pair(correct="figs are not tools so 0", wrong="figs are tools so 3")],
        {"a wrong": truth(("knowledge", 0, 2), text="figs are tools so 3", after=(4,))},
    ).iloc[0]
    assert (row["mistake"], row["key_mistake"], row["key_consequence"]) == (1, 0, 1)


def test_position_is_the_place_of_the_first_mistake():
    late = truth(("logical", 1, 11), ("logical", 0, 4))
    row = anatomy([pair()], {"a wrong": late}).iloc[0]
    assert row["position"] == WRONG.index("6") / len(WRONG)
    assert row["mistakes"] == 2 and row["kinds"] == "LE"


def test_one_mistake_may_touch_several_words():
    row = anatomy([pair()], {"a wrong": truth(("knowledge", 0, 2), ("knowledge", 0, 4))}).iloc[0]
    assert (row["mistakes"], row["mistake"]) == (1, 2)


def test_a_pair_of_which_nothing_is_known_is_an_error():
    with pytest.raises(mistakes.UnknownTruth, match="no mistake is known"):
        anatomy([pair()], {})


def test_an_unknown_kind_is_an_error_that_names_the_known_ones():
    with pytest.raises(mistakes.UnknownTruth, match="logical"):
        mistakes.label(["logcal"])


def test_kinds_are_counted_within_each_subset():
    pairs = [pair("a"), pair("b"), pair("c", subset="D-dual")]
    both = truth(("calculation", 0, 4), ("logical", 1, 11))
    rows = anatomy(pairs, {"a wrong": SLIP, "b wrong": both, "c wrong": SLIP})
    table = mistakes.tally(rows, ["subset"]).set_index(["subset", "kinds"])
    assert table.loc[("D+dual", "LE+MCE"), "n"] == 1
    assert table.loc[("D+dual", "MCE"), "share"] == 0.5
    assert table.groupby("subset")["share"].sum().tolist() == [1.0, 1.0]
    assert (table["low"] <= table["share"]).all() and (table["share"] <= table["high"]).all()
    assert set(table.loc["D-dual"].index) == set(mistakes.usual())  # zeros are shown


def test_composition_pools_tokens_and_adds_up_to_one():
    rows = anatomy([pair("a"), pair("b")], {"a wrong": SLIP, "b wrong": SLIP})
    table = mistakes.composition(rows)
    assert table.groupby("of")["share"].sum().tolist() == pytest.approx([1, 1])
    found = table.set_index(["of", "part"])["n"]
    assert found["all tokens", "mistake"] == 2 and found["key tokens", "consequence"] == 6


def test_precision_and_recall_by_kind_stand_beside_what_chance_would_get():
    rows = anatomy([pair("a"), pair("b")], {"a wrong": SLIP, "b wrong": SLIP})
    row = mistakes.located(rows).iloc[0]
    assert (row["pairs"], row["recall"], row["precision"]) == (2, 1.0, 4 / 5)
    assert (row["chance_recall"], row["chance_precision"]) == (5 / 17, 4 / 17)
    assert row["reached"] == row["high"] == 1.0 and 0 < row["low"] < 1


def test_chance_is_what_marks_at_random_places_of_each_cot_get_on_average():
    """Many marks in a short CoT and few in a long one: pooled over both, chance would be less."""
    row = {"kinds": "LE", "mistake": 2, "consequence": 2, "key_mistake": 0, "key_consequence": 0}
    rows = pd.DataFrame([row | {"tokens": n, "key_routine": 5} for n in (10, 100)])
    found = mistakes.located(rows).iloc[0]
    assert found["chance_recall"] == pytest.approx((2 * 5 / 10 + 2 * 5 / 100) / 4)
    assert found["chance_precision"] == pytest.approx((4 * 5 / 10 + 4 * 5 / 100) / 10)
