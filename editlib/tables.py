"""The paper's tables with this run's numbers beside them, and tables as LaTeX for a paper.

A row that the paper has and the run lacks says "not run"; one that the paper lacks, "only here".
"""

import pandas as pd

from editlib import claims, paper, statistics
from editlib.methods import WEIGHTS
from editlib.profiles import Profile
from editlib.records import atomic_write
from editlib.workspace import Workspace

RUN, NOT_RUN, ONLY_HERE = "run", "not run", "only here"
BY_METHOD = {  # tables of methods by domain: title, methods in the paper's order
    "Table 1": ("Main results", list(dict.fromkeys(paper.TABLE_1["method"]))),
    "Table 2": ("What KRSL learns from", list(dict.fromkeys(paper.TABLE_2["method"]))),
    "Figure 6": ("One side of the key steps", [*map(WEIGHTS.get, paper.ONE_SIDE), "EDIT"]),
    "Table 5": ("Equal volume of data", list(dict.fromkeys(paper.TABLE_5["method"]))),
    "Table 8": ("Answers by vote", list(paper.TABLE_8["method"].map(paper.voted))),
    "Table 9": ("DPO in place of KRSL", list(dict.fromkeys(paper.TABLE_9["method"]))),
}


# --- beside the paper -------------------------------------------------------------------------


def levels(predictions: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of each method by domain, with the columns of statistics.summarise."""
    return statistics.summarise(claims.by_domain(predictions), ["domain", "method"])


def by_method(ours: pd.DataFrame) -> pd.DataFrame:
    """Tables 1, 2, 5, 8, 9 and Figure 6, a row a number.

    ours: as levels returns it. Returns table, method, domain, paper, the columns of levels, status.
    A number that the paper does not print and the run lacks has no row.
    """
    theirs = pd.DataFrame(
        [
            (table, method, domain, paper.level(method, benchmarks))
            for table, (_, methods) in BY_METHOD.items()
            for method in methods
            for domain, benchmarks in paper.DOMAINS.items()
        ],
        columns=["table", "method", "domain", "paper"],
    )
    both = _with_status(theirs.merge(ours, on=["method", "domain"], how="left"))
    return both.dropna(subset=["paper", "accuracy"], how="all").reset_index(drop=True)


def by_task(predictions: pd.DataFrame) -> pd.DataFrame:
    """Table 3, subtasks by method: task, split, method, paper, the columns of summarise, status.

    Only the methods of Table 3. A family of puzzles stands beside the subtask of its name, in the
    first split that asks it. Rows that can be compared come first.
    """
    theirs = paper.TABLE_3[paper.TABLE_3["task"] != paper.AVERAGE]
    theirs = theirs.assign(task=theirs["task"].replace(paper.TASKS))
    first = predictions.groupby("task")["split"].transform("first")
    mine = predictions[
        predictions["method"].isin(theirs["method"]) & (predictions["split"] == first)
    ]
    ours = statistics.summarise(mine, ["split", "task", "method"])
    theirs = theirs.rename(columns={"accuracy": "paper"})
    both = _with_status(theirs.merge(ours, on=["task", "method"], how="outer"))
    rank = (
        both["status"].map([RUN, NOT_RUN, ONLY_HERE].index).groupby(both["task"]).transform("min")
    )
    place = both["method"].map(list(theirs["method"].unique()).index)
    order = pd.DataFrame({"rank": rank, "task": both["task"], "place": place})
    return both.loc[order.sort_values(["rank", "task", "place"]).index].reset_index(drop=True)


def by_weights(ours: pd.DataFrame) -> pd.DataFrame:
    """Table 4, weights of key tokens: alpha, beta, method, paper, the columns of levels, status."""
    grid = pd.DataFrame([(*pair, name) for pair, name in WEIGHTS.items()])
    grid = grid.set_axis(["alpha", "beta", "method"], axis=1).astype({"alpha": float})
    theirs = paper.TABLE_4.rename(columns={"accuracy": "paper"}).astype(float)
    both = grid.merge(theirs, on=["alpha", "beta"], how="left")
    both = _with_status(both.merge(ours[ours["domain"] == "all"], on="method", how="left"))
    return both.dropna(subset=["paper", "accuracy"], how="all").reset_index(drop=True)


def _with_status(both: pd.DataFrame) -> pd.DataFrame:
    status = pd.Series(RUN, index=both.index).mask(both["paper"].isna(), ONLY_HERE)
    status = status.mask(both["accuracy"].isna(), NOT_RUN)
    return both.assign(seeds=both["seeds"].fillna(0).astype(int), status=status)


def offered(profile: Profile) -> set[str]:
    """The methods that a run of a profile, its settings unchanged, has answers of."""
    untrained = {f"student, {style}" for style in profile.exam.untrained}
    return {
        *profile.training.students,
        *map(paper.voted, profile.exam.self_consistency),
        *untrained,
    }


def left_out(both: pd.DataFrame, more: Profile, name: str) -> str:
    """A line on the methods of a table that this run has no number of, and who has them.

    both: method, status. more: a profile, by its name, that may train what this run did not.
    """
    run = set(both.loc[both["status"] != NOT_RUN, "method"])
    missing = [method for method in dict.fromkeys(both["method"]) if method not in run]
    there = [method for method in missing if method in offered(more)]
    nowhere = [method for method in missing if method not in there]
    lines = []
    if there:
        lines.append(
            f"Not run here: {'; '.join(there)}. To have them: make reproduce PROFILE={name}."
        )
    if nowhere:
        lines.append(f"In no profile of the kit: {'; '.join(nowhere)}.")
    return " ".join(lines) or "Every method of this table was run."


# --- to be read -------------------------------------------------------------------------------


def cell(row: pd.Series, of: str = "accuracy") -> str:
    """A share with its interval in percent, as text.

    One student, such as an untrained one, has its interval over questions, and the text says so.
    """
    if pd.isna(row[of]):
        return NOT_RUN
    sign = "+" if of == "difference" else ""
    value, low, high, over = f"{100 * row[of]:{sign}.1f}", row["low"], row["high"], ""
    if pd.isna(low):
        low, high, over = row["low_questions"], row["high_questions"], ", over questions"
    return f"{value} ({100 * low:{sign}.1f} to {100 * high:{sign}.1f}{over})"


def side_by_side(both: pd.DataFrame, rows: list[str], columns: str | None = None) -> pd.DataFrame:
    """Text for readers: one line for the values of rows, the paper's percentage and ours in pairs.

    both: paper, accuracy, low, high and the columns named; columns: one pair for each value of it.
    """
    shown = both.assign(
        paper=[("" if pd.isna(value) else f"{100 * value:.1f}") for value in both["paper"]],
        here=[cell(row) for _, row in both.iterrows()],
    )
    if columns is None:
        return shown[[*rows, "paper", "here"]].reset_index(drop=True)
    found, order = shown[columns].unique(), shown.set_index(rows).index.unique()
    heads = [domain for domain in paper.DOMAINS if domain in found] or list(found)
    wide = shown.pivot(index=rows, columns=columns, values=["paper", "here"]).reindex(order)
    pairs = [(side, head) for head in heads for side in ("paper", "here")]
    wide = wide[pairs].set_axis([f"{head}: {side}" for side, head in pairs], axis=1)
    return wide.fillna("").reset_index()


# --- LaTeX ------------------------------------------------------------------------------------


def latex(frame: pd.DataFrame) -> str:
    """A frame as a LaTeX table with the rules of booktabs; every character is only shown.

    Numbers have four digits and stand to the right, text to the left; missing values stay blank.
    """
    numbers = dict.fromkeys(frame.select_dtypes("float"), "{:.4g}")
    style = frame.style.format(numbers, escape="latex", na_rep="")
    style = style.format_index(escape="latex", axis="columns").hide(axis="index")
    return style.to_latex(hrules=True)


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
