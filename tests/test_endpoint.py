import asyncio
import gc
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import traceback
from contextlib import closing
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import aiohttp
import pandas as pd
import pytest
from pydantic import ValidationError

from editlib import chat, pipeline
from editlib.chat import BadEndpoint
from editlib.completions import (
    BrokenStore,
    CompletionStore,
    Request,
    completion_key,
    request_of,
)
from editlib.endpoint import BudgetReached, EndpointTeacher, TeacherStopped
from editlib.profiles import BadProfile, EndpointTeacherSettings, load
from editlib.teacher import PuzzleSettings, PuzzleTeacher, ask, ask_until_read
from editlib.workspace import open_workspace
from tests.loopback import ECHO, completion, serving

KEY = "sk-planted-0123456789"


@pytest.fixture
def store(tmp_path):
    with CompletionStore(tmp_path / "completions.sqlite") as store:
        yield store


def teacher(server, **changes):
    settings = {"kind": "endpoint", "model": "m", "base_url": server.url, "retries": 3, "seed": 7}
    return EndpointTeacher(EndpointTeacherSettings(**settings | changes))


def requests(n):
    return [Request(f"question {i}", seed=7) for i in range(n)]


def by_name(first):
    """A script: the prompt's own words say how its first arrival is answered."""
    return lambda prompt, before: first.get(prompt, "ok") if before == 0 else "ok"


# --- what may pass


PASSING = {
    "question 0": 429,
    "question 1": 500,
    "question 2": "stall",
    "question 3": "cut",
    "question 4": "hang up",
    "question 5": "broken JSON",
    "question 6": "no choice",
    "question 7": "page",
    "question 8": 503,
}


def test_nothing_is_lost_nothing_is_asked_twice_and_each_fault_is_counted(store, capsys):
    with serving(by_name(PASSING)) as server:
        started = time.monotonic()
        rows = ask(teacher(server, timeout=1.0), requests(30), store, "CEP")
        assert time.monotonic() - started < 20
        assert [row.text for row in rows] == [ECHO.format(f"question {i}") for i in range(30)]
        assert server.arrivals == {f"question {i}": 2 if i < 9 else 1 for i in range(30)}
        ask(teacher(server), requests(30), store, "CEP")
        assert sum(server.arrivals.values()) == 39
    said = capsys.readouterr().out
    # Three broken replies by what they say or a guess, three that never came at the most.
    lost = f"{16 + 3 * 10} + {14 + 3 * 2048:,} tokens for 6 replies that were lost (5 by estimate)"
    assert f"30 answered, 0 failed; 346 + {164 + 3 * 2048:,} tokens; of these {lost}" in said
    for fault in ("broken reply x3", "connection x2", "timeout x1", "HTTP 429 x1"):
        assert fault in said
    assert "HTTP 500 x1" in said and "HTTP 503 x1" in said


def test_collecting_is_seldom_in_a_run_and_as_before_after_it(store, monkeypatch):
    before, seen = gc.get_threshold(), []
    monkeypatch.setattr(store, "add", lambda row: seen.append(gc.get_threshold()[0]))
    with serving(by_name({"question 1": 400})) as server, pytest.raises(TeacherStopped):
        ask(teacher(server), requests(2), store, "CEP")
    assert seen and min(seen) > before[0]
    assert gc.get_threshold() == before


def test_retry_after_is_heeded(store):
    with serving(by_name({"question 0": 429})) as server:
        started = time.monotonic()
        ask(teacher(server), requests(1), store, "CEP")
        assert time.monotonic() - started >= 1.0


def test_a_request_does_not_wait_for_all_replies_that_came_with_the_one_before_it(
    store, monkeypatch
):
    """Else a burst of replies becomes a burst of requests, and the server idles in between."""
    events, add, send = [], store.add, aiohttp.ClientRequest.write_bytes

    def kept(row):
        if "kept" not in events:
            time.sleep(1.0)  # in which all others of the burst come in
        events.append("kept")
        add(row)

    def sent(self, *parts):
        events.append("sent")
        return send(self, *parts)

    monkeypatch.setattr(store, "add", kept)
    monkeypatch.setattr(aiohttp.ClientRequest, "write_bytes", sent)
    with serving(lambda prompt, before: time.sleep(0.3)) as server:
        ask(teacher(server, concurrency=20), requests(40), store, "CEP")
    burst = events[events.index("kept") :][:30]
    assert max(len(list(run)) for _, run in groupby(burst)) < 5


# --- what does not


def test_a_prompt_that_is_refused_for_good_can_be_left_unread(store, capsys):
    """Too long, or filtered: it would fail at every run."""
    with serving(lambda prompt, before: 400 if prompt == "question 1" else "ok") as server:
        with pytest.raises(TeacherStopped, match=r"HTTP 400 x1.*teacher\.unanswerable"):
            ask(teacher(server), requests(3), store, "CEP")
        rows = ask(teacher(server, unanswerable=[400]), requests(3), store, "CEP")
        assert [row.finish_reason for row in rows] == ["stop", "HTTP 400", "stop"]
        assert rows[1].text == ""
        assert capsys.readouterr().out.endswith("faults on the way: HTTP 400 x1\n")
        before = len(server.bodies)
        ask(teacher(server), requests(3), store, "CEP")
        assert len(server.bodies) == before


@pytest.mark.parametrize(
    ("way", "kind"),
    [
        (500, "HTTP 500"),
        (400, "HTTP 400"),
        ("stall", "timeout"),
        ("drip", "timeout"),
        ("badly packed", "broken reply"),
        ("sign in", "broken reply"),
        ("cut", "connection"),
        ("hang up", "connection"),
        ("broken JSON", "broken reply"),
        ("no choice", "broken reply"),
        ("page", "broken reply"),
    ],
)
def test_a_request_that_fails_for_good_does_not_stop_the_others(store, way, kind):
    hopeless = {"question 3", "question 4"}
    with serving(lambda prompt, before: way if prompt in hopeless else "ok") as server:
        impatient = teacher(server, retries=1, timeout=0.5)
        with pytest.raises(TeacherStopped, match=rf"left 2 requests unanswered \({kind} x2\)"):
            ask(impatient, requests(12), store, "CEP")
        hopeless.clear()
        assert len(ask(impatient, requests(12), store, "CEP")) == 12
        assert all(server.arrivals[f"question {i}"] == 1 for i in range(12) if i not in (3, 4))


@pytest.mark.parametrize(
    ("status", "advised"), [(400, True), (422, True), (401, False), (429, False), (500, False)]
)
def test_the_error_counts_as_the_summary_does_and_advises_where_it_helps(
    store, capsys, status, advised
):
    """What is in flight when it gives up fails as well."""

    def script(prompt, before):
        time.sleep(0.1 if int(prompt.split()[1]) < 10 else 0.5)
        return status

    with serving(script) as server, pytest.raises(TeacherStopped) as stopped:
        ask(teacher(server, concurrency=15, retries=0), requests(40), store, "CEP")
    failed = sum(server.arrivals.values())
    assert failed >= 15 and f"0 answered, {failed} failed" in capsys.readouterr().out
    assert f"left {failed} requests unanswered (HTTP {status} x{failed})" in str(stopped.value)
    assert ("teacher.unanswerable" in str(stopped.value)) == advised


@pytest.mark.parametrize(
    ("way", "kind"), [("round", "redirect"), ("no port", "redirect"), ("nowhere", "HTTP 307")]
)
def test_what_is_sent_on_to_nowhere_is_counted(store, capsys, way, kind):
    left = pytest.raises(TeacherStopped, match=rf"unanswered \({kind} x1\)")
    with serving(lambda prompt, before: way) as server, left:
        ask(teacher(server, retries=0), requests(1), store, "CEP")
    assert f"faults on the way: {kind} x1\n" in capsys.readouterr().out


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_will_fail_for_all_is_tried_by_few(store, status):
    with serving(lambda prompt, before: status) as server:
        with pytest.raises(TeacherStopped, match=f"HTTP {status}.* OPENAI_API_KEY is not set"):
            ask(teacher(server, concurrency=2), requests(500), store, "CEP")
        assert sum(server.arrivals.values()) <= 2


def test_a_server_that_is_down_is_given_up(store):
    with serving() as server:
        asked = teacher(server, concurrency=4, retries=0)
    with pytest.raises(TeacherStopped, match=r"connection x1\d\)"):
        ask(asked, requests(500), store, "CEP")


def test_a_store_that_breaks_stops_the_spending(store, monkeypatch):
    def full(*_):
        raise BrokenStore("the disk is full")

    monkeypatch.setattr(store, "add_all", full)
    with serving() as server:
        with pytest.raises(BrokenStore, match="disk is full"):
            ask(teacher(server, concurrency=3), requests(200), store, "CEP")
        assert sum(server.arrivals.values()) <= 3


# --- what comes back


def whole(**changes):
    reply = completion(ECHO.format("a"))
    return reply | changes


def saying(content):
    return whole(choices=[{"message": {"content": content}, "finish_reason": "stop"}])


PARTS = [{"type": "text", "text": "So the "}, {"type": "x"}, {"type": "text", "text": "end."}]


@pytest.mark.parametrize(
    ("reply", "text", "counts"),
    [
        (whole(usage={"prompt_tokens": 10, "completion_tokens": 10.5}), "{}", (10, None)),
        (whole(usage="ten"), "{}", (None, None)),
        (whole(model=5), "{}", (10, 5)),
        (saying(PARTS), "So the end.", (10, 5)),
        (saying("half \ud83d"), "half ?", (10, 5)),
        (saying("whole \ud83d\ude00, half \ude00"), "whole \U0001f600, half ?", (10, 5)),
    ],
)
def test_a_whole_reply_is_kept_whatever_is_odd_beside_its_text(store, reply, text, counts):
    with serving(lambda prompt, before: json.dumps(reply).encode()) as server:
        [row] = ask(teacher(server), [Request("a")], store, "CEP")
    assert sum(server.arrivals.values()) == 1
    assert row.text == text.format(ECHO.format("a")) and row.finish_reason == "stop"
    assert (row.prompt_tokens, row.completion_tokens) == counts


def test_a_broken_character_costs_one_letter_and_not_the_reply(store):
    reply = json.dumps(whole()).encode().replace(b"answer", b"answ\xffr")
    with serving(lambda prompt, before: reply) as server:
        [row] = ask(teacher(server), [Request("a")], store, "CEP")
    assert row.text == ECHO.format("a").replace("answer", "answ\ufffdr")


@pytest.mark.parametrize(
    ("way", "finish", "text", "fault"),
    [
        ("refusal", "refusal", "I will not.", "finish reason refusal x1"),
        ("length", "length", "It goes on and", "finish reason length x1"),
        ("nothing", "stop", "", "empty reply x1"),
    ],
)
def test_a_reply_without_an_answer_is_kept_and_counted(store, capsys, way, finish, text, fault):
    with serving(lambda prompt, before: way) as server:
        [row] = ask(teacher(server), requests(1), store, "CEP")
    assert (row.finish_reason, row.text) == (finish, text)
    assert (row.served_model, row.prompt_tokens, row.completion_tokens) == ("served-1", 10, 5)
    assert fault in capsys.readouterr().out


@pytest.mark.parametrize("way", ["packed", "moved"])
def test_a_reply_may_be_packed_or_come_from_elsewhere(store, way):
    with serving(by_name({"question 0": way})) as server:
        [row] = ask(teacher(server, retries=0), requests(1), store, "CEP")
    assert row.text == ECHO.format("question 0")


def test_a_proxy_that_the_environment_names_is_used(store, monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving() as server:
        monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1"))
        far = teacher(server, base_url="http://teacher.invalid/v1", retries=0)
        assert len(ask(far, requests(2), store, "CEP")) == 2
        monkeypatch.setenv("no_proxy", "teacher.invalid")
        with pytest.raises(TeacherStopped, match="connection"):
            ask(far, [Request("a")], store, "CEP")


def test_what_lacks_its_marker_is_asked_again_hotter_and_then_stays_unread(store):
    def script(prompt, before):
        return "no marker" if prompt == "question 0" or before < 1 else "ok"

    with serving(script) as server:
        tried = ask_until_read(teacher(server), requests(2), store, "CEP", 4, 1.5)
        again = ask_until_read(teacher(server), requests(2), store, "CEP", 4, 1.5)
        assert tried == again and len(server.bodies) == 6
        sent = [b for b in server.bodies if b["messages"][0]["content"] == "question 0"]
    assert [len(tries) for tries in tried] == [4, 2]
    assert [body["temperature"] for body in sent] == [0.2, 0.6333, 1.0667, 1.5]
    assert len({body["seed"] for body in sent}) == 4
    assert [row.attempt for row in tried[0]] == [0, 1, 2, 3]


def test_the_server_is_asked_what_the_settings_say(store):
    with serving() as server:
        asked = teacher(server, limit_name="max_completion_tokens")
        [row] = ask(asked, [Request("a", 0.4, 0.9, 77, seed=7)], store, "CEP")
        [body] = server.bodies
    seed = int(completion_key("m", Request("a", 0.4, 0.9, 77, seed=7))[:7], 16)
    assert row.teacher == "m" and body == {
        "model": "m",
        "messages": [{"role": "user", "content": "a"}],
        "temperature": 0.4,
        "top_p": 0.9,
        "max_completion_tokens": 77,
        "seed": seed,
    }


@pytest.mark.parametrize("refused", [["seed"], ["temperature", "top_p"]])
def test_a_server_that_refuses_a_field_is_asked_without_it(tmp_path, refused):
    """Some know no seed, others (reasoning models) no temperature but their own."""

    def script(prompt, before):
        return 400 if server.bodies[-1].keys() & set(refused) else "ok"

    with serving(script) as server:
        path = tmp_path / "mine.yaml"
        text = PROFILE.replace("URL", server.url).replace(
            "TEACHER_KEY", "TEACHER_KEY, concurrency: 1"
        )
        path.write_text(text)
        with pytest.raises(TeacherStopped, match="HTTP 400"):
            pipeline.annotate(open_workspace(str(path), [], tmp_path / "sent"))
        path.write_text(text.replace("attempts: 2", ", ".join(f"{name}: null" for name in refused)))
        ws = open_workspace(str(path), [], tmp_path / "left out")
        pipeline.annotate(ws)
    with pipeline.completion_store(ws) as store:
        rows = [row for row, _ in store.rows()]
        assert rows and {getattr(row, name) for row in rows for name in refused} == {None}
        assert all(row.key == completion_key("m", request_of(row)) for row in rows)


def test_what_is_left_to_the_server_stays_so_when_it_is_asked_again(store):
    with serving(lambda prompt, before: "no marker" if before < 2 else "ok") as server:
        left = [Request("a", temperature=None, top_p=None, seed=7)]
        [tried] = ask_until_read(teacher(server), left, store, "CEP", 4, 1.5)
    assert [(row.attempt, row.temperature) for row in tried] == [(0, None), (1, None), (2, None)]
    assert len({body["seed"] for body in server.bodies}) == 3


def test_it_works_where_an_event_loop_is_running(store):
    async def cell():
        return ask(teacher(server), requests(3), store, "CEP")

    with serving() as server:
        assert len(asyncio.run(cell())) == 3


# --- money

PRICES = {"prompt": 1000.0, "completion": 2000.0}  # 0.02 USD for the 10 + 5 tokens of a reply


def test_the_plan_comes_before_the_first_call(store, capsys):
    with serving() as server:
        ask(teacher(server), requests(4), store, "CEP")
        capsys.readouterr()
        ask(teacher(server, prices=PRICES, budget=99.0), requests(10), store, "CEP")
    plan, summary = capsys.readouterr().out.split("m: ")
    assert plan == (
        "CEP: 10 prompts for m, 4 already answered, 6 to ask\n"
        "  about 60 prompt and 30 completion tokens (at most 12,288)\n"
        "  about 0.12 USD (at most 24.64), 0.00 paid before, ceiling 99 USD (teacher.budget)\n"
    )
    assert summary == "6 answered, 0 failed; 60 + 30 tokens, 0.1200 USD\n"


def test_it_stops_cleanly_at_its_budget_and_goes_on_when_that_is_raised(store):
    cheap = [replace(request, max_tokens=5) for request in requests(40)]
    with serving() as server:
        poor = teacher(server, prices=PRICES, budget=0.25, concurrency=8)
        with pytest.raises(BudgetReached, match=r"budget is 0\.25 USD.* raise teacher\.budget"):
            ask(poor, cheap, store, "CEP")
        assert 0.2 < store.totals("m").paid <= 0.25
        stored = sum(server.arrivals.values())
        assert stored == store.totals("m").n
        with pytest.raises(BudgetReached):
            ask(poor, cheap, store, "CEP")
        assert sum(server.arrivals.values()) == stored
        assert len(ask(teacher(server, prices=PRICES, budget=9.0), cheap, store, "CEP")) == 40
        assert set(server.arrivals.values()) == {1}
    assert store.totals("m").paid == pytest.approx(40 * 0.02)


def test_a_server_that_counts_nothing_costs_by_estimate(store):
    with serving(lambda prompt, before: "uncounted") as server:
        [row] = ask(teacher(server, prices=PRICES), [Request("12345678")], store, "CEP")
    assert row.prompt_tokens is None
    assert row.cost == pytest.approx((1000 * 2 + 2000 * len(row.text) / 4) / 1e6)


@pytest.mark.parametrize("count", [-(10**6), 10**30])
def test_a_count_that_cannot_be_is_not_believed(store, count):
    """Else a server could raise the budget by counting below nothing."""
    said = {"usage": {"prompt_tokens": count, "completion_tokens": count}}
    with serving(lambda prompt, before: said) as server:
        [row] = ask(teacher(server, prices=PRICES), [Request("12345678")], store, "CEP")
    assert (row.prompt_tokens, row.completion_tokens) == (None, None)
    assert row.cost == pytest.approx((1000 * 2 + 2000 * len(row.text) / 4) / 1e6)


@pytest.mark.parametrize(
    ("way", "prompt", "completion", "estimated"),
    [("no choice", 10, 5, 0), ("broken JSON", 2, 4, 1), ("page", 2, 5, 1)],
)
def test_a_reply_that_cannot_be_read_is_paid_for(store, capsys, way, prompt, completion, estimated):
    """What it says it took, else an estimate, on top of the 10 + 5 tokens of the second try."""
    with serving(by_name({"12345678": way})) as server:
        ask(teacher(server, prices=PRICES), [Request("12345678")], store, "CEP")
    [lost] = store.lost("m", ["12345678", "another"])
    assert (lost.prompt_tokens, lost.completion_tokens) == (prompt, completion)
    assert lost.estimated == estimated
    assert store.totals("m").paid == pytest.approx(0.02 + (prompt + 2 * completion) / 1000)
    said = capsys.readouterr().out
    assert f"{10 + prompt} + {5 + completion} tokens, {store.totals('m').paid:.4f} USD" in said
    assert f"for 1 replies that were lost ({estimated} by estimate)" in said


def test_replies_that_cannot_be_read_use_up_the_budget(store):
    """Else a broken server would be paid without end, run after run."""
    cheap = [replace(request, max_tokens=5) for request in requests(40)]
    with serving(lambda prompt, before: "no choice") as server:
        poor = teacher(server, prices=PRICES, budget=0.25, concurrency=4, retries=1)
        with pytest.raises(BudgetReached, match="what comes next may cost"):
            ask(poor, cheap, store, "CEP")
        arrived = sum(server.arrivals.values())
        assert store.totals("m").paid == pytest.approx(0.02 * arrived) and arrived <= 12
        with pytest.raises(BudgetReached):
            ask(poor, cheap, store, "CEP")
        assert sum(server.arrivals.values()) == arrived


@pytest.mark.parametrize("way", ["stall", "drip", "cut", "hang up"])
def test_tries_that_bring_no_reply_use_up_the_budget_at_the_most_they_may_cost(store, way):
    """Else a stalling server could bill a run without end, for what it answered too late."""
    cheap = [replace(request, max_tokens=5) for request in requests(40)]
    most = 0.02  # USD, of 10 bytes and 5 tokens
    with serving(lambda prompt, before: way) as server:
        poor = teacher(server, prices=PRICES, budget=0.05, concurrency=2, retries=2, timeout=0.3)
        for _ in range(2):
            with pytest.raises(BudgetReached):
                ask(poor, cheap, store, "CEP")
        arrived = sum(server.arrivals.values())
    assert 1 <= arrived <= 2 and store.totals("m").paid == pytest.approx(most * arrived)
    [lost, *_] = store.lost("m", [request.prompt for request in cheap])
    assert (lost.prompt_tokens, lost.completion_tokens, lost.estimated) == (10, 5, True)


def test_what_was_never_sent_and_what_was_refused_cost_nothing(store):
    with serving(lambda prompt, before: 500) as server:
        asked = teacher(server, prices=PRICES, budget=99.0, retries=1)
        with pytest.raises(TeacherStopped, match="HTTP 500"):
            ask(asked, requests(2), store, "CEP")
    with pytest.raises(TeacherStopped, match="connection"):
        ask(asked, requests(2), store, "CEP")
    assert store.totals("m").paid == 0


# --- the key


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key_variable": KEY}, "expected the name of an environment variable"),
        ({"base_url": f"http://me:{KEY}@127.0.0.1/v1"}, "without a user"),
        ({"base_url": f"http://127.0.0.1/v1?key={KEY}"}, "without a user"),
        ({"base_url": "127.0.0.1:8000"}, r"expected http\(s\)"),
    ],
)
def test_a_key_in_the_settings_is_refused_and_not_repeated(tmp_path, changes, message):
    """Before anything is written: overrides end up in the manifest and in executed notebooks."""
    path, settings = tmp_path / "mine.yaml", [f"teacher.{k}={v}" for k, v in changes.items()]
    path.write_text(PROFILE.replace("URL", "http://127.0.0.1/v1"))
    with pytest.raises(BadProfile, match=message) as refused:
        load(str(path), settings)
    assert KEY not in "".join(traceback.format_exception(refused.value))


def test_a_key_under_a_name_of_the_users_own_is_not_repeated(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        PROFILE.replace("URL", "http://127.0.0.1/v1").replace("model: m", f"key: {KEY}")
    )
    with pytest.raises(BadProfile, match="key") as refused:
        load(str(path))
    assert KEY not in "".join(traceback.format_exception(refused.value))


def test_a_reply_that_quotes_the_key_is_stored_without_it(store, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving() as server:
        [row] = ask(teacher(server), [Request(f"my key is {KEY}")], store, "CEP")
    assert row.text == ECHO.format("my key is [key]")


def test_no_field_of_a_reply_keeps_the_key(store, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving(lambda prompt, before: "quoted key") as server:
        [row] = ask(teacher(server), [Request("a")], store, "CEP")
    assert (row.text, row.finish_reason, row.served_model) == ("[key]",) * 3


def everything_said(error):
    """The words of an exception and of all that led to it, shown or not."""
    said = [repr(error), *traceback.format_exception(error)]
    for other in filter(None, (error.__cause__, error.__context__)):
        said.append(everything_said(other))
    return "".join(said)


def test_a_broken_reply_that_is_the_key_is_not_repeated_when_the_budget_is_reached(
    store, monkeypatch, capsys
):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving(lambda prompt, before: "key for choices") as server:
        poor = teacher(server, prices=PRICES, budget=0.03)
        with pytest.raises(BudgetReached) as reached:
            ask(poor, [Request("a", max_tokens=5)], store, "CEP")
        rich = teacher(server, retries=0)
        with pytest.raises(TeacherStopped, match=r"not a chat completion.*\[key\]") as failed:
            ask(rich, [Request("a")], store, "CEP")
    for error in (reached.value, failed.value):
        assert KEY not in everything_said(error)
    assert KEY not in capsys.readouterr().out


@pytest.mark.parametrize("kind", [chat.Answer, chat.Choice, chat.Message, chat.Usage])
def test_what_reads_replies_never_repeats_them(kind):
    with pytest.raises(ValidationError) as refused:
        kind.model_validate_json(json.dumps(KEY))
    with pytest.raises(ValidationError) as broken:
        kind.model_validate_json(KEY)
    assert KEY not in everything_said(refused.value) + everything_said(broken.value)


def test_a_key_at_the_edge_of_what_is_quoted_is_not_cut_in_half(store, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    page = b"x" * 190 + KEY.encode()
    with serving(lambda prompt, before: page) as server, pytest.raises(TeacherStopped) as failed:
        ask(teacher(server, retries=0), [Request("a")], store, "CEP")
    assert "sk-" not in str(failed.value)


def test_a_short_key_is_no_secret_and_replies_keep_their_words(store, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "answer")
    with serving() as server:
        assert ask(teacher(server), requests(1), store, "CEP")[0].text == ECHO.format("question 0")


def test_a_key_that_was_copied_wrongly_is_refused_and_not_repeated(monkeypatch):
    monkeypatch.setenv("TEACHER_KEY", f"{KEY} …")
    with serving() as server, pytest.raises(BadEndpoint, match="copy the key again") as refused:
        teacher(server, key_variable="TEACHER_KEY")
    assert KEY not in str(refused.value)


RUN = """
import gc
import json, sys
from pathlib import Path
from editlib import manifest, pipeline
from editlib.workspace import open_workspace

ws = open_workspace(sys.argv[1], [], sys.argv[2])
ws.folder.mkdir(parents=True, exist_ok=True)
(ws.folder / "manifest.json").write_text(json.dumps(manifest.describe(ws, [])))
pipeline.annotate(ws)
pipeline.build_duals(ws)
"""
PROFILE = """
notebooks: []
benchmark: {name: puzzles, questions: {train: 2, validation: 1, test: 1, longer: 1, families: 1}}
teacher: {kind: endpoint, model: m, base_url: "URL", key_variable: TEACHER_KEY, retries: 0,
          attempts: 2}
keysteps: {unit: words, ties: library}
"""


@pytest.mark.parametrize("status", [None, 400])
def test_the_key_goes_to_the_server_and_nowhere_else(tmp_path, status):
    """The failing servers quote the key in their messages."""
    with serving(lambda prompt, before: status or "ok") as server:
        (tmp_path / "mine.yaml").write_text(PROFILE.replace("URL", server.url))
        done = subprocess.run(
            [sys.executable, "-c", RUN, tmp_path / "mine.yaml", tmp_path],
            env=os.environ | {"TEACHER_KEY": KEY},
            capture_output=True,
            timeout=600,
        )
        assert set(server.keys) == {f"Bearer {KEY}"}
    assert (done.returncode == 0) == (status is None)
    assert status is None or b"[key] at fault" in done.stderr
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 3 and not any(KEY.encode() in text for text in written)
    assert KEY.encode() not in done.stdout + done.stderr


def files_with(word, folder):
    """Which files hold a word; tables are read, since they are packed."""
    held = set()
    for path in filter(Path.is_file, folder.rglob("*")):
        table = pd.read_parquet(path).to_csv() if path.suffix == ".parquet" else ""
        if word.encode() in path.read_bytes() + table.encode():
            held.add(str(path.relative_to(folder)))
    return held


def quoting(prompt, before):
    """What the puzzle teacher says, after the key and a word that is no secret."""
    said = PuzzleTeacher(PuzzleSettings({}, 0.0, 1.0, 0)).complete(Request(prompt)).text
    return json.dumps(completion(f"No-secret {KEY} {said}")).encode()


NOTEBOOK = "01_teacher_prompting"


@pytest.mark.parametrize(
    ("script", "word", "holders"),
    [
        (
            quoting,
            "No-secret",
            {
                "artifacts/completions.sqlite",
                "artifacts/annotation/cots.parquet",
                f"notebooks/{NOTEBOOK}.ipynb",
            },
        ),
        (lambda prompt, before: 401, "at fault", {f"artifacts/partial/{NOTEBOOK}.ipynb"}),
    ],
)
def test_a_notebook_that_ran_or_failed_shows_what_was_said_without_the_key(
    tmp_path, script, word, holders
):
    """Found by the same search: the word that the server says beside the key."""
    with serving(script) as server:
        text = PROFILE.replace("URL", server.url).replace("[]", f"[{NOTEBOOK}]", 1)
        (tmp_path / "mine.yaml").write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "editlib.reproduce", "--profile", "mine.yaml", "--results", "."],
            cwd=tmp_path,
            env=os.environ | {"TEACHER_KEY": KEY, "OPENAI_LOG": "debug"},
            capture_output=True,
            timeout=600,
        )
        assert set(server.keys) == {f"Bearer {KEY}"}
    ran = script is quoting
    assert (done.returncode == 0, (tmp_path / "mine" / "report.html").exists()) == (ran, ran)
    assert ran or b"[key] at fault" in done.stderr
    assert files_with(word, tmp_path / "mine") == holders
    assert not files_with(KEY, tmp_path) and KEY.encode() not in done.stdout + done.stderr


# --- interrupted; for kills see test_bench.py

ASK = """
import sys
from pathlib import Path
from editlib.completions import CompletionStore, Request
from editlib.endpoint import EndpointTeacher
from editlib.profiles import EndpointTeacherSettings
from editlib.teacher import ask

settings = EndpointTeacherSettings(
    kind="endpoint", model="m", base_url=sys.argv[1], concurrency=8, timeout=60
)
with CompletionStore(Path(sys.argv[2])) as store:
    ask(EndpointTeacher(settings), [Request(f"question {n}") for n in range(200)], store, "ask")
"""


def stored(path):
    if not path.exists():
        return {}
    with closing(sqlite3.connect(path, timeout=60)) as db:
        return dict(db.execute("SELECT prompt, text FROM completions_2").fetchall())


def test_an_interrupted_run_ends_at_once_and_keeps_what_it_had(tmp_path):
    path = tmp_path / "completions.sqlite"
    heeds = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # in a job too
    )

    def script(prompt, before):
        return "ok" if int(prompt.split()[1]) < 15 else "stall"

    with serving(script) as server:
        command = [sys.executable, "-c", heeds + ASK, server.url, path]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
            while len(server.arrivals) < 20:
                time.sleep(0.01)
            run.send_signal(signal.SIGINT)
            try:
                _, said = run.communicate(timeout=50)
            finally:
                run.kill()
    assert b"KeyboardInterrupt" in said and len(stored(path)) > 5
