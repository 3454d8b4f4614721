import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editlib import dual, pipeline, prompts, puzzles
from editlib.completions import CompletionStore, Reply, Request, completed
from editlib.errors import KitError
from editlib.prompts import Exemplar, Shots
from editlib.records import CoT, Question, read_frame
from editlib.teacher import PuzzleSettings, PuzzleTeacher, ask
from editlib.workspace import open_workspace

RIGHT = "2 is 2. Therefore, the answer is 2."
WRONG = "2 is 3. Therefore, the answer is 3."
HOSTILE = ["", " ", "no answer", "<script>", "{{ x }}{0}%s", "\x00\x1b[31m", "the answer is ."]
SHOTS = {task: Shots("Do sums.", (Exemplar("1?", "1", "1 is 1."),)) for task in ("sums", "more")}


def question(n, task="sums"):
    return Question(f"toy/{task}/{n}", "toy", task, "train", f"{n} of {task}?", "2")


def completion(text, prompt="0 of sums?"):
    return completed("fake", Request(prompt), Reply(text, "stop", None, None))


def answered(questions, texts):
    return dual.annotate(
        questions, [completion(t, q.text) for q, t in zip(questions, texts, strict=True)]
    )


def cot(q, role, text=RIGHT):
    read = {RIGHT: "2", WRONG: "3"}.get(text)
    return CoT(f"{q.id}#{role}", q.id, q.task, role, text, q.answer, read, f"{q.id} {role}")


# --- annotate and verify


@pytest.mark.parametrize(
    ("text", "role"),
    [(RIGHT, "correct"), (WRONG, "wrong"), *((text, "unread") for text in HOSTILE)],
)
def test_a_cot_is_correct_wrong_or_unread(text, role):
    [found] = answered([question(0)], [text])
    assert (found.role, found.id) == (role, f"toy/sums/0#{role}")


@pytest.mark.parametrize(
    ("text", "role"), [(RIGHT, "rectified"), *((t, "rectified_dropped") for t in [WRONG, *HOSTILE])]
)
def test_a_rectified_cot_must_reach_the_gold_answer(text, role):
    assert (
        dual.rectified([question(0)], [cot(question(0), "wrong", WRONG)], [completion(text)])[
            0
        ].role
        == role
    )


@pytest.mark.parametrize(
    ("text", "role"), [(WRONG, "corrupted"), *((t, "corrupted_dropped") for t in [RIGHT, *HOSTILE])]
)
def test_a_corrupted_cot_must_reach_another_answer(text, role):
    assert (
        dual.corrupted([question(0)], [cot(question(0), "correct")], [completion(text)])[0].role
        == role
    )


def test_completions_of_other_questions_are_refused():
    with pytest.raises(KitError, match="toy/sums/0: its prompt holds another question"):
        dual.annotate([question(0)], [completion(RIGHT, "1 of sums?")])
    with pytest.raises(ValueError, match="shorter"):
        dual.annotate([question(0), question(1)], [completion(RIGHT)])


def test_a_rationale_loses_the_blanks_around_it():
    assert answered([question(0)], [f" {RIGHT}\n"])[0].text == RIGHT


@given(st.lists(st.text() | st.sampled_from([RIGHT, WRONG])))
def test_whatever_comes_back_every_question_is_counted(texts):
    questions = [question(n) for n in range(len(texts))]
    cots = answered(questions, texts)
    wrong, correct = (dual.with_role(cots, role) for role in ("wrong", "correct"))
    cots += dual.rectified(questions, wrong, [completion(text) for text in texts[: len(wrong)]])
    cots += dual.corrupted(questions, correct, [completion(text) for text in texts[: len(correct)]])
    duals = dual.pair(questions, cots)
    n = {row["stage"]: row["n"] for row in dual.counts(questions, cots, duals)}
    if questions:
        assert_accounted(n)
    assert len(dual.preference_rows(duals)) == len(duals)
    assert all(d.correct_answer != d.wrong_answer for d in duals)


def assert_accounted(n):
    """Nothing is dropped in silence: every row goes on or is counted where it stopped."""
    assert n["asked"] == n["correct"] + n["wrong"] + n["unread"]
    assert n["wrong"] == n["rectified"] + n["rectified_dropped"]
    assert n["correct"] == n["corrupted"] + n["corrupted_dropped"]
    assert n["paired"] == n["rectified"] + n["corrupted"]


# --- pair, merge, count, export


def test_pairs_join_the_two_rationales_of_one_question():
    first, second, third = (question(n) for n in range(3))
    cots = [
        cot(second, "wrong", WRONG),
        cot(first, "corrupted", WRONG),
        cot(second, "rectified"),
        cot(first, "correct"),
        cot(third, "correct"),
        cot(third, "corrupted_dropped"),
    ]
    plus, minus = dual.pair([first, second, third], cots)
    assert (plus.id, plus.subset) == ("toy/sums/0#D+dual", "D+dual")
    assert (minus.id, minus.subset) == ("toy/sums/1#D-dual", "D-dual")
    for found in (plus, minus):
        assert (found.correct, found.wrong) == (RIGHT, WRONG)
        assert (found.correct_answer, found.wrong_answer) == ("2", "3")
    assert plus.wrong_completion == "toy/sums/0 corrupted"


def test_merge_takes_correct_and_rectified():
    cots = [cot(question(n), role) for n, role in enumerate(dual.ROLES)]
    assert [found.role for found in dual.merge(cots)] == ["correct", "rectified"]


def test_counts_show_every_stage_of_every_task():
    questions = [question(0, "sums"), question(0, "more")]
    rows = dual.counts(questions, answered(questions, [RIGHT, "?"]), [])
    assert [(row["task"], row["stage"]) for row in rows] == [
        (task, stage) for task in ("sums", "more") for stage in dual.STAGES
    ]
    shown = {(row["task"], row["stage"]): row["n"] for row in rows if row["n"]}
    assert shown == {
        ("sums", "asked"): 1,
        ("sums", "correct"): 1,
        ("more", "asked"): 1,
        ("more", "unread"): 1,
    }


def test_preference_rows_ask_as_the_student_is_asked():
    q = question(0)
    duals = dual.pair([q], [cot(q, "correct"), cot(q, "corrupted", WRONG)])
    assert dual.preference_rows(duals) == [
        {"prompt": prompts.student(q.text), "chosen": RIGHT, "rejected": WRONG}
    ]


# --- requests


def test_ahp_tells_the_gold_answer_and_cep_does_not():
    q = question(0)
    [plain] = dual.cep_requests([q], SHOTS, temperature=0.7)
    [hinted] = dual.ahp_requests([q], [cot(q, "wrong", WRONG)], SHOTS)
    assert plain.temperature == 0.7 and "Hint" not in plain.prompt
    assert hinted.prompt.endswith(
        "Q: 0 of sums?\nHint: The correct answer is 2.\nA: Let's think step by step."
    )


def mended(n, task="sums"):
    q = question(n, task)
    return q, [cot(q, "wrong", f"{n} {WRONG}"), cot(q, "rectified", f"{n} {RIGHT}")]


def ccp_prompts(sums, more, seed=0):
    """CCP prompts for two questions of task sums, with so many mended questions of each task."""
    kept = [mended(n) for n in range(sums)] + [mended(n, "more") for n in range(more)]
    asked = [question(100), question(101)]
    questions, cots = asked + [q for q, _ in kept], [c for _, pair in kept for c in pair]
    shown = dual.ccp_exemplars(questions, cots)
    correct = [cot(q, "correct") for q in asked]
    return [r.prompt for r in dual.ccp_requests(questions, correct, shown, SHOTS, seed)]


@pytest.mark.parametrize(
    ("sums", "more", "own", "borrowed"), [(5, 5, 3, 0), (1, 5, 1, 2), (0, 1, 0, 1), (0, 0, 0, 0)]
)
def test_ccp_shows_three_mended_mistakes_of_the_task_first(sums, more, own, borrowed):
    for prompt in ccp_prompts(sums, more):
        _, *blocks, asked = prompt.split("\n\n")
        assert Counter("of sums" in block for block in blocks) == Counter(
            {True: own, False: borrowed}
        )
        assert asked.endswith(f"Right Response: {RIGHT}\nWrong Response:")
        assert all(RIGHT in block and WRONG in block for block in blocks)


def test_ccp_draws_by_seed_and_question():
    assert ccp_prompts(9, 0) == ccp_prompts(9, 0)
    assert ccp_prompts(9, 0) != ccp_prompts(9, 0, seed=1)
    first, second = (prompt.split("\n\n")[1:-1] for prompt in ccp_prompts(9, 0))
    assert first != second


def test_ccp_shows_no_mistake_that_was_not_mended():
    q = question(0)
    dropped = [cot(q, "wrong", WRONG), cot(q, "rectified_dropped", WRONG)]
    assert dual.ccp_exemplars([q], dropped) == {}


# --- the whole way, with the puzzle teacher


RATES = {"logical": 0.2, "knowledge": 0.1, "calculation": 0.1}
SETTINGS = PuzzleSettings(error_rates=RATES, paraphrase=0.1, heeds_hint=0.95, seed=0)
TEACHER = PuzzleTeacher(SETTINGS)


def build(store, teacher=TEACHER, forget=False):
    """All CoTs and duals of some puzzles; forget: the truth is deleted before anything reads it."""

    def answers(requests):
        completions = ask(teacher, requests, store, "ask")
        if forget:
            with closing(sqlite3.connect(store.path)) as db, db:
                db.execute("DELETE FROM truths_2")
        return completions

    questions = puzzles.questions("train", 20)
    shots = prompts.puzzle_shots(puzzles.IN_DOMAIN)
    cots = dual.annotate(questions, answers(dual.cep_requests(questions, shots)))
    wrong, correct = (dual.with_role(cots, role) for role in ("wrong", "correct"))
    cots += dual.rectified(questions, wrong, answers(dual.ahp_requests(questions, wrong, shots)))
    shown = dual.ccp_exemplars(questions, cots)
    asked = dual.ccp_requests(questions, correct, shown, shots, seed=0)
    cots += dual.corrupted(questions, correct, answers(asked))
    return questions, cots, dual.pair(questions, cots)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(CompletionStore(tmp_path_factory.mktemp("store") / "completions.sqlite"))


def test_puzzles_give_pairs_of_both_subsets(built):
    questions, _, duals = built
    subsets = Counter(found.subset for found in duals)
    assert subsets["D+dual"] > 0.6 * len(questions) and subsets["D-dual"] > 10
    assert len(duals) > 0.9 * len(questions)


def test_every_puzzle_is_accounted_for(built):
    questions, cots, duals = built
    rows = dual.counts(questions, cots, duals)
    for task in puzzles.IN_DOMAIN:
        assert_accounted({row["stage"]: row["n"] for row in rows if row["task"] == task})


def test_ids_are_unique(built):
    _, cots, duals = built
    for rows in (cots, duals):
        assert len({row.id for row in rows}) == len(rows)


STAGES = (pipeline.annotate, pipeline.build_duals, pipeline.resample, pipeline.locate)


def test_no_stage_reads_the_truth(built, tmp_path):
    store = CompletionStore(tmp_path / "completions.sqlite")
    assert build(store, forget=True) == built
    assert store.truth([found.completion for found in built[1]]) == {}


def test_the_pipeline_depends_on_the_text_alone(built, tmp_path):
    """The same texts from a teacher that knows nothing of its mistakes give the same pairs."""

    class Mute(PuzzleTeacher):
        def complete(self, request):
            return replace(super().complete(request), truth=None)

    assert build(CompletionStore(tmp_path / "completions.sqlite"), Mute(SETTINGS)) == built


def test_the_tables_are_the_same_however_few_questions_are_in_memory(tmp_path, monkeypatch):
    tables, asked = {}, []
    monkeypatch.setattr(
        pipeline,
        "_ask",
        lambda ws, by, rows, *rest, ask=pipeline._ask: (
            asked.append(len(rows)) or ask(ws, by, rows, *rest)
        ),
    )
    makes = []
    monkeypatch.setattr(
        pipeline, "_teacher", lambda ws, make=pipeline._teacher: makes.append(ws) or make(ws)
    )
    for at_once in (2_000, 10):
        monkeypatch.setattr(pipeline, "AT_ONCE", at_once)
        ws = open_workspace("smoke", results=tmp_path / f"{at_once}")
        asked.clear()
        folders = [stage(ws) for stage in STAGES]
        made = {
            f"{folder.name}/{path.stem}": read_frame(path)
            for folder in folders
            for path in folder.glob("*.parquet")
        }
        made["duals/cots"] = made["duals/cots"].sort_values("id", ignore_index=True)
        tables[at_once] = {name: frame.to_json(orient="records") for name, frame in made.items()}
        tables[at_once]["preferences"] = (folders[1] / "preferences.jsonl").read_text()
    assert tables[10] == tables[2_000] and len(made["duals/duals"]) > 10
    assert len(tables[10]) == 11 and max(asked) <= 10
    assert len(makes) == 2 * 3  # a teacher may be a model to load: once in each stage that asks
