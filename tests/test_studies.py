"""Studies end to end on a few questions, and the arithmetic of their tables."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from editlib import base_student, dual, grid, pipeline, profiles, statistics, studies
from editlib.base_student import Recipe, Stage
from editlib.errors import KitError
from editlib.workspace import Workspace, open_workspace
from tests.test_contests import answers

SMALL = Recipe(
    vocabulary=800,
    width=16,
    layers=1,
    heads=2,
    echoes=Stage(8, (), 2, context=96, batch=4, lr=1e-3),
    stages=(Stage(200, (1, 2), 0, None, 20, lr=1e-3),),
)
FEW = (
    "training.seeds=[0]",
    "benchmark.questions={train: 3, validation: 1, test: 1, longer: 1, families: 1}",
    "student.max_length=512",
    "decoding.max_new_tokens=4",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two variations of two studies: double the errors, and a base student of another size."""
    opened = studies.open_studies("smoke", FEW, tmp_path_factory.mktemp("results"))
    everything = studies.variations(opened.root.profile, [SMALL])
    chosen = [each for each in everything if each.value == "double" or each.base]
    said = studies.cost(opened, chosen)
    studies.run(opened, chosen, everything)
    return opened, everything, chosen, said


def test_the_variations_of_mini_are_three_values_of_three_settings():
    mini = profiles.load("mini")
    everything = studies.variations(mini)
    values = pd.DataFrame([(each.study, each.value) for each in everything])
    assert values.groupby(0, sort=False)[1].agg(list).to_dict() == {
        "teacher errors": ["half", "as is", "double"],
        "teacher paraphrase": ["0", "0.15", "0.5"],
        "student size": ["64 x 2", "96 x 3", "128 x 4"],
    }
    assert [each.name for each in everything].count(studies.AS_IS) == 2
    assert len({each.name for each in everything}) == 8


def test_students_of_every_size_try_the_same_rates(tmp_path):
    opened = studies.open_studies("mini", (), tmp_path)
    own = opened.root.profile.training
    everything = studies.variations(opened.root.profile)
    for each in everything:
        training = opened.workspace(each).profile.training
        tried = {name: getattr(training, name).also_try for name in ("sft", "krsl")}
        if each.study == studies.SIZE:
            assert tried["sft"] == pytest.approx([own.sft.lr / 2, own.sft.lr * 2])
            assert tried["krsl"] == pytest.approx([own.krsl.lr / 3, own.krsl.lr * 3])
        else:
            assert tried == {"sft": [], "krsl": []}
    sizes = [each for each in everything if each.study == studies.SIZE]
    assert all(each.setting.endswith("; rates chosen by validation") for each in sizes)
    assert studies.cost(opened, sizes).startswith(
        "3 of 3 variations to run, 2 base students to train first: about 116 min"
    )


def test_without_validation_every_size_learns_at_the_rates_of_the_profile(tmp_path):
    opened = studies.open_studies("mini", ["training.checkpoint=last"], tmp_path)
    sizes = studies.variations(opened.root.profile)[-3:]
    assert sizes[-1].name == studies.AS_IS
    for each in sizes:
        assert each.setting.endswith("; rates of the profile")
        assert opened.workspace(each).profile.training.sft.also_try == []


def test_a_variation_changes_its_setting_and_nothing_else(tmp_path):
    opened = studies.open_studies("mini", (), tmp_path)
    everything = {each.name: each for each in studies.variations(opened.root.profile)}
    own = opened.workspace(everything[studies.AS_IS]).profile.model_dump()
    changed = {
        "teacher errors, double": ("teacher", "error_rates"),
        "teacher paraphrase, 0.5": ("teacher", "paraphrase"),
        "student size, 64 x 2": ("student", "base"),
    }
    for name, (section, setting) in changed.items():
        other = opened.workspace(everything[name]).profile.model_dump()
        for phase in ("sft", "krsl") if section == "student" else ():  # rates, as of every size
            other["training"][phase]["also_try"] = []
        assert other[section].pop(setting) != own[section][setting]
        assert other[section] == {k: v for k, v in own[section].items() if k != setting}
        assert {k: v for k, v in other.items() if k != section} == {
            k: v for k, v in own.items() if k != section
        }
    rates = opened.workspace(everything["teacher errors, double"]).profile.teacher.error_rates
    assert rates.logical == 2 * opened.root.profile.teacher.error_rates.logical


def test_only_a_puzzle_teacher_can_be_varied():
    with pytest.raises(KitError, match=r"found teacher\.kind recorded"):
        studies.variations(profiles.load("recorded"))


def test_each_variation_has_its_rows_and_those_not_run_have_none(run):
    opened, _, _, _ = run
    beside = replace(opened.root, folder=opened.root.folder.parent / "smoke")
    table = studies.saved(beside)["studies"]
    found = set(zip(table["study"], table["value"], strict=True))
    assert found == {("teacher errors", "double"), ("student size", "16 x 1")}
    methods = {*studies.OTHERS, studies.EDIT, grid.UNTRAINED}
    assert set(table["method"]) == methods and set(table["split"]) == set(pipeline.EVALUATED)
    assert len(table) == 2 * len(methods) * len(pipeline.EVALUATED)
    assert (table["n"] > 0).all() and table["accuracy"].between(0, 1).all()
    summary = studies.saved(beside)["studies_summary"]
    assert len(summary) == 2 * len(methods) * 2 and summary["n"].gt(0).all()
    assert list(table)[:6] == ["study", "value", "setting", "method", "seed", "split"]


def test_tables_are_of_the_settings_and_the_base_student_of_now(run, monkeypatch):
    opened, _, chosen, _ = run
    beside = replace(opened.root, folder=opened.root.folder.parent / "smoke")
    assert set(studies.saved(beside)) > {"studies", "studies_summary"}
    assert studies.origin(beside).startswith("These are studies of profile smoke, made at commit ")
    varied = opened.workspace(chosen[0]).profile  # has the methods of the studies alone
    fewer = varied.model_copy(update={"teacher": beside.profile.teacher})
    assert studies.saved(replace(beside, profile=fewer))
    other = studies.open_studies("smoke", (*FEW, "training.sft.lr=2.0e-3")).root.profile
    assert studies.saved(replace(beside, profile=other)) == {}
    assert "but with other settings or another base" in (
        studies.origin(replace(beside, profile=other))
    )
    monkeypatch.setattr(studies.bases, "BUNDLED", studies.bases.BUNDLED.parent / "profiles")
    assert studies.saved(beside) == {}
    assert [opened.is_done(each) for each in chosen] == [False, True]  # which has its own base


def test_the_studies_of_the_kit_are_of_its_profile_and_base_of_now():
    mini = open_workspace("mini")
    assert set(studies.saved(mini)) > {"studies", "studies_summary"}, studies.origin(mini)


def test_a_setting_that_is_newer_than_studies_was_what_its_default_is(run):
    opened, *_ = run
    beside = replace(opened.root, folder=opened.root.folder.parent / "smoke")
    path = opened.root.folder / studies.MANIFEST
    was = json.loads(path.read_text())
    older = json.loads(path.read_text())
    del older["settings"]["student"]["dtype"]
    gone = json.loads(path.read_text())
    gone["settings"]["student"]["no_such_setting"] = 1
    try:
        path.write_text(json.dumps(older))
        assert studies.saved(beside)
        path.write_text(json.dumps(gone))
        assert studies.saved(beside) == {}
    finally:
        path.write_text(json.dumps(was))


def test_a_profile_without_studies_names_the_one_that_has_them(run):
    opened, *_ = run
    own = studies.open_studies("smoke", (*FEW, "training.sft.lr=2.0e-3")).root.profile
    folder = opened.root.folder.parent  # which holds studies of smoke
    none = [
        Workspace(name, own, place / name)
        for name in ("full", "mini")
        for place in (folder, folder / "elsewhere")
    ]
    assert all(studies.saved(ws) == {} for ws in none)
    full, also_full, mini, also_mini = map(studies.origin, none)
    assert full == also_full and "those that `make studies` runs are of profile mini" in full
    assert mini == also_mini and mini.startswith("Not run yet: `make studies PROFILE=mini`")


def test_a_variation_teaches_its_own_data_to_its_own_base(run):
    opened, _, chosen, _ = run
    errors, size = (opened.workspace(each) for each in chosen)
    assert size.profile.student.base.endswith("16 x 1") and errors.profile.student.base == "tiny"
    wrong = [len(dual.with_role(pipeline.read_annotation(ws)[1], "wrong")) for ws in (errors, size)]
    assert wrong[0] > wrong[1] > 0
    beside = replace(opened.root, folder=opened.root.folder.parent / "smoke")
    table = studies.saved(beside)["studies_data"].set_index("study").loc[[e.study for e in chosen]]
    first = [len(pipeline.read_annotation(ws)[1]) for ws in (errors, size)]
    assert table["wrong"].tolist() == pytest.approx(np.divide(wrong, first))
    duals = [pipeline.read_duals(ws)[1] for ws in (errors, size)]
    assert table["pairs"].tolist() == [len(pairs) for pairs in duals]
    assert (table["D-dual"] * table["pairs"]).tolist() == pytest.approx(
        [sum(pair.subset == "D-dual" for pair in pairs) for pairs in duals]
    )


def test_what_is_done_is_said_to_be_and_not_done_again(run, capsys):
    opened, everything, chosen, said = run
    written = json.loads((opened.root.folder / "manifest.json").read_text())
    assert (written["profile"], written["seeds"]) == ("smoke", [0]) and written["hardware"]["cores"]
    assert said.startswith("2 of 2 variations to run, 1 base students to train first: about ")
    assert studies.cost(opened, chosen).startswith("0 of 2 variations to run: about 0 min")
    files = {
        path: path.stat().st_mtime_ns
        for path in opened.root.folder.rglob("*")
        if path.name in ("stage.json", "adapter_model.safetensors")
    }
    studies.run(opened, chosen, everything)
    assert len(files) > 10
    assert files == {path: path.stat().st_mtime_ns for path in files}
    assert "[2/2] student size: 16 x 1" in capsys.readouterr().out


def test_a_base_student_that_was_killed_goes_on_and_leaves_no_checkpoint(
    run, tmp_path, monkeypatch
):
    opened, root = run[0], studies.open_studies("smoke", FEW, tmp_path).root
    monkeypatch.setattr(base_student, "SAVE_EVERY", 4)
    with monkeypatch.context() as patch:
        patch.setattr(base_student, "save", _die)
        with pytest.raises(KeyboardInterrupt):
            studies.train_base(root, SMALL)
    kept = {path.parent.name for path in root.artifacts.rglob("checkpoint-*")}
    assert kept == {"pass 0", "pass 1"}
    monkeypatch.setattr(base_student.Trainer, "training_step", _die)
    folder = studies.train_base(root, SMALL)
    uninterrupted = opened.root.artifacts / folder.relative_to(root.artifacts)
    name = "model.safetensors"
    assert (folder / name).read_bytes() == (uninterrupted / name).read_bytes()
    for artifacts in (root.artifacts, opened.root.artifacts):
        assert not list((artifacts / "checkpoints").iterdir())


def _die(*_, **__):
    raise KeyboardInterrupt


def test_a_change_of_settings_makes_a_variation_undone(run):
    opened, _, chosen, _ = run
    other = replace(opened, overrides=(*FEW, "training.sft.lr=2.0e-3"))
    assert [opened.is_done(each) for each in chosen] == [True, True]
    assert [other.is_done(each) for each in chosen] == [False, False]


def test_an_unknown_study_and_a_teacher_of_text_are_one_line(tmp_path, capsys):
    assert studies.main(["--results", str(tmp_path), "--only", "teacher eror"]) == 2
    assert "unknown study 'teacher eror'; valid, nearest first: teacher errors" in (
        capsys.readouterr().err
    )
    assert not list(tmp_path.iterdir())


# --- differences by hand ---------------------------------------------------------------------


def test_a_variation_of_several_studies_is_tested_once():
    rng = np.random.default_rng(0)
    answered = {
        name: pd.DataFrame(
            [row for m in ("EDIT", "Std-CoT") for row in answers("", m, rng.random((3, 4)) < 0.5)]
        )
        for name in ("as is", "teacher errors, double")
    }
    as_is = [studies.Variation(study, "0.15", "") for study in (studies.ERRORS, studies.PARAPHRASE)]
    double = studies.Variation(studies.ERRORS, "double", "", overrides=("teacher.seed=1",))
    table = studies.differences(answered, [*as_is, double])
    assert len(table) == 9 and list(table)[:3] == ["study", "value", "domain"]
    tests = table.drop_duplicates(["value", "domain", "p"])
    assert len(tests) == 6
    pd.testing.assert_series_equal(tests["p_holm"], statistics.holm(tests["p"]), check_names=False)
