"""The bundled base student: how `make base-student` trains it from nothing.

A small Llama with a byte-level BPE tokenizer, trained as a language model: first on echoes, random
tokens told again and again, then on documents of the puzzles' corpus split, easy instances (one to
three steps) of every family and plain facts. It has seen no question of any evaluation split and
no chain of the length that is distilled.
"""

import hashlib
import json
import math
import os
import random
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from multiprocessing import get_context
from pathlib import Path

import torch
from datasets import Dataset
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    DataCollatorForSeq2Seq,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)

from editlib import puzzles
from editlib.bases import BUNDLED

END = "<|end|>"
ANSWER = "\nA:\n"  # between a question and its chain
TOKENS_OF_A_LINE = (8, 128)  # of an echo
SHARE_OF_JUMPS = 0.1  # of tokens whose position is further from the last than one
SHARD = 10_000  # documents that are written at a time
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


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights."""

    vocabulary: int = 1_400  # every word of the corpus is one token
    width: int = 128
    layers: int = 4
    heads: int = 4
    positions: int = 512  # the longest text it can read, tokens
    echoes: Stage = Stage(64_000, sizes=(), seed=3, context=256, batch=64, lr=2e-3)
    stages: tuple[Stage, ...] = (
        Stage(200_000, sizes=(1, 2), seed=0, context=256, batch=64, lr=2e-3),
        Stage(400_000, sizes=(1, 2), seed=1, context=None, batch=128, lr=2e-3),
        Stage(392_251, sizes=(1, 2, 3), seed=2, context=None, batch=128, lr=2e-3),
    )


def corpus(stage: Stage) -> list[str]:
    """The documents of a stage, always the same, written on all cores."""
    shards = range(math.ceil(stage.documents / SHARD))
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        return list(chain.from_iterable(pool.map(partial(shard, stage), shards)))


def shard(stage: Stage, number: int) -> list[str]:
    """The documents of a stage from number * SHARD on, SHARD of them or what is left."""
    left = stage.documents - number * SHARD
    return list(puzzles.corpus(min(SHARD, left), 1_000 * stage.seed + number, stage.sizes))


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
    closed = [[*ids, tokenizer.eos_token_id] for ids in _ids(documents, tokenizer)]
    stream = list(chain.from_iterable(closed))
    starts = range(0, len(stream) - context + 1, context)
    rows = [stream[start : start + context] for start in starts]
    return _dataset(rows, rows)


def separate(documents: list[str], tokenizer: PreTrainedTokenizerFast) -> Dataset:
    """One document a row, closed by the end token; a question is read, but not learnt."""
    split = [document.rpartition(ANSWER) for document in documents]
    prompts = _ids([question + asked for question, asked, _ in split], tokenizer)
    answers = _ids([answer for *_, answer in split], tokenizer)
    responses = [[*answer, tokenizer.eos_token_id] for answer in answers]
    sides = list(zip(prompts, responses, strict=True))
    return _dataset(
        [prompt + response for prompt, response in sides],
        [[-100] * len(prompt) + response for prompt, response in sides],
    )


def _ids(texts: list[str], tokenizer: PreTrainedTokenizerFast) -> list[list[int]]:
    return tokenizer(texts, return_attention_mask=False)["input_ids"]


def _dataset(rows: list[list[int]], labels: list[list[int]]) -> Dataset:
    lengths = [len(row) for row in rows]
    return Dataset.from_dict({"input_ids": rows, "labels": labels, "length": lengths})


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


class Collator:
    """Pads rows, and places their tokens at positions that jump ahead now and then.

    A student that has only read short texts at their own positions cannot look further back than
    they are long. With jumps it has looked from every distance (randomized positions: Ruoss et al.
    2023), while words next to each other mostly stay so.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, positions: int, seed: int):
        self.pad = DataCollatorForSeq2Seq(tokenizer)  # ids and labels apart
        self.positions = positions
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        batch = self.pad([{name: row[name] for name in ("input_ids", "labels")} for row in rows])
        shape = batch["input_ids"].shape
        jumps = torch.rand(shape, generator=self.generator) < SHARE_OF_JUMPS
        room = (self.positions - shape[1]) // max(1, int(jumps.sum(1).max()))
        # a row in two stays as it is, as students will read
        room = room * (torch.rand((shape[0], 1), generator=self.generator) < 0.5)
        ahead = torch.rand(shape, generator=self.generator) * (room + 1)
        steps = 1 + jumps * ahead.long()
        return batch | {"position_ids": steps.cumsum(1) - steps[:, :1]}


def train(recipe: Recipe, folder: Path) -> None:
    """Train tokenizer and model, and write them with their card into folder."""
    texts = [corpus(stage) for stage in recipe.stages]
    tokenizer = train_tokenizer(texts[0], recipe)
    set_seed(recipe.stages[0].seed)
    model = build_model(tokenizer, recipe)
    passes = [train_stage(model, tokenizer, recipe.echoes, echoes(recipe.echoes, len(tokenizer)))]
    for stage, documents in zip(recipe.stages, texts, strict=True):
        packed = stage.context is not None
        rows = (
            pack(documents, tokenizer, stage.context) if packed else separate(documents, tokenizer)
        )
        record = train_stage(model, tokenizer, stage, rows)
        passes.append({"first_shard_sha256": digest(documents[:SHARD]), **record})
    if int(os.environ.get("RANK", 0)) == 0:
        save(model, tokenizer, recipe, passes, folder)


def digest(documents: list[str]) -> str:
    """A hash of documents in their order."""
    return hashlib.sha256("\n".join(documents).encode()).hexdigest()


def train_stage(model: LlamaForCausalLM, tokenizer, stage: Stage, rows: Dataset) -> dict:
    """One pass over rows, which trains the model in place; returns what the card says of it."""
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            model=model,
            args=_arguments(stage, scratch),
            train_dataset=rows,
            data_collator=Collator(tokenizer, model.config.max_position_embeddings, stage.seed),
        )
        loss = trainer.train().training_loss
    return {"tokens": sum(rows["length"]), "mean_loss": round(loss, 4)}


def save(model, tokenizer, recipe: Recipe, passes: list[dict], folder: Path) -> None:
    """Write model (half precision), tokenizer and card."""
    shutil.rmtree(folder, ignore_errors=True)
    tokenizer.save_pretrained(folder)
    model.to(torch.float16).save_pretrained(folder)
    card = {
        "recipe": asdict(recipe),
        "passes": passes,
        "parameters": model.num_parameters(),
        "torch": torch.__version__.split("+")[0],
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
    }
    (folder / "card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def _arguments(stage: Stage, scratch: str) -> TrainingArguments:
    return TrainingArguments(
        output_dir=scratch,
        num_train_epochs=1,
        per_device_train_batch_size=stage.batch // int(os.environ.get("WORLD_SIZE", 1)),
        learning_rate=stage.lr,
        lr_scheduler_type="cosine",
        warmup_steps=100,
        weight_decay=0.01,
        adam_beta2=0.98,
        seed=stage.seed,
        use_cpu=not torch.cuda.is_available(),
        tf32=torch.cuda.is_available() or None,
        save_strategy="no",
        logging_steps=200,
        train_sampling_strategy="random" if stage.context else "group_by_length",
        report_to=[],
        dataloader_pin_memory=False,
    )


if __name__ == "__main__":
    train(Recipe(), BUNDLED)
