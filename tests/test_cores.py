"""Work side by side."""

import gc
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch

from editlib import cores
from editlib.errors import KitError


def test_results_come_in_the_order_of_the_items():
    assert cores.run_all(abs, [-3, 1, -2], desc="sizes") == [3, 1, 2]


def state(_):
    return os.getpid(), gc.isenabled(), torch.get_num_threads()


def test_each_item_has_one_thread_and_collects_its_garbage(monkeypatch):
    """Though what they were forked from imports without looking for any."""
    monkeypatch.setenv("EDITLIB_PROCESSES", "2")
    pids, collects, threads = zip(*cores.run_all(state, range(4), desc="states"), strict=True)
    assert os.getpid() not in pids and set(collects) == {True} and set(threads) == {1}
    assert gc.isenabled()


def test_one_process_is_this_one(monkeypatch):
    monkeypatch.setenv("EDITLIB_PROCESSES", "1")
    assert {pid for pid, _, _ in cores.run_all(state, range(3), desc="states")} == {os.getpid()}


FORKED = """
import os, sys
from editlib import cores
def imported(_):
    return "editlib.exams" in sys.modules, os.environ["OMP_NUM_THREADS"]
if __name__ == "__main__":
    print({*cores.run_all(imported, range(4), desc="modules")})
"""


def test_processes_are_forked_from_one_that_has_imported_what_they_need(tmp_path):
    (tmp_path / "forked.py").write_text(FORKED)
    command = [sys.executable, str(tmp_path / "forked.py")]
    env = os.environ | {"EDITLIB_PROCESSES": "2"}
    run = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert run.stdout == "{" + str((sys.platform == "linux", "1")) + "}\n"


@pytest.mark.parametrize("value", ["one", "two"])
def test_processes_see_the_environment_of_now(monkeypatch, value):
    """Though what they were forked from has run for long."""
    monkeypatch.setenv("EDITLIB_PROCESSES", "2")
    monkeypatch.setenv("EDITLIB_TRIED", value)
    assert cores.run_all(os.getenv, ["EDITLIB_TRIED"] * 2, desc="values") == [value] * 2
    monkeypatch.delenv("EDITLIB_TRIED")
    assert cores.run_all(os.getenv, ["EDITLIB_TRIED"] * 2, desc="values") == [None] * 2


class Odd(Exception):
    """One that is not made of its args, as pickle has it."""

    def __init__(self, first, second):
        super().__init__(f"{first} {second}")


def odd(_):
    raise Odd(1, 2)


@pytest.mark.parametrize("turn", range(5))
def test_what_cannot_be_handed_over_is_told_of_and_ends_all(monkeypatch, turn):
    """Also while processes are still being started."""
    monkeypatch.setenv("EDITLIB_PROCESSES", "3")
    with pytest.raises(KitError, match=r"oddities: .* could not hand over what it made") as told:
        cores.run_all(odd, range(12), desc="oddities")
    assert "TypeError: Odd.__init__() missing" in str(told.value.__cause__)


def fail_at_two(n):
    if n == 2:
        raise KitError("two is too many")
    time.sleep(60)


@pytest.mark.parametrize("items", [[2, 1], [1, 2], [1, 2, 3, 4]])
def test_the_first_that_raises_ends_the_others(monkeypatch, items):
    monkeypatch.setenv("EDITLIB_PROCESSES", "2")
    begun = time.monotonic()
    with pytest.raises(KitError, match="two is too many"):
        cores.run_all(fail_at_two, items, desc="numbers")
    assert time.monotonic() - begun < 30


def test_a_killed_process_is_told_of(monkeypatch):
    monkeypatch.setenv("EDITLIB_PROCESSES", "2")
    with pytest.raises(KitError, match=r"deaths: a process ended .*PROCESSES=1"):
        cores.run_all(die, [0, 1], desc="deaths")


def die(_):
    os.kill(os.getpid(), signal.SIGKILL)


ALONE = """
import multiprocessing, sys, time
from pathlib import Path
from editlib import cores
def wait(path):
    Path(path).write_text(str(multiprocessing.current_process().pid))
    time.sleep(100)
if __name__ == "__main__":
    cores.run_all(wait, sys.argv[1:], desc="waits")
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_the_one_that_asked_for_it(tmp_path, how):
    """However that ended."""
    (tmp_path / "alone.py").write_text(ALONE)
    files = [tmp_path / "one", tmp_path / "two"]
    command = [sys.executable, str(tmp_path / "alone.py"), *map(str, files)]
    env = os.environ | {"EDITLIB_PROCESSES": "2"}
    run = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, start_new_session=True)
    while not all(file.exists() and file.read_text() for file in files):
        assert run.poll() is None
        time.sleep(0.05)
    started = psutil.Process(run.pid).children(recursive=True)
    assert {int(file.read_text()) for file in files} < {process.pid for process in started}
    os.kill(run.pid, how)
    run.communicate()
    assert not psutil.wait_procs(started, timeout=10)[1]


def test_nothing_to_do_starts_nothing_and_shows_no_bar(monkeypatch, capsys):
    monkeypatch.setattr(cores, "ProcessPoolExecutor", lambda *_, **__: pytest.fail("for no item"))
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
