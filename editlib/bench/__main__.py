"""``python -m editlib.bench``: run benchmarks, print what they measured, write results/bench/."""

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from editlib import benchmarks
from editlib.bench import (
    extraction,
    kills,
    profile,
    ratios,
    run_in_turn,
    scale,
    steps,
    teaching,
    write_machine,
    write_page,
    writing,
)
from editlib.records import atomic_write
from editlib.workspace import KIT

RESULTS = KIT.parent / "results" / "bench"
SAYS = {
    "ratios": "How many times faster than each baseline: the median of the ratios of 5 turns (of "
    "seconds, the medians), lowest and highest, and what was hoped for (below 1 beside the "
    "library's alignment alone, which is a bound)",
    "memory": "Peak memory of one KRSL step over that of the loaded student",
    "run": "Where the seconds of the committed run of profile mini went: what a kernel had left to "
    "import, having begun while the notebook before ran, the longest cell, and all others",
    "profile": "Where a step and answers of profile mini spend their time, one thread, profiler on",
    "scale": "Stages by number of questions, side by side: CPU time a question, added peak memory",
    "teacher": "An endpoint teacher beside its server alone: seconds, share of the ideal, memory",
    "replay": "All chains and pairs of BBH once more, from a store that has them: nothing is asked",
    "kills": "An endpoint teacher that is killed at random moments, imports included, and run on",
}
ASKED_FOR = ("profile", "teacher", "replay", "kills")  # four minutes more


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m editlib.bench", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder to write to")
    parser.add_argument(
        "--pairs", type=int, nargs="+", default=[1_000, 2_000], help="sizes of the scale benchmark"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=SAYS,
        default=[name for name in SAYS if name not in ASKED_FOR],
        help=f"make these tables, others stay (default: all but {', '.join(ASKED_FOR)})",
    )
    options = parser.parse_args()
    for name in options.only:
        if tables := _made(name, options.pairs):
            write(options.results, tables)
    print((options.results / "README.md").read_text(encoding="utf-8"))


def _made(name: str, sizes: Sequence[int]) -> dict[str, pd.DataFrame]:
    """A table of the page; with the ratios come the times they are made of."""
    if name == "ratios":
        groups = [*extraction.benchmarks(), *steps.benchmarks(), *writing.benchmarks()]
        times = run_in_turn(groups)
        return {"times": times, "ratios": ratios(groups, times)}
    if name == "replay" and "bbh" not in benchmarks.present():
        print("replay: left out, since EDITLIB_DATA_DIR names no folder that holds bbh/")
        return {}
    make = {
        "memory": steps.memory,
        "scale": partial(scale.stages, sizes),
        "run": profile.run,
        "profile": profile.shares,
        "teacher": teaching.throughput,
        "kills": kills.killed,
        "replay": teaching.replay,
    }
    return {name: pd.DataFrame(make[name]())}


def write(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """The tables as CSV, the machine as JSON, and a page that also shows those made before."""
    for name, table in tables.items():
        atomic_write(folder / f"{name}.csv", lambda file, t=table: t.to_csv(file, index=False))
    machine = write_machine(folder, tables, threads=torch.get_num_threads())
    paths = {said: folder / f"{name}.csv" for name, said in SAYS.items()}
    shown = {said: pd.read_csv(path) for said, path in paths.items() if path.exists()}
    write_page(folder, "As `make bench` wrote it", machine, shown)


if __name__ == "__main__":
    main()
