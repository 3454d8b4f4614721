"""The methods compared, each as a few training phases. One table, read from top to bottom."""

from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from editlib.errors import KitError, unknown
from editlib.locators import LOCATORS

Data = Literal["D+", "D+merge", "D+dual", "D-dual", "Ddual"]

EDIT_DISTANCE = "edit distance"
RANDOM, HIGHEST_LOSS, KNOWN = "random tokens", "highest loss", "known mistake"
KEYS = (*LOCATORS, RANDOM, HIGHEST_LOSS, KNOWN)  # who may say which tokens are key; see marks.py


@dataclass(frozen=True)
class Phase:
    """One training run: an objective on a view of the data, from the student before it.

    The objective is also the section of the profile's training settings that it reads; alpha,
    beta and per, where given, stand in for those of that section.
    """

    objective: Literal["sft", "krsl", "dpo", "dpop", "simpo"]
    data: Data
    as_long_as: str | None = None  # stop when the method has made as many updates as this one
    key: str = EDIT_DISTANCE  # one of KEYS; read by krsl alone
    alpha: float | None = None
    beta: float | None = None
    per: Literal["response", "key"] | None = None

    @property
    def changes(self) -> dict[str, float | str]:
        """The settings of the objective that differ from the profile's, by name."""
        given = {"alpha": self.alpha, "beta": self.beta, "per": self.per}
        return {name: value for name, value in given.items() if value is not None}

    def __str__(self) -> str:
        """Readable, and fit for a folder name."""
        words = [f"{self.objective.upper()} on {self.data}"]
        words += [f"key {self.key}"] if self.key != EDIT_DISTANCE else []
        words += [f"{name} {value}" for name, value in self.changes.items()]
        words += [f"as long as {self.as_long_as.replace('/', '')}"] if self.as_long_as else []
        return ", ".join(words)


STD, MERGE = Phase("sft", "D+"), Phase("sft", "D+merge")
KRSL = Phase("krsl", "Ddual")
ALPHAS, BETAS = (0, 1), (0, 0.005, 0.025, 0.05, 0.1, 0.25, 1)  # Table 4 has five of these points
WEIGHTS = {  # (alpha, beta) -> the method; those with a name of their own by that name
    **{(a, b): f"EDIT, alpha {a}, beta {b}" for a, b in product(ALPHAS, BETAS)},
    (0, 0): "EDIT w/o KRSL",
    (0, 0.025): "EDIT, only wrong steps",
    (1, 0): "EDIT, only correct steps",
    (1, 0.025): "EDIT",
}


def _longer(start: str, phase: Phase, *methods: str) -> dict[str, tuple[Phase, ...]]:
    """Controls: a first phase that goes on for as many updates as each of the methods."""
    return {f"{start} as long as {m}": (phase, replace(phase, as_long_as=m)) for m in methods}


METHODS: dict[str, tuple[Phase, ...]] = {
    "Std-CoT": (STD,),
    "Std-CoT continued": (STD, replace(STD, as_long_as="EDIT")),
    "EDIT w/o KRSL": (MERGE,),
    "EDIT w/o KRSL continued": (MERGE, replace(MERGE, as_long_as="EDIT")),
    "EDIT w/o RWC": (STD, replace(KRSL, data="D+dual")),
    "EDIT w/o RWC, KRSL on Ddual": (STD, KRSL),
    "EDIT": (MERGE, KRSL),
    # Table 2
    "EDIT, KRSL on D+dual": (MERGE, replace(KRSL, data="D+dual")),
    "EDIT, KRSL on D-dual": (MERGE, replace(KRSL, data="D-dual")),
    # Figure 6, and Table 4 on a wider grid
    "EDIT, only correct steps": (MERGE, replace(KRSL, beta=0)),
    "EDIT, only wrong steps": (MERGE, replace(KRSL, alpha=0)),
    **{
        name: (MERGE, replace(KRSL, alpha=alpha, beta=beta))
        for (alpha, beta), name in WEIGHTS.items()
        if name.startswith("EDIT, alpha")
    },
    "EDIT, per key token": (MERGE, replace(KRSL, per="key")),
    # other locators in the place of edit distance
    **{f"EDIT, {key}": (MERGE, replace(KRSL, key=key)) for key in KEYS if key != EDIT_DISTANCE},
    # preference losses in the place of KRSL (Table 9)
    "DPO": (MERGE, Phase("dpo", "Ddual")),
    "DPO-Positive": (MERGE, Phase("dpop", "Ddual")),
    "SimPO": (MERGE, Phase("simpo", "Ddual")),
    # equal computing time for the methods that train for longer or shorter than EDIT
    **_longer("Std-CoT", STD, "EDIT w/o KRSL", "EDIT w/o RWC", "EDIT w/o RWC, KRSL on Ddual"),
    **_longer("EDIT w/o KRSL", MERGE, "EDIT, KRSL on D+dual", "EDIT, KRSL on D-dual"),
    **_longer("EDIT w/o KRSL", MERGE, "DPO", "DPO-Positive", "SimPO"),
}


class UnknownMethod(KitError):
    """A name that is no row of METHODS."""


def phases(method: str) -> tuple[Phase, ...]:
    """The phases of a method; raises UnknownMethod listing the valid ones."""
    if method not in METHODS:
        raise UnknownMethod(unknown("method", method, METHODS))
    return METHODS[method]


def objectives(method: str) -> set[str]:
    """The sections of the training settings that a method reads, also to know when to stop."""
    longer = [phase.as_long_as for phase in phases(method) if phase.as_long_as]
    own = {phase.objective for phase in phases(method)}
    return own.union(*map(objectives, longer))


def control(method: str) -> str | None:
    """The control of equal computing time: a method's first phase, going on for as many updates.

    Of a method of one phase it is Std-CoT that goes on. None for Std-CoT, and for controls.
    """
    path = phases(method)
    start = path[0] if len(path) > 1 else STD
    alike = [(start, replace(start, as_long_as=name)) for name in METHODS if _takes(name, method)]
    return next((name for name in METHODS if phases(name) in alike), None)


def _takes(method: str, other: str) -> bool:
    """Whether two methods take equally many updates: the same phases, but for marks and weights."""
    one, two = (
        [replace(p, key=EDIT_DISTANCE, alpha=None, beta=None, per=None) for p in phases(name)]
        for name in (method, other)
    )
    return one == two
