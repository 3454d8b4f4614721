"""The paper's tables with this run's numbers beside them.

A row that the paper has and the run lacks says "not run"; one that the paper lacks, "only here".
The methods of one table are shown by the seeds that all of them have, so that the difference of two
rows is that of the paired comparison; a method may have more seeds in another table.
"""

from collections.abc import Collection, Mapping

import pandas as pd

from editlib import claims, paper, statistics
from editlib.methods import WEIGHTS, at
from editlib.profiles import Profile
from editlib.records import read_frame
from editlib.tables import NOT_RUN, ONLY_HERE, RUN
from editlib.workspace import Workspace

BY_METHOD = {  # tables of methods by domain: title, methods in the paper's order
    "Table 1": ("Main results", list(dict.fromkeys(paper.TABLE_1["method"]))),
    "Table 2": ("What KRSL learns from", list(dict.fromkeys(paper.TABLE_2["method"]))),
    "Figure 6": ("One side of the key steps", [*map(WEIGHTS.get, paper.ONE_SIDE), "EDIT"]),
    "Table 5": ("Equal volume of data", list(dict.fromkeys(paper.TABLE_5["method"]))),
    "Table 8": ("Answers by vote", list(paper.TABLE_8["method"].map(paper.voted))),
    "Table 9": (
        "DPO in place of KRSL",
        # the last three are here alone
        [*dict.fromkeys(paper.TABLE_9["method"]), at("DPO", 1e-3), "DPO-Positive", "SimPO"],
    ),
}


def on_common_seeds(predictions: pd.DataFrame, methods: Collection[str]) -> pd.DataFrame:
    """The predictions of these methods by the seeds that all of them have.

    A method of one seed, such as an untrained one, keeps it and has no say; where the others have
    no seed in common, each keeps its own.
    """
    own = predictions[predictions["method"].isin(methods)]
    seeds = own.groupby("method")["seed"].agg(set)
    one = seeds.index[seeds.map(len) == 1]
    several = seeds.drop(one)
    common = set.intersection(*several) if len(several) else set()
    return own[own["seed"].isin(common) | own["method"].isin(one)] if common else own


def levels(predictions: pd.DataFrame, methods: Collection[str]) -> pd.DataFrame:
    """Accuracy of methods by domain, on common seeds, with the columns of statistics.summarise."""
    own = on_common_seeds(predictions, methods)
    return statistics.summarise(claims.by_domain(own), ["domain", "method"])


def by_method(predictions: pd.DataFrame) -> pd.DataFrame:
    """Tables 1, 2, 5, 8, 9 and Figure 6, a row a number.

    Returns table, method, domain, paper, the columns of levels, status. A number that the paper
    does not print and the run lacks has no row.
    """
    shown = _methods(predictions)
    ours = pd.concat(
        levels(predictions, methods).assign(table=table) for table, methods in shown.items()
    )
    theirs = pd.DataFrame(
        [
            (table, method, domain, paper.level(method, benchmarks))
            for table, methods in shown.items()
            for method in methods
            for domain, benchmarks in paper.DOMAINS.items()
        ],
        columns=["table", "method", "domain", "paper"],
    )
    both = _with_status(theirs.merge(ours, on=["table", "method", "domain"], how="left"))
    return both.dropna(subset=["paper", "accuracy"], how="all").reset_index(drop=True)


def _methods(predictions: pd.DataFrame) -> dict[str, list[str]]:
    """The methods of each table; Table 8 ends with the votes that are taken here alone."""
    found = {table: methods for table, (_, methods) in BY_METHOD.items()}
    votes = map(paper.voted, _voters(predictions))
    return found | {"Table 8": list(dict.fromkeys([*found["Table 8"], *votes]))}


def _voters(predictions: pd.DataFrame) -> list[str]:
    """The methods whose students vote here, those of Table 8 first."""
    there = list(predictions["method"].unique())
    names = dict.fromkeys([*paper.TABLE_8["method"], *there])
    return [name for name in names if paper.voted(name) in there]


def by_task(predictions: pd.DataFrame) -> pd.DataFrame:
    """Table 3, subtasks by method: task, split, method, paper, the columns of summarise, status.

    Only the methods of Table 3. A family of puzzles stands beside the subtask of its name, in the
    first split that asks it; split is empty where none does. Rows that can be compared come first;
    the paper's average, over subtasks of which a run has a few, comes last and has none of ours.
    """
    theirs = paper.TABLE_3.assign(task=paper.TABLE_3["task"].replace(paper.TASKS))
    first = predictions.groupby("task")["split"].transform("first")
    asked_first = predictions[predictions["split"] == first]
    mine = on_common_seeds(asked_first, theirs["method"])
    ours = statistics.summarise(mine, ["split", "task", "method"])
    theirs = theirs.rename(columns={"accuracy": "paper"})
    both = _with_status(theirs.merge(ours, on=["task", "method"], how="outer"))
    both["split"] = both.groupby("task")["split"].transform("first").fillna("")
    rank = (
        both["status"].map([RUN, NOT_RUN, ONLY_HERE].index).groupby(both["task"]).transform("min")
    )
    place = both["method"].map(list(theirs["method"].unique()).index)
    rank = rank.mask(both["task"] == paper.AVERAGE, rank.max() + 1)
    order = pd.DataFrame({"rank": rank, "task": both["task"], "place": place})
    return both.loc[order.sort_values(["rank", "task", "place"]).index].reset_index(drop=True)


def by_weights(predictions: pd.DataFrame) -> pd.DataFrame:
    """Table 4, weights of key tokens: alpha, beta, method, paper, the columns of levels, status."""
    grid = pd.DataFrame([(*pair, name) for pair, name in WEIGHTS.items()])
    grid = grid.set_axis(["alpha", "beta", "method"], axis=1).astype({"alpha": float})
    theirs = paper.TABLE_4.rename(columns={"accuracy": "paper"}).astype(float)
    both = grid.merge(theirs, on=["alpha", "beta"], how="left")
    ours = levels(predictions, grid["method"]).query("domain == 'all'")
    both = _with_status(both.merge(ours, on="method", how="left"))
    return both.dropna(subset=["paper", "accuracy"], how="all").reset_index(drop=True)


def voting(predictions: pd.DataFrame) -> pd.DataFrame:
    """What voting adds to one greedy answer of the same students, on all questions (Table 8).

    predictions: as claims.with_votes returns them. Returns method (the name of the vote), greedy
    (accuracy, 0 to 1), unread (share of votes where no sample could be read), and those of
    statistics.contrast, difference being vote less greedy; a row a method that votes here. Without
    any there are no rows, and the first three columns alone.
    """
    marked, rows = predictions.assign(unread=predictions["read"].isna()), []
    unread = marked.groupby("method")["unread"].mean()
    for name in _voters(predictions):
        vote = paper.voted(name)
        _, greedy = statistics.shared_scores(predictions, vote, name)
        shares = {"greedy": greedy.to_numpy().mean(), "unread": unread[vote]}
        rows.append(shares | statistics.contrast(predictions, vote, name))
    return pd.DataFrame(rows, columns=None if rows else ["method", "greedy", "unread"])


def leader(rows: pd.DataFrame, of: str = "accuracy") -> str:
    """The methods with the highest number, and those with the next one, as text in percent.

    rows: method and of (0 to 1; nan does not count), at least one.

    >>> leader(pd.DataFrame({"method": ["A", "B, too", "C"], "accuracy": [0.5, 0.625, 0.625]}))
    'B, too; C (62.5), then A (50.0)'
    """
    names = rows.dropna(subset=of).groupby(of)["method"].agg("; ".join).sort_index(ascending=False)
    return ", then ".join(f"{found} ({100 * value:.1f})" for value, found in names[:2].items())


def by_exemplars(ws: Workspace, predictions: pd.DataFrame) -> pd.DataFrame:
    """How the untrained student answers where a few-shot prompt shows exemplars and where none.

    Returns method, exemplars ("shown" or "none shown"), n (answers), and which shares (0 to 1) of
    them are empty, unread and right (accuracy), nan of none. No rows where it was not asked so.
    """
    columns, rows = ["method", "exemplars", "n", "empty", "unread", "accuracy"], []
    for method in filter(lambda name: "few-shot" in name, predictions["method"].unique()):
        folder = ws.artifacts / "predictions" / method / "seed 0"
        shown = read_frame(folder / "prompts.parquet").set_index("question")["shown"]
        asked = predictions[predictions["method"] == method]
        bare = asked["question_id"].map(shown) == 0
        for exemplars, part in (("shown", asked[~bare]), ("none shown", asked[bare])):
            shares = part["text"].str.strip().eq(""), part["read"].isna(), part["correct"]
            rows.append((method, exemplars, len(part), *(share.mean() for share in shares)))
    return pd.DataFrame(rows, columns=columns)


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


def left_out(both: pd.DataFrame, more: Mapping[str, Profile]) -> str:
    """A line on the methods of a table that this run has no number of, and who has them.

    both: method, status. more: profiles by name that may train what this run did not; the first
    that does is named.
    """
    absent = both["status"] == NOT_RUN
    run = set(both.loc[~absent, "method"])
    missing = [method for method in dict.fromkeys(both["method"]) if method not in run]
    there = {m: next((name for name in more if m in offered(more[name])), None) for m in missing}
    lines = [
        f"Not run here, but by make reproduce PROFILE={name}: {'; '.join(found)}."
        for name in more
        if (found := [method for method in missing if there[method] == name])
    ]
    if nowhere := [method for method in missing if there[method] is None]:
        lines.append(f"In no profile of the kit: {'; '.join(nowhere)}.")
    if (absent & both["method"].isin(run)).any():
        lines.append(
            "Where a method that was run has no number, those questions are not asked here."
        )
    return " ".join(lines) or "Every method of this table was run."


def moved(predictions: pd.DataFrame, method: str, baseline: str) -> pd.Series:
    """How far a method is from a baseline, answer by answer, on the same questions and seeds.

    Returns answers (how many both gave), and the shares (0 to 1) of them whose text differs, whose
    answer as read differs (unread counts as one answer), and that only one of the two got right.
    """
    columns = ["question_id", "seed", "text", "read", "correct"]
    ours, theirs = (
        predictions.loc[predictions["method"] == name, columns].fillna({"read": ""})
        for name in (method, baseline)
    )
    both = ours.merge(theirs, on=["question_id", "seed"], suffixes=("", "_of_other"))
    shares = {of: (both[of] != both[f"{of}_of_other"]).mean() for of in columns[2:]}
    return pd.Series({"answers": len(both)} | shares)
