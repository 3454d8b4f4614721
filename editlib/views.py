"""What students learn from by SFT: each view of the data as tasks, prompts and responses.

A row is a question. It has one part, or one for each task of its method; all parts of a row are
in one batch, so a method of two tasks makes as many updates as one of one task. Loss touches
responses and nothing else: what is given but not learnt, such as a wrong rationale, stands in the
prompt.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from editlib import answers, dual
from editlib.prompts import concluded, student
from editlib.records import CoT


@dataclass(frozen=True)
class Part:
    """One task of a row."""

    task: str
    prompt: str
    response: str


Row = tuple[Part, ...]
RESAMPLED = "D+merge sampled twice"  # needs the second sample of the teacher
# view -> task -> its share of the loss; each task's loss is a mean over its tokens. 1 and 1 where
# the paper adds them up; SCOTT's own code halves both, CasCoD's has 0.1 for the answer.
SHARES: dict[str, dict[str, float]] = {
    "D+ as CoT and answer": {"CoT": 1.0, "answer": 1.0},
    "D+ as rationale and answer": {"rationale": 1.0, "answer": 1.0},
    "D+ with counterfactuals": {"factual": 0.5, "counterfactual": 0.5},
    "D+ in two steps": {"rationale": 0.9, "answer": 0.1},
}
TWINS = {"correct": "corrupted", "rectified": "wrong"}
TWINS |= {wrong: correct for correct, wrong in TWINS.items()}


def rationale(text: str) -> str:
    """A CoT without the sentence that gives its answer.

    >>> rationale("5 minus 2 is 3. Therefore, the answer is 3.")
    '5 minus 2 is 3.'
    """
    return re.sub(r"\b(?:Therefore|Thus|Hence|So),?\s*$", "", answers.before_answer(text)).rstrip()


def rows(
    data: str, questions: Mapping[str, str], cots: Sequence[CoT], again: Sequence[CoT] = ()
) -> list[Row]:
    """The rows of a view, in the order of the CoTs.

    questions: text by id. cots: all of the first sample. again: those of the second sample, for
    "D+merge sampled twice".
    """
    return VIEWS[data](questions, cots, again)


def _plain(chosen: Callable[[Sequence[CoT], Sequence[CoT]], list[CoT]]) -> Callable:
    """The view of chosen CoTs as they are: question to CoT, eq. 4."""

    def view(questions, cots, again) -> list[Row]:
        return [
            (Part("CoT", student(questions[cot.question_id]), cot.text),)
            for cot in chosen(cots, again)
        ]

    return view


def _both_sides(questions, cots, again) -> list[Row]:
    """Every CoT of a pair; a mark in the prompt says that a wrong one is wanted (Table 5)."""
    ids = {cot.id for cot in cots}
    paired = [cot for cot in cots if f"{cot.question_id}#{TWINS.get(cot.role)}" in ids]
    return [
        (Part(form, student(questions[cot.question_id], form), cot.text),)
        for cot in paired
        for form in ["CoT" if cot.role in ("correct", "rectified") else "counterfactual"]
    ]


def _cot_and_answer(questions, cots, again) -> list[Row]:
    """MT-CoT: the CoT, and the answer at once."""
    return [
        (Part("CoT", student(text, "marked CoT"), cot.text), _answer(text, cot))
        for cot, text in _correct(questions, cots)
    ]


def _rationale_and_answer(questions, cots, again) -> list[Row]:
    """SBS: the rationale without the answer, and the answer at once."""
    return [
        (Part("rationale", student(text, "rationale"), rationale(cot.text)), _answer(text, cot))
        for cot, text in _correct(questions, cots)
    ]


def _with_counterfactuals(questions, cots, again) -> list[Row]:
    """SCOTT: the CoT; and, given a corrupted one, its wrong answer, where the question has one."""
    lures = {cot.question_id: cot for cot in dual.with_role(cots, "corrupted")}
    found = []
    for cot, text in _correct(questions, cots):
        row = (Part("factual", student(text, "factual"), cot.text),)
        if lure := lures.get(cot.question_id):
            given = concluded(student(text, "counterfactual"), rationale(lure.text))
            row += (Part("counterfactual", given, f" {lure.read}."),)
        found.append(row)
    return found


def _in_two_steps(questions, cots, again) -> list[Row]:
    """CasCoD: the rationale without the answer; and, given both, the answer."""
    found = []
    for cot, text in _correct(questions, cots):
        prompt, steps = student(text, "rationale"), rationale(cot.text)
        given = concluded(prompt, steps)
        found.append((Part("rationale", prompt, steps), Part("answer", given, f" {cot.read}.")))
    return found


def _correct(questions: Mapping[str, str], cots: Sequence[CoT]) -> list[tuple[CoT, str]]:
    return [(cot, questions[cot.question_id]) for cot in dual.with_role(cots, "correct")]


def _answer(question: str, cot: CoT) -> Part:
    return Part("answer", concluded(student(question, "answer")), f" {cot.read}.")


VIEWS: dict[str, Callable[..., list[Row]]] = {
    "D+": _plain(lambda cots, again: dual.with_role(cots, "correct")),
    "D+merge": _plain(lambda cots, again: dual.merge(cots)),
    RESAMPLED: _plain(lambda cots, again: dual.merge(cots) + dual.merge(again)),
    "both sides of Ddual": _both_sides,
    "D+ as CoT and answer": _cot_and_answer,
    "D+ as rationale and answer": _rationale_and_answer,
    "D+ with counterfactuals": _with_counterfactuals,
    "D+ in two steps": _in_two_steps,
}


def weighed(data: str, rows: Sequence[Sequence[dict]]) -> list[dict]:
    """Rows of parts (task, prompt, response: ids) as training.fit takes them.

    A part's weight makes the loss over an epoch, a mean over all response tokens, equal to the sum
    over tasks of share x mean over the tokens of that task. The published codes take these means
    within a batch; over the epoch they do not depend on which rows share one. A part's share makes
    a mean over rows in the same way.
    """
    if data not in SHARES:
        return [{k: row[0][k] for k in ("prompt", "response")} for row in rows]
    tokens = dict.fromkeys(SHARES[data], 0)
    for part in (part for row in rows for part in row):
        tokens[part["task"]] += len(part["response"])
    total = sum(tokens.values())
    weight = {task: share * total / max(1, tokens[task]) for task, share in SHARES[data].items()}
    return [
        {
            "parts": [
                {k: part[k] for k in ("prompt", "response")}
                | {"weight": weight[part["task"]], "share": total / len(rows)}
                for part in row
            ]
        }
        for row in rows
    ]
