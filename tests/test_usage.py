import sqlite3
from dataclasses import replace

import pandas as pd
import yaml

from editlib import manifest, pipeline, profiles
from editlib.completions import CompletionStore, Lost, Reply, Request, completed
from editlib.teacher import PuzzleSettings, PuzzleTeacher, replay
from editlib.workspace import open_workspace
from tests.test_batch_files import command, result, write, written

ROW = completed("m", Request("a"), Reply("Well.", "stop", 10, 5))


def test_every_attempt_counts_and_is_paid():
    assert pipeline.usage("CEP", [[ROW], [ROW]]) == {
        "prompt": "CEP",
        "n": 2,
        "prompt_tokens": 20,
        "completion_tokens": 10,
    }
    dear = replace(ROW, cost=0.25)
    spent = pipeline.usage("CEP", [[dear, dear], [ROW]])
    assert (spent["n"], spent["attempts"], spent["prompt_tokens"]) == (2, 3, 30)
    assert spent["cost_usd"] == 0.5


def test_replies_that_were_lost_are_paid_too():
    lost = [Lost("m", "a", 7, 3, estimated, 0.5) for estimated in (True, False)]
    spent = pipeline.usage("CEP", [[replace(ROW, cost=0.25)]], lost)
    assert (spent["prompt_tokens"], spent["completion_tokens"]) == (24, 11)
    assert (spent["cost_usd"], spent["lost"], spent["lost_estimated"]) == (1.25, 2, 1)


def test_the_usage_of_parts_is_that_of_the_whole():
    dear, lost = replace(ROW, cost=0.25), [Lost("m", "a", 7, 3, True, 0.5)]
    parts = [([[dear, dear], [dear]], lost), ([[dear]], ())]
    whole = pipeline.usage("CEP", [tries for tried, _ in parts for tries in tried], lost)
    assert pipeline._together("CEP", [pipeline.usage("CEP", *part) for part in parts]) == whole
    assert whole["attempts"] == 4 and pipeline._together("CEP", []) == pipeline.usage("CEP", [])


def test_the_manifest_sums_tokens_and_money(tmp_path):
    ws = open_workspace("smoke", [], tmp_path)
    rows = [
        {"prompt": "CEP", "n": 2, "cost_usd": 0.25},
        {"prompt": "AHP", "n": 1, "cost_usd": None},
    ]
    ws.save_table(pd.DataFrame(rows), "teacher_usage")
    assert manifest.teacher_usage(ws) == {"n": 3, "cost_usd": 0.25}


def test_a_replay_takes_the_last_attempt_of_the_first_sample():
    rows = [
        replace(ROW, key="0", text="first"),
        replace(ROW, key="1", attempt=2, text="third"),
        replace(ROW, key="2", attempt=1, text="second"),
        replace(ROW, key="3", sample=1, attempt=3, text="other sample"),
    ]
    teachers = [replay([(row, None) for row in order], "run") for order in (rows, rows[::-1])]
    assert {teacher.complete(Request("a")).text for teacher in teachers} == {"third"}
    assert teachers[0].name == teachers[1].name != replay([], "run").name


def test_lost_replies_are_kept_apart_by_sample_and_paid_together(tmp_path):
    lost = Lost("m", "a", 7, 3, False, 0.5)
    for sample in (0, 1, 1):
        with CompletionStore(tmp_path / "store.sqlite", sample) as store:
            store.note_lost(lost)
    for sample, n in enumerate([1, 2, 0]):
        with CompletionStore(tmp_path / "store.sqlite", sample) as store:
            assert store.lost("m", ["a"]) == [lost] * n
            assert store.totals("m").paid == 1.5


def test_a_store_without_samples_of_lost_replies_goes_on(tmp_path):
    CompletionStore(tmp_path / "store.sqlite").close()
    with sqlite3.connect(tmp_path / "store.sqlite") as old:
        old.execute("ALTER TABLE lost_2 DROP COLUMN sample")
        old.execute("INSERT INTO lost_2 VALUES ('m', 'a', 7, 3, 0, 0.5)")
    for sample, n in [(0, 1), (1, 0)]:
        with CompletionStore(tmp_path / "store.sqlite", sample) as store:
            assert len(store.lost("m", ["a"])) == n


def test_batch_files_cover_the_second_sample(tmp_path):
    """Nothing listens at the profile's URL: what is not in a batch file cannot be answered."""
    profile = yaml.safe_load((profiles.HERE / "smoke.yaml").read_text())
    url = "http://127.0.0.1:9/v1"
    profile["teacher"] = {"kind": "endpoint", "model": "m", "base_url": url, "key_variable": "KEY"}
    profile["training"]["methods"] = ["Std-CoT, repeat sampling"]
    path, batch, done = (tmp_path / name for name in ("mine.yaml", "batch.jsonl", "done.jsonl"))
    path.write_text(yaml.safe_dump(profile))
    errors = {"logical": 0.4, "knowledge": 0.4, "calculation": 0.4}
    solver = PuzzleTeacher(PuzzleSettings(errors, paraphrase=0.1, heeds_hint=0.9, seed=0))
    while command(path, "batch-write", batch) == 0 and batch.exists():
        said = [
            result(row["custom_id"], text=solver.complete(Request(prompt)).text)
            for row in written(batch)
            for prompt in [row["body"]["messages"][0]["content"]]
        ]
        batch.unlink()
        assert command(path, "batch-read", write(done, said)) == 0
    ws = open_workspace(str(path), [], tmp_path / "results")
    assert len(pipeline.read_resampled(ws)) > len(pipeline.read_annotation(ws)[0])
    with pipeline.completion_store(ws) as store:
        assert {(row.sample, row.origin) for row, _ in store.rows()} == {(0, "batch"), (1, "batch")}


def test_a_run_is_published_without_what_other_settings_asked_for(tmp_path):
    """Else a replay, which knows prompts alone, may tell the unread attempt of another run."""
    endpoint = {"kind": "endpoint", "model": "m", "base_url": "http://127.0.0.1:9/v1"}
    profile = yaml.safe_load((profiles.HERE / "smoke.yaml").read_text())
    profile["teacher"] = {**endpoint, "temperature": 0.2, "attempts": 3, "highest_temperature": 1.0}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(profile))
    ws = open_workspace(str(path), [], tmp_path / "results")
    settings = ws.profile.teacher
    first = Request("a", 0.2, settings.top_p, settings.max_tokens, seed=settings.seed)
    own = [first, replace(first, attempt=1, temperature=0.6), replace(first, sample=1)]
    other = [
        replace(first, temperature=1.0),
        replace(first, attempt=1, temperature=1.0),
        replace(first, attempt=2, temperature=0.8),
        replace(first, attempt=3, temperature=1.0),
        replace(first, max_tokens=1),
        replace(first, seed=settings.seed + 1),
    ]
    kept = [completed("m", each, Reply("Well.", "stop", 10, 5)) for each in (*own, *other)]
    assert [pipeline.is_asked_by(ws, row) for row in kept] == [True] * 3 + [False] * 6
    assert not pipeline.is_asked_by(ws, replace(kept[0], teacher="n"))
