"""Kinds of mistakes in wrong CoTs: a registry, classifiers, statistics, sets to train on.

    kinds         the registry: what kinds there are; register() adds one
    rules         what can be found without a model (arithmetic, calendar)
    classifiers   known truth, rules, a judge; precision, recall, agreement
    anatomy       how often, where, how far: Table 6 and beyond
    exam          chains with known mistakes, to try a classifier on
    planting      mistakes of a kind put into right puzzle chains
    subsets       equal-sized sets of pairs by kind, as for Table 7
    effects       what a comparison of kinds can and cannot say

For analysis only: no stage of the pipeline reads any of it.
"""

from editlib.mistakes.anatomy import PARTS, anatomy, composition, located, tally
from editlib.mistakes.classifiers import (
    Chain,
    Classifier,
    Verdict,
    against_truth,
    alarms,
    by_judge,
    by_rules,
    by_truth,
    chains,
    confusion,
    first_mistakes,
    judge_prompt,
    kappa,
    labels,
    noted,
    read_kinds,
    wrong_sides,
)
from editlib.mistakes.effects import (
    ALPHA,
    compare_kinds,
    mixed_model,
    reachable,
    statement,
)
from editlib.mistakes.exam import exam
from editlib.mistakes.findings import Finding
from editlib.mistakes.kinds import (
    KINDS,
    NONE,
    UNREAD,
    BadKind,
    Kind,
    UnknownTruth,
    in_order,
    is_label,
    kinds_of,
    label,
    register,
    registered,
    shorts,
    usual,
)
from editlib.mistakes.planting import misread, planted
from editlib.mistakes.subsets import balanced, restricted

__all__ = [
    "ALPHA",
    "KINDS",
    "NONE",
    "PARTS",
    "UNREAD",
    "BadKind",
    "Chain",
    "Classifier",
    "Finding",
    "Kind",
    "UnknownTruth",
    "Verdict",
    "against_truth",
    "alarms",
    "anatomy",
    "balanced",
    "by_judge",
    "by_rules",
    "by_truth",
    "chains",
    "compare_kinds",
    "composition",
    "confusion",
    "exam",
    "first_mistakes",
    "in_order",
    "is_label",
    "judge_prompt",
    "kappa",
    "kinds_of",
    "label",
    "labels",
    "located",
    "misread",
    "mixed_model",
    "noted",
    "planted",
    "reachable",
    "read_kinds",
    "register",
    "registered",
    "restricted",
    "shorts",
    "statement",
    "tally",
    "usual",
    "wrong_sides",
]
