"""A notebook's kernel starts before it is wanted, and none outlives the run."""

import re

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from editlib import executed, kernels, reproduce
from editlib.imports import ALL_CORES
from editlib.kernels import Kernels


@pytest.fixture
def few(monkeypatch, tmp_path):
    """The kernels of a run whose notebooks import little."""
    monkeypatch.setattr(kernels, "IMPORTS", [])
    made = Kernels(tmp_path)
    yield made
    made.close()


def is_over(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_the_kernel_of_the_next_notebook_starts_with_the_one_before(few):
    first = few.take("one", "two")
    waiting = few._waiting.pid
    assert waiting != first.pid and psutil.pid_exists(waiting)
    few.leave()
    second = few.take("two", None)
    assert second.pid == waiting and few._waiting is None


def test_the_kernel_of_a_notebook_that_is_done_ends_and_the_next_goes_on(few):
    done = few.take("one", "two").pid
    few.leave()
    following = few.take("one", "two").pid
    few.leave()
    assert is_over(done) and not is_over(few.take("two", None).pid)
    few.close()
    assert is_over(following)


def test_no_kernel_is_left_when_a_run_is_over(few):
    pids = [few.take("one", "two").pid, few._waiting.pid]
    few.leave()
    pids += [few.take("one", "two").pid, few._waiting.pid]
    few.close()
    assert all(map(is_over, pids))


def test_a_kernel_that_is_no_more_does_not_keep_the_others_alive(few):
    kernel = few.take("one", "two")
    pids = kernel.pid, few._waiting.pid
    kernel.end(now=True)
    few.close()
    assert all(map(is_over, pids))


@pytest.mark.parametrize(("longest", "transport"), [(200, "ipc"), (1, "tcp")])
def test_kernels_talk_through_files_where_their_names_are_short(
    few, monkeypatch, longest, transport
):
    monkeypatch.setattr(kernels, "LONGEST", longest)
    taken = few.take("one", "two"), few._waiting
    assert [kernel.transport for kernel in taken] == [transport] * 2
    assert len({kernel.ip for kernel in taken}) == (2 if transport == "ipc" else 1)


ASKS = """import multiprocessing.forkserver
import sys
print(sorted({"editlib.figures", "torch", "editlib.grid", "wave"} & {*sys.modules}))
print(multiprocessing.forkserver._forkserver._forkserver_pid is not None)
"""
LATER = "import no_such_library\nimport torch as t\nfrom editlib import figures, nothing\n"


@pytest.mark.parametrize("tags", [[], [ALL_CORES]])
def test_a_notebook_finds_what_it_imports_imported_and_no_name_of_ours(tmp_path, tags):
    """And the clock counts the memory of its kernel, not of the one that waits."""
    cells = [ASKS, "dir()", "%time import wave", "def late():\n    import wave", LATER]
    notebook = new_notebook(cells=[new_code_cell(cell, metadata={"tags": tags}) for cell in cells])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, tmp_path / "one.ipynb")
    progress, made = executed.Progress({"one": [1.0] * 5}), Kernels(tmp_path)
    try:
        with (
            progress.clock("one", made.take("one", None)) as clock,
            pytest.raises(executed.NotebookFailed, match="no_such_library"),  # at its own place
        ):
            executed.execute(tmp_path / "one.ipynb", tmp_path / "out.ipynb", {}, clock, progress)
    finally:
        made.close()
    told = [cell for cell in nbformat.read(tmp_path / "out.ipynb", 4).cells if cell.get("outputs")]
    imported, names = (cell.outputs[0] for cell in told[:2])
    assert imported.text == f"['editlib.figures', 'torch']\n{bool(tags)}\n"
    assert "figures" not in names.data["text/plain"] and "editlib" not in names.data["text/plain"]
    assert 300 < clock.peak / 2**20 < 3_000


def test_notebooks_whose_work_goes_on_side_by_side_say_so_in_a_tag():
    asks = re.compile(r"grid\.train\(|exams\.evaluate\(|quality\.chains\(|pivots\.gold_path\(")
    for path in reproduce.NOTEBOOKS.glob("*.ipynb"):
        cells = [c for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
        asking = [c for c in cells if asks.search(c.source) and not c.source.startswith("if ")]
        assert [c for c in cells if ALL_CORES in c.metadata.get("tags", [])] == asking
        assert bool(asking) == (path.stem[:2] in ("04", "05", "07"))
