"""Do students fail where they decide? Measured where decisions are known: on puzzles.

A value in a chain is either decided there, so that a mistake of a known kind can strike, or copied
from the question or an earlier step; the rest of the text is wording. This is not the paper's key
step, which is what changes between two CoTs: copying includes the choice of what comes next. Where
a sentence could as well have been worded otherwise, no student can know how it goes on: that token
is free, and of none of these parts. Two questions are asked of each student. Along the right
chain: at which tokens is it unsure? In its own chains: at which does it first go wrong?
"""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate.utils import send_to_device
from scipy import stats
from torch.nn.functional import cross_entropy

from editlib import (
    bases,
    batching,
    checking,
    cores,
    encoding,
    grid,
    keysteps,
    pipeline,
    prompts,
    puzzles,
    ragged,
    statistics,
    students,
    training,
)
from editlib.methods import phases
from editlib.records import Question, read_frame, write_frame
from editlib.workspace import Workspace

PARTS = ("decided", "copied", "wording")  # of a right chain, whose tokens are each of one ...
FREE = "free"  # ... or of this, which is compared with none
BATCH = 8  # rows: the logits of more would not fit a processor's cache
EXPRESSIONS = ("boolean_expressions", "multistep_arithmetic")  # each step copies what is left
PLACES = 41  # of a text, from its start to its end
CODE = (
    bases,
    batching,
    checking,
    keysteps,
    prompts,
    puzzles,
    ragged,
    students,
    training,
    Path(__file__),
)

# --- along the right chain -------------------------------------------------------------------


def gold_path(ws: Workspace, split: str = "test") -> pd.DataFrame:
    """How well each student, and the untrained base, foresees the right chains of a split.

    Returns method, seed, question_id, task, part (in the order of PARTS, then FREE), tokens, nll
    (nats, mean per token), accuracy (share of tokens that would be its first choice, given the
    right ones before).
    """
    methods, seeds = ws.profile.training.methods, ws.profile.training.seeds
    examined = [(grid.UNTRAINED, 0), *((method, seed) for method in methods for seed in seeds)]
    params = {
        "split": split,
        "benchmark": ws.profile.benchmark.model_dump(mode="json"),
        "student": ws.profile.student.model_dump(mode="json"),
        "students": [grid.student_fingerprint(ws, _path(m), s) for m, s in examined],
    }
    code = (*CODE, *bases.base_files(ws.profile.student))
    make = partial(_gold_path, ws, split, examined)
    folder = ws.stage(f"gold path/{split}", make, code=code, params=params)
    gold = read_frame(folder / "gold_path.parquet")
    order = (*PARTS, FREE)
    return gold.sort_values("part", key=lambda part: part.map(order.index), kind="stable")


def _gold_path(ws: Workspace, split: str, examined: list[tuple[str, int]], folder: Path) -> None:
    rows = right_chains(pipeline.split(ws, split), bases.load_tokenizer(ws.profile.student))
    measured = cores.run_all(partial(_foreseen, ws, rows), examined, desc="right chains")
    write_frame(folder / "gold_path.parquet", pd.concat(measured, ignore_index=True))


def _path(method: str) -> tuple:
    return () if method == grid.UNTRAINED else phases(method)


def right_chains(questions: Sequence[Question], tokenizer) -> list[dict]:
    """The right chain of each question as ids, and the part that each of its tokens is of.

    Returns question_id, task, prompt, response (ids), part (str, one per response id): a token is
    FREE where another telling of the chain parts from it.
    """
    segment, rows = keysteps.TokenSegmenter(tokenizer), []
    asked = encoding.prompt_ids(tokenizer, [prompts.student(q.text) for q in questions])
    for question, prompt in zip(questions, asked, strict=True):
        text, others = tellings(question.text)
        segments = segment(text)
        part = parts(question.text, text, segments.spans)
        part[[keysteps.common_prefix(segments.ids, other) for other in segment.ids(others)]] = FREE
        rows.append(
            {
                "question_id": question.id,
                "task": question.task,
                "prompt": prompt,
                "response": segments.ids,
                "part": part,
            }
        )
    return rows


class _Habits(puzzles.Voice):
    """Words a right chain by habit, but one set of wordings otherwise; remembers what it met."""

    def __init__(self, question: str, otherwise: Mapping[tuple[str, ...], str] | None = None):
        super().__init__(question)
        self.otherwise, self.met = otherwise or {}, {}

    def word(self, wordings: tuple[str, ...], place: str, cursor: int) -> tuple[str, int]:
        self.met[wordings], cursor = super().word(wordings, place, cursor)
        return self.otherwise.get(wordings, self.met[wordings]), cursor


def tellings(question: str) -> tuple[str, list[str]]:
    """The right chain of a puzzle, and all that differ from it by one set of wordings.

    A chain words alike what it says again, so each set leaves a choice once, where it is first
    used.
    """
    puzzle, habits = puzzles.read_question(question), _Habits(question)
    text = puzzles.reason(puzzle, habits).text
    others = [
        puzzles.reason(puzzle, _Habits(question, {wordings: other})).text
        for wordings, habit in habits.met.items()
        for other in sorted({*wordings} - {habit})
    ]
    return text, others


def parts(question: str, text: str, spans: Sequence[tuple[int, int]]) -> np.ndarray:
    """Which of PARTS each token of a chain, text[start:end], is of; str (tokens,)."""
    values = [value for step in checking.check(question, text).steps for value in step.values]
    places = {
        key: keysteps.overlaps(spans, [(v.start, v.end) for v in values if v.key is key])
        for key in (True, False)
    }
    return np.select([places[True], places[False]], PARTS[:2], default=PARTS[2])


def _foreseen(ws: Workspace, rows: list[dict], student: tuple[str, int]) -> pd.DataFrame:
    method, seed = student
    if path := _path(method):
        model = students.load(ws.profile.student, grid.student_folder(ws, path, seed))
    else:
        model = students.load_base(ws.profile.student)
    rows = sorted(rows, key=lambda row: len(row["prompt"]) + len(row["response"]))  # little padding
    read = partial(foresight, model, pads=not training.goes_ragged(model))
    tokens = pd.concat(read(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH))
    table = tokens.groupby(["question_id", "task", "part"], sort=False)
    table = table.agg(tokens=("nll", "size"), nll=("nll", "mean"), accuracy=("hit", "mean"))
    return table.reset_index().assign(method=method, seed=seed)[
        ["method", "seed", "question_id", "task", "part", "tokens", "nll", "accuracy"]
    ]


@torch.inference_mode()
def foresight(model, rows: Sequence[dict], pads: bool) -> pd.DataFrame:
    """One row a response token: question_id, task, part, nll (nats), hit (it comes first).

    pads: whether rows are padded to one length, as a decoder needs of which training.goes_ragged
    says no; one of which it was not asked needs it too.
    """
    batch = batching.collate_responses(rows)
    if not pads:
        batch["ragged"] = ragged.pack_responses(rows)
    logits = training.response_logits(model, send_to_device(batch, model.device), "response").cpu()
    ids = torch.tensor([token for row in rows for token in row["response"]])
    sizes = [len(row["response"]) for row in rows]
    return pd.DataFrame(
        {name: np.repeat([row[name] for row in rows], sizes) for name in ("question_id", "task")}
        | {
            "part": np.concatenate([row["part"] for row in rows]),
            "nll": cross_entropy(logits, ids, reduction="none").numpy(),
            "hit": (logits.argmax(-1) == ids).numpy(),
        }
    )


def question_means(gold: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Means over questions, a long one counting as much as a short one, as gaps() compares them.

    Returns the columns of by, questions, nll, accuracy.
    """
    table = gold.groupby(list(by), sort=False)
    means = {name: (name, "mean") for name in ("nll", "accuracy")}
    return table.agg(questions=("question_id", "nunique"), **means).reset_index()


def gaps(gold: pd.DataFrame) -> pd.DataFrame:
    """By how much tokens of one part are missed more often than those of another.

    Paired by question and student; a question counts with its own share, so a difference is that
    of two means of question_means(). Returns method, part, other, seeds, questions, difference
    (share missed, part less other), low, high (95 %, as in _interval), p, p_holm (over all rows).
    """
    rows = [
        {"method": method, "part": part, "other": other} | _tested(_gap(own, part, other, "missed"))
        for method, own in gold.groupby("method", sort=False)
        for part, other in combinations(PARTS, 2)
    ]
    table = pd.DataFrame(rows)
    return table.assign(p_holm=statistics.holm(table["p"]))


def narrowings(gold: pd.DataFrame, method: str, rivals: Sequence[str]) -> pd.DataFrame:
    """Whether a method falls short at decisions by less than others do.

    A gap is what decisions have above another part: of the share of tokens missed, or of the NLL
    (nats). Returns method, baseline, of ("missed", "nll"), part, other, seeds, questions,
    difference (the gap of the method less that of the baseline, paired by question and seed: below
    zero it is narrower), low, high (95 %, as in _interval), p, p_holm (over all rows).
    """
    students = dict(iter(gold.groupby("method", sort=False)))
    rows = []
    for rival, of, other in product(rivals, ("missed", "nll"), PARTS[1:]):
        ours, theirs = (_gap(students[name], PARTS[0], other, of) for name in (method, rival))
        row = {"method": method, "baseline": rival, "of": of, "part": PARTS[0], "other": other}
        rows.append(row | _tested((ours - theirs).dropna(axis=1, how="all")))
    table = pd.DataFrame(rows)
    return table.assign(p_holm=statistics.holm(table["p"]))


def _gap(own: pd.DataFrame, part: str, other: str, of: str) -> pd.DataFrame:
    """What one part has above another, a row a question and a column a seed."""
    shares = own.assign(missed=1 - own["accuracy"])
    shares = shares.pivot(index="question_id", columns=["part", "seed"], values=of)
    return shares[part] - shares[other]


def _tested(differences: pd.DataFrame) -> dict[str, float]:
    scores = differences.dropna().to_numpy()
    counts = {"seeds": scores.shape[1], "questions": len(scores)}
    return counts | {"difference": scores.mean()} | _interval(scores)


def _interval(scores: np.ndarray) -> dict[str, float]:
    """low, high and p of a mean of zero: over seeds and questions, with one seed over questions."""
    found = statistics.estimate(scores)
    if found.seeds > 1:
        return {"low": found.low, "high": found.high, "p": found.p}
    alike = found.p if scores.any() else 1.0  # as statistics.estimate has it of several seeds
    p = stats.ttest_1samp(scores[:, 0], 0).pvalue if np.ptp(scores) else alike
    return {"low": found.low_questions, "high": found.high_questions, "p": p}


# --- in students' own chains -----------------------------------------------------------------


def first_mistakes(chains: pd.DataFrame) -> pd.DataFrame:
    """Whether the first wrong value of a chain is a decision more often than by chance.

    chains: of quality.inspect(). Chance is counted family by family, as families hold more or less
    to decide and fail more or less often: of the values that a method's chains hold up to their
    first wrong one, that one included, the share that are decisions; then its mean over the chains
    with a wrong value. One row a split, method and families ("all", "no expressions": without
    EXPRESSIONS): seeds, chains, wrong (chains with a mistake), of the form (no value, but a
    sentence left out, added or garbled), values (wrong ones), decided (share of those), chance,
    chance_by_length (the same share of characters in place of values), low, high (95 % interval of
    decided, as in _interval, chance taken as known), p (of decided less chance), p_holm (all rows).
    """
    rows = []
    for (split, method), own in chains.groupby(["split", "method"], sort=False):
        plain = own[~own["task"].isin(EXPRESSIONS)]
        groups = {"all": own} | ({"no expressions": plain} if 0 < len(plain) < len(own) else {})
        rows += [
            {"split": split, "method": method, "families": families, **_against_chance(part)}
            for families, part in groups.items()
        ]
    table = pd.DataFrame(rows)
    return table.assign(p_holm=statistics.holm(table["p"]))


def _chance(part: pd.DataFrame, unit: str) -> pd.Series:
    """Of each chain: the share of decisions among what was written in its family so far."""
    sums = part.groupby("task")[[f"decided_{unit}", f"copied_{unit}"]].sum()
    return part["task"].map(sums.iloc[:, 0] / sums.sum(axis=1))


def _against_chance(part: pd.DataFrame) -> dict[str, float]:
    """A row of first_mistakes, without what names it.

    A chain scores 1 less chance where its first wrong value is decided, 0 less chance where it is
    copied, and 0 where it has none: the mean of these over the share of chains that have one is
    decided less chance.
    """
    decided, wrong = part["role"] == "decided", part["role"].isin(["decided", "copied"])
    counts = {"seeds": part["seed"].nunique(), "chains": len(part)}
    counts |= {"wrong": int(part["first"].notna().sum())}
    counts |= {"form": int((part["role"] == "form").sum()), "values": int(wrong.sum())}
    if not wrong.any():
        names = ("decided", "chance", "chance_by_length", "low", "high", "p")
        return counts | dict.fromkeys(names, np.nan)
    chance, by_length = (_chance(part, unit) for unit in ("seen", "length"))
    scores = part.assign(score=(decided - chance).where(wrong, 0.0))
    found = _interval(scores.pivot(index="question_id", columns="seed", values="score").to_numpy())
    expected, share = chance[wrong].mean(), wrong.mean()
    bounds = {name: np.clip(expected + found[name] / share, 0, 1) for name in ("low", "high")}
    shares = {"decided": decided[wrong].mean(), "chance": expected}
    return (
        counts | shares | {"chance_by_length": by_length[wrong].mean()} | bounds | {"p": found["p"]}
    )


def hazards(chains: pd.DataFrame, by: Sequence[str] = ("split", "method")) -> pd.DataFrame:
    """How often a value goes wrong when it is written, as long as all before it were right.

    Returns the columns of by, role ("decided", "copied"), seen (values), wrong, share.
    """
    tables = [
        chains.groupby(list(by), sort=False)
        .agg(seen=(f"{role}_seen", "sum"), wrong=("role", lambda r, role=role: (r == role).sum()))
        .assign(role=role)
        for role in ("decided", "copied")
    ]
    table = pd.concat(tables).reset_index()
    return table.assign(share=table["wrong"] / table["seen"])[
        [*by, "role", "seen", "wrong", "share"]
    ]


def gone_wrong(chains: pd.DataFrame) -> pd.DataFrame:
    """By which place in the text how many chains have gone wrong.

    Returns split, method, place (0: start, 1: end), share (of all chains, 0 to 1).
    """
    places = np.linspace(0, 1, PLACES)
    rows = [
        (split, method, place, (part["position"] <= place).mean())
        for (split, method), part in chains.groupby(["split", "method"], sort=False)
        for place in places
    ]
    return pd.DataFrame(rows, columns=["split", "method", "place", "share"])


def slots(chains: pd.DataFrame, most: int) -> pd.DataFrame:
    """Where chains first go wrong: task, slot, role, kinds, n, the most frequent first."""
    counts = chains.dropna(subset=["first"]).fillna({"slot": "(sentence)"})
    return (
        counts.value_counts(["task", "slot", "role", "kinds"]).rename("n").reset_index().head(most)
    )
