"""The bundled base student: how `make base-student` trains it from nothing.

A small Llama with a byte-level BPE tokenizer, trained as a language model: first on echoes, random
tokens told again and again, then on documents of the puzzles' corpus split, easy instances (one to
three steps) of every family and plain facts. It has seen no question of any evaluation split and
no chain of the length that is distilled.
"""

import hashlib
import json
import os
import random
import shutil
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    DataCollatorForSeq2Seq,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from editlib import puzzles, training
from editlib.bases import BUNDLED
from editlib.records import atomic_write
from editlib.workspace import KIT, digest

END = "<|end|>"
ANSWER = "\nA:\n"  # between a question and its chain
TOKENS_OF_A_LINE = (8, 64)  # of an echo
SHARE_OF_JUMPS = 0.1  # of tokens, whose position is further from the last than one
SAVE_EVERY = 200  # updates, of which the loss is logged too: about a minute
SCRATCH = KIT.parent / "build" / "base-student"  # of `make base-student`: never in git
# An option's letter as (A), a digit, a word or some signs (with the blank before them), blanks
PIECES = r"\([A-Z]\)|\p{N}| ?\p{L}+| ?(?!\([A-Z]\))[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


@dataclass(frozen=True)
class Stage:
    """One pass over documents of the corpus."""

    documents: int
    sizes: tuple[int, ...]  # of their puzzles; none for echoes
    seed: int  # of the documents, and of their order
    context: int | None  # tokens of a row of packed documents; None: one document a row
    batch: int  # rows, over all processes
    lr: float
    jumps: bool = False  # whether positions jump ahead: see JumpingCollator


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights."""

    vocabulary: int = 1_400  # every word of the corpus is one token
    width: int = 128
    layers: int = 4
    heads: int = 4
    positions: int = 512  # the longest text it can read, tokens
    echoes: Stage = Stage(28_000, sizes=(), seed=3, context=128, batch=16, lr=2e-3)
    stages: tuple[Stage, ...] = (
        Stage(60_000, sizes=(1, 2), seed=0, context=256, batch=8, lr=2e-3),
        Stage(160_000, sizes=(1, 2), seed=1, context=None, batch=32, lr=2e-3),
        Stage(80_000, sizes=(1, 2, 3), seed=2, context=None, batch=32, lr=2e-3),
        # Many small updates bring what few large ones do not: sums, walks, longer chains.
        Stage(64_000, sizes=(2, 3), seed=4, context=None, batch=16, lr=2e-3),
        Stage(64_000, sizes=(2, 3), seed=5, context=None, batch=16, lr=2e-3, jumps=True),
    )


def documents(stage: Stage) -> list[str]:
    """What a stage reads that is not of echoes, always the same."""
    return list(puzzles.corpus(stage.documents, stage.seed, stage.sizes))


def echoes(stage: Stage, vocabulary: int) -> Dataset:
    """Rows of context ids, each one line of random tokens over and over; the first is not learnt.

    Only looking back helps to tell a line again, so the student learns to find what followed a
    token when it came before (an induction head: Olsson et al. 2022). On puzzles alone a student
    of this size does not come to look things up.
    """
    rng, rows, labels = random.Random(f"echoes/{stage.seed}"), [], []
    for _ in range(stage.documents):
        line = [rng.randrange(vocabulary) for _ in range(rng.randint(*TOKENS_OF_A_LINE))]
        row = (line * (stage.context // len(line) + 1))[: stage.context]
        rows.append(row)
        labels.append([-100] * len(line) + row[len(line) :])
    return _dataset(rows, labels)


def train_tokenizer(documents: list[str], recipe: Recipe) -> PreTrainedTokenizerFast:
    """Byte-level BPE: any text can be written. Digits and the letters of options stand alone."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END)


def pack(documents: list[str], tokenizer: PreTrainedTokenizerFast, context: int) -> Dataset:
    """Documents one after another, each closed by the end token, cut into rows of context ids."""
    closed = [[*ids, tokenizer.eos_token_id] for ids in tokenizer(documents)["input_ids"]]
    stream = list(chain.from_iterable(closed))
    starts = range(0, len(stream) - context + 1, context)
    rows = [stream[start : start + context] for start in starts]
    return _dataset(rows, rows)


def separate(documents: list[str], tokenizer: PreTrainedTokenizerFast) -> Dataset:
    """One document a row, closed by the end token; a question is read, but not learnt."""
    rows, labels = [], []
    for document in documents:
        question, asked, answer = document.rpartition(ANSWER)
        prompt = tokenizer(question + asked)["input_ids"] if asked else []
        response = [*tokenizer(answer)["input_ids"], tokenizer.eos_token_id]
        rows.append(prompt + response)
        labels.append([-100] * len(prompt) + response)
    return _dataset(rows, labels)


def _dataset(rows: list[list[int]], labels: list[list[int]]) -> Dataset:
    lengths = [len(row) for row in rows]
    return Dataset.from_dict({"input_ids": rows, "labels": labels, "length": lengths})


class JumpingCollator:
    """Pads rows, and places the tokens of every second one at positions that jump ahead at times.

    A student that has only read short texts at their own positions cannot look further back than
    they are long. With jumps it has looked from every distance (randomized positions: Ruoss et al.
    2023), while words next to each other mostly stay so. Not before it reads options: one that met
    jumps from the start never came to compare them.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, positions: int, seed: int):
        self.pad = DataCollatorForSeq2Seq(tokenizer)  # ids and labels apart
        self.positions = positions
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        batch = self.pad([{name: row[name] for name in ("input_ids", "labels")} for row in rows])
        shape = batch["input_ids"].shape
        jumps = self._random(shape) < SHARE_OF_JUMPS
        room = (self.positions - shape[1]) // max(1, int(jumps.sum(1).max()))
        room = room * (self._random((shape[0], 1)) < 0.5)
        steps = 1 + jumps * (self._random(shape) * (room + 1)).long()
        return batch | {"position_ids": steps.cumsum(1) - steps[:, :1]}

    def _random(self, shape: tuple[int, int]) -> torch.Tensor:
        return torch.rand(shape, generator=self.generator)


def build_model(tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> LlamaForCausalLM:
    """An untrained Llama of the recipe's size."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=recipe.width,
            intermediate_size=4 * recipe.width,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            max_position_embeddings=recipe.positions,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def train(recipe: Recipe, folder: Path, scratch: Path) -> None:
    """Train tokenizer and model, and write them with their card into folder.

    scratch: where checkpoints(recipe, scratch) lie, which are the caller's to discard. Killed, the
    same call goes on from the last of them, and comes to the same weights.
    """
    tokenizer = train_tokenizer(documents(recipe.stages[0]), recipe)
    set_seed(recipe.stages[0].seed)
    model, place = build_model(tokenizer, recipe), checkpoints(recipe, scratch)
    passes = [
        train_stage(model, tokenizer, stage, place / f"pass {number}")
        for number, stage in enumerate((recipe.echoes, *recipe.stages))
    ]
    if _is_first():
        save(model, tokenizer, recipe, passes, folder)


def checkpoints(recipe: Recipe, scratch: Path) -> Path:
    """The folder of the checkpoints of a recipe, trained by this code on so many processes."""
    return scratch / digest(asdict(recipe), _processes(), puzzles, Path(__file__))


def train_stage(model: LlamaForCausalLM, tokenizer, stage: Stage, scratch: Path) -> dict:
    """One pass over a stage, which trains the model in place; returns what the card says of it.

    scratch: a folder of its own. A pass that was ended there is read back, one that was killed goes
    on from its last checkpoint.
    """
    ended = scratch / "record.json"
    if ended.exists():
        learnt = LlamaForCausalLM.from_pretrained(training.last_whole_checkpoint(scratch))
        model.load_state_dict(learnt.state_dict())
        return json.loads(ended.read_text(encoding="utf-8"))
    rows, record = rows_of(stage, tokenizer)
    loss = _one_pass(model, tokenizer, stage, rows, scratch)
    record |= {"tokens": sum(rows["length"]), "mean_loss": round(loss, 4)}
    if _is_first():
        text = json.dumps(record)
        atomic_write(ended, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return record


def rows_of(stage: Stage, tokenizer: PreTrainedTokenizerFast) -> tuple[Dataset, dict]:
    """What a stage reads, and the hash of its documents for the card."""
    if not stage.sizes:
        return echoes(stage, len(tokenizer)), {}
    texts = documents(stage)
    hashed = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    packed = stage.context is not None
    rows = pack(texts, tokenizer, stage.context) if packed else separate(texts, tokenizer)
    return rows, {"corpus_sha256": hashed}


def _one_pass(model, tokenizer, stage: Stage, rows: Dataset, scratch: Path) -> float:
    """Train the model in place, from the last checkpoint in scratch on; returns the mean loss."""
    pad = DataCollatorForSeq2Seq(tokenizer)  # ids and labels apart
    jump = JumpingCollator(tokenizer, model.config.max_position_embeddings, stage.seed)
    trainer = Trainer(
        model=model,
        args=_arguments(stage, scratch),
        train_dataset=rows,
        data_collator=jump if stage.jumps else pad,
        callbacks=[LogAtEnd()],
    )
    last = training.last_whole_checkpoint(scratch)
    if last and stage.jumps:
        _draw_again(trainer, updates=int(last.rpartition("-")[2]))
    trainer.train(resume_from_checkpoint=last)
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    updates = np.diff([0, *(entry["step"] for entry in logged)])
    return float(np.average([entry["loss"] for entry in logged], weights=updates))


class LogAtEnd(TrainerCallback):
    """Logs the loss of the last updates too, be they fewer than SAVE_EVERY."""

    def on_step_end(self, args, state, control, **_):
        control.should_log |= state.global_step >= state.max_steps


def _draw_again(trainer: Trainer, updates: int) -> None:
    """Draw the jumps before a checkpoint, whose batches the Trainer skips without collating."""
    with torch.random.fork_rng():  # it puts the rows into order by this one
        loader = trainer.get_train_dataloader().base_dataloader  # which reads no batch ahead
        for _ in islice(loader, updates):
            pass


def save(model, tokenizer, recipe, passes: list[dict], folder: Path) -> None:
    """Write model (half precision), tokenizer and card. recipe: a dataclass that decides them."""
    shutil.rmtree(folder, ignore_errors=True)
    tokenizer.save_pretrained(folder)
    model.to(torch.float16).save_pretrained(folder)
    card = {
        "recipe": asdict(recipe),
        "passes": passes,
        "parameters": model.num_parameters(),
        "torch": torch.__version__.split("+")[0],
    }
    (folder / "card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def _is_first() -> bool:
    return int(os.environ.get("RANK", 0)) == 0


def _processes() -> int:
    return int(os.environ.get("WORLD_SIZE", 1))


def _arguments(stage: Stage, scratch: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(scratch),
        num_train_epochs=1,
        per_device_train_batch_size=stage.batch // _processes(),
        learning_rate=stage.lr,
        lr_scheduler_type="cosine",
        warmup_steps=100,
        weight_decay=0.01,
        adam_beta2=0.98,
        seed=stage.seed,
        use_cpu=not torch.cuda.is_available(),
        save_strategy="steps",
        save_steps=SAVE_EVERY,
        save_total_limit=1,
        logging_steps=SAVE_EVERY,
        train_sampling_strategy="random" if stage.context else "group_by_length",
        report_to=[],
        dataloader_pin_memory=False,
    )


if __name__ == "__main__":
    train(Recipe(), BUNDLED, SCRATCH)
    if _is_first():
        training.discard(checkpoints(Recipe(), SCRATCH))
