"""The driver, on notebooks and a profile made in the test."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from editlib import executed, kernels, manifest, report, reproduce
from editlib.workspace import KIT, open_workspace

PROFILE = """\
notebooks: [00_first, 01_second]
benchmark: {name: bbh}
teacher: {kind: recorded}
keysteps: {unit: words, ties: library}
"""
PARAMETERS = 'profile = "tiny"\noverrides = []\nresults = None\nexamples = 2  # a=b, how many\n'
OPEN = (
    "from editlib.workspace import open_workspace\nws = open_workspace(profile, overrides, results)"
)
SAVE = "import pandas as pd\nws.save_table(pd.DataFrame({'n': range(examples)}), 'first')"


def write_notebook(path: Path, *cells: str) -> None:
    notebook = new_notebook(
        cells=[
            new_markdown_cell("# A notebook"),
            new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
            *map(new_code_cell, cells),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    nbformat.write(notebook, path)


@pytest.fixture
def kit(tmp_path, monkeypatch):
    """A folder with two notebooks and a profile, where the driver looks for them."""
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    write_notebook(notebooks / "00_first.ipynb", OPEN, SAVE)
    write_notebook(
        notebooks / "01_second.ipynb", OPEN, "(ws.folder / 'tables' / 'first.csv').stat().st_size"
    )
    (tmp_path / "tiny.yaml").write_text(PROFILE)
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("EDITLIB_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(reproduce, "NOTEBOOKS", notebooks)
    monkeypatch.setattr(kernels, "IMPORTS", [])  # these notebooks need few
    monkeypatch.chdir(tmp_path)
    return tmp_path


def drive(*options: str) -> int:
    return reproduce.main(["--profile", "tiny.yaml", "--results", "out {1}", *options])


def lines(capsys) -> dict[str, str]:
    """What the driver said of each notebook."""
    said = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    return {words[1]: words[2] for words in said if words[0].startswith("[")}


def read_manifest(kit: Path) -> dict:
    return json.loads((kit / "out {1}" / "tiny" / "manifest.json").read_text())


def test_a_run_leaves_notebooks_tables_manifest_and_report(kit):
    assert drive("-p", "examples=3") == 0
    out = kit / "out {1}" / "tiny"
    assert len(pd.read_csv(out / "tables" / "first.csv")) == 3
    entry = read_manifest(kit)["notebooks"]["00_first"]
    assert set(entry["outputs"]) == {"tables/first.csv", "notebooks/00_first.ipynb"}
    assert len(entry["cell_seconds"]) == 4 and entry["peak_memory_mb"] > 10
    assert read_manifest(kit)["settings"]["keysteps"] == {"unit": "words", "ties": "library"}
    assert "00_first" in (out / "report.html").read_text()
    assert not list((out / "artifacts" / "partial").iterdir())


def test_a_parameter_goes_to_the_chosen_notebooks_that_declare_it(kit):
    (kit / "notebooks" / "00_first.ipynb").write_text(
        (kit / "notebooks" / "00_first.ipynb").read_text().replace("examples", "rows")
    )
    names = ["00_first", "01_second"]
    bound = reproduce.bind(names, names, {"profile": "x"}, {"examples": 3})
    assert bound == {"00_first": {"profile": "x"}, "01_second": {"profile": "x", "examples": 3}}
    with pytest.raises(reproduce.BadNotebook, match="'examples'; valid, nearest first: rows"):
        reproduce.bind(names, ["00_first"], {}, {"examples": 3})


def test_notebooks_without_parameters_of_their_own_are_named(kit):
    first = kit / "notebooks" / "00_first.ipynb"
    first.write_text(first.read_text().replace(r"examples = 2  # a=b, how many\n", ""))
    said = r"'examples'; no chosen notebook has a parameter to set \(00_first\)$"
    with pytest.raises(reproduce.BadNotebook, match=said):
        reproduce.bind(["00_first", "01_second"], ["00_first"], {}, {"examples": 3})


def test_what_goes_into_git_names_no_folder_and_no_time(kit):
    executed_copy = kit / "out {1}" / "tiny" / "notebooks" / "00_first.ipynb"
    drive()
    first = executed_copy.read_text()
    drive("--force", "--only", "00")
    assert executed_copy.read_text() == first
    assert r"results = \"../out {1}\"" in first
    for text in (first, json.dumps(read_manifest(kit))):
        assert str(kit) not in text and str(KIT.parent) not in text


def test_bars_and_widgets_leave_the_executed_copy_and_warnings_stay():
    bar = " 50%|#####     | 1/2 [00:01<00:01]"
    warning = "/tmp/ipykernel_12/34.py:1: UserWarning: few rows"
    outputs = [
        new_output("stream", name="stderr", text=f"\r{bar}\r{bar}\n"),
        new_output("stream", name="stderr", text=f"\r{bar}\n{warning}\n"),
        new_output("display_data", {"application/vnd.jupyter.widget-view+json": {}}),
        new_output("stream", name="stdout", text=f"read {KIT.parent}/results by {sys.prefix}/bin"),
    ]
    cell = executed.tidy(new_notebook(cells=[new_code_cell("1", outputs=outputs)])).cells[0]
    assert [o.text for o in cell.outputs] == [
        "<cell>:1: UserWarning: few rows",
        "read ./results by .venv/bin",
    ]


def test_what_a_notebook_prints_is_seen_while_it_runs(kit, capsys):
    write_notebook(kit / "notebooks" / "00_first.ipynb", OPEN, SAVE, "print('2 prompts\\nto ask')")
    assert drive() == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["2 prompts", "to ask"] and said[2].startswith("[1/2] 00_first")


def test_a_bar_of_a_notebook_stands_beside_that_of_the_run():
    progress = executed.Progress({"00_first": [1.0]})
    seen = []
    progress.bar.set_postfix_str = lambda text, refresh: seen.append(text)
    lines = executed.Lines(progress.beside)
    for text in ("CEP:  50%|##", "   | 5/10 [00:01<00:01]\rCEP: ", "a warning\n", "\n"):
        lines.write(text)
    progress.finish("00_first")
    assert seen == ["CEP:  50%|##   | 5/10 [00:01<00:01]", ""]


def test_nothing_is_run_twice(kit, capsys):
    drive()
    before = read_manifest(kit)
    capsys.readouterr()
    drive()
    assert lines(capsys) == {"00_first": "unchanged", "01_second": "unchanged"}
    assert read_manifest(kit) == before


def test_what_depends_on_a_change_is_run_again(kit, capsys):
    drive()
    (kit / "out {1}" / "tiny" / "tables" / "first.csv").write_text("n\n")  # a result edited by hand
    capsys.readouterr()
    drive()
    said = lines(capsys)
    assert said["00_first"] != "unchanged" and said["01_second"] == "unchanged"
    drive("-p", "examples=5")
    assert "unchanged" not in lines(capsys).values()
    drive("--only", "01", "--set", "keysteps.ties=authors")
    assert list(lines(capsys)) == ["01_second"]
    assert list(read_manifest(kit)["notebooks"]) == ["01_second"]  # 00 is of other settings


def test_missing_data_stops_a_run_before_it_starts(kit, capsys, monkeypatch):
    monkeypatch.delenv("EDITLIB_DATA_DIR")
    assert drive() == 2
    said = capsys.readouterr().err
    assert "set EDITLIB_DATA_DIR" in said and said.count("\n") == 1
    assert not (kit / "out {1}").exists()


def test_a_data_folder_named_from_here_is_found_by_notebooks(kit, monkeypatch):
    monkeypatch.setenv("EDITLIB_DATA_DIR", "data")
    seen = "from editlib.benchmarks import mirror\nassert mirror.data_dir().name == 'data'"
    write_notebook(kit / "notebooks" / "00_first.ipynb", OPEN, SAVE, seen)
    assert drive("--only", "00_first") == 0


def test_new_data_is_a_reason_to_run_again(kit):
    ws = open_workspace("tiny.yaml")
    before = manifest.data_fingerprint(ws)
    (kit / "data" / "rows.jsonl").write_text("{}")
    assert manifest.data_fingerprint(ws) != before
    assert manifest.data_fingerprint(open_workspace("smoke")) is None


def test_a_fresh_clone_runs_although_results_are_in_git(kit, capsys):
    drive()
    out = kit / "out {1}" / "tiny"
    for path in sorted((out / "artifacts").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    capsys.readouterr()
    drive()
    assert "unchanged" not in lines(capsys).values()


def test_a_failed_cell_is_named_and_the_next_run_continues_there(kit, capsys):
    write_notebook(kit / "notebooks" / "01_second.ipynb", OPEN, "1 / 0")
    assert drive() == 1
    said = capsys.readouterr().err
    assert "01_second stopped at cell [4], ZeroDivisionError: division by zero" in said
    assert "Traceback" not in said
    partial = kit / "out {1}" / "tiny" / "artifacts" / "partial" / "01_second.ipynb"
    assert str(partial) in said and partial.exists()
    assert list(read_manifest(kit)["notebooks"]) == ["00_first"]
    write_notebook(kit / "notebooks" / "01_second.ipynb", OPEN, "1 / 1")
    assert drive() == 0
    assert lines(capsys)["00_first"] == "unchanged"


def test_a_kernel_that_dies_is_a_failed_cell(kit, capsys):
    write_notebook(kit / "notebooks" / "00_first.ipynb", "import os\nos._exit(9)")
    assert drive() == 1
    assert "00_first stopped at cell [3]: Kernel died" in capsys.readouterr().err


def test_a_kernel_that_does_not_start_is_a_failed_notebook(kit, capsys, monkeypatch):
    monkeypatch.setattr(kernels.OwnKernel, "format_kernel_cmd", lambda *_, **__: ["false"])
    assert drive() == 1
    assert "00_first stopped at cell [1]: Kernel died before" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--profile", "minni"], "unknown profile 'minni'; valid, nearest first: mini"),
        (["--set", "keysteps.tie=x"], "unknown setting 'tie'; valid, nearest first: ties"),
        (["--set", "keysteps.ties=x"], "keysteps.ties"),
        (["-p", "exampels=1"], "unknown notebook parameter 'exampels'; valid, nearest first: exam"),
        (["-p", "examples"], "expected name=value"),
        (["-p", "results=x"], "set by --profile, --set and --results"),
        (["--only", "04"], "unknown notebook '04'; valid, nearest first: 0"),
        (["--from", "second"], "valid, nearest first: 01_second"),
        (["--set", "notebooks=[]", "--only", "00"], "the profile lists no notebook"),
        (["--from", "9"], "00_first. Its number alone will do (05)"),
        (
            ["--set", "notebooks=[00_fist]"],
            "unknown notebook '00_fist'; valid, nearest first: 00_f",
        ),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_run(kit, capsys, options, message):
    assert drive(*options) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (kit / "out {1}").exists()


def test_results_that_cannot_be_written_are_one_line(kit, capsys):
    (kit / "file").write_text("")
    assert reproduce.main(["--profile", "tiny.yaml", "--results", "file/results"]) == 2
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith("KitError: results cannot be written to ") and "RESULTS=path" in said


def test_a_notebook_that_cannot_be_told_its_profile_is_refused(kit, capsys):
    nbformat.write(new_notebook(cells=[new_code_cell("1")]), kit / "notebooks" / "01_second.ipynb")
    assert drive() == 2
    assert "no cell tagged 'parameters'" in capsys.readouterr().err
    (kit / "notebooks" / "01_second.ipynb").write_text("{")
    assert drive() == 2
    assert "not JSON" in capsys.readouterr().err


SLOW = "import time\nfrom pathlib import Path\n"
SLOW += "def wait(n):\n    Path(f'../running {n}').touch()\n    time.sleep(100)\n"
WORKERS = "from joblib import Parallel, delayed\nParallel(2)(delayed(wait)(n) for n in (0, 1))"


def start(kit: Path, cell: str, waiting: int, options: Sequence[str] = ()) -> subprocess.Popen:
    """A run in a process group of its own, whose second notebook waits in so many processes."""
    write_notebook(kit / "notebooks" / "01_second.ipynb", OPEN, SLOW + cell)
    script = (
        "import signal, sys; from pathlib import Path; from editlib import reproduce\n"
        # which a shell lets its background jobs ignore
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"reproduce.NOTEBOOKS = Path({str(kit / 'notebooks')!r})\n"
        "sys.exit(reproduce.main())"
    )
    asked = ["--profile", "tiny.yaml", "--results", "out {1}", *options]
    command, own = [sys.executable, "-c", script, *asked], {"start_new_session": True}
    run = subprocess.Popen(command, cwd=kit, stderr=subprocess.PIPE, text=True, **own)
    while run.poll() is None and len(list(kit.glob("running *"))) < waiting:
        time.sleep(0.05)
    return run


@pytest.mark.parametrize(("cell", "waiting"), [("wait(0)", 1), (WORKERS, 2)])
def test_an_interrupted_run_ends_with_all_it_started_and_says_so_without_a_traceback(
    kit, cell, waiting
):
    run = start(kit, cell, waiting, ["--only", "01"])
    started = psutil.Process(run.pid).children(recursive=True)
    assert len(started) >= waiting
    os.killpg(run.pid, signal.SIGINT)
    said = run.communicate()[1]
    assert said.splitlines()[-1] == "interrupted; run the same command again to continue"
    assert "Traceback" not in said
    assert run.returncode == 130
    assert not psutil.wait_procs(started, timeout=10)[1]


def test_a_killed_run_continues(kit, capsys):
    quick = kit / "notebooks" / "01_second.ipynb"
    good = quick.read_text()
    run = start(kit, "wait(0)", 1)
    run.kill()
    run.communicate()
    quick.write_text(good)
    assert drive() == 0
    said = lines(capsys)
    assert said["00_first"] == "unchanged" and said["01_second"] != "unchanged"


def test_text_of_a_model_cannot_break_the_report(kit):
    drive()
    ws = open_workspace("tiny.yaml", results="out {1}")
    hostile = "<script>alert(1)</script>{{ 7 * 7 }}\x00"
    ws.save_table(pd.DataFrame({hostile: [hostile]}), "first")
    page = report.build(ws).read_text()
    assert "<script>" not in page and "&lt;script&gt;" in page and "{{ 7 * 7 }}" in page


def test_the_readme_table_puts_methods_down_and_splits_across():
    summary = pd.DataFrame(
        [("test", "EDIT", 0.5, 0.4, 0.6, 0.4, 0.6), ("longer", "EDIT", 0.25, None, None, 0.2, 0.3)],
        columns=["split", "method", "accuracy", "low", "high", "low_questions", "high_questions"],
    )
    nothing = pd.DataFrame({"decided": []}, dtype=bool)
    block = report.results_block(summary, nothing)
    assert (
        block.splitlines()[2]
        == "| EDIT | 50.0 (40.0 to 60.0) | 25.0 (20.0 to 30.0, over questions) |"
    )


def test_the_readme_says_who_is_highest_and_who_lies_below_the_base_student():
    means = {"Base student": 0.6, "Std-CoT": 0.7, "EDIT": 0.5}
    summary = pd.DataFrame(
        [("families", name, mean, *[mean] * 4) for name, mean in means.items()],
        columns=["split", "method", "accuracy", "low", "high", "low_questions", "high_questions"],
    )
    block = report.results_block(summary, pd.DataFrame({"decided": []}, dtype=bool))
    assert (
        "`families`: the highest mean of a trained method is that of Std-CoT; 1 of 2 lie" in block
    )
    equal = summary.assign(accuracy=0.5)
    block = report.results_block(equal, pd.DataFrame({"decided": []}, dtype=bool))
    assert "is that of Std-CoT and of EDIT; 0 of 2 lie" in block


def test_the_readme_says_which_differences_are_decided():
    summary = pd.DataFrame(columns=["split", "method", "seeds", "accuracy", "low", "high"])
    rows = [("test", "EDIT", "Std-CoT", 0.051, True), ("longer", "EDIT", "Std-CoT", 0.01, False)]
    table = pd.DataFrame(rows, columns=["split", "method", "baseline", "difference", "decided"])
    text = report.results_block(summary, table)
    assert "Of 2 comparisons" in text and "1 is decided:" in text
    assert text.endswith("\n\n- test: EDIT less Std-CoT, +5.1 points")
    assert report.results_block(summary, table.tail(1)).endswith("none is decided.")


def test_smoke_through_make(tmp_path):
    """The real notebooks, from the first prompt to the last table, twice with the same tables."""
    options = "PROFILE=smoke", "PARAMS=train_own=true"
    first, again = (make(tmp_path / folder, *options) for folder in ("first", "again"))
    assert first == again and {"accuracy_summary.csv", "own_kind_effects.csv"} <= first.keys()
    assert b"\nCN," in first["key_steps_with_own_kind.csv"]
    for name in ("key_steps_with_own_kind.csv", "own_kind_rule.csv"):
        assert b"precision" not in first[name]  # near 1 by construction: nothing is measured by it
    assert b"classifier,kind" in first["classifiers_against_truth.csv"]
    said = outputs(tmp_path / "first" / "smoke" / "notebooks" / "06_mistake_patterns.ipynb")
    assert "Students trained on one kind each (LE, KE, MCE, CN) stand above" in said
    assert "compares no students" not in said


SMALL = (  # what profile smoke is made of
    "student.base=tiny student.max_length=400 student.lora.rank=4 training.seeds=[0,1] "
    "benchmark.questions={train: 8, validation: 1, test: 2, longer: 1, families: 1} "
    "training.sft.epochs=1 decoding.max_new_tokens=8"
)


def test_a_profile_that_trains_no_edit_runs_to_its_end(tmp_path):
    """Notebooks that look for EDIT, or for a difference where all students answer alike."""
    tables = make(tmp_path, "PROFILE=kinds", f"SET={SMALL}")
    assert {"claims.csv", "kind_effects.csv"} <= tables.keys()
    for name in ("05_evaluation", "06_mistake_patterns"):
        said = outputs(tmp_path / "kinds" / "notebooks" / f"{name}.ipynb")
        assert not re.search(r"\bnan\b", said, re.IGNORECASE)


def outputs(path: Path) -> str:
    """All that the cells of an executed notebook wrote and showed."""
    cells = nbformat.read(path, 4).cells
    return json.dumps([cell.get("outputs", []) for cell in cells], ensure_ascii=False)


def make(results: Path, profile: str, *options: str) -> dict[str, bytes]:
    """Tables of `make reproduce PROFILE=<profile>`, by file name."""
    command = ["make", "--assume-old=.venv/.installed", "reproduce", profile, *options]
    subprocess.run([*command, f"RESULTS={results}"], cwd=KIT.parent, check=True)
    folder = results / profile.partition("=")[2] / "tables"
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_driver_starts_without_the_libraries_of_its_notebooks():
    """They take seconds, in which the first kernel imports them."""
    heavy = {"torch", "transformers", "peft", "scipy", "seaborn"}
    told = f"import sys, editlib.reproduce; print({heavy!r} & {{*sys.modules}})"
    run = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"
