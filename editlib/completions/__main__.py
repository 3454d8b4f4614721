"""Completions in and out of a run's store, from the command line.

``python -m editlib.completions export --profile mine run.jsonl`` writes them as JSONL, ``import``
adds such a file; ``batch-write`` writes what the teacher would be asked next as a batch file, and
``batch-read`` adds its results.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from editlib import options, pipeline
from editlib.batch_files import BatchWritten, read_results
from editlib.completions import exchange
from editlib.errors import KitError
from editlib.profiles import EndpointTeacherSettings
from editlib.workspace import Workspace, open_workspace


class NoEndpoint(KitError):
    """Batch files need a profile whose teacher is an endpoint."""


def main(argv: Sequence[str] | None = None) -> int:
    """0: done; 2: a file (or lines of one), a profile or a store that cannot be used."""
    parser = argparse.ArgumentParser(prog="editlib.completions", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    options.add(parser)
    parser.add_argument("file", type=Path, help="JSONL")
    parser.add_argument(
        "--again", action="store_true", help="batch-write: what an earlier file holds too"
    )
    arguments = parser.parse_args(argv)
    try:
        overrides = options.split_assignments(arguments.set)
        ws = open_workspace(arguments.profile, overrides, arguments.results)
        if arguments.again:
            ws = _with_teacher(ws, batch_again=True)
        said, bad = COMMANDS[arguments.command](ws, arguments.file)
    except KitError as error:
        options.complain(error)
        return 2
    print(said)
    if bad:
        options.complain(KitError(f"{len(bad):,} lines cannot be used, the first: {bad[0]}"))
    return 2 if bad else 0


Said = tuple[str, tuple[exchange.BadLine, ...]]  # what was done, and the lines that were no use


def _export(ws: Workspace, file: Path) -> Said:
    with pipeline.completion_store(ws) as store:
        written = exchange.export(store, file, partial(pipeline.is_asked_by, ws))
    return f"{written:,} completions written to {file}", ()


def _import(ws: Workspace, file: Path) -> Said:
    with pipeline.completion_store(ws) as store:
        read = exchange.load(store, file)
    return f"{read.new:,} completions added from {file}, {read.known:,} known already", read.bad


def _batch_write(ws: Workspace, file: Path) -> Said:
    writing = _with_teacher(ws, batch_file=file)
    try:
        pipeline.teach(writing)
    except BatchWritten as written:
        return str(written), ()
    return f"Nothing is left to ask, and {file} was not written", ()


def _batch_read(ws: Workspace, file: Path) -> Said:
    settings = _endpoint(ws)
    with pipeline.completion_store(ws) as store:
        read = read_results(store, file, settings)
    failed = f"; {read.failed:,} failed, the first with {read.example}" if read.failed else ""
    said = f"{read.new:,} completions added from {file}, {read.known:,} known already{failed}"
    return said, read.bad


def _with_teacher(ws: Workspace, **changes) -> Workspace:
    settings = _endpoint(ws).model_copy(update=changes)
    return replace(ws, profile=ws.profile.model_copy(update={"teacher": settings}))


def _endpoint(ws: Workspace) -> EndpointTeacherSettings:
    settings = ws.profile.teacher
    if not isinstance(settings, EndpointTeacherSettings):
        raise NoEndpoint(
            f"profile {ws.name} has teacher.kind {settings.kind}; batch files need endpoint"
        )
    return settings


COMMANDS = {
    "export": _export,
    "import": _import,
    "batch-write": _batch_write,
    "batch-read": _batch_read,
}

if __name__ == "__main__":
    sys.exit(main())
