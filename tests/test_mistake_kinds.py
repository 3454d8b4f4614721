"""Kinds as entries of a registry, and what follows from an entry: verdicts, plants, sets."""

import re
import runpy
from pathlib import Path

import pandas as pd
import pytest

from editlib import figures, mistakes, pipeline, puzzles
from editlib.completions import CompletionStore, Reply
from editlib.errors import KitError
from editlib.mistakes import Chain, Kind, Verdict, planting
from editlib.records import DualCoT
from editlib.workspace import open_workspace
from tests.loopback import serving

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples" / "kinds").glob("*.py"))


@pytest.fixture(autouse=True)
def registry():
    """The registry as it was, after each test."""
    before = dict(mistakes.KINDS)
    yield
    mistakes.KINDS.clear()
    mistakes.KINDS.update(before)


def miscopy(question, chain, rng):
    number = rng.choice(re.findall(r"\d+", question) or [""])
    changed = re.sub(rf"\b{number}\b", str(int(number or 0) + 1), question, count=1)
    return mistakes.misread(question, changed, chain)


COPYING = Kind("copying", "CN", "a number is copied wrongly", plant=miscopy)


def right_pairs(family, n=6):
    """Pairs whose correct side is a right chain; the wrong side does not matter."""
    asked = [q for q in puzzles.questions("train", n) if q.task == family]
    chains = [puzzles.reason(puzzles.read_question(q.text), puzzles.Voice(q.text)) for q in asked]
    pairs = [
        DualCoT(q.id, q.id, family, "D+dual", q.text, c.text, "", q.answer, "", f"{q.id} right", "")
        for q, c in zip(asked, chains, strict=True)
    ]
    return pairs, {pair.correct_completion: {"mistakes": []} for pair in pairs}


# --- the registry -----------------------------------------------------------------------------


def test_a_new_kind_is_in_labels_order_and_colours_at_once():
    mistakes.register(COPYING)
    assert mistakes.label(["copying", "logical"]) == "LE+CN"
    assert mistakes.in_order(["CN", "none", "LE+CN", "LE"]) == ["LE", "CN", "LE+CN", "none"]
    colours = figures.kind_colours(["LE", "CN", "LE+CN", "none"])
    assert list(colours) == ["LE", "CN"] and len(set(colours.values())) == 2
    counted = mistakes.tally(pd.DataFrame({"subset": ["a"], "kinds": ["LE"]}), ["subset"])
    assert counted.set_index("kinds").loc["CN", "n"] == 0  # shown, though it never occurs


UNFIT = ["LE", "LE ", " X", "none", "A+B", " ", "", r"$\bad{$", "A\nB", "A\x07", "A\u202eB", "_A"]
UNFIT += ["a,b", "C/N", "C&P", "<b>", "..", "A\n", "le", "control", "Control", 31 * "A"]


@pytest.mark.parametrize("short", UNFIT)
def test_a_label_that_cannot_be_told_apart_or_shown_is_refused(short):
    with pytest.raises(mistakes.BadKind, match="choose another"):
        mistakes.register(Kind("mine", short, "?"))


@pytest.mark.parametrize("name", mistakes.KINDS)
def test_the_kinds_of_the_paper_stay_as_they_are(name):
    with pytest.raises(mistakes.BadKind, match="choose another name"):
        mistakes.register(Kind(name, "LX", "?"))
    assert "LX" not in mistakes.shorts()


def test_to_register_twice_is_to_replace():
    mistakes.register(COPYING)
    mistakes.register(Kind("copying", "CP", "?"))
    assert "CN" not in mistakes.shorts() and mistakes.shorts()[-1] == "CP"


# --- classifiers ------------------------------------------------------------------------------

CHAINS = [Chain("a", "Q a", "2 + 2 = 5", "key a"), Chain("b", "Q b", "all is well", "key b")]


class Judge:
    """Replies by the question; counts how often it is asked."""

    name = "judge"

    def __init__(self, replies):
        self.replies, self.asked = replies, []

    def complete(self, request):
        self.asked.append(request.prompt)
        reply = next(text for q, text in self.replies.items() if q in request.prompt)
        return Reply(reply, "stop", None, None)


def test_three_classifiers_share_a_signature(tmp_path):
    truth = {"key a": {"mistakes": [{"kind": "calculation", "start": 8, "end": 9}]}}
    truth["key b"] = {"mistakes": []}
    judge = Judge({"Q a": "c", "Q b": "I see a mistake of kind a."})
    with_judge = mistakes.by_judge(judge, CompletionStore(tmp_path / "store.sqlite"))
    said = {
        "truth": mistakes.by_truth(truth)(CHAINS),
        "rules": mistakes.by_rules(CHAINS),
        "judge": with_judge(CHAINS),
    }
    table = mistakes.labels(CHAINS, **said).set_index("id")
    assert table.loc["a"].tolist() == ["MCE", "MCE", "MCE"]
    assert table.loc["b"].tolist() == ["none", "none", "unread"]
    assert with_judge(CHAINS) == said["judge"] and len(judge.asked) == 2  # kept, not asked again


def test_the_judge_is_shown_each_kind_the_question_and_the_chain_and_new_kinds_too():
    mistakes.register(COPYING)
    prompt = mistakes.judge_prompt(CHAINS[0])
    for kind, letter in zip(mistakes.KINDS.values(), "abcde", strict=True):
        assert f"\n{letter}: {kind.description}\n" in prompt
    assert "Q a" in prompt and "2 + 2 = 5" in prompt and mistakes.read_kinds("e") == ("copying",)


def test_a_profile_may_name_a_judge_whose_prose_is_unread(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "made-up")
    assert pipeline.judge_mistakes(open_workspace("smoke", results=tmp_path), CHAINS) is None
    with serving(lambda prompt, before: "no marker") as server:
        judge = f"judge={{kind: endpoint, model: m, temperature: 0, base_url: '{server.url}'}}"
        ws = open_workspace("smoke", [judge], tmp_path)
        said = [pipeline.judge_mistakes(ws, CHAINS) for _ in range(2)]
    assert [each.label for each in said[0]] == ["unread", "unread"] and said[0] == said[1]
    assert [body["temperature"] for body in server.bodies] == [0, 0]  # two chains, asked once


@pytest.mark.parametrize(
    "reply", ["", "e", "a+a", "A", "a,c", "a+c because", "ac", "(a)", "a\n\nb"]
)
def test_a_reply_that_is_not_known_letters_is_unread(reply):
    assert mistakes.read_kinds(reply) is None


def test_unknown_truth_is_an_error():
    with pytest.raises(mistakes.UnknownTruth, match="nothing is known"):
        mistakes.by_truth({})(CHAINS)


def test_a_truth_of_a_kind_that_is_not_registered_is_an_error_and_no_none():
    truth = {"key a": {"mistakes": [{"kind": "copying", "start": 8, "end": 9}]}}
    with pytest.raises(mistakes.UnknownTruth, match=r"chain 'a'.*'copying'.*register"):
        mistakes.by_truth(truth)(CHAINS[:1])
    mistakes.register(COPYING)
    assert [each.label for each in mistakes.by_truth(truth)(CHAINS[:1])] == ["CN"]


def test_a_rule_that_fails_is_named_with_its_kind_chain_and_cause():
    mistakes.register(Kind("mine", "MI", "?", rule=lambda question, text: 1 / 0))
    with pytest.raises(mistakes.BadKind, match=r"'mine'.*'a'.*division by zero") as raised:
        mistakes.by_rules(CHAINS)
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    "found",
    [(9, 3, "?"), (500, 900, "?"), (-3, -1, "?"), (4, 4, "?"), (0, 1), ("0", "1", "?"), (0, 1, 2)],
)
def test_a_rule_may_point_at_characters_of_the_text_alone(found):
    mistakes.register(Kind("mine", "MI", "?", rule=lambda question, text: [found]))
    with pytest.raises(
        mistakes.BadKind, match=r"'mine'.*'a'.*expected \(start, end, why\)"
    ) as raised:
        mistakes.by_rules(CHAINS)
    assert repr(found) in str(raised.value) and "<= 9" in str(raised.value)


def test_the_whole_text_may_be_a_mistake():
    rule = lambda question, text: iter([(0, len(text), "all of it")])  # noqa: E731
    mistakes.register(Kind("mine", "MI", "?", rule=rule))
    assert [each.label for each in mistakes.by_rules(CHAINS)] == ["MCE+MI", "MI"]


def verdicts(*labels):
    names = {kind.short: name for name, kind in mistakes.KINDS.items()}
    return [
        Verdict(
            None if each == "unread" else tuple(names[s] for s in each.split("+") if s in names)
        )
        for each in labels
    ]


def test_precision_and_recall_count_each_kind_of_a_chain():
    truth, found = verdicts("LE+MCE", "MCE", "KE", "LE"), verdicts("MCE", "MCE", "MCE", "unread")
    table = mistakes.against_truth(truth, found).set_index("kind")
    assert (table.loc["MCE", "precision"], table.loc["MCE", "recall"]) == (2 / 3, 1.0)
    assert table.loc["LE", "recall"] == 0 and pd.isna(table.loc["LE", "precision"])


def test_an_unread_reply_is_no_alarm_and_counted_apart():
    found = mistakes.alarms(verdicts("MCE", "none", "none", "unread"))
    assert [found[name] for name in ("chains", "unread", "alarms", "share")] == [4, 1, 1, 1 / 3]
    assert pd.isna(mistakes.alarms(verdicts("unread"))["share"])


def test_agreement_beyond_chance():
    table = pd.DataFrame({"a": ["LE"] * 5 + ["KE"] * 5, "b": ["LE"] * 4 + ["KE"] * 6})
    assert mistakes.kappa(table, "a", "b")["kappa"] == pytest.approx(0.8)  # (0.9 - 0.5) / 0.5
    square = mistakes.confusion(table, ["a", "b"]).set_index(["label", "other_label"])["n"]
    assert square["LE", "KE"] == 1 and square.sum() == 10 and len(square) == 4
    half = table.assign(b=["LE", "KE"] * 5)
    assert abs(mistakes.kappa(half, "a", "b")["kappa"]) < 0.3
    assert pd.isna(mistakes.kappa(table.assign(a="LE", b="LE"), "a", "b")["kappa"])


def test_each_two_classifiers_have_a_square_of_their_own():
    table = pd.DataFrame({"a": ["LE", "KE"], "b": ["LE", "none"], "c": ["unread", "LE"]})
    squares = mistakes.confusion(table, ["a", "b", "c"]).groupby(["classifier", "other"])
    assert list(squares.groups) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert squares["n"].sum().eq(2).all() and squares.size().tolist() == [9, 9, 9]
    assert squares.get_group(("b", "c")).query("n > 0")["label"].tolist() == ["LE", "none"]


def test_where_the_first_mistake_begins():
    table = mistakes.first_mistakes(CHAINS, mistakes.by_rules(CHAINS))
    assert table.to_dict("records") == [{"id": "a", "kinds": "MCE", "position": 8 / 9}]


# --- planting ---------------------------------------------------------------------------------


def test_a_planted_mistake_is_carried_through_and_its_truth_lies_beside():
    pairs, truths = right_pairs("multistep_arithmetic")
    made, known = mistakes.planted(COPYING, pairs, truths)
    assert len(made) > 3
    for pair in made:
        [mistake] = known[pair.wrong_completion]["mistakes"]
        assert pair.wrong[: mistake["start"]] == pair.correct[: mistake["start"]]
        assert pair.wrong.endswith(f"the answer is {pair.wrong_answer}.")
        assert pair.wrong_answer != pair.correct_answer
        ends = [span["end"] for span in known[pair.wrong_completion]["consequences"]]
        assert max(ends) >= len(pair.wrong) - 1  # the answer itself


def test_nothing_is_planted_in_a_chain_that_is_not_known_to_be_right():
    pairs, truths = right_pairs("multistep_arithmetic")
    slips = {key: {"mistakes": [{"kind": "logical"}]} for key in truths}
    assert mistakes.planted(COPYING, pairs, slips) == ([], {})
    with pytest.raises(KitError, match="has no plant"):
        mistakes.planted(Kind("bare", "B", "?"), pairs, truths)


def test_a_plant_that_fails_is_named_with_its_kind_pair_and_cause():
    pairs, truths = right_pairs("multistep_arithmetic")
    broken = Kind("mine", "MI", "?", plant=lambda question, chain, rng: 1 / 0)
    with pytest.raises(mistakes.BadKind, match=f"'mine'.*{pairs[0].id!r}.*division") as raised:
        mistakes.planted(broken, pairs, truths)
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    for returned in (7, ["a chain"], b""):
        wrong = Kind("mine", "MI", "?", plant=lambda question, chain, rng, it=returned: it)
        with pytest.raises(mistakes.BadKind, match=r"'mine'.*expected a wrong chain \(str\)"):
            mistakes.planted(wrong, pairs, truths)


def test_what_is_left_out_lies_on_the_word_before_which_it_is_missing():
    noted = planting.truth("lost", "figs are not tools so 0", "figs are tools so 3")
    text = "figs are tools so 3"
    spots = [
        text[each["start"] : each["end"]] for each in noted["mistakes"] + noted["consequences"]
    ]
    assert spots == ["tools", "3"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("family", ["boolean_expressions", "navigate", "date_understanding"])
def test_the_example_kinds_find_what_they_plant_and_nothing_in_right_chains(path, family):
    kind = runpy.run_path(str(path))["KIND"]
    pairs, truths = right_pairs(family, 12)
    made, known = mistakes.planted(mistakes.register(kind), pairs, truths)
    clean = [(pair.question, pair.correct) for pair in pairs]
    assert not any(list(kind.rule(*each)) for each in clean)
    found = [pair for pair in made if list(kind.rule(pair.question, pair.wrong))]
    expected = {("lost_negation", "boolean_expressions"), ("opposite", "navigate")}
    assert bool(found) == ((path.stem, family) in expected)
    assert {m["kind"] for each in known.values() for m in each["mistakes"]} <= {kind.name}


def test_the_readme_says_how_a_notebook_loads_an_example(monkeypatch):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    [line] = re.findall(r"`(mistakes\.register\(runpy.*?)`", text)
    monkeypatch.chdir(ROOT / "notebooks")
    assert eval(line, {"mistakes": mistakes, "runpy": runpy}) in mistakes.KINDS.values()


# --- sets to train on -------------------------------------------------------------------------


def labelled(**counts):
    """Pairs by "KIND_subset" or "KIND_subset_task": how many."""
    rows = []
    for name, n in counts.items():
        kind, subset, task = (*name.split("_"), "sums")[:3]
        own = {"kinds": kind, "subset": {"up": "D+dual", "low": "D-dual"}[subset], "task": task}
        rows += [{"id": f"{name}-{i}", **own} for i in range(n)]
    return pd.DataFrame(rows)


def test_sets_are_equal_in_size_and_in_the_share_of_each_subset():
    """As in Table 7, where the scarcest kind of each subset sets the number."""
    pairs = labelled(LE_up=2618, KE_up=452, MCE_up=356, LE_low=1077, KE_low=77, MCE_low=56)
    drawn = mistakes.balanced(pairs, ["LE", "KE", "MCE"], seed=0)
    sizes = drawn.groupby(["kind", "subset"]).size().unstack()
    assert (sizes["D+dual"] == 356).all() and (sizes["D-dual"] == 56).all()
    assert (drawn["kind"] == drawn["kinds"]).all() and drawn["id"].is_unique
    fewer = mistakes.balanced(pairs, ["LE", "KE", "MCE"], seed=0, most=103)
    assert fewer.groupby("kind").size().eq(103).all()
    assert fewer.query("subset == 'D-dual'").groupby("kind").size().eq(14).all()


def test_another_seed_draws_others_and_the_order_of_rows_does_not_matter():
    pairs = labelled(LE_up=30, KE_up=10)
    first, again, other = (
        set(mistakes.balanced(table, ["LE", "KE"], seed)["id"])
        for table, seed in ((pairs, 0), (pairs[::-1], 0), (pairs, 1))
    )
    assert first == again != other


def test_within_tasks_the_sets_hold_the_same_tasks():
    pairs = labelled(LE_up_sums=5, MCE_up_sums=3, LE_up_swaps=9)
    drawn = mistakes.balanced(pairs, ["LE", "MCE"], 0, within=("subset", "task"))
    assert set(drawn["task"]) == {"sums"} and drawn.groupby("kind").size().tolist() == [3, 3]


@pytest.mark.parametrize(("kinds", "message"), [(["LE", "OE"], "no group"), (["EL"], "nearest")])
def test_sets_that_cannot_be_drawn_are_an_error(kinds, message):
    with pytest.raises(KitError, match=message):
        mistakes.balanced(labelled(LE_up=3, KE_up=3), kinds, 0)


def test_ddual_restricted_to_ids_keeps_its_order_and_misses_nothing():
    pairs, _ = right_pairs("navigate")
    chosen = [pairs[3].id, pairs[1].id]
    assert mistakes.restricted(pairs, chosen) == [pairs[1], pairs[3]]
    with pytest.raises(KitError, match="'elsewhere'"):
        mistakes.restricted(pairs, ["elsewhere"])
