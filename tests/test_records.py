"""Tables on disk: whole or not at all, and read back as they were written."""

import random
from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pytest

from editlib.records import (
    BadTable,
    Question,
    batches,
    growing_table,
    read_batches,
    read_frame,
    read_table,
    write_frames,
    write_table,
)

QUESTIONS = [
    Question(f"puzzles/navigate/{n}", "puzzles", "navigate", "test", "Where? {é}", "No")
    for n in range(5)
]
SCHEMA = pa.schema([("n", pa.int64())])


@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_a_table_read_in_batches_is_the_table(tmp_path, size):
    path = tmp_path / "questions.parquet"
    write_table(path, QUESTIONS, Question)
    batches = list(read_batches(path, Question, size))
    assert [len(b) for b in batches][:-1] == [size] * (len(batches) - 1)
    assert (
        [record for batch in batches for record in batch] == read_table(path, Question) == QUESTIONS
    )


def test_memory_does_not_grow_with_the_table(tmp_path):
    path, texts = tmp_path / "questions.parquet", random.Random(0)
    with growing_table(path, Question) as add:
        for _ in range(20):
            add([replace(QUESTIONS[0], text=texts.randbytes(500_000).hex()) for _ in range(2)])
    before, most = pa.total_allocated_bytes(), 0
    for _ in read_batches(path, Question, 2):
        most = max(most, pa.total_allocated_bytes() - before)
    assert 0 < most < path.stat().st_size / 4


@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_a_table_that_grows_by_parts_is_the_table(tmp_path, size):
    path = tmp_path / "questions.parquet"
    with growing_table(path, Question) as add:
        for some in batches(iter(QUESTIONS), size):
            assert len(some) <= size and not path.exists()
            add(some)
    assert read_table(path, Question) == QUESTIONS
    assert [q for some in read_batches(path, Question, 3) for q in some] == QUESTIONS


def test_frames_become_one_table(tmp_path):
    path = tmp_path / "n.parquet"
    write_frames(path, (pd.DataFrame({"n": [i]}) for i in range(3)), SCHEMA)
    assert read_frame(path)["n"].tolist() == [0, 1, 2]


def test_an_error_between_two_frames_leaves_the_old_table_and_nothing_beside_it(tmp_path):
    path = tmp_path / "n.parquet"
    write_frames(path, [pd.DataFrame({"n": [7]})], SCHEMA)

    def frames():
        yield pd.DataFrame({"n": [8]})
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        write_frames(path, frames(), SCHEMA)
    assert read_frame(path)["n"].tolist() == [7]
    assert [file.name for file in tmp_path.iterdir()] == ["n.parquet"]


@pytest.mark.parametrize("read", [read_table, lambda *a: list(read_batches(*a))])
def test_what_is_wrong_with_a_table_is_said(tmp_path, read):
    path = tmp_path / "questions.parquet"
    with pytest.raises(BadTable, match=r"questions\.parquet is missing"):
        read(path, Question)
    write_table(path, QUESTIONS, Question)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadTable, match="cut short"):
        read(path, Question)
    pd.DataFrame({"id": ["a"]}).to_parquet(path)
    with pytest.raises(BadTable, match=r"columns \['id'\], expected \['id', 'benchmark'.*Question"):
        read(path, Question)
