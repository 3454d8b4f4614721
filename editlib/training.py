"""Training phases through the Hugging Face Trainer (so that accelerate's FSDP comes with it)."""

import json
import math
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import send_to_device
from peft import PeftModel
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainingArguments

from editlib import batching, folded, objectives, ragged
from editlib.profiles import DPO, KRSL, Optimization, SimPO

LOG_EVERY = 10  # optimizer steps


def log_probabilities(model: torch.nn.Module, batch: dict, mask: str) -> torch.Tensor:
    """Aligned with input_ids, nats; (B, T). Of a ragged batch only those under the mask are right.

    batch: as an Objective collates it; mask: the one that its loss looks at.
    """
    if "ragged" in batch:
        asked = ragged.token_logp(model, batch["ragged"])
        return asked.new_zeros(batch[mask].shape).masked_scatter(batch[mask], asked)
    ids = batch["input_ids"]
    logits = model(ids, attention_mask=batch["attention_mask"], use_cache=False).logits
    return objectives.token_logp(logits, ids)


def response_logits(model: torch.nn.Module, batch: dict, mask: str) -> torch.Tensor:
    """Logits (N, V), float32, of each token under the mask given those before it, row by row."""
    if "ragged" in batch:
        return ragged.token_logits(model, batch["ragged"])
    ids = batch["input_ids"]
    logits = model(ids, attention_mask=batch["attention_mask"], use_cache=False).logits
    return logits[:, :-1][batch[mask][:, 1:]].float()


@dataclass(frozen=True)
class Objective:
    """How rows become a batch, and a batch a loss that looks at the tokens of one of its masks.

    read: (model, batch, mask) -> what the loss takes: log-probabilities (B, T), or logits (N, V).
    """

    collate: Callable[[Sequence[dict]], dict[str, torch.Tensor]]
    pack: Callable[[Sequence[dict]], dict]  # the same without padding: ragged.token_logp takes it
    mask: str
    loss: objectives.Loss
    read: Callable[[torch.nn.Module, dict, str], torch.Tensor] = log_probabilities

    def collate_and_pack(self, rows: Sequence[dict]) -> dict:
        """The padded batch, with the ragged one beside it."""
        return self.collate(rows) | {"ragged": self.pack(rows)}


def objective(settings: Optimization) -> Objective:
    """The objective whose settings these are: KRSL, a preference loss, else SFT."""
    if isinstance(settings, KRSL):
        loss = partial(
            objectives.krsl_loss,
            alpha=settings.alpha,
            beta=settings.beta,
            per=settings.per,
            ceiling=settings.ceiling,
        )
        return Objective(batching.collate_duals, ragged.pack_duals, "key", loss)
    if isinstance(settings, DPO):  # DPO-Positive too, which has a penalty
        loss = partial(objectives.dpo_loss, **settings.model_dump(include={"beta", "penalty"}))
        return Objective(batching.collate_preferences, ragged.pack_whole_duals, "response", loss)
    if isinstance(settings, SimPO):
        loss = partial(objectives.simpo_loss, beta=settings.beta, margin=settings.margin)
        return Objective(batching.collate_duals, ragged.pack_whole_duals, "response", loss)
    collate, pack = batching.collate_responses, ragged.pack_responses
    if settings.mutual:
        loss = partial(objectives.mutual_loss, mutual=settings.mutual)
        return Objective(collate, pack, "response", loss, read=response_logits)
    return Objective(collate, pack, "response", objectives.sft_loss)


def updates_per_epoch(rows: int, settings: Optimization) -> int:
    """Optimizer steps of one epoch on one device."""
    return math.ceil(rows / (settings.batch * settings.accumulation))


@torch.no_grad()
def pair_logp(
    model: PreTrainedModel | PeftModel, rows: Sequence[dict], size: int, bf16: bool = False
) -> list[dict[str, np.ndarray]]:
    """Log-probability (nats) of every response token of both sides of each pair, as it stands.

    rows: as batching.collate_duals takes them; size: pairs of one forward pass; bf16: as of fit.
    Returns one dict a row: correct (T,) and wrong (U,). Without dropout; the model is left in
    evaluation mode.
    """
    pads = not goes_ragged(model)
    model.eval()
    read = []
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        batch = batching.collate_duals(part)
        batch |= {} if pads else {"ragged": ragged.pack_whole_duals(part)}
        batch = send_to_device(batch, model.device)
        half = torch.autocast(model.device.type, torch.bfloat16, enabled=bf16)
        with half, folded.installed(model):
            logp = log_probabilities(model, batch, "response").float().cpu().numpy()
        sides = [x[mask] for x, mask in zip(logp, batch["response"].cpu().numpy(), strict=True)]
        n = len(part)
        read += [{"correct": c, "wrong": w} for c, w in zip(sides[:n], sides[n:], strict=True)]
    return read


class StudentTrainer(Trainer):
    """A Trainer whose loss is an Objective and whose evaluation is a score of the model.

    padded: whether batches are padded and computed whole, the plain way; else they are ragged.
    follow: a second score, which is logged and decides nothing.
    """

    def __init__(
        self, *args, objective: Objective, lr_decay, padded: bool, score=None, follow=None, **kwargs
    ):
        collate = objective.collate if padded else objective.collate_and_pack
        # evaluate() scores whole answers; the Trainer only wants to know that there is something
        super().__init__(*args, data_collator=collate, eval_dataset=[], **kwargs)
        self.objective, self.lr_decay, self.score = objective, lr_decay, score
        self.follow = follow
        self.loss_is_scaled_for_ga = True  # losses are divided by the items of the whole step
        self._parts: list[dict[str, float]] = []

    def _get_num_items_in_batch(self, batch_samples, device):
        items = sum(batch["items"] for batch in batch_samples).to(device)
        return self.accelerator.gather(items).sum() if self.args.world_size > 1 else items

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        read = self.objective.read(model, inputs, self.objective.mask)
        terms = self.objective.loss(read, inputs, num_items_in_batch)
        self._parts.append(terms.parts)
        loss = terms.loss * self.accelerator.num_processes  # gradients are averaged over processes
        return (loss, {}) if return_outputs else loss

    def create_scheduler(self, num_training_steps, optimizer=None):
        """The learning rate falls by the factor lr_decay after each epoch (section A.9.2)."""
        rows = (
            self.args.train_batch_size
            * self.args.gradient_accumulation_steps
            * self.args.world_size
        )
        per_epoch = math.ceil(len(self.train_dataset) / rows)
        self.lr_scheduler = LambdaLR(
            optimizer or self.optimizer, lambda step: self.lr_decay ** (step // per_epoch)
        )
        return self.lr_scheduler

    def evaluate(self, *_, metric_key_prefix="eval", **__):
        """Score the model as the checkpoint rule asks, which reads eval_accuracy."""
        metrics = {f"{metric_key_prefix}_accuracy": self.score(self.model)}
        if self.follow:
            metrics[f"{metric_key_prefix}_test_accuracy"] = self.follow(self.model)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def log(self, logs, *args, **kwargs):
        if "loss" in logs and self._parts:
            names = self._parts[0]
            logs |= {n: sum(p[n] for p in self._parts) / len(self._parts) for n in names}
            self._parts.clear()
        super().log(logs, *args, **kwargs)


def fit(
    model: PreTrainedModel | PeftModel,
    rows: Sequence[dict],
    settings: Optimization,
    *,
    seed: int,
    scratch: Path,
    updates: int | None = None,
    bf16: bool = False,
    score: Callable[[torch.nn.Module], float] | None = None,
    follow: Callable[[torch.nn.Module], float] | None = None,
) -> list[dict]:
    """Train an adapter, or a whole model, in place; returns the Trainer's log, a dict an entry.

    rows: as the objective of the settings collates them. scratch: a folder for checkpoints; a
    killed run goes on from the last whole one. updates: optimizer steps (None: settings.epochs
    epochs). bf16: compute in bfloat16; weights stay as they are. score: accuracy on validation
    questions after each epoch; the best epoch, the first of equals, is kept. None keeps the last.
    follow: accuracy on test questions, logged beside it as eval_test_accuracy; it decides nothing.
    """
    arguments = _arguments(settings, seed, scratch, updates, score is not None, bf16)
    trainer = StudentTrainer(
        model=model,
        args=arguments,
        train_dataset=list(rows),
        objective=objective(settings),
        lr_decay=settings.lr_decay,
        padded=not goes_ragged(model),
        score=score,
        follow=follow,
    )
    trainer.remove_callback(PrinterCallback)
    with folded.installed(model):
        trainer.train(resume_from_checkpoint=last_whole_checkpoint(scratch))
    return trainer.state.log_history


def goes_ragged(model: PreTrainedModel | PeftModel) -> bool:
    """Whether batches need no padding; says so, and why, where they do."""
    bare = ragged.bare(model)
    if obstacle := ragged.install(bare):
        kind = bare.config.model_type
        warnings.warn(f"{kind}: padded batches, which are slower: {obstacle}", stacklevel=3)
    return not obstacle


def best_score(history: Sequence[dict]) -> float:
    """The highest score in a log of fit; 0 where nothing was scored."""
    return max((entry["eval_accuracy"] for entry in history if "eval_accuracy" in entry), default=0)


def _arguments(settings, seed, scratch, updates, selects, bf16=False) -> TrainingArguments:
    arguments = TrainingArguments(
        output_dir=str(scratch),
        learning_rate=settings.lr,
        num_train_epochs=settings.epochs,
        max_steps=-1 if updates is None else updates,
        per_device_train_batch_size=settings.batch,
        gradient_accumulation_steps=settings.accumulation,
        activation_checkpointing=settings.checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False},
        weight_decay=0.0,  # Table 16
        adam_beta1=0.9,
        adam_beta2=0.999,
        adam_epsilon=1e-8,
        seed=seed,
        bf16=bf16,
        use_cpu=not torch.cuda.is_available(),
        eval_strategy="epoch" if selects else "no",
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=selects,
        metric_for_best_model="accuracy" if selects else None,
        greater_is_better=True if selects else None,
        logging_steps=LOG_EVERY,
        logging_first_step=True,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=True,
        report_to=[],
    )
    # one GPU a process: of several the Trainer would make nn.DataParallel, whose updates read as
    # many times the rows, so that no number of updates would be that of the profile
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def last_whole_checkpoint(scratch: Path) -> str | None:
    """The newest checkpoint that was written to its end (the Trainer writes its state last)."""
    folders = sorted(scratch.glob("checkpoint-*"), key=lambda f: int(f.name.split("-")[1]))
    return next((str(f) for f in reversed(folders) if _is_whole(f)), None)


def _is_whole(folder: Path) -> bool:
    try:
        json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return True


def discard(scratch: Path) -> None:
    """Remove the checkpoints of a run that has ended."""
    shutil.rmtree(scratch, ignore_errors=True)
