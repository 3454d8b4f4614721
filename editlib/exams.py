"""Exams: every student answers the questions of the evaluation splits, one stage a student."""

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial
from itertools import chain
from pathlib import Path

import pandas as pd

from editlib import bases, batching, cores, evaluation, pipeline, prompts, students
from editlib.decoding import Sampling
from editlib.grid import TRAINING, UNTRAINED, adapter, adapter_fingerprint
from editlib.methods import Method, named
from editlib.records import Prediction, Question, Vote, read_frame, write_frame, write_table
from editlib.workspace import Workspace, digest

STUDENT = "student, "  # the rows of Table 1 that are asked by its prompts begin so
CODE = (*TRAINING, Path(__file__))


def evaluate(ws: Workspace) -> Path:
    """Let every student, and the untrained base, answer the evaluation splits.

    Makes predictions.parquet (Prediction). Its methods are those of the profile, the base student
    asked as students are, and "student, few-shot" and the like: the base student asked by the
    prompts of Table 1 that exam.untrained lists.
    """
    return ws.stage("evaluation", partial(_evaluate, ws), inputs=["training"], code=CODE)


def _evaluate(ws: Workspace, folder: Path) -> None:
    untrained = [UNTRAINED, *(f"{STUDENT}{style}" for style in ws.profile.exam.untrained)]
    examined = [(name, 0) for name in untrained]
    trained = ws.profile.training.students
    examined += [(method, seed) for method, seeds in trained.items() for seed in seeds]
    write_frame(folder / "predictions.parquet", examine(ws, examined))


def examine(ws: Workspace, examined: Sequence[tuple[str, int]]) -> pd.DataFrame:
    """The answers of students, each a method and a seed: one row an answer (Prediction)."""
    folders = cores.run_all(partial(_examine, ws), examined, desc="evaluation")
    frames = [read_frame(f / "predictions.parquet") for f in folders]
    return pd.concat(frames, ignore_index=True)


def _method(student: str) -> Method | None:
    """The method of a student; None for the base student, however it is asked."""
    return None if student == UNTRAINED or student.startswith(STUDENT) else named(student)


def _examine(ws: Workspace, student: tuple[str, int]) -> Path:
    cores.settle()
    method, seed = student
    make = partial(_answers, ws, method, seed)
    params = _examined(ws, method, seed)
    if method.startswith(STUDENT):
        params["annotation"] = ws.outputs("annotation")  # its exemplars, for real benchmarks
    return ws.stage(_stage("predictions", *student), make, code=CODE, params=params)


def _stage(kind: str, method: str, seed: int) -> str:
    return f"{kind}/{method.replace('/', '')}/seed {seed}"


def _examined(ws: Workspace, method: str, seed: int) -> dict:
    """What an exam depends on."""
    trained = _method(method)
    return {
        "adapter": adapter_fingerprint(ws, trained.phases if trained else (), seed),
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
    else:
        trained = _method(method)
        answered = answer(seed, asked=trained.asked if trained else "CoT")
    write_table(folder / "predictions.parquet", answered, Prediction)


def _seated(ws: Workspace, method: str, seed: int):
    """A student, its tokenizer and the questions of every split it is examined on."""
    model = students.load_base(ws.profile.student)
    if trained := _method(method):
        model = students.load_adapter(model, adapter(ws, trained.phases, seed)).merge_and_unload()
    asked = [pipeline.split(ws, name) for name in pipeline.evaluated(ws)]
    questions = list(chain.from_iterable(asked))
    return model, bases.load_tokenizer(ws.profile.student), questions


def fitted_prompts(ws: Workspace, style: str, questions: Sequence[Question]) -> pd.DataFrame:
    """How the untrained student is asked, and how many exemplars each prompt has room for.

    A prompt and max_new_tokens have to fit into the context of the student (its config's
    max_position_embeddings); exemplars that do not fit are left out, the last first. Tasks of real
    benchmarks that are not trained on have none. Returns question, split, task, shown, prompt.
    """
    tokenizer = bases.load_tokenizer(ws.profile.student)
    room = bases.context(ws.profile.student) - ws.profile.decoding.max_new_tokens
    puzzle = ws.profile.benchmark.name == "puzzles"
    known = pipeline.shots(ws, questions if puzzle else pipeline.training_questions(ws))
    known |= prompts.bbh_shots({q.task: () for q in questions if q.task not in known})
    rows = []
    for q in questions:
        begin = replace(
            known[q.task], exemplars=tuple(prompts.drawn_for(q.text, known[q.task].exemplars))
        )
        prompt, shown = prompts.fitted(
            style, begin, q.text, lambda text: len(batching.prompt_ids(tokenizer, text)) <= room
        )
        rows.append((q.id, q.split, q.task, shown, prompt))
    return pd.DataFrame(rows, columns=["question", "split", "task", "shown", "prompt"])


def agree(ws: Workspace) -> Path:
    """Self-consistency (Table 8) of the methods that exam.self_consistency lists, every seed.

    Makes votes.parquet (Vote).
    """
    return ws.stage("self-consistency", partial(_agree, ws), inputs=["training"], code=CODE)


def _agree(ws: Workspace, folder: Path) -> None:
    seeds, methods = ws.profile.training.seeds, ws.profile.exam.self_consistency
    voters = [(method, seed) for method in methods for seed in seeds]
    folders = cores.run_all(partial(_sample, ws), voters, desc="self-consistency") if voters else []
    frames = [read_frame(f / "votes.parquet") for f in folders]
    columns = [field.name for field in fields(Vote)]
    votes = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
    write_frame(folder / "votes.parquet", votes)


def _sample(ws: Workspace, student: tuple[str, int]) -> Path:
    cores.settle()
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
