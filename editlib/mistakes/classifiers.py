"""Which kinds of mistakes are in a text: three ways to tell, behind one signature.

A `Classifier` takes chains and gives a verdict on each. `by_truth` repeats what a puzzle teacher
knows, `by_rules` needs no model, `by_judge` asks any teacher. How well they agree is measured here
as well.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import pandas as pd
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.proportion import proportion_confint

from editlib import prompts
from editlib.completions import CompletionStore, Request
from editlib.errors import KitError
from editlib.mistakes.findings import Finding
from editlib.mistakes.kinds import (
    KINDS,
    NONE,
    UNREAD,
    BadKind,
    Kind,
    UnknownTruth,
    in_order,
    label,
    registered,
)
from editlib.records import CoT, DualCoT, Question
from editlib.teacher import ManyTeacher, Teacher, ask

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Chain:
    """What a classifier is shown; completion is the key of what is known about its mistakes."""

    id: str
    question: str
    text: str
    completion: str = ""


@dataclass(frozen=True)
class Verdict:
    """The kinds of mistakes in a chain, by name; None: a reply that could not be read.

    findings: where they are, from classifiers that can say it.
    """

    kinds: tuple[str, ...] | None
    findings: tuple[Finding, ...] = ()

    @property
    def label(self) -> str:
        return UNREAD if self.kinds is None else label(self.kinds)


Classifier = Callable[[Sequence[Chain]], list[Verdict]]


def wrong_sides(duals: Iterable[DualCoT]) -> list[Chain]:
    """The wrong CoT of each pair; one without a completion goes by the id of its pair."""
    return [Chain(d.id, d.question, d.wrong, d.wrong_completion or d.id) for d in duals]


def chains(questions: Iterable[Question], cots: Iterable[CoT]) -> list[Chain]:
    """CoTs beside the text of their questions."""
    texts = {question.id: question.text for question in questions}
    return [Chain(cot.id, texts[cot.question_id], cot.text, cot.completion) for cot in cots]


# --- three classifiers ------------------------------------------------------------------------


def by_truth(truths: Mapping[str, Mapping]) -> Classifier:
    """What a teacher knows about its mistakes; truths: completion key -> mistakes.

    The classifier raises UnknownTruth for a chain of which nothing is known, or a mistake of a
    kind that is not registered.
    """

    def classify(asked: Sequence[Chain]) -> list[Verdict]:
        if missing := [chain.id for chain in asked if chain.completion not in truths]:
            raise UnknownTruth(f"{missing[0]}: nothing is known about its mistakes")
        return [
            _verdict(
                chain,
                [
                    Finding(each["kind"], each["start"], each["end"], "by the teacher's notes")
                    for each in truths[chain.completion]["mistakes"]
                ],
            )
            for chain in asked
        ]

    return classify


def by_rules(asked: Sequence[Chain]) -> list[Verdict]:
    """What the rules of the registered kinds find; no kind where they find nothing.

    Raises BadKind for a rule that fails, or finds anything but (start, end, why) in the text.
    """
    ruled = [kind for kind in KINDS.values() if kind.rule]
    return [
        _verdict(chain, [each for kind in ruled for each in _ruled(kind, chain)]) for chain in asked
    ]


def _ruled(kind: Kind, chain: Chain) -> list[Finding]:
    """What the rule of one kind finds."""
    expected = "expected (start, end, why) of each mistake: int, int, str"
    try:
        found = list(kind.rule(chain.question, chain.text))
    except Exception as error:
        raise BadKind(
            f"kind {kind.name!r}, chain {chain.id!r}: its rule raised "
            f"{type(error).__name__}: {error}; {expected}"
        ) from error
    for each in found:
        match each:
            case (int(start), int(end), str()) if 0 <= start < end <= len(chain.text):
                continue
        raise BadKind(
            f"kind {kind.name!r}, chain {chain.id!r}: its rule found {each!r}; {expected}, "
            f"0 <= start < end <= {len(chain.text)}, the characters of the text"
        )
    return [Finding(kind.name, *each) for each in found]


def _verdict(chain: Chain, findings: Iterable[Finding]) -> Verdict:
    ordered = tuple(sorted(findings, key=lambda each: (each.start, each.end)))
    try:
        return Verdict(registered(each.kind for each in ordered), ordered)
    except UnknownTruth as error:
        raise UnknownTruth(f"chain {chain.id!r}: {error}; register it first") from error


def by_judge(teacher: Teacher | ManyTeacher, store: CompletionStore, **sampling) -> Classifier:
    """What a language model says, asked once about each chain; replies are kept in the store.

    sampling: fields of Request; temperature is 0 unless told.
    """

    def classify(asked: Sequence[Chain]) -> list[Verdict]:
        settings = {"temperature": 0.0} | sampling
        requests = [Request(judge_prompt(chain), **settings) for chain in asked]
        distinct = list(dict.fromkeys(requests))
        replies = dict(zip(distinct, ask(teacher, distinct, store, "judge"), strict=True))
        return [Verdict(read_kinds(replies[request].text)) for request in requests]

    return classify


def judge_prompt(chain: Chain) -> str:
    """Asks for the letters of the registered kinds, joined with a plus sign."""
    if len(KINDS) > len(_LETTERS):
        raise KitError(f"{len(KINDS)} kinds are registered; a judge has letters for 26")
    categories = {x: kind.description for x, kind in zip(_LETTERS, KINDS.values(), strict=False)}
    return prompts.kinds(categories, chain.question, chain.text)


def read_kinds(reply: str) -> tuple[str, ...] | None:
    """The kinds that a judge's reply names; None for anything but known letters joined with "+".

    >>> read_kinds("a + c")
    ('logical', 'calculation')
    >>> read_kinds("a, because the step does not follow")
    """
    if not re.fullmatch(r"[a-z](?:\s*\+\s*[a-z])*\.?", reply.strip()):
        return None
    letters = re.findall("[a-z]", reply)
    known = dict(zip(_LETTERS, KINDS, strict=False))
    if len(set(letters)) < len(letters) or not set(letters) <= known.keys():
        return None
    return tuple(name for letter, name in known.items() if letter in letters)


def noted(asked: Sequence[Chain], verdicts: Sequence[Verdict]) -> dict[str, dict]:
    """Findings as known mistakes are written, by completion; consequences are not known."""
    return {
        chain.completion: {
            "mistakes": [
                {"kind": f.kind, "step": n, "start": f.start, "end": f.end}
                for n, f in enumerate(verdict.findings)
            ],
            "consequences": [],
        }
        for chain, verdict in zip(asked, verdicts, strict=True)
    }


# --- how well they do -------------------------------------------------------------------------


def labels(asked: Sequence[Chain], **verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """One row a chain: id, and the label by each classifier, in a column of its name."""
    columns = {name: [each.label for each in found] for name, found in verdicts.items()}
    return pd.DataFrame({"id": [chain.id for chain in asked], **columns})


def first_mistakes(asked: Sequence[Chain], verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """Kinds of each chain in which a mistake was found, and where the first one begins.

    Returns id, kinds (a label), position (0: start of the text, 1: its end; nan where the
    classifier does not say).
    """
    rows = [
        (chain.id, verdict.label, min((f.start for f in verdict.findings), default=float("nan")))
        for chain, verdict in zip(asked, verdicts, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["id", "kinds", "position"])
    table["position"] /= [max(len(chain.text), 1) for chain in asked]
    return table[~table["kinds"].isin([NONE, UNREAD])]


def against_truth(truth: Sequence[Verdict], found: Sequence[Verdict]) -> pd.DataFrame:
    """Precision and recall of a classifier by kind, with 95 % Wilson intervals over chains.

    A chain counts once for each kind that is in it. Unread verdicts find nothing. Returns kind
    (label), chains (that have it), found (called so), both, then precision, precision_low,
    precision_high, recall, recall_low, recall_high; a share of nothing is nan.
    """
    rows = []
    for name, kind in KINDS.items():
        known = pd.Series([name in (each.kinds or ()) for each in truth], dtype=bool)
        called = pd.Series([name in (each.kinds or ()) for each in found], dtype=bool)
        both = int((known & called).sum())
        row = {"kind": kind.short, "chains": int(known.sum()), "found": int(called.sum())}
        row |= {"both": both} | _share("precision", both, row["found"])
        rows.append(row | _share("recall", both, row["chains"]))
    return pd.DataFrame(rows)


def _share(name: str, n: int, of: int) -> dict[str, float]:
    low, high = proportion_confint(n, of, method="wilson") if of else (float("nan"),) * 2
    return {name: n / of if of else float("nan"), f"{name}_low": low, f"{name}_high": high}


def alarms(found: Sequence[Verdict]) -> dict[str, float]:
    """On chains without a mistake: chains, unread, alarms, and their share of those that were read.

    share_low and share_high are its 95 % Wilson interval.
    """
    read = [each.kinds for each in found if each.kinds is not None]
    n = sum(kinds != () for kinds in read)
    counts = {"chains": len(found), "unread": len(found) - len(read), "alarms": n}
    return counts | _share("share", n, len(read))


def confusion(table: pd.DataFrame, classifiers: Iterable[str]) -> pd.DataFrame:
    """How often each label by one classifier meets each label by another, for each two of them.

    table: of labels(). classifiers: two or more of its columns. Returns a tidy square for each two:
    classifier, other, label (by the first), other_label, n; zeros are shown.
    """
    squares = []
    for classifier, other in combinations(classifiers, 2):
        square = _square(table, classifier, other)
        counts = square.rename_axis(index="label", columns="other_label").stack().rename("n")
        squares.append(counts.reset_index().assign(classifier=classifier, other=other))
    columns = ["classifier", "other", "label", "other_label", "n"]
    return pd.concat(squares, ignore_index=True)[columns]


def _square(table: pd.DataFrame, rows: str, columns: str) -> pd.DataFrame:
    """Counts of labels by one classifier (rows) and another (columns), in one order."""
    both = in_order([*table[rows], *table[columns]])
    return pd.crosstab(table[rows], table[columns]).reindex(both, columns=both, fill_value=0)


def kappa(table: pd.DataFrame, rows: str, columns: str) -> dict[str, float]:
    """Agreement of two classifiers beyond chance: n, agreement, kappa, low, high (95 %).

    Cohen's kappa over labels, by statsmodels; nan where both use one label throughout. Rows that
    either left unread are no part of it.
    """
    read = table[(table[rows] != UNREAD) & (table[columns] != UNREAD)]
    n, agreement = len(read), float((read[rows] == read[columns]).mean())
    used = set(read[rows]) | set(read[columns])
    if len(used) < 2:
        return {"n": n, "agreement": agreement} | dict.fromkeys(
            ("kappa", "low", "high"), float("nan")
        )
    found = cohens_kappa(_square(read, rows, columns).to_numpy())
    numbers = {"kappa": found.kappa, "low": found.kappa_low, "high": found.kappa_upp}
    return {"n": n, "agreement": agreement} | {name: float(x) for name, x in numbers.items()}
