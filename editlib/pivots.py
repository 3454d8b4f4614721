"""Do students fail at key steps? Measured where the key steps are known: on puzzles.

A value in a chain is either decided there, so that a mistake of a known kind can strike, or copied
from the question or an earlier step; the rest of the text is wording. Two questions are asked of
each student. Along the right chain: at which of these tokens is it unsure? In its own chains: at
which does it first go wrong?
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from editlib import (
    bases,
    batching,
    checking,
    cores,
    grid,
    keysteps,
    objectives,
    pipeline,
    prompts,
    puzzles,
    students,
)
from editlib.methods import phases
from editlib.records import Question, read_frame, write_frame
from editlib.workspace import Workspace

PARTS = ("decided", "copied", "wording")  # of a right chain; each token is of one
BATCH = 32
PLACES = 41  # of a text, from its start to its end
CODE = (bases, batching, checking, keysteps, objectives, prompts, puzzles, students, Path(__file__))

# --- along the right chain -------------------------------------------------------------------


def gold_path(ws: Workspace, split: str = "test") -> pd.DataFrame:
    """How well each student, and the untrained base, foresees the right chains of a split.

    Returns method, seed, task, part (in the order of PARTS), tokens, nll (nats, mean per token),
    accuracy (share of tokens that would be its first choice, given the right ones before).
    """
    methods, seeds = ws.profile.training.methods, ws.profile.training.seeds
    examined = [(grid.UNTRAINED, 0), *((method, seed) for method in methods for seed in seeds)]
    params = {
        "split": split,
        "benchmark": ws.profile.benchmark.model_dump(mode="json"),
        "student": ws.profile.student.model_dump(mode="json"),
        "adapters": [grid.adapter_fingerprint(ws, _path(m), s) for m, s in examined],
    }
    code = (*CODE, *bases.base_files(ws.profile.student))
    make = partial(_gold_path, ws, split, examined)
    folder = ws.stage(f"gold path/{split}", make, code=code, params=params)
    gold = read_frame(folder / "gold_path.parquet")
    return gold.sort_values("part", key=lambda part: part.map(PARTS.index), kind="stable")


def _gold_path(ws: Workspace, split: str, examined: list[tuple[str, int]], folder: Path) -> None:
    rows = right_chains(pipeline.split(ws, split), bases.load_tokenizer(ws.profile.student))
    measured = cores.run_all(partial(_foreseen, ws, rows), examined, desc="right chains")
    write_frame(folder / "gold_path.parquet", pd.concat(measured, ignore_index=True))


def _path(method: str) -> tuple:
    return () if method == grid.UNTRAINED else phases(method)


def right_chains(questions: Sequence[Question], tokenizer) -> list[dict]:
    """The right chain of each question as ids, and the part that each of its tokens is of.

    Returns task, prompt, response (ids), part (str, one per response id).
    """
    segment, rows = keysteps.TokenSegmenter(tokenizer), []
    for question in questions:
        voice = puzzles.Voice(question.text)
        text = puzzles.reason(puzzles.read_question(question.text), voice).text
        segments = segment(text)
        rows.append(
            {
                "task": question.task,
                "prompt": batching.prompt_ids(tokenizer, prompts.student(question.text)),
                "response": segments.ids,
                "part": parts(question.text, text, segments.spans),
            }
        )
    return rows


def parts(question: str, text: str, spans: Sequence[tuple[int, int]]) -> np.ndarray:
    """The part of a chain that each token, text[start:end], is of; str (tokens,)."""
    values = [value for step in checking.check(question, text).steps for value in step.values]
    places = {
        key: keysteps.overlaps(spans, [(v.start, v.end) for v in values if v.key is key])
        for key in (True, False)
    }
    return np.select([places[True], places[False]], PARTS[:2], default=PARTS[2])


def _foreseen(ws: Workspace, rows: list[dict], student: tuple[str, int]) -> pd.DataFrame:
    cores.settle()
    method, seed = student
    model = students.load_base(ws.profile.student)
    if path := _path(method):
        model = students.load_adapter(model, grid.adapter(ws, path, seed)).merge_and_unload()
    tokens = pd.concat(
        foresight(model, rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)
    )
    table = tokens.groupby(["task", "part"], sort=False)
    table = table.agg(tokens=("nll", "size"), nll=("nll", "mean"), accuracy=("hit", "mean"))
    return table.reset_index().assign(method=method, seed=seed)[
        ["method", "seed", "task", "part", "tokens", "nll", "accuracy"]
    ]


@torch.inference_mode()
def foresight(model, rows: Sequence[dict]) -> pd.DataFrame:
    """One row a response token: task, part, nll (nats), hit (it would be the first choice)."""
    batch = batching.collate_responses(rows)
    ids, mask = (batch[name].to(model.device) for name in ("input_ids", "attention_mask"))
    logits = model(input_ids=ids, attention_mask=mask).logits
    nll = -objectives.token_logp(logits, ids).cpu()
    hit = torch.nn.functional.pad(logits[:, :-1].argmax(-1) == ids[:, 1:], (1, 0)).cpu()
    frames = [
        pd.DataFrame({"part": row["part"], "nll": n[r].numpy(), "hit": h[r].numpy()}).assign(
            task=row["task"]
        )
        for row, n, h, r in zip(rows, nll, hit, batch["response"], strict=True)
    ]
    return pd.concat(frames, ignore_index=True)


def pooled(gold: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Means over tokens for each group: the columns of by, tokens, nll, accuracy."""
    weighted = gold.assign(**{name: gold[name] * gold["tokens"] for name in ("nll", "accuracy")})
    table = weighted.groupby(list(by), sort=False)[["tokens", "nll", "accuracy"]].sum()
    return table.assign(
        nll=table["nll"] / table["tokens"], accuracy=table["accuracy"] / table["tokens"]
    ).reset_index()


# --- in students' own chains -----------------------------------------------------------------


def first_mistakes(chains: pd.DataFrame) -> pd.DataFrame:
    """Whether the first wrong value of a chain is a decision more often than by chance.

    chains: of quality.inspect(). Chance is the share of decisions among all values that the chains
    of a student hold up to their first wrong one, that one included: if every value were as
    likely to go wrong, this share of the first mistakes would be decisions. One row a student and
    split, whose chains answer different questions: split, method, seed, chains, wrong (chains with
    a mistake), of the form (no value, but a sentence left out, added or garbled), values (wrong
    ones), decided (share of those), low, high (95 % Wilson interval over chains), chance, p
    (two-sided binomial test), p_holm (corrected over all rows).
    """
    rows = []
    for (split, method, seed), part in chains.groupby(["split", "method", "seed"], sort=False):
        values = part["role"].isin(["decided", "copied"]).sum()
        decided = int((part["role"] == "decided").sum())
        seen = part[["decided_seen", "copied_seen"]].sum()
        chance = seen["decided_seen"] / max(1, seen.sum())
        row = {"split": split, "method": method, "seed": seed, "chains": len(part)}
        row |= {
            "wrong": int(part["first"].notna().sum()),
            "form": int((part["role"] == "form").sum()),
        }
        rows.append({**row, "values": int(values), **_against(decided, int(values), chance)})
    table = pd.DataFrame(rows)
    return table.assign(p_holm=multipletests(table["p"], method="holm")[1])


def _against(decided: int, values: int, chance: float) -> dict[str, float]:
    """A share beside that of chance, and how surprising it is."""
    if not values:
        return dict.fromkeys(("decided", "low", "high"), np.nan) | {"chance": chance, "p": 1.0}
    low, high = proportion_confint(decided, values, method="wilson")
    p = stats.binomtest(decided, values, chance).pvalue
    return {"decided": decided / values, "low": low, "high": high, "chance": chance, "p": p}


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
