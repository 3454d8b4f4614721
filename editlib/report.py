"""One page about a run, results/<profile>/report.html, and the results table of the README.

``python -m editlib.report --profile mini`` rebuilds the page; with ``--readme`` also the table.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from editlib import options, tables
from editlib.errors import KitError
from editlib.methods import METHODS
from editlib.records import atomic_write
from editlib.workspace import KIT, RESULTS, Workspace, open_workspace

README = KIT.parent / "README.md"
TABLES = RESULTS / "mini" / "tables"
START, END = "<!-- results:start -->", "<!-- results:end -->"
ROWS, LONGEST = 12, 200  # rows of a table and characters of a cell shown on the page


class NoResults(KitError):
    """There is nothing to report on."""


def build(ws: Workspace) -> Path:
    """Write report.html from manifest.json and the files that it lists; return its path."""
    try:
        manifest = json.loads((ws.folder / "manifest.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise NoResults(f"{ws.folder} holds no run: {ws.command()}") from error
    outputs = sorted({path for run in manifest["notebooks"].values() for path in run["outputs"]})
    present = [path for path in outputs if (ws.folder / path).exists()]
    templates = Environment(
        loader=PackageLoader("editlib"), autoescape=True, undefined=StrictUndefined
    )
    page = templates.get_template("report.html.j2").render(
        manifest,
        figures=[path for path in present if path.endswith(".svg")],
        tables=[_head(ws, path) for path in present if path.endswith(".csv")],
    )
    path = ws.folder / "report.html"
    atomic_write(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))
    return path


def _head(ws: Workspace, path: str) -> dict:
    """The first rows of a table, as texts; long ones are cut."""
    frame = pd.read_csv(ws.folder / path, dtype=str, keep_default_na=False)
    rows = [[text[:LONGEST] for text in row] for row in frame.head(ROWS).values.tolist()]
    return {"path": path, "columns": list(frame), "rows": rows, "left": len(frame) - len(rows)}


def results_block(summary: pd.DataFrame, comparison: pd.DataFrame) -> str:
    """Accuracy in percent as a table in Markdown, and which differences are decided.

    summary: of statistics.summarise by split and method.
    comparison: split, method, baseline, difference (0 to 1), decided.
    """
    parts = [_accuracies(summary), _highest(summary), _decided(comparison)]
    return "\n\n".join(part for part in parts if part)


def _highest(summary: pd.DataFrame) -> str:
    """A line for each split: the trained method of the highest mean, and those below the base."""
    lines = []
    for split, rows in summary.groupby("split", sort=False):
        means = rows.set_index("method")["accuracy"]
        trained = means[[name for name in means.index if name in METHODS]]
        base = means.get("Base student", float("nan"))
        first = " and of ".join(trained.index[trained == trained.max()])
        lines.append(
            f"- `{split}`: the highest mean of a trained method is that of {first}; "
            f"{(trained < base).sum()} of {len(trained)} lie below the base student."
        )
    return "\n".join(lines)


def _decided(comparison: pd.DataFrame) -> str:
    """A sentence on the comparisons, and a line for each difference that is decided."""
    real = comparison[comparison["decided"]]
    text = (
        f"Of {len(comparison)} comparisons of EDIT with another method (same questions, corrected "
        f"together with all claims of the paper that were tested) {len(real) or 'none'} "
        f"{'are' if len(real) > 1 else 'is'} decided{':' if len(real) else '.'}"
    )
    lines = [
        f"- {row.split}: {row.method} less {row.baseline}, {100 * row.difference:+.1f} points"
        for row in real.itertuples()
    ]
    return "\n".join([text, "", *lines] if lines else [text])


def _accuracies(summary: pd.DataFrame) -> str:
    splits = list(dict.fromkeys(summary["split"]))
    cells = {(row["method"], row["split"]): tables.cell(row) for _, row in summary.iterrows()}
    rows = [["method", *splits], ["---", *["---:"] * len(splits)]]
    for method in dict.fromkeys(summary["method"]):
        rows.append([method, *(cells.get((method, split), "") for split in splits)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def split_readme(text: str) -> tuple[str, str, str]:
    """What stands before, between and after the two marks of the README."""
    before, start, rest = text.partition(START)
    block, end, after = rest.partition(END)
    if not (start and end):
        raise KitError(f"{README.name} needs the lines {START} and {END} around the results table")
    return before, block.strip("\n"), after


def results_of_mini() -> str:
    """The block of the README, from the tables in git; raises NoResults if one is missing."""
    paths = [TABLES / f"{name}.csv" for name in ("accuracy_summary", "comparison")]
    for path in paths:
        if not path.exists():
            raise NoResults(f"{path} is missing: make reproduce")
    return results_block(*map(pd.read_csv, paths))


def write_readme() -> None:
    """Put the accuracies of results/mini into the README."""
    before, _, after = split_readme(README.read_text(encoding="utf-8"))
    text = f"{before}{START}\n{results_of_mini()}\n{END}{after}"
    atomic_write(README, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def main(argv: Sequence[str] | None = None) -> int:
    """0: written; 2: there is nothing to report on, or a profile is unknown."""
    parser = argparse.ArgumentParser(prog="editlib.report", description="Rebuild report.html.")
    options.add(parser)
    parser.add_argument("--readme", action="store_true", help="and the table in README.md")
    arguments = parser.parse_args(argv)
    try:
        overrides = options.split_assignments(arguments.set)
        print(build(open_workspace(arguments.profile, overrides, arguments.results)))
        if arguments.readme:
            write_readme()
    except KitError as error:
        options.complain(error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
