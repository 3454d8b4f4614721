"""Student answers: greedy and sampled generation in batches with a KV cache."""

import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache as remembered
from functools import partial
from hashlib import sha256
from itertools import groupby, takewhile

import torch
from torch import Tensor
from transformers import (
    DynamicCache,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.cache_utils import DummyLayer, DynamicLayer, DynamicSlidingWindowLayer

from editlib.batching import prompt_ids
from editlib.keysteps import common_prefix

WORTH_SHARING = 16  # tokens that all prompts of a batch begin with, such as exemplars
READ_AT_ONCE = 2_048  # tokens of prompts, so that what is computed stays in a processor's cache
DONE_BEFORE_LEAVING = 0.03  # share of a batch that has ended when those rows are taken out


@torch.inference_mode()
def greedy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[str],
    max_new_tokens: int,
    batch: int,
) -> list[str]:
    """The most likely continuation of each prompt, in the order of the prompts.

    Prompts of like length share a batch, so that little is padded. A continuation ends at the
    end-of-text token or after max_new_tokens; its row then leaves the batch.
    """
    write = partial(continuations, model, tokenizer, max_new_tokens=max_new_tokens)
    return [text for [text] in _in_batches(model, tokenizer, prompts, batch, write)]


@dataclass(frozen=True)
class Sampling:
    """How often and how freely a continuation is drawn."""

    samples: int
    temperature: float  # above 0
    top_p: float  # drawn from the fewest tokens that have this much probability together
    seed: int


@torch.inference_mode()
def sampled(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[str],
    max_new_tokens: int,
    batch: int,
    how: Sampling,
) -> list[list[str]]:
    """Samples of the continuation of each prompt, in the order of the prompts.

    A prompt is read once for all its samples. What a sample says depends on the seed, its number
    and its prompt, not on what shares its batch (but for rounding). batch: rows of a forward pass.
    """

    def write(rows: list[list[int]]) -> list[list[int]]:
        drawn = torch.cat([_draws(row, how, max_new_tokens) for row in rows]).to(model.device)

        def choose(logits: Tensor, rows: Tensor, step: int) -> Tensor:
            return _pick(logits, drawn[rows, step], how)

        return continuations(model, tokenizer, rows, max_new_tokens, how.samples, choose)

    return _in_batches(model, tokenizer, prompts, max(1, batch // how.samples), write)


def _draws(prompt: Sequence[int], how: Sampling, steps: int) -> Tensor:
    """Uniform numbers, (samples, steps), of one prompt and seed; further steps change no others."""
    name = sha256(repr((how.seed, list(prompt))).encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(name[:8], "big") >> 1)
    return torch.rand(steps, how.samples, generator=generator).T


def _pick(logits: Tensor, drawn: Tensor, how: Sampling) -> Tensor:
    """The token of each row at which its share of probability reaches the number drawn for it.

    logits: (rows, V); drawn: (rows,) in [0, 1). As in transformers, temperature comes before
    top-p, and the most likely token is always in.
    """
    likely, ids = (logits.float() / how.temperature).softmax(-1).sort(-1, descending=True)
    reached = likely.cumsum(-1)
    kept = (reached - likely < how.top_p).sum(-1)
    mass = reached.gather(-1, kept[:, None] - 1)
    place = (reached <= drawn[:, None] * mass).sum(-1).minimum(kept - 1)
    return ids.gather(-1, place[:, None]).squeeze(-1)


def _in_batches(model, tokenizer, prompts, batch, write) -> list[list[str]]:
    """What write makes of batches of prompts of like length, as texts in the order of prompts."""
    model.eval()
    encoded = [prompt_ids(tokenizer, prompt) for prompt in prompts]
    order = sorted(range(len(prompts)), key=lambda i: len(encoded[i]))
    answers: list[list[str]] = [[] for _ in prompts]
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        rows = write([encoded[i] for i in chosen])
        samples = len(rows) // len(chosen)
        for row, ids in enumerate(rows):
            text = tokenizer.decode(ids, skip_special_tokens=True)
            answers[chosen[row // samples]].append(text)
    return answers


def _likeliest(logits: Tensor, rows: Tensor, step: int) -> Tensor:
    return logits.argmax(-1)


@torch.inference_mode()
def continuations(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    samples: int = 1,
    choose: Callable[[Tensor, Tensor, int], Tensor] = _likeliest,
) -> list[list[int]]:
    """New ids of each prompt of a batch, without the end token: those of model.generate.

    What all prompts begin with is computed once, and finished rows leave the batch a few at a time.
    samples: continuations of each prompt, one after another in what is returned. choose: the next
    token of each row, given its logits (rows, V), which rows they are, and how many it has.
    A model whose rows cannot be padded or leave its cache goes through model.generate itself.
    """
    if reason := _unfit(model):
        _tell(model.config.model_type, reason)
        return _generated(model, tokenizer, prompts, max_new_tokens, samples, choose)
    written: list[list[int]] = [[] for _ in range(samples * len(prompts))]
    cache, shared = _begin(model, prompts, max_new_tokens)
    rest = [prompt[shared:] for prompt in prompts]
    ids, mask = _pad_left(rest, tokenizer.pad_token_id, model.device)
    mask = torch.cat([mask.new_ones(len(prompts), shared), mask], dim=1)
    positions = (mask.cumsum(1) - 1).clamp(min=0)[:, shared:]
    rows = torch.arange(len(written), device=model.device)  # those still in the batch
    going = torch.ones(len(written), dtype=torch.bool, device=model.device)
    for step in range(max_new_tokens):
        forward = _next if step else _read
        logits = forward(model, ids, mask, positions, cache)
        if samples > 1 and step == 0:
            cache.batch_repeat_interleave(samples)
            logits, mask, positions = (
                x.repeat_interleave(samples, dim=0) for x in (logits, mask, positions)
            )
        tokens = choose(logits, rows, step)
        going &= tokens != tokenizer.eos_token_id
        for row, token in zip(rows[going].tolist(), tokens[going].tolist(), strict=True):
            written[row].append(token)
        if not going.any():
            break
        ids, positions = tokens[:, None], positions[:, -1:] + 1
        mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
        if (~going).sum() >= DONE_BEFORE_LEAVING * len(rows):
            kept = _closed_up(going)
            cache.batch_select_indices(kept)
            rows, ids, mask, positions, going = (
                x[kept] for x in (rows, ids, mask, positions, going)
            )
    return written


def _unfit(model: PreTrainedModel) -> str | None:
    """Why rows of this model cannot be padded, repeated and taken out; None where they can."""
    inner = next(x for x in model.modules() if isinstance(x, PreTrainedModel))  # under adapters
    takes = inspect.signature(type(inner).forward).parameters
    for name in ("past_key_values", "position_ids"):
        if name not in takes:
            return f"its forward takes no {name}"
    for layer in DynamicCache(config=model.config).layers:
        if type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer, DummyLayer):
            return f"its cache has a {type(layer).__name__}"
    return None


@remembered
def _tell(model_type: str, reason: str) -> None:
    warnings.warn(f"{model_type} writes through model.generate: {reason}; slower", stacklevel=3)


def _generated(model, tokenizer, prompts, max_new_tokens, samples, choose) -> list[list[int]]:
    """As continuations, by model.generate, for prompts of one length at a time: none is padded."""
    written: list[list[int]] = [[] for _ in range(samples * len(prompts))]
    end = tokenizer.eos_token_id
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for length, group in groupby(order, key=lambda i: len(prompts[i])):
        places = [samples * i + k for i in group for k in range(samples)]
        rows = torch.tensor(places, device=model.device)
        ids = torch.tensor([prompts[row // samples] for row in places], device=model.device)

        def chosen(ids: Tensor, logits: Tensor, rows=rows, length=length) -> Tensor:
            tokens = choose(logits, rows, ids.shape[1] - length)
            return torch.full_like(logits, -torch.inf).scatter(1, tokens[:, None], 0.0)

        new = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=end,
            logits_processor=LogitsProcessorList([chosen]),
        )
        for row, tokens in zip(places, new[:, length:].tolist(), strict=True):
            written[row] = list(takewhile(lambda token: token != end, tokens))
    return written


def _closed_up(going: Tensor) -> Tensor:
    """Which rows go on, (n,): the last of them in the places of those that have ended."""
    n = int(going.sum())
    kept = torch.arange(n, device=going.device)
    kept[~going[:n]] = n + going[n:].nonzero().squeeze(1)
    return kept


def _begin(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], max_new_tokens: int
) -> tuple[DynamicCache, int]:
    """A cache for these prompts, and how many of their first tokens it holds already."""
    cache = DynamicCache(config=model.config)
    room = max(map(len, prompts)) + max_new_tokens
    cache.layers = [Reserved(room) if type(x) is DynamicLayer else x for x in cache.layers]
    first, last = min(prompts), max(prompts)  # all others lie between them
    shared = min(common_prefix(first, last), min(map(len, prompts)) - 1)
    if shared < WORTH_SHARING or len(prompts) == 1 or not _sees_all(model, cache):
        return cache, 0
    ids = torch.tensor([first[:shared]], device=model.device)
    _next(model, ids, torch.ones_like(ids), torch.arange(shared, device=ids.device)[None], cache)
    cache.batch_repeat_interleave(len(prompts))
    return cache, shared


def _sees_all(model: PreTrainedModel, cache: DynamicCache) -> bool:
    """Whether no layer has a window, which would count the padding after what is shared.

    Only attention through transformers' interface is known to tell its cache of a window.
    """
    return model._supports_attention_backend and all(isinstance(x, Reserved) for x in cache.layers)


class Reserved(DynamicLayer):
    """Keys and values in memory reserved at once: a step writes one token and copies none."""

    def __init__(self, room: int):
        super().__init__()
        self.room = room  # tokens

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        super().lazy_initialization(key_states, value_states)
        self._reserved = [
            x.new_empty(*x.shape[:2], self.room, x.shape[3]) for x in (key_states, value_states)
        ]
        self._show(0)

    def is_empty(self) -> bool:
        return not self.is_initialized

    def take(self, start: int, read: DynamicLayer, rows: int) -> None:
        """Copy what some rows have read, from row start on; there are so many rows in all."""
        if not self.is_initialized:
            self.lazy_initialization(
                *(x[:1].expand(rows, -1, -1, -1) for x in (read.keys, read.values))
            )
        n, _, length, _ = read.keys.shape
        for whole, new in zip(self._reserved, (read.keys, read.values), strict=True):
            whole[start : start + n, :, :length] = new
        self._show(length)

    def update(self, key_states: Tensor, value_states: Tensor, *args, **kwargs):
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.keys.shape[2]
        end = start + key_states.shape[2]
        for whole, new in zip(self._reserved, (key_states, value_states), strict=True):
            whole[:, :, start:end] = new
        self._show(end)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows; one that stays in its place is not copied."""
        length, n = self.keys.shape[2], len(indices)
        moved = (indices != torch.arange(n, device=indices.device)).nonzero().squeeze(1)
        for whole in self._reserved:
            whole[moved, :, :length] = whole[indices[moved], :, :length]
        self._reserved = [whole[:n] for whole in self._reserved]
        self._show(length)

    def batch_repeat_interleave(self, repeats: int) -> None:
        self._reserved = [whole.repeat_interleave(repeats, dim=0) for whole in self._reserved]
        self._show(self.keys.shape[2])

    def _show(self, length: int) -> None:
        self.keys, self.values = (whole[:, :, :length] for whole in self._reserved)


def _pad_left(rows: Sequence[Sequence[int]], pad: int, device) -> tuple[Tensor, Tensor]:
    """Ids and mask (1: a token, 0: padding), both rows x longest row."""
    width = max(map(len, rows))
    ids = [[pad] * (width - len(row)) + list(row) for row in rows]
    mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _read(
    model: PreTrainedModel, ids: Tensor, mask: Tensor, positions: Tensor, cache: DynamicCache
) -> Tensor:
    """As _next, for prompts: a few rows at a time where the cache is empty and in our hands."""
    size = max(1, READ_AT_ONCE // ids.shape[1])
    if len(ids) <= size or not all(isinstance(x, Reserved) and x.is_empty() for x in cache.layers):
        return _next(model, ids, mask, positions, cache)
    logits = []
    for start in range(0, len(ids), size):
        part = DynamicCache(config=model.config)
        logits.append(
            _next(model, *(x[start : start + size] for x in (ids, mask, positions)), part)
        )
        for layer, read in zip(cache.layers, part.layers, strict=True):
            layer.take(start, read, len(ids))
    return torch.cat(logits)


def _next(
    model: PreTrainedModel, ids: Tensor, mask: Tensor, positions: Tensor, cache: DynamicCache
) -> Tensor:
    """Logits of the next token of each row, (rows, V); the cache grows by ids."""
    logits = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits
    return logits[:, -1]
