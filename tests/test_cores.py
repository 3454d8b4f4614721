"""Work side by side."""

import gc
import os
import subprocess
import sys

import pytest
import torch

from editlib import cores
from editlib.errors import KitError


def test_results_come_in_the_order_of_the_items():
    assert cores.run_all(abs, [-3, 1, -2], desc="sizes") == [3, 1, 2]


def state(_):
    return os.getpid(), gc.isenabled(), torch.get_num_threads()


def test_each_item_has_one_thread_and_collects_its_garbage(monkeypatch):
    """Though processes import without looking for any."""
    monkeypatch.setenv("EDITLIB_PROCESSES", "2")
    pids, collects, threads = zip(*cores.run_all(state, range(4), desc="states"), strict=True)
    assert os.getpid() not in pids and set(collects) == {True} and set(threads) == {1}
    assert gc.isenabled()


def test_nothing_to_do_starts_nothing_and_shows_no_bar(monkeypatch, capsys):
    monkeypatch.setattr(cores, "Parallel", lambda **_: pytest.fail("processes for no item"))
    assert cores.run_all(abs, [], desc="sizes") == []
    assert capsys.readouterr().err == ""


def test_a_gpu_has_one_process_unless_told_otherwise(monkeypatch):
    monkeypatch.setattr(cores, "cpu_count", lambda: 8)
    assert cores.processes() == 8
    monkeypatch.setattr(cores.torch.cuda, "is_available", lambda: True)
    assert cores.processes() == 1
    monkeypatch.setenv("EDITLIB_PROCESSES", "12")
    assert cores.processes() == 12


@pytest.mark.parametrize("given", ["0", "-2", "many", ""])
def test_a_number_of_processes_that_is_none_is_refused(monkeypatch, given):
    monkeypatch.setenv("EDITLIB_PROCESSES", given)
    with pytest.raises(KitError, match=f"EDITLIB_PROCESSES='{given}': expected a number"):
        cores.processes()


@pytest.mark.parametrize(("given", "taken"), [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7")])
def test_threads_of_the_kit_and_of_its_kernels_spin_briefly(given, taken):
    own = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    told = "import editlib, os; print(os.environ['GOMP_SPINCOUNT'])"
    run = subprocess.run([sys.executable, "-c", told], env=own | given, capture_output=True)
    assert run.stdout.decode().strip() == taken
