"""Greedy decoding on one thread, as in every process of a run, beside transformers' generate."""

from functools import partial

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from editlib import bases, decoding, encoding, profiles, prompts, puzzles, students
from editlib.bench import REPEATS, Baseline, Benchmark, one_thread

BATCH = 128
PROMPT, NEW = 80, 96  # tokens, of the fixed lengths
REAL, NEW_REAL = 64, 224  # puzzles of a batch, tokens at most as in the profile mini
TASKS, SHOWN, NEW_FEW = 2, 1_000, 16  # SHOWN: tokens of exemplars, about those of BBH
CONTEXT = 2_048  # tokens

Ids = list[list[int]]


def benchmarks() -> list[Benchmark]:
    """Prompts and answers of one length, those of puzzles, and few-shot prompts of tasks."""
    student = profiles.load("mini").student
    tokenizer, base = bases.load_tokenizer(student), students.load_base(student)
    endless = _endless(base, tokenizer.eos_token_id)
    fixed, real = _fixed(len(tokenizer)), _real(tokenizer)
    check(base, tokenizer, real[0][:24])
    check(endless, tokenizer, fixed[0][:24])
    few = _few(fixed, len(tokenizer))
    check(endless, tokenizer, few[0][: 2 * TASKS])
    return [
        Benchmark(
            "decoding",
            f"{BATCH} prompts of {PROMPT} tokens, {NEW} new ones, 1 thread",
            lambda i: kit(endless, tokenizer, fixed[i], NEW),
            {"generate": Baseline(lambda i: generate(endless, tokenizer, fixed[i], NEW), 1.5)},
        ),
        Benchmark(
            "decoding",
            f"{2 * REAL} puzzles in batches of {REAL}, 1 thread",
            lambda i: kit(base, tokenizer, real[i], batch=REAL),
            {"generate": Baseline(lambda i: unsorted(base, tokenizer, real[i]), 2.5)},
        ),
        Benchmark(
            "decoding",
            f"few-shot, {len(few[0])} prompts of {TASKS} tasks, {NEW_FEW} new tokens, 1 thread",
            lambda i: kit(endless, tokenizer, few[i], NEW_FEW),
            {"generate": Baseline(lambda i: generate(endless, tokenizer, few[i], NEW_FEW), 3)},
        ),
    ]


def _endless(base: PreTrainedModel, end: int) -> PreTrainedModel:
    """The base with other weights, among which the end token never wins, and a longer context."""
    torch.manual_seed(0)
    context = {"max_position_embeddings": CONTEXT}
    model = LlamaForCausalLM(LlamaConfig.from_dict(base.config.to_dict() | context)).eval()
    with torch.no_grad():
        model.get_input_embeddings().weight[end] = 0.0  # tied: its logit is 0
    return model


def _fixed(vocabulary: int) -> list[Ids]:
    torch.manual_seed(0)
    return torch.randint(1, vocabulary, (REPEATS, BATCH, PROMPT)).tolist()


def _few(rows: list[Ids], vocabulary: int) -> list[Ids]:
    """Some of them as questions of several tasks in turn, after the exemplars of each."""
    torch.manual_seed(1)
    shown = torch.randint(1, vocabulary, (TASKS, SHOWN)).tolist()
    return [[shown[i % TASKS] + ids for i, ids in enumerate(some[: BATCH // 8])] for some in rows]


def _real(tokenizer) -> list[Ids]:
    asked = puzzles.questions("test", REPEATS * 2 * REAL // len(puzzles.IN_DOMAIN) + 1)
    ids = encoding.prompt_ids(tokenizer, [prompts.student(each.text) for each in asked])
    return [ids[i::REPEATS][: 2 * REAL] for i in range(REPEATS)]


@one_thread()
@torch.inference_mode()
def generate(model: PreTrainedModel, tokenizer, rows: Ids, new: int) -> Ids:
    """New ids by transformers' own loop, its cache growing by concatenation."""
    inputs = tokenizer.pad({"input_ids": rows}, padding_side="left", return_tensors="pt")
    width = inputs["input_ids"].shape[1]
    ends = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    out = model.generate(**inputs, do_sample=False, use_cache=True, max_new_tokens=new, **ends)[
        :, width:
    ]
    return [_closed(row, tokenizer.eos_token_id) for row in out.tolist()]


def _closed(ids: list[int], end: int) -> list[int]:
    return ids[: ids.index(end)] if end in ids else ids


def unsorted(model: PreTrainedModel, tokenizer, rows: Ids) -> Ids:
    """Batches in the order of the questions."""
    return [
        ids
        for start in range(0, len(rows), REAL)
        for ids in generate(model, tokenizer, rows[start : start + REAL], NEW_REAL)
    ]


@one_thread()
def kit(
    model: PreTrainedModel, tokenizer, rows: Ids, new: int = NEW_REAL, batch: int = BATCH
) -> Ids:
    begun = decoding.Beginnings(model, rows)
    rows = sorted(rows, key=begun.place)
    write = partial(decoding.continuations, model, tokenizer, max_new_tokens=new, begun=begun)
    return [
        ids for start in range(0, len(rows), batch) for ids in write(rows[start : start + batch])
    ]


def check(model: PreTrainedModel, tokenizer, rows: Ids) -> None:
    """Raise AssertionError unless both ways write the same tokens."""
    rows = sorted(rows, key=decoding.Beginnings(model, rows).place)  # as the kit writes them
    assert kit(model, tokenizer, rows) == unsorted(model, tokenizer, rows)
