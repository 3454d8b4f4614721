import os
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import time

import pandas as pd
import pytest
from matplotlib.figure import Figure

from editlib import lab, options, workspace
from editlib.workspace import MissingInput, open_workspace


@pytest.fixture
def ws(tmp_path):
    return open_workspace("smoke", results=tmp_path)


def counting(text="one\n"):
    """A stage body that counts its calls."""

    def make(folder):
        make.calls += 1
        (folder / "table.txt").write_text(text)

    make.calls = 0
    return make


def test_a_stage_is_made_once(ws):
    make = counting()
    assert ws.stage("annotation", make) == ws.stage("annotation", make) == ws.need("annotation")
    assert make.calls == 1


def test_a_stage_is_made_again_when_a_setting_it_depends_on_changes(ws, tmp_path):
    ws.stage("annotation", make := counting())
    other = open_workspace("smoke", ["teacher.seed=9"], tmp_path)
    other.stage("annotation", make)
    unrelated = open_workspace("smoke", ["teacher.seed=9", "training.krsl.lr=1"], tmp_path)
    unrelated.stage("annotation", make)
    assert make.calls == 2


def test_a_stage_is_made_again_when_its_input_or_its_file_changes(ws):
    ws.stage("annotation", counting("one\n"))
    ws.stage("duals", make := counting(), inputs=["annotation"])
    (ws.artifacts / "annotation" / "table.txt").write_text("on")  # cut short
    with pytest.raises(MissingInput, match="missing, cut short or edited"):
        ws.stage("duals", make, inputs=["annotation"])
    ws.stage("annotation", counting("two\n"))
    ws.stage("duals", make, inputs=["annotation"])
    assert make.calls == 2


def test_a_missing_input_names_the_notebook_that_makes_it(ws):
    with pytest.raises(MissingInput, match=r"duals is missing\. .* 02_dual_cot_construction"):
        ws.need("duals")


def test_the_command_that_an_error_advises_opens_the_same_workspace(tmp_path):
    own = tmp_path / "own.yaml"
    shutil.copy(workspace.KIT / "profiles" / "smoke.yaml", own)
    overrides = ["teacher.seed=9", "training.methods=[Std-CoT, EDIT w/o RWC]"]
    ws = open_workspace(str(own), overrides, tmp_path / "out $1 {1}")
    with pytest.raises(MissingInput) as error:
        ws.need("duals")
    told = re.search(r"\(make reproduce (.*)\)", str(error.value)).group(1)
    given = dict(each.split("=", 1) for each in shlex.split(told.replace("$$", "$")))
    assert given.pop("ONLY") == "00 01 02"  # as far as the notebook that makes it
    again = given["PROFILE"], options.split_assignments([given["SET"]]), given["RESULTS"]
    assert open_workspace(*again) == ws


def test_the_command_that_an_error_advises_names_no_more_than_needed():
    assert open_workspace("smoke").options == "PROFILE=smoke"


def test_an_input_made_with_other_settings_is_refused(ws, tmp_path):
    ws.stage("annotation", counting())
    with pytest.raises(MissingInput, match="made with other settings"):
        open_workspace("smoke", ["teacher.seed=9"], tmp_path).need("annotation")


def test_a_stage_that_fails_leaves_nothing_behind(ws):
    def broken(folder):
        (folder / "half.txt").write_text("half")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        ws.stage("annotation", broken)
    assert [p.name for p in ws.artifacts.iterdir()] == ["locks"]


KILLED = """
import sys, time
from editlib.workspace import open_workspace
def make(folder):
    (folder / "half.txt").write_text("half")
    print("writing", flush=True)
    time.sleep(60)
open_workspace("smoke", results=sys.argv[1]).stage("annotation", make)
"""


def test_a_killed_stage_is_made_anew(ws, tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "writing\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    folder = ws.stage("annotation", make := counting())
    assert make.calls == 1
    assert sorted(p.name for p in folder.iterdir()) == ["stage.json", "table.txt"]


@pytest.mark.parametrize("said", [b"", b"\xff\xfe", b"[]", b"{}", b'{"params": 1}'])
def test_a_stage_whose_seal_is_damaged_is_refused_and_made_anew(ws, said):
    folder = ws.stage("annotation", make := counting())
    (folder / "stage.json").write_bytes(said)
    with pytest.raises(MissingInput, match=r"annotation has no readable stage.json. Run notebook"):
        ws.need("annotation")
    ws.stage("annotation", make)
    assert make.calls == 2
    assert ws.need("annotation") == folder


def test_two_processes_make_a_stage_once(ws, tmp_path):
    """The second waits for the first and takes what it made."""
    slow = KILLED.replace("sleep(60)", "sleep(1)")
    first = subprocess.Popen(
        [sys.executable, "-c", slow, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert first.stdout.readline() == "writing\n"
    second = subprocess.run([sys.executable, "-c", slow, str(tmp_path)], capture_output=True)
    assert first.wait() == second.returncode == 0
    assert (ws.artifacts / "annotation" / "half.txt").exists()
    assert second.stdout == b""


def test_tables_and_figures_repeat_byte_for_byte(ws):
    frame = pd.DataFrame({"task": ["navigate"], "accuracy": [1 / 3]})

    def write():
        figure = Figure()
        figure.subplots().plot([0, 1], [0, 1])
        ws.save_figure(figure, "line")
        ws.save_table(frame, "accuracy")
        time.sleep(0.01)
        return {p.name: p.read_bytes() for p in ws.folder.rglob("*") if p.is_file()}

    assert write() == write()
    assert (
        ws.folder / "tables" / "accuracy.csv"
    ).read_text() == "task,accuracy\nnavigate,0.333333\n"


def test_a_saved_figure_is_shown_as_its_file_two_pixels_for_one(ws):
    shown = ws.save_figure(Figure(figsize=(3, 2)), "empty")
    assert shown.data == (ws.folder / "figures" / "empty.png").read_bytes()
    assert struct.unpack(">II", shown.data[16:24]) == (600, 400)
    assert (shown.width, shown.height) == (300, 200)


def test_a_fingerprint_sees_every_file_of_a_folder(tmp_path):
    (tmp_path / "a").write_text("1")
    before = workspace.digest(tmp_path)
    (tmp_path / "b").write_text("")
    assert workspace.digest(tmp_path) != before


def test_notebooks_opened_by_make_lab_take_its_choice(tmp_path, monkeypatch):
    chosen = ["teacher.seed=9", "training.methods=[Std-CoT, EDIT w/o KRSL]"]
    for name, value in lab.environment("smoke", chosen, tmp_path).items():
        monkeypatch.setenv(name, value)
    assert open_workspace() == open_workspace("smoke", chosen, tmp_path)
    other = open_workspace(overrides=["teacher.seed=8"], results=tmp_path / "mine")
    assert (other.profile.teacher.seed, other.folder) == (8, tmp_path / "mine" / "smoke")
    assert open_workspace("mini").name == "mini"  # a notebook that names its profile is heeded


def test_make_lab_refuses_what_a_notebook_would_refuse(capsys):
    assert lab.main(["--profile", "smoek"]) == 2
    assert "unknown profile 'smoek'; valid, nearest first: smoke" in capsys.readouterr().err
