"""Completions as JSONL, one a line, so that a run can be published and replayed without a key."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from editlib.completions import (
    VERSION,
    Completion,
    CompletionStore,
    completion_key,
    request_of,
)
from editlib.errors import KitError
from editlib.records import atomic_write

_LINE = TypeAdapter(tuple[Completion, dict | None])
_EXTRAS = {"version", "truth"}
Row = TypeVar("Row")


class BadLine(KitError):
    """A line of a file of completions that cannot be used."""


def export(store: CompletionStore, path: Path, ours: Callable[[Completion], bool]) -> int:
    """Write the completions of one run, sorted by key; how many.

    A store may hold those of others, but a replay knows a completion by its prompt alone. The file
    is there whole or not.
    """
    written = 0

    def write(temporary: Path) -> None:
        nonlocal written
        with temporary.open("w", encoding="utf-8") as file:
            for completion, truth in store.rows():
                if not ours(completion):
                    continue
                line = {"version": VERSION, **asdict(completion)}
                line |= {} if truth is None else {"truth": truth}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                written += 1

    atomic_write(path, write)
    return written


@dataclass(frozen=True)
class Loaded:
    """What a file brought, in lines."""

    new: int
    known: int  # completions that were in the store already
    bad: tuple[BadLine, ...]  # lines that cannot be used


def load(store: CompletionStore, path: Path) -> Loaded:
    """Add the completions of a file to a store, whatever other lines of it cannot be used.

    A completion that is already there stays as it is. Raises BadLine if there is no such file.
    """
    bad: list[BadLine] = []
    rows = list(read(path, bad))
    new = store.add_all((replace(row, origin="imported"), truth) for row, truth in rows)
    return Loaded(new, len(rows) - new, tuple(bad))


def read(path: Path, bad: list[BadLine] | None = None) -> Iterator[tuple[Completion, dict | None]]:
    """Each completion of a file, with its truth where there is one.

    Raises BadLine at a line that cannot be used; where there is a list `bad`, it is put there.
    """
    return each(path, _parse, bad)


def each(path: Path, parse: Callable[[dict, str], Row], bad: list[BadLine] | None) -> Iterator[Row]:
    """What parse(object, its place) makes of each line of a file; see read."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    row = parse(_object(line, f"{path}:{number}"), f"{path}:{number}")
                except BadLine as problem:
                    if bad is None:
                        raise
                    bad.append(problem)
                else:
                    yield row
    except OSError as error:
        raise BadLine(
            f"{path} cannot be read: {error.strerror}. Expected a file of JSONL"
        ) from error


def _object(line: bytes, where: str) -> dict:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadLine(
            f"{where}: not JSON ({error}). Expected JSONL, one object a line. Name the file that "
            "was exported or, if this is it, fetch it again: it was cut short"
        ) from error
    if not isinstance(found, dict):
        raise BadLine(f"{where}: a {type(found).__name__}, expected an object with a completion")
    return found


def _parse(line: dict, where: str) -> tuple[Completion, dict | None]:
    if "custom_id" in line:
        raise BadLine(f"{where}: a line of a batch file. Its results are added by batch-read")
    if line.get("version") != VERSION:
        raise BadLine(
            f"{where}: version {line.get('version')!r}, expected {VERSION}. Export it with the "
            "version of this kit"
        )
    try:
        fields = json.dumps([_without(line, _EXTRAS), line.get("truth")], ensure_ascii=False)
        row, truth = _LINE.validate_json(fields.encode(errors="replace"))  # half a surrogate pair
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(map(str, first["loc"][1:])) or "truth"
        raise BadLine(f"{where}: {field}: {first['msg']}") from error
    if row.key != completion_key(row.teacher, request_of(row)):
        raise BadLine(
            f"{where}: its key is not that of its prompt, teacher and sampling settings: the line "
            "was edited. Fetch the file again, or leave the line out"
        )
    return row, truth


def _without(line: dict, names: set[str]) -> dict:
    return {name: value for name, value in line.items() if name not in names}
