"""Key steps of whole data sets: does time grow with the pairs alone, and memory not at all?"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import pandas as pd
import pyarrow as pa

from editlib import bases, keysteps, profiles
from editlib.bench import in_fresh_process, pairs, peak_mb
from editlib.records import DualCoT, read_batches, write_frames

BATCH = 1_000  # pairs
TEXT = pa.schema([(name, pa.string()) for name in DualCoT.__dataclass_fields__])


def extraction(sizes: Sequence[int]) -> list[dict]:
    """From a table of pairs to a table of key steps, for several numbers of pairs.

    Returns rows of pairs, seconds, mb (peak of the process over that before the first pair).
    """
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "duals.parquet"
        rows = []
        for size in sizes:
            in_fresh_process(write_pairs, source, size)
            seconds, mb = in_fresh_process(locate, source)
            rows.append({"pairs": size, "seconds": seconds, "mb": mb})
    return rows


def write_pairs(path: Path, number: int) -> None:
    """A table of so many pairs: those of some puzzles over and over, under new names."""
    write_frames(path, _frames(number), TEXT)


def _frames(number: int) -> Iterator[pd.DataFrame]:
    some = cycle(pairs.of_puzzles(BATCH // 10))
    for start in range(0, number, BATCH):
        chosen = islice(some, min(BATCH, number - start))
        yield pd.DataFrame([vars(replace(p, id=f"{start + i}")) for i, p in enumerate(chosen)])


def locate(source: Path) -> tuple[float, float]:
    """Seconds and MB of reading pairs, finding their key steps and writing them."""
    segment = keysteps.TokenSegmenter(bases.load_tokenizer(profiles.load("mini").student))
    segment.ids(["warm"])
    before, started = peak_mb(), time.perf_counter()
    marks = (keysteps.mark(batch, segment) for batch in read_batches(source, DualCoT, BATCH))
    write_frames(source.with_name("keysteps.parquet"), marks, keysteps.MARKS)
    return time.perf_counter() - started, peak_mb() - before
