"""What the paper claims, each claim as a comparison of two methods, and what this run says to it.

A verdict takes the interval over seeds and questions, and a p value corrected for all claims that
the run could test and all other comparisons of methods that are made beside them: one family. A
difference that is not decided is not a difference of zero. Where no sign is shown, the same test is
asked whether the difference may be as large as the paper's, as a family of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from editlib import paper, statistics
from editlib.figures import DECIDED, EXCLUDED
from editlib.methods import EDIT_DISTANCE, KEYS, WEIGHTS

LEVEL = 0.05  # of the corrected p value below which a claim is decided
LEAST = 0.02  # the smallest difference of interest where the paper has no number: ours
OF_INTEREST = "smallest of interest"
REPRODUCED, OPPOSITE = DECIDED
UNDECIDED, NOT_RUN = "not decided at this size", "not run in this profile"
NOT_REPRODUCED = EXCLUDED
VERDICTS = (REPRODUCED, NOT_REPRODUCED, OPPOSITE, UNDECIDED, NOT_RUN)
NEEDED = ("seeds_needed", "questions_needed", "seeds_same_questions")


@dataclass(frozen=True)
class Claim:
    """That a method gets more right than a baseline on a domain of questions."""

    claim: str
    method: str
    baseline: str
    domain: str  # of paper.DOMAINS
    source: str  # where the paper says so, or "implied"


def _claims(
    claim: str, method: str, baseline: str, source: str, domains: tuple[str, ...] = ("all",)
) -> list[Claim]:
    return [Claim(claim, method, baseline, domain, source) for domain in domains]


BOTH = ("in domain", "out of domain")
OTHER_WEIGHTS = [
    WEIGHTS[pair] for pair in paper.WEIGHTS if pair not in (paper.BEST, *paper.ONE_SIDE)
]
VOTERS = tuple(paper.TABLE_8["method"])
CLAIMS: tuple[Claim, ...] = (
    *_claims("EDIT beats imitation", "EDIT", "Std-CoT", "Table 1", BOTH),
    *_claims("it is not the longer training", "EDIT", "Std-CoT continued", "implied", BOTH),
    *_claims("EDIT beats other distillations", "EDIT", "MT-CoT", "Table 1"),
    *_claims("EDIT beats other distillations", "EDIT", "SBS", "Table 1"),
    *_claims("EDIT beats other distillations", "EDIT", "SBS-MI", "Table 1"),
    *_claims("EDIT beats other distillations", "EDIT", "SCOTT", "Table 1"),
    *_claims("rectified CoTs help", "EDIT w/o KRSL", "Std-CoT", "Table 1", BOTH),
    *_claims("rectified CoTs help", "EDIT", "EDIT w/o RWC", "Table 1", BOTH),
    *_claims("rectified CoTs help", "EDIT", "EDIT w/o RWC, KRSL on Ddual", "Table 1", BOTH),
    *_claims("key steps help", "EDIT", "EDIT w/o KRSL", "Table 1", BOTH),
    *_claims("key steps help", "EDIT w/o RWC", "Std-CoT", "Table 1", BOTH),
    *_claims("key steps help", "EDIT", "EDIT w/o KRSL continued", "implied", BOTH),
    *_claims("both kinds of pairs help", "EDIT", "EDIT, KRSL on D+dual", "Table 2"),
    *_claims("both kinds of pairs help", "EDIT", "EDIT, KRSL on D-dual", "Table 2"),
    *_claims("both sides of a pair help", "EDIT", "EDIT, only correct steps", "Figure 6"),
    *_claims("both sides of a pair help", "EDIT", "EDIT, only wrong steps", "Figure 6"),
    *(Claim("its weights are the best", "EDIT", name, "all", "Table 4") for name in OTHER_WEIGHTS),
    *_claims("it is not the data volume", "EDIT", "Std-CoT, repeat sampling", "Table 5", BOTH),
    *_claims("it is not the data volume", "EDIT", "Std-CoT, dual CoTs", "Table 5", BOTH),
    *(Claim("voting adds", paper.voted(name), name, "all", "Table 8") for name in VOTERS),
    *(
        Claim("EDIT leads under voting", *map(paper.voted, ("EDIT", name)), "all", "Table 8")
        for name in VOTERS
        if name != "EDIT"
    ),
    *_claims("DPO in place of KRSL hurts", "EDIT w/o KRSL", "DPO", "Table 9"),
    *(
        Claim("edit distance finds the steps", "EDIT", f"EDIT, {name}", "all", "implied")
        for name in KEYS
        if name != EDIT_DISTANCE
    ),
)


def by_domain(predictions: pd.DataFrame, in_domain: str = "test") -> pd.DataFrame:
    """Every prediction, but for its text, with its domain; a second time in the domain "all".

    In domain is the split of that name. A domain's accuracy counts each of its questions once.
    """
    inside = predictions["split"] == in_domain
    named = predictions.drop(columns="text", errors="ignore")
    named = named.assign(domain=np.where(inside, *BOTH))
    return pd.concat([named, named.assign(domain="all")], ignore_index=True)


def signs(predictions: pd.DataFrame, method: str, baselines: Sequence[str]) -> pd.DataFrame:
    """Whether a method is on the paper's side of each baseline: each counts once a domain.

    The paper has one number for all out of domain, so one of ours stands beside it, of all such
    questions. Returns domain, method, baseline, difference, paper, same; only what both have, and
    no difference of zero, which has no sign.
    """
    domains = dict(iter(by_domain(predictions).groupby("domain")))
    pairs = [Claim("", method, other, domain, "") for domain in BOTH for other in baselines]
    rows = [vars(pair) | _found(pair, domains) for pair in pairs]
    columns = ["domain", "method", "baseline", "difference", "paper"]
    table = pd.DataFrame(rows, columns=columns).dropna()
    table = table[table["difference"] != 0].reset_index(drop=True)
    return table.assign(same=table["difference"] * table["paper"] > 0)


def with_votes(predictions: pd.DataFrame, votes: pd.DataFrame | None) -> pd.DataFrame:
    """Predictions and, as further methods, what the same students answer by vote.

    votes: method, seed, question_id, split, correct and more; None where nothing was sampled.
    """
    if votes is None:
        return predictions
    votes = votes.assign(method=votes["method"].map(paper.voted))
    return pd.concat([predictions, votes], ignore_index=True)[list(predictions)]


def verdicts(predictions: pd.DataFrame, beside: pd.DataFrame | None = None) -> pd.DataFrame:
    """Every claim with the paper's difference, ours, and the verdict; one row a claim and domain.

    predictions: as with_votes returns them. beside: the other comparisons that are made of them
    (of statistics.compare), which are of the same family. Columns: those of Claim, paper, those of
    statistics.compare, p_holm, p_paper of a test of the paper's difference in place of zero and
    p_paper_holm, corrected for as many claims as have one (nan: the paper has no number, or nothing
    is known of the spread), verdict, and what this size can do: assumed, the difference that is
    taken for real; assumed_from ("paper", or, where it has none, OF_INTEREST); power to find
    it; detectable, the smallest difference found four times in five; and, where the verdict is
    UNDECIDED, seeds_needed and questions_needed (each with the other as it is, all of them new) and
    seeds_same_questions, the seeds that suffice where only these very questions count. nan: no
    number is enough. These take the level of one test in as many as were run.
    """
    domains = dict(iter(by_domain(predictions).groupby("domain")))
    rows = pd.DataFrame([vars(claim) | _found(claim, domains) for claim in CLAIMS])
    tests = [rows] if beside is None else [rows, beside]
    rows = corrected(*tests)[0]
    alpha = level(*tests)
    reach = [_reach(row, domains, alpha) for row in rows.itertuples()]
    rows = pd.concat([rows, pd.DataFrame(reach)], axis=1)
    rows = rows.assign(p_paper_holm=statistics.holm(rows["p_paper"]))
    rows = rows.assign(verdict=[_verdict(row) for row in rows.itertuples()])
    open_ones = rows["verdict"] == UNDECIDED
    return rows.assign(**{name: rows[name].where(open_ones).astype("Int64") for name in NEEDED})


def beside_theirs(table: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Contests with p_paper, of a test of the paper's difference in place of zero, p_paper_holm.

    table: method, baseline, domain, paper, difference, seeds and n; p_paper_holm is corrected over
    its rows. nan: the paper has no number, or nothing is known of the spread.
    """
    domains = dict(iter(by_domain(predictions).groupby("domain")))
    found = [_reach(row, domains, LEVEL)["p_paper"] for row in table.itertuples()]
    table = table.assign(p_paper=found)
    return table.assign(p_paper_holm=statistics.holm(table["p_paper"]))


def decided(comparison: pd.DataFrame, verdicts: pd.DataFrame) -> pd.DataFrame:
    """Comparisons with p_holm, corrected together with the claims, and decided: below LEVEL."""
    comparison, _ = corrected(comparison, verdicts)
    return comparison.assign(decided=comparison["p_holm"] < LEVEL)


def corrected(*tables: pd.DataFrame) -> list[pd.DataFrame]:
    """Tables of tests with p_holm: Holm's correction over all tests of all tables, as one family.

    A table has method, baseline, p, and domain or split; a test that stands in two of them, such
    as one on the split in domain, counts once.
    """
    known = statistics.holm(_tests(*tables))
    return [table.assign(p_holm=known.loc[_names(table)].to_numpy()) for table in tables]


def size(*tables: pd.DataFrame) -> int:
    """How many tests there are in all of these tables; one without a p value is none."""
    return int(_tests(*tables).notna().sum())


def level(*tables: pd.DataFrame) -> float:
    """The level of one test when all of these tables that have a p value share LEVEL."""
    return LEVEL / max(size(*tables), 1)


def _tests(*tables: pd.DataFrame) -> pd.Series:
    """The p values of all tests, each once, by name."""
    tests = pd.concat([table["p"].set_axis(_names(table)) for table in tables])
    return tests[~tests.index.duplicated()]


def _names(table: pd.DataFrame, in_domain: str = "test") -> list[str]:
    """What each row of a table tests, in words."""
    where = table["domain"] if "domain" in table else table["split"].replace(in_domain, BOTH[0])
    return (table["method"] + " less " + table["baseline"] + ", " + where).tolist()


def _found(claim: Claim, domains: dict[str, pd.DataFrame]) -> dict:
    """The paper's difference and ours; ours is missing where a method was not run."""
    theirs = paper.difference(claim.method, claim.baseline, paper.DOMAINS[claim.domain])
    part = domains.get(claim.domain)
    if part is None or not {claim.method, claim.baseline} <= set(part["method"].unique()):
        absent = dict.fromkeys(statistics.CONTRASTED, np.nan)
        return {"paper": theirs, **absent, "seeds": 0, "n": 0}
    return {"paper": theirs} | statistics.contrast(part, claim.method, claim.baseline)


def _verdict(row) -> str:
    if row.seeds == 0:
        return NOT_RUN
    if row.p_holm < LEVEL:  # nan with one seed, which says nothing about the next
        return REPRODUCED if row.difference > 0 else OPPOSITE
    excluded = row.p_paper_holm < LEVEL and row.difference < row.paper
    return NOT_REPRODUCED if excluded else UNDECIDED


def _reach(row, domains: dict[str, pd.DataFrame], alpha: float) -> dict:
    """What a run of this size can find, and the size that would find the assumed difference."""
    implied = np.isnan(row.paper)
    assumed = LEAST if implied else row.paper
    found = {"assumed": assumed, "assumed_from": OF_INTEREST if implied else "paper"}
    reach = dict.fromkeys(("p_paper", "power", "detectable", *NEEDED), np.nan)
    if row.seeds > 1:
        scores = statistics.paired(domains[row.domain], row.method, row.baseline).to_numpy()
        spread = statistics.spread(scores)
        if spread is not None and spread.rest > 0:
            needed = (
                statistics.seeds_needed(spread, assumed, row.n, alpha),
                statistics.questions_needed(spread, assumed, row.seeds, alpha),
                statistics.seeds_needed(spread, assumed, row.n, alpha, "same"),
            )
            beyond = row.difference - row.paper
            reach = {
                "p_paper": statistics.p_value(spread, beyond, row.seeds, row.n),
                "power": statistics.power(spread, assumed, row.seeds, row.n, alpha),
                "detectable": statistics.detectable(spread, row.seeds, row.n, alpha),
                **dict(zip(NEEDED, needed, strict=True)),
            }
    return found | reach
