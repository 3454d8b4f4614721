"""What the teacher and the student are asked; the teacher's layouts are files in templates/.

CEP (chain of thought extraction) asks for a rationale, AHP (answer hint) tells the answer as
well, CCP (contrastive) shows a right response and asks for a wrong one that follows it closely.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from editlib import puzzles
from editlib.answers import MARKER
from editlib.benchmarks.descriptions import BBH_DESCRIPTIONS
from editlib.errors import KitError, unknown

# Prompts are plain text, so nothing is escaped; a missing value is an error, never a blank.
_TEMPLATES = Environment(
    loader=PackageLoader("editlib"),
    undefined=StrictUndefined,
    autoescape=False,
    trim_blocks=True,
)
SHOTS = 3  # exemplars in each prompt, as in the published BBH prompts
STYLES = ("zero-shot", "zero-shot-CoT", "few-shot", "few-shot-CoT")
CONCLUSION = f"Therefore, {MARKER}"  # what every CoT ends on, with the answer after it
MARKS = {  # what a student is to write; words of our own for the marks of each method's paper
    "CoT": "",
    "marked CoT": "[CoT] ",
    "answer": "[Answer] ",
    "rationale": "[Rationale] ",
    "factual": "[Factual] ",
    "counterfactual": "[Counterfactual] ",
}
_HOW_COT = f'Reason step by step and end with "Therefore, {MARKER}" and the answer.'
_HOW_WRONG = (
    "After each right response comes a wrong one: it keeps to the steps of the right one as "
    "closely as it can, makes a mistake that is easily made, and so ends on another answer. "
    f'Write the last wrong response, and end it with "Therefore, {MARKER}" and the wrong answer.'
)
_HOW_DIRECT = "Give the answer alone."


@dataclass(frozen=True)
class Exemplar:
    """A solved question shown in a prompt; only CCP needs the wrong rationale."""

    question: str
    answer: str
    correct: str
    wrong: str | None = None


@dataclass(frozen=True)
class Shots:
    """How the CEP and AHP prompts of one task begin."""

    description: str
    exemplars: tuple[Exemplar, ...]


def student(question: str, form: str = "CoT") -> str:
    """What a student is given; the rationale follows on the next line. form: a key of MARKS."""
    return f"{MARKS[form]}Q: {question}\nA:\n"


def concluded(prompt: str, rationale: str = "") -> str:
    """A student's prompt, its rationale if any, and the words that the answer follows.

    >>> concluded(student("What is 1 plus 1?", "answer"))
    '[Answer] Q: What is 1 plus 1?\\nA:\\nTherefore, the answer is'
    """
    return f"{prompt}{rationale}{' ' if rationale else ''}{CONCLUSION}"


def cep(description: str, exemplars: Sequence[Exemplar], question: str) -> str:
    """Chain of thought extraction prompt: think step by step."""
    return _render("cep", description=description, exemplars=exemplars, question=question)


def ahp(description: str, exemplars: Sequence[Exemplar], question: str, answer: str) -> str:
    """Answer hint prompt: CEP with the correct answer told before every rationale."""
    return _render(
        "ahp", description=description, exemplars=exemplars, question=question, answer=answer
    )


def ccp(description: str, exemplars: Sequence[Exemplar], question: str, right: str) -> str:
    """Contrastive CoT prompt: the right response is given, the wrong one is asked for."""
    if any(exemplar.wrong is None for exemplar in exemplars):
        raise ValueError("a CCP exemplar needs a wrong response")
    return _render(
        "ccp", description=description, exemplars=exemplars, question=question, right=right
    )


def baseline(style: str, shots: Shots, question: str) -> str:
    """A prompt of the first rows of Table 1, for a teacher or a student that nobody trained.

    style: zero-shot, zero-shot-CoT, few-shot or few-shot-CoT (the CEP); "CoT" asks for reasoning,
    "few-shot" shows the exemplars. Raises KitError for any other style.
    """
    if style not in STYLES:
        raise KitError(unknown("prompt style", style, STYLES))
    if style == "few-shot-CoT":
        return cep(shots.description, shots.exemplars, question)
    return _render(
        "baseline",
        description=shots.description.removesuffix(_HOW_COT).rstrip(),  # said once, or not at all
        how=_HOW_COT if style.endswith("CoT") else _HOW_DIRECT,
        exemplars=shots.exemplars if style == "few-shot" else (),
        question=question,
        start=" Let's think step by step." if style.endswith("CoT") else "",
    )


def kinds(categories: Mapping[str, str], question: str, text: str) -> str:
    """Mistake classifier prompt: which of the categories (letter -> description) are in a CoT."""
    example = "+".join(list(categories)[:3:2])
    return _render("kinds", categories=categories, example=example, question=question, text=text)


def judge(question: str, answers: Sequence[str]) -> str:
    """Ask for a score from 1 to 10 of each of three anonymous answers (Table 28)."""
    return _render("judge", question=question, answers=answers)


def first_reply(text: str) -> str:
    """What answers the question asked: a model that goes on to ask itself another is cut there.

    >>> first_reply(" (B)\\n\\nQ: And what is 2 plus 2?\\nA: (C)")
    ' (B)'
    """
    return re.split(r"\n\s*Q: ", text, maxsplit=1)[0]


def drawn_for(question: str, exemplars: Sequence[Exemplar]) -> Sequence[Exemplar]:
    """Three exemplars for a question, none of them the question itself where there is a spare."""
    if len(exemplars) <= SHOTS:
        return exemplars
    return [exemplar for exemplar in exemplars if exemplar.question != question][:SHOTS]


def fitted(style: str, shots: Shots, question: str, fits: Callable[[str], bool]) -> tuple[str, int]:
    """A baseline prompt and how many exemplars it shows: as many as fit, the last left out first.

    A prompt that does not fit without any is given all the same.
    """
    most = len(shots.exemplars) if style.startswith("few-shot") else 0
    for n in range(most, -1, -1):
        prompt = baseline(style, Shots(shots.description, shots.exemplars[:n]), question)
        if fits(prompt):
            break
    return prompt, n


def published_cep(prompt_file: str, question: str) -> str:
    """The prompt behind the published BBH completions: prompt file, blank line, question."""
    return f"{prompt_file}\n\nQ: {question}\nA: Let's think step by step."


def bbh_shots(exemplars: Mapping[str, Sequence[Exemplar]], wrong: bool = False) -> dict[str, Shots]:
    """The kit's own prompts of BBH tasks: a line on the task, what to write, the exemplars given.

    wrong: for CCP, which asks for a wrong response.
    """
    how = _HOW_WRONG if wrong else _HOW_COT
    return {
        task: Shots(f"{BBH_DESCRIPTIONS.get(task, 'Answer the question.')} {how}", tuple(shown))
        for task, shown in exemplars.items()
    }


def puzzle_shots(tasks: Iterable[str]) -> dict[str, Shots]:
    """Description and exemplars of each puzzle family named."""
    return {
        task: Shots(puzzles.FAMILIES[task].description, puzzle_exemplars(task)) for task in tasks
    }


def puzzle_exemplars(task: str) -> tuple[Exemplar, ...]:
    """Three questions of the family's own exemplar split, each solved without a slip."""
    asked = [q for q in puzzles.questions("exemplars", SHOTS) if q.task == task]
    return tuple(Exemplar(q.text, q.answer, _solved(q.text)) for q in asked)


def _solved(text: str) -> str:
    return puzzles.reason(puzzles.read_question(text), puzzles.Voice(text)).text


def _render(name: str, **values: object) -> str:
    return _TEMPLATES.get_template(f"{name}.j2").render(values)
