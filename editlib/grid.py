"""The grid of students: every method and seed, trained and examined, on all cores there are.

A cell is one training phase of one seed. Methods that begin alike share their first cell. Each
cell is a stage of its own, so a killed run loses at most the cells in flight.
"""

import json
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch
import transformers
from accelerate.utils import send_to_device
from joblib import Parallel, cpu_count, delayed, parallel_config
from tqdm.auto import tqdm

from editlib import (
    answers,
    batching,
    benchmarks,
    decoding,
    dual,
    evaluation,
    keysteps,
    locators,
    marks,
    objectives,
    pipeline,
    prompts,
    ragged,
    reading,
    students,
    training,
)
from editlib.errors import KitError
from editlib.methods import EDIT_DISTANCE, HIGHEST_LOSS, KNOWN, Phase, phases
from editlib.profiles import DPO, Optimization
from editlib.records import Prediction, Question, read_frame, write_frame, write_table
from editlib.workspace import MissingInput, Workspace, digest

UNTRAINED = "Base student"
EVALUATED = ("test", "longer", "families")  # of puzzles
PROBE = 128  # pairs whose key and routine tokens are followed through training
PROBED_AT_ONCE = 8  # pairs: the logits of 128 would not fit a processor's cache
TRAINING = (
    batching,
    keysteps,
    locators,
    marks,
    objectives,
    ragged,
    training,
    students,
    answers,
    reading,
    decoding,
    evaluation,
    prompts,
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


def cells(methods: Iterable[str], seeds: Iterable[int]) -> list[list[Cell]]:
    """All cells, those of first phases, then of second ones and so on; none twice."""
    paths = [phases(method)[:n] for method in methods for n in range(1, len(phases(method)) + 1)]
    depth = max(map(len, paths))
    seeds = list(seeds)
    return [
        [
            Cell(path, seed)
            for path in dict.fromkeys(p for p in paths if len(p) == n)
            for seed in seeds
        ]
        for n in range(1, depth + 1)
    ]


# --- what a phase learns from ----------------------------------------------------------------


def phase_rows(ws: Workspace, data: str) -> tuple[list[dict], int]:
    """Rows of a view of the data as ids, and how many were too long for the student."""
    tokenizer = students.load_tokenizer(ws.profile.student)
    rows = (
        _responses(ws, data, tokenizer)
        if data in ("D+", "D+merge")
        else _pairs(ws, data, tokenizer)
    )
    kept = [row for row in rows if _fits(row, ws.profile.student.max_length)]
    return kept, len(rows) - len(kept)


def _responses(ws: Workspace, data: str, tokenizer) -> list[dict]:
    questions = {q.id: prompts.student(q.text) for q in pipeline.read_annotation(ws)[0]}
    cots, _ = pipeline.read_duals(ws)
    chosen = dual.merge(cots) if data == "D+merge" else dual.with_role(cots, "correct")
    return [
        {
            "prompt": batching.prompt_ids(tokenizer, questions[cot.question_id]),
            "response": batching.response_ids(tokenizer, cot.text),
        }
        for cot in chosen
    ]


def _pairs(ws: Workspace, data: str, tokenizer) -> list[dict]:
    texts = {d.id: prompts.student(d.question) for d in pipeline.read_duals(ws)[1]}
    frame = pipeline.read_keysteps(ws)
    if data != "Ddual":
        frame = frame[frame["subset"] == data]
    sides = ["correct_ids", "correct_key", "wrong_ids", "wrong_key"]
    return [
        {
            "id": row["id"],
            "prompt": batching.prompt_ids(tokenizer, texts[row["id"]]),
            "correct": row["correct_ids"].tolist(),
            "correct_key": row["correct_key"],
            "wrong": row["wrong_ids"].tolist(),
            "wrong_key": row["wrong_key"],
        }
        for row in frame[["id", *sides]].to_dict("records")
    ]


def rows_of(ws: Workspace, phase: Phase) -> list[dict]:
    """What a phase learns from: the rows of its view, key marks as its locator sets them.

    Marks by highest loss are those of edit distance until there is a student (readied).
    """
    rows, _ = phase_rows(ws, phase.data)
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
    logp = training.pair_logp(_student(ws, cell), rows, settings.batch)
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
    settings = getattr(ws.profile.training, phase.objective).model_copy(update=phase.changes)
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
    rows, _ = phase_rows(ws, path[-1].data)
    return settings.epochs * training.updates_per_epoch(len(rows), settings)


# --- 04: training ----------------------------------------------------------------------------


def train(ws: Workspace) -> Path:
    """Train every method of the profile with every seed.

    Makes history.parquet (phases, seed, lr, kept: whether the student of this rate was kept, and
    the Trainer's log: step, epoch, loss, ...) and probes.parquet (phases, seed, and mean NLL of key
    and routine tokens of both sides of a fixed sample of training pairs). The adapters lie in the
    stages of the cells.
    """
    return ws.stage(
        "training",
        partial(_train, ws),
        inputs=["annotation", "duals", "keysteps"],
        code=(*TRAINING, *students.base_files(ws.profile.student)),
    )


def _train(ws: Workspace, folder: Path) -> None:
    levels = cells(ws.profile.training.methods, ws.profile.training.seeds)
    for depth, level in enumerate(levels, start=1):
        run_all(partial(train_cell, ws), level, desc=f"training, phase {depth} of {len(levels)}")
    trained = [cell for level in levels for cell in level]
    write_frame(folder / "history.parquet", pd.concat(_history(ws, c) for c in trained))
    base = pd.DataFrame(
        [{"phases": UNTRAINED, "seed": 0, **probe(ws, students.load_base(ws.profile.student))}]
    )
    write_frame(folder / "probes.parquet", pd.concat([base, *(_probes(ws, c) for c in trained)]))


def train_cell(ws: Workspace, cell: Cell) -> Path:
    """Train one cell, from the adapter of the cell before it; returns the folder of its stage."""
    _settle()
    settings, limit = schedule(ws, cell.path)
    rows = rows_of(ws, cell.path[-1])
    params = {
        "cell": cell.name,
        "seed": cell.seed,
        "settings": settings.model_dump(mode="json"),
        "updates": limit,
        "checkpoint": ws.profile.training.checkpoint,
        "student": ws.profile.student.model_dump(mode="json"),
        "base": digest(*students.base_files(ws.profile.student)),
        "rows": digest([_plain(row) for row in rows]),
        "before": adapter_fingerprint(ws, cell.path[:-1], cell.seed),
        "validation": ws.profile.benchmark.model_dump(mode="json"),
    }
    make = partial(_train_cell, ws, cell, rows, settings, limit, digest(params))
    return ws.stage(cell.name, make, code=TRAINING, params=params)


def _plain(row: dict) -> dict:
    """A row's id, token ids and marks as what JSON can hold."""
    return {k: v if isinstance(v, str) else list(map(int, v)) for k, v in row.items()}


def _train_cell(ws, cell, rows, settings, limit, fingerprint, folder: Path) -> None:
    scratch = ws.artifacts / "checkpoints" / fingerprint
    score = (
        partial(validation_accuracy, ws) if ws.profile.training.checkpoint == "validation" else None
    )
    rows = readied(ws, cell, settings, rows)
    kept, best, history = None, -1.0, []
    for lr in (settings.lr, *settings.also_try):
        model, trial = _student(ws, cell), settings.model_copy(update={"lr": lr})
        where = {"seed": cell.seed, "scratch": scratch / f"{lr:g}"}
        log = training.fit(model, rows, trial, updates=limit, score=score, **where)
        history += [entry | {"lr": lr} for entry in log]
        if (reached := training.best_score(log)) > best:
            kept, best, chosen = model, reached, lr
    kept.save_pretrained(folder / "adapter")
    record = {"history": history, "chosen_lr": chosen, "probe": probe(ws, kept)}
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
    training.discard(scratch)


def _student(ws: Workspace, cell: Cell):
    """What a cell trains: a fresh adapter, or a copy of the one that the cell before it left."""
    base = students.load_base(ws.profile.student)
    if len(cell.path) == 1:
        return students.fresh_adapter(base, ws.profile.student, cell.seed)
    return students.load_adapter(base, adapter(ws, cell.path[:-1], cell.seed), trainable=True)


def validation_accuracy(ws: Workspace, model) -> float:
    """Share of validation questions answered right: what the checkpoint rule looks at."""
    tokenizer = students.load_tokenizer(ws.profile.student)
    questions = split(ws, "validation")
    with students.merged(model):
        answered = evaluation.answer(
            model, tokenizer, questions, ws.profile.decoding, "validation", 0
        )
    return evaluation.share_correct(answered)


@torch.inference_mode()
def probe(ws: Workspace, model) -> dict[str, float]:
    """Mean NLL (nats) of key and routine tokens of both sides, over a fixed sample of pairs."""
    model.eval()
    rows, _ = phase_rows(ws, "Ddual")
    sample = rows[:: max(1, len(rows) // PROBE)][:PROBE]
    sample.sort(key=lambda row: len(row["prompt"]) + len(row["correct"]))  # little is padded
    found: dict[str, list[torch.Tensor]] = {}
    for start in range(0, len(sample), PROBED_AT_ONCE):
        batch = send_to_device(
            batching.collate_duals(sample[start : start + PROBED_AT_ONCE]), model.device
        )
        nll = -training.log_probabilities(model, batch, "response")
        for name, where in {"key": batch["key"], "routine": ~batch["key"]}.items():
            sides = zip(nll.chunk(2), (where & batch["response"]).chunk(2), strict=True)
            for side, (values, mask) in zip(("correct", "wrong"), sides, strict=True):
                found.setdefault(f"{side}_{name}", []).append(values[mask])
    return {name: torch.cat(values).mean().item() for name, values in found.items()}


def adapter(ws: Workspace, path: Sequence[Phase], seed: int) -> Path:
    """The adapter that a path of phases left; raises MissingInput if it is not there."""
    folder = ws.artifacts / Cell(tuple(path), seed).name / "adapter"
    if not (folder / "adapter_config.json").exists():
        raise MissingInput(f"no trained student in {folder}. Run notebook 04_edit_training.ipynb")
    return folder


def adapter_fingerprint(ws: Workspace, path: Sequence[Phase], seed: int) -> str | None:
    """Of the weights of a trained adapter; None for no path."""
    return digest(adapter(ws, path, seed) / "adapter_model.safetensors") if path else None


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


def rates(epochs: pd.DataFrame) -> pd.DataFrame:
    """How well each learning rate validates: the best epoch, mean over phases and seeds.

    epochs: method, seed, lr, epoch, accuracy. Returns objective, lr, phases (how many), accuracy;
    a control that goes on at another phase's rate is left out.
    """
    best = epochs.groupby(["method", "lr", "seed"], as_index=False)["accuracy"].max()
    last = best["method"].map(lambda method: phases(method)[-1])
    best = best.assign(objective=[phase.objective for phase in last])
    own = best[[phase.as_long_as is None for phase in last]]
    groups = own.groupby(["objective", "lr"], sort=True)["accuracy"]
    return groups.agg(phases="size", accuracy="mean").reset_index()[
        ["objective", "lr", "phases", "accuracy"]
    ]


# --- 05: evaluation --------------------------------------------------------------------------


def evaluate(ws: Workspace) -> Path:
    """Let every student, and the untrained base, answer the evaluation splits.

    Makes predictions.parquet (Prediction).
    """
    return ws.stage("evaluation", partial(_evaluate, ws), inputs=["training"], code=TRAINING)


def _evaluate(ws: Workspace, folder: Path) -> None:
    methods, seeds = ws.profile.training.methods, ws.profile.training.seeds
    examined = [(UNTRAINED, 0), *((method, seed) for method in methods for seed in seeds)]
    folders = run_all(partial(_examine, ws), examined, desc="evaluation")
    frames = [read_frame(f / "predictions.parquet") for f in folders]
    write_frame(folder / "predictions.parquet", pd.concat(frames, ignore_index=True))


def _examine(ws: Workspace, student: tuple[str, int]) -> Path:
    _settle()
    method, seed = student
    path = () if method == UNTRAINED else phases(method)
    params = {
        "adapter": adapter_fingerprint(ws, path, seed),
        "base": digest(*students.base_files(ws.profile.student)),
        "questions": ws.profile.benchmark.model_dump(mode="json"),
        "decoding": ws.profile.decoding.model_dump(mode="json"),
    }
    make = partial(_answers, ws, method, path, seed)
    return ws.stage(
        f"predictions/{method.replace('/', '')}/seed {seed}", make, code=TRAINING, params=params
    )


def _answers(ws: Workspace, method: str, path: Sequence[Phase], seed: int, folder: Path) -> None:
    model = students.load_base(ws.profile.student)
    if path:
        model = students.load_adapter(model, adapter(ws, path, seed)).merge_and_unload()
    tokenizer = students.load_tokenizer(ws.profile.student)
    questions = [question for name in evaluated(ws) for question in split(ws, name)]
    answered = evaluation.answer(model, tokenizer, questions, ws.profile.decoding, method, seed)
    write_table(folder / "predictions.parquet", answered, Prediction)


def evaluated(ws: Workspace) -> tuple[str, ...]:
    """The splits that students are examined on; for BBH the others are benchmarks by name."""
    settings = ws.profile.benchmark
    return EVALUATED if settings.name == "puzzles" else ("test", *settings.out_of_domain)


def split(ws: Workspace, name: str) -> list[Question]:
    """The questions of one split, as many as the profile says; each names that split."""
    settings = ws.profile.benchmark
    if settings.name == "puzzles":
        return benchmarks.load("puzzles", name, getattr(settings.questions, name))
    if name in benchmarks.SPLITS[settings.name]:
        return benchmarks.load(settings.name, name, settings.per_task, settings.division)
    found = benchmarks.load(name, "test", settings.per_task, settings.division)
    return [replace(question, split=name) for question in found]


def read_predictions(ws: Workspace) -> pd.DataFrame:
    """One row an answer, as notebook 05 left them."""
    return read_frame(ws.need("evaluation") / "predictions.parquet")


# --- side by side ----------------------------------------------------------------------------


def _settle() -> None:
    """One thread a cell: cells run side by side, and sums do not depend on the machine."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")


def run_all(function: Callable, items: Sequence, desc: str) -> list:
    """function of every item, in order, one process a core (one in all where there is a GPU)."""
    workers = 1 if torch.cuda.is_available() else min(cpu_count(), len(items))
    with parallel_config(backend="loky", inner_max_num_threads=1):
        results = Parallel(n_jobs=workers, return_as="generator")(
            delayed(function)(i) for i in items
        )
    return list(tqdm(results, total=len(items), desc=desc))
