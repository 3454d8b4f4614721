"""The grid of students: every method and seed, trained and examined, on all cores there are.

A cell is one training phase of one seed. Methods that begin alike share their first cell. Each
cell is a stage of its own, so a killed run loses at most the cells in flight.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from editlib import (
    answers,
    bases,
    batching,
    budget,
    cores,
    decoding,
    drafts,
    encoding,
    evaluation,
    folded,
    keysteps,
    locators,
    marks,
    mistakes,
    newest,
    objectives,
    pair_sets,
    pipeline,
    prompts,
    ragged,
    reading,
    students,
    training,
    unread,
    views,
)
from editlib.errors import KitError
from editlib.methods import (
    EDIT_DISTANCE,
    HIGHEST_LOSS,
    KNOWN,
    METHODS,
    MISTAKES,
    Asked,
    Phase,
    asked,
    phases,
)
from editlib.pair_sets import PAIR_SETS
from editlib.profiles import DPO, Optimization
from editlib.records import DualCoT, read_table, write_frame
from editlib.workspace import MissingInput, Workspace, digest

UNTRAINED = "Base student"
PROBE = 128  # pairs whose key and routine tokens are followed through training
ASKED = {"validation": "validation", "paper": "test", "last": None}  # rule: whose answers choose
PROBED_AT_ONCE = 8  # pairs: the logits of 128 would not fit a processor's cache
TRAINING = (
    bases,
    batching,
    folded,
    keysteps,
    locators,
    marks,
    newest,
    objectives,
    pair_sets,
    ragged,
    training,
    unread,
    students,
    answers,
    reading,
    decoding,
    drafts,
    encoding,
    evaluation,
    prompts,
    views,
    Path(__file__),
)


@dataclass(frozen=True)
class Cell:
    """One training phase: the last of path, after those before it, with one seed."""

    path: tuple[Phase, ...]
    seed: int

    @property
    def name(self) -> str:
        """The stage of this cell, readable as a folder name."""
        return f"students/{' then '.join(map(str, self.path))}/seed {self.seed}"


def cells(seeds: Mapping[str, Iterable[int]]) -> list[Cell]:
    """All cells, those of first phases before those of second ones and so on; none twice.

    seeds: of each method.
    """
    found = [
        Cell(phases(method)[:n], seed)
        for method in seeds
        for n in range(1, len(phases(method)) + 1)
        for seed in seeds[method]
    ]
    return sorted(dict.fromkeys(found), key=lambda cell: len(cell.path))


# --- what a phase learns from ----------------------------------------------------------------


def phase_rows(ws: Workspace, data: str) -> tuple[list[dict], int]:
    """Rows of a view of the data as ids, and how many were too long for the student.

    Raises KitError where all of them are.
    """
    tokenizer = bases.load_tokenizer(ws.profile.student)
    if data in views.VIEWS:
        return _responses(ws, data, tokenizer)
    rows = _pairs(ws, data, tokenizer)
    kept = [row for row in rows if _fits(row, ws.profile.student.max_length)]
    _some_fit(ws, data, rows, kept)
    return kept, len(rows) - len(kept)


def _some_fit(ws: Workspace, data: str, rows: Sequence, kept: Sequence) -> None:
    if rows and not kept:
        raise KitError(
            f"student.max_length {ws.profile.student.max_length}: none of the {len(rows)} rows of "
            f"{data} is that short, prompt and response together. Raise it"
        )


def _responses(ws: Workspace, data: str, tokenizer) -> tuple[list[dict], int]:
    told = view(ws, data)
    parts = [part for row in told for part in row]
    encoded = zip(
        parts,
        encoding.prompt_ids(tokenizer, [part.prompt for part in parts]),
        encoding.response_ids(tokenizer, [part.response for part in parts]),
        strict=True,
    )
    made = ({"task": part.task, "prompt": p, "response": r} for part, p, r in encoded)
    rows = [[next(made) for _ in row] for row in told]
    limit = ws.profile.student.max_length
    kept = [row for row in rows if all(_fits(part, limit) for part in row)]
    _some_fit(ws, data, rows, kept)
    return views.weighed(data, kept), len(rows) - len(kept)


def view(ws: Workspace, data: str) -> list[views.Row]:
    """A view made of responses, as texts."""
    questions = {question.id: question.text for question in pipeline.read_annotation(ws)[0]}
    again = pipeline.read_resampled(ws) if data == views.RESAMPLED else ()
    return views.rows(data, questions, pipeline.read_duals(ws)[0], again)


def _pairs(ws: Workspace, data: str, tokenizer) -> list[dict]:
    frame = pipeline.read_keysteps(ws)
    if data != "Ddual":
        frame = frame[frame["subset"] == data]
    return _marked(pipeline.read_duals(ws)[1], frame, tokenizer)


def _own(ws: Workspace, name: str) -> list[dict]:
    """The rows of a set of pairs that own_sets.train has kept, but for those that do not fit."""
    path = own_set(ws, name)
    if not path.exists():
        raise MissingInput(f"no set of pairs in {path}: own_sets.train keeps those it is given")
    duals, tokenizer = read_table(path, DualCoT), bases.load_tokenizer(ws.profile.student)
    marked = keysteps.mark(duals, pipeline.segmenter(ws), ws.profile.keysteps.ties)
    rows = _marked(duals, marked, tokenizer)
    return [row for row in rows if _fits(row, ws.profile.student.max_length)]


def own_set(ws: Workspace, name: str) -> Path:
    """Where a set of pairs of one's own lies (DualCoT)."""
    return ws.artifacts / "sets" / name / "duals.parquet"


def _marked(duals: Sequence[DualCoT], frame: pd.DataFrame, tokenizer) -> list[dict]:
    """Rows as training takes them; frame: the key marks, of keysteps.mark."""
    asked = encoding.prompt_ids(tokenizer, [prompts.student(pair.question) for pair in duals])
    prompt = dict(zip([pair.id for pair in duals], asked, strict=True))
    sides = ["correct_ids", "correct_key", "wrong_ids", "wrong_key"]
    return [
        {
            "id": row["id"],
            "prompt": prompt[row["id"]],
            "correct": np.asarray(row["correct_ids"]).tolist(),
            "correct_key": row["correct_key"],
            "wrong": np.asarray(row["wrong_ids"]).tolist(),
            "wrong_key": row["wrong_key"],
        }
        for row in frame[["id", *sides]].to_dict("records")
    ]


def drawn(ws: Workspace, phase: Phase) -> list[dict]:
    """The rows of a phase's view; of pairs, those of its set or own, or those drawn for its kind.

    The kinds (Table 7) are those that the puzzle teacher knows. Each has equally many pairs, and
    equally many of each task and subset.
    """
    if phase.own is not None:
        return _own(ws, phase.own)
    rows, _ = phase_rows(ws, phase.data)
    if phase.pairs is not None:
        return _of_set(ws, phase.pairs, rows)
    if phase.kind is None:
        return rows
    pairs = pipeline.read_duals(ws)[1]
    truths = pipeline.known_mistakes(ws, [pair.wrong_completion for pair in pairs])
    columns = ["id", "task", "subset"]
    table = pd.DataFrame([[getattr(pair, name) for name in columns] for pair in pairs])
    table = table.set_axis(columns, axis=1).assign(
        kinds=[mistakes.kinds_of(truths[pair.wrong_completion]) for pair in pairs]
    )
    fitting = table[table["id"].isin([row["id"] for row in rows])]
    found = mistakes.balanced(fitting, MISTAKES, seed=0, within=("subset", "task"))
    chosen = set(found.loc[found["kind"] == phase.kind, "id"])
    return [row for row in rows if row["id"] in chosen]


def _of_set(ws: Workspace, name: str, rows: list[dict]) -> list[dict]:
    """The rows of a set of pairs, which is made of those that fit; reworded ones must fit too."""
    fitting = {row["id"] for row in rows}
    duals = [pair for pair in pipeline.read_duals(ws)[1] if pair.id in fitting]
    chosen, ties = PAIR_SETS[name].make(duals), ws.profile.keysteps.ties
    found = pair_sets.rows_of(chosen, rows, pipeline.segmenter(ws), ties)
    return [row for row in found if _fits(row, ws.profile.student.max_length)]


def rows_of(ws: Workspace, phase: Phase) -> list[dict]:
    """What a phase learns from: the rows of its view, key marks as its locator sets them.

    Marks by highest loss are those of edit distance until there is a student (readied).
    """
    rows = drawn(ws, phase)
    if phase.objective != "krsl" or phase.key in (EDIT_DISTANCE, HIGHEST_LOSS):
        return rows
    pairs = {pair.id: pair for pair in pipeline.read_duals(ws)[1]}
    wrong = [pairs[row["id"]].wrong_completion for row in rows]
    truths = pipeline.known_mistakes(ws, wrong) if phase.key == KNOWN else {}
    return marks.marked(rows, pairs, pipeline.segmenter(ws), phase.key, truths)


def readied(ws: Workspace, cell: Cell, settings: Optimization, rows: list[dict]) -> list[dict]:
    """The rows with what the student that a cell starts from makes of them, where it is needed.

    That is the log-probability of both sides for the losses that compare with a reference, and the
    tokens of highest loss for the locator of that name.
    """
    surprise = cell.path[-1].key == HIGHEST_LOSS
    if not surprise and not isinstance(settings, DPO):
        return rows
    logp = training.pair_logp(_student(ws, cell), rows, settings.batch, _in_half(ws))
    if surprise:
        return marks.of_highest_loss(rows, logp)
    return [
        row | {f"{side}_reference": float(own[side].sum()) for side in own}
        for row, own in zip(rows, logp, strict=True)
    ]


def _fits(row: dict, max_length: int) -> bool:
    sides = [row[side] for side in ("response", "correct", "wrong") if side in row]
    return batching.fits(max_length, row["prompt"], *sides)


def schedule(ws: Workspace, path: Sequence[Phase]) -> tuple[Optimization, int | None]:
    """Settings and number of updates (None: all epochs) of the last phase of a path."""
    phase = path[-1]
    settings = ws.profile.training.of(phase)
    if phase.as_long_as is None:
        return settings, None
    before = sum(updates(ws, path[:n]) for n in range(1, len(path)))
    goal = phases(phase.as_long_as)
    left = sum(updates(ws, goal[:n]) for n in range(1, len(goal) + 1)) - before
    if left < 1:
        raise KitError(
            f"{phase_names(path)}: {phase.as_long_as} makes no more updates than the phases before"
        )
    decay = settings.lr_decay**settings.epochs  # it goes on at the rate where the first phase ended
    rates = {"lr": decay * settings.lr, "also_try": [decay * rate for rate in settings.also_try]}
    return settings.model_copy(update=rates), left


def updates(ws: Workspace, path: Sequence[Phase]) -> int:
    """Optimizer steps of the last phase of a path."""
    settings, limit = schedule(ws, path)
    if limit is not None:
        return limit
    return settings.epochs * training.updates_per_epoch(len(drawn(ws, path[-1])), settings)


# --- 04: training ----------------------------------------------------------------------------


def plan(ws: Workspace) -> Path:
    """What each phase of each method learns from and for how long; makes plan.parquet.

    Its rows: method, phase (1: the first), what (the phase in words), data, rows, too_long (rows of
    data that do not fit the student), updates, tokens (of budget.tokens_read).
    """
    return ws.stage("plan", partial(_plan, ws), inputs=_inputs(ws), code=TRAINING)


def _plan(ws: Workspace, folder: Path) -> None:
    paths = [
        (method, phases(method)[:n])
        for method in ws.profile.training.students
        for n in range(1, len(phases(method)) + 1)
    ]
    too_long = {data: phase_rows(ws, data)[1] for data in {path[-1].data for _, path in paths}}
    costs = {path: _cost(ws, path) for path in {path for _, path in paths}}
    rows = []
    for method, path in paths:
        last, (learnt, made, tokens) = path[-1], costs[path]
        counts = learnt, too_long[last.data], made, tokens
        rows.append((method, len(path), str(last), last.data, *counts))
    columns = ["method", "phase", "what", "data", "rows", "too_long", "updates", "tokens"]
    write_frame(folder / "plan.parquet", pd.DataFrame(rows, columns=columns))


def _inputs(ws: Workspace) -> list[str]:
    """The stages that training learns from."""
    learnt = {phase.data for method in ws.profile.training.students for phase in phases(method)}
    more = [pipeline.resample(ws).name] if views.RESAMPLED in learnt else []
    return ["annotation", "duals", "keysteps", *more]


def train(ws: Workspace) -> Path:
    """Train every method of the profile with every seed.

    Makes history.parquet (phases, seed, lr, kept: whether the student of this rate was kept, and
    the Trainer's log: step, epoch, loss, ...), choices.parquet (the table of choices) and
    probes.parquet (phases, seed, and mean NLL of key and routine tokens of both sides of a fixed
    sample of training pairs). The students lie in the stages of the cells.
    """
    return ws.stage(
        "training",
        partial(_train, ws),
        inputs=_inputs(ws),
        code=(*TRAINING, *bases.base_files(ws.profile.student)),
    )


def _train(ws: Workspace, folder: Path) -> None:
    trained = cells(ws.profile.training.students)
    cores.run_all(partial(train_cell, ws), longest_first(ws, trained), desc="training phases")
    history = pd.concat(_history(ws, c) for c in trained)
    write_frame(folder / "history.parquet", history)
    write_frame(folder / "choices.parquet", choices(history, list(ws.profile.training.students)))
    base = pd.DataFrame(
        [{"phases": UNTRAINED, "seed": 0, **probe(ws, students.load_base(ws.profile.student))}]
    )
    write_frame(folder / "probes.parquet", pd.concat([base, *(_probes(ws, c) for c in trained)]))


def longest_first(ws: Workspace, found: Sequence[Cell]) -> list[Cell]:
    """The order that leaves cores idle least: first phases first, and of each what reads most."""
    tokens = {path: _at_all_rates(ws, path) for path in dict.fromkeys(cell.path for cell in found)}
    return sorted(found, key=lambda cell: (len(cell.path), -tokens[cell.path]))


def _at_all_rates(ws: Workspace, path: Sequence[Phase]) -> int:
    """The tokens that the last phase of a path reads, at all of its rates."""
    return _cost(ws, path)[2] * (1 + len(schedule(ws, path)[0].also_try))


def _cost(ws: Workspace, path: Sequence[Phase]) -> tuple[int, int, int]:
    """Rows that the last phase of a path learns from, updates it makes, tokens it reads in them."""
    rows, made = drawn(ws, path[-1]), updates(ws, path)
    tokens = budget.tokens_read(rows, schedule(ws, path)[0], made) if rows else 0
    return len(rows), made, tokens


def train_cell(ws: Workspace, cell: Cell) -> Path:
    """Train one cell, from the student of the cell before it; returns the folder of its stage.

    Where that one is not there yet it is made first or, while another process makes it, waited for.
    """
    if len(cell.path) > 1:
        train_cell(ws, replace(cell, path=cell.path[:-1]))
    settings, limit = schedule(ws, cell.path)
    rows = rows_of(ws, cell.path[-1])
    params = {
        "cell": cell.name,
        "seed": cell.seed,
        "settings": settings.model_dump(mode="json"),
        "updates": limit,
        "checkpoint": ws.profile.training.checkpoint,
        "follow_test": _follows(ws, cell),
        "asked": asked(cell.path),
        "student": ws.profile.student.model_dump(mode="json"),
        "base": digest(*bases.base_files(ws.profile.student)),
        "rows": digest([_plain(part) for part in batching.parts(rows)]),
        "before": student_fingerprint(ws, cell.path[:-1], cell.seed),
        "validation": ws.profile.benchmark.model_dump(mode="json"),
    }
    make = partial(_train_cell, ws, cell, rows, settings, limit, digest(params))
    return ws.stage(cell.name, make, code=TRAINING, params=params)


def _train_cell(ws, cell, rows, settings, limit, fingerprint, folder: Path) -> None:
    scratch = ws.artifacts / "checkpoints" / fingerprint
    rules, how = ws.profile.training, asked(cell.path)
    asked_for = ASKED[rules.checkpoint]
    before = _record(ws, replace(cell, path=cell.path[:-1]))["said"] if cell.path[1:] else ()
    score = Exam(ws, asked_for, how, before) if asked_for else None
    follow = Exam(ws, "test", how) if _follows(ws, cell) else None
    rows = readied(ws, cell, settings, rows)
    given = {"seed": cell.seed, "updates": limit, "bf16": _in_half(ws)}
    given |= {"score": score, "follow": follow}
    kept, best, history = None, -1.0, []
    for lr in (settings.lr, *settings.also_try):
        model, trial = _student(ws, cell), settings.model_copy(update={"lr": lr})
        log = training.fit(model, rows, trial, scratch=scratch / f"{lr:g}", **given)
        history += [entry | {"lr": lr} for entry in log]
        if (reached := training.best_score(log)) > best:
            kept, best, chosen = model, reached, lr
    kept.save_pretrained(folder / _form(ws))
    record = {"history": history, "chosen_lr": chosen, "probe": probe(ws, kept)}
    record["said"] = score.best if score else ()
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
    training.discard(scratch)


def _in_half(ws: Workspace) -> bool:
    """Whether students compute in bfloat16 while they train."""
    return students.dtype(ws.profile.student) is torch.bfloat16


def _follows(ws: Workspace, cell: Cell) -> bool:
    """Whether the test questions are answered after each epoch of a cell."""
    paths = map(phases, ws.profile.training.methods)
    return ws.profile.training.follow_test and cell.path in paths


def _student(ws: Workspace, cell: Cell):
    """What a cell trains: a fresh student, or a copy of the one that the cell before it left."""
    if len(cell.path) == 1:
        return students.fresh(ws.profile.student, cell.seed)
    before = student_folder(ws, cell.path[:-1], cell.seed)
    return students.load(ws.profile.student, before, trainable=True)


@dataclass
class Exam:
    """Share of a split's questions that a student answers right, asked as its method asks.

    It is held again and again while a student learns: what that one said it may well say again.
    """

    ws: Workspace
    split: str
    how: Asked
    said: Sequence[str] = ()  # to each question, last time or by the student before the phase
    best: Sequence[str] = ()  # the same when most were right, the first of equals
    highest: float = -1.0

    def __call__(self, model) -> float:
        reached = self._held(model)
        if reached > self.highest:
            self.highest, self.best = reached, self.said
        return reached

    def _held(self, model) -> float:
        profile, questions = self.ws.profile, pipeline.split(self.ws, self.split)
        tokenizer = bases.load_tokenizer(profile.student)
        how = {"asked": self.how, "likely": self.said}
        with students.merged(model):
            answered = evaluation.answer(
                model, tokenizer, questions, profile.decoding, self.split, 0, **how
            )
        self.said = [each.text for each in answered]
        return evaluation.share_correct(answered)


def _plain(row: dict) -> dict:
    """A row's id, token ids, marks and weight as what JSON can hold."""
    return {k: v if isinstance(v, float | str) else list(map(int, v)) for k, v in row.items()}


def probe(ws: Workspace, model) -> dict[str, float]:
    """Mean NLL (nats) of key and routine tokens of both sides, over a fixed sample of pairs."""
    rows, _ = phase_rows(ws, "Ddual")
    sample = sampled(rows)
    read = training.pair_logp(model, sample, PROBED_AT_ONCE)
    found = {}
    for side in ("correct", "wrong"):
        nll = -np.concatenate([logp[side] for logp in read])
        key = np.concatenate([row[f"{side}_key"] for row in sample]).astype(bool)
        found |= {f"{side}_key": float(nll[key].mean())}
        found |= {f"{side}_routine": float(nll[~key].mean())}
    return found


def sampled(rows: Sequence[dict]) -> list[dict]:
    """At most PROBE rows, evenly spaced from the first to the last: they lie task by task."""
    places = np.linspace(0, len(rows) - 1, min(PROBE, len(rows)))
    return [rows[place] for place in places.round().astype(int)]


def _form(ws: Workspace) -> str:
    """What training leaves of a student, as the name of its folder."""
    return "model" if ws.profile.student.lora is None else "adapter"


def student_folder(ws: Workspace, path: Sequence[Phase], seed: int) -> Path:
    """The student that a path of phases left; raises MissingInput if it is not there."""
    folder = ws.artifacts / Cell(tuple(path), seed).name / _form(ws)
    if not folder.is_dir():
        raise MissingInput(
            f"no trained student in {folder}. Delete {ws.artifacts / 'training'} and run notebook "
            f"04_edit_training.ipynb again, which then trains what is missing "
            f"({ws.command('04_edit_training')})"
        )
    return folder


def student_fingerprint(ws: Workspace, path: Sequence[Phase], seed: int) -> str | None:
    """Of the weights of a trained student; None for no path."""
    if not path:
        return None
    return digest(*sorted(student_folder(ws, path, seed).glob("*.safetensors")))


def _record(ws: Workspace, cell: Cell) -> dict:
    return json.loads((ws.artifacts / cell.name / "record.json").read_text(encoding="utf-8"))


def _history(ws: Workspace, cell: Cell) -> pd.DataFrame:
    keep = [
        "lr",
        "step",
        "epoch",
        "loss",
        "nll",
        "correct_key",
        "wrong_key",
        "correct_logp",
        "wrong_logp",
        "learning_rate",
        "eval_accuracy",
        "eval_test_accuracy",
    ]
    record = _record(ws, cell)
    frame = pd.DataFrame(record["history"]).reindex(columns=keep)
    kept = frame["lr"] == record["chosen_lr"]
    return frame.assign(kept=kept, phases=phase_names(cell.path), seed=cell.seed)


def _probes(ws: Workspace, cell: Cell) -> pd.DataFrame:
    row = {"phases": phase_names(cell.path), "seed": cell.seed, **_record(ws, cell)["probe"]}
    return pd.DataFrame([row])


def phase_names(path: Sequence[Phase]) -> str:
    """A path of phases in words."""
    return ", then ".join(map(str, path))


def validated(history: pd.DataFrame) -> pd.DataFrame:
    """The epochs that answered validation questions, of each method's last phase.

    history: of train. Returns method, seed, lr, epoch, accuracy, chosen (the best of a method and
    seed, the first of equals).
    """
    method_of = {phase_names(phases(name)): name for name in METHODS}
    scored = history.assign(
        method=history["phases"].map(method_of), accuracy=history["eval_accuracy"]
    )
    scored = scored.dropna(subset="accuracy")[["method", "seed", "lr", "epoch", "accuracy"]]
    scored = scored.reset_index(drop=True)
    best = scored.groupby(["method", "seed"])["accuracy"].idxmax()
    return scored.assign(chosen=scored.index.isin(best))


def rates(epochs: pd.DataFrame, by: Sequence[str] = ("objective",)) -> pd.DataFrame:
    """How well each learning rate validates: the best epoch, mean over phases and seeds.

    epochs: method, seed, lr, epoch, accuracy. by: "objective", or that and "phase", which is the
    last one of a method by its name. Returns by, lr, phases (how many, each seed's counted),
    accuracy; a control that goes on at another phase's rate is left out.
    """
    best = epochs.groupby(["method", "lr", "seed"], sort=False, as_index=False)["accuracy"].max()
    last = best["method"].map(lambda method: phases(method)[-1])
    best = best.assign(objective=[p.objective for p in last], phase=[str(p) for p in last])
    own = best[[phase.as_long_as is None for phase in last]]
    groups = own.groupby([*by, "lr"], sort=True)["accuracy"]
    return groups.agg(phases="size", accuracy="mean").reset_index()


def choices(history: pd.DataFrame, methods: Iterable[str]) -> pd.DataFrame:
    """What validation chose for each phase of each method: the rate, and the epoch at it.

    history: of train. Returns method, seed, place (1: the first phase), phase, lr, epoch, accuracy
    (on the questions that the checkpoint rule asks; where it asks none nan, and the epoch is the
    last).
    """
    rows = []
    for method in methods:
        for n, phase in enumerate(phases(method), start=1):
            names = phase_names(phases(method)[:n])
            for seed, log in _kept(history, names):
                best = _best(log)
                rows.append((method, seed, n, str(phase), *best[["lr", "epoch", "eval_accuracy"]]))
    columns = ["method", "seed", "place", "phase", "lr", "epoch", "accuracy"]
    return pd.DataFrame(rows, columns=columns)


def reported(history: pd.DataFrame, methods: Iterable[str]) -> pd.DataFrame:
    """The test accuracy that each rule for choosing an epoch would report, from one training.

    history: of train with training.follow_test. The rules look at the epochs of a method's last
    phase, at the rate that was kept: "validation" takes the best on validation questions, the
    first of equals; "last" the last; "paper" the best on the test questions themselves, as the
    published code does. What "paper" has above the others is the effect of that choice.
    Returns method, seed, rule, epoch, accuracy. Raises KitError where none was followed.
    """
    rows = []
    for method in methods:
        for seed, log in _kept(history, phase_names(phases(method))):
            log = log.dropna(subset="eval_test_accuracy")
            if log.empty:
                raise KitError(f"{method} was not followed: set training.follow_test to true")
            taken = {
                "validation": _best(log),
                "last": log.iloc[-1],
                "paper": log.loc[log["eval_test_accuracy"].idxmax()],
            }
            rows += [
                (method, seed, rule, row["epoch"], row["eval_test_accuracy"])
                for rule, row in taken.items()
            ]
    return pd.DataFrame(rows, columns=["method", "seed", "rule", "epoch", "accuracy"])


def _kept(history: pd.DataFrame, names: str) -> Iterator[tuple[int, pd.DataFrame]]:
    """The log of the rate that was kept, seed by seed, for a path of phases in words."""
    found = history[(history["phases"] == names) & history["kept"]].reset_index(drop=True)
    yield from found.groupby("seed", sort=True)


def _best(log: pd.DataFrame) -> pd.Series:
    """The entry of the epoch that validates best, the first of equals; unscored, the last one."""
    scored = log["eval_accuracy"].dropna()
    return log.loc[scored.idxmax()] if len(scored) else log.iloc[-1]
