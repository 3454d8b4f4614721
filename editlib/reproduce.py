"""Run the notebooks of a profile: ``python -m editlib.reproduce --profile mini``.

Each notebook runs in a process of its own, through papermill, with the profile and its overrides
as parameters. The executed copy goes to results/<profile>/notebooks/ once it is whole. A notebook
is not run again as long as its source, its parameters, the settings, the library, the data, what
earlier notebooks made and what it wrote itself are unchanged.
"""

import argparse
import ast
import json
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import nbformat
import yaml

from editlib import executed, manifest, options, report
from editlib.benchmarks import mirror
from editlib.errors import KitError, unknown
from editlib.kernels import Kernels, OwnKernel
from editlib.records import atomic_write
from editlib.workspace import KIT, STAGES, MissingInput, Workspace, digest, open_workspace

NOTEBOOKS = KIT.parent / "notebooks"
OWN = ("profile", "overrides", "results")  # parameters that the driver sets


class BadNotebook(KitError):
    """A notebook is missing, cannot be read, or does not take a parameter."""


def reproduce(
    ws: Workspace,
    chosen: Sequence[str],
    parameters: dict[str, dict],
    overrides: Sequence[str] = (),
    force: bool = False,
) -> None:
    """Bring the chosen notebooks up to date, in the profile's order, then manifest and report.

    parameters: those of each notebook of the profile, by its name.
    Raises NotebookFailed at the first cell that raises; what came before is kept. Raises KitError
    where nothing can be written.
    """
    header, data = manifest.describe(ws, overrides), manifest.data_fingerprint(ws)
    ws.create()
    entries, names = {}, ws.profile.notebooks
    progress = executed.Progress(_expected_seconds(ws, chosen))
    kernels, following = Kernels(NOTEBOOKS), dict(pairwise(chosen))
    try:
        for number, name in enumerate(names, start=1):
            key, entry = _key(ws, name, parameters[name], data), _read_entry(ws, name)
            fresh = _is_unchanged(ws, name, entry, key)
            if name in chosen and (force or not fresh):
                kernel = kernels.take(name, following.get(name))
                entry, fresh = _run(ws, name, parameters[name], key, kernel, progress), True
                kernels.leave()
                _write_manifest(ws, header, entries | {name: entry})
                progress.say(f"[{number}/{len(names)}] {name}  {_duration(entry['seconds'])}")
            elif name in chosen:
                progress.skip(name)
                progress.say(f"[{number}/{len(names)}] {name}  unchanged")
            if fresh:
                entries[name] = entry
    finally:
        kernels.close()
        progress.close()
        _write_manifest(ws, header, entries)
    report.build(ws)


def _run(
    ws: Workspace,
    name: str,
    parameters: dict,
    key: str,
    kernel: OwnKernel,
    progress: executed.Progress,
) -> dict:
    """Run one notebook, keep its executed copy, and return and store its entry of the manifest."""
    source, target = NOTEBOOKS / f"{name}.ipynb", ws.folder / "notebooks" / f"{name}.ipynb"
    partial = ws.artifacts / "partial" / source.name
    before = _written(ws)
    with progress.clock(name, kernel) as clock:
        notebook = executed.execute(source, partial, parameters, clock, progress)
    progress.finish(name)
    executed.tidy(notebook)
    atomic_write(target, lambda temporary: nbformat.write(notebook, temporary))
    partial.unlink()
    new = [path for path, state in _written(ws).items() if before.get(path) != state]
    entry = {
        "key": key,
        "parameters": parameters,
        "seconds": round(clock.total, 1),
        "cell_seconds": [round(seconds, 1) for seconds in clock.cells],
        "peak_memory_mb": round(clock.peak / 2**20),
        "outputs": {path: _hash(ws, path) for path in [*new, f"notebooks/{source.name}"]},
        "stages": _stages(ws, [name]),
    }
    _write_json(_entry_path(ws, name), entry)
    return entry


def _key(ws: Workspace, name: str, parameters: dict, data: str | None) -> str:
    """Fingerprint of all that a notebook depends on, the work of earlier notebooks included."""
    earlier = ws.profile.notebooks[: ws.profile.notebooks.index(name)]
    return digest(
        NOTEBOOKS / f"{name}.ipynb",
        parameters,
        ws.profile.model_dump(mode="json"),
        KIT,
        data,
        _stages(ws, earlier),
        _tables(ws, earlier),
    )


def _is_unchanged(ws: Workspace, name: str, entry: dict | None, key: str) -> bool:
    return (
        entry is not None
        and entry["key"] == key
        and entry["stages"] == _stages(ws, [name])
        and all(_hash(ws, path) == expected for path, expected in entry["outputs"].items())
    )


def _stages(ws: Workspace, makers: Sequence[str]) -> dict[str, str | None]:
    """Fingerprint of what lies on disk for each stage of these notebooks; None: not usable."""
    return {stage: _stage(ws, stage) for stage, (maker, _) in STAGES.items() if maker in makers}


def _stage(ws: Workspace, stage: str) -> str | None:
    try:
        return digest(ws.outputs(stage))
    except MissingInput:
        return None


def _tables(ws: Workspace, makers: Sequence[str]) -> dict[str, str | None]:
    """Hash of what lies on disk for each table that these notebooks wrote; None: it is gone."""
    entries = [entry for name in makers if (entry := _read_entry(ws, name))]
    paths = [path for entry in entries for path in entry["outputs"] if path.startswith("tables/")]
    return {path: _hash(ws, path) for path in paths}


def _written(ws: Workspace) -> dict[str, tuple[int, int]]:
    """The tables and figures on disk, with what changes when one is written again."""
    files = [path for kind in ("tables", "figures") for path in (ws.folder / kind).glob("[!.]*")]
    states = {path: path.stat() for path in sorted(files)}
    return {
        str(path.relative_to(ws.folder)): (state.st_mtime_ns, state.st_ino)
        for path, state in states.items()
    }


def _hash(ws: Workspace, path: str) -> str | None:
    return digest(ws.folder / path) if (ws.folder / path).exists() else None


# An entry lies with the artifacts, out of git: in a fresh clone, whose results are those of another
# machine, no notebook counts as run.
def _entry_path(ws: Workspace, name: str) -> Path:
    return ws.artifacts / "runs" / f"{name}.json"


def _read_entry(ws: Workspace, name: str) -> dict | None:
    return _read_json(_entry_path(ws, name))


def _expected_seconds(ws: Workspace, names: Sequence[str]) -> dict[str, list[float]]:
    """Seconds of each code cell in the last run; one each where a notebook is new or changed."""
    last = (_read_json(ws.folder / "manifest.json") or {}).get("notebooks", {})
    expected = {}
    for name in names:
        cells = [cell for cell in _read_notebook(name).cells if cell.cell_type == "code"]
        known = last.get(name, {}).get("cell_seconds", [])
        injected = 1  # papermill adds a cell, with the parameters
        fits = len(known) == len(cells) + injected
        expected[name] = known if fits else [1.0] * (len(cells) + injected)
    return expected


def _write_manifest(ws: Workspace, header: dict, entries: dict[str, dict]) -> None:
    """Write manifest.json, which lists what is up to date; left alone if it does so already."""
    path = ws.folder / "manifest.json"
    if entries and (_read_json(path) or {}).get("notebooks") != entries:
        usage = {"teacher_usage": manifest.teacher_usage(ws)}
        _write_json(path, header | usage | {"notebooks": entries})


def _read_json(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _write_json(path: Path, value: dict) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    atomic_write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _read_notebook(name: str) -> nbformat.NotebookNode:
    path = NOTEBOOKS / f"{name}.ipynb"
    try:
        return nbformat.read(path, as_version=4)
    except FileNotFoundError as error:
        valid = [each.stem for each in sorted(NOTEBOOKS.glob("*.ipynb"))]
        raise BadNotebook(f"{unknown('notebook', name, valid)} (in {NOTEBOOKS})") from error
    except nbformat.reader.NotJSONError as error:
        raise BadNotebook(f"{path} is not a notebook: it is not JSON") from error


def choose(names: Sequence[str], only: Sequence[str] = (), start: str | None = None) -> list[str]:
    """Those of a profile's notebooks that were asked for, by full name or number ("03").

    Raises BadNotebook for one that is not among them, and where there are none.
    """
    if not names:
        raise BadNotebook("the profile lists no notebook: name those to run under notebooks")
    if only:
        asked = {_find(each, names) for each in only}
        return [name for name in names if name in asked]
    return list(names[names.index(_find(start, names)) :] if start else names)


def _find(asked: str, names: Sequence[str]) -> str:
    for name in names:
        if asked in (name, name.partition("_")[0]):
            return name
    raise BadNotebook(f"{unknown('notebook', asked, names)}. Its number alone will do (05)")


def bind(names: Sequence[str], chosen: Sequence[str], own: dict, given: dict) -> dict[str, dict]:
    """The parameters of each notebook: the driver's own and, where chosen, those given.

    A given parameter goes to the chosen notebooks that declare it. Raises BadNotebook if none
    does, or if a notebook does not declare the driver's own.
    """
    declared = {name: _declared(name) for name in names}
    for name, known in declared.items():
        for parameter in own.keys() - known:
            raise BadNotebook(f"{name}: its parameters cell does not set {parameter!r}")
    settable = sorted(set().union(*(declared[name] for name in chosen)) - set(OWN))
    for parameter in given:
        if parameter in OWN:
            raise BadNotebook(f"parameter {parameter!r} is set by --profile, --set and --results")
        if not settable:
            where = f"no chosen notebook has a parameter to set ({', '.join(chosen)})"
            raise BadNotebook(f"unknown notebook parameter {parameter!r}; {where}")
        if parameter not in settable:
            raise BadNotebook(unknown("notebook parameter", parameter, settable))
    accepted = {name: given.keys() & declared[name] if name in chosen else () for name in names}
    return {name: own | {key: given[key] for key in sorted(accepted[name])} for name in names}


def _declared(name: str) -> set[str]:
    """The names that the cell tagged "parameters" assigns."""
    for cell in _read_notebook(name).cells:
        if "parameters" in cell.metadata.get("tags", []):
            statements = ast.parse(cell.source).body
            targets = [each.targets for each in statements if isinstance(each, ast.Assign)]
            return {node.id for group in targets for node in group if isinstance(node, ast.Name)}
    raise BadNotebook(f"{NOTEBOOKS / name}.ipynb has no cell tagged 'parameters'")


def _given(assignments: Sequence[str]) -> dict:
    values = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise BadNotebook(f"notebook parameter {assignment!r}: expected name=value")
        try:
            values[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise BadNotebook(f"notebook parameter {assignment!r}: not a YAML value") from error
    return values


def _from_notebooks(path: Path) -> str:
    """A path as the notebooks see it: relative, so that their executed copies name no user."""
    return os.path.relpath(path.resolve(), NOTEBOOKS)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="editlib.reproduce", description="Run the notebooks.")
    options.add(parser)
    parser.add_argument(
        "-p",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a parameter of the notebooks that have it (see their first code cell)",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NOTEBOOK",
        help="run these notebooks of the profile alone, each by its number (05) or full name "
        "(05_evaluation)",
    )
    which.add_argument(
        "--from",
        dest="start",
        metavar="NOTEBOOK",
        help="run this notebook of the profile, named alike, and those after it",
    )
    parser.add_argument("--force", action="store_true", help="run unchanged notebooks too")
    return parser


def _prepare_and_run(arguments: argparse.Namespace) -> None:
    mirror.name_absolutely()
    overrides = options.split_assignments(arguments.set)
    ws = open_workspace(arguments.profile, overrides, arguments.results)
    chosen = choose(ws.profile.notebooks, arguments.only, arguments.start)
    own = {"profile": arguments.profile, "overrides": overrides}
    if arguments.profile.endswith((".yaml", ".yml")):
        own["profile"] = _from_notebooks(Path(arguments.profile))
    if arguments.results:
        own["results"] = _from_notebooks(arguments.results)
    parameters = bind(
        ws.profile.notebooks, chosen, own, _given(options.split_assignments(arguments.p))
    )
    reproduce(ws, chosen, parameters, overrides, arguments.force)
    print(f"{ws.folder / 'report.html'} shows the results")


def main(argv: Sequence[str] | None = None) -> int:
    """0: all is up to date; 1: a cell raised; 2: bad input, nothing was run; 130: interrupted."""
    try:
        _prepare_and_run(_parser().parse_args(argv))
    except executed.NotebookFailed as error:
        options.complain(error)
        return 1
    except KitError as error:
        options.complain(error)
        return 2
    except KeyboardInterrupt:
        print("interrupted; run the same command again to continue", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
