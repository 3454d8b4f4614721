"""What the paper claims, each claim as a comparison of two methods, and what this run says to it.

A verdict takes the interval over seeds and questions, and a p value corrected for all claims that
the run could test. A difference that is not decided is not a difference of zero.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from editlib import paper, statistics
from editlib.figures import DECIDED
from editlib.methods import EDIT_DISTANCE, KEYS

LEVEL = 0.05  # of the corrected p value below which a claim is decided
REPRODUCED, OPPOSITE = DECIDED
UNDECIDED, NOT_RUN = "not decided at this size", "not run in this profile"
VERDICTS = (REPRODUCED, OPPOSITE, UNDECIDED, NOT_RUN)


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
WEIGHTS = [pair for pair in paper.WEIGHTS if pair not in {paper.BEST, *paper.ONE_SIDE}]
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
    *(
        Claim("its weights are the best", "EDIT", paper.weighted(*pair), "all", "Table 4")
        for pair in WEIGHTS
    ),
    *_claims("it is not the data volume", "EDIT", "Std-CoT, repeat sampling", "Table 5", BOTH),
    *_claims("it is not the data volume", "EDIT", "Std-CoT, dual CoTs", "Table 5", BOTH),
    *(
        Claim("voting adds", paper.voted(name), name, "all", "Table 8")
        for name in ("Std-CoT", "EDIT")
    ),
    *_claims("EDIT leads under voting", *map(paper.voted, ("EDIT", "Std-CoT")), "Table 8"),
    *_claims("DPO collapses", "EDIT w/o KRSL", "DPO", "Table 9"),
    *(
        Claim("edit distance finds the steps", "EDIT", f"EDIT, {name}", "all", "implied")
        for name in KEYS
        if name != EDIT_DISTANCE
    ),
)


def by_domain(predictions: pd.DataFrame, in_domain: str = "test") -> pd.DataFrame:
    """Every prediction with its domain, and a second time in the domain "all".

    In domain is the split of that name. A domain's accuracy counts each of its questions once.
    """
    inside = predictions["split"] == in_domain
    named = predictions.assign(domain=np.where(inside, *BOTH))
    return pd.concat([named, named.assign(domain="all")], ignore_index=True)


def with_votes(predictions: pd.DataFrame, votes: pd.DataFrame | None) -> pd.DataFrame:
    """Predictions and, as further methods, what the same students answer by vote.

    votes: method, seed, question_id, split, correct and more; None where nothing was sampled.
    """
    if votes is None:
        return predictions
    votes = votes.assign(method=votes["method"].map(paper.voted))
    return pd.concat([predictions, votes], ignore_index=True)[list(predictions)]


def verdicts(predictions: pd.DataFrame) -> pd.DataFrame:
    """Every claim with the paper's difference, ours, and the verdict; one row a claim and domain.

    predictions: as with_votes returns them. Columns: those of Claim, paper, those of
    statistics.compare, verdict, and what this size can do: assumed (the paper's difference, or
    ours where it has none), power to find it, detectable (the smallest difference found four
    times in five), seeds_needed and questions_needed (each with the other as it is; nan where no
    number is enough). These take the level of one test in as many as were run.
    """
    domains = dict(iter(by_domain(predictions).groupby("domain")))
    rows = pd.DataFrame([vars(claim) | _found(claim, domains) for claim in CLAIMS])
    rows = rows.assign(p_holm=statistics.holm(rows["p"]))
    reach = [_reach(row, domains, level(rows)) for row in rows.itertuples()]
    rows = pd.concat([rows, pd.DataFrame(reach)], axis=1)
    rows = rows.astype({"seeds_needed": "Int64", "questions_needed": "Int64"})
    return rows.assign(verdict=[_verdict(row) for row in rows.itertuples()])


def level(rows: pd.DataFrame) -> float:
    """The level of one test when all that have a p value share LEVEL."""
    return LEVEL / max(int(rows["p"].notna().sum()), 1)


def _found(claim: Claim, domains: dict[str, pd.DataFrame]) -> dict:
    """The paper's difference and ours; ours is missing where a method was not run."""
    theirs = paper.difference(claim.method, claim.baseline, paper.DOMAINS[claim.domain])
    part = domains.get(claim.domain)
    if part is None or not {claim.method, claim.baseline} <= set(part["method"]):
        names = [*statistics.Estimate.__dataclass_fields__, "h"]
        names = ["difference" if name == "mean" else name for name in names]
        return {"paper": theirs, **dict.fromkeys(names, np.nan), "seeds": 0, "n": 0}
    return {"paper": theirs} | statistics.contrast(part, claim.method, claim.baseline)


def _verdict(row) -> str:
    if row.seeds == 0:
        return NOT_RUN
    if not row.p_holm < LEVEL:  # nan with one seed, which says nothing about the next
        return UNDECIDED
    return REPRODUCED if row.difference > 0 else OPPOSITE


def _reach(row, domains: dict[str, pd.DataFrame], alpha: float) -> dict:
    """What a run of this size can find, and the size that would find the assumed difference."""
    assumed = row.difference if np.isnan(row.paper) else row.paper
    reach = dict.fromkeys(("power", "detectable", "seeds_needed", "questions_needed"), np.nan)
    if row.seeds > 1:
        scores = statistics.paired(domains[row.domain], row.method, row.baseline).to_numpy()
        spread = statistics.spread(scores)
        if spread.rest > 0:  # else the two never differ, and nothing is known of their spread
            reach = {
                "power": statistics.power(spread, assumed, row.seeds, row.n, alpha),
                "detectable": statistics.detectable(spread, row.seeds, row.n, alpha),
                "seeds_needed": statistics.seeds_needed(spread, assumed, row.n, alpha),
                "questions_needed": statistics.questions_needed(spread, assumed, row.seeds, alpha),
            }
    return {"assumed": assumed, **reach}
