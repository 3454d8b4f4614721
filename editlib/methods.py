"""The methods compared, each as a few training phases. One table, read from top to bottom."""

from dataclasses import dataclass
from typing import Literal

from editlib.errors import KitError, unknown

Data = Literal["D+", "D+merge", "D+dual", "Ddual"]


@dataclass(frozen=True)
class Phase:
    """One training run: an objective on a view of the data, from the student before it."""

    objective: Literal["sft", "krsl"]
    data: Data
    as_long_as: str | None = None  # stop when the method has made as many updates as this one

    def __str__(self) -> str:
        longer = f", as long as {self.as_long_as}" if self.as_long_as else ""
        return f"{self.objective.upper()} on {self.data}{longer}"


METHODS: dict[str, tuple[Phase, ...]] = {
    "Std-CoT": (Phase("sft", "D+"),),
    "Std-CoT continued": (Phase("sft", "D+"), Phase("sft", "D+", as_long_as="EDIT")),
    "EDIT w/o KRSL": (Phase("sft", "D+merge"),),
    "EDIT w/o RWC": (Phase("sft", "D+"), Phase("krsl", "D+dual")),
    "EDIT": (Phase("sft", "D+merge"), Phase("krsl", "Ddual")),
}


class UnknownMethod(KitError):
    """A name that is no row of METHODS."""


def phases(method: str) -> tuple[Phase, ...]:
    """The phases of a method; raises UnknownMethod listing the valid ones."""
    if method not in METHODS:
        raise UnknownMethod(unknown("method", method, METHODS))
    return METHODS[method]
