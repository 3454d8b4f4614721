"""``python -m editlib.bench``: run the benchmarks, print the ratios, write results/bench/."""

import argparse
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
    "ratios": "How many times faster than each baseline: medians of 5 turns, lowest and highest",
    "memory": "Peak memory of one KRSL step over that of the loaded student",
    "profile": "Where the time of the profile mini goes, on one thread and under a profiler",
    "scale": "Dual sets of annotated questions, key steps of dual sets; memory over that at first",
    "teacher": "An endpoint teacher beside its server alone: seconds, share of the ideal, memory",
    "replay": "All chains and pairs of BBH once more, from a store that has them: nothing is asked",
    "kills": "An endpoint teacher that is killed at random moments, imports included, and run on",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m editlib.bench", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder to write to")
    parser.add_argument(
        "--pairs", type=int, nargs="+", default=[1_000, 5_000], help="sizes of the scale benchmark"
    )
    options = parser.parse_args()
    mirrored = "bbh" in benchmarks.present()
    groups = [*extraction.benchmarks(), *steps.benchmarks(), *writing.benchmarks()]
    times = run_in_turn(groups)
    tables = {
        "times": times,
        "ratios": ratios(groups, times),
        "memory": pd.DataFrame(steps.memory()),
        "scale": pd.DataFrame(scale.dual_sets(options.pairs) + scale.extraction(options.pairs)),
        "profile": pd.DataFrame(profile.shares()),
        "teacher": pd.DataFrame(teaching.throughput()),
        "kills": pd.DataFrame(kills.killed()),
    }
    if mirrored:
        tables["replay"] = pd.DataFrame(teaching.replay())
    else:
        print("replay: left out, since EDITLIB_DATA_DIR names no folder that holds bbh/")
    write(options.results, tables)
    print((options.results / "README.md").read_text(encoding="utf-8"))


def write(folder: Path, tables: dict[str, pd.DataFrame]) -> None:
    """The tables as CSV, the machine as JSON, and a page that shows both."""
    for name, table in tables.items():
        atomic_write(folder / f"{name}.csv", lambda file, t=table: t.to_csv(file, index=False))
    machine = write_machine(folder, threads=torch.get_num_threads())
    said = {said: tables[name] for name, said in SAYS.items() if name in tables}
    write_page(folder, "As `make bench` wrote it on this machine", machine, said)


if __name__ == "__main__":
    main()
