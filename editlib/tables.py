"""Tables to be read: numbers with their intervals as text, the paper's beside ours, and LaTeX."""

import re

import pandas as pd

from editlib import paper
from editlib.records import atomic_write
from editlib.workspace import Workspace

LONG, WIDE = 60, 8  # rows of a page, columns of a line
MINUS = re.compile(r"(?<![\w.$-])-(?=\d)")  # before a number, where it is no hyphen
RUN, NOT_RUN, ONLY_HERE = "run", "not run", "only here"  # status of a row beside the paper's


def cell(row: pd.Series, of: str = "accuracy") -> str:
    """A share with its interval in percent, as text.

    One student, such as an untrained one, has its interval over questions, and the text says so.
    Where nothing varies there is none.
    """
    if pd.isna(row[of]):
        return NOT_RUN
    sign = "+" if of == "difference" else ""
    value, low, high, over = f"{100 * row[of]:{sign}.1f}", row["low"], row["high"], ""
    if pd.isna(low):
        low, high, over = row["low_questions"], row["high_questions"], ", over questions"
    if pd.isna(low):
        return value
    return f"{value} ({100 * low:{sign}.1f} to {100 * high:{sign}.1f}{over})"


def p_value(p: float) -> str:
    """A p value as text, of four decimals where they say anything; "" where it is missing."""
    if pd.isna(p):
        return ""
    return f"{p:.4f}" if p >= 0.0001 else "below 0.0001"


def side_by_side(both: pd.DataFrame, rows: list[str], columns: str | None = None) -> pd.DataFrame:
    """Text for readers: one line for the values of rows, the paper's percentage and ours in pairs.

    Ours stand behind the number of their seeds, 0 where nothing was run. both: paper, accuracy,
    low, high, seeds and the columns named; columns: one pair for each value of it.
    """
    shown = both.assign(
        paper=[("" if pd.isna(value) else f"{100 * value:.1f}") for value in both["paper"]],
        here=[cell(row) for _, row in both.iterrows()],
        seeds=both.groupby(rows)["seeds"].transform("max"),
    )
    rows = [*rows, "seeds"]
    if columns is None:
        return shown[[*rows, "paper", "here"]].reset_index(drop=True)
    found, order = shown[columns].unique(), shown.set_index(rows).index.unique()
    heads = [domain for domain in paper.DOMAINS if domain in found] or list(found)
    wide = shown.pivot(index=rows, columns=columns, values=["paper", "here"]).reindex(order)
    pairs = [(side, head) for head in heads for side in ("paper", "here")]
    wide = wide[pairs].set_axis([f"{head}: {side}" for side, head in pairs], axis=1)
    return wide.fillna("").reset_index()


def by_domain(table: pd.DataFrame, rows: list[str]) -> pd.DataFrame:
    """Differences as text: a line for the values of rows, a column a domain.

    table: domain, the columns named, and those of statistics.contrast.
    """
    cells = table.assign(cell=[cell(row, "difference") for _, row in table.iterrows()])
    wide = cells.set_index([*rows, "domain"])["cell"].unstack(sort=False)
    wide = wide.rename_axis(columns=None).reset_index()
    return wide.rename(columns={"baseline": "less"})


def beside_greedy(wide: pd.DataFrame, votes: pd.DataFrame) -> pd.DataFrame:
    """Table 8 as side_by_side shows it, with what a greedy answer gets and what the vote adds.

    votes: of beside_paper.voting; a method that it lacks was not run.
    """
    found = pd.DataFrame(
        {
            "method": votes["method"],
            "all: greedy": [f"{100 * share:.1f}" for share in votes["greedy"]],
            "vote less greedy": [cell(row, "difference") for _, row in votes.iterrows()],
        },
        dtype="str",
    )
    return wide.merge(found, how="left").fillna(NOT_RUN)


# --- LaTeX ------------------------------------------------------------------------------------


def latex(frame: pd.DataFrame) -> str:
    """A frame as a LaTeX table with the rules of booktabs; every character is only shown.

    Numbers have four digits and stand to the right, text to the left; missing values stay blank.
    A table of more than LONG rows goes over pages (longtable); one of more than WIDE columns is
    shrunk to the line (graphicx).
    """
    numbers = dict.fromkeys(frame.select_dtypes("float"), "{:.4g}")
    style = frame.style.format(numbers, escape="latex", na_rep="")
    style = style.format_index(escape="latex", axis="columns").hide(axis="index")
    long, wide = len(frame) > LONG, frame.shape[1] > WIDE
    text = style.to_latex(hrules=True, environment="longtable" if long else None)
    text = MINUS.sub("$-$", text)
    return f"\\resizebox{{\\linewidth}}{{!}}{{%\n{text}}}\n" if wide and not long else text


def save(
    ws: Workspace, frame: pd.DataFrame, name: str, shown: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Write tables/<name>.csv and beside it tables/<name>.tex; return the frame.

    shown: how the table is printed, where a tidy one would be too long (None: the frame).
    """
    text = latex(frame if shown is None else shown)
    path = ws.folder / "tables" / f"{name}.tex"
    atomic_write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return ws.save_table(frame, name)
