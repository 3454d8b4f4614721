"""The teaching stages on BBH, with a teacher that can be asked: a script in a dict's place."""

import json
import os
import re
import shutil
from collections import Counter
from datetime import UTC, datetime

import pandas as pd
import pytest

from editlib import (
    bases,
    benchmarks,
    dual,
    encoding,
    evaluation,
    exams,
    pipeline,
    profiles,
    reading,
)
from editlib.completions import Lost, completed
from editlib.errors import KitError
from editlib.profiles import Exemplars, Profile, SampledTeacherSettings
from editlib.published import BLOCKS
from editlib.records import Question
from editlib.teacher import Reply
from editlib.workspace import Workspace, open_workspace

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
TASKS = {"object_counting": 40, "navigate": 40}


class ScriptedSettings(SampledTeacherSettings):
    kind: str = "scripted"
    model: str = "scripted"
    top_p: float = 0.9
    attempts: int = 1


class Scripted:
    """Adds up in every prompt; wrong where the number is a multiple of 4, deaf at 8, mute at 7."""

    name = "scripted"

    def __init__(self):
        self.asked = []

    def complete(self, request):
        self.asked.append(request)
        return Reply(self.say(request.prompt), "stop", 3, 2)

    def say(self, prompt):
        block = prompt.rpartition("Q: ")[2]
        number = int(re.match(r"(\d+) and none?", block)[1])
        hinted = "correct answer is" in block and number % 8
        answer = number if hinted or number % 4 else number + 1
        if "Wrong Response:" in block:
            answer = number + 2 if number % 5 else number  # every fifth is not led astray
        elif number % 7 == 0:
            return "I would rather not say."
        return f"None are added to {number}. Therefore, the answer is {answer}."


class Losing(Scripted):
    """Answers each prompt at the second go; the first reply was paid for and cannot be read."""

    def complete_many(self, requests, store, desc, known):
        for request in requests.values():
            store.note_lost(Lost(self.name, request.prompt, 1, 1, True, None))
            store.add(completed(self.name, request, self.complete(request)))


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    for task, n in TASKS.items():
        rows = [
            {"id": f"bbh/{task}/{i}", "task": task, "input": f"{i} and none?", "target": str(i)}
            for i in range(n)
        ]
        path = tmp_path / "data" / "bbh" / f"{task}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "data" / "agieval").mkdir()
    monkeypatch.setenv("EDITLIB_DATA_DIR", str(tmp_path / "data"))
    return tmp_path


def scripted(folder, exemplars, methods=(), **benchmark):
    """A run over BBH with the scripted teacher and the student of smoke; nothing is asked yet."""
    smoke, recorded = profiles.load("smoke"), profiles.load("recorded")
    settings = recorded.benchmark.model_copy(update={"exemplars": exemplars, **benchmark})
    training = smoke.training.model_copy(update={"methods": list(methods)})
    update = {"benchmark": settings, "teacher": ScriptedSettings(), "training": training}
    return Workspace("scripted", smoke.model_copy(update=update), folder / "run")


def taught(folder, monkeypatch, exemplars, **benchmark):
    """A run of 01 and 02 over BBH with the scripted teacher."""
    ws, teacher = scripted(folder, exemplars, **benchmark), Scripted()
    monkeypatch.setattr(pipeline, "_teacher", lambda _: teacher)
    pipeline.annotate(ws)
    pipeline.build_duals(ws)
    return ws, teacher


def check(ws):
    """What must hold whoever's exemplars were shown; returns the numbers of CoTs by role."""
    questions, first = pipeline.read_annotation(ws)
    cots, duals = pipeline.read_duals(ws)
    assert len(questions) == len(first) == len(benchmarks.load("bbh", "train"))
    assert {question.split for question in questions} == {"train"}
    roles = Counter(cot.role for cot in cots)
    assert roles["wrong"] == roles["rectified"] + roles["rectified_dropped"]
    assert roles["correct"] == roles["corrupted"] + roles["corrupted_dropped"]
    assert min(roles[role] for role in dual.ROLES) > 0
    assert Counter(pair.subset for pair in duals) == {
        "D+dual": roles["corrupted"],
        "D-dual": roles["rectified"],
    }
    for pair in duals:
        assert pair.correct.endswith(f"the answer is {pair.correct_answer}.")
        assert pair.wrong.endswith(f"the answer is {pair.wrong_answer}.")
        assert pair.correct_answer != pair.wrong_answer
    return roles


def test_own_exemplars_lead_through_annotation_to_pairs(mirror, monkeypatch):
    ws, teacher = taught(mirror, monkeypatch, Exemplars())
    roles = check(ws)
    prompts = [request.prompt for request in teacher.asked]
    assert len(set(prompts)) == len(prompts)  # nothing was asked twice
    shown = Counter(prompt.count("\nQ: ") - 1 for prompt in prompts)
    tried = 2 * pipeline.TRIED
    assert shown[0] == tried and shown[3] == len(prompts) - tried
    assert {request.top_p for request in teacher.asked} == {0.9}
    for prompt in prompts:
        *exemplars, last = prompt.split("\n\nQ: ")[1:]
        assert not any(e.startswith(last.partition("\n")[0]) for e in exemplars) or "Wrong" in last
    usage = pipeline.read_frame(ws.need("annotation") / "usage.parquet")
    assert usage["prompt"].tolist() == ["exemplars", "CEP"] and usage["n"][0] == tried
    asked = sum(roles[role] for role in ("correct", "wrong", "unread"))
    assert usage["n"][1] == asked


def test_the_notebooks_say_who_answered_when_and_what_was_lost(mirror, monkeypatch):
    ws, _ = taught(mirror, monkeypatch, Exemplars())
    roles, today = check(ws), datetime.now(UTC).date().isoformat()
    told = pipeline.teaching(ws, "annotation", "duals").set_index("prompt")
    assert set(told.index) == {"exemplars", "CEP", "AHP", "CCP"}
    assert set(told["teacher"]) == {"scripted"} and set(told["last_day"]) == {today, ""}
    told = told.loc[["CEP", "AHP", "CCP"]]
    lost = [roles["unread"], roles["rectified_dropped"], roles["corrupted_dropped"]]
    assert told["dropped"].tolist() == lost
    assert told.loc["AHP", "answered"] == roles["wrong"]
    assert told.loc["AHP", "prompt_tokens"] == 3 * roles["wrong"]


def test_what_a_demonstration_asks_is_not_asked_again(mirror, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "annotate", lambda ws: None)
        patch.setattr(pipeline, "build_duals", lambda ws: None)
        ws, teacher = taught(mirror, patch, Exemplars())
    monkeypatch.setattr(pipeline, "_teacher", lambda _: teacher)
    demo = pipeline.demonstrate(ws, "navigate", most=99)
    assert {question.task for question in demo.questions} == {"navigate"}
    assert dual.holds(demo.pair) and demo.pair.subset == "D+dual"
    assert {cot.completion for cot in demo.cots} == demo.completions.keys()
    pipeline.annotate(ws)
    pipeline.build_duals(ws)
    prompts = [request.prompt for request in teacher.asked]
    assert len(set(prompts)) == len(prompts)
    with pytest.raises(KitError, match=r"unknown task 'navigat'; .*first: navigate, "):
        pipeline.demonstrate(ws, "navigat", most=9)


def test_a_benchmark_that_cannot_be_had_yet_does_not_stop_the_teaching(mirror, monkeypatch):
    ws, _ = taught(mirror, monkeypatch, Exemplars(), out_of_domain=["arc_e", "agieval"])

    def no_network(*_):
        raise benchmarks.MissingData("no network")

    monkeypatch.setattr(benchmarks.hub, "rows", no_network)
    sizes, _ = pipeline.data_tables(ws)
    assert sizes["benchmark"].tolist() == ["bbh"]


def test_who_has_the_same_division_has_the_same_questions(mirror, monkeypatch):
    ws, _ = taught(mirror, monkeypatch, Exemplars())
    first = pipeline.division(ws)
    assert first["split"].value_counts().to_dict() == {"train": 60, "test": 16, "validation": 4}
    update = {"seed": 1, "validation": 0.25}
    settings = ws.profile.benchmark.model_copy(update=update)
    other = Workspace("other", ws.profile.model_copy(update={"benchmark": settings}), mirror)
    second = pipeline.division(other)
    assert second["split"].value_counts().to_dict() == {"train": 48, "test": 16, "validation": 16}
    assert not first[first["split"] == "test"].equals(second[second["split"] == "test"])
    assert {q.split for q in pipeline.split(other, "validation")} == {"validation"}
    assert len(pipeline.split(other, "validation")) == 16


SOLVED = "Q: {0} and one?\nA: Let's think step by step.\nAdd up.\nSo the answer is {0}1."


def published(folder):
    """Files of all three kinds for each task, of three exemplars each."""
    blocks = [SOLVED.format(n) for n in range(3)]
    for kind, block in BLOCKS.items():
        for task in TASKS:
            path = folder / "prompts" / kind / f"{task}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n\n".join([f"{kind} {task}.", *blocks, block]))
    return Exemplars(kind="published", folder=folder / "prompts")


def test_published_files_lead_through_annotation_to_pairs(mirror, monkeypatch):
    exemplars = published(mirror)
    ws, teacher = taught(mirror, monkeypatch, exemplars, per_task=None)
    roles = check(ws)
    kinds = Counter(request.prompt.partition(" ")[0] for request in teacher.asked)
    assert str(mirror) not in json.dumps(ws.settings("annotation"))  # a manifest shows no path
    assert kinds == {
        "cot-prompts": roles["correct"] + roles["wrong"] + roles["unread"],
        "cot-ahp": roles["wrong"],
        "cot-ccp": roles["correct"],
    }


def test_an_edited_prompt_file_is_asked_anew(mirror, monkeypatch):
    exemplars = published(mirror)
    _, first = taught(mirror, monkeypatch, exemplars)
    _, second = taught(mirror, monkeypatch, exemplars)
    assert first.asked and not second.asked
    (mirror / "prompts" / "cot-prompts" / "navigate.txt").write_text("Three.")
    _, third = taught(mirror, monkeypatch, exemplars)
    asked = {request.prompt.partition(".")[0] for request in third.asked}
    assert "Three" in asked and "cot-prompts navigate" not in asked


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("", "cot-prompts/, cot-ahp/, cot-ccp/ missing in .*prompts"),
        ("cot-ahp", "^cot-ahp/ missing in .*prompts"),
        ("cot-ccp/navigate.txt", r"^cot-ccp/navigate\.txt missing in .*prompts"),
    ],
)
def test_prompt_files_of_any_kind_are_missed_before_anything_is_asked(
    mirror, monkeypatch, gone, message
):
    exemplars = published(mirror)
    path = mirror / "prompts" / gone
    path.unlink() if path.is_file() else shutil.rmtree(path)
    monkeypatch.setattr(Scripted, "complete", lambda *_: pytest.fail("asked and paid for"))
    with pytest.raises(KitError, match=message) as stopped:
        taught(mirror, monkeypatch, exemplars)
    assert "from dataset/bbh of github.com/C-W-D/CasCoD" in str(stopped.value)


def test_a_prompt_file_that_is_no_text_stops_before_anything_is_asked(mirror, monkeypatch):
    exemplars = published(mirror)
    (mirror / "prompts" / "cot-ccp" / "navigate.txt").write_bytes(b"\xff\xfe")
    monkeypatch.setattr(Scripted, "complete", lambda *_: pytest.fail("asked and paid for"))
    with pytest.raises(KitError, match=r"navigate\.txt: not UTF-8"):
        taught(mirror, monkeypatch, exemplars)


# --- the untrained student


def untrained(ws, style, monkeypatch, room=10_000):
    """The prompts of two test questions of each task; room: for so many tokens of a prompt."""
    monkeypatch.setattr(bases, "context", lambda _: room + ws.profile.decoding.max_new_tokens)
    questions = [q for q in benchmarks.load("bbh", "test", 2) if q.task in TASKS]
    return exams.fitted_prompts(ws, style, questions)


def test_the_untrained_student_is_shown_the_published_exemplars(mirror, monkeypatch):
    ws = scripted(mirror, published(mirror))
    texts = {q.id: q.text for q in benchmarks.load("bbh", "test")}
    reasoned = untrained(ws, "few-shot-CoT", monkeypatch)
    direct = untrained(ws, "few-shot", monkeypatch)
    assert reasoned["shown"].eq(3).all() and direct["shown"].eq(3).all()
    files = pipeline.PublishedPrompts(mirror / "prompts")
    for row in reasoned.itertuples():
        assert row.prompt == files.cep(row.task, texts[row.question])
    for row in direct.itertuples():
        assert row.prompt == (
            f"cot-prompts {row.task}. Give the answer alone.\n\nQ: 0 and one?\nA: 01\n\n"
            f"Q: 1 and one?\nA: 11\n\nQ: 2 and one?\nA: 21\n\nQ: {texts[row.question]}\nA:"
        )


@pytest.mark.parametrize("style", ["few-shot", "few-shot-CoT"])
def test_published_exemplars_that_do_not_fit_are_left_out(mirror, monkeypatch, style):
    ws = scripted(mirror, published(mirror))
    tokenizer = bases.load_tokenizer(ws.profile.student)
    whole = untrained(ws, style, monkeypatch)["prompt"]
    shortest = min(map(len, encoding.prompt_ids(tokenizer, whole)))
    cut = untrained(ws, style, monkeypatch, room=shortest - 1)
    assert cut["shown"].eq(2).all()
    assert [f"{n} and one?" in prompt for prompt in cut["prompt"] for n in range(3)] == [
        True,
        True,
        False,
    ] * len(cut)


@pytest.mark.parametrize("style", ["few-shot", "few-shot-CoT"])
def test_out_of_domain_the_untrained_student_is_shown_exemplars_of_other_tasks(
    mirror, monkeypatch, style
):
    ws = scripted(mirror, published(mirror))
    monkeypatch.setattr(bases, "context", lambda _: 10**6)
    monkeypatch.setattr(exams, "LENDERS", ("snarks", "navigate", "object_counting"))
    [own] = exams.fitted_prompts(ws, style, benchmarks.load("bbh", "test", 1)[:1]).itertuples()
    assert (own.shown, own.exemplars_of) == (3, exams.OWN)
    asked = [Question("gsm8k/gsm8k/0", "gsm8k", "gsm8k", "gsm8k", "7 and one?", "71")]
    [other] = exams.fitted_prompts(ws, style, asked).itertuples()
    assert (other.shown, other.exemplars_of) == (2, exams.OTHERS)  # no one answered snarks
    assert other.prompt.count("Q: 0 and one?\nA:") == 2
    monkeypatch.setattr(exams, "LENDERS", ())
    [bare] = exams.fitted_prompts(ws, style, asked).itertuples()
    assert (bare.shown, bare.exemplars_of) == (0, "")


@pytest.mark.skipif(not os.environ.get("EDITLIB_DATA_DIR"), reason="no data mirror is named")
def test_published_files_lend_one_exemplar_with_options_of_each_of_three_tasks(tmp_path):
    (tmp_path / "cot-prompts").symlink_to(benchmarks.data_dir() / "bbh_cot_prompts")
    files = pipeline.PublishedPrompts(tmp_path)
    shown = exams.lent({task: files.shots(task) for task in benchmarks.bbh_tasks()})
    assert len(shown) == 3 and all(reading.options(each.question) for each in shown)


def test_an_edited_prompt_file_lets_the_untrained_student_answer_anew(mirror, monkeypatch):
    exemplars, answered = published(mirror), []
    ws, _ = taught(mirror, monkeypatch, exemplars)
    answer = evaluation.answer
    monkeypatch.setattr(
        evaluation, "answer", lambda *a, **named: answered.append(named) or answer(*a, **named)
    )

    def examined(method):
        answered.clear()
        exams._examine(ws, (method, 0))
        return len(answered)

    direct, plain = "student, few-shot", exams.UNTRAINED
    assert [examined(direct), examined(direct), examined(plain)] == [1, 0, 1]
    path = mirror / "prompts" / "cot-prompts" / "navigate.txt"
    path.write_text(path.read_text().replace("cot-prompts navigate.", "Say where."))
    assert [examined(direct), examined(direct), examined(plain)] == [1, 0, 0]


@pytest.mark.skipif(not os.environ.get("EDITLIB_DATA_DIR"), reason="no data mirror is named")
@pytest.mark.parametrize("style", ["few-shot", "few-shot-CoT"])
def test_the_published_exemplars_of_all_27_tasks_are_shown(tmp_path, monkeypatch, style):
    (tmp_path / "cot-prompts").symlink_to(benchmarks.data_dir() / "bbh_cot_prompts")
    ws = scripted(tmp_path, Exemplars(kind="published", folder=tmp_path))
    monkeypatch.setattr(bases, "context", lambda _: 10**6)
    questions = benchmarks.load("bbh", "test", 1)
    asked = exams.fitted_prompts(ws, style, questions)
    assert len(asked) == 27 and asked["shown"].eq(3).all()
    files = pipeline.PublishedPrompts(tmp_path)
    for question, prompt in zip(questions, asked["prompt"], strict=True):
        whole = files.cep(question.task, question.text)
        if style == "few-shot-CoT":  # one file has a blank where the others break the line
            assert prompt == whole.replace("by step. ", "by step.\n")
        else:
            answers = re.findall(r"(?<=So the answer is ).+(?=\.$)", whole, re.MULTILINE)
            assert re.findall(r"(?<=^A: ).+", prompt, re.MULTILINE) == answers[:3]


# --- the second sample

TWICE = "Std-CoT, repeat sampling"


def test_losses_of_both_samples_are_counted_once(mirror, monkeypatch):
    ws, teacher = scripted(mirror, Exemplars(), [TWICE]), Losing()
    monkeypatch.setattr(pipeline, "_teacher", lambda _: teacher)

    def spent():
        frames = [pipeline.read_frame(ws.need(s) / "usage.parquet") for s in pipeline.teach(ws)]
        return pd.concat(frames, ignore_index=True).set_index("prompt")

    first = spent()
    assert first["lost"].to_dict() == first["n"].to_dict()
    assert first["lost"].sum() == len(teacher.asked)
    shutil.rmtree(ws.artifacts / "annotation")  # made again, after the losses of the second sample
    pd.testing.assert_frame_equal(spent(), first)


def test_what_the_second_sample_took_is_told_beside_the_first(mirror, monkeypatch):
    ws, teacher = scripted(mirror, Exemplars(), [TWICE]), Scripted()
    monkeypatch.setattr(pipeline, "_teacher", lambda _: teacher)
    stages = pipeline.teach(ws)
    assert stages == ["annotation", "duals", "resampling"]
    told = pipeline.teaching(ws, *stages).set_index("prompt")
    again = ["CEP, second sample", "AHP, second sample"]
    assert sorted(told.index) == sorted(["exemplars", "CEP", "AHP", "CCP", *again])
    assert told["answered"].sum() == len(teacher.asked)
    assert told["prompt_tokens"].sum() == 3 * len(teacher.asked)
    counts = told[["answered", "dropped"]]  # this teacher says the same again
    assert counts.loc[again].values.tolist() == counts.loc[["CEP", "AHP"]].values.tolist()


@pytest.mark.parametrize(
    ("methods", "twice"),
    [
        ([], False),
        (["Std-CoT", "EDIT"], False),
        (["Std-CoT", TWICE], True),
        ([f"Std-CoT as long as {TWICE}"], True),
    ],
)
def test_a_second_sample_is_asked_for_only_where_a_method_needs_it(
    mirror, monkeypatch, methods, twice
):
    ws, teacher = scripted(mirror, Exemplars(), methods), Scripted()
    monkeypatch.setattr(pipeline, "_teacher", lambda _: teacher)
    assert ("resampling" in pipeline.teach(ws)) == twice
    assert ({request.sample for request in teacher.asked} == {0, 1}) == twice


def test_students_are_examined_on_bbh_test_and_on_each_benchmark_named(mirror, monkeypatch):
    ws, _ = taught(mirror, monkeypatch, Exemplars(), out_of_domain=["agieval"])
    assert pipeline.evaluated(ws) == ("test", "agieval")
    monkeypatch.setitem(benchmarks.TASKS, "agieval", ("sat-math",))
    row = {"passage": None, "question": "1?", "options": ["(A)1", "(B)2"], "label": "A"}
    path = mirror / "data" / "agieval" / "sat-math.jsonl"
    path.write_text(json.dumps(row) + "\n")
    [question] = pipeline.split(ws, "agieval")
    assert (question.split, question.benchmark, question.answer) == ("agieval", "agieval", "(A)")
    assert {question.split for question in pipeline.split(ws, "test")} == {"test"}
    sides = [{q.text for q in pipeline.split(ws, name)} for name in ("test", "validation")]
    trained = {question.text for question in pipeline.training_questions(ws)}
    assert (
        sides[0] and sides[1] and not (sides[0] & sides[1]) and not trained & (sides[0] | sides[1])
    )


def test_puzzles_keep_their_splits(tmp_path):
    assert pipeline.evaluated(open_workspace("smoke", [], tmp_path)) == pipeline.EVALUATED


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("mini", ["benchmark.out_of_domain=[agieval]"], "out_of_domain and per_task are for bbh"),
        ("recorded", ["benchmark.out_of_domain=[agi]"], r"out_of_domain.0: .*'bb_sub', 'agieval'"),
        (
            "recorded",
            ["benchmark.exemplars={kind: published}"],
            "published exemplars need the folder",
        ),
        ("recorded", ["benchmark.exemplars={folder: x}"], "published exemplars need the folder"),
    ],
)
def test_settings_that_do_not_fit_are_named(name, overrides, message, tmp_path):
    text = (profiles.HERE / f"{name}.yaml").read_text()
    values = {o.partition("=")[0].rpartition(".")[2]: o.partition("=")[2] for o in overrides}
    lines = "".join(f", {key}: {value}" for key, value in values.items())
    text = re.sub(r"(benchmark: \{name: bbh)\}", rf"\1{lines}}}", text)
    text = text.replace("  name: puzzles\n", f"  name: puzzles\n  {lines[2:]}\n")
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(profiles.BadProfile, match=message):
        profiles.load(str(tmp_path / "mine.yaml"))
    assert isinstance(profiles.load(name), Profile)
