"""The methods compared, each as a few training phases. One table, read from top to bottom."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from editlib.errors import KitError, unknown
from editlib.locators import LOCATORS
from editlib.pair_sets import PAIR_SETS

Data = Literal["D+", "D+merge", "D+dual", "D-dual", "Ddual"]
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

EDIT_DISTANCE = "edit distance"
RANDOM, HIGHEST_LOSS, KNOWN = "random tokens", "highest loss", "known mistake"
KEYS = (*LOCATORS, RANDOM, HIGHEST_LOSS, KNOWN)  # who may say which tokens are key; see marks.py
MISTAKES = ("LE", "KE", "MCE")  # of Table 7
CHANGEABLE = ("lr", "alpha", "beta", "per", "mutual")  # settings that a phase may have of its own


@dataclass(frozen=True)
class Phase:
    """One training run: an objective on a view of the data, from the student before it.

    The objective is also the section of the profile's training settings that it reads; lr, alpha,
    beta, per and mutual, where given, stand in for those of that section.
    """

    objective: Literal["sft", "krsl", "dpo", "dpop", "simpo"]
    data: Data | Responses
    as_long_as: str | None = None  # stop when the method has made as many updates as this one
    key: str = EDIT_DISTANCE  # one of KEYS; read by krsl alone
    lr: float | None = None
    alpha: float | None = None
    beta: float | None = None
    per: Literal["response", "key"] | None = None
    mutual: float | None = None  # read by sft alone, of two tasks
    kind: str | None = None  # of MISTAKES: pairs of this kind alone, as many as of the others
    pairs: str | None = None  # of PAIR_SETS: these pairs alone
    own: str | None = None  # a set of pairs kept by own_sets.train: these alone

    @property
    def changes(self) -> dict[str, float | str]:
        """The settings of the objective that differ from the profile's, by name."""
        given = {name: getattr(self, name) for name in CHANGEABLE}
        return {name: value for name, value in given.items() if value is not None}

    def __str__(self) -> str:
        """Readable, and fit for a folder name."""
        words = [f"{self.objective.upper()} on {self.data}"]
        words += [f"key {self.key}"] if self.key != EDIT_DISTANCE else []
        words += [f"{name} {value}" for name, value in self.changes.items()]
        words += [f"{self.kind} alone"] if self.kind else []
        words += [self.pairs] if self.pairs else []
        words += [f"set {self.own}"] if self.own else []
        words += [f"as long as {self.as_long_as.replace('/', '')}"] if self.as_long_as else []
        return ", ".join(words)


@dataclass(frozen=True)
class Method:
    """The phases of a method, and how its students are asked when they are examined."""

    phases: tuple[Phase, ...]
    asked: Asked = "CoT"


STD, MERGE = Phase("sft", "D+"), Phase("sft", "D+merge")
SBS = Phase("sft", "D+ as rationale and answer")
KRSL = Phase("krsl", "Ddual")
DPO = Phase("dpo", "Ddual")
RATE = ", rate "  # between the name of a method and the rate of its second phase
RATES = [*(("EDIT", KRSL, lr) for lr in (1e-4, 3e-4, 1e-3)), ("DPO", DPO, 1e-3)]
ALPHAS, BETAS = (0, 1), (0, 0.005, 0.025, 0.05, 0.1, 0.25, 1)  # Table 4 has five of these points
WEIGHTS = {  # (alpha, beta) -> the method; those with a name of their own by that name
    **{(a, b): f"EDIT, alpha {a}, beta {b}" for a, b in product(ALPHAS, BETAS)},
    (0, 0): "EDIT w/o KRSL",
    (0, 0.025): "EDIT, only wrong steps",
    (1, 0): "EDIT, only correct steps",
    (1, 0.025): "EDIT",
}


def at(method: str, lr: float) -> str:
    """The name of a method whose second phase learns at a rate of its own."""
    return f"{method}{RATE}{lr:g}"


def _longer(start: str, phase: Phase, *methods: str) -> dict[str, Method]:
    """Controls: a first phase that goes on for as many updates as each of the methods."""
    return {
        f"{start} as long as {m}": Method((phase, replace(phase, as_long_as=m))) for m in methods
    }


METHODS: dict[str, Method] = {
    # Two tasks told apart by a mark (Li et al. 2022). Asked for a CoT: the published evaluation
    # script asks for the answer alone, but Table 1 then has it 14 points above SBS on BBH, which
    # learns the same answers.
    "MT-CoT": Method((Phase("sft", "D+ as CoT and answer"),), asked="marked CoT"),
    # SCOTT (Wang et al. 2023): after a wrong rationale, the wrong answer.
    "SCOTT": Method((Phase("sft", "D+ with counterfactuals"),), asked="factual"),
    "Std-CoT": Method((STD,)),
    # Distilling step-by-step (Hsieh et al. 2023): the rationale is learnt and never asked for.
    "SBS": Method((SBS,), asked="answer"),
    # SBS-MI (Chen et al. 2024): a question's rationale shall use the words of its answer. Its code
    # halves the loss of both tasks, and has 0.1 for this one.
    "SBS-MI": Method((replace(SBS, mutual=0.2),), asked="answer"),
    # CasCoD (Dai et al. 2024): the rationale without the answer, then the answer after both.
    "CasCoD": Method((Phase("sft", "D+ in two steps"),), asked="two steps"),
    # Twice as many rows as there are pairs (Table 5), all of them right, or half of them wrong.
    "Std-CoT, repeat sampling": Method((Phase("sft", "D+merge sampled twice"),)),
    "Std-CoT, dual CoTs": Method((Phase("sft", "both sides of Ddual"),)),
    "Std-CoT continued": Method((STD, replace(STD, as_long_as="EDIT"))),
    "EDIT w/o KRSL": Method((MERGE,)),
    "EDIT w/o KRSL continued": Method((MERGE, replace(MERGE, as_long_as="EDIT"))),
    "EDIT w/o RWC": Method((STD, replace(KRSL, data="D+dual"))),
    "EDIT w/o RWC, KRSL on Ddual": Method((STD, KRSL)),
    "EDIT": Method((MERGE, KRSL)),
    # Table 2
    "EDIT, KRSL on D+dual": Method((MERGE, replace(KRSL, data="D+dual"))),
    "EDIT, KRSL on D-dual": Method((MERGE, replace(KRSL, data="D-dual"))),
    # Figure 6, and Table 4 on a wider grid
    "EDIT, only correct steps": Method((MERGE, replace(KRSL, beta=0))),
    "EDIT, only wrong steps": Method((MERGE, replace(KRSL, alpha=0))),
    **{
        name: Method((MERGE, replace(KRSL, alpha=alpha, beta=beta)))
        for (alpha, beta), name in WEIGHTS.items()
        if name.startswith("EDIT, alpha")
    },
    "EDIT, per key token": Method((MERGE, replace(KRSL, per="key"))),
    # rates at which the second phase moves a student, whatever validation says to them
    **{at(name, lr): Method((MERGE, replace(phase, lr=lr))) for name, phase, lr in RATES},
    # other locators in the place of edit distance
    **{
        f"EDIT, {key}": Method((MERGE, replace(KRSL, key=key)))
        for key in KEYS
        if key != EDIT_DISTANCE
    },
    # pairs of one kind of mistake, equally many of each (Table 7)
    **{f"EDIT, {kind} alone": Method((MERGE, replace(KRSL, kind=kind))) for kind in MISTAKES},
    # fewer pairs; equally many, more or fewer of them from D-; pairs without a mistaken step
    **{f"EDIT, {name}": Method((MERGE, replace(KRSL, pairs=name))) for name in PAIR_SETS},
    # preference losses in the place of KRSL (Table 9)
    "DPO": Method((MERGE, DPO)),
    "DPO-Positive": Method((MERGE, Phase("dpop", "Ddual"))),
    "SimPO": Method((MERGE, Phase("simpo", "Ddual"))),
    # as many updates, for the methods that make more or fewer than EDIT
    **_longer("Std-CoT", STD, "Std-CoT, repeat sampling", "Std-CoT, dual CoTs"),
    **_longer("Std-CoT", STD, "EDIT w/o KRSL", "EDIT w/o RWC", "EDIT w/o RWC, KRSL on Ddual"),
    **_longer("EDIT w/o KRSL", MERGE, "EDIT, KRSL on D+dual", "EDIT, KRSL on D-dual"),
    **_longer("EDIT w/o KRSL", MERGE, "DPO", "DPO-Positive", "SimPO"),
    **_longer("EDIT w/o KRSL", MERGE, "EDIT, LE alone"),
    **_longer("EDIT w/o KRSL", MERGE, "EDIT, a quarter of the pairs", "EDIT, half of the pairs"),
    **_longer("EDIT w/o KRSL", MERGE, "EDIT, no D-dual"),
}


class UnknownMethod(KitError):
    """A name that is no row of METHODS."""


OWN, LONGER = "EDIT on ", "EDIT w/o KRSL as long as "  # before the name of a set; of a method


def named(method: str) -> Method:
    """A method of the table, EDIT on a set of pairs of one's own, or the control of that.

    Raises UnknownMethod listing the valid ones.
    """
    if method in METHODS:
        return METHODS[method]
    if method.startswith(OWN):
        return Method((MERGE, replace(KRSL, own=method.removeprefix(OWN))))
    if method.startswith(LONGER + OWN):
        return Method((MERGE, replace(MERGE, as_long_as=method.removeprefix(LONGER))))
    raise UnknownMethod(unknown("method", method, METHODS))


def phases(method: str) -> tuple[Phase, ...]:
    """The phases of a method; raises UnknownMethod listing the valid ones."""
    return named(method).phases


def asked(path: Sequence[Phase]) -> Asked:
    """How students are asked whose phases begin with these; methods that begin alike ask alike."""
    return next(m.asked for m in METHODS.values() if m.phases[0] == path[0])


def objectives(method: str) -> set[str]:
    """The sections of the training settings that a method reads, also to know when to stop."""
    longer = [phase.as_long_as for phase in phases(method) if phase.as_long_as]
    own = {phase.objective for phase in phases(method)}
    return own.union(*map(objectives, longer))


def control(method: str) -> str | None:
    """The control of equal updates: a method's first phase, going on for as many of them.

    Of a method of one phase it is Std-CoT that goes on. None for Std-CoT, and for controls.
    """
    path = phases(method)
    start = path[0] if len(path) > 1 else STD
    alike = [(start, replace(start, as_long_as=name)) for name in METHODS if _takes(name, method)]
    return next((name for name in METHODS if phases(name) in alike), None)


def _takes(method: str, other: str) -> bool:
    """Whether two methods take equally many updates: the same phases, but for what each marks,
    how that weighs, how fast it learns, which kind of mistake it is about, and which set of so many
    pairs it is."""
    same = {"key": EDIT_DISTANCE} | dict.fromkeys(CHANGEABLE)
    one, two = (
        [
            replace(p, **same, kind=p.kind and "any", pairs=p.pairs and PAIR_SETS[p.pairs].size)
            for p in phases(name)
        ]
        for name in (method, other)
    )
    return one == two
