"""Benchmarks as lists of Questions: puzzles, BBH, BB-sub, AGIEval, ARC, GSM8K, MATH.

Puzzles are generated. The others come from the local mirror that EDITLIB_DATA_DIR names where it
holds them, else from their public sources (hub.py). Options are lettered as in BBH, whatever the
source; what is odd about a row is in the table of quirks().
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import pandas as pd

from editlib import puzzles
from editlib.benchmarks import hub, mirror
from editlib.benchmarks.hub import MissingData
from editlib.benchmarks.mirror import (
    bbh_tasks,
    codex_completions,
    codex_tasks,
    data_dir,
    published_duals,
    published_prompt,
)
from editlib.benchmarks.names import AGIEVAL, BB_SUB, BBH, MATH, SIZES
from editlib.benchmarks.rows import READERS, Read
from editlib.errors import KitError, unknown
from editlib.reading import options
from editlib.records import Question

__all__ = [
    "SPLITS",
    "Division",
    "MissingData",
    "bbh_tasks",
    "codex_completions",
    "codex_tasks",
    "data_dir",
    "load",
    "present",
    "published_duals",
    "published_prompt",
    "quirks",
    "size_table",
    "sources",
]
SPLITS = {
    "puzzles": ("train", "validation", "test", "longer", "families"),
    "bbh": ("all", "train", "validation", "test"),
    **dict.fromkeys(("bb_sub", "agieval", "arc_e", "arc_c", "gsm8k", "math"), ("test",)),
}
TASKS = {"agieval": tuple(AGIEVAL), "bb_sub": BB_SUB, "math": MATH}
_MOST = 100  # questions of one BB-sub task


@dataclass(frozen=True)
class Division:
    """How BBH is split, and BB-sub sampled; whoever has the same division has the same questions.

    BBH is split 4:1 per task as in the paper. A share of the larger side is "validation", the rest
    of it "train". Of a task of BB-sub at most 100 questions are taken.
    """

    seed: int = 0
    validation: float = 0.05


def load(
    name: str, split: str, per_task: int | None = None, division: Division = Division()
) -> list[Question]:
    """Questions of one benchmark and split, at most per_task a task (None: all there are).

    Puzzles are drawn on demand, so they need a number. "all" of BBH holds every question, and each
    names its side. Raises KitError: no such benchmark or split, or no data (MissingData).
    """
    _check(name, split)
    if name == "puzzles":
        if per_task is None:
            raise KitError("puzzles are generated without end: say how many with per_task")
        return puzzles.questions(split, per_task)
    return [q for task in _tasks(name) for q in _questions(name, task, split, division)[:per_task]]


def _check(name: str, split: str) -> None:
    if name not in SPLITS:
        raise KitError(unknown("benchmark", name, SPLITS))
    if split not in SPLITS[name]:
        raise KitError(unknown(f"split of {name}", split, SPLITS[name]))


def _tasks(name: str) -> Sequence[str]:
    if name == "bbh":
        return bbh_tasks() if mirror.holds("bbh") else sorted(BBH)
    return TASKS.get(name, (name,))


def _questions(name: str, task: str, split: str, division: Division) -> list[Question]:
    read = _read(name, task)
    sides = _sides((each.text for each in read), division) if name == "bbh" else {}
    questions = [
        Question(f"{name}/{task}/{n}", name, task, sides.get(r.text, "test"), r.text, r.answer)
        for n, r in enumerate(read)
    ]
    if name == "bb_sub":
        chosen = set(_ranked({question.id for question in questions}, division.seed)[:_MOST])
        return [question for question in questions if question.id in chosen]
    return [question for question in questions if split in ("all", question.split)]


def _read(name: str, task: str) -> list[Read]:
    source = mirror if mirror.holds(name) else hub
    return [READERS[name](row) for row in source.rows(name, task)]


def _sides(texts: Iterable[str], division: Division) -> dict[str, str]:
    """The side of each text, by the hash of the first of its twins: those stay on one side."""
    first: dict[tuple[str, ...], str] = {}
    twin = {text: first.setdefault(_without_order(text), text) for text in texts}
    ranked = _ranked(first.values(), division.seed)
    test = round(len(ranked) / 5)
    held = test + round((len(ranked) - test) * division.validation)
    sides = ["test"] * test + ["validation"] * (held - test) + ["train"] * (len(ranked) - held)
    side = dict(zip(ranked, sides, strict=True))
    return {text: side[other] for text, other in twin.items()}


def _without_order(text: str) -> tuple[str, ...]:
    """What twins share: the question and its options, whatever their letters."""
    listed = options(text)
    return (text.rpartition("Options:\n")[0], *sorted(listed.values())) if listed else (text,)


def _ranked(texts: Iterable[str], seed: int) -> list[str]:
    salt = seed.to_bytes(blake2b.SALT_SIZE, "big")
    return sorted(texts, key=lambda text: blake2b(text.encode(), salt=salt).digest())


# --- what there is, and what is odd about it ------------------------------------------------


def sources(name: str) -> list[str]:
    """Where the rows of a benchmark come from now: the local mirror, or pinned addresses."""
    if name == "puzzles":
        return ["generated"]
    return ["local mirror"] if mirror.holds(name) else list(hub.SOURCES[name].files)


def present() -> list[str]:
    """The real benchmarks that the local mirror holds."""
    return [name for name in SPLITS if mirror.holds(name)]


def size_table(questions: Iterable[Question]) -> pd.DataFrame:
    """One row a benchmark: benchmark, tasks, questions, paper (its size there), source."""
    groups: dict[str, list[str]] = defaultdict(list)
    for question in questions:
        groups[question.benchmark].append(question.task)
    rows = [
        (name, len(set(tasks)), len(tasks), SIZES.get(name), sources(name)[0])
        for name, tasks in groups.items()
    ]
    frame = pd.DataFrame(rows, columns=["benchmark", "tasks", "questions", "paper", "source"])
    return frame.astype({"paper": "Int64"})


def quirks(name: str) -> pd.DataFrame:
    """What is odd about the rows of a benchmark: benchmark, task, question, quirk, done.

    Both what the source has and was mended while reading (labels, the order of options) and what
    stands as it is (no option is the gold answer, one question with two gold answers).
    """
    columns = ["benchmark", "task", "question", "quirk", "done"]
    if name == "puzzles":
        return pd.DataFrame(columns=columns)
    found = []
    for task in _tasks(name):
        read = _read(name, task)
        ids = [f"{name}/{task}/{n}" for n in range(len(read))]
        mended = [(i, *quirk) for i, each in zip(ids, read, strict=True) for quirk in each.quirks]
        rows = [*mended, *_standing(dict(zip(ids, read, strict=True)))]
        found += [(name, task, *row) for row in sorted(rows, key=lambda row: ids.index(row[0]))]
    return pd.DataFrame(found, columns=columns)


def _standing(read: dict[str, Read]) -> Iterator[tuple[str, str, str]]:
    """Quirks that a question text shows: (id, found, done)."""
    for id, each in read.items():
        listed = options(each.text)
        if len(listed) == 1:
            yield id, "the question is cut off: one option", "kept"
        elif listed and each.answer[1:-1] not in listed:
            yield id, "the gold answer is none of the options", "kept: wrong whatever is answered"
        repeated = {text for text, n in Counter(listed.values()).items() if n > 1}
        if repeated:
            gold = listed.get(each.answer[1:-1]) in repeated
            yield id, f"options of the same text{', the gold one too' if gold else ''}", "kept"
    yield from _twins(read)


def _twins(read: dict[str, Read]) -> Iterator[tuple[str, str, str]]:
    groups = defaultdict(list)
    for id, each in read.items():
        groups[_without_order(each.text)].append(id)
    for ids in groups.values():
        opposite = len({_gold(read[id]) for id in ids}) > 1
        order = ", its options in another order" if len({read[id].text for id in ids}) > 1 else ""
        for id in ids if len(ids) > 1 else ():
            twins = ", ".join(other.rpartition("/")[2] for other in ids if other != id)
            gold = "another" if opposite else "the same"
            yield (
                id,
                f"asked again as {twins}, with {gold} gold answer{order}",
                "kept, on one side of a split",
            )


def _gold(read: Read) -> str:
    """The gold answer, in the words of its option if it is a letter."""
    return options(read.text).get(read.answer[1:-1], read.answer)
