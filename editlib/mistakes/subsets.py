"""Equal-sized sets of pairs by kind, so that training on one kind can be set beside another."""

from collections.abc import Iterable, Sequence
from random import Random

import pandas as pd

from editlib.errors import KitError, unknown
from editlib.mistakes.kinds import shorts
from editlib.records import DualCoT


def balanced(
    pairs: pd.DataFrame,
    kinds: Sequence[str],
    seed: int,
    within: Sequence[str] = ("subset",),
    most: int | None = None,
) -> pd.DataFrame:
    """As many pairs of each kind, and of each kind as many from every group of within (Table 7).

    pairs: one row a pair: id, kinds (a label), and the columns of within. Only pairs of one kind
    alone are drawn. In each group the scarcest kind sets the number, so the sets have an equal
    share of D-dual; with within=("subset", "task") also the same tasks. most: pairs of a kind at
    most, groups shrunk alike. Returns the rows drawn with the column kind, kinds in order.
    Raises KitError for an unknown kind, or where no group holds all of them.
    """
    for kind in kinds:
        if kind not in shorts():
            raise KitError(unknown("kind of mistake", kind, shorts()))
    usable = pairs[pairs["kinds"].isin(kinds)]
    counts = usable.groupby([*within, "kinds"]).size().unstack(fill_value=0)
    sizes = _shrunk(counts.reindex(columns=list(kinds), fill_value=0).min(axis=1), most)
    if not sizes.sum():
        raise KitError(
            f"no group of {', '.join(within)} holds pairs of all of {', '.join(kinds)}: "
            "make more pairs, plant some, or ask for fewer kinds"
        )
    drawn = [_drawn(usable, kind, sizes, within, seed) for kind in kinds]
    return pd.concat(drawn, ignore_index=True)


def _shrunk(sizes: pd.Series, most: int | None) -> pd.Series:
    """Sizes in proportion, at most so many in all; what rounding leaves goes to the largest."""
    if most is None or sizes.sum() <= most:
        return sizes
    exact = sizes * most / sizes.sum()
    whole = exact.astype(int)
    rest = (exact - whole).sort_values(ascending=False, kind="stable").index
    whole.loc[rest[: most - whole.sum()]] += 1
    return whole


def _drawn(
    pairs: pd.DataFrame, kind: str, sizes: pd.Series, within: Sequence[str], seed: int
) -> pd.DataFrame:
    chosen: list[str] = []
    for group, part in pairs[pairs["kinds"] == kind].groupby(list(within)):
        ids = sorted(part["id"])
        size = int(sizes.get(group if len(within) > 1 else group[0], 0))
        chosen += Random(f"{seed}|{kind}|{group}").sample(ids, size)
    return pairs[pairs["id"].isin(chosen)].assign(kind=kind)


def restricted(duals: Iterable[DualCoT], ids: Iterable[str]) -> list[DualCoT]:
    """Ddual with these pairs alone, in its order; raises KitError for an id that it lacks."""
    wanted = set(ids)
    kept = [pair for pair in duals if pair.id in wanted]
    if missing := sorted(wanted - {pair.id for pair in kept}):
        raise KitError(f"{len(missing)} pairs are not in Ddual, first {missing[0]!r}")
    return kept
