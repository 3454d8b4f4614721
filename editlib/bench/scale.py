"""Dual sets and key steps at scale: does time grow with the pairs alone, and memory not at all?"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from editlib import bases, dual, keysteps, pipeline, profiles
from editlib.bench import in_fresh_process, pairs, peak_mb
from editlib.records import CoT, DualCoT, Question, growing_table, read_batches, write_frames
from editlib.workspace import Workspace, open_workspace

BATCH = 1_000  # pairs
TEXT = pa.schema([(name, pa.string()) for name in DualCoT.__dataclass_fields__])


def extraction(sizes: Sequence[int]) -> list[dict]:
    """From a table of pairs to a table of key steps, for several numbers of pairs.

    Returns rows of work, pairs, seconds, mb (peak of the process over that before the first pair).
    """
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "duals.parquet"
        rows = []
        for size in sizes:
            in_fresh_process(write_pairs, source, size)
            seconds, mb = in_fresh_process(locate, source)
            rows.append({"work": "key steps", "pairs": size, "seconds": seconds, "mb": mb})
    return rows


def dual_sets(sizes: Sequence[int]) -> list[dict]:
    """From annotated questions to a table of pairs, asking a puzzle teacher; rows as extraction().

    The sizes are numbers of questions: pairs tells how many were made. The questions are those of
    some puzzles over and over. Their CCP prompts differ by exemplars and are asked one and all,
    their AHP prompts are answered from the store after the first.
    """
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as scratch:
            in_fresh_process(write_annotation, Path(scratch), size)
            made, seconds, mb = in_fresh_process(build, Path(scratch))
        rows.append({"work": "dual set", "pairs": made, "seconds": seconds, "mb": mb})
    return rows


def write_annotation(results: Path, number: int) -> None:
    """The stage of notebook 01 for so many questions."""
    ws = open_workspace("mini", results=results)
    ws.stage("annotation", partial(_annotate, ws, number))


def _annotate(ws: Workspace, number: int, folder: Path) -> None:
    some = pipeline.training_questions(ws)
    chains = dual.annotate(some, pipeline.teacher_chains(ws, some))
    numbered = zip(range(number), cycle(zip(some, chains, strict=True)), strict=False)
    with (
        growing_table(folder / "questions.parquet", Question) as add_questions,
        growing_table(folder / "cots.parquet", CoT) as add_cots,
    ):
        while batch := list(islice(numbered, BATCH)):
            add_questions([replace(question, id=f"puzzles/{i}") for i, (question, _) in batch])
            add_cots(
                [
                    replace(c, id=f"puzzles/{i}#{c.role}", question_id=f"puzzles/{i}")
                    for i, (_, c) in batch
                ]
            )


def build(results: Path) -> tuple[int, float, float]:
    """Pairs made, seconds and MB of rectifying, corrupting, checking, pairing and writing."""
    ws = open_workspace("mini", results=results)
    before, started = peak_mb(), time.perf_counter()
    folder = pipeline.build_duals(ws)
    seconds, mb = time.perf_counter() - started, peak_mb() - before
    return pq.read_metadata(folder / "duals.parquet").num_rows, seconds, mb


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
