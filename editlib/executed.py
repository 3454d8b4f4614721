"""Run one notebook in a kernel, and tidy the executed copy for git."""

import logging
import re
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from nbformat import NotebookNode
from papermill import PapermillExecutionError, execute_notebook
from tqdm import tqdm

from editlib.kernels import OwnKernel
from editlib.workspace import KIT

HEARTBEAT = 0.5  # seconds between two looks at memory and clock
START = 600  # seconds a kernel may take to import, from a slow disk
BAR = re.compile(r"\d+%\||\d+(it|ex|rows)? \[\d\d:\d\d")  # a tqdm bar, with and without a total
CELL_FILE = re.compile(r"(?<!\S)/\S*ipykernel_\d+/\d+\.py")  # a cell, in a warning
WIDGET = "application/vnd.jupyter.widget-view+json"

logging.getLogger("papermill").setLevel(logging.ERROR)  # the driver checks parameters itself


class NotebookFailed(RuntimeError):
    """A cell raised, or the kernel died; the message says where and what to do."""


class Clock:
    """Seconds of each code cell and peak memory of all processes, taken while a notebook runs."""

    def __init__(self, kernel: OwnKernel, tick: Callable[["Clock"], None]):
        self.kernel = kernel
        self.cells: list[float] = []  # seconds of the cells that are done
        self.total = 0.0  # seconds, the wait for the kernel included
        self.peak = 0  # bytes resident, of this process, the kernel and all that it started
        self.started = self.last = time.monotonic()
        self._tick = tick
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> "Clock":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.total = time.monotonic() - self.started
        self._stopped.set()
        self._thread.join()

    def running(self) -> float:
        """Seconds since the last code cell was done."""
        return time.monotonic() - self.last

    def executed(self, **_) -> None:
        """Called by nbclient after each code cell."""
        self.cells.append(self.running())
        self.last = time.monotonic()

    def _beat(self) -> None:
        while not self._stopped.wait(HEARTBEAT):
            self.peak = max(self.peak, _resident(self.kernel.pid))
            self._tick(self)


class Progress:
    """One bar over the code cells of the run, paced by how long each took in the last run."""

    def __init__(self, expected: dict[str, list[float]]):
        self.expected = expected  # seconds of each code cell, by notebook
        self.done = 0.0  # expected seconds of the notebooks that are through
        self.bar = tqdm(
            total=sum(map(sum, expected.values())),
            bar_format="{desc} {percentage:3.0f}%|{bar:30}| {elapsed}, about {remaining} left"
            "{postfix}",
            disable=None,  # no bar where the output is no terminal
            leave=False,
        )

    def clock(self, name: str, kernel: OwnKernel) -> Clock:
        """A clock for one notebook that moves the bar as its cells are done."""
        self.bar.set_description_str(name)
        return Clock(kernel, lambda clock: self._show(name, clock))

    def skip(self, name: str) -> None:
        self.bar.total -= sum(self.expected[name])

    def finish(self, name: str) -> None:
        self.done += sum(self.expected[name])
        self.bar.set_postfix_str("", refresh=False)

    def say(self, line: str) -> None:
        self.bar.write(line)

    def beside(self, line: str) -> None:
        """Show a bar of the notebook that runs beside the bar of the run; no other line."""
        if BAR.search(line):
            self.bar.set_postfix_str(line.strip(), refresh=False)

    def close(self) -> None:
        self.bar.close()

    def _show(self, name: str, clock: Clock) -> None:
        cells, done = self.expected[name], len(clock.cells)
        current = sum(cells[done : done + 1])  # a cell that takes longer holds the bar still
        self.bar.n = self.done + sum(cells[:done]) + min(clock.running(), current)
        self.bar.refresh()


class Lines:
    """What a kernel prints, line by line as it comes; a file, as papermill wants one."""

    def __init__(self, line: Callable[[str], None]):
        self._line, self._rest = line, ""

    def write(self, text: str) -> None:
        *whole, self._rest = re.split(r"[\r\n]", self._rest + text)
        for line in filter(str.strip, whole):
            self._line(line)

    def flush(self) -> None:
        """Nothing: a line that is not whole waits for its end."""


def execute(
    source: Path, partial: Path, parameters: dict, clock: Clock, progress: Progress
) -> NotebookNode:
    """Run a notebook in the clock's kernel; every executed cell is saved in partial at once.

    What it prints goes to the terminal too, such as what a teacher is about to cost, and the bar
    that it shows goes beside that of the run. Raises NotebookFailed when a cell raises or the
    kernel dies.
    """
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        return execute_notebook(
            _literal(source),
            _literal(partial),
            parameters,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            stdout_file=Lines(progress.say),
            stderr_file=Lines(progress.beside),
            km=clock.kernel,
            start_timeout=START,
            on_cell_executed=clock.executed,
        )
    except KeyboardInterrupt:
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # else it shows the cell's error
        raise
    except PapermillExecutionError as error:
        cause = f"cell [{error.exec_count}], {error.ename}: {error.evalue}"
        raise NotebookFailed(_advice(source, cause, partial)) from error
    except RuntimeError as error:  # DeadKernelError, or what jupyter_client raises at the start
        cause = f"cell [{len(clock.cells) + 1}]: {error} (out of memory, or killed)"
        raise NotebookFailed(_advice(source, cause, partial)) from error


def tidy(notebook: NotebookNode) -> NotebookNode:
    """Drop what would differ in the next run of the same notebook: times, bars, paths, random ids.

    Changes the notebook that it is given, and returns it.
    """
    notebook.metadata.pop("papermill", None)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.id = "injected-parameters"
        if cell.cell_type == "code":
            cell.outputs = [_without_paths(output) for output in cell.outputs if _is_kept(output)]
    return notebook


def _is_kept(output: NotebookNode) -> bool:
    if output.output_type == "stream" and output.name == "stderr":
        parts = re.split(r"[\r\n]", output.text)
        output.text = "\n".join(part for part in parts if not BAR.search(part)).strip("\n")
        return bool(output.text)
    return WIDGET not in output.get("data", {})


def _without_paths(value):
    if isinstance(value, dict):
        return NotebookNode({key: _without_paths(part) for key, part in value.items()})
    if isinstance(value, list):
        return [_without_paths(part) for part in value]
    if isinstance(value, str):
        value = value.replace(sys.prefix, ".venv").replace(str(KIT.parent), ".")
        return CELL_FILE.sub("<cell>", value)
    return value


def _literal(path: Path) -> str:
    """papermill formats paths: a brace in one has to be doubled."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _advice(source: Path, cause: str, partial: Path) -> str:
    return (
        f"{source.stem} stopped at {cause}\n"
        f"What ran so far: {partial}\n"
        "Mend the cause and run the same command again: it continues with this notebook."
    )


def _resident(kernel: int) -> int:
    total = psutil.Process().memory_info().rss
    with suppress(psutil.NoSuchProcess):
        started = psutil.Process(kernel)
        for each in (started, *started.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += each.memory_info().rss
    return total
