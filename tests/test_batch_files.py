import json
import re
from types import SimpleNamespace

import pytest
import yaml

from editlib import chat, pipeline, profiles
from editlib.batch_files import (
    BatchOverBudget,
    BatchWaiting,
    BatchWriter,
    BatchWritten,
    read_results,
)
from editlib.completions import CompletionStore, Request, completion_key
from editlib.completions.__main__ import main
from editlib.endpoint import BudgetReached
from editlib.records import CoT, read_table
from editlib.teacher import PuzzleSettings, PuzzleTeacher, ask
from editlib.workspace import open_workspace
from tests.loopback import completion, serving
from tests.test_endpoint import KEY, PRICES, PROFILE, teacher

ANSWER = "So the answer is 3."
NOWHERE = SimpleNamespace(url="http://127.0.0.1:9/v1")


@pytest.fixture
def store(tmp_path):
    with CompletionStore(tmp_path / "completions.sqlite") as store:
        yield store


@pytest.fixture
def profile(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(PROFILE.replace("URL", "http://127.0.0.1:9/v1"))
    return path


def result(key, status=200, text=ANSWER, error=None):
    body = completion(text) if status == 200 else {"error": {"message": "too long"}}
    return {
        "id": "batch_req_1",
        "custom_id": key,
        "response": {"status_code": status, "request_id": "r", "body": body},
        "error": error,
    }


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def command(profile, name, file, *more):
    where = ["--profile", str(profile), "--results", str(profile.parent / "results")]
    return main([name, *where, *more, str(file)])


def written(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_batch_answers_what_would_have_been_asked_at_half_the_price(store, tmp_path):
    """Result lines come in any order; what failed is asked again."""
    asked = [Request(f"question {n}", seed=7) for n in range(4)]
    with serving() as server:
        ask(teacher(server), asked[:1], store, "CEP")
        batch = _writer(server, tmp_path / "batch.jsonl")
        with pytest.raises(BatchWritten, match="holds 3 requests"):
            ask(batch, asked, store, "CEP")
        rows = written(tmp_path / "batch.jsonl")
        keys = [completion_key("m", request) for request in asked]
        assert [row["custom_id"] for row in rows] == keys[1:]
        assert {(row["method"], row["url"]) for row in rows} == {("POST", "/v1/chat/completions")}
        done = [result(keys[2]), result(keys[1]), result(keys[3], status=400)]
        read = read_results(store, write(tmp_path / "done.jsonl", done), batch.settings)
        assert (read.new, read.known, read.failed) == (2, 0, 1) and "too long" in read.example
        assert read_results(store, tmp_path / "done.jsonl", batch.settings).known == 3
        got = ask(teacher(server), asked, store, "CEP")
        assert [row.origin for row in got] == ["asked", "batch", "batch", "asked"]
        assert got[1].cost == 0.01 and got[1].text == ANSWER
        sent = [{**row["body"]} for row in rows]
        assert server.bodies[1] == sent[2] and len(server.bodies) == 2


def test_a_batch_holds_no_more_than_its_budget_is_sure_to_pay(store, tmp_path):
    asked = [Request(f"question {n}", seed=7, max_tokens=100) for n in range(4)]
    each = 0.5 * chat.highest_cost(teacher(NOWHERE, prices=PRICES).settings, asked[0])
    path = tmp_path / "batch.jsonl"

    def writer(budget):
        settings = teacher(NOWHERE, prices=PRICES, budget=budget).settings
        return BatchWriter(settings.model_copy(update={"batch_file": path}))

    with pytest.raises(BatchOverBudget, match="Nothing was written"):
        ask(writer(0.9 * each), asked, store, "CEP")
    assert not path.exists()
    with pytest.raises(BatchWritten, match=r"holds 2 requests .* 2 are left for later"):
        ask(writer(2.5 * each), asked, store, "CEP")
    keys = [completion_key("m", request) for request in asked[:2]]
    assert [row["custom_id"] for row in written(path)] == keys


def test_batches_that_wait_and_live_requests_share_one_budget(store, tmp_path):
    first, second, third = (
        [Request(f"{name} {n}", seed=7, max_tokens=5) for n in range(9)] for name in "abc"
    )
    most = 0.5 * chat.highest_cost(teacher(NOWHERE, prices=PRICES).settings, first[0])
    path, budget = tmp_path / "batch.jsonl", 10.5 * most
    with serving() as server:
        live = teacher(server, prices=PRICES, budget=budget)
        writer = BatchWriter(live.settings.model_copy(update={"batch_file": path}))
        with pytest.raises(BatchWritten, match="holds 9 requests"):
            ask(writer, first, store, "CEP")
        with pytest.raises(BatchWritten, match=r"holds 1 requests .* 8 are left for later"):
            ask(writer, second, store, "CEP")
        with pytest.raises(BatchOverBudget, match=rf"batch files may cost {10 * most:.4f}"):
            ask(writer, third, store, "CEP")
        with pytest.raises(BudgetReached, match=rf"still cost {10 * most:.4f} and what"):
            ask(live, third, store, "CEP")
        assert server.bodies == []
        failed = [result(completion_key("m", request), status=500) for request in first]
        read_results(store, write(tmp_path / "done.jsonl", failed), live.settings)
        assert len(ask(live, third[:4], store, "CEP")) == 4


def test_a_result_without_a_completion_is_paid_once_and_asked_again(store, tmp_path):
    asked = [Request("12345678"), Request("b")]
    batch = _writer(NOWHERE, tmp_path / "batch.jsonl")
    with pytest.raises(BatchWritten):
        ask(batch, asked, store, "CEP")
    spoilt = [result(completion_key("m", request)) for request in asked]
    spoilt[0]["response"]["body"]["choices"] = []
    spoilt[1]["response"]["body"] = None
    done = write(tmp_path / "done.jsonl", spoilt)
    for known, failed in ((0, 2), (2, 0)):
        read = read_results(store, done, batch.settings)
        assert (read.new, read.known, read.failed, read.bad) == (0, known, failed, ())
    first, second = (store.lost("m", [request.prompt]) for request in asked)
    assert [(row.cost, row.estimated) for row in first] == [(0.01, False)]
    assert [row.estimated for row in second] == [True] and 0 < second[0].cost < 0.01
    assert store.totals("m").paid == pytest.approx(0.01 + second[0].cost)
    paid = store.totals("m").paid
    with pytest.raises(BatchWritten, match="holds 2 requests"):
        ask(batch, asked, store, "CEP")
    read_results(store, done, batch.settings)  # which says nothing of what is out now
    assert store.totals("m").paid == paid
    with pytest.raises(BatchWaiting, match="2 of 2 requests"):
        ask(batch, asked, store, "CEP")
    again = write(tmp_path / "again.jsonl", [row | {"id": "batch_req_2"} for row in spoilt])
    assert read_results(store, again, batch.settings).failed == 2
    assert store.totals("m").paid == pytest.approx(2 * paid)
    with pytest.raises(BatchWritten, match="holds 2 requests"):
        ask(batch, asked, store, "CEP")


def test_a_result_that_is_refused_for_good_can_be_left_unread(store, tmp_path):
    asked = [Request("a"), Request("b")]
    settings = teacher(NOWHERE, unanswerable=[400]).settings
    batch = BatchWriter(settings.model_copy(update={"batch_file": tmp_path / "batch.jsonl"}))
    with pytest.raises(BatchWritten):
        ask(batch, asked, store, "CEP")
    keys = [completion_key("m", request) for request in asked]
    lines = [result(keys[0], status=400), result(keys[1], status=500)]
    read = read_results(store, write(tmp_path / "done.jsonl", lines), settings)
    assert (read.new, read.failed) == (1, 1)
    row = store.get(keys)[keys[0]]
    assert (row.text, row.finish_reason, row.origin) == ("", "HTTP 400", "batch")
    with pytest.raises(BatchWritten, match="holds 1 requests"):
        ask(batch, asked, store, "CEP")


def _writer(server, path):
    settings = teacher(server, prices=PRICES).settings
    return BatchWriter(settings.model_copy(update={"batch_file": path}))


def test_what_waits_in_a_batch_file_is_not_asked_live_as_well(store, tmp_path):
    asked = [Request("a", seed=7), Request("b", seed=7)]
    with serving() as server:
        with pytest.raises(BatchWritten):
            ask(_writer(server, tmp_path / "batch.jsonl"), asked[:1], store, "CEP")
        with pytest.raises(BatchWaiting, match=r"1 of 2 requests .* nothing was asked"):
            ask(teacher(server), asked, store, "CEP")
        assert server.bodies == []
        ask(teacher(server, batch_again=True), asked, store, "CEP")
        assert len(server.bodies) == 2


def test_what_came_back_failed_waits_no_longer(store, tmp_path):
    asked = [Request("a", seed=7)]
    with serving() as server:
        batch = _writer(server, tmp_path / "batch.jsonl")
        with pytest.raises(BatchWritten):
            ask(batch, asked, store, "CEP")
        failed = result(completion_key("m", asked[0]), status=500)
        read_results(store, write(tmp_path / "done.jsonl", [failed]), batch.settings)
        with pytest.raises(BatchWritten):  # so it may go out again, and then it waits again
            ask(batch, asked, store, "CEP")
        with pytest.raises(BatchWaiting):
            ask(teacher(server), asked, store, "CEP")


def test_an_error_file_adds_nothing(store, tmp_path):
    with serving() as server:
        batch = _writer(server, tmp_path / "batch.jsonl")
        with pytest.raises(BatchWritten):
            ask(batch, [Request("a")], store, "CEP")
    failed = result(completion_key("m", Request("a")), error={"code": "batch_expired"})
    expired = write(tmp_path / "errors.jsonl", [failed | {"response": None}])
    read = read_results(store, expired, batch.settings)
    assert (read.new, read.failed) == (0, 1) and "batch_expired" in read.example


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (result("unknown"), r"done\.jsonl:2: custom_id 'unknown' was not sent from the store"),
        ({"id": 1}, r"done\.jsonl:2: no custom_id"),
        ("REQUEST", r"done\.jsonl:2: no response and no error"),  # the file that was sent
        ("WORD", r"done\.jsonl:2: no response and no error"),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_kept(store, tmp_path, bad, message):
    asked = [Request("a"), Request("b")]
    with serving() as server:
        batch = _writer(server, tmp_path / "batch.jsonl")
        with pytest.raises(BatchWritten):
            ask(batch, asked, store, "CEP")
    keys = [completion_key("m", request) for request in asked]
    if bad == "REQUEST":
        bad = written(tmp_path / "batch.jsonl")[1]
    if bad == "WORD":
        bad = result(keys[1]) | {"response": "x"}
    done = write(tmp_path / "done.jsonl", [result(keys[0]), bad])
    read = read_results(store, done, batch.settings)
    assert read.new == 1 and len(read.bad) == 1 and re.search(message, str(read.bad[0]))
    assert [row.key for row, _ in store.rows()] == [keys[0]]


def test_results_that_quote_the_key_are_read_without_it(store, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    writer = BatchWriter(teacher(NOWHERE, batch_file=tmp_path / "batch.jsonl").settings)
    asked = [Request("a", seed=7), Request("b", seed=7)]
    with pytest.raises(BatchWritten):
        ask(writer, asked, store, "CEP")
    first, second = (completion_key("m", request) for request in asked)
    lines = [result(first, text=f"You are {KEY}."), result(second, error={"message": KEY})]
    read = read_results(store, write(tmp_path / "results.jsonl", lines), writer.settings)
    assert store.get([first])[first].text == "You are [key]."
    assert read.failed == 1 and read.example == '{"message": "[key]"}'


def test_a_result_that_is_the_key_where_a_completion_should_be_is_named_without_it(
    store, tmp_path, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    writer = BatchWriter(teacher(NOWHERE, batch_file=tmp_path / "batch.jsonl").settings)
    with pytest.raises(BatchWritten):
        ask(writer, [Request("a")], store, "CEP")
    line = result(completion_key("m", Request("a")))
    line["response"]["body"] = {"choices": KEY}
    read = read_results(store, write(tmp_path / "done.jsonl", [line]), writer.settings)
    assert "done.jsonl:1: its body is not a chat completion" in read.example
    assert KEY not in repr(read)


@pytest.mark.parametrize("seed", [0, None])
def test_a_whole_run_by_batch_files_then_published_and_replayed(profile, tmp_path, capsys, seed):
    """Nothing listens at the profile's URL: all three prompts and their retries go by file."""
    settings = yaml.safe_load(profile.read_text())
    settings["teacher"]["seed"] = seed
    profile.write_text(yaml.safe_dump(settings))
    batch, done, sizes = tmp_path / "batch.jsonl", tmp_path / "done.jsonl", []
    for _ in range(9):
        batch.unlink(missing_ok=True)
        assert command(profile, "batch-write", batch) == 0
        if not batch.exists():
            break
        sizes.append(len(written(batch)))
        texts = [_answer(row["body"]["messages"][0]["content"]) for row in written(batch)]
        rows = [result(r["custom_id"], text=t) for r, t in zip(written(batch), texts, strict=True)]
        assert command(profile, "batch-read", write(done, rows)) == 0
    assert "Nothing is left to ask" in capsys.readouterr().out
    assert len(sizes) >= 3
    ws = open_workspace(str(profile), [], tmp_path / "results")
    cots = _cots(ws)
    assert {cot.role for cot in cots} >= {"correct", "wrong", "corrupted"}

    published = tmp_path / "run.jsonl"
    assert command(profile, "export", published) == 0
    settings["teacher"] = {"kind": "recorded", "completions": str(published), "seed": seed}
    (tmp_path / "replay.yaml").write_text(yaml.safe_dump(settings))
    replay = open_workspace(str(tmp_path / "replay.yaml"), [], tmp_path / "results")
    pipeline.annotate(replay)
    pipeline.build_duals(replay)
    assert [(c.id, c.text, c.role) for c in _cots(replay)] == [(c.id, c.text, c.role) for c in cots]
    assert "run.jsonl" not in json.dumps(replay.profile.model_dump(mode="json"))

    other = ["--profile", str(profile), "--results", str(tmp_path / "other")]
    with published.open("a", encoding="utf-8") as file:
        file.write('{"version": 2, "cut sho')
    assert main(["import", *other, str(published)]) == 2
    assert "1 lines cannot be used, the first: " in capsys.readouterr().err
    again = open_workspace(str(profile), [], tmp_path / "other")
    pipeline.annotate(again)
    pipeline.build_duals(again)
    assert _cots(again) == cots


def test_a_run_by_batch_files_ends_though_some_prompts_are_refused_for_good(
    profile, tmp_path, capsys
):
    profile.write_text(profile.read_text().replace("attempts: 2", "unanswerable: [400]"))
    batch, done, rounds = tmp_path / "batch.jsonl", tmp_path / "done.jsonl", 0
    while command(profile, "batch-write", batch) == 0 and batch.exists() and rounds < 20:
        rows = [row["custom_id"] for row in written(batch)]
        assert command(profile, "batch-read", write(done, [result(key, 400) for key in rows])) == 0
        batch.unlink()
        rounds += 1
    assert 0 < rounds < 20 and "Nothing is left to ask" in capsys.readouterr().out


def test_what_waits_in_a_batch_file_is_not_written_again_unless_told(profile, tmp_path, capsys):
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    assert command(profile, "batch-write", first) == 0
    assert command(profile, "batch-write", second) == 2
    assert "stand in an earlier batch file" in capsys.readouterr().err and not second.exists()
    assert command(profile, "batch-write", second, "--again") == 0
    assert written(second) == written(first)


def _answer(prompt):
    """One in seven without an answer, the others as a puzzle teacher has it."""
    errors = {"logical": 0.4, "knowledge": 0.4, "calculation": 0.4}
    solver = PuzzleTeacher(PuzzleSettings(errors, paraphrase=0.1, heeds_hint=0.9, seed=0))
    lost = sum(map(ord, prompt)) % 7 == 0
    return "Well." if lost else solver.complete(Request(prompt)).text


def _cots(ws):
    return read_table(ws.need("duals") / "cots.parquet", CoT)


@pytest.mark.parametrize("name", ["batch-write", "batch-read"])
def test_batch_files_need_an_endpoint(name, tmp_path, capsys):
    (tmp_path / "smoke.yaml").write_text((profiles.HERE / "smoke.yaml").read_text())
    assert command(tmp_path / "smoke.yaml", name, tmp_path / "x.jsonl") == 2
    assert "teacher.kind puzzle; batch files need endpoint" in capsys.readouterr().err
