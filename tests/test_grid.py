"""Which cells there are, what they learn from, and that methods get equal numbers of updates."""

import os

import pandas as pd
import pytest

from editlib import dual, grid, pipeline, profiles
from editlib.errors import KitError
from editlib.methods import METHODS, asked, phases
from editlib.workspace import MissingInput, open_workspace


@pytest.fixture(scope="module")
def ws(tmp_path_factory):
    """The teaching stages of the smoke profile; nothing is trained."""
    ws = open_workspace("smoke", ["training.seeds=[0]"], tmp_path_factory.mktemp("run"))
    pipeline.annotate(ws)
    pipeline.build_duals(ws)
    pipeline.locate(ws)
    return ws


def test_methods_that_begin_alike_share_their_first_cell():
    named = ["Std-CoT", "Std-CoT continued", "EDIT w/o KRSL", "EDIT w/o RWC", "EDIT"]
    first, second = grid.cells(named, [0, 1])
    assert [str(cell.path[0]) for cell in first] == ["SFT on D+"] * 2 + ["SFT on D+merge"] * 2
    assert len(second) == 6
    assert len({cell.name for cell in first + second}) == 10


def test_no_two_methods_ask_the_students_of_one_phase_in_two_ways():
    """Else the epoch of a shared phase would be chosen by one method's exam for the other."""
    for method in METHODS.values():
        for n in range(1, len(method.phases) + 1):
            assert asked(method.phases[:n]) == method.asked


def test_each_view_of_the_data_holds_its_rows(ws):
    cots, duals = pipeline.read_duals(ws)
    sizes = {
        data: len(grid.phase_rows(ws, data)[0]) for data in ("D+", "D+merge", "D+dual", "Ddual")
    }
    assert sizes["D+"] == len(dual.with_role(cots, "correct"))
    assert sizes["D+merge"] == sizes["D+"] + len(dual.with_role(cots, "rectified"))
    assert sizes["D+dual"] == sum(d.subset == "D+dual" for d in duals)
    assert sizes["Ddual"] == len(duals) > sizes["D+dual"] > 0


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


def test_a_student_that_was_not_trained_is_named(ws):
    with pytest.raises(MissingInput, match="Run notebook 04_edit_training"):
        grid.adapter(ws, phases("EDIT"), 0)


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


def test_another_seed_makes_another_student(ws):
    """Also where two seeds are trained side by side, from the same phase and the same rows."""
    path = phases("Std-CoT")
    grid.run_all(grid.partial(grid.train_cell, ws), [grid.Cell(path, 0), grid.Cell(path, 1)], "two")
    assert grid.adapter_fingerprint(ws, path, 0) != grid.adapter_fingerprint(ws, path, 1)


def test_the_rate_that_validates_best_is_kept_and_all_are_recorded(ws, tmp_path, monkeypatch):
    tried = open_workspace("smoke", ["training.sft.also_try=[1e-2, 1e-4]"], tmp_path)
    pipeline.annotate(tried), pipeline.build_duals(tried), pipeline.locate(tried)
    scores = iter([0.2, 0.7, 0.7])  # one epoch a rate: of equals the first
    monkeypatch.setattr(grid, "validation_accuracy", lambda *_: next(scores))
    cell = grid.Cell(phases("Std-CoT"), 0)
    grid.train_cell(tried, cell)
    history = grid._history(tried, cell).dropna(subset="eval_accuracy")
    assert history["lr"].tolist() == [1e-3, 1e-2, 1e-4]
    assert history["kept"].tolist() == [False, True, False]
    alone = open_workspace("smoke", ["training.sft.lr=1e-2"], tmp_path / "alone")
    pipeline.annotate(alone), pipeline.build_duals(alone), pipeline.locate(alone)
    monkeypatch.setattr(grid, "validation_accuracy", lambda *_: 0.5)
    grid.train_cell(alone, cell)
    weights = [grid.adapter_fingerprint(each, cell.path, 0) for each in (tried, alone)]
    assert weights[0] == weights[1]  # what was tried before leaves no trace in the student


def test_rates_can_only_be_compared_on_validation_questions():
    with pytest.raises(KitError, match="also_try needs checkpoint validation, found last"):
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
    table = grid.rates(pd.DataFrame(rows, columns=["method", "seed", "lr", "epoch", "accuracy"]))
    assert table.to_numpy().tolist() == [
        ["krsl", 1e-4, 1, 0.7],
        ["sft", 1e-3, 2, 0.5],
        ["sft", 1e-2, 1, 0.1],
    ]
