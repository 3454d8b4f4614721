import json
import os
from collections import Counter

import pytest

from editlib import benchmarks, prompts
from editlib.answers import MARKER, read_answer
from editlib.benchmarks.names import AGIEVAL, BBH, SIZES
from editlib.errors import KitError, unknown
from editlib.methods import METHODS
from editlib.reading import options

needs_data = pytest.mark.skipif(
    not os.environ.get("EDITLIB_DATA_DIR"), reason="EDITLIB_DATA_DIR names no data mirror"
)


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A mirror of one task with 20 questions, the first two of them the same."""
    rows = [
        {"id": f"bbh/sums/{n}", "task": "sums", "input": f"{max(n, 1)} + 1?", "target": "2"}
        for n in range(20)
    ]
    write_rows(tmp_path / "bbh" / "sums.jsonl", rows)
    write_rows(tmp_path / "codex_cot" / "sums.jsonl", [{"id": "bbh/sums/0", "completion": "2"}])
    monkeypatch.setenv("EDITLIB_DATA_DIR", str(tmp_path))
    return tmp_path


def test_the_two_sides_of_bbh_make_the_whole_and_keep_twins_together(mirror):
    whole, *parts = (benchmarks.load("bbh", split) for split in benchmarks.SPLITS["bbh"])
    _, validation, test = parts
    assert len(whole) == 20 and len(test) in (4, 5) and len(validation) in (1, 2)
    assert sorted((q for part in parts for q in part), key=lambda q: q.id) == sorted(
        whole, key=lambda q: q.id
    )
    assert len({q.text for q in whole}) == sum(len({q.text for q in part}) for part in parts)
    assert [{q.split for q in part} for part in parts] == [{"train"}, {"validation"}, {"test"}]


def test_options_in_another_order_make_no_other_question(mirror):
    options = [("red", "blue"), ("blue", "red"), ("red", "green")]
    rows = [
        {"id": "", "task": "picks", "input": f"{n}?\nOptions:\n(A) {a}\n(B) {b}", "target": gold}
        for n in range(20)
        for (a, b), gold in zip(options, ("(A)", "(B)", "(B)"), strict=True)
    ]
    write_rows(mirror / "bbh" / "picks.jsonl", rows)
    split = [q.split for q in benchmarks.load("bbh", "all") if q.task == "picks"]
    assert split[::3] == split[1::3] != split[2::3] and len(set(split)) == 3
    listed = benchmarks.quirks("bbh").query("task == 'picks'")["quirk"].tolist()
    said = "asked again as {}, with the same gold answer, its options in another order"
    assert listed[:2] == [said.format(1), said.format(0)] and len(listed) == 40


def test_per_task_takes_the_first(mirror):
    assert benchmarks.load("bbh", "all", 3) == benchmarks.load("bbh", "all")[:3]


def test_puzzles_come_with_readable_gold_answers():
    questions = benchmarks.load("puzzles", "train", 5)
    assert len({q.id for q in questions}) == len(questions) == 5 * len({q.task for q in questions})
    assert all(read_answer(f"{MARKER} {q.answer}.") == q.answer for q in questions)


def test_puzzles_need_a_number():
    with pytest.raises(KitError, match="per_task"):
        benchmarks.load("puzzles", "train")


@pytest.mark.parametrize(
    ("name", "split", "nearest"),
    [("pussles", "train", "first: puzzles, "), ("puzzles", "tests", "first: test, ")],
)
def test_an_unknown_name_lists_the_valid_ones_nearest_first(name, split, nearest):
    with pytest.raises(KitError, match=nearest):
        benchmarks.load(name, split, 1)


def test_an_unknown_method_is_answered_with_the_nearest_and_where_all_stand():
    said = unknown("method", "EDlT", METHODS)
    assert said.startswith("unknown method 'EDlT'; valid, nearest first: EDIT; ")
    shown = said.partition("first: ")[2].partition(" (and ")[0].split("; ")
    assert len(shown) < 10 and set(shown) <= set(METHODS) and said.count("\n") == 0
    assert f"{len(METHODS) - len(shown)} more, see METHODS in editlib/methods.py" in said


def test_unknown_lists_every_valid_name_and_bears_none():
    assert unknown("x", "b", ["a", "ab", "zzz"]).endswith("first: ab, zzz, a")
    assert unknown("x", "b", []).endswith("first: ")


@pytest.mark.parametrize("value", [None, "/no/such/folder"])
def test_without_a_mirror_one_line_says_what_to_set(monkeypatch, value):
    monkeypatch.delenv("EDITLIB_DATA_DIR", raising=False)
    if value:
        monkeypatch.setenv("EDITLIB_DATA_DIR", value)
    with pytest.raises(benchmarks.MissingData, match="set EDITLIB_DATA_DIR") as caught:
        benchmarks.codex_tasks()
    assert "\n" not in str(caught.value)


def test_a_mirror_without_the_benchmark_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("EDITLIB_DATA_DIR", str(tmp_path))
    (tmp_path / "bbh").mkdir()
    with pytest.raises(benchmarks.MissingData, match="bbh holds no"):
        benchmarks.load("bbh", "all")


@pytest.mark.parametrize("line", ['{"id": "bbh/su', "[1]", '{"id": "bbh/sums/1"}', ""])
def test_a_broken_line_is_named(mirror, line):
    path = mirror / "codex_cot" / "sums.jsonl"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(KitError, match=r"sums\.jsonl, line 2"):
        benchmarks.codex_completions("sums")


def test_a_file_that_is_not_text_is_named(mirror):
    path = mirror / "codex_cot" / "sums.jsonl"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(KitError, match=r"sums\.jsonl: not UTF-8"):
        benchmarks.codex_completions("sums")


def test_a_missing_file_and_an_unknown_task_are_named(mirror):
    with pytest.raises(benchmarks.MissingData, match=r"dual_cots_ccp\.jsonl is missing"):
        benchmarks.published_duals()
    with pytest.raises(KitError, match="first: sums"):
        benchmarks.codex_completions("sum")
    with pytest.raises(KitError, match="first: sums"):
        benchmarks.published_prompt("sum")


def test_a_line_separator_inside_a_text_ends_no_row(mirror):
    row = {"id": "bbh/sums/0", "completion": "one\u2028two\x85three"}
    path = mirror / "codex_cot" / "sums.jsonl"
    path.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    assert benchmarks.codex_completions("sums") == {row["id"]: row["completion"]}


@needs_data
def test_bbh_has_its_27_tasks_and_6511_questions():
    questions = benchmarks.load("bbh", "all")
    assert len(questions) == 6511 and len(benchmarks.bbh_tasks()) == 27
    assert len({q.id for q in questions}) == 6511
    assert 0.19 < sum(q.split == "test" for q in questions) / 6511 < 0.21
    assert 0.03 < sum(q.split == "validation" for q in questions) / 6511 < 0.05


@needs_data
@pytest.mark.parametrize("name", [n for n in SIZES if n != "bb_sub"])
def test_sizes_are_those_of_the_paper(name):
    if name not in benchmarks.present():
        pytest.skip(f"the mirror does not hold {name}")
    questions = benchmarks.load(name, benchmarks.SPLITS[name][0])
    [row] = benchmarks.size_table(questions).to_dict("records")
    assert row["questions"] == row["paper"] == SIZES[name]
    sizes = {"bbh": BBH, "agieval": AGIEVAL}.get(name, {name: SIZES[name]})
    assert Counter(question.task for question in questions) == sizes
    assert sum(AGIEVAL.values()) == SIZES["agieval"] and sum(BBH.values()) == SIZES["bbh"]
    assert len({question.id for question in questions}) == len(questions)


@needs_data
@pytest.mark.parametrize("name", ["agieval", "arc_e", "arc_c"])
def test_every_question_of_choice_has_its_gold_answer_among_its_letters(name):
    for question in benchmarks.load(name, "test"):
        listed = options(question.text)
        assert list(listed) == list("ABCDE")[: len(listed)] and len(listed) >= 3
        assert question.answer[1:-1] in listed, question.id


@needs_data
def test_known_quirks_are_found_and_no_others():
    """Counts as published with the data, or read off by eye."""
    found = {name: benchmarks.quirks(name) for name in ("bbh", "agieval", "arc_e", "arc_c")}
    counts = {
        name: frame["quirk"].str[:12].value_counts().to_dict() for name, frame in found.items()
    }
    assert counts == {
        "bbh": {"asked again ": 10, "the gold ans": 3, "options of t": 3, "the question": 1},
        "agieval": {"options prin": 19, "an option wi": 9, "options of t": 8, "asked again ": 4},
        "arc_e": {"options labe": 97},
        "arc_c": {"options labe": 22},
    }
    opposite = found["bbh"]["quirk"].str.contains("another gold")
    assert set(found["bbh"][opposite]["question"].str.rpartition("/")[2]) == {
        "32",
        "36",
        "104",
        "119",
    }
    assert benchmarks.quirks("puzzles").empty


@needs_data
def test_published_completions_hang_on_prompts_that_differ():
    """Twins share a prompt, and must share its completion: a recorded table is keyed by prompt."""
    texts = {question.id: question.text for question in benchmarks.load("bbh", "all")}
    for task in benchmarks.codex_tasks():
        prompt, recorded = benchmarks.published_prompt(task), {}
        for question_id, completion in benchmarks.codex_completions(task).items():
            asked = prompts.published_cep(prompt, texts[question_id])
            assert recorded.setdefault(asked, completion) == completion


@needs_data
def test_published_duals_end_in_the_answers_they_name():
    duals = benchmarks.published_duals()
    assert len(duals) == 54
    for dual in duals:
        assert read_answer(dual.correct) == dual.correct_answer
        assert read_answer(dual.wrong) == dual.wrong_answer
        assert dual.correct_answer != dual.wrong_answer
