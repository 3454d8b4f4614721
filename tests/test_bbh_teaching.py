"""The teaching stages on BBH, with a teacher that can be asked: a script in a dict's place."""

import json
import re
from collections import Counter
from datetime import UTC, datetime

import pytest

from editlib import benchmarks, dual, pipeline, profiles
from editlib.errors import KitError
from editlib.profiles import Exemplars, Profile, SampledTeacherSettings
from editlib.published import BLOCKS
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


def taught(folder, monkeypatch, exemplars, **benchmark):
    """A run of 01 and 02 over BBH with the scripted teacher."""
    recorded = profiles.load("recorded")
    settings = recorded.benchmark.model_copy(update={"exemplars": exemplars, **benchmark})
    update = {"benchmark": settings, "teacher": ScriptedSettings()}
    ws = Workspace("scripted", recorded.model_copy(update=update), folder / "run")
    teacher = Scripted()
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


def test_published_files_lead_through_annotation_to_pairs(mirror, monkeypatch):
    for kind, block in BLOCKS.items():
        for task in TASKS:
            path = mirror / "prompts" / kind / f"{task}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{kind} {task}.\n\n{block}")
    exemplars = Exemplars(kind="published", folder=str(mirror / "prompts"))
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
    for task in TASKS:
        path = mirror / "prompts" / "cot-prompts" / f"{task}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("One.")
        path = mirror / "prompts" / "cot-ahp" / f"{task}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("Two.")
    (mirror / "prompts" / "cot-ccp").symlink_to(mirror / "prompts" / "cot-ahp")
    exemplars = Exemplars(kind="published", folder=mirror / "prompts")
    _, first = taught(mirror, monkeypatch, exemplars)
    _, second = taught(mirror, monkeypatch, exemplars)
    assert first.asked and not second.asked
    (mirror / "prompts" / "cot-prompts" / "navigate.txt").write_text("Three.")
    _, third = taught(mirror, monkeypatch, exemplars)
    asked = {request.prompt.partition(".")[0] for request in third.asked}
    assert "Three" in asked and "One" not in asked


def test_a_missing_prompt_file_stops_before_anything_is_asked(mirror, monkeypatch):
    exemplars = Exemplars(kind="published", folder=str(mirror / "nowhere"))
    with pytest.raises(KitError, match=r"nowhere/cot-prompts/navigate\.txt is missing"):
        taught(mirror, monkeypatch, exemplars)


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
