"""The bundled base student: how `make base-student` trains it from nothing.

A small Llama with a byte-level BPE tokenizer, trained as a language model on documents of the
puzzles' corpus split: easy instances (one and two steps) of every family and plain facts. It has
seen no question of any evaluation split and no chain of the length that is distilled.
"""

import hashlib
import json
import math
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)

from editlib import puzzles
from editlib.students import BUNDLED

END = "<|end|>"


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights."""

    documents: int = 120_000
    vocabulary: int = 1_024
    width: int = 160
    layers: int = 4
    heads: int = 4
    context: int = 256  # tokens of a training row
    batch: int = 32
    lr: float = 2e-3
    seed: int = 0


def train_tokenizer(documents: list[str], recipe: Recipe) -> PreTrainedTokenizerFast:
    """Byte-level BPE with single digits, so that any text can be written and sums can be learnt."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
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


def pack(documents: list[str], tokenizer: PreTrainedTokenizerFast, context: int) -> torch.Tensor:
    """Documents one after another, each closed by the end token, cut into rows of context ids."""
    stream = [
        i for ids in tokenizer(documents)["input_ids"] for i in (*ids, tokenizer.eos_token_id)
    ]
    rows = len(stream) // context
    return torch.tensor(stream[: rows * context]).view(rows, context)


def build_model(tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> LlamaForCausalLM:
    """An untrained Llama of the recipe's size."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=recipe.width,
            intermediate_size=4 * recipe.width,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            max_position_embeddings=2 * recipe.context,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def train(recipe: Recipe, folder: Path) -> None:
    """Train tokenizer and model, and write them with their card into folder."""
    documents = list(puzzles.corpus(recipe.documents, recipe.seed))
    tokenizer = train_tokenizer(documents, recipe)
    rows = pack(documents, tokenizer, recipe.context)
    set_seed(recipe.seed)
    model = build_model(tokenizer, recipe)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            model=model,
            args=_arguments(recipe, scratch, updates=math.ceil(len(rows) / recipe.batch)),
            train_dataset=Dataset.from_dict({"input_ids": rows, "labels": rows}),
        )
        loss = trainer.train().training_loss
    shutil.rmtree(folder, ignore_errors=True)
    tokenizer.save_pretrained(folder)
    model.to(torch.float16).save_pretrained(folder)
    card = {
        "recipe": asdict(recipe),
        "corpus_sha256": hashlib.sha256("\n".join(documents).encode()).hexdigest(),
        "tokens": rows.numel(),
        "parameters": model.num_parameters(),
        "mean_loss": round(loss, 4),
        "torch": torch.__version__.split("+")[0],
    }
    (folder / "card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def _arguments(recipe: Recipe, scratch: str, updates: int) -> TrainingArguments:
    return TrainingArguments(
        output_dir=scratch,
        max_steps=updates,
        per_device_train_batch_size=recipe.batch,
        learning_rate=recipe.lr,
        lr_scheduler_type="cosine",
        warmup_steps=min(100, updates // 10),
        weight_decay=0.01,
        adam_beta2=0.98,
        seed=recipe.seed,
        use_cpu=not torch.cuda.is_available(),
        save_strategy="no",
        logging_steps=50,
        report_to=[],
        dataloader_pin_memory=False,
    )


if __name__ == "__main__":
    train(Recipe(), BUNDLED)
