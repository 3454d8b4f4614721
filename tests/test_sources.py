"""Rows of every source become questions; files made here stand in for the hub."""

import json
import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from editlib import benchmarks, reading
from editlib.benchmarks import hub, mirror, rows
from editlib.benchmarks.names import BB_SUB, SIZES
from editlib.errors import KitError

ARC = {"question": "Which?", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"}
BIG = {
    "inputs": "Q: Which one?\n  choice: a cat\n  choice: a dog\nA:",
    "multiple_choice_targets": ["a cat", "a dog"],
    "multiple_choice_scores": [0, 1],
}
STAND_INS = {  # benchmark -> a row of its source, the question text, the gold answer
    "bbh": ({"input": "1 + 1?", "target": "2"}, "1 + 1?", "2"),
    "agieval": (
        {"passage": "Rain.", "question": "Wet?", "options": ["(A)yes", "(B)no"], "label": "A"},
        "Rain.\nWet?\nOptions:\n(A) yes\n(B) no",
        "(A)",
    ),
    "arc_e": (ARC, "Which?\nOptions:\n(A) x\n(B) y", "(B)"),
    "arc_c": (ARC, "Which?\nOptions:\n(A) x\n(B) y", "(B)"),
    "bb_sub": (BIG, "Which one?\nOptions:\n(A) a cat\n(B) a dog", "(B)"),
    "gsm8k": (
        {"question": "Sum?", "answer": "1 + 999\n#### 1,000"},
        "Sum?",
        "1000",
    ),
    "math": (
        {"problem": "Half?", "solution": "So $\\boxed{\\frac{1}{2}}$."},
        "Half?",
        "\\frac{1}{2}",
    ),
}


@pytest.fixture
def hub_of(tmp_path, monkeypatch):
    """Put a file of rows in the place of each of a benchmark's sources."""
    monkeypatch.delenv("EDITLIB_DATA_DIR", raising=False)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    for name, tasks in benchmarks.TASKS.items():
        monkeypatch.setitem(benchmarks.TASKS, name, tasks[:3])  # the others take as long again
    monkeypatch.setattr(benchmarks, "BBH", ["navigate", "snarks"])

    def write(name, many):
        source = hub.SOURCES[name]
        path = tmp_path / f"{name}.{source.form}"
        if source.form == "parquet":
            pd.DataFrame(many).to_parquet(path)
        elif source.field:
            path.write_text(json.dumps({"canary": "x", source.field: many}))
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in many))
        stand_in = hub.Source(source.form, (str(path),), source.field)
        monkeypatch.setitem(hub.SOURCES, name, stand_in)

    return write


@pytest.mark.parametrize("name", STAND_INS)
def test_a_row_of_each_source_becomes_a_question(hub_of, name):
    row, text, answer = STAND_INS[name]
    hub_of(name, [row])
    found = benchmarks.load(name, benchmarks.SPLITS[name][0])
    assert {(q.text, q.answer) for q in found} == {(text, answer)}
    assert len({q.id for q in found}) == len(found) == len(benchmarks._tasks(name))
    assert all(q.id == f"{name}/{q.task}/0" and q.benchmark == name for q in found)


def test_bb_sub_takes_the_same_hundred_of_a_task_each_time(hub_of):
    hub_of("bb_sub", [{**BIG, "inputs": f"Which one of {n}?"} for n in range(130)])
    found = benchmarks.load("bb_sub", "test")
    assert len(BB_SUB) == len(set(BB_SUB)) == 61 and len(found) == 300
    assert found == benchmarks.load("bb_sub", "test")
    first = [q.id for q in found if q.task == BB_SUB[0]]
    assert first == sorted(first, key=lambda id: int(id.rpartition("/")[2]))
    assert first != [f"bb_sub/{BB_SUB[0]}/{n}" for n in range(100)]  # not simply the first ones
    assert len(benchmarks.load("bb_sub", "test", 3)) == 9


@pytest.mark.parametrize("name", hub.SOURCES)
def test_every_source_is_pinned_to_one_revision(name):
    assert all(re.search(r"[@/][0-9a-f]{40}/", file) for file in hub.SOURCES[name].files)
    assert (
        set(SIZES) < set(hub.SOURCES) == set(rows.READERS) == set(benchmarks.SPLITS) - {"puzzles"}
    )


def test_what_cannot_be_fetched_is_named_in_one_line(hub_of, monkeypatch, tmp_path):
    gone = hub.Source("parquet", (str(tmp_path / "none.parquet"),))
    monkeypatch.setitem(hub.SOURCES, "arc_e", gone)
    with pytest.raises(benchmarks.MissingData, match=r"arc_e/arc_e could not .* set EDITLIB"):
        benchmarks.load("arc_e", "test")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    monkeypatch.setitem(
        hub.SOURCES, "arc_e", hub.Source("parquet", (str(tmp_path / "cut.parquet"),))
    )
    with pytest.raises(KitError, match="could not be read") as caught:
        benchmarks.load("arc_e", "test")
    assert "\n" not in str(caught.value)


def test_the_mirror_and_the_hub_give_the_same_question(tmp_path, monkeypatch):
    row = {"input": "Question: Which?\nOptions:\n(1) x\n(2) y", "target": "(2)"}
    assert rows.arc(row) == rows.arc(ARC)
    (tmp_path / "arc").mkdir()
    (tmp_path / "arc" / "ARC-Easy-Test.jsonl").write_text(json.dumps(row) + "\n")
    monkeypatch.setenv("EDITLIB_DATA_DIR", str(tmp_path))
    assert mirror.holds("arc_e") and benchmarks.sources("arc_e") == ["local mirror"]
    assert not mirror.holds("bb_sub") and not mirror.holds("bbh")
    [question] = benchmarks.load("arc_e", "test")
    assert (question.text, question.answer) == ("Which?\nOptions:\n(A) x\n(B) y", "(B)")


# --- quirks of rows


def agieval(options, label):
    return rows.agieval({"passage": None, "question": "Who?", "options": options, "label": label})


def test_options_out_of_order_keep_their_printed_letters():
    read = agieval(["(A)one", "(C)three", "(B)two"], "C")
    assert reading.options(read.text) == {"A": "one", "B": "two", "C": "three"}
    assert read.answer == "(C)" and read.quirks[0][0] == "options printed out of order"


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        (["A first", "B Third"], ["first", "Third"]),
        (["A? Many", "B? Although"], ["Many", "Although"]),
        (["A All of them", "(B)None"], ["All of them", "None"]),
        (["When", "(B)Never"], ["When", "Never"]),
        (["A dog", "(B)A cat"], ["A dog", "A cat"]),
    ],
)
def test_a_letter_that_is_missing_or_odd_is_told_from_the_position(options, texts):
    read = agieval(options, "B")
    assert list(reading.options(read.text).values()) == texts
    assert read.quirks == (("an option without its printed letter", "lettered by its position"),)


def test_more_options_than_letters_are_answered_by_their_text():
    moves = [f"move{n}" for n in range(30)]
    scores = [int(n == 27) for n in range(30)]
    row = {"inputs": "e4\n\nA:", "multiple_choice_targets": moves, "multiple_choice_scores": scores}
    read = rows.bb_sub(row)
    listed = read.text.partition("Options: ")[2].split(", ")
    assert read.answer == "move27" and sorted(listed) == sorted(moves) and listed != moves
    assert read.quirks[0][0] == "more options than letters"


TALE = ["a crow", "a long\ntale", "a wren", "a"]  # the right one first, as authors note it down


def tale(printed: list[str], n: int = 0) -> rows.Read:
    choices = "".join(f"\n  choice: {option}" for option in printed)
    row = {"inputs": f"Q: Which of {n}?{choices}\nA:", "multiple_choice_targets": TALE}
    return rows.bb_sub({**row, "multiple_choice_scores": [1, 0, 0, 0]})


def test_options_keep_the_order_they_are_asked_in_not_that_of_their_scores():
    read = tale(["a wren", "a", "a crow", "a long\ntale"])
    assert read.text == "Which of 0?\nOptions:\n(A) a wren\n(B) a\n(C) a crow\n(D) a long tale"
    assert read.answer == "(C)"


def test_a_drawing_that_opens_a_question_keeps_its_shape():
    drawing = "  /\\\n /__\\\nWhat is this?"
    read = rows.bb_sub({**BIG, "inputs": f" \n\n{drawing}\n  choice: a cat\n  choice: a dog\nA: "})
    assert read.text == f"{drawing}\nOptions:\n(A) a cat\n(B) a dog"


def test_where_no_order_is_printed_the_right_option_is_not_always_the_first():
    read = [tale([], n) for n in range(60)]
    assert {each.answer for each in read} == {"(A)", "(B)", "(C)", "(D)"}
    assert all(reading.options(each.text)[each.answer[1]] == "a crow" for each in read)
    assert read == [tale([], n) for n in range(60)]


def test_of_several_right_options_the_first_is_gold_and_it_is_said():
    read = rows.bb_sub({**BIG, "multiple_choice_scores": [1, 1]})
    assert read.answer == "(A)" and read.quirks[0][0] == "several options are right"


@given(st.text(), st.lists(st.text(min_size=1), min_size=2, max_size=26))
def test_options_come_back_as_they_went_in(question, texts):
    found = reading.options(rows.lettered(question, texts))
    lines = [" ".join(text.split()) for text in texts]
    if not any("Options:" in line for line in lines):
        assert list(found.values()) == lines
