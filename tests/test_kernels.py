"""A notebook's kernel starts before it is wanted, and none outlives the run."""

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from editlib import executed, kernels
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
    first = few.take(more=True)
    waiting = few._waiting.pid
    assert waiting != first.pid and psutil.pid_exists(waiting)
    few.leave()
    second = few.take(more=False)
    assert second.pid == waiting and few._waiting is None


def test_the_kernel_of_a_notebook_that_is_done_ends_and_the_next_goes_on(few):
    done = few.take(more=True).pid
    few.leave()
    following = few.take(more=True).pid
    few.leave()
    assert is_over(done) and not is_over(few.take(more=False).pid)
    few.close()
    assert is_over(following)


def test_no_kernel_is_left_when_a_run_is_over(few):
    pids = [few.take(more=True).pid, few._waiting.pid]
    few.leave()
    pids += [few.take(more=True).pid, few._waiting.pid]
    few.close()
    assert all(map(is_over, pids))


def test_a_kernel_that_is_no_more_does_not_keep_the_others_alive(few):
    kernel = few.take(more=True)
    pids = kernel.pid, few._waiting.pid
    kernel.end(now=True)
    few.close()
    assert all(map(is_over, pids))


@pytest.mark.parametrize(("longest", "transport"), [(200, "ipc"), (1, "tcp")])
def test_kernels_talk_through_files_where_their_names_are_short(
    few, monkeypatch, longest, transport
):
    monkeypatch.setattr(kernels, "LONGEST", longest)
    taken = few.take(more=True), few._waiting
    assert [kernel.transport for kernel in taken] == [transport] * 2
    assert len({kernel.ip for kernel in taken}) == (2 if transport == "ipc" else 1)


def test_a_notebook_finds_the_libraries_imported_and_no_name_of_ours(tmp_path):
    """And the clock counts the memory of its kernel, not of the one that waits."""
    cells = ["print(sorted({'editlib.figures', 'torch'} & {*__import__('sys').modules}))", "dir()"]
    notebook = new_notebook(cells=list(map(new_code_cell, cells)))
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, tmp_path / "one.ipynb")
    progress, made = executed.Progress({"one": [1.0] * 2}), Kernels(tmp_path)
    try:
        with progress.clock("one", made.take(more=False)) as clock:
            run = executed.execute(
                tmp_path / "one.ipynb", tmp_path / "out.ipynb", {}, clock, progress
            )
    finally:
        made.close()
    imported, names = (cell.outputs[0] for cell in run.cells)
    assert imported.text == "['editlib.figures', 'torch']\n"
    assert "figures" not in names.data["text/plain"] and "editlib" not in names.data["text/plain"]
    assert 300 < clock.peak / 2**20 < 3_000
