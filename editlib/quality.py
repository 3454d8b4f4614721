"""How good chains of thought are: by the steps that can be checked, and in the eyes of a judge.

Without a judge: every chain on a puzzle is checked step by step (checking.py). With one: three
answers to a question are scored side by side, as Table 28 has it, in every order, so that what a
place in the prompt is worth can be told from what an answer is worth.
"""

import re
from collections import ChainMap
from collections.abc import Mapping, Sequence
from functools import cache, partial
from itertools import permutations
from pathlib import Path
from random import Random
from typing import get_args

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa

from editlib import (
    answers,
    checking,
    cores,
    exams,
    mistakes,
    pipeline,
    prompts,
    puzzles,
    statistics,
)
from editlib.checking import Check
from editlib.completions import CompletionStore, Reply, Request
from editlib.errors import KitError
from editlib.records import CoT, Question, read_frame, write_frame
from editlib.teacher import ManyTeacher, Teacher, ask
from editlib.workspace import Workspace, digest

TEACHER = "teacher"  # as a method among those of the students
ROLES = ("decided", "copied", "form")  # of the place where a chain first goes wrong
SEEN = ("decided_seen", "copied_seen", "decided_length", "copied_length")
SCORES = range(1, 11)
JUDGED = 3  # answers to a prompt
BLOCK = 400  # answers checked by one process at a time

# --- step by step ----------------------------------------------------------------------------


def chains(ws: Workspace) -> pd.DataFrame:
    """Check all answers of students, and the teacher's to the test questions; as inspect() does.

    The column text holds the chains. Raises KitError unless the questions are puzzles.
    """
    if ws.profile.benchmark.name != "puzzles":
        raise KitError(
            f"{ws.profile.benchmark.name}: only chains on puzzles can be checked step by step; "
            "take a profile whose benchmark.name is puzzles"
        )
    params = {"teacher": pipeline.asked_of(ws), **ws.settings("evaluation")}
    code = (answers, checking, puzzles, Path(__file__))
    make = partial(_chains, ws)
    folder = ws.stage("chains", make, inputs=["evaluation"], code=code, params=params)
    return read_frame(folder / "chains.parquet")


def _chains(ws: Workspace, folder: Path) -> None:
    asked = {q.id: q for name in pipeline.evaluated(ws) for q in pipeline.split(ws, name)}
    told = pd.concat([taught(ws, "test"), exams.read_predictions(ws)], ignore_index=True)
    keys = _distinct(told)
    blocks = [keys[start : start + BLOCK] for start in range(0, len(keys), BLOCK)]
    known = ChainMap(*cores.run_all(partial(_known, asked), blocks, desc="chains"))
    inspected = _inspected(told, known)
    write_frame(folder / "chains.parquet", inspected.assign(text=told["text"], read=told["read"]))


def taught(ws: Workspace, split: str) -> pd.DataFrame:
    """The teacher's answers to the questions of a split, in the columns of predictions."""
    rows = []
    asked = pipeline.split(ws, split)
    for question, told in zip(asked, pipeline.teacher_chains(ws, asked), strict=True):
        read = answers.read_for(question, told.text)
        row = {"question_id": question.id, "task": question.task, "split": question.split}
        row |= {"method": TEACHER, "seed": 0, "text": told.text, "answer": question.answer}
        rows.append(row | {"read": read, "correct": answers.agrees(question, read)})
    return pd.DataFrame(rows)


def inspect(predictions: pd.DataFrame, questions: Mapping[str, Question]) -> pd.DataFrame:
    """Check every answer to a puzzle; one row an answer.

    predictions: rows of Prediction. Returns their question_id, task, split, method, seed, correct
    and, of each chain: formed (it has the family's form from start to end), concluded, follows
    (its answer follows from its steps; None: cannot be told), steps, right_steps, judged_steps,
    valid_steps (of those judged, the ones that follow from what was said before), reasoned (all is
    right), lucky (the answer is right and a step is not); and of its first step that does not
    follow, all missing where there is none: first (the index among its steps), number (the
    solver's), position (0: start of the text, 1: end), kinds, role (of ROLES), slot; and how many
    values up to there, that one included, are decisions and how many are copied: decided_seen,
    copied_seen, and their characters: decided_length, copied_length.
    """
    return _inspected(predictions, _known(questions, _distinct(predictions)))


Key = tuple[str, str]  # the id of a question and an answer to it


def _distinct(predictions: pd.DataFrame) -> list[Key]:
    """The answers to check: many students give the same one."""
    pairs = predictions[["question_id", "text"]].drop_duplicates()
    return list(pairs.itertuples(index=False, name=None))


def _known(questions: Mapping[str, Question], keys: Sequence[Key]) -> dict[Key, dict]:
    """What can be said of each answer."""
    return {key: _facts(checking.check(questions[key[0]].text, key[1]), key[1]) for key in keys}


def _inspected(predictions: pd.DataFrame, known: Mapping[Key, dict]) -> pd.DataFrame:
    names = ("question_id", "task", "split", "method", "seed", "correct")
    rows = []
    for row in predictions.to_dict("records"):
        facts = known[row["question_id"], row["text"]]
        lucky = row["correct"] and not facts["reasoned"]
        rows.append({**{name: row[name] for name in names}, **facts, "lucky": lucky})
    return pd.DataFrame(rows)


def first_kinds(chains: pd.DataFrame) -> pd.DataFrame:
    """By which kind of mistake chains first go wrong; what two kinds explain counts for both.

    chains: of inspect(). Returns one row a chain and kind: method, seed, split, task, question_id,
    made (the label of a registered kind), has (0 or 1). A kind that the checker neither knows nor
    named has no rows: that it is never made is not known. Raises UnknownTruth for a kind named
    that is not registered.
    """
    keys = ["method", "seed", "split", "task", "question_id"]
    named = [each.split("+") if each else [] for each in chains["kinds"].fillna("")]
    tables = [
        chains[keys].assign(
            made=mistakes.KINDS[name].short, has=[float(name in each) for each in named]
        )
        for name in mistakes.registered({*get_args(checking.Kind)}.union(*named))
    ]
    return pd.concat(tables, ignore_index=True)


def _facts(check: Check, text: str) -> dict:
    judged = [step for step in check.steps if step.valid is not None]
    return {
        "formed": check.formed,
        "concluded": check.concluded,
        "follows": check.follows,
        "steps": len(check.steps),
        "right_steps": sum(step.right for step in check.steps),
        "judged_steps": len(judged),
        "valid_steps": sum(step.valid for step in judged),
        "reasoned": check.right,
        **_first(check, text),
        **_seen(check),
    }


def _first(check: Check, text: str) -> dict:
    """The first step that does not follow."""
    names = ("first", "number", "position", "kinds", "role", "slot")
    if check.first is None:
        return dict.fromkeys(names)
    step = check.steps[check.first]
    value = step.wrong[0] if step.wrong else None
    role = "form" if value is None else "decided" if value.key else "copied"
    start = (value or step).start / max(1, len(text))
    kinds = "+".join(step.kinds)
    slot = value.name if value else None
    return dict(zip(names, (check.first, step.number, start, kinds, role, slot), strict=True))


def _seen(check: Check) -> dict:
    """How many values of either sort a chain wrote until it went wrong, and their characters."""
    until = len(check.steps) if check.first is None else check.first + 1
    counts = dict.fromkeys(SEEN, 0)
    for value in (value for step in check.steps[:until] for value in step.values):
        role = "decided" if value.key else "copied"
        counts[f"{role}_seen"] += 1
        counts[f"{role}_length"] += value.end - value.start
        if value.wrong:
            break
    return counts


def validity(chains: pd.DataFrame) -> pd.DataFrame:
    """Shares (0 to 1) for each split and method, means over its seeds.

    chains: of inspect(). Returns split, method, seeds, answers, valid (of the steps judged, those
    that follow), right (of all steps), judged (steps of which it can be told), follows (chains
    whose answer follows from their steps), correct, reasoned (right to the last step), lucky
    (right answer, wrong reasoning), and of_correct (the share of right answers that are lucky)
    with low and high: its 95 % t interval over seeds, cut at 0 and 1.
    """
    groups = chains.assign(follows=chains["follows"].eq(True)).groupby(
        ["split", "method", "seed"], sort=False
    )
    sums = groups[["valid_steps", "judged_steps", "right_steps", "steps", "correct", "lucky"]].sum()
    own = groups[["follows", "correct", "reasoned", "lucky"]].mean()
    own["answers"] = groups.size()
    own["valid"] = sums["valid_steps"] / sums["judged_steps"]
    own["right"] = sums["right_steps"] / sums["steps"]
    own["judged"] = sums["judged_steps"] / sums["steps"]
    own["of_correct"] = sums["lucky"] / sums["correct"]
    rows = []
    for (split, method), part in own.groupby(["split", "method"], sort=False):
        _, low, high = statistics.over_seeds(part["of_correct"])
        bounds = dict(zip(("low", "high"), np.clip([low, high], 0, 1), strict=True))
        means = part.mean().to_dict() | bounds | {"seeds": len(part)}
        rows.append({"split": split, "method": method, **means})
    names = ["split", "method", "seeds", "answers", "valid", "right", "judged", "follows"]
    return pd.DataFrame(rows)[
        [*names, "correct", "reasoned", "lucky", "of_correct", "low", "high"]
    ].astype({"answers": int})


def cases(chains: pd.DataFrame, fails: str, succeeds: str) -> list[tuple[str, int]]:
    """Questions where the teacher and one method first go wrong at the same step, and another
    method, of the same seed, is right from start to end; (id, seed), ids in their order.

    chains: of inspect(), the teacher's among them.
    """
    table = chains.set_index(["method", "seed", "question_id"])
    first, reasoned = table["number"], table["reasoned"]
    (taught,) = {seed for method, seed, _ in table.index if method == TEACHER}
    seeds = [{seed for m, seed, _ in table.index if m == name} for name in (fails, succeeds)]
    return [
        (question, seed)
        for question in dict.fromkeys(chains["question_id"])
        for seed in sorted(set.intersection(*seeds))
        if first[TEACHER, taught, question] == first[fails, seed, question]
        and reasoned[succeeds, seed, question]
    ]


def trial(
    cots: Sequence[CoT], truths: Mapping[str, Mapping], questions: Mapping[str, Question]
) -> pd.DataFrame:
    """The checker itself on trial: chains whose mistakes are known beforehand.

    truths: completion key -> mistakes, as pipeline.known_mistakes gives them. Returns for each
    task: clean (chains without a mistake), alarms (those where the checker sees one), slipped
    (chains with one), found (the first is found at its very characters), named (and its step's
    kinds are told), ambiguous (other kinds explain the text as well, the true ones among them),
    unnoted (chains of which nothing is known; they count in no other column).
    """
    tried = [cot for cot in cots if cot.completion in truths]
    rows = [(*_tried(cot, truths[cot.completion]["mistakes"], questions), 0) for cot in tried]
    rows += [(cot.task, *[0] * 6, 1) for cot in cots if cot.completion not in truths]
    columns = ["task", "clean", "alarms", "slipped", "found", "named", "ambiguous", "unnoted"]
    table = pd.DataFrame(rows, columns=columns)
    return table.groupby("task", sort=False).sum().astype(int).reset_index()


def _tried(cot: CoT, known: Sequence[Mapping], questions: Mapping[str, Question]) -> tuple:
    check = checking.check(questions[cot.question_id].text, cot.text)
    if not known:
        return cot.task, 1, not (check.right and check.formed and check.follows), 0, 0, 0, 0
    first = min(known, key=lambda mistake: mistake["start"])
    step = check.steps[check.first] if check.first is not None else None
    spans = [(value.start, value.end) for value in step.wrong] if step else []
    found = spans[:1] == [(first["start"], first["end"])]
    kinds = {mistake["kind"] for mistake in known if mistake["step"] == first["step"]}
    named = found and kinds == {*step.kinds}
    ambiguous = found and not named and kinds <= {*step.kinds, *step.also}
    return cot.task, 0, 0, 1, found, named, ambiguous


_ALTERED = re.compile(r"\d+|True|False|(?<=\()[A-G](?=\))")  # numbers, truth values, options


def alter(text: str, rng: Random) -> tuple[str, int, int] | None:
    """A text with one number, truth value or option exchanged, and where; None: it has none.

    >>> alter("It is False.", Random(0))
    ('It is True.', 6, 10)
    """
    if not (found := list(_ALTERED.finditer(text))):
        return None
    match = rng.choice(found)
    others = {"True": ["False"], "False": ["True"]}.get(match[0])
    if others is None and match[0].isdigit():
        others = [str(int(match[0]) + more) for more in (1, 2, 10)]
    other = rng.choice(others or sorted(set("ABCDEFG") - {match[0]}))
    start = match.start()
    return text[:start] + other + text[match.end() :], start, start + len(other)


def altered_trial(
    chains: pd.DataFrame, questions: Mapping[str, Question], seed: int = 0
) -> pd.DataFrame:
    """The checker on chains of students, each with one value exchanged by hand.

    chains: of chains(). Those are taken that are right from start to end, and no solver has a part
    in what is put into them, so what is wrong with them, and where, is known by another route.
    Returns for each task: altered (chains), step (the first step that does not follow is the one
    altered), found (and the first wrong value of it holds the characters altered).
    """
    right = chains[chains["reasoned"] & (chains["method"] != TEACHER)]
    rows = []
    for row in right.drop_duplicates(["question_id", "text"]).to_dict("records"):
        if altered := alter(row["text"], Random(f"{seed}|{row['question_id']}|{row['text']}")):
            rows.append((row["task"], 1, *_met(questions[row["question_id"]].text, *altered)))
    table = pd.DataFrame(rows, columns=["task", "altered", "step", "found"])
    return table.groupby("task", sort=False).sum().astype(int).reset_index()


def _met(question: str, text: str, start: int, end: int) -> tuple[bool, bool]:
    """Whether the first step that does not follow, and its first wrong value, hold a place."""
    found = checking.check(question, text)
    step = found.steps[found.first] if found.first is not None else None
    places = [step, *step.wrong[:1]] if step else []
    holds = [place.start <= start and end <= place.end for place in places]
    return holds[:1] == [True], holds == [True, True]


# --- a judge ---------------------------------------------------------------------------------


def judge_of(ws: Workspace) -> tuple[Teacher | ManyTeacher, dict]:
    """Who judges in this run: the model that the profile names, else a rule; and its sampling."""
    return pipeline.judge_of(ws) or (RuleJudge(), {})


def judges_itself(ws: Workspace) -> bool:
    """Whether the judge is the teacher's own model, whose answers are among those it scores."""
    judge = ws.profile.judge
    return judge is not None and judge.model == getattr(ws.profile.teacher, "model", None)


def judge(
    judging: Teacher | ManyTeacher,
    told: pd.DataFrame,
    questions: Mapping[str, Question],
    store: CompletionStore,
    run: int = 0,
    **sampling,
) -> pd.DataFrame:
    """Let a teacher score the answers of three methods to each question, in all six orders.

    told: question_id, method, text; three methods a question. run: 0, 1, ...: asked anew.
    sampling: fields of Request; temperature is 0 unless told.
    Returns one row a score: question_id, order (0 to 5), place (1 to 3), method, run, score (1 to
    10; missing where the reply could not be read).
    """
    asked = []
    for name, part in told.groupby("question_id", sort=False):
        texts = dict(zip(part["method"], part["text"], strict=True))
        if len(texts) != JUDGED:
            raise ValueError(f"{name}: answers of {sorted(texts)}, expected {JUDGED} methods")
        asked += [(name, i, order, texts) for i, order in enumerate(permutations(sorted(texts)))]
    settings = {"temperature": 0.0} | sampling
    requests = [
        Request(
            prompts.judge(questions[name].text, [texts[m] for m in order]), sample=run, **settings
        )
        for name, _, order, texts in asked
    ]
    replies = ask(judging, requests, store, "judge")
    rows = []
    for (name, i, order, _), reply in zip(asked, replies, strict=True):
        scores = read_scores(reply.text) or [None] * JUDGED
        rows += [
            (name, i, place, method, run, score)
            for place, (method, score) in enumerate(zip(order, scores, strict=True), start=1)
        ]
    columns = ["question_id", "order", "place", "method", "run", "score"]
    return pd.DataFrame(rows, columns=columns).astype({"score": float})


_REPLY = re.compile("\n".join(rf"Answer {place}: ([1-9]|10)" for place in (1, 2, 3)))


def read_scores(reply: str) -> list[int] | None:
    """The three scores of a reply in exactly the form asked for; None for any other.

    >>> read_scores("Answer 1: 7\\nAnswer 2: 10\\nAnswer 3: 1")
    [7, 10, 1]
    >>> read_scores("Answer 1: 7, Answer 2: 10, Answer 3: 11")
    """
    found = _REPLY.fullmatch(reply.strip())
    return [int(score) for score in found.groups()] if found else None


def balanced(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores of judge(), those of questions not read in all six orders set to missing.

    Where all are read each answer stands twice in each place, so what places are worth cancels
    from the means of answers, and what answers are worth from the means of places.
    """
    whole = scores["score"].notna().groupby(scores["question_id"]).transform("all")
    return scores.assign(score=scores["score"].where(whole))


def score_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean score by method, over the questions that were read in all orders.

    A question counts with its mean over orders; the interval (95 %, t) ranges over questions.
    Returns method, unparsed (share of all its scores), questions, left_out (questions not read in
    all orders), score, low, high; these three are missing where no question is left.
    """
    unparsed = scores["score"].isna().groupby(scores["method"]).mean()
    means = _question_scores(scores)
    rows = [(name, unparsed[name], *_over_questions(means[name])) for name in means]
    names = ["method", "unparsed", "questions", "left_out", "score", "low", "high"]
    return pd.DataFrame(rows, columns=names)


def judged_difference(scores: pd.DataFrame, method: str, baseline: str) -> dict:
    """How many points a method is scored above a baseline, paired by question.

    Questions count as in score_table(). Returns method, baseline, questions, left_out, points, low,
    high (95 %, t over questions).
    """
    means = _question_scores(scores)
    values = (method, baseline, *_over_questions(means[method] - means[baseline]))
    names = ("method", "baseline", "questions", "left_out", "points", "low", "high")
    return dict(zip(names, values, strict=True))


def _question_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean score over orders, one row a question and one column a method."""
    means = balanced(scores).groupby(["question_id", "method"], sort=False)["score"].mean()
    return means.unstack(sort=False)


def _over_questions(values: pd.Series) -> tuple:
    """How many values there are, how many are missing; the mean, low and high."""
    known = values.dropna()
    interval = statistics.over_seeds(known) if len(known) else (np.nan,) * 3
    return len(known), len(values) - len(known), *interval


def position_bias(scores: pd.DataFrame) -> pd.DataFrame:
    """What a place is worth, over the questions that were read in all orders.

    Returns place, score (mean), advantage (points above the other two places).
    """
    places = balanced(scores).groupby("place")["score"]
    sums, n = places.sum(), places.count()  # whole points: no advantage is 0, not nearly 0
    advantage = (JUDGED * sums - sums.sum()) / ((JUDGED - 1) * n)
    return pd.DataFrame({"score": places.mean(), "advantage": advantage}).reset_index()


def agreement(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, float]:
    """How well two runs, or two judges, agree on the same prompts.

    first, second: of judge(). Returns n (scores that both gave), kappa (Cohen's, with quadratic
    weights; nan where one score is all there is), spearman, same (share of equal scores).
    """
    keys = ["question_id", "order", "place"]
    both = first.merge(second, on=keys, suffixes=("", "_2")).dropna(subset=["score", "score_2"])
    table = pd.crosstab(both["score"], both["score_2"])
    table = table.reindex(index=SCORES, columns=SCORES, fill_value=0)
    same = (both["score"] == both["score_2"]).mean()
    found = {"n": len(both), "kappa": np.nan, "spearman": np.nan, "same": same}
    if both["score"].nunique() > 1 and both["score_2"].nunique() > 1:
        found["kappa"] = cohens_kappa(table.to_numpy(), wt="quadratic", return_results=False)
        found["spearman"] = stats.spearmanr(both["score"], both["score_2"]).statistic
    return found


_MARK = re.compile(r"^=== (Question|Answer \d|End) ===$\n?", re.MULTILINE)
_MARKS = ["Question", "Answer 1", "Answer 2", "Answer 3", "End"]  # of the prompt, in order


class RuleJudge:
    """A judge that is no language model: it checks the steps of answers to puzzles, by rule.

    It sees nothing but the text of the prompt, as a model would, so the whole path of a judge runs
    without one. It has no taste, no moods and no favourite place; its scores are no opinion.
    """

    def __init__(self) -> None:
        self.name = f"rule-{digest(Path(__file__), checking, puzzles)[:12]}"

    def complete(self, request: Request) -> Reply:
        """Three scores; for a prompt that asks for none, or about no puzzle, a refusal."""
        _, *parts = _MARK.split(request.prompt)
        if parts[::2] != _MARKS:  # such as an answer that holds a mark itself
            return Reply("I cannot tell the answers apart.", "stop", None, None)
        question, *told = (part.strip() for part in parts[1:-1:2])
        try:
            scores = [_score(question, answer) for answer in told]
        except puzzles.UnknownPuzzle:
            return Reply("I cannot judge this question.", "stop", None, None)
        lines = [f"Answer {place}: {score}" for place, score in enumerate(scores, start=1)]
        return Reply("\n".join(lines), "stop", None, None)


@cache
def _score(question: str, answer: str) -> int:
    """1, and up to 4 for steps that follow, 3 for right ones, 2 for a right answer that follows."""
    check = checking.check(question, answer)
    valid = np.mean([step.valid is True for step in check.steps])
    right = np.mean([step.right for step in check.steps])
    gold = puzzles.reason(puzzles.read_question(question), puzzles.Voice(question)).answer
    reached = check.follows is True and answers.read_answer(answer) == gold
    return round(1 + 4 * float(valid) + 3 * float(right) + 2 * reached)
