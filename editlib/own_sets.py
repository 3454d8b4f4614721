"""EDIT on sets of pairs of one's own, such as pairs of a kind that a reader has added."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pandas as pd

from editlib import cores, exams, grid, mistakes
from editlib.errors import KitError
from editlib.methods import LONGER, OWN, phases
from editlib.records import DualCoT, write_table
from editlib.workspace import Workspace, digest


def train(
    ws: Workspace, sets: Mapping[str, Sequence[DualCoT]], seeds: Sequence[int] | None = None
) -> pd.DataFrame:
    """Train students whose second phase learns from each set alone, and let them be examined.

    sets: pairs of any origin, by a name: a label that a kind could have (mistakes.is_label), or
    several joined with "+". Beside each stands the control of equal updates, EDIT w/o KRSL that
    goes on for as many of them; sets of one number of updates share it. seeds: None for those of
    the profile. The first phase is that of EDIT, and what is there is not trained again. Returns
    one row an answer (Prediction); its methods are "EDIT on <set>" and "EDIT w/o KRSL as long as
    EDIT on <set>". Raises KitError for a name that is none, and for an empty set.
    """
    seeds = ws.profile.training.seeds if seeds is None else seeds
    for name, pairs in sets.items():
        _keep(ws, name, pairs)
    methods = [f"{OWN}{name}" for name in sets]
    first = {grid.updates(ws, phases(method)): method for method in reversed(methods)}
    controls = [f"{LONGER}{method}" for method in first.values()]
    trained = dict.fromkeys([*methods, *controls], seeds)
    cores.run_all(partial(grid.train_cell, ws), grid.cells(trained), desc="training phases")
    return exams.examine(ws, [(method, seed) for method in trained for seed in seeds])


def _keep(ws: Workspace, name: str, pairs: Sequence[DualCoT]) -> None:
    """Write a set where the processes that train can read it."""
    if not all(map(mistakes.is_label, name.split("+"))):
        raise KitError(
            f"set of pairs {name!r}: its name may hold letters, digits, _ and -, with spaces or + "
            "between them and no _ in front; choose another one"
        )
    if not pairs:
        raise KitError(f"set of pairs {name!r} is empty: a student needs one pair or more")
    where = grid.own_set(ws, name)

    def make(folder: Path) -> None:
        write_table(folder / where.name, pairs, DualCoT)

    stage = str(where.parent.relative_to(ws.artifacts))
    ws.stage(stage, make, params={"pairs": digest([asdict(pair) for pair in pairs])})
