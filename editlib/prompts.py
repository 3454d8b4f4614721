"""What the teacher and the student are asked; the teacher's layouts are files in templates/.

CEP (chain of thought extraction) asks for a rationale, AHP (answer hint) tells the answer as
well, CCP (contrastive) shows a right response and asks for a wrong one that follows it closely.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from editlib import puzzles

# Prompts are plain text, so nothing is escaped; a missing value is an error, never a blank.
_TEMPLATES = Environment(
    loader=PackageLoader("editlib"),
    undefined=StrictUndefined,
    autoescape=False,
    trim_blocks=True,
)
_SHOTS = 3  # exemplars in each prompt, as in the published BBH prompts


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


def student(question: str) -> str:
    """What a student is given; the rationale follows on the next line."""
    return f"Q: {question}\nA:\n"


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


def published_cep(prompt_file: str, question: str) -> str:
    """The prompt behind the published BBH completions: prompt file, blank line, question."""
    return f"{prompt_file}\n\nQ: {question}\nA: Let's think step by step."


def puzzle_shots(tasks: Iterable[str]) -> dict[str, Shots]:
    """Description and exemplars of each puzzle family named."""
    return {
        task: Shots(puzzles.FAMILIES[task].description, puzzle_exemplars(task)) for task in tasks
    }


def puzzle_exemplars(task: str) -> tuple[Exemplar, ...]:
    """Three questions of the family's own exemplar split, each solved without a slip."""
    asked = [q for q in puzzles.questions("exemplars", _SHOTS) if q.task == task]
    return tuple(Exemplar(q.text, q.answer, _solved(q.text)) for q in asked)


def _solved(text: str) -> str:
    return puzzles.reason(puzzles.read_question(text), puzzles.Voice(text)).text


def _render(name: str, **values: object) -> str:
    return _TEMPLATES.get_template(f"{name}.j2").render(values)
