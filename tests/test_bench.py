"""The benchmark compares like with like, and says what it measured."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from editlib import answers, bench, dual, prompts, puzzles, teacher
from editlib.bench import (
    Baseline,
    Benchmark,
    extraction,
    gpu,
    kills,
    pairs,
    profile,
    scale,
    steps,
    teaching,
    writing,
)
from editlib.bench.__main__ import main, write


def test_ways_run_in_turn_on_the_same_input_after_one_run_of_the_kit():
    calls = []
    benchmark = Benchmark(
        "sum",
        "numbers",
        lambda i: calls.append(("kit", i)),
        {"plain": Baseline(lambda i: calls.append(("plain", i)), 2)},
    )
    times = bench.run_in_turn([benchmark], repeats=2)
    turns = [("kit", 0), ("plain", 0), ("kit", 0), ("plain", 1), ("kit", 1)]
    assert calls == turns
    assert list(times["way"]) == ["plain", "kit"] * 2 and list(times["repeat"]) == [0, 0, 1, 1]


def test_a_way_that_does_part_of_the_work_counts_as_if_it_did_all(monkeypatch):
    monkeypatch.setattr(bench, "seconds_of", lambda job: 2.0)
    benchmark = Benchmark("sum", "numbers", id, {"plain": Baseline(id, 2, part=0.25)})
    assert list(bench.run_in_turn([benchmark], repeats=1)["seconds"]) == [8.0, 2.0]


def test_ratios_are_medians_of_neighbours():
    benchmark = Benchmark("sum", "numbers", id, {"plain": Baseline(id, 2)})
    times = bench.run_in_turn([benchmark], repeats=3)
    times["seconds"] = [3.0, 1.0, 8.0, 2.0, 30.0, 3.0]  # plain and kit in turn
    (row,) = bench.ratios([benchmark], times).to_dict("records")
    assert row["seconds_baseline"] == 8.0 and row["seconds"] == 2.0
    assert (row["lowest"], row["ratio"], row["highest"], row["goal"]) == (3.0, 4.0, 10.0, 2)
    assert row["met"]


def test_extraction_is_checked_against_the_plain_program(monkeypatch):
    sides = [(row["correct"], row["wrong"]) for row in pairs.rows(pairs.of_puzzles(1))]
    extraction.check(sides)
    monkeypatch.setattr(extraction, "tables", lambda some: [0] * len(some))
    with pytest.raises(AssertionError):
        extraction.check(sides)


def test_decoding_is_checked_against_generate():
    benchmarks = writing.benchmarks()  # raises where the tokens differ
    assert [list(each.baselines) for each in benchmarks] == [["generate"]] * 3


@pytest.fixture(scope="module")
def rows():
    return [row for row in pairs.rows(pairs.of_puzzles(1)) if row["correct_key"].any()][:2]


def test_every_way_of_a_step_has_the_same_loss(rows):
    model, losses = steps.student().eval(), {}
    for way in steps.WAYS:
        losses[way] = steps.step(model, steps.batch_of(rows, steps.KRSL, way), steps.KRSL)
    assert np.allclose(list(losses.values()), losses["padded"], rtol=1e-5)
    assert losses["padded"] != 0


def test_trl_sees_the_ids_of_the_krsl_step(rows, tmp_path):
    trainer = steps.dpo_trainer(steps.student(), rows, len(rows), str(tmp_path))
    (batch,) = list(trainer.get_train_dataloader())
    seen = [
        row[mask.bool()].tolist()
        for row, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    ]
    sides = [row["prompt"] + row[side] for side in ("correct", "wrong") for row in rows]
    assert [ids[: len(side)] for ids, side in zip(seen, sides, strict=True)] == sides


def test_the_peak_of_a_fresh_process_is_its_own():
    held = np.ones(80_000_000)  # 640 MB, more than a process that imports numpy
    assert bench.in_fresh_process(bench.peak_mb) < bench.peak_mb() - held.nbytes / 2**20 / 4


def test_scale_measures_each_stage_of_a_run_that_made_its_pairs():
    rows = scale.stages([60, 40])  # side by side
    assert [row["work"] for row in rows] == 2 * list(scale.WORKS)
    assert [row["questions"] for row in rows[:: len(scale.WORKS)]] == [60, 40]
    for row in rows:
        assert 0.8 * row["questions"] < row["pairs"] <= row["questions"]
        assert row["seconds"] > 0 and row["cpu_ms"] > 0 and row["mb"] >= 0


def test_one_table_can_be_made_alone_beside_those_that_are_kept(tmp_path, monkeypatch):
    whole = {"memory": pd.DataFrame({"mb": [1 / 3]}), "scale": pd.DataFrame({"pairs": [7]})}
    write(tmp_path, whole)
    machine, memory = (tmp_path / name for name in ("machine.json", "memory.csv"))
    before, (first,) = memory.read_bytes(), json.loads(machine.read_text())
    asked = []
    monkeypatch.setattr(scale, "stages", lambda sizes: asked.append(sizes) or [{"pairs": 8}])
    arguments = ["bench", "--only", "scale", "--pairs", "5", "--results", str(tmp_path)]
    monkeypatch.setattr("sys.argv", arguments)
    main()
    assert asked == [[5]] and pd.read_csv(tmp_path / "scale.csv")["pairs"].item() == 8
    assert memory.read_bytes() == before and first["tables"] == ["memory", "scale"]
    assert json.loads(machine.read_text()) == [first | {"tables": ["memory", "scale"]}]
    elsewhere = first | {"commit": "of before"}
    machine.write_text(json.dumps([elsewhere]))
    main()
    runs = json.loads(machine.read_text())
    assert runs == [first | {"tables": ["scale"]}, elsewhere | {"tables": ["memory"]}]
    page = (tmp_path / "README.md").read_text()
    assert "| 8 |" in page and "| 7 |" not in page and "| 0.333 |" in page


def test_the_seconds_of_a_run_add_up(tmp_path):
    notebooks = {
        "00": {"seconds": 8.0, "cell_seconds": [0.5, 0.0, 3.5, 0.0, 1.0, 2.0]},
        "01": {"seconds": 7.0, "cell_seconds": [0.5, 0.0, 3.0, 0.0, 0.5]},
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"notebooks": notebooks}))
    assert [list(row.values()) for row in profile.run(tmp_path / "manifest.json")] == [
        ["00", 8.0, 4.0, 2.0, 2.0],
        ["01", 7.0, 3.5, 0.5, 3.0],
        ["all", 15.0, 7.5, 2.5, 5.0],
    ]


def test_questions_at_scale_are_those_of_a_run():
    asked = list(scale.drawn(70))
    assert len({question.id for question in asked}) == 70
    assert {question.task for question in asked} == set(puzzles.IN_DOMAIN)
    sure = teacher.PuzzleTeacher(teacher.PuzzleSettings({}, 0.0, 1.0, 0))
    for question, request in zip(
        asked, dual.cep_requests(asked, prompts.puzzle_shots(puzzles.IN_DOMAIN)), strict=True
    ):
        assert answers.read_answer(sure.complete(request).text) == question.answer


def test_the_teacher_is_timed_against_a_server_that_takes_its_time(capfd):
    (row,) = teaching.throughput(250)
    assert "m: 250 answered, 0 failed" in capfd.readouterr().out
    assert row["ideal"] == 2 * teaching.LATENCY and row["seconds"] >= row["ideal"]
    assert row["share"] == row["ideal"] / row["seconds"]
    assert 0 < row["mb_before"] <= row["mb_after"]


def test_a_replay_has_all_chains_and_pairs_without_its_server(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("EDITLIB_DATA_DIR", str(tmp_path))
    for folder in ("bbh", "codex_cot"):
        (tmp_path / folder).mkdir()
        with (tmp_path / folder / "sums.jsonl").open("w") as file:
            for n in range(20):
                row = {
                    "id": f"bbh/sums/{n}",
                    "task": "sums",
                    "input": f"{n} + 0?",
                    "target": f"{n}",
                }
                chain = f"None is added. So the answer is {min(n, 8)}."
                file.write(json.dumps(row | {"completion": chain}) + "\n")
    (row,) = teaching.replay(15)
    assert row["questions"] == row["pairs"] == 15 and row["seconds"] > 0
    asked = {"exemplars": 8, "CEP": 15, "AHP": 6, "CCP": 9, "second sample": 15 + 6}
    assert row["completions"] == sum(asked.values())
    assert capfd.readouterr().out.count(", 0 already answered, ") == 6  # none asked in the replay


def test_a_killed_run_loses_nothing_and_pays_twice_for_just_what_was_in_flight():
    (row,) = kills.killed(requests=400, kills=12)
    assert 0 < row["kills"] <= 12 and row["equal"] is True
    assert row["lost"] == row["asked_though_stored"] == 0
    assert 0 < row["paid_twice"] == row["caught"] <= row["kills"] * kills.FLIGHT


def test_the_parts_of_a_step_are_the_whole():
    table = pd.DataFrame(profile.shares())
    assert table.groupby("work")["share"].sum().between(0.999, 1.2).all()
    products = table[table["part"] == "matrix products"].set_index("work")["share"]
    assert products.between(0.1, 0.9).all() and len(products) == 3


def test_the_benchmark_for_gpus_runs_on_a_tiny_student_without_one(tmp_path, monkeypatch):
    arguments = ["bench", "--shape", "tiny", "--pairs", "1", "2", "4", "--results", str(tmp_path)]
    monkeypatch.setattr("sys.argv", arguments)
    monkeypatch.setattr(pairs, "published", lambda: [])
    monkeypatch.setattr(pairs, "of_puzzles", lambda _, make=pairs.of_puzzles: make(1)[:6])
    monkeypatch.setattr(steps, "PUBLISHED_LENGTH", 256)
    monkeypatch.setattr(gpu, "REPEATS", 1)
    gpu.main()
    table = pd.read_csv(tmp_path / "steps.csv")
    assert list(table["way"]) == list(reversed(steps.WAYS)) * 4
    assert list(table["pairs"]) == [1] * 3 + [2] * 3 + [4] * 3 + [2] * 3
    assert (table["seconds"] > 0).all() and (table["share_of_peak"] < 1).all()


def test_a_way_that_runs_out_of_memory_is_tried_with_checkpointing(rows, monkeypatch):
    model, step = steps.student(gpu.SHAPES["tiny"]), steps.step

    def narrow(model, *rest):
        if not model.get_base_model().is_activation_checkpointing:
            raise torch.cuda.OutOfMemoryError
        return step(model, *rest)

    monkeypatch.setattr(steps, "step", narrow)
    first, second = gpu.attempt(model, "krsl", "kit", [rows])
    assert not first["fits"] and "seconds" not in first
    assert second["fits"] and second["checkpointing"] and second["seconds"] > 0
    assert not model.get_base_model().is_activation_checkpointing


def test_the_page_shows_what_the_tables_hold(tmp_path):
    tables = {
        "times": pd.DataFrame({"seconds": [1.0]}),
        "ratios": pd.DataFrame({"benchmark": ["sum"], "ratio": [1234.5]}),
        "memory": pd.DataFrame({"way": ["kit"], "mb": [3.0]}),
        "scale": pd.DataFrame({"pairs": [1000], "seconds": [0.25]}),
        "profile": pd.DataFrame({"part": ["attention"], "share": [0.5]}),
        "teacher": pd.DataFrame({"requests": [4000], "share": [0.9]}),
        "kills": pd.DataFrame({"kills": [50], "lost": [0]}),
    }
    write(tmp_path, tables)  # no mirror, no replay
    page = (tmp_path / "README.md").read_text()
    for row in (
        "| sum | 1.23e+03 |",
        "| kit | 3 |",
        "| 1000 | 0.25 |",
        "| 4000 | 0.9 |",
        "| 50 | 0 |",
        '"cores"',
    ):
        assert row in page
    assert pd.read_csv(tmp_path / "ratios.csv")["ratio"].item() == 1234.5
