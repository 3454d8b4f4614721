import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from editlib.completions import (
    BrokenStore,
    CompletionStore,
    Reply,
    Request,
    completion_key,
    exchange,
)
from editlib.errors import KitError
from editlib.teacher import ask, ask_until_read, replay


class Fake:
    """A teacher that is a dict, and counts how often it is asked."""

    def __init__(self, replies=None, name="fake"):
        self.name, self.replies, self.asked = name, replies or {}, []

    def complete(self, request):
        self.asked.append(request)
        text = self.replies.get(request.prompt, f"echo {request.prompt}")
        return Reply(text, "stop", 1, 2, {"secret": text})


@pytest.fixture
def store(tmp_path):
    store = CompletionStore(tmp_path / "completions.sqlite")
    yield store
    store.close()


# --- the store


def test_completions_come_in_the_order_of_the_requests(store):
    asked = [Request(prompt) for prompt in ("b", "a", "b", "c")]
    assert [c.text for c in ask(Fake(), asked, store, "ask")] == [f"echo {p}" for p in "babc"]


def test_only_what_is_missing_is_asked(store):
    first, second = Fake(), Fake()
    ask(first, [Request("a"), Request("b"), Request("a")], store, "ask")
    ask(second, [Request("b"), Request("c")], store, "ask")
    assert [request.prompt for request in first.asked] == ["a", "b"]
    assert [request.prompt for request in second.asked] == ["c"]


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "b"},
        {"temperature": 0.3},
        {"top_p": 0.9},
        {"max_tokens": 9},
        {"sample": 1},
        {"attempt": 1},
        {"seed": 1},
        {"temperature": None},
        {"top_p": None},
    ],
)
def test_each_field_of_a_request_has_a_part_in_the_key(change):
    request = Request("a")
    assert completion_key("fake", request) == completion_key("fake", Request("a"))
    assert completion_key("fake", request) != completion_key("fake", replace(request, **change))
    assert completion_key("fake", request) != completion_key("real", request)


def test_the_truth_lies_apart_from_the_completion(store):
    [completion] = ask(Fake(), [Request("a")], store, "ask")
    assert "secret" not in repr(completion)
    assert store.truth([completion.key, "none"]) == {completion.key: {"secret": "echo a"}}


def test_a_completion_comes_back_as_it_went_in(store, tmp_path):
    text = "<script>alert(1)</script>\x00\x1b[31m{{ x }}\r\n\u2028 \U0001f600"
    [written] = ask(Fake({"a": text}), [Request("a")], store, "ask")
    again = CompletionStore(store.path)
    assert again.get([written.key]) == {written.key: written} and written.text == text


def test_half_a_surrogate_pair_is_replaced(store):
    [written] = ask(Fake({"a": "half \ud83d"}), [Request("a")], store, "ask")
    assert written.text == "half ?"


def test_the_first_of_two_writers_wins(store):
    other = CompletionStore(store.path)
    [kept] = ask(Fake({"a": "first"}), [Request("a")], store, "ask")
    other.add(replace(kept, text="second"))
    assert other.get([kept.key]) == {kept.key: kept}


def test_more_keys_than_sqlite_takes_parameters(store):
    asked = [Request(str(n)) for n in range(500)]
    completions = ask(Fake(), asked, store, "ask")
    keys = [completion.key for completion in completions]
    assert len(store.get([*keys, *map(str, range(40_000))])) == 500


@pytest.mark.parametrize("content", [b"not a database, but long enough to be one" * 9, b"SQLite"])
def test_a_broken_store_is_named(tmp_path, content):
    path = tmp_path / "completions.sqlite"
    path.write_bytes(content)
    with pytest.raises(BrokenStore, match=r"completions\.sqlite .* move it away"):
        CompletionStore(path)


def test_what_no_column_holds_is_refused_in_words(store):
    with pytest.raises(BrokenStore, match="too large"):
        ask(Fake(), [Request("a", seed=2**70)], store, "ask")


def test_another_kind_of_database_is_no_store(tmp_path):
    path = tmp_path / "completions.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE completions_2 (key)")
    db.close()
    with pytest.raises(BrokenStore, match="move it away"):
        ask(Fake(), [Request("a")], CompletionStore(path), "ask")


def test_a_store_cut_short_is_named(store, tmp_path):
    ask(Fake(), [Request(str(n)) for n in range(300)], store, "ask")
    store.close()
    whole = store.path.read_bytes()
    store.path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BrokenStore, match="move it away"):
        ask(Fake(), [Request(str(n)) for n in range(300)], CompletionStore(store.path), "ask")


SLOW = """
import sys, time
from pathlib import Path
from editlib.completions import CompletionStore, Reply, Request
from editlib.teacher import ask

class Slow:
    name = "slow"
    def complete(self, request):
        print(request.prompt, flush=True)
        time.sleep(0.02)
        return Reply(f"echo {request.prompt}", "stop", 1, 1)

requests = [Request(str(n)) for n in range(60)]
done = ask(Slow(), requests, CompletionStore(Path(sys.argv[1])), "ask")
assert [completion.text for completion in done] == [f"echo {n}" for n in range(60)]
"""


def test_a_killed_run_loses_at_most_the_item_in_flight(tmp_path):
    command = [sys.executable, "-c", SLOW, str(tmp_path / "completions.sqlite")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        first = [run.stdout.readline() for _ in range(20)]
        time.sleep(0.01)
        run.send_signal(signal.SIGKILL)
        first += run.stdout.readlines()
    again = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    second = again.stdout.splitlines()
    assert 60 <= len(first) + len(second) <= 61
    assert {line.strip() for line in first} | set(second) == set(map(str, range(60)))


# --- as files


TEXTS = {"a": "\u2028 {{ x }} \x00 Ä", "b": 'says "so".\nThe answer is 3.'}


@pytest.fixture
def published(store, tmp_path):
    """A store with two completions, and the file they were exported to."""
    ask(Fake(TEXTS), [Request("a"), Request("b", temperature=0)], store, "ask")
    assert exchange.export(store, tmp_path / "run.jsonl", lambda row: row.teacher == "fake") == 2
    return store, tmp_path / "run.jsonl"


def test_an_exported_run_is_replayed_without_asking(published, tmp_path):
    store, path = published
    other = CompletionStore(tmp_path / "other.sqlite")
    assert exchange.load(other, path) == exchange.Loaded(new=2, known=0, bad=())
    assert exchange.load(other, path) == exchange.Loaded(new=0, known=2, bad=())
    fake = Fake()
    again = ask(fake, [Request("a"), Request("b", temperature=0)], other, "ask")
    assert [completion.text for completion in again] == [TEXTS["a"], TEXTS["b"]]
    assert fake.asked == [] and {completion.origin for completion in again} == {"imported"}
    kept = {replace(row, origin="asked"): truth["secret"] for row, truth in other.rows()}
    assert kept == {row: truth["secret"] for row, truth in store.rows()}


def test_a_completion_whose_sampling_was_left_to_the_teacher_is_replayed(store, tmp_path):
    left = Request("a", temperature=None, top_p=None)
    [row] = ask(Fake(), [left], store, "ask")
    assert (row.temperature, row.top_p, row.seed) == (None, None, None)
    assert exchange.export(store, tmp_path / "run.jsonl", lambda row: row.teacher == "fake") == 1
    other, fake = CompletionStore(tmp_path / "other.sqlite"), Fake()
    assert exchange.load(other, tmp_path / "run.jsonl").new == 1
    assert ask(fake, [left], other, "ask")[0].text == row.text and fake.asked == []


def test_what_was_there_before_an_import_stays(published, tmp_path):
    _, path = published
    other = CompletionStore(tmp_path / "other.sqlite")
    [kept] = ask(Fake({"a": "mine"}), [Request("a")], other, "ask")
    assert exchange.load(other, path).new == 1
    assert other.get([kept.key]) == {kept.key: kept}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda line: line[:40], r"run.jsonl:2: not JSON .* it was cut short"),
        (lambda line: "key,prompt,text", r"run.jsonl:2: not JSON .* Name the file that was export"),
        (lambda line: '{"custom_id": "a"}', "run.jsonl:2: .*added by batch-read"),
        (lambda line: b"\xff\xfe".decode("latin1"), "run.jsonl:2: not JSON"),
        (lambda line: "[" * 200_000, "run.jsonl:2: not JSON"),
        (lambda line: line.replace('"prompt_tokens": 1', '"prompt_tokens": 1' + "0" * 30), "less"),
        (lambda line: line.replace('"prompt_tokens": 1', '"prompt_tokens": -1'), "prompt_tokens: "),
        (lambda line: "[1]", "run.jsonl:2: a list, expected an object"),
        (lambda line: "{}", "run.jsonl:2: version None, expected 2"),
        (lambda line: line.replace('"version": 2', '"version": 1'), "version 1, expected 2"),
        (lambda line: line.replace('"sample": 0', '"sample": "0"'), "sample: .*integer"),
        (lambda line: line.replace('"seed": null, ', ""), "seed: .*required"),
        (lambda line: line.replace('"seed"', '"sede": 1, "seed"'), "sede: Unexpected"),
        (lambda line: line.replace('"truth": {', '"truth": "", "x": {'), "truth: .*|x: Unexp"),
        (lambda line: line.replace('"sample": 0', '"sample": 1'), "the line was edited"),
        (lambda line: line.replace('"teacher": "', '"teacher": "not '), "the line was edited"),
    ],
)
def test_an_import_says_where_a_line_is_bad_and_adds_the_others(published, tmp_path, edit, message):
    _, path = published
    first, second = path.read_text(encoding="utf-8").split("\n")[:2]
    path.write_text(f"{first}\n{edit(second)}\n", encoding="utf-8")
    other = CompletionStore(tmp_path / "other.sqlite")
    read = exchange.load(other, path)
    assert read.new == 1 and len(read.bad) == 1 and re.search(message, str(read.bad[0]))
    assert [row.key for row, _ in other.rows()] == [json.loads(first)["key"]]
    with pytest.raises(exchange.BadLine, match=message):  # a run would miss what is not there
        list(exchange.read(path))


def test_a_store_of_several_teachers_is_published_one_by_one(published, tmp_path):
    store, path = published
    ask(Fake(name="other"), [Request("a"), Request("c", seed=1)], store, "ask")
    assert (
        exchange.export(store, path, lambda row: row.teacher == "other" and row.seed is None) == 1
    )
    assert exchange.export(store, path, lambda row: row.teacher == "other" and row.seed == 1) == 1
    with pytest.raises(KitError, match=r"fake \(seed None\), other \(seed 1\), other"):
        replay(store.rows(), "run.jsonl")


def test_blank_lines_are_no_lines(published, tmp_path):
    _, path = published
    path.write_text(path.read_text(encoding="utf-8").replace("\n", "\n\n"), encoding="utf-8")
    other = CompletionStore(tmp_path / "other.sqlite")
    assert exchange.load(other, path) == exchange.Loaded(new=2, known=0, bad=())


def test_a_missing_file_is_named(store, tmp_path):
    with pytest.raises(exchange.BadLine, match=r"none\.jsonl cannot be read"):
        exchange.load(store, tmp_path / "none.jsonl")


def test_a_row_says_when_it_was_made_and_for_what(store):
    [row] = ask(Fake(), [Request("a", attempt=2, seed=5)], store, "ask")
    assert (row.attempt, row.seed, row.origin, row.served_model) == (2, 5, "asked", None)
    assert abs(datetime.fromisoformat(row.created) - datetime.now(UTC)) < timedelta(minutes=1)


# --- asked again


def test_what_cannot_be_read_is_asked_again_ever_hotter(store):
    class Late(Fake):
        """Finds its marker at the third attempt, and for "never" not at all."""

        def complete(self, request):
            reply = super().complete(request)
            found = request.prompt != "never" and request.attempt == 2
            return replace(reply, text="So the answer is 3." if found else "Well.")

    late, asked = Late(), [Request("late"), Request("never")]
    tried = ask_until_read(late, asked, store, "ask", attempts=4, highest=1.5)
    heat = [[row.temperature for row in tries] for tries in tried]
    assert heat == [[0.2, 0.6333, 1.0667], [0.2, 0.6333, 1.0667, 1.5]]
    assert [tries[-1].text for tries in tried] == ["So the answer is 3.", "Well."]
    again = Late()
    assert ask_until_read(again, asked, store, "ask", attempts=4, highest=1.5) == tried
    assert len(late.asked) == 7 and again.asked == []


def test_what_a_teacher_answers_itself_is_no_answer(store):
    itself = "It is hard.\n\nQ: Another one?\nA: So the answer is (B)."
    asked = {"in time": f"So the answer is (A).{itself}", "never": itself}
    tried = ask_until_read(Fake(asked), list(map(Request, asked)), store, "ask", 3, 1.5)
    assert [len(tries) for tries in tried] == [1, 3]


def test_what_is_refused_is_asked_once_and_what_is_empty_again(store):
    class Refusing(Fake):
        def complete(self, request):
            super().complete(request)
            return Reply("", "HTTP 400" if request.prompt == "refused" else "stop", None, None)

    asked = [Request("refused"), Request("empty")]
    tried = ask_until_read(Refusing(), asked, store, "ask", attempts=3, highest=1.5)
    assert [len(tries) for tries in tried] == [1, 3]


def test_a_prompt_that_is_no_text_is_named_before_any_is_asked(store):
    fake = Fake()
    with pytest.raises(KitError, match=r"ends in 'a.ud800b' .*\(character 2\)"):
        ask(fake, [Request("whole"), Request("a\ud800b")], store, "ask")
    assert fake.asked == []


def test_one_attempt_is_one_attempt(store):
    [[row]] = ask_until_read(Fake(), [Request("a")], store, "ask", attempts=1, highest=1.5)
    assert row.text == "echo a"
