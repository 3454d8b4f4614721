"""Students on sets of pairs of a reader's own, in processes that know nothing of the reader."""

import re
from dataclasses import replace

import pytest

from editlib import grid, methods, mistakes, own_sets, pipeline
from editlib.errors import KitError
from editlib.methods import phases
from editlib.workspace import MissingInput, open_workspace

FEW = (
    "training.seeds=[0]",
    "benchmark.questions={train: 3, validation: 1, test: 1, longer: 1, families: 1}",
    "decoding.max_new_tokens=4",
)


def one_more(question, chain, rng):
    """A number of the question read as one more."""
    numbers = re.findall(r"\d+", question)
    if not numbers:
        return None
    changed = re.sub(rf"\b{numbers[0]}\b", str(int(numbers[0]) + 1), question, count=1)
    return mistakes.misread(question, changed, chain)


@pytest.fixture(scope="module")
def ws(tmp_path_factory):
    opened = open_workspace("smoke", FEW, tmp_path_factory.mktemp("run"))
    for stage in (pipeline.annotate, pipeline.build_duals, pipeline.locate):
        stage(opened)
    return opened


@pytest.fixture(scope="module")
def sets(ws):
    """Pairs of a planted kind that no other process has heard of, and as many of the run's own."""
    duals = pipeline.read_duals(ws)[1]
    truths = pipeline.known_mistakes(ws, [pair.correct_completion for pair in duals])
    kind = mistakes.Kind("one more", "OM", "a number read as one more", plant=one_more)
    planted, _ = mistakes.planted(kind, duals, truths)
    return {"OM": planted, "run": duals[: len(planted)]}


@pytest.fixture(scope="module")
def answered(ws, sets):
    return own_sets.train(ws, sets)


def test_a_phase_learns_from_the_set_and_nothing_else(ws, sets, answered):
    for name, pairs in sets.items():
        rows = grid.drawn(ws, phases(f"EDIT on {name}")[-1])
        assert [row["id"] for row in rows] == [pair.id for pair in pairs] and pairs
    planted, row = sets["OM"][0], grid.drawn(ws, phases("EDIT on OM")[-1])[0]
    segment = pipeline.segmenter(ws)
    assert row["wrong"] == list(segment(planted.wrong).ids)
    assert 0 < sum(row["wrong_key"]) < len(row["wrong"]) == len(row["wrong_key"])


def test_students_of_every_set_and_their_control_are_examined(ws, answered):
    control = "EDIT w/o KRSL as long as EDIT on OM"
    assert list(dict.fromkeys(answered["method"])) == ["EDIT on OM", "EDIT on run", control]
    asked = sum(len(pipeline.split(ws, name)) for name in pipeline.EVALUATED)
    assert answered.groupby("method").size().eq(asked).all()
    assert grid.updates(ws, phases(control)) == grid.updates(ws, phases("EDIT on OM"))
    weights = {
        method: grid.student_fingerprint(ws, phases(method), 0) for method in answered["method"]
    }
    assert len(set(weights.values())) == 3


def test_what_is_there_is_not_trained_again_and_another_set_is(ws, sets, answered):
    def when(name):
        return (grid.student_folder(ws, phases(f"EDIT on {name}"), 0)).stat().st_mtime_ns

    before = when("OM"), when("run")
    again = own_sets.train(ws, sets)
    assert again.equals(answered) and (when("OM"), when("run")) == before
    changed = [replace(pair, wrong=f"{pair.wrong} So.") for pair in sets["run"]]
    own_sets.train(ws, {**sets, "run": changed})
    assert when("OM") == before[0] and when("run") != before[1]


@pytest.mark.parametrize("label", ["lost not", "C-N", "C_N", "é", "a,b", "C/N", "C&P", "<b>", "_A"])
def test_a_set_may_have_the_name_of_any_kind_that_is_registered(ws, label, monkeypatch):
    monkeypatch.setattr(mistakes.kinds, "KINDS", dict(mistakes.KINDS))
    try:
        mistakes.register(mistakes.Kind("mine", label, "?"))
        refused = "is empty"  # for nothing else
    except mistakes.BadKind:
        refused = "its name may hold letters"
    for name in (label, f"LE+{label}"):
        with pytest.raises(KitError, match=refused):
            own_sets.train(ws, {name: []})


def test_names_and_sets_that_cannot_be_used_are_refused(ws, sets):
    for name in ("../up", "", "a/b", ".hidden", "LE+", "a b "):
        with pytest.raises(KitError, match="its name may hold letters"):
            own_sets.train(ws, {name: sets["OM"]})
    with pytest.raises(KitError, match="'none' is empty"):
        own_sets.train(ws, {"none": []})
    with pytest.raises(MissingInput, match=r"own_sets\.train keeps those it is given"):
        grid.drawn(ws, phases("EDIT on nothing")[-1])
    with pytest.raises(methods.UnknownMethod):
        phases("EDIT of OM")
