"""Key steps from token ids, beside the plain dynamic program."""

from collections.abc import Sequence

import Levenshtein
import numpy as np

from editlib import keysteps, plain
from editlib.bench import Baseline, Benchmark, pairs

Pairs = Sequence[tuple[list[int], list[int]]]
LONG = {300: (200, 2_000), 1_000: (50, 4_000)}  # tokens -> pairs of made-up ids, goal
FEW = 0.04  # of them for the plain dynamic program, which takes as long for each
EACH = 54  # pairs of real length that are timed, as many as are published


def benchmarks() -> list[Benchmark]:
    """Both tie rules on dual CoTs, and the library's on long ones."""
    duals = pairs.published() or pairs.of_puzzles(8)
    work = "published dual CoTs" if pairs.published() else "dual CoTs of puzzles"
    real = [(row["correct"], row["wrong"]) for row in pairs.rows(duals)[:EACH]]
    check(real)
    table = {"edit table": Baseline(lambda _: tables(real), 500)}
    backtraces = {"edit table and backtraces": Baseline(lambda _: plain_keys(real), 60)}
    return [
        Benchmark("key steps, library rule", work, lambda _: keys(real, "library"), table),
        Benchmark("key steps, authors' rule", work, lambda _: keys(real, "authors"), backtraces),
        *(_long(tokens, *rest) for tokens, rest in LONG.items()),
    ]


def _long(tokens: int, n: int, goal: float) -> Benchmark:
    made = pairs.made_up(tokens, n)
    few = made[: round(FEW * n)]
    baselines = {
        "edit table": Baseline(lambda _: tables(few), goal, part=FEW),
        # a bound: the ratio is below 1
        "alignment alone": Baseline(lambda _: alignments(made), 0.5),
    }
    work = f"{n} pairs of {tokens:,} tokens"
    return Benchmark("key steps, library rule", work, lambda _: keys(made, "library"), baselines)


def keys(sides: Pairs, ties: keysteps.Ties) -> list:
    return [keysteps.key_masks(correct, wrong, ties) for correct, wrong in sides]


def alignments(sides: Pairs) -> list:
    """What the library's rule cannot do without."""
    return [Levenshtein.editops(correct, wrong) for correct, wrong in sides]


def tables(sides: Pairs) -> list[int]:
    """The fewest edits of each pair, by the definition."""
    return [plain.edit_table(correct, wrong)[-1][-1] for correct, wrong in sides]


def plain_keys(sides: Pairs) -> list:
    return [(plain.authors_key(a, b), plain.authors_key(b, a)) for a, b in sides]


def check(sides: Pairs) -> None:
    """Raise AssertionError unless fast and plain ways agree on some of these pairs."""
    some = sides[::5]
    fewest = [len(Levenshtein.editops(correct, wrong)) for correct, wrong in some]
    assert fewest == tables(some)
    fast = [tuple(np.flatnonzero(mask).tolist() for mask in each) for each in keys(some, "authors")]
    assert fast == plain_keys(some)
