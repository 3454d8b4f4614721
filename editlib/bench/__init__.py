"""What the fast paths gain, each beside a plain way of doing the same: ``make bench``.

The two run in turn, in one process and on the same input: machines differ, and so does what else
they do, but a ratio of neighbours holds. Baselines are definitions written to be read, or another
library's way; that the results are equal is checked here once and tested in tests/.
"""

import json
import re
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import torch
from tqdm.auto import tqdm

from editlib.manifest import commit, hardware
from editlib.records import atomic_write

REPEATS = 5
Job = Callable[[int], object]  # (repeat) -> anything; each repeat may take other input


@dataclass(frozen=True)
class Baseline:
    """Another way to the same result, and how many times faster the kit's should be."""

    job: Job
    goal: float
    part: float = 1.0  # of the kit's work that its job does: a slow one may do some of it


@dataclass(frozen=True)
class Benchmark:
    """The kit's way of doing a piece of work, and those it is held against."""

    name: str
    work: str  # on what
    kit: Job
    baselines: dict[str, Baseline]

    @property
    def jobs(self) -> dict[str, tuple[Job, float]]:
        """Each way and the part of the work that it does, the kit's last."""
        baselines = {name: (each.job, each.part) for name, each in self.baselines.items()}
        return baselines | {"kit": (self.kit, 1.0)}


def run_in_turn(benchmarks: Sequence[Benchmark], repeats: int = REPEATS) -> pd.DataFrame:
    """Time every job of every benchmark, baselines and kit in turn.

    The kit's way runs once before, unmeasured: baselines call the same kernels, and some take long.
    Returns one row a run: benchmark, work, way, repeat, seconds (of the whole work).
    """
    rows = []
    with tqdm(total=sum(len(each.jobs) for each in benchmarks) * repeats, desc="bench") as bar:
        for benchmark in benchmarks:
            benchmark.kit(0)
            for repeat in range(repeats):
                for way, (job, part) in benchmark.jobs.items():
                    seconds = seconds_of(partial(job, repeat)) / part
                    rows.append((benchmark.name, benchmark.work, way, repeat, seconds))
                    bar.update()
    return pd.DataFrame(rows, columns=["benchmark", "work", "way", "repeat", "seconds"])


def seconds_of(job: Callable[[], object]) -> float:
    """How long a job takes, once."""
    started = time.perf_counter()
    job()
    return time.perf_counter() - started


def ratios(benchmarks: Sequence[Benchmark], times: pd.DataFrame) -> pd.DataFrame:
    """How many times faster the kit is than each baseline.

    Returns benchmark, work, baseline, seconds_baseline, seconds (medians), ratio (median over
    repeats of the ratio of neighbours), lowest, highest, goal, met (the ratio is no less).
    """
    rows = []
    for each in benchmarks:
        chosen = times[(times["benchmark"] == each.name) & (times["work"] == each.work)]
        seconds = {way: list(group["seconds"]) for way, group in chosen.groupby("way")}
        for name, baseline in each.baselines.items():
            gains = [a / b for a, b in zip(seconds[name], seconds["kit"], strict=True)]
            medians = (statistics.median(seconds[way]) for way in (name, "kit"))
            spread = statistics.median(gains), min(gains), max(gains)
            goal = baseline.goal, spread[0] >= baseline.goal
            rows.append((each.name, each.work, name, *medians, *spread, *goal))
    columns = ["benchmark", "work", "baseline", "seconds_baseline", "seconds"]
    return pd.DataFrame(rows, columns=[*columns, "ratio", "lowest", "highest", "goal", "met"])


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread, as in every process of a run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def in_fresh_process(function: Callable, *args):
    """function(*args), in a process of its own that nothing ran in before."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def peak_mb() -> float:
    """The most memory that this process has held so far, MB."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux counts into ru_maxrss what the process that started this one held
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes, on a Mac


def write_machine(folder: Path, tables: Iterable[str], **more) -> str:
    """Say in machine.json what these tables were measured on; returns its text.

    It is a list of runs, the last one first. A table stands with the run that made it last.
    """
    path, tables = folder / "machine.json", list(tables)
    told = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    older = [run | {"tables": [t for t in run["tables"] if t not in tables]} for run in told]
    now = {"tables": [], "commit": commit(), "hardware": hardware(), **more}
    mine = [name for run in older if run | {"tables": []} == now for name in run["tables"]]
    others = [run for run in older if run["tables"] and run | {"tables": []} != now]
    text = json.dumps([now | {"tables": mine + tables}, *others], indent=1) + "\n"
    atomic_write(path, lambda file: file.write_text(text, encoding="utf-8"))
    return text


def write_page(folder: Path, by: str, machine: str, tables: Mapping[str, pd.DataFrame]) -> None:
    """README.md of a folder of results: who wrote it where, and each table under what it says."""
    page = [f"# Speed\n\n{by}:\n\n```\n{machine}```"]
    page += [f"{said}:\n\n{_markdown(table)}" for said, table in tables.items()]
    whole = "\n\n".join(page) + "\n"
    atomic_write(folder / "README.md", lambda file: file.write_text(whole, encoding="utf-8"))


def _markdown(table: pd.DataFrame) -> str:
    cells = table.map(lambda value: f"{value:,.3g}" if isinstance(value, float) else f"{value}")
    rows = [list(table.columns), ["---"] * len(table.columns), *cells.values.tolist()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
