"""The stages of notebooks 01 to 03 at scale: does time grow with the questions, memory not at all?

Memory is the peak of a process over what it held before its first question: the parts of a set that
are worked on at a time, and libraries that warm up. A part is a tenth of its usual size here, so
that every number is of several parts without a long wait.
"""

import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path

import pyarrow.parquet as pq

from editlib import pipeline, puzzles
from editlib.bench import in_fresh_process, peak_mb
from editlib.records import Question
from editlib.workspace import Workspace, open_workspace

STEPS = 4  # of a puzzle, as in training
PART = pipeline.AT_ONCE // 10  # questions


def stages(sizes: Sequence[int]) -> list[dict]:
    """Every stage up to key steps, each in a fresh process, for several numbers of questions.

    The numbers are worked on side by side, so seconds are those of a busy machine.

    All prompts are put to the puzzle teacher of mini, and what it says is stored: some 20 KB of
    disk a question. Returns rows of work, questions, pairs (that came of them), seconds, cpu_ms (of
    a processor, a question: what else the machine does counts less in it), mb.
    """
    with ThreadPoolExecutor() as pool:
        return list(chain.from_iterable(pool.map(_stages, sizes)))


def _stages(size: int) -> list[dict]:
    with tempfile.TemporaryDirectory() as scratch:
        taken = {work: in_fresh_process(_measure, work, scratch, size) for work in WORKS}
        duals = open_workspace("mini", results=scratch).need("duals") / "duals.parquet"
        pairs = pq.read_metadata(duals).num_rows
    sizes = {"questions": size, "pairs": pairs}
    return [{"work": work} | sizes | measured for work, measured in taken.items()]


def _measure(work: str, results: str, size: int) -> dict[str, float]:
    """What one stage takes; those before it are there."""
    ws = open_workspace("mini", results=results)
    pipeline.AT_ONCE = PART
    pipeline.segmenter(ws)  # its libraries are loaded when they are wanted
    before, started, worked = peak_mb(), time.perf_counter(), time.process_time()
    WORKS[work](ws, size)
    cpu = 1_000 * (time.process_time() - worked) / size
    return {"seconds": time.perf_counter() - started, "cpu_ms": cpu, "mb": peak_mb() - before}


def _annotate(ws: Workspace, size: int) -> Path:
    return ws.stage("annotation", partial(pipeline.annotate_each, ws, drawn(size)))


WORKS = {
    "annotation": _annotate,
    "second sample": lambda ws, _: pipeline.resample(ws),
    "dual set": lambda ws, _: pipeline.build_duals(ws),
    "key steps": lambda ws, _: pipeline.locate(ws),
}


def drawn(number: int) -> Iterator[Question]:
    """So many puzzles as in training, of each family in turn; a text may come twice."""
    rng = random.Random("bench")
    for i in range(number):
        family = puzzles.FAMILIES[puzzles.IN_DOMAIN[i % len(puzzles.IN_DOMAIN)]]
        problem = family.draw(rng, STEPS)
        text = family.ask(problem)
        solved = puzzles.reason(puzzles.Puzzle(family.name, problem), puzzles.Voice(text))
        yield Question(f"puzzles/{i}", "puzzles", family.name, "train", text, solved.answer)
