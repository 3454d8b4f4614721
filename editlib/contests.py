"""Pairs of methods to compare that are no claim of the paper, and what the answers say of each."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from editlib import claims, paper, statistics
from editlib.methods import METHODS, MISTAKES, RATE, RATES, WEIGHTS, at, control
from editlib.pair_sets import PAIR_SETS

EDIT, FIRST = "EDIT", "EDIT w/o KRSL"  # where the second phase of EDIT begins
LATER_LOSSES = ("DPO-Positive", "SimPO")  # which the paper lacks
Contest = tuple[str, str]  # a method, and what it is held against


def of_sets() -> list[Contest]:
    """What each set of pairs is held against.

    Its control of equal updates, and the first method that makes equally many: so sets of one size
    are compared with one another, and sets of all pairs with EDIT.
    """
    contests, first = [], {control(EDIT): EDIT}
    for method in _sets():
        rival = control(method)
        contests.append((method, rival))
        if first.setdefault(rival, method) != method:
            contests.append((method, first[rival]))
    return contests


def of_controls() -> list[Contest]:
    """Every other method that has a control of equal updates, and that control."""
    apart = {*_sets(), *(f"{EDIT}, {kind} alone" for kind in MISTAKES)}  # have tests of their own
    named = [name for name in METHODS if name not in apart]
    return _unclaimed((name, rival) for name in named if (rival := control(name)))


def of_rates() -> list[Contest]:
    """Second phases at rates of their own, and losses that the paper lacks: what each adds."""
    others = [at(method, lr) for method, _, lr in RATES]
    return [(name, FIRST) for name in (*others, *LATER_LOSSES)]


def of_variants() -> list[Contest]:
    """EDIT, and every other second phase on its pairs: of other weights, and of another loss."""
    weighed = [name for name in WEIGHTS.values() if name not in (EDIT, FIRST)]
    others = [*weighed, "EDIT, per key token", "DPO", *LATER_LOSSES]
    return _unclaimed((EDIT, name) for name in others)


def _sets() -> list[str]:
    return [f"{EDIT}, {name}" for name in PAIR_SETS]


def _unclaimed(contests: Iterable[Contest]) -> list[Contest]:
    """Those that are no claim, which is tested and corrected among the claims."""
    claimed = {(claim.method, claim.baseline) for claim in claims.CLAIMS}
    return [contest for contest in contests if contest not in claimed]


def against(
    predictions: pd.DataFrame, contests: Iterable[Contest], by: Sequence[str] = ()
) -> pd.DataFrame:
    """Each method less its baseline, on the same questions and seeds, by domain.

    Contests of which one side has no answers are left out. by: further columns that cut the
    predictions. Returns by, domain, the columns of statistics.contrast and p_holm, corrected over
    the rows of this table: give it no test twice, and none of a claim.
    """
    cut, contests = [*by, "domain"], list(contests)
    rows = [
        dict(zip(cut, key, strict=True)) | statistics.contrast(group, method, baseline)
        for key, group in claims.by_domain(predictions).groupby(cut, sort=False)
        for method, baseline in contests
        if {method, baseline} <= set(group["method"].unique())
    ]
    table = pd.DataFrame(rows)
    return table.assign(p_holm=statistics.holm(table["p"])) if len(table) else table


def of_second_phases(
    predictions: pd.DataFrame, verdicts: pd.DataFrame, rates: Mapping[str, float]
) -> pd.DataFrame:
    """What each second phase of of_rates() adds, after EDIT's own, which is a claim.

    verdicts: of claims.verdicts. rates: what the last phase of each method learnt at. Returns the
    columns of against(), lr, paper (the difference of the method that it is a rate of), p_paper (of
    a test of that difference in place of zero) and p_paper_holm. What is corrected of EDIT is so
    among the claims, of the others among themselves. No rows where there is none but EDIT.
    """
    found = against(predictions, of_rates())
    if not len(found):
        return found
    theirs = [
        paper.difference(row.method.partition(RATE)[0], row.baseline, paper.DOMAINS[row.domain])
        for row in found.itertuples()
    ]
    found = claims.beside_theirs(found.assign(paper=theirs), predictions)
    own = (verdicts["method"] == EDIT) & (verdicts["baseline"] == FIRST) & (verdicts["seeds"] > 0)
    table = pd.concat([verdicts.loc[own, list(found)], found], ignore_index=True)
    return table.assign(lr=table["method"].map(rates))


def decided(table: pd.DataFrame) -> str:
    """The contests of a table that the corrected test decides, as a list in Markdown."""
    sure = table[table["p_holm"] < claims.LEVEL] if len(table) else table
    lines = [
        f"- {row.domain}: {row.method} less {row.baseline}: {100 * row.difference:+.1f} points"
        for row in sure.itertuples()
    ]
    head = f"Decided, corrected for all of them: {len(sure)} of {len(table)}."
    return "\n".join([head, "", *lines])


def excluded(table: pd.DataFrame) -> str:
    """How many rows of of_second_phases() cannot be as the paper has them, in a sentence."""
    tested = table.dropna(subset="p_paper_holm")
    return (
        "The paper's difference is excluded, corrected likewise, in "
        f"{(tested['p_paper_holm'] < claims.LEVEL).sum()} of the {len(tested)} that have one."
    )
