"""What qualifies a verdict is found in hand-made tables."""

import pandas as pd
import pytest

from editlib import caveats, claims
from editlib.grid import UNTRAINED


def epochs(method, scores, seed=0, lr=1e-3, kept=True):
    best = scores.index(max(scores)) if kept else None
    return [
        {
            "method": method,
            "seed": seed,
            "lr": lr,
            "epoch": n + 1,
            "accuracy": x,
            "chosen": n == best,
        }
        for n, x in enumerate(scores)
    ]


def test_a_method_rises_if_its_mean_at_the_kept_rates_is_highest_at_the_end():
    table = pd.DataFrame(
        [
            *epochs("rises", [0.1, 0.2, 0.4]),
            *epochs("rises", [0.1, 0.4, 0.3], seed=1),
            *epochs("rises", [0.9, 0.1, 0.1], lr=1e-2, kept=False),  # a rate that was not kept
            *epochs("peaks", [0.1, 0.4, 0.3]),
            *epochs("level", [0.4, 0.4]),
            *epochs("once", [0.4]),
        ]
    )
    assert caveats.still_rising(table) == ["rises"]
    assert caveats.still_rising(table.iloc[:0].astype({"chosen": object})) == []


def test_a_method_below_the_floor_is_so_in_domain():
    rows = [
        (method, split, n < right)
        for method, right in ((UNTRAINED, 5), ("worse", 4), ("better", 6))
        for split, right in (("test", right), ("longer", 10 if method == "worse" else 0))
        for n in range(10)
    ]
    answered = pd.DataFrame(rows, columns=["method", "split", "correct"])
    assert caveats.below(answered, UNTRAINED) == ["worse"]


@pytest.mark.parametrize(
    ("verdict", "baseline", "p_paper", "low", "expected"),
    [
        (claims.REPRODUCED, "slow", 0.5, 0.1, [0, 1, 0, 0, 0, 0, 0]),
        (claims.REPRODUCED, "slow, self-consistency", 0.01, 0.1, [1, 1, 0, 0, 0, 0, 0]),
        (claims.REPRODUCED, "weak", 0.5, 0.1, [0, 0, 0, 1, 0, 0, 0]),
        (claims.REPRODUCED, "brief, self-consistency", 0.5, 0.1, [0, 0, 1, 0, 0, 0, 0]),
        (claims.REPRODUCED, "student, few-shot", 0.5, 0.1, [0, 0, 0, 0, 0, 0, 0]),
        (claims.NOT_REPRODUCED, "brief", 0.01, -0.1, [0, 0, 0, 0, 0, 0, 0]),
        (claims.NOT_REPRODUCED, "slow", 0.01, 0.1, [0, 0, 0, 0, 0, 0, 1]),
        (claims.NOT_REPRODUCED, "weak", 0.01, -0.1, [0, 0, 0, 0, 0, 0, 0]),
        (claims.NOT_REPRODUCED, "near", 0.01, -0.1, [0, 0, 0, 0, 1, 0, 0]),
        (claims.UNDECIDED, "near", 0.01, 0.1, [0, 0, 0, 0, 0, 1, 0]),
        (claims.UNDECIDED, "weak", 0.01, 0.1, [0, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_each_caveat_names_the_verdicts_that_it_speaks_of(
    verdict, baseline, p_paper, low, expected
):
    row = {"method": "EDIT", "baseline": baseline, "domain": "all", "verdict": verdict}
    row |= {"difference": 0.125, "paper": 0.25, "low": low, "p_paper_holm": p_paper}
    row |= {"apart": 0.2 if baseline == "near" else 0.3}
    updates = dict.fromkeys(["EDIT", "slow", "weak", "near"], 2) | {"brief": 1}
    table = caveats.of_verdicts(pd.DataFrame([row]), ["slow"], ["weak"], updates)
    assert table["claims"].tolist() == expected
    text = f"EDIT less {baseline} (all): +12.5, the paper's +25.0"
    assert table["which"].tolist() == [text if n else "" for n in expected]
