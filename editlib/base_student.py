"""The bundled base student: how `make base-student` trains it from nothing.

A small Llama with a byte-level BPE tokenizer, trained as a language model on documents of the
puzzles' corpus split: easy instances (one and two steps) of every family and plain facts. It has
seen no question of any evaluation split and no chain of the length that is distilled.
"""

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
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
from editlib.students import BUNDLED

END = "<|end|>"


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights."""

    documents: int = 200_000  # each read once
    vocabulary: int = 1_024
    width: int = 128
    layers: int = 4
    heads: int = 4
    positions: int = 512  # the longest text it can read, tokens
    batch: int = 32  # documents, over all processes
    lr: float = 4e-3
    spread: float = 0.05  # standard deviation of fresh weights; 0.02 learns slower at this width
    seed: int = 0


def train_tokenizer(documents: list[str], recipe: Recipe) -> PreTrainedTokenizerFast:
    """Byte-level BPE: any text can be written, and most words and numbers are one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END)


def tokenize(documents: list[str], tokenizer: PreTrainedTokenizerFast) -> Dataset:
    """One row a document, closed by the end token; the whole of it is learnt."""
    rows = [[*ids, tokenizer.eos_token_id] for ids in tokenizer(documents)["input_ids"]]
    return Dataset.from_dict({"input_ids": rows, "labels": rows, "length": list(map(len, rows))})


def build_model(tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> LlamaForCausalLM:
    """An untrained Llama of the recipe's size."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=recipe.width,
            intermediate_size=8 * recipe.width // 3,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            max_position_embeddings=recipe.positions,
            tie_word_embeddings=True,
            initializer_range=recipe.spread,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def train(recipe: Recipe, folder: Path) -> None:
    """Train tokenizer and model, and write them with their card into folder."""
    documents = list(puzzles.corpus(recipe.documents, recipe.seed))
    tokenizer = train_tokenizer(documents, recipe)
    rows = tokenize(documents, tokenizer)
    set_seed(recipe.seed)
    model = build_model(tokenizer, recipe)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            model=model,
            args=_arguments(recipe, scratch),
            train_dataset=rows,
            data_collator=DataCollatorForSeq2Seq(tokenizer),  # pads ids and labels apart
        )
        loss = trainer.train().training_loss
    if not trainer.is_world_process_zero():
        return
    shutil.rmtree(folder, ignore_errors=True)
    tokenizer.save_pretrained(folder)
    model.to(torch.float16).save_pretrained(folder)
    card = {
        "recipe": asdict(recipe),
        "corpus_sha256": hashlib.sha256("\n".join(documents).encode()).hexdigest(),
        "tokens": sum(rows["length"]),
        "parameters": model.num_parameters(),
        "mean_loss": round(loss, 4),
        "torch": torch.__version__.split("+")[0],
    }
    (folder / "card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def _arguments(recipe: Recipe, scratch: str) -> TrainingArguments:
    return TrainingArguments(
        output_dir=scratch,
        num_train_epochs=1,
        per_device_train_batch_size=recipe.batch // int(os.environ.get("WORLD_SIZE", 1)),
        learning_rate=recipe.lr,
        lr_scheduler_type="cosine",
        warmup_steps=0.01,  # of all
        train_sampling_strategy="group_by_length",
        weight_decay=0.01,
        adam_beta2=0.98,
        seed=recipe.seed,
        use_cpu=not torch.cuda.is_available(),
        save_strategy="no",
        logging_steps=200,
        report_to=[],
        dataloader_pin_memory=False,
    )


if __name__ == "__main__":
    train(Recipe(), BUNDLED)
