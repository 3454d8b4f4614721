"""Exams: every student answers the questions of the evaluation splits, one stage a student."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from itertools import chain
from pathlib import Path

import pandas as pd

from editlib import bases, cores, encoding, evaluation, pipeline, prompts, students
from editlib.decoding import Sampling
from editlib.grid import TRAINING, UNTRAINED, student_fingerprint, student_folder
from editlib.methods import Method, named
from editlib.prompts import Exemplar, Shots
from editlib.records import Prediction, Question, Vote, read_frame, write_frame, write_table
from editlib.workspace import Workspace, digest

STUDENT = "student, "  # the rows of Table 1 that are asked by its prompts begin so
CODE = (*TRAINING, Path(__file__))
OWN, OTHERS = "its own task", "other tasks"  # where the exemplars of a prompt come from
# the authors' published prompt shows exemplars of these, whatever is asked
LENDERS = ("disambiguation_qa", "snarks", "salient_translation_error_detection")


def evaluate(ws: Workspace) -> Path:
    """Let every student, and the untrained base, answer the evaluation splits.

    Makes predictions.parquet (Prediction). Its methods are those of the profile, the base student
    asked as students are, and "student, few-shot" and the like: the base student asked by the
    prompts of Table 1 that exam.untrained lists.
    """
    code = (*CODE, *pipeline.prompt_folder(ws))
    return ws.stage("evaluation", partial(_evaluate, ws), inputs=["training"], code=code)


def _evaluate(ws: Workspace, folder: Path) -> None:
    examined = [(name, 0) for name in (UNTRAINED, *_asked_by_prompts(ws))]
    trained = ws.profile.training.students
    examined += [(method, seed) for method, seeds in trained.items() for seed in seeds]
    write_frame(folder / "predictions.parquet", examine(ws, examined))


def _asked_by_prompts(ws: Workspace) -> list[str]:
    return [f"{STUDENT}{style}" for style in ws.profile.exam.untrained]


def examine(ws: Workspace, examined: Sequence[tuple[str, int]]) -> pd.DataFrame:
    """The answers of students, each a method and a seed: one row an answer (Prediction).

    Students from which others started come first: what they say is likely said again.
    """
    order = sorted(examined, key=lambda student: _before(ws, *student) is not None)
    made = zip(order, cores.run_all(partial(_examine, ws), order, desc="evaluation"), strict=True)
    folders = dict(made)
    frames = [read_frame(folders[student] / "predictions.parquet") for student in examined]
    return pd.concat(frames, ignore_index=True)


def _method(student: str) -> Method | None:
    """The method of a student; None for the base student, however it is asked."""
    return None if student == UNTRAINED or student.startswith(STUDENT) else named(student)


def _examine(ws: Workspace, student: tuple[str, int]) -> Path:
    method, seed = student
    make = partial(_answers, ws, method, seed)
    params, code = _examined(ws, method, seed), CODE
    if method.startswith(STUDENT):  # its exemplars, for real benchmarks
        params["annotation"] = ws.outputs("annotation")
        code = (*CODE, *pipeline.prompt_folder(ws))
    return ws.stage(_stage("predictions", *student), make, code=code, params=params)


def _before(ws: Workspace, method: str, seed: int) -> str | None:
    """The student of the profile that a student was before its last phase."""
    if not (trained := _method(method)):
        return None
    start = Method(trained.phases[:-1], trained.asked)
    known = ws.profile.training.students
    return next((name for name in known if named(name) == start and seed in known[name]), None)


def _said_before(ws: Workspace, method: str, seed: int) -> list[str]:
    """What the student before the last phase says, which is examined first; nothing of none."""
    if not (before := _before(ws, method, seed)):
        return []
    folder = _examine(ws, (before, seed))
    return read_frame(folder / "predictions.parquet")["text"].tolist()


def _stage(kind: str, method: str, seed: int) -> str:
    return f"{kind}/{method.replace('/', '')}/seed {seed}"


def _examined(ws: Workspace, method: str, seed: int) -> dict:
    """What an exam depends on."""
    trained = _method(method)
    return {
        "student": student_fingerprint(ws, trained.phases if trained else (), seed),
        "asked": trained.asked if trained else method,
        "base": digest(*bases.base_files(ws.profile.student)),
        "questions": ws.profile.benchmark.model_dump(mode="json"),
        "decoding": ws.profile.decoding.model_dump(mode="json"),
    }


def _answers(ws: Workspace, method: str, seed: int, folder: Path) -> None:
    model, tokenizer, questions = _seated(ws, method, seed)
    answer = partial(evaluation.answer, model, tokenizer, questions, ws.profile.decoding, method)
    if method.startswith(STUDENT):
        shown = fitted_prompts(ws, method.removeprefix(STUDENT), questions)
        texts = {row["question"]: row["prompt"] for row in shown.to_dict("records")}
        direct = not method.endswith("CoT")
        answered = answer(seed, prompt=lambda q: texts[q.id], direct=direct)
        write_frame(folder / "prompts.parquet", shown.drop(columns="prompt"))
    else:
        asked = trained.asked if (trained := _method(method)) else "CoT"
        answered = answer(seed, asked=asked, likely=_said_before(ws, method, seed))
    write_table(folder / "predictions.parquet", answered, Prediction)


def _seated(ws: Workspace, method: str, seed: int):
    """A student, its tokenizer and the questions of every split it is examined on."""
    if trained := _method(method):
        model = students.load(ws.profile.student, student_folder(ws, trained.phases, seed))
    else:
        model = students.load_base(ws.profile.student)
    asked = [pipeline.split(ws, name) for name in pipeline.evaluated(ws)]
    questions = list(chain.from_iterable(asked))
    return model, bases.load_tokenizer(ws.profile.student), questions


def fitted_prompts(ws: Workspace, style: str, questions: Sequence[Question]) -> pd.DataFrame:
    """How the untrained student is asked, and how many exemplars each prompt has room for.

    A prompt and max_new_tokens have to fit into the context of the student (its config's
    max_position_embeddings); exemplars that do not fit are left out, the last first. A task that
    has none, such as one without training questions, is shown those of others (lent). Returns
    question, split, task, shown (how many), exemplars_of (OWN, OTHERS; empty: none shown), prompt.
    """
    tokenizer = bases.load_tokenizer(ws.profile.student)
    room = bases.context(ws.profile.student) - ws.profile.decoding.max_new_tokens
    puzzle = ws.profile.benchmark.name == "puzzles"
    known = pipeline.shots(ws, questions if puzzle else pipeline.training_questions(ws))
    begin = prompts.bbh_shots({q.task: () for q in questions}) | known
    rows = []
    for q in questions:
        own = tuple(prompts.drawn_for(q.text, begin[q.task].exemplars))
        prompt, shown = prompts.fitted(
            style,
            replace(begin[q.task], exemplars=own or lent(known)),
            q.text,
            lambda text: len(encoding.prompt_ids(tokenizer, [text])[0]) <= room,
        )
        whose = "" if not shown else OWN if own else OTHERS
        rows.append((q.id, q.split, q.task, shown, whose, prompt))
    columns = ["question", "split", "task", "shown", "exemplars_of", "prompt"]
    return pd.DataFrame(rows, columns=columns)


def lent(known: Mapping[str, Shots]) -> tuple[Exemplar, ...]:
    """What a task without exemplars of its own is shown: the first one of each of LENDERS."""
    found = (known[task].exemplars[:1] for task in LENDERS if task in known)
    return tuple(chain.from_iterable(found))


def shown_exemplars(ws: Workspace) -> pd.DataFrame:
    """How many exemplars the untrained student was shown, as notebook 05 left it.

    One row a prompt of Table 1 and split: method, split, questions, exemplars (their mean number),
    exemplars_of (OWN or OTHERS), without_any (share of questions: the context has no room, or no
    exemplar was to be had). Empty where none was asked for.
    """
    ws.need("evaluation")
    rows = []
    for method in filter(lambda name: "few-shot" in name, _asked_by_prompts(ws)):
        asked = read_frame(ws.artifacts / _stage("predictions", method, 0) / "prompts.parquet")
        for split, part in asked.groupby("split", sort=False):
            whose = " and ".join(filter(None, part["exemplars_of"].unique()))
            bare = part["shown"].eq(0).mean()
            rows.append((method, split, len(part), part["shown"].mean(), whose, bare))
    columns = ["method", "split", "questions", "exemplars", "exemplars_of", "without_any"]
    return pd.DataFrame(rows, columns=columns)


def agree(ws: Workspace) -> Path:
    """Self-consistency (Table 8) of the methods that exam.self_consistency lists.

    Makes votes.parquet (Vote).
    """
    return ws.stage("self-consistency", partial(_agree, ws), inputs=["training"], code=CODE)


def _agree(ws: Workspace, folder: Path) -> None:
    seeds = ws.profile.exam.seeds or ws.profile.training.seeds
    methods = ws.profile.exam.self_consistency
    voters = [(method, seed) for method in methods for seed in seeds]
    folders = cores.run_all(partial(_sample, ws), voters, desc="self-consistency")
    frames = [read_frame(f / "votes.parquet") for f in folders]
    columns = [field.name for field in fields(Vote)]
    votes = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
    write_frame(folder / "votes.parquet", votes)


def _sample(ws: Workspace, student: tuple[str, int]) -> Path:
    settings = ws.profile.exam.model_dump(include={"samples", "temperature", "top_p"})
    params = {**_examined(ws, *student), **settings}
    make = partial(_votes, ws, *student, Sampling(**settings, seed=student[1]))
    return ws.stage(_stage("samples", *student), make, code=CODE, params=params)


def _votes(ws: Workspace, method: str, seed: int, how: Sampling, folder: Path) -> None:
    model, tokenizer, questions = _seated(ws, method, seed)
    cast = partial(evaluation.vote, model, tokenizer, questions, ws.profile.decoding, how)
    write_table(folder / "votes.parquet", cast(method, seed, named(method).asked), Vote)


def read_predictions(ws: Workspace) -> pd.DataFrame:
    """One row an answer, as notebook 05 left them."""
    return read_frame(ws.need("evaluation") / "predictions.parquet")


def read_votes(ws: Workspace) -> pd.DataFrame:
    """One row a (method, seed, question), as notebook 05 left them."""
    return read_frame(ws.need("self-consistency") / "votes.parquet")
