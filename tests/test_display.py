import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from editlib import display
from editlib.keysteps import Segments, WordSegmenter, edits
from editlib.records import DualCoT
from editlib.workspace import MissingInput, open_workspace

HOSTILE = "<script>alert('x')</script> {braces} \"quotes\" $x$ & \x00\x1b[31m\u202eabc\r\n\tend"


def pair(correct, wrong, question="What is 5 minus 2?"):
    return DualCoT(
        *("p/1#D+dual", "p/1", "p", "D+dual", question, correct, wrong), "3", "4", "", ""
    )


def key_texts(page, tag):
    return re.findall(rf"<{tag} [^>]*>(.*?)</{tag}>", page)


def test_escaped_text_holds_no_markup_and_no_control_character():
    shown = display.escape(HOSTILE)
    assert set(re.findall("<[^>]*>", shown)) == {"<br>"}
    assert "{braces}" in shown and "&quot;quotes&quot;" in shown and "&amp;" in shown
    assert "␀" in shown and "␛[31m" in shown and "␍" in shown and "[U+202E]" in shown
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202e]", shown)


def assert_harmless(page):
    assert "<script" not in page
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202e]", page)
    assert "&lt;script&gt;" in re.sub(
        r"<[^>]*>", "", page
    )  # marks may stand between its characters


@pytest.mark.parametrize("place", ["id", "question", "correct", "wrong", "wrong_answer"])
def test_no_text_of_a_pair_becomes_markup(place):
    hostile = replace(pair("so 3", "so 4"), **{place: HOSTILE})
    assert_harmless(display.dual(hostile, WordSegmenter()).data)


def test_no_text_in_a_box_becomes_markup():
    assert_harmless(display.boxes({"completion": HOSTILE}).data)
    assert_harmless(display.boxes({HOSTILE: ""}).data)


def test_formulas_are_left_alone():
    """A dollar in a rationale is money: both generations of MathJax must pass it by."""
    assert 'class="tex2jax_ignore mathjax_ignore"' in display.boxes({"cost": "$5 and $6"}).data


def test_a_pair_shows_what_was_inserted_deleted_and_replaced():
    page = display.dual(pair("we get 3 now", "so we get 4"), WordSegmenter()).data
    left, right = re.findall(r"<div style.*?>(.*?)</div>", page)
    assert key_texts(left, "ins") == ["now"] and key_texts(left, "b") == ["3"]
    assert key_texts(right, "del") == ["so"] and key_texts(right, "b") == ["4"]


def test_neighbouring_key_tokens_share_one_mark():
    text = "one two three four"
    labels = ["delete", "delete", "equal", "delete"]
    assert key_texts(display.marked(text, WordSegmenter()(text), labels), "del") == [
        "one two",
        "four",
    ]


words = st.lists(st.sampled_from(["a", "bb", "<i>", "3", "."]), min_size=1, max_size=12)


@given(a=words, b=words)
def test_marks_cover_exactly_the_characters_of_the_key_tokens(a, b):
    """Spaces apart, which belong to no word; the rest of the text is there and in order."""
    text, twin = " ".join(a), " ".join(b)
    segment = WordSegmenter()
    segments = segment(text)
    labels = edits(segments.ids, segment(twin).ids)
    page = display.marked(text, segments, labels)
    shown = "".join(text for tag in ("del", "b") for text in key_texts(page, tag))
    key = [
        display.escape(text[s:e])
        for (s, e), label in zip(segments.spans, labels, strict=True)
        if label != "equal"
    ]
    assert sorted(shown.replace(" ", "")) == sorted("".join(key))
    assert re.sub(r"</?(del|b)\b[^>]*>", "", page) == display.escape(text)


def test_a_known_mistake_is_underlined_inside_its_mark():
    text = "8 minus 2 is 5"
    segments = WordSegmenter()(text)
    labels = np.array(["equal"] * 3 + ["replace"] * 2)
    page = display.marked(text, segments, labels, mistakes=[(13, 14)])
    assert key_texts(page, "u") == ["5"]
    assert re.search(r"<b [^>]*>is <u [^>]*>5</u></b>$", page)


def test_a_span_without_characters_marks_nothing():
    """End-of-text is a token and no character."""
    segments = Segments("ab", [1, 0], [(0, 2), (2, 2)])
    assert display.marked("ab", segments, ["equal", "delete"]) == "ab"


def test_a_mark_leaves_out_the_space_before_a_token_but_shows_one_that_is_alone():
    text = "is 5  now"
    segments = Segments("", [0, 1, 2, 3], [(0, 2), (2, 4), (4, 5), (5, 9)])
    labels = ["equal", "delete", "equal", "equal"]
    assert key_texts(display.marked(text, segments, labels), "del") == ["5"]
    labels = ["equal", "equal", "delete", "equal"]
    assert key_texts(display.marked(text, segments, labels), "del") == [" "]


def test_a_table_is_escaped_whole_and_in_percent():
    frame = pd.DataFrame({"text": ["<b>" + "x" * 80, None], "share": [0.125, np.nan], "n": [3, 4]})
    page = display.table(frame, percent=["share"]).data
    assert "&lt;b&gt;" + "x" * 80 in page and "12.5%" in page and ">3<" in page
    assert "None" not in page and "nan" not in page
    assert page.count('align="right"') == 6 and page.count('align="left"') == 3


def test_a_zero_bears_no_minus():
    frame = pd.DataFrame({"share": [-0.0001], "points": [-0.0]})
    page = display.table(frame, percent=["share"]).data
    assert ">0.0%<" in page and ">0<" in page and ">-" not in page


def test_a_table_shows_lists_and_arrays_as_text():
    cells = [[1, "<b>"], np.arange(2000), (), {"a": None}]
    page = display.table(pd.DataFrame({"found": cells}), percent=["found"]).data
    assert "[1, &#x27;&lt;b&gt;&#x27;]" in page and "1000, 1001" in page
    assert ">()<" in page and "{&#x27;a&#x27;: None}" in page


def test_the_header_names_inputs_and_no_path(tmp_path):
    ws = open_workspace("smoke", results=tmp_path)
    ws.stage("annotation", lambda folder: (folder / "a.txt").write_text("a"))
    page = display.header(ws, inputs=["annotation"]).data
    assert "smoke" in page and "input annotation" in page and str(tmp_path) not in page
    with pytest.raises(MissingInput, match="02_dual_cot_construction"):
        display.header(ws, inputs=["duals"])


def test_a_checked_chain_shows_what_is_decided_and_what_does_not_follow():
    question = "What is the value of 2 * 2?"
    chain = "We have 2 * 2. Now 2 * 2 = 5, leaving 5. <b>. Therefore, the answer is 5."
    page = display.cases(question, {"<i>": chain}).data
    bold, wavy = display.TAGS["replace"], display.MISTAKE
    assert f"2 * 2 = {bold[0]}{wavy[0]}5{wavy[1]}{bold[1]}, leaving 5." in page
    assert f"{wavy[0]}&lt;b&gt;.{wavy[1]}" in page and "<i>" not in page and "<b>" not in page
