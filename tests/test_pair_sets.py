"""Sets of pairs: equal where they are compared, nested where they grow, other in one respect."""

from collections import Counter
from dataclasses import replace
from itertools import product

import pytest

from editlib import dual, keysteps, methods, paths
from editlib.methods import METHODS, control, phases
from editlib.pair_sets import PAIR_SETS, answer_only, mixed, part, rows_of
from editlib.records import DualCoT

SIZES = {
    ("sums", "D+dual"): 40,
    ("sums", "D-dual"): 9,
    ("walks", "D+dual"): 6,
    ("walks", "D-dual"): 8,
}
MIXES = ["no D-dual", "half D-dual", "all D-dual"]


def pair(task, subset, n):
    return DualCoT(
        id=f"puzzles/{task}/{n}#{subset}",
        question_id=f"puzzles/{task}/{n}",
        task=task,
        subset=subset,
        question="What is 5 minus 2?",
        correct="5 minus 2 is 3. Therefore, the answer is 3.",
        wrong="5 minus 2 gives 4. Therefore, the answer is 4.",
        correct_answer="3",
        wrong_answer="4",
        correct_completion="right",
        wrong_completion="wrong",
    )


@pytest.fixture
def duals():
    return [pair(*group, n) for group, size in SIZES.items() for n in range(size)]


def ids(duals):
    return {pair.id for pair in duals}


def counts(duals, *names):
    return Counter(tuple(getattr(pair, name) for name in names) for pair in duals)


def test_the_quarter_lies_in_the_half_and_the_half_in_the_whole(duals):
    quarter, half = (
        PAIR_SETS[f"{name} of the pairs"].make(duals) for name in ("a quarter", "half")
    )
    assert ids(quarter) < ids(half) < ids(duals)
    assert (len(quarter), len(half)) == (round(63 / 4), round(63 / 2))
    assert part(duals, 1.0) == duals
    other = [replace(pair, id=f"another {pair.id}") for pair in duals]  # another draw: not within
    assert not {f"another {id}" for id in ids(quarter)} <= ids(part(other, 0.5))


@pytest.mark.parametrize("share", [0.25, 0.5, 0.7])
def test_a_part_has_its_share_of_each_task_and_subset(duals, share):
    found = counts(part(duals, share), "task", "subset")
    assert all(abs(found[group] - share * size) <= 1 for group, size in SIZES.items())
    first = counts(duals[: round(share * len(duals))], "task", "subset")  # without the strata
    assert any(abs(first[group] - share * size) > 1 for group, size in SIZES.items())


def test_a_set_does_not_depend_on_the_order_of_the_pairs_and_keeps_it(duals):
    turned = duals[::-1]
    for chosen in PAIR_SETS.values():
        assert chosen.make(turned) == chosen.make(duals)[::-1]


def test_sets_with_other_shares_of_d_dual_have_equally_many_pairs_of_each_task(duals):
    none, half, whole = (PAIR_SETS[name].make(duals) for name in MIXES)
    tasks = {("sums",): 9, ("walks",): 6}
    assert counts(none, "task") == counts(half, "task") == counts(whole, "task") == tasks
    minus = [counts(found, "subset")["D-dual",] for found in (none, half, whole)]
    assert minus == [0, round(15 / 2), 15]
    by_task = counts(half, "task", "subset")  # half of each task, not all of one
    assert all(abs(by_task[task, "D-dual"] - n / 2) <= 1 for (task,), n in tasks.items())


def test_the_half_takes_from_each_side_pairs_that_the_pure_sets_hold(duals):
    none, half, whole = (ids(mixed(duals, share)) for share in (0.0, 0.5, 1.0))
    assert half < none | whole and half & none and half & whole


def test_a_task_that_one_subset_lacks_is_in_none_of_the_mixed_sets(duals):
    alone = [*duals, *(pair("dates", "D+dual", n) for n in range(5))]
    for name in MIXES:
        assert ("dates",) not in counts(PAIR_SETS[name].make(alone), "task")


def test_an_answer_only_pair_goes_the_right_path_to_the_wrong_answer(duals):
    for before, after in zip(duals, answer_only(duals, 1.0), strict=True):
        assert (paths.difference(before), paths.difference(after)) == ("step", "answer")
        assert after.wrong == "5 minus 2 is 3. Therefore, the answer is 4."
        assert dual.holds(after) and after.correct == before.correct and after.id == before.id


def test_half_answer_only_changes_half_of_the_pairs_and_leaves_the_rest(duals):
    found = answer_only(duals, 0.5)
    changed = [a for a, b in zip(found, duals, strict=True) if a != b]
    assert len(found) == len(duals) and ids(changed) == ids(part(duals, 0.5))


def test_rows_of_a_set_are_marked_by_its_texts_and_others_left_out(tok):
    own = replace(
        pair("sums", "D+dual", 0),
        correct="5 minus 2 is 3 . Therefore , the answer is 3",
        wrong="5 minus 2 is 4 . so the answer is 4",
    )
    segment = keysteps.TokenSegmenter(tok)
    rows = [{"id": own.id, "prompt": [1], "wrong": "?"}, {"id": "another", "prompt": [2]}]
    words = []
    for made in (own, replace(own, wrong=own.correct.removesuffix("3") + "4")):
        [row] = rows_of([made], rows, segment, "library")
        assert (row["id"], row["prompt"]) == (own.id, [1])
        assert tok.decode(row["wrong"]) == f"{made.wrong} <end>"
        words.append(
            tok.decode([t for t, k in zip(row["wrong"], row["wrong_key"], strict=True) if k])
        )
    assert words == ["4 so 4", "4"]


# --- the methods that learn from them --------------------------------------------------------


def test_every_set_has_its_method_and_each_method_a_control():
    for name in PAIR_SETS:
        first, last = phases(f"EDIT, {name}")
        assert (last.pairs, last.data, last.objective) == (name, "Ddual", "krsl")
        assert str(last) == f"KRSL on Ddual, {name}"
        assert phases(control(f"EDIT, {name}"))[0] == first == phases("EDIT")[0]


def test_sets_of_one_size_share_a_control_and_others_do_not():
    names = {name: control(f"EDIT, {name}") for name in PAIR_SETS}
    assert {names[name] for name in MIXES} == {"EDIT w/o KRSL as long as EDIT, no D-dual"}
    assert names["answer-only pairs"] == names["half answer-only pairs"] == control("EDIT")
    assert len(set(names.values())) == 4


def test_phases_without_a_set_keep_their_names():
    names = {str(phase) for method in METHODS for phase in phases(method) if phase.pairs is None}
    assert {"SFT on D+", "SFT on D+merge", "KRSL on Ddual", "KRSL on Ddual, LE alone"} <= names
    assert not any(
        name in phase for name, phase in product(PAIR_SETS, names) if "as long" not in phase
    )
    assert methods.Phase("krsl", "Ddual").pairs is None
