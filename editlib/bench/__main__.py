"""``python -m editlib.bench``: run the benchmarks, print the ratios, write results/bench/."""

import argparse
import json
from pathlib import Path

import pandas as pd
import torch

from editlib.bench import extraction, ratios, run_in_turn, scale, steps, writing
from editlib.manifest import commit, hardware
from editlib.records import atomic_write
from editlib.workspace import KIT

RESULTS = KIT.parent / "results" / "bench"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m editlib.bench", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder to write to")
    parser.add_argument(
        "--pairs", type=int, nargs="+", default=[1_000, 10_000], help="sizes of the scale benchmark"
    )
    options = parser.parse_args()
    groups = [*extraction.benchmarks(), *steps.benchmarks(), *writing.benchmarks()]
    times = run_in_turn(groups)
    gains = ratios(groups, times)
    memory = pd.DataFrame(steps.memory())
    growth = pd.DataFrame(scale.extraction(options.pairs))
    tables = {"times": times, "ratios": gains, "memory": memory, "scale": growth}
    for name, table in tables.items():
        atomic_write(options.results / f"{name}.csv", lambda f, t=table: t.to_csv(f, index=False))
    machine = {"commit": commit(), "hardware": hardware(), "threads": torch.get_num_threads()}
    text = json.dumps(machine, indent=1) + "\n"
    atomic_write(options.results / "machine.json", lambda file: file.write_text(text))
    for table in (gains, memory, growth):
        print(table.to_string(index=False, float_format="{:.3g}".format), end="\n\n")


if __name__ == "__main__":
    main()
