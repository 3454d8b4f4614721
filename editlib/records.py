"""The records that flow through the kit, and their tables on disk.

Every record is a frozen dataclass of plain values. A table is one parquet file, written whole to
a temporary name and renamed, so that a reader never sees half of it.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq


@dataclass(frozen=True)
class Question:
    """A question with its gold answer (q, a)."""

    id: str  # "<benchmark>/<task>/<n>", unique
    benchmark: str
    task: str  # the puzzle family or the benchmark's own task name
    split: str  # train, validation, test, longer, families, or a benchmark's name
    text: str
    answer: str


@dataclass(frozen=True)
class CoT:
    """One teacher rationale for a question, its final answer sentence included."""

    id: str  # "<question id>#<role>"
    question_id: str
    task: str
    role: str  # "correct" D+, "wrong" D-, "rectified" D-+, "corrupted" D+-, or dropped: dual.ROLES
    text: str
    answer: str  # gold
    read: str | None  # the answer the text gives; None where none could be read
    completion: str  # key in the completion store


@dataclass(frozen=True)
class DualCoT:
    """A correct and a wrong rationale for the same question (a row of Ddual)."""

    id: str  # "<question id>#<subset>"
    question_id: str
    task: str
    subset: str  # "D+dual" (correct, corrupted) or "D-dual" (rectified, wrong)
    question: str
    correct: str
    wrong: str
    correct_answer: str
    wrong_answer: str
    correct_completion: str  # keys in the completion store
    wrong_completion: str


@dataclass(frozen=True)
class Prediction:
    """What a student answered to a question by greedy decoding."""

    question_id: str
    task: str
    split: str
    method: str
    seed: int
    text: str
    answer: str  # gold
    read: str | None  # None: unread, counted as wrong
    correct: bool


@dataclass(frozen=True)
class Vote:
    """What most of a student's sampled answers to a question say (self-consistency)."""

    question_id: str
    task: str
    split: str
    method: str
    seed: int
    answer: str  # gold
    read: str | None  # the answer with most votes; None: no sample could be read
    samples: int
    votes: int  # samples that gave it
    agreement: float  # votes / samples
    correct: bool


Record = TypeVar("Record")
Item = TypeVar("Item")


class BadTable(ValueError):
    """A table on disk is missing, cut short or of another shape."""


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path, renamed in the end: the file is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(path: Path, write) -> None:
    """Call write(temporary path), then rename."""
    with atomic(path) as temporary:
        write(temporary)


def write_table(path: Path, records: Iterable[Record], kind: type[Record]) -> None:
    """Write records of one kind as a parquet table, whole or not at all."""
    columns = [field.name for field in fields(kind)]
    write_frame(path, pd.DataFrame([asdict(record) for record in records], columns=columns))


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write a frame as a parquet table, whole or not at all."""
    atomic_write(path, lambda temporary: frame.to_parquet(temporary, index=False))


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in lists of so many; the last one may be shorter."""
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch


@contextmanager
def _growing(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """What writes a table part by part.

    Without statistics: nothing reads them, and of long texts they are kept in memory to the end.
    """
    with (
        atomic(path) as temporary,
        pq.ParquetWriter(temporary, schema, write_statistics=False) as writer,
    ):
        yield writer


@contextmanager
def growing_table(path: Path, kind: type[Record]) -> Iterator[Callable[[Sequence[Record]], None]]:
    """What adds records of one kind, all of text, to a table that is there whole in the end.

    Memory does not grow with the table.
    """
    schema = pa.schema([(field.name, pa.string()) for field in fields(kind)])

    def add(records: Sequence[Record]) -> None:
        writer.write_table(pa.Table.from_pylist([vars(record) for record in records], schema))

    with _growing(path, schema) as writer:
        yield add


def write_frames(path: Path, frames: Iterable[pd.DataFrame], schema: pa.Schema) -> None:
    """Write frames of one schema, one after another, as one parquet table, whole or not at all."""
    with _growing(path, schema) as writer:
        for frame in frames:
            writer.write_table(pa.Table.from_pandas(frame, schema, preserve_index=False))


def read_batches(path: Path, kind: type[Record], size: int = 1_000) -> Iterator[list[Record]]:
    """Read a table as records, some at a time: memory does not grow with the table.

    Raises BadTable as read_table does.
    """
    with _opened(path) as file:
        _check_columns(path, file.schema_arrow.names, kind)
        for batch in file.iter_batches(size):
            yield [kind(**row) for row in batch.to_pylist()]


def read_table(path: Path, kind: type[Record]) -> list[Record]:
    """Read a table back as records; raises BadTable saying what is wrong with the file."""
    frame = read_frame(path)
    _check_columns(path, list(frame.columns), kind)
    rows = frame.astype(object).where(frame.notna(), None)
    return [kind(*row) for row in rows.itertuples(index=False, name=None)]


def read_frame(path: Path) -> pd.DataFrame:
    """Read a parquet table as a frame; raises BadTable if it is missing or cut short."""
    with _opened(path) as file:
        return file.read().to_pandas()


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    if not path.exists():
        raise BadTable(f"{path} is missing")
    try:
        # a buffer read ahead would hold the whole file by the time its last batch is read
        with pq.ParquetFile(path, pre_buffer=False) as file:
            yield file
    except BadTable:
        raise
    except (OSError, ValueError) as error:
        raise BadTable(f"{path} cannot be read as parquet (cut short?): {error}") from error


def _check_columns(path: Path, found: list[str], kind: type[Record]) -> None:
    expected = [field.name for field in fields(kind)]
    if found != expected:
        raise BadTable(f"{path}: columns {found}, expected {expected} ({kind.__name__})")
