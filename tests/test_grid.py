"""Which cells there are, what they learn from, and that methods get equal numbers of updates."""

import math
import os
import re
import shutil
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM

from editlib import (
    bases,
    cores,
    dual,
    encoding,
    evaluation,
    exams,
    grid,
    methods,
    mistakes,
    paper,
    pipeline,
    profiles,
    prompts,
    students,
    training,
    views,
)
from editlib.errors import KitError
from editlib.methods import METHODS, Phase, asked, control, phases
from editlib.records import read_frame
from editlib.workspace import MissingInput, open_workspace

TWO_TASKS = set(views.SHARES)

PREFERENCES = [
    f"training.{section}={{lr: 1e-3, also_try: [], epochs: 1, batch: 16, accumulation: 1, "
    f"lr_decay: 1.0, {own}}}"
    for section, own in {
        "dpo": "beta: 0.1",
        "dpop": "beta: 0.1, penalty: 50.0",
        "simpo": "beta: 2.0, margin: 1.0",
    }.items()
]


@pytest.fixture(scope="module")
def ws(tmp_path_factory):
    """The teaching stages of the smoke profile; nothing is trained."""
    overrides = ["training.seeds=[0]", *PREFERENCES]
    ws = open_workspace("smoke", overrides, tmp_path_factory.mktemp("run"))
    pipeline.annotate(ws)
    pipeline.build_duals(ws)
    pipeline.locate(ws)
    return ws


def test_methods_that_begin_alike_share_their_first_cell():
    named = ["Std-CoT", "Std-CoT continued", "EDIT w/o KRSL", "EDIT w/o RWC", "EDIT"]
    found = grid.cells(dict.fromkeys(named, (0, 1)))
    first, second = found[:4], found[4:]
    assert [str(cell.path[0]) for cell in first] == ["SFT on D+"] * 2 + ["SFT on D+merge"] * 2
    assert len(second) == 6
    assert len({cell.name for cell in found}) == 10


def test_ablations_have_seeds_of_their_own():
    found = grid.cells({"Std-CoT": [0, 1, 2], "EDIT": [0, 1, 2], "EDIT, words": [0]})
    first, second = found[:6], found[6:]
    assert [cell.seed for cell in first] == [0, 1, 2] * 2
    assert [(str(cell.path[-1]), cell.seed) for cell in second][-2:] == [
        ("KRSL on Ddual", 2),
        ("KRSL on Ddual, key words", 0),
    ]


def test_what_reads_most_is_trained_first_but_after_the_phases_before_it(ws):
    """Of sets that hold one another, the larger one reads more."""
    found = grid.cells(dict.fromkeys(["Std-CoT", "EDIT w/o RWC", "EDIT"], (0, 1)))
    ordered = grid.longest_first(ws, found)
    assert {*ordered} == {*found} and len(ordered) == len(found)
    assert [(len(cell.path), cell.path[-1].data, cell.seed) for cell in ordered] == [
        *((1, data, seed) for data in ("D+merge", "D+") for seed in (0, 1)),
        *((2, data, seed) for data in ("Ddual", "D+dual") for seed in (0, 1)),
    ]


def test_a_phase_that_tries_two_rates_reads_twice_as_much(ws):
    path, other = phases("Std-CoT"), open_workspace("smoke", ["training.sft.also_try=[1e-5]"])
    other = replace(other, folder=ws.folder)
    assert grid._at_all_rates(other, path) == 2 * grid._at_all_rates(ws, path) > 0


@pytest.mark.parametrize("size", [3, grid.PROBE, 255, 616])
def test_the_probe_goes_through_all_pairs(size):
    """They lie task by task, so no task is left out that has its share of them."""
    places = [row["place"] for row in grid.sampled([{"place": place} for place in range(size)])]
    steps = [after - before for before, after in pairwise(places)]
    assert len(places) == min(size, grid.PROBE)
    assert places[0] == 0 and places[-1] == size - 1
    assert min(steps) >= 1 and max(steps) <= math.ceil(size / grid.PROBE)


def test_every_task_is_probed(ws, monkeypatch):
    rows, _ = grid.phase_rows(ws, "Ddual")
    task = {pair.id: pair.task for pair in pipeline.read_duals(ws)[1]}
    monkeypatch.setattr(grid, "PROBE", len(rows) * 2 // 3)
    assert {task[row["id"]] for row in grid.sampled(rows)} == {task[row["id"]] for row in rows}


@pytest.mark.parametrize("data", ["D+", "Ddual"])
def test_a_context_that_no_row_fits_is_named(ws, data, monkeypatch):
    monkeypatch.setattr(grid, "_fits", lambda row, max_length: False)
    with pytest.raises(
        KitError, match=rf"max_length \d+: none of the \d+ rows of {re.escape(data)}"
    ):
        grid.phase_rows(ws, data)


def test_no_two_methods_ask_the_students_of_one_phase_in_two_ways():
    """Else the epoch of a shared phase would be chosen by one method's exam for the other."""
    for method in METHODS.values():
        for n in range(1, len(method.phases) + 1):
            assert asked(method.phases[:n]) == method.asked


def test_sets_of_one_kind_have_equally_many_pairs_of_each_task(ws):
    pairs = {pair.id: pair for pair in pipeline.read_duals(ws)[1]}
    truths = pipeline.known_mistakes(ws, [pair.wrong_completion for pair in pairs.values()])
    tasks = []
    for kind in methods.MISTAKES:
        rows = grid.drawn(ws, phases(f"EDIT, {kind} alone")[-1])
        drawn = [pairs[row["id"]] for row in rows]
        assert {mistakes.kinds_of(truths[pair.wrong_completion]) for pair in drawn} == {kind}
        tasks.append(sorted((pair.task, pair.subset) for pair in drawn))
    assert tasks[0] == tasks[1] == tasks[2] and len(tasks[0]) < len(pairs)
    path = phases("EDIT, LE alone")
    assert grid.updates(ws, path) == -(-len(tasks[0]) // ws.profile.training.krsl.batch)


def test_a_set_of_pairs_changes_the_rows_that_it_names_and_no_other(ws):
    whole = {row["id"]: row for row in grid.drawn(ws, phases("EDIT")[-1])}
    half = grid.drawn(ws, phases("EDIT, half of the pairs")[-1])
    assert len(half) == round(len(whole) / 2)
    for row in half:
        assert all(list(row[name]) == list(whole[row["id"]][name]) for name in row)
    copied = grid.drawn(ws, phases("EDIT, answer-only pairs")[-1])
    assert [row["id"] for row in copied] == list(whole)
    assert all(row["correct"] == whole[row["id"]]["correct"] for row in copied)
    assert sum(sum(row["wrong_key"]) for row in copied) < len(copied) * 6  # the answer, no step
    assert sum(sum(row["wrong_key"]) for row in whole.values()) > len(copied) * 6


def test_each_view_of_the_data_holds_its_rows(ws):
    cots, duals = pipeline.read_duals(ws)
    used = {phase.data for method in METHODS for phase in phases(method)}
    sizes = {data: len(grid.phase_rows(ws, data)[0]) for data in used}
    assert sizes["D+"] == len(dual.with_role(cots, "correct"))
    assert sizes["D+merge"] == sizes["D+"] + len(dual.with_role(cots, "rectified"))
    assert sizes["D+dual"] == sum(d.subset == "D+dual" for d in duals)
    assert sizes["D-dual"] == sum(d.subset == "D-dual" for d in duals)
    assert sizes["Ddual"] == len(duals) > sizes["D+dual"] > 0
    assert sizes["both sides of Ddual"] == 2 * sizes["Ddual"]
    again = dual.merge(pipeline.read_resampled(ws))
    assert sizes["D+merge sampled twice"] == sizes["D+merge"] + len(again)
    for data in TWO_TASKS:
        assert sizes[data] == sizes["D+"]  # both tasks of a question are one row


def test_the_second_sample_answers_the_same_prompts_in_other_words(ws):
    questions, first = pipeline.read_annotation(ws)
    again = pipeline.read_resampled(ws)
    asked_again = [cot for cot in again if cot.role in dual.ASKED["CEP"]]
    assert [cot.question_id for cot in asked_again] == [question.id for question in questions]
    assert any(a.text != b.text for a, b in zip(first, asked_again, strict=True))
    with pipeline.completion_store(ws) as store:
        one, two = (
            store.get([cot.completion for cot in cots]).values() for cots in (first, asked_again)
        )
    assert {row.prompt for row in one} == {row.prompt for row in two}
    assert {row.sample for row in one} == {0} and {row.sample for row in two} == {1}


def test_recorded_completions_hold_no_second_sample(tmp_path):
    with pytest.raises(KitError, match="recorded completions hold one sample of a prompt"):
        pipeline.resample(open_workspace("recorded", results=tmp_path))


def test_key_marks_travel_with_the_ids_they_were_computed_on(ws):
    for row in grid.phase_rows(ws, "Ddual")[0]:
        assert len(row["correct"]) == len(row["correct_key"])
        assert len(row["wrong"]) == len(row["wrong_key"])
        changed = [t for t, key in zip(row["correct"], row["correct_key"], strict=True) if not key]
        kept = [t for t, key in zip(row["wrong"], row["wrong_key"], strict=True) if not key]
        assert changed == kept  # what is left of both sides is the same


def test_rows_that_would_lose_their_answer_are_dropped_and_counted(ws, tmp_path):
    rows, dropped = grid.phase_rows(ws, "D+")
    limit = sorted(len(row["prompt"]) + len(row["response"]) for row in rows)[len(rows) // 2]
    student = ws.profile.student.model_copy(update={"max_length": limit})
    short = grid.Workspace(ws.name, ws.profile.model_copy(update={"student": student}), ws.folder)
    kept, lost = grid.phase_rows(short, "D+")
    assert dropped == 0 and lost > 0 and len(kept) + lost == len(rows)


def total_updates(ws, method):
    path = phases(method)
    return sum(grid.updates(ws, path[:n]) for n in range(1, len(path) + 1))


def test_the_control_makes_as_many_updates_as_edit(ws):
    assert total_updates(ws, "Std-CoT continued") == total_updates(ws, "EDIT")
    assert total_updates(ws, "Std-CoT") < total_updates(ws, "EDIT")


@pytest.mark.parametrize(
    "method", {control(name): name for name in METHODS if control(name)}.values()
)
def test_a_control_makes_as_many_updates_as_its_method(ws, method):
    assert total_updates(ws, control(method)) == total_updates(ws, method)


def test_a_control_that_would_make_no_update_is_refused(ws):
    short = Phase("sft", "D+", as_long_as="Std-CoT")
    with pytest.raises(KitError, match="Std-CoT makes no more updates than the phases before"):
        grid.schedule(ws, [short, short])


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("EDIT", {}),
        ("EDIT, only correct steps", {"beta": 0}),
        ("EDIT, alpha 0, beta 0.25", {"alpha": 0, "beta": 0.25}),
        ("EDIT, per key token", {"per": "key"}),
    ],
)
def test_a_variation_differs_from_the_profile_in_what_it_names(ws, method, changes):
    settings, _ = grid.schedule(ws, phases(method))
    assert settings == ws.profile.training.krsl.model_copy(update=changes)


def test_the_marks_of_a_locator_are_put_on_the_same_rows(ws):
    own = grid.rows_of(ws, phases("EDIT")[-1])
    everything = grid.rows_of(ws, phases("EDIT, all tokens")[-1])
    mistaken = grid.rows_of(ws, phases("EDIT, known mistake")[-1])
    for row, other, known in zip(own, everything, mistaken, strict=True):
        assert row["id"] == other["id"] and row["wrong"] == other["wrong"]
        assert all(other["wrong_key"]) and not all(row["wrong_key"])
        assert 0 < sum(known["wrong_key"]) < len(known["wrong"])


TRAINED = [
    "EDIT, KRSL on D-dual",
    "EDIT, only wrong steps",
    "EDIT, words",
    "EDIT, random tokens",
    "EDIT, highest loss",
    "EDIT, known mistake",
    "EDIT, answer-only pairs",
    "DPO",
    "DPO-Positive",
    "SimPO",
    "EDIT w/o KRSL as long as DPO",
]


def test_one_student_of_each_kind_is_trained_and_its_log_kept(ws):
    """Each differs from the student that it starts from, and from all others."""
    first, *second = grid.cells(dict.fromkeys(TRAINED, (0,)))
    for cell in (first, *second):
        grid.train_cell(ws, cell)
    weights = [grid.student_fingerprint(ws, cell.path, 0) for cell in (first, *second)]
    assert len(set(weights)) == len(weights) == 1 + len(TRAINED)
    for method, cell in zip(TRAINED, second, strict=True):
        assert cell.path == phases(method)
        logged = grid._history(ws, cell).dropna(axis=1, how="all").columns
        objective = cell.path[-1].objective
        parts = {"sft": "nll", "krsl": "wrong_key"}.get(objective, "wrong_logp")
        assert {"loss", "eval_accuracy", "kept", parts} <= set(logged)
        assert grid._probes(ws, cell).notna().all(axis=None)


def test_the_reference_of_a_preference_is_the_student_of_the_cell_before(ws):
    cell = grid.Cell(phases("DPO"), 0)
    grid.train_cell(ws, grid.Cell(cell.path[:1], 0))
    rows = grid.rows_of(ws, cell.path[-1])[:4]
    readied = grid.readied(ws, cell, ws.profile.training.dpo, rows)
    before = students.load(ws.profile.student, grid.student_folder(ws, cell.path[:1], 0))
    likely = [own["wrong"].sum() for own in training.pair_logp(before, rows, 4)]
    reference = [row["wrong_reference"] for row in readied]
    assert reference == pytest.approx(likely, abs=2e-3)
    untrained = [own["wrong"].sum() for own in training.pair_logp(_fresh(ws), rows, 4)]
    assert reference != pytest.approx(untrained, abs=2e-3)


@pytest.mark.parametrize("method", [m for m in METHODS if phases(m)[0].objective == "sft"])
def test_every_method_searches_the_same_rates_for_as_many_epochs(ws, method):
    """Its first phase takes training.sft as it is; a method of two tasks makes no more updates."""
    tried = ws.profile.model_copy(
        update={
            "training": ws.profile.training.model_copy(
                update={"sft": ws.profile.training.sft.model_copy(update={"also_try": [1e-2]})}
            )
        }
    )
    first = phases(method)[:1]
    settings, limit = grid.schedule(grid.Workspace(ws.name, tried, ws.folder), first)
    as_given = settings.model_copy(update={"mutual": 0.0})  # which is SBS-MI
    assert (as_given, limit) == (tried.training.sft, None)
    if first[0].data in TWO_TASKS:
        assert grid.updates(ws, first) == grid.updates(ws, phases("Std-CoT"))


def test_a_phase_may_have_a_rate_of_its_own_and_goes_on_at_it(tmp_path):
    name = "SFT on D+ as CoT and answer"
    ws = open_workspace("smoke", [f'training.lr_of={{"{name}": 3.0e-3}}'], tmp_path)
    training = ws.profile.training
    (own,), (other,) = phases("MT-CoT"), phases("Std-CoT")
    assert training.of(own) == training.sft.model_copy(update={"lr": 3e-3})
    assert training.of(replace(own, as_long_as="EDIT")).lr == 3e-3
    assert training.of(other) == training.sft


def test_a_rate_of_a_phase_that_there_is_not_is_refused():
    with pytest.raises(KitError, match="unknown phase 'SFT on D'"):
        profiles.load("smoke", ['training.lr_of={"SFT on D": 1e-3}'])


BASELINES = [
    "MT-CoT",
    "SCOTT",
    "SBS",
    "SBS-MI",
    "CasCoD",
    "Std-CoT, repeat sampling",
    "Std-CoT, dual CoTs",
]


@pytest.mark.parametrize("method", BASELINES)
def test_each_baseline_is_trained_and_examined(ws, method):
    cell = grid.Cell(phases(method), 0)
    grid.train_cell(ws, cell)
    folder = grid.student_folder(ws, cell.path, 0)
    trained = students.load(ws.profile.student, folder, trainable=True)
    assert any("lora_B" in name and p.any() for name, p in trained.named_parameters())
    assert not any("lora_B" in name and p.any() for name, p in _fresh(ws).named_parameters())
    losses = grid._history(ws, cell)["loss"].dropna()
    assert len(losses) and losses.map(math.isfinite).all()
    predictions = read_frame(exams._examine(ws, (method, 0)) / "predictions.parquet")
    asked_of = [q.id for name in pipeline.EVALUATED for q in pipeline.split(ws, name)]
    assert predictions["question_id"].tolist() == asked_of
    concluded = predictions["text"].str.contains("Therefore, the answer is")
    assert concluded.all() == (METHODS[method].asked in ("answer", "two steps"))


def test_validation_asks_as_the_exam_does(ws, monkeypatch):
    seen = []
    ask = evaluation.ask
    monkeypatch.setattr(
        evaluation, "ask", lambda q, asked, *w: seen.append(asked) or ask(q, asked, *w)
    )
    grid.Exam(ws, "validation", asked(phases("SBS")))(_fresh(ws))
    assert seen == ["answer"]


def _fresh(ws):
    return students.fresh(ws.profile.student, 0)


@pytest.mark.parametrize("style", prompts.STYLES)
def test_the_untrained_student_is_asked_by_the_prompts_of_table_1(ws, monkeypatch, style):
    method = f"student, {style}"
    assert method in set(paper.TABLE_1["method"])
    predictions = read_frame(exams._examine(ws, (method, 0)) / "predictions.parquet")
    assert set(predictions["method"]) == {method} and predictions["text"].ne("").all()
    asked_by = exams.fitted_prompts(ws, style, pipeline.split(ws, "families"))
    assert asked_by["shown"].max() <= (3 if style.startswith("few") else 0)
    asking = ws.profile.exam.model_copy(update={"untrained": [style]})
    asking = grid.Workspace(ws.name, ws.profile.model_copy(update={"exam": asking}), ws.folder)
    monkeypatch.setattr(grid.Workspace, "need", lambda ws, stage: None)  # not all are examined here
    told = exams.shown_exemplars(asking).set_index("split")
    assert list(told.index) == (list(pipeline.EVALUATED) if style.startswith("few") else [])
    if len(told):
        assert told.loc["families", "exemplars"] == asked_by["shown"].mean()
        assert told.loc["families", "without_any"] == asked_by["shown"].eq(0).mean()
    tokenizer = bases.load_tokenizer(ws.profile.student)
    room = bases.context(ws.profile.student) - ws.profile.decoding.max_new_tokens
    lengths = [len(ids) for ids in encoding.prompt_ids(tokenizer, asked_by["prompt"])]
    assert max(lengths) <= room


def test_test_questions_are_followed_by_the_phases_of_main_methods():
    ws = SimpleNamespace(profile=profiles.load("full"))
    followed = [c.path for c in grid.cells(ws.profile.training.students) if grid._follows(ws, c)]
    assert {*followed} == {phases(method) for method in ws.profile.training.methods}
    off = SimpleNamespace(profile=profiles.load("full", ["training.follow_test=false"]))
    assert not grid._follows(off, grid.Cell(phases("EDIT"), 0))


@pytest.mark.parametrize(("asked", "seeds"), [(None, [0, 1, 2]), ([1], [1])])
def test_those_seeds_vote_that_are_asked(monkeypatch, tmp_path, asked, seeds):
    exam = profiles.load("mini").exam.model_copy(
        update={"self_consistency": ["EDIT", "Std-CoT"], "seeds": asked}
    )
    ws = SimpleNamespace(profile=profiles.load("mini").model_copy(update={"exam": exam}))
    drawn = []
    monkeypatch.setattr(exams.cores, "run_all", lambda _, voters, desc: drawn.extend(voters) or [])
    exams._agree(ws, tmp_path)
    assert drawn == [(method, seed) for method in ("EDIT", "Std-CoT") for seed in seeds]


def test_samples_of_students_are_counted(ws):
    few = ws.profile.exam.model_copy(update={"self_consistency": ["Std-CoT"], "samples": 3})
    voting = grid.Workspace(ws.name, ws.profile.model_copy(update={"exam": few}), ws.folder)
    grid.train_cell(ws, grid.Cell(phases("Std-CoT"), 0))
    votes = read_frame(exams._sample(voting, ("Std-CoT", 0)) / "votes.parquet")
    assert votes["samples"].eq(3).all() and votes["agreement"].between(0, 1).all()
    assert len(votes) == sum(len(pipeline.split(ws, name)) for name in pipeline.EVALUATED)


WHOLE = [
    "student.lora=null",
    "training.seeds=[0]",
    "training.methods=[Std-CoT, EDIT]",
    "training.sft.epochs=2",
    "benchmark.questions={train: 3, validation: 1, test: 1, longer: 1, families: 1}",
    *PREFERENCES,
]


def taught(folder):
    """The teaching stages for students without LoRA, all of whose weights are trained."""
    ws = open_workspace("smoke", WHOLE, folder)
    pipeline.annotate(ws), pipeline.build_duals(ws), pipeline.locate(ws)
    return ws


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    ws = taught(tmp_path_factory.mktemp("whole"))
    for cell in grid.cells(ws.profile.training.students):
        grid.train_cell(ws, cell)
    return ws


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_student_trains_in_what_it_computes_in(tmp_path, monkeypatch, dtype):
    class Told(Exception):
        pass

    def fit(*_, bf16, **__):
        raise Told(bf16)

    monkeypatch.setattr(students, "dtype", lambda _: dtype)
    monkeypatch.setattr(training, "fit", fit)
    ws = taught(tmp_path)
    with pytest.raises(Told, match=str(dtype == torch.bfloat16)):
        grid.train_cell(ws, grid.cells({"Std-CoT": [0]})[0])


def weights(model):
    return {name: weight.detach() for name, weight in model.named_parameters()}


def left_by(ws, path):
    """The weights of the student that a path of phases left."""
    return weights(students.load(ws.profile.student, grid.student_folder(ws, path, 0)))


def test_without_lora_every_phase_moves_all_weights_of_the_student_before_it(whole):
    """Nor does it move the base, which every first phase starts from."""
    first, edit = phases("EDIT")[:1], phases("EDIT")
    steps = [weights(_fresh(whole)), left_by(whole, first), left_by(whole, edit)]
    for before, after in pairwise(steps):
        assert before.keys() == after.keys()
        assert not any(torch.equal(before[name], after[name]) for name in before)
    begun = weights(grid._student(whole, grid.Cell(edit, 0)))
    assert all(torch.equal(begun[name], weight) for name, weight in steps[1].items())
    base = weights(students.load_base(whole.profile.student))
    assert all(torch.equal(base[name], weight) for name, weight in steps[0].items())


def test_a_student_without_lora_is_a_model_as_transformers_reads_it(whole):
    folder = grid.student_folder(whole, phases("EDIT"), 0)
    assert folder.name == "model" and not list(folder.glob("adapter*"))
    read = weights(AutoModelForCausalLM.from_pretrained(folder))
    ours = left_by(whole, phases("EDIT"))
    assert read.keys() == ours.keys() and all(torch.equal(read[name], ours[name]) for name in ours)
    seen = weights(exams._seated(whole, "EDIT", 0)[0])
    assert all(torch.equal(seen[name], ours[name]) for name in ours)
    predictions = read_frame(exams._examine(whole, ("EDIT", 0)) / "predictions.parquet")
    assert len(predictions) == sum(len(pipeline.split(whole, n)) for n in pipeline.EVALUATED)


def test_without_lora_the_reference_of_a_preference_is_the_student_before(whole):
    cell = grid.Cell(phases("DPO"), 0)
    rows = grid.rows_of(whole, cell.path[-1])[:4]
    before = students.load(
        whole.profile.student, grid.student_folder(whole, cell.path[:1], 0), trainable=True
    )
    likely, untrained = (
        [own["wrong"].sum() for own in training.pair_logp(model, rows, 4)]
        for model in (before, _fresh(whole))
    )
    readied = grid.readied(whole, cell, whole.profile.training.dpo, rows)
    reference = [row["wrong_reference"] for row in readied]
    assert reference == pytest.approx(likely, abs=2e-3)
    assert reference != pytest.approx(untrained, abs=2e-3)


def test_without_lora_a_killed_cell_goes_on_from_its_checkpoint(whole, tmp_path, monkeypatch):
    ws, cell, scored = taught(tmp_path), grid.Cell(phases("Std-CoT"), 0), []
    score = grid.Exam.__call__

    def killed_once(*given):
        scored.append(score(*given))
        if len(scored) == 2:
            raise KeyboardInterrupt
        return scored[-1]

    monkeypatch.setattr(grid.Exam, "__call__", killed_once)
    with pytest.raises(KeyboardInterrupt):
        grid.train_cell(ws, cell)
    grid.train_cell(ws, cell)
    assert len(scored) == 3  # the first epoch was not trained again
    made, undisturbed = (grid.student_fingerprint(each, cell.path, 0) for each in (ws, whole))
    assert made == undisturbed


def log(method, seed, lr, kept, accuracies):
    """Epochs of a method's last phase: (validation, test) after each."""
    names = grid.phase_names(phases(method))
    return [
        {"phases": names, "seed": seed, "lr": lr, "kept": kept, "epoch": float(epoch)}
        | {"eval_accuracy": validation, "eval_test_accuracy": test}
        for epoch, (validation, test) in enumerate(accuracies, start=1)
    ]


def test_each_rule_reports_its_own_epoch_of_the_same_training():
    rows = log("Std-CoT", 0, 1e-3, True, [(0.5, 0.3), (0.7, 0.4), (0.7, 0.9), (0.6, 0.5)])
    rows += log("Std-CoT", 0, 1e-2, False, [(0.1, 1.0)])  # another rate, which was not kept
    rows.insert(2, {**rows[0], "epoch": 1.5, "eval_accuracy": None, "eval_test_accuracy": None})
    table = grid.reported(pd.DataFrame(rows), ["Std-CoT"])
    assert table.to_numpy().tolist() == [
        ["Std-CoT", 0, "validation", 2.0, 0.4],  # the first of equals
        ["Std-CoT", 0, "last", 4.0, 0.5],
        ["Std-CoT", 0, "paper", 3.0, 0.9],
    ]
    unfollowed = pd.DataFrame(rows).assign(eval_test_accuracy=None)
    with pytest.raises(KitError, match="was not followed: set training"):
        grid.reported(unfollowed, ["Std-CoT"])


def test_choices_name_rate_and_epoch_of_every_phase():
    rows = log("EDIT w/o KRSL", 1, 1e-3, True, [(0.5, None), (0.4, None)])
    rows += log("EDIT w/o KRSL", 1, 1e-2, False, [(0.4, None), (0.3, None)])
    rows += log("EDIT", 1, 1e-4, True, [(0.6, None), (0.8, None)])
    table = grid.choices(pd.DataFrame(rows), ["EDIT w/o KRSL", "EDIT"])
    assert table.to_numpy().tolist() == [
        ["EDIT w/o KRSL", 1, 1, "SFT on D+merge", 1e-3, 1.0, 0.5],
        ["EDIT", 1, 1, "SFT on D+merge", 1e-3, 1.0, 0.5],
        ["EDIT", 1, 2, "KRSL on Ddual", 1e-4, 2.0, 0.8],
    ]


def test_the_plan_says_what_each_phase_makes(ws):
    plan = read_frame(grid.plan(ws) / "plan.parquet")
    for method, own in plan.groupby("method"):
        path = phases(method)
        assert own["what"].tolist() == list(map(str, path))
        assert own["updates"].tolist() == [grid.updates(ws, path[:n]) for n in own["phase"]]
        assert own["rows"].tolist() == [len(grid.drawn(ws, phase)) for phase in path]
    assert set(plan["method"]) == {*ws.profile.training.students}


def test_validated_epochs_are_named_by_method_and_the_first_of_the_best_is_chosen():
    log = {"phases": "SFT on D+", "lr": 1e-3, "epoch": [0.5, 1.0, 2.0, 3.0], "loss": 1.0}
    history = pd.DataFrame(log | {"eval_accuracy": [np.nan, 0.2, 0.4, 0.4]})
    both = pd.concat([history.assign(seed=seed) for seed in (0, 1)])
    found = grid.validated(both)
    assert set(found["method"]) == {"Std-CoT"} and len(found) == 6
    assert found.loc[found["chosen"], ["seed", "epoch"]].values.tolist() == [[0, 2], [1, 2]]


def test_a_student_that_was_not_trained_is_named(ws):
    with pytest.raises(MissingInput, match=r"Delete .*training and run notebook 04_edit"):
        grid.student_folder(ws, phases("EDIT"), 0)


def test_recorded_completions_give_pairs_and_key_words(tmp_path):
    if not os.environ.get("EDITLIB_DATA_DIR"):
        pytest.skip("EDITLIB_DATA_DIR is not set: no recorded completions here")
    ws = open_workspace("recorded", results=tmp_path)
    pipeline.annotate(ws)
    pipeline.build_duals(ws)
    pipeline.locate(ws)
    frame = pipeline.read_keysteps(ws)
    assert len(frame) == 54
    assert frame["correct_key"].map(any).all()


def test_a_second_phase_makes_its_first_where_that_is_missing(ws, tmp_path):
    alone = replace(ws, folder=tmp_path / "smoke")
    shutil.copytree(ws.artifacts, alone.artifacts, ignore=shutil.ignore_patterns("students"))
    path = phases("EDIT")
    grid.train_cell(alone, grid.Cell(path, 5))
    made = [grid.student_fingerprint(alone, path[:n], 5) for n in (1, 2)]
    assert None not in made and made[0] != made[1]


def test_another_seed_makes_another_student(ws):
    """Also where two seeds are trained side by side, from the same phase and the same rows."""
    path = phases("Std-CoT")
    cores.run_all(
        grid.partial(grid.train_cell, ws), [grid.Cell(path, 0), grid.Cell(path, 1)], "two"
    )
    assert grid.student_fingerprint(ws, path, 0) != grid.student_fingerprint(ws, path, 1)


def test_the_rate_that_validates_best_is_kept_and_all_are_recorded(ws, tmp_path, monkeypatch):
    tried = open_workspace("smoke", ["training.sft.also_try=[1e-2, 1e-4]"], tmp_path)
    pipeline.annotate(tried), pipeline.build_duals(tried), pipeline.locate(tried)
    scores = iter([0.2, 0.7, 0.7])  # one epoch a rate: of equals the first
    monkeypatch.setattr(grid.Exam, "__call__", lambda *_: next(scores))
    cell = grid.Cell(phases("Std-CoT"), 0)
    grid.train_cell(tried, cell)
    history = grid._history(tried, cell).dropna(subset="eval_accuracy")
    assert history["lr"].tolist() == [1e-3, 1e-2, 1e-4]
    assert history["kept"].tolist() == [False, True, False]
    alone = open_workspace("smoke", ["training.sft.lr=1e-2"], tmp_path / "alone")
    pipeline.annotate(alone), pipeline.build_duals(alone), pipeline.locate(alone)
    monkeypatch.setattr(grid.Exam, "__call__", lambda *_: 0.5)
    grid.train_cell(alone, cell)
    weights = [grid.student_fingerprint(each, cell.path, 0) for each in (tried, alone)]
    assert weights[0] == weights[1]  # what was tried before leaves no trace in the student


@pytest.mark.parametrize(("rule", "seen"), [("validation", "validation"), ("paper", "test")])
def test_a_checkpoint_rule_asks_the_questions_that_it_names(tmp_path, monkeypatch, rule, seen):
    tried = open_workspace("smoke", [f"training.checkpoint={rule}"], tmp_path)
    pipeline.annotate(tried), pipeline.build_duals(tried), pipeline.locate(tried)
    asked_for = []
    monkeypatch.setattr(grid.Exam, "__call__", lambda e, _: asked_for.append(e.split) or 0.5)
    grid.train_cell(tried, grid.Cell(phases("Std-CoT"), 0))
    assert set(asked_for) == {seen}


def test_rates_can_only_be_compared_by_a_rule_that_asks():
    with pytest.raises(KitError, match="also_try needs checkpoint validation or paper, found last"):
        profiles.load("mini", ["training.krsl.also_try=[1e-4]", "training.checkpoint=last"])


def test_rates_are_ranked_by_their_best_epoch_over_phases_and_seeds():
    rows = [
        ("Std-CoT", 0, 1e-3, 1.0, 0.2),
        ("Std-CoT", 0, 1e-3, 2.0, 0.4),
        ("EDIT w/o KRSL", 0, 1e-3, 1.0, 0.6),
        ("Std-CoT", 0, 1e-2, 1.0, 0.1),
        ("EDIT", 0, 1e-4, 1.0, 0.7),
        ("Std-CoT continued", 0, 9e-4, 1.0, 0.9),
    ]
    epochs = pd.DataFrame(rows, columns=["method", "seed", "lr", "epoch", "accuracy"])
    assert grid.rates(epochs).to_numpy().tolist() == [
        ["krsl", 1e-4, 1, 0.7],
        ["sft", 1e-3, 2, 0.5],
        ["sft", 1e-2, 1, 0.1],
    ]
    assert grid.rates(epochs, ["objective", "phase"]).to_numpy().tolist() == [
        ["krsl", "KRSL on Ddual", 1e-4, 1, 0.7],
        ["sft", "SFT on D+", 1e-3, 1, 0.4],
        ["sft", "SFT on D+", 1e-2, 1, 0.1],
        ["sft", "SFT on D+merge", 1e-3, 1, 0.6],
    ]
