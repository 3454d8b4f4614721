"""From questions and completions to dual CoTs: annotate, rectify, corrupt, verify, pair.

Pure functions on records. What fails a check keeps its row under a role of its own, so that
counts() can account for every question:
    correct (D+), wrong (D-), unread              CEP, by the answer read; unread also where it may
                                                  be the gold one, such as "(A) or (B)"
    rectified (D-+), rectified_dropped            AHP on D-; kept if it reaches the gold answer
    corrupted (D+-), corrupted_dropped            CCP on D+; kept if it reaches another answer
"""

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from editlib import prompts
from editlib.answers import agrees, misses, read_answer, read_for
from editlib.completions import Completion, Request
from editlib.errors import KitError
from editlib.prompts import Exemplar, Shots
from editlib.records import CoT, DualCoT, Question

ASKED = {  # prompt -> the roles of what comes back
    "CEP": ("correct", "wrong", "unread"),
    "AHP": ("rectified", "rectified_dropped"),
    "CCP": ("corrupted", "corrupted_dropped"),
}
ROLES = tuple(role for roles in ASKED.values() for role in roles)
DROPPED = ("unread", "rectified_dropped", "corrupted_dropped")  # no part of any pair
STAGES = ("asked", *ROLES, "paired")


# --- what to ask ----------------------------------------------------------------------------


def cep_requests(
    questions: Iterable[Question], shots: Mapping[str, Shots], **sampling: float
) -> list[Request]:
    """Ask for a CoT of each question; sampling: fields of Request such as temperature."""
    return [
        Request(prompts.cep(shots[q.task].description, _shown(shots, q), q.text), **sampling)
        for q in questions
    ]


def ahp_requests(
    questions: Iterable[Question],
    wrong: Iterable[CoT],
    shots: Mapping[str, Shots],
    **sampling: float,
) -> list[Request]:
    """Ask again for each CoT of D-, with the gold answer as a hint."""
    asked = _by_id(questions)
    return [
        Request(
            prompts.ahp(
                shots[cot.task].description,
                _shown(shots, asked[cot.question_id]),
                asked[cot.question_id].text,
                cot.answer,
            ),
            **sampling,
        )
        for cot in wrong
    ]


def ccp_requests(
    questions: Iterable[Question],
    correct: Iterable[CoT],
    exemplars: Mapping[str, Sequence[Exemplar]],
    shots: Mapping[str, Shots],
    seed: int,
    **sampling: float,
) -> list[Request]:
    """Ask for a wrong twin of each CoT of D+, shown three exemplars drawn for it."""
    asked = _by_id(questions)
    return [
        Request(
            prompts.ccp(
                shots[cot.task].description,
                _drawn(exemplars, cot.task, random.Random(f"{seed}|{cot.question_id}")),
                asked[cot.question_id].text,
                cot.text,
            ),
            **sampling,
        )
        for cot in correct
    ]


def _shown(shots: Mapping[str, Shots], question: Question) -> Sequence[Exemplar]:
    return prompts.drawn_for(question.text, shots[question.task].exemplars)


def own_exemplars(
    questions: Sequence[Question], completions: Sequence[Completion]
) -> dict[str, tuple[Exemplar, ...]]:
    """Exemplars for CEP and AHP by task, from zero-shot CoTs of training questions.

    Only a CoT that ends on the gold answer with the marker will do. Up to one more than a prompt
    shows, so that no prompt shows its own question; answers that differ come first. A task whose
    CoTs are all wrong has none.
    """
    right: dict[str, list[Exemplar]] = {question.task: [] for question in questions}
    for question, completion in zip(questions, completions, strict=True):
        text = re.sub(r"\n\s*\n", "\n", _reply(completion))  # blank lines part the exemplars
        if agrees(question, read_answer(text)):
            right[question.task].append(Exemplar(question.text, question.answer, text))
    return {task: tuple(_varied(found)[: prompts.SHOTS + 1]) for task, found in right.items()}


def _varied(exemplars: Sequence[Exemplar]) -> list[Exemplar]:
    """The first exemplar of each answer, then the others."""
    first: dict[str, Exemplar] = {}
    for exemplar in exemplars:
        first.setdefault(exemplar.answer, exemplar)
    return [*first.values(), *(e for e in exemplars if e not in first.values())]


def ccp_exemplars(questions: Iterable[Question], cots: Iterable[CoT]) -> dict[str, list[Exemplar]]:
    """Exemplars for CCP by task: questions of D- with their rectified and their wrong CoT."""
    exemplars: dict[str, list[Exemplar]] = {}
    for dual in pair(questions, cots):
        if dual.subset == "D-dual":
            exemplar = Exemplar(dual.question, dual.correct_answer, dual.correct, dual.wrong)
            exemplars.setdefault(dual.task, []).append(exemplar)
    return exemplars


def _drawn(
    exemplars: Mapping[str, Sequence[Exemplar]], task: str, rng: random.Random
) -> list[Exemplar]:
    """Three exemplars of the task, made up from other tasks where it has fewer."""
    own = exemplars.get(task, ())
    drawn = rng.sample(own, min(prompts.SHOTS, len(own)))
    if len(drawn) == prompts.SHOTS:
        return drawn
    others = [shown for name in sorted(exemplars) if name != task for shown in exemplars[name]]
    return drawn + rng.sample(others, min(prompts.SHOTS - len(drawn), len(others)))


# --- what came back -------------------------------------------------------------------------


def annotate(questions: Sequence[Question], completions: Sequence[Completion]) -> list[CoT]:
    """The CEP completion of each question as correct (D+), wrong (D-) or unread."""
    cots = []
    for question, completion in zip(questions, completions, strict=True):
        if question.text not in completion.prompt:
            raise KitError(
                f"completion {completion.key[:12]} does not answer {question.id}: its prompt holds "
                "another question. Pass the completions in the order of the questions"
            )
        read = read_for(question, _reply(completion))
        role = "wrong" if misses(question, read) else "unread"
        role = "correct" if agrees(question, read) else role
        cots.append(_cot(question, role, read, completion))
    return cots


def rectified(
    questions: Iterable[Question], wrong: Sequence[CoT], completions: Sequence[Completion]
) -> list[CoT]:
    """The AHP completion of each CoT of D-: rectified (D-+) if it reaches the gold answer."""
    asked, cots = _by_id(questions), []
    for cot, completion in zip(wrong, completions, strict=True):
        question = asked[cot.question_id]
        read = read_for(question, _reply(completion))
        role = "rectified" if agrees(question, read) else "rectified_dropped"
        cots.append(_cot(question, role, read, completion))
    return cots


def corrupted(
    questions: Iterable[Question], correct: Sequence[CoT], completions: Sequence[Completion]
) -> list[CoT]:
    """The CCP completion of each CoT of D+: corrupted (D+-) if it reaches another answer."""
    asked, cots = _by_id(questions), []
    for cot, completion in zip(correct, completions, strict=True):
        question = asked[cot.question_id]
        read = read_for(question, _reply(completion))
        role = "corrupted" if misses(question, read) else "corrupted_dropped"
        cots.append(_cot(question, role, read, completion))
    return cots


def _reply(completion: Completion) -> str:
    """What answers the question: no blanks around it, and no further question that it asks."""
    return prompts.first_reply(completion.text).strip()


def _cot(question: Question, role: str, read: str | None, completion: Completion) -> CoT:
    return CoT(
        id=f"{question.id}#{role}",
        question_id=question.id,
        task=question.task,
        role=role,
        text=_reply(completion),
        answer=question.answer,
        read=read,
        completion=completion.key,
    )


# --- what comes of it -----------------------------------------------------------------------


def with_role(cots: Iterable[CoT], role: str) -> list[CoT]:
    """The CoTs of one role, in their order."""
    return [cot for cot in cots if cot.role == role]


def merge(cots: Iterable[CoT]) -> list[CoT]:
    """D+merge: the correct and the rectified CoTs, for stage 1."""
    return [cot for cot in cots if cot.role in ("correct", "rectified")]


def pair(questions: Iterable[Question], cots: Iterable[CoT]) -> list[DualCoT]:
    """Ddual, in the order of the questions: (D+, D+-) as "D+dual", (D-+, D-) as "D-dual"."""
    roles = _by_question(cots)
    duals = []
    for question in questions:
        found = roles.get(question.id, {})
        if {"correct", "corrupted"} <= found.keys():
            duals.append(_dual(question, "D+dual", found["correct"], found["corrupted"]))
        if {"rectified", "wrong"} <= found.keys():
            duals.append(_dual(question, "D-dual", found["rectified"], found["wrong"]))
    return duals


def _dual(question: Question, subset: str, correct: CoT, wrong: CoT) -> DualCoT:
    return DualCoT(
        id=f"{question.id}#{subset}",
        question_id=question.id,
        task=question.task,
        subset=subset,
        question=question.text,
        correct=correct.text,
        wrong=wrong.text,
        correct_answer=correct.answer,
        wrong_answer=wrong.read,
        correct_completion=correct.completion,
        wrong_completion=wrong.completion,
    )


def holds(pair: DualCoT) -> bool:
    """Whether the correct side ends on the gold answer, and the wrong side on another one."""
    benchmark = pair.question_id.partition("/")[0]
    id, gold = pair.question_id, pair.correct_answer
    question = Question(id, benchmark, pair.task, "train", pair.question, gold)
    reached = agrees(question, read_for(question, pair.correct))
    return reached and misses(question, read_for(question, pair.wrong))


def counts(
    questions: Iterable[Question], cots: Iterable[CoT], duals: Iterable[DualCoT]
) -> list[dict[str, str | int]]:
    """How many rows each stage left, as (stage, task, n); zeros are shown."""
    tallies = Counter(("asked", question.task) for question in questions)
    tasks = [task for _, task in tallies]
    tallies.update((cot.role, cot.task) for cot in cots)
    tallies.update(("paired", dual.task) for dual in duals)
    return [{"stage": s, "task": t, "n": tallies[s, t]} for t in tasks for s in STAGES]


def preference_rows(duals: Iterable[DualCoT]) -> list[dict[str, str]]:
    """Dual CoTs as a preference set in TRL's columns."""
    return [
        {"prompt": prompts.student(dual.question), "chosen": dual.correct, "rejected": dual.wrong}
        for dual in duals
    ]


def _by_id(questions: Iterable[Question]) -> dict[str, Question]:
    return {question.id: question for question in questions}


def _by_question(cots: Iterable[CoT]) -> dict[str, dict[str, CoT]]:
    """Question id -> role -> CoT."""
    found: dict[str, dict[str, CoT]] = {}
    for cot in cots:
        found.setdefault(cot.question_id, {})[cot.role] = cot
    return found
