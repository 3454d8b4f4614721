import json
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from editlib import prompts, puzzles
from editlib.answers import read_answer
from editlib.errors import KitError
from editlib.prompts import Exemplar
from editlib.teacher import (
    BrokenStore,
    CompletionStore,
    PuzzleSettings,
    PuzzleTeacher,
    RecordedTeacher,
    Reply,
    Request,
    UnknownPrompt,
    ask,
    completion_key,
)

RATES = {"logical": 0.2, "knowledge": 0.1, "calculation": 0.1}
SETTINGS = PuzzleSettings(error_rates=RATES, paraphrase=0.3, heeds_hint=0.9, seed=0)
CAREFUL = replace(SETTINGS, error_rates={})
SHOTS = prompts.puzzle_shots(puzzles.FAMILIES)
QUESTIONS = puzzles.questions("train", 30)  # 30 of each family


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


def cep(question):
    return Request(prompts.cep(*shots(question), question.text))


def ahp(question, answer):
    return Request(prompts.ahp(*shots(question), question.text, answer))


def ccp(question, right):
    shown = Exemplar("What?", "3", "It is 3. Therefore, the answer is 3.", "It is 4.")
    return Request(prompts.ccp("Puzzles.", [shown], question.text, right))


def shots(question):
    return SHOTS[question.task].description, SHOTS[question.task].exemplars


def clean(question):
    return puzzles.reason(puzzles.read_question(question.text), puzzles.Voice(question.text)).text


# --- the puzzle teacher


def test_a_teacher_without_mistakes_is_right():
    teacher = PuzzleTeacher(CAREFUL)
    for question in QUESTIONS + puzzles.questions("families", 5) + puzzles.questions("longer", 5):
        assert read_answer(teacher.complete(cep(question)).text) == question.answer


def test_mistakes_strike_about_as_often_as_told():
    """A chain has a mistake with chance 1 - Π(1 - rate), over the kinds its family allows."""
    teacher = PuzzleTeacher(SETTINGS)
    replies = [teacher.complete(cep(question)) for question in QUESTIONS]
    expected = 0.0
    for question in QUESTIONS:
        free = 1.0
        for kind in {s.kind for s in puzzles.sites(puzzles.read_question(question.text))}:
            free *= 1 - RATES[kind]
        expected += (1 - free) / len(QUESTIONS)
    struck = sum(bool(r.truth["mistakes"]) for r in replies) / len(replies)
    wrong = [read_answer(r.text) != q.answer for q, r in zip(QUESTIONS, replies, strict=True)]
    assert abs(struck - expected) < 0.1
    assert 0.6 * expected - 0.1 < sum(wrong) / len(wrong) <= struck


def test_the_truth_points_at_the_mistake_in_the_text():
    teacher = PuzzleTeacher(replace(SETTINGS, error_rates={"logical": 1.0}))
    seen = 0
    for question in QUESTIONS:
        reply = teacher.complete(cep(question))
        for mistake in json.loads(json.dumps(reply.truth))["mistakes"]:
            assert mistake["kind"] == "logical"
            assert reply.text[mistake["start"] : mistake["end"]].strip()
            seen += 1
    assert seen > 100


def test_it_wrote_what_it_wrote_whoever_asks_and_when():
    request = cep(QUESTIONS[0])
    assert PuzzleTeacher(SETTINGS).complete(request) == PuzzleTeacher(SETTINGS).complete(request)


def test_samples_temperatures_and_seeds_differ():
    request = cep(QUESTIONS[0])
    asked = [replace(request, sample=n) for n in range(8)]
    assert len({PuzzleTeacher(SETTINGS).complete(r).text for r in asked}) > 1
    asked = [replace(request, temperature=n / 8) for n in range(8)]
    assert len({PuzzleTeacher(SETTINGS).complete(r).text for r in asked}) > 1
    asked = [PuzzleTeacher(replace(SETTINGS, seed=n)) for n in range(8)]
    assert len({teacher.complete(request).text for teacher in asked}) > 1


def test_the_name_tells_settings_apart():
    names = {PuzzleTeacher(replace(SETTINGS, seed=n)).name for n in range(3)}
    assert len(names) == 3 and PuzzleTeacher(SETTINGS).name in names


def test_settings_in_another_order_are_the_same_teacher():
    turned = replace(SETTINGS, error_rates=dict(reversed(RATES.items())))
    first, second = PuzzleTeacher(SETTINGS), PuzzleTeacher(turned)
    assert first.name == second.name
    for question in QUESTIONS[::5]:
        assert first.complete(cep(question)) == second.complete(cep(question))


def test_an_unknown_kind_of_mistake_is_refused():
    with pytest.raises(KitError, match="first: logical"):
        PuzzleTeacher(replace(SETTINGS, error_rates={"logicl": 0.1}))


def test_a_hint_mostly_mends_a_wrong_answer():
    always = PuzzleTeacher(replace(SETTINGS, error_rates=dict.fromkeys(RATES, 1.0)))
    wrong = [q for q in QUESTIONS if read_answer(always.complete(cep(q)).text) != q.answer]
    mended = [read_answer(always.complete(ahp(q, q.answer)).text) == q.answer for q in wrong]
    assert len(wrong) > 100 and 0.85 < sum(mended) / len(mended) < 1


def test_a_teacher_that_heeds_no_hint_stays_with_its_chain():
    deaf = PuzzleTeacher(replace(SETTINGS, error_rates=dict.fromkeys(RATES, 1.0), heeds_hint=0.0))
    stays = [read_answer(deaf.complete(ahp(q, q.answer)).text) != q.answer for q in QUESTIONS]
    assert sum(stays) > len(stays) / 2


def test_a_wrong_hint_is_not_followed():
    teacher = PuzzleTeacher(CAREFUL)
    for question in QUESTIONS[::10]:
        assert read_answer(teacher.complete(ahp(question, "no")).text) == question.answer


def test_a_wrong_response_follows_the_right_one_to_another_answer():
    teacher = PuzzleTeacher(SETTINGS)
    other, shared = [], []
    for question in QUESTIONS:
        right = clean(question)
        reply = teacher.complete(ccp(question, right))
        assert len({mistake["kind"] for mistake in reply.truth["mistakes"]}) == 1
        other.append(read_answer(reply.text) not in (None, question.answer))
        words = right.split()
        shared.append(sum(word in reply.text.split() for word in words) / len(words))
    assert sum(other) / len(other) > 0.95
    assert sum(shared) / len(shared) > 0.7


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "Q: ",
        "Write a poem.",
        "Q: What is love?\nA: Let's think step by step.",
        "Q: What is love?\nRight Response: <script>\nWrong Response:",
        "Q: {{ 7 * 7 }}\nHint: The correct answer is \x00.\nA: Let's think step by step.",
        "Q: " + "a" * 2_000 + "\nA: Let's think step by step.",
    ],
)
def test_a_prompt_it_cannot_read_gets_a_reply_without_an_answer(prompt):
    assert read_answer(PuzzleTeacher(SETTINGS).complete(Request(prompt)).text) is None


@settings(deadline=None)
@given(st.text())
def test_no_question_crashes_it(text):
    request = Request(f"Q: {text}\nA: Let's think step by step.")
    assert read_answer(PuzzleTeacher(SETTINGS).complete(request).text) is None


@settings(deadline=None)
@given(st.text())
def test_no_right_response_crashes_it(text):
    right = " ".join(text.split()) or "?"  # blank lines would part the blocks
    assert PuzzleTeacher(SETTINGS).complete(ccp(QUESTIONS[0], right)).text


# --- recorded completions


def test_a_recorded_teacher_replays():
    teacher = RecordedTeacher("codex", {"a": "The answer is 3."})
    assert teacher.complete(Request("a", temperature=1.0)).text == "The answer is 3."


def test_a_prompt_that_nobody_recorded_is_named():
    with pytest.raises(UnknownPrompt, match=r"codex has no completion .*'What\?' \(0 recorded\)"):
        RecordedTeacher("codex", {}).complete(Request("What?"))


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
    [{"prompt": "b"}, {"temperature": 0.3}, {"top_p": 0.9}, {"max_tokens": 9}, {"sample": 1}],
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


def test_another_kind_of_database_is_no_store(tmp_path):
    path = tmp_path / "completions.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE completions (cake)")
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
from editlib.teacher import CompletionStore, Reply, Request, ask

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
