"""What qualifies a verdict on a claim, beside the numbers of its own row."""

from collections.abc import Collection, Mapping

import pandas as pd

from editlib import claims, paper


def still_rising(epochs: pd.DataFrame) -> list[str]:
    """The methods whose mean accuracy on validation questions is highest at their last epoch.

    Their last phase might serve them better if it were longer. epochs: method, seed, lr, epoch,
    accuracy, chosen (the epoch that was kept: only its rate counts), as notebook 04 saves them; a
    method that was scored but once, or whose epochs are equals, is not rising.
    """
    kept = ["method", "seed", "lr"]
    own = epochs.merge(epochs.loc[epochs["chosen"].astype(bool), kept])
    found = []
    for method, part in own.groupby("method", sort=False):
        means = part.groupby("epoch")["accuracy"].mean()
        if len(means) > 1 and means.iloc[-1] > means.iloc[:-1].max():
            found.append(method)
    return found


def below(predictions: pd.DataFrame, floor: str) -> list[str]:
    """The methods that answer fewer questions in domain than the method `floor` does."""
    inside = claims.by_domain(predictions).query("domain == @claims.BOTH[0]")
    means = inside.groupby("method", sort=False)["correct"].mean()
    return list(means.index[means < means[floor]])


def of_verdicts(
    verdicts: pd.DataFrame,
    rising: Collection[str],
    low: Collection[str],
    updates: Mapping[str, int],
) -> pd.DataFrame:
    """How many verdicts each caveat speaks of, and which; rows of caveat, claims, which.

    verdicts: of claims.verdicts. rising, low: methods, of still_rising() and below(); their votes
    count with them. updates: how many each trained method made. Fewer answers differ: so few are
    right of one of the two methods alone that, as far as these answers tell, no number of seeds
    could show the paper's difference; the two are nearly one.
    """
    reproduced = verdicts["verdict"] == claims.REPRODUCED
    missed = verdicts["verdict"] == claims.NOT_REPRODUCED
    undecided = verdicts["verdict"] == claims.UNDECIDED
    nearly_one = verdicts["apart"] < verdicts["paper"]
    one, other = (
        verdicts[side].str.removesuffix(paper.voted("")) for side in ("method", "baseline")
    )
    found = {
        "reproduced, but of another size than in the paper (p_paper_holm)": reproduced
        & (verdicts["p_paper_holm"] < claims.LEVEL),
        "reproduced over a method that was still rising at its last epoch": reproduced
        & other.isin(rising),
        "reproduced over a method that made fewer updates": reproduced
        & (other.map(updates) < one.map(updates)),
        "reproduced over a method below the untrained base in domain": reproduced & other.isin(low),
        "not reproduced, where fewer answers differ than the paper's difference asks for": missed
        & nearly_one,
        "open, where fewer answers differ than the paper's difference asks for": undecided
        & nearly_one,
        "not reproduced, yet our interval (not corrected) lies above zero": missed
        & (verdicts["low"] > 0),
    }
    rows = [(name, int(mask.sum()), _named(verdicts[mask])) for name, mask in found.items()]
    return pd.DataFrame(rows, columns=["caveat", "claims", "which"])


def _named(rows: pd.DataFrame) -> str:
    """Claims with our difference and the paper's, in points."""
    return "; ".join(
        f"{row.method} less {row.baseline} ({row.domain}): {100 * row.difference:+.1f}, the "
        f"paper's {100 * row.paper:+.1f}"
        for row in rows.itertuples()
    )
