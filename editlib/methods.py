"""The methods compared, each as a few training phases. One table, read from top to bottom."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from editlib.errors import KitError, unknown

Data = Literal["D+", "D+merge", "D+dual", "Ddual"]
Responses = Literal[  # views made of responses alone, see views.py
    "D+",
    "D+merge",
    "D+merge sampled twice",
    "both sides of Ddual",
    "D+ as CoT and answer",
    "D+ as rationale and answer",
    "D+ with counterfactuals",
    "D+ in two steps",
]
Asked = Literal["CoT", "marked CoT", "answer", "factual", "two steps"]  # see evaluation.ask


@dataclass(frozen=True)
class Phase:
    """One training run: an objective on a view of the data, from the student before it."""

    objective: Literal["sft", "krsl"]
    data: Data | Responses
    as_long_as: str | None = None  # stop when the method has made as many updates as this one

    def __str__(self) -> str:
        longer = f", as long as {self.as_long_as}" if self.as_long_as else ""
        return f"{self.objective.upper()} on {self.data}{longer}"


@dataclass(frozen=True)
class Method:
    """The phases of a method, and how its students are asked when they are examined."""

    phases: tuple[Phase, ...]
    asked: Asked = "CoT"


METHODS: dict[str, Method] = {
    # Two tasks told apart by a mark (Li et al. 2022). Asked for a CoT: the published evaluation
    # script asks for the answer alone, but Table 1 then has it 14 points above SBS on BBH, which
    # learns the same answers.
    "MT-CoT": Method((Phase("sft", "D+ as CoT and answer"),), asked="marked CoT"),
    # SCOTT (Wang et al. 2023): after a wrong rationale, the wrong answer.
    "SCOTT": Method((Phase("sft", "D+ with counterfactuals"),), asked="factual"),
    "Std-CoT": Method((Phase("sft", "D+"),)),
    # Distilling step-by-step (Hsieh et al. 2023): the rationale is learnt and never asked for.
    # Its variant SBS-MI (Chen et al. 2024) is not here: its further term compares the whole
    # vocabulary's probabilities between both tasks, and losses of this kit see chosen tokens only.
    "SBS": Method((Phase("sft", "D+ as rationale and answer"),), asked="answer"),
    # CasCoD (Dai et al. 2024): the rationale without the answer, then the answer after both.
    "CasCoD": Method((Phase("sft", "D+ in two steps"),), asked="two steps"),
    # Twice as many rows as there are pairs (Table 5), all of them right, or half of them wrong.
    "Std-CoT, repeat sampling": Method((Phase("sft", "D+merge sampled twice"),)),
    "Std-CoT, dual CoTs": Method((Phase("sft", "both sides of Ddual"),)),
    "Std-CoT continued": Method((Phase("sft", "D+"), Phase("sft", "D+", as_long_as="EDIT"))),
    "EDIT w/o KRSL": Method((Phase("sft", "D+merge"),)),
    "EDIT w/o RWC": Method((Phase("sft", "D+"), Phase("krsl", "D+dual"))),
    "EDIT": Method((Phase("sft", "D+merge"), Phase("krsl", "Ddual"))),
}


class UnknownMethod(KitError):
    """A name that is no row of METHODS."""


def phases(method: str) -> tuple[Phase, ...]:
    """The phases of a method; raises UnknownMethod listing the valid ones."""
    if method not in METHODS:
        raise UnknownMethod(unknown("method", method, METHODS))
    return METHODS[method].phases


def asked(path: Sequence[Phase]) -> Asked:
    """How students are asked whose phases begin with these; methods that begin alike ask alike."""
    begin = tuple(path)
    return next(m.asked for m in METHODS.values() if m.phases[: len(begin)] == begin)
