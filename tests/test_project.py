"""What stands in two places agrees: pins, dependencies, targets, the table of the README."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from editlib import grid, profiles, report
from editlib.methods import METHODS

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DIRECT = [Requirement(line) for line in PYPROJECT["dependencies"]]
DEV = [Requirement(line) for line in PYPROJECT["optional-dependencies"]["dev"]]
RUN_BY_NAME = {"accelerate", "pyarrow", "ipykernel", "ipywidgets", "jupyterlab"}  # never imported


def pins(lines: list[str]) -> dict[str, str]:
    """Versions by package; raises where a line is anything but name==version."""
    matches = [re.fullmatch(r"([\w.-]+)==([\w.]+)", line) for line in lines]
    return {canonicalize_name(match[1]): match[2] for match in matches}


@pytest.fixture
def lock() -> dict[str, str]:
    return pins((ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines())


def test_the_lock_holds_every_dependency_at_a_version_that_fits(lock):
    for requirement in DIRECT + DEV:
        assert lock[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_conda_users_get_the_same_pins(lock):
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *conda, pip = environment["dependencies"]
    lines = []
    for entry in pip["pip"]:
        file = entry.removeprefix("-r ")
        lines += (ROOT / file).read_text().splitlines() if file != entry else [entry]
    assert pins([line for line in lines if line != "-e ."]) == lock
    assert conda == ["python=3.11", "pip"] and PYPROJECT["requires-python"] == ">=3.11"


def test_every_import_is_declared_and_every_declared_package_is_used():
    modules = {name for path in (ROOT / "editlib").rglob("*.py") for name in imports(path)}
    modules -= {"editlib", *sys.stdlib_module_names}
    owners = packages_distributions()
    used = {canonicalize_name(owners[module][0]) for module in modules}
    assert used | RUN_BY_NAME == {canonicalize_name(requirement.name) for requirement in DIRECT}


def imports(path: Path) -> set[str]:
    """Top-level names of the modules that a file imports."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    named = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in plain | named}


# Tests may be run by make, whose own settings are none of the make that is tried here.
OUTSIDE = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
TRIED = {"cwd": ROOT, "env": OUTSIDE, "capture_output": True, "text": True}


def make(*arguments: str) -> str:
    """What make would do."""
    command = ["make", "--dry-run", "--assume-old=.venv/.installed", *arguments]
    return subprocess.run(command, check=True, **TRIED).stdout


def said(*arguments: str) -> str:
    """What make says, the commands of the kit only told."""
    command = ["make", "--assume-old=.venv/.installed", "RUN=echo", *arguments]
    done = subprocess.run(command, **TRIED)
    return done.stderr.strip() if done.returncode else done.stdout.strip()


def test_help_lists_each_target_with_its_cost():
    listed = said()
    for target in re.search(r"\.PHONY: (.*)", (ROOT / "Makefile").read_text())[1].split():
        assert re.search(rf"^make {target} +\w+", listed, re.M), target


def test_the_variables_reach_the_commands():
    options = ["PROFILE=smoke", "SET=a.b=1 c.d=[x, y]", "RESULTS=else where"]
    everywhere = '--profile "$PROFILE" --set "$SET" --results "$RESULTS"'
    assert everywhere in make("report", *options)
    run = make("reproduce", *options, "ONLY=03 05", "FORCE=1")
    assert everywhere in run and "--only 03 05" in run and "--force" in run
    assert "--from 04" in make("reproduce", "FROM=04")


def test_the_search_and_the_benchmarks_write_below_the_results(tmp_path):
    first, second = said("search", f"RESULTS={tmp_path}", "SET=a.b=1").splitlines()
    for line in (first, second):
        assert f"--results {tmp_path}/search" in line and line.endswith("--set a.b=1")
    assert said("bench", f"RESULTS={tmp_path}").endswith(f"--results {tmp_path}/bench")
    assert said("bench").endswith("--results results/bench")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "PROFILE=full"], "make search makes no use of PROFILE; it heeds RESULTS SET"),
        (["base-student", "RESULTS=x"], "make base-student makes no use of RESULTS; it heeds no"),
        (["bench", "SET=a.b=1"], "make bench makes no use of SET; it heeds RESULTS"),
        (["reproduce", "PROFLE=smoke"], "make reproduce makes no use of PROFLE; it heeds PROFILE"),
        (
            ["clean", "PROFILE=nosuch"],
            "unknown profile nosuch: no such file, and no folder results",
        ),
    ],
)
def test_a_variable_without_meaning_stops_make(arguments, message):
    assert message in said(*arguments).splitlines()[0]


@pytest.mark.parametrize("profile", ["my/mine.yaml", "mine.yml", "mine"])
def test_clean_deletes_the_artifacts_of_one_profile_and_nothing_else(tmp_path, profile):
    for path in ("mine/artifacts/store", "mine/tables/kept", "mini/artifacts/kept"):
        (tmp_path / "a b" / path).mkdir(parents=True)
    where = f"RESULTS={tmp_path / 'a b'}"
    subprocess.run(["make", "clean", f"PROFILE={profile}", where], cwd=ROOT, check=True)
    left = {path.name for path in (tmp_path / "a b").rglob("*") if path.is_dir()}
    assert left == {"mine", "tables", "kept", "mini", "artifacts"}
    assert not (tmp_path / "a b" / "mine" / "artifacts").exists()


def test_the_readme_names_every_profile_and_notebook():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in profiles.names():
        assert f"\n| {name} |" in text
        written = (profiles.HERE / f"{name}.yaml").read_text(encoding="utf-8")
        for notebook in yaml.safe_load(written)["notebooks"]:
            assert f"\n| {notebook} |" in text


def calls(tree: ast.AST, name: str) -> set[ast.Call]:
    """The calls of a function or method of this name."""
    found = {node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return {call for call in found if ast.unparse(call.func).rpartition(".")[2] == name}


def test_every_figure_that_a_notebook_saves_is_shown():
    """By show, or as the value of its cell: a figure saved elsewhere is not to be seen."""
    saved = 0
    for path in sorted(ROOT.glob("notebooks/*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code" and "save_figure" in cell.source:
                tree = ast.parse(cell.source)
                shown = list(calls(tree, "show"))
                if isinstance(tree.body[-1], ast.Expr) and not cell.source.endswith(";"):
                    shown.append(tree.body[-1])
                seen = set().union(*(calls(each, "save_figure") for each in shown))
                assert seen == calls(tree, "save_figure"), (path.name, cell.id)
                saved += len(seen)
    assert saved > 1


def test_no_notebook_links_to_what_lies_elsewhere_from_its_executed_copy():
    for path in sorted(ROOT.glob("notebooks/*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            assert not re.search(r"\]\((\.\.|\w+/)", cell.source), (path.name, cell.id)


def test_the_rates_of_mini_are_those_that_the_search_put_first():
    rates = pd.read_csv(ROOT / "results" / "search" / "mini" / "tables" / "rates.csv")
    best = rates.loc[rates.groupby("objective")["accuracy"].idxmax()].set_index("objective")["lr"]
    training = profiles.load("mini").training
    assert best.to_dict() == {"krsl": training.krsl.lr, "sft": training.sft.lr}


def test_the_rates_of_full_are_those_that_the_search_put_first():
    """Of every first phase, of KRSL and of preference losses; of equals the lowest."""
    found = ROOT / "results" / "search" / "full" / "tables" / "validation_accuracy.csv"
    rates = grid.rates(pd.read_csv(found), ["phase"])
    best = rates.loc[rates.groupby("phase")["accuracy"].idxmax()].set_index("phase")["lr"]
    training = profiles.load("full").training
    assert len(best) == 13
    for phase in {phase for each in METHODS.values() for phase in each.phases}:
        if str(phase) in best:
            assert training.of(phase).lr == best[str(phase)]


def test_the_table_of_the_readme_is_that_of_the_results():
    _, block, _ = report.split_readme(report.README.read_text(encoding="utf-8"))
    assert block == report.results_of_mini()
