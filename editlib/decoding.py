"""Student answers: greedy and sampled generation in batches with a KV cache."""

import inspect
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache as remembered
from functools import partial
from hashlib import sha256
from itertools import groupby, takewhile

import numpy as np
import torch
from torch import Tensor
from transformers import (
    DynamicCache,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.cache_utils import DummyLayer, DynamicLayer, DynamicSlidingWindowLayer

from editlib import drafts, newest, ragged
from editlib.encoding import prompt_ids, response_ids
from editlib.keysteps import common_prefix

WORTH_SHARING = 64  # tokens that prompts begin with, such as exemplars; puzzles share fewer
READ_AT_ONCE = 2_048  # tokens of prompts, so that what is computed stays in a processor's cache
GROWTH = 32  # tokens that a cache has room for beyond what it holds, where so many may come
FEW = 64  # tokens that mostly hold all the probability that is drawn from
DONE_BEFORE_LEAVING = 0.03  # share of a batch that has ended when those rows are taken out


@torch.inference_mode()
def greedy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[str],
    max_new_tokens: int,
    batch: int,
    likely: Sequence[str] = (),
) -> list[str]:
    """The most likely continuation of each prompt, in the order of the prompts.

    Prompts that begin alike share batches, and so do those of like length, so that little is read
    twice or padded. A continuation ends at the end-of-text token or after max_new_tokens; its row
    then leaves the batch. likely: what may well be the continuation of each; where it is, it is
    read and not written. The result is the same, but for rounding and for rotary positions that
    depend on the length of a text (dynamic), which see more of it. Within the model's context.
    """
    model.eval()
    encoded = prompt_ids(tokenizer, prompts)
    begun: list[list[int]] = [[] for _ in encoded]
    if len(likely):
        expected = [ids[:max_new_tokens] for ids in response_ids(tokenizer, likely)]
        begun = drafts.standing(model, encoded, expected)
    end = tokenizer.eos_token_id
    going = [i for i, ids in enumerate(begun) if len(ids) < max_new_tokens and end not in ids]
    left = max_new_tokens - min((len(begun[i]) for i in going), default=0)
    write = partial(continuations, model, tokenizer, max_new_tokens=left)
    rest = _in_batches(model, [encoded[i] + begun[i] for i in going], batch, write)
    for i, [ids] in zip(going, rest, strict=True):
        begun[i] = (begun[i] + ids)[:max_new_tokens]
    said = [list(takewhile(lambda token: token != end, ids)) for ids in begun]
    return [tokenizer.decode(ids, skip_special_tokens=True) for ids in said]


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

    def write(rows: list[list[int]], begun: Beginnings) -> list[list[int]]:
        drawn = torch.cat([_draws(row, how, max_new_tokens) for row in rows]).to(model.device)

        def choose(logits: Tensor, rows: Tensor, step: int) -> Tensor:
            return _pick(logits, drawn[rows, step], how)

        return continuations(model, tokenizer, rows, max_new_tokens, how.samples, choose, begun)

    model.eval()
    encoded = prompt_ids(tokenizer, prompts)
    written = _in_batches(model, encoded, max(1, batch // how.samples), write)
    return [[tokenizer.decode(ids, skip_special_tokens=True) for ids in row] for row in written]


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
    likely, ids = _likeliest_first((logits.float() / how.temperature).softmax(-1), how.top_p)
    reached = likely.cumsum(-1)
    kept = (reached - likely < how.top_p).sum(-1)
    mass = reached.gather(-1, kept[:, None] - 1)
    place = (reached <= drawn[:, None] * mass).sum(-1).minimum(kept - 1)
    return ids.gather(-1, place[:, None]).squeeze(-1)


def _likeliest_first(shares: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """Probabilities (rows, V) and their tokens, the largest first: as many as hold top_p together.

    The largest few mostly do, and are found faster than all are sorted.
    """
    few, ids = shares.topk(min(FEW, shares.shape[-1]))
    if (few.cumsum(-1)[:, -1] < top_p).any():
        return shares.sort(-1, descending=True)
    return few, ids


def _in_batches(model, encoded, batch, write) -> list[list[list[int]]]:
    """What write makes of batches of prompts (ids), those alike together, in their order."""
    begun = Beginnings(model, encoded)
    order = sorted(range(len(encoded)), key=lambda i: begun.place(encoded[i]))
    answers: list[list[list[int]]] = [[] for _ in encoded]
    parts = math.ceil(len(order) / batch)  # of like size: a small one takes nearly as long
    for chosen in np.array_split(order, parts) if parts else []:
        rows = write([encoded[i] for i in chosen], begun=begun)
        samples = len(rows) // len(chosen)
        for row, ids in enumerate(rows):
            answers[chosen[row // samples]].append(ids)
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
    begun: "Beginnings | None" = None,
    ends: Sequence[int] | None = None,
) -> list[list[int]]:
    """New ids of each prompt of a batch, without the end token.

    They are those that model.generate writes after that prompt alone, greedily and without
    penalties; rotary positions that depend on the length of a text (dynamic) see the batch's.
    Finished rows leave the batch a few at a time. samples: continuations of each prompt, one after
    another in what is returned. choose: the next token of each row, given its logits (rows, V),
    which rows they are, and how many it has. begun: what these prompts and others begin with.
    ends: tokens that each end a continuation (None: the end token of the tokenizer).
    A model whose rows cannot be padded or leave its cache goes through model.generate itself.
    """
    ends = [tokenizer.eos_token_id] if ends is None else list(ends)
    if reason := _unfit(model):
        _tell(model.config.model_type, reason)
        return _generated(model, tokenizer, prompts, max_new_tokens, samples, choose, ends)
    begun = begun or Beginnings(model, prompts)
    with newest.installed(ragged.bare(model)):
        return _step_by_step(
            model, tokenizer, prompts, max_new_tokens, samples, choose, begun, ends
        )


def _step_by_step(model, tokenizer, prompts, max_new_tokens, samples, choose, begun, ends):
    """As continuations, a token of every row at a time."""
    logits, mask, cache = _read(model, tokenizer, prompts, begun, max_new_tokens)
    if samples > 1:
        cache.batch_repeat_interleave(samples)
        logits, mask = (x.repeat_interleave(samples, dim=0) for x in (logits, mask))
    positions = mask.sum(1, keepdim=True) - 1
    written: list[list[int]] = [[] for _ in logits]
    rows = torch.arange(len(written), device=model.device)  # those still in the batch
    going = torch.ones(len(written), dtype=torch.bool, device=model.device)
    last = torch.tensor(ends, device=model.device)
    for step in range(max_new_tokens):
        tokens = choose(logits, rows, step)
        going &= (tokens[:, None] != last).all(1)
        for row, token in zip(rows[going].tolist(), tokens[going].tolist(), strict=True):
            written[row].append(token)
        if not going.any() or step + 1 == max_new_tokens:
            break
        ids, positions = tokens[:, None], positions + 1
        mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
        if (~going).sum() >= DONE_BEFORE_LEAVING * len(rows):
            kept = _closed_up(going)
            cache.batch_select_indices(kept)
            rows, ids, mask, positions, going = (
                x[kept] for x in (rows, ids, mask, positions, going)
            )
        logits = _next(model, ids, mask, positions, cache)
    return written


def _unfit(model: PreTrainedModel) -> str | None:
    """Why rows of this model cannot be padded, repeated and taken out; None where they can."""
    takes = inspect.signature(type(ragged.bare(model)).forward).parameters
    for name in ("past_key_values", "position_ids"):
        if name not in takes:
            return f"its forward takes no {name}"
    if len({*getattr(model, "hf_device_map", {}).values()}) > 1:
        return "it lies on several devices"
    if getattr(model.config, "output_router_logits", False):
        return "it gives out router logits, which are counted by a mask"
    if any(hasattr(model.config, name) for name in ("keep_window_size", "index_topk")):
        return "its attention picks tokens, and others where there is padding"
    for layer in DynamicCache(config=model.config).layers:
        if type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer, DummyLayer):
            return f"its cache has a {type(layer).__name__}"
    return None


@remembered
def _tell(model_type: str, reason: str) -> None:
    warnings.warn(f"{model_type} writes through model.generate: {reason}; slower", stacklevel=3)


def _generated(model, tokenizer, prompts, max_new_tokens, samples, choose, ends):
    """As continuations, by model.generate, for prompts of one length at a time: none is padded."""
    written: list[list[int]] = [[] for _ in range(samples * len(prompts))]
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
            repetition_penalty=1.0,  # whatever the model has by default, and the next
            no_repeat_ngram_size=0,
            max_new_tokens=max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=ends or None,
            logits_processor=LogitsProcessorList([chosen]),
        )
        for row, tokens in zip(places, new[:, length:].tolist(), strict=True):
            written[row] = list(takewhile(lambda token: token not in ends, tokens))
    return written


def _closed_up(going: Tensor) -> Tensor:
    """Which rows go on, (n,): the last of them in the places of those that have ended."""
    n = int(going.sum())
    kept = torch.arange(n, device=going.device)
    kept[~going[:n]] = n + going[n:].nonzero().squeeze(1)
    return kept


Ids = tuple[int, ...]


class Beginnings:
    """What prompts begin with that share most of what they say, such as the exemplars of a task.

    Each is computed once as long as its prompts come one after another: the last one is kept.
    """

    def __init__(self, model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> None:
        self.model = model
        self._of = _shared(prompts) if _unfit(model) is None and _sees_all(model) else {}
        self._kept: tuple[Ids, DynamicCache] | None = None

    def of(self, prompt: Sequence[int]) -> Ids:
        """The tokens that a prompt shares; none where too few are shared."""
        return self._of.get(tuple(prompt), ())

    def place(self, prompt: Sequence[int]) -> tuple:
        """Sorts prompts that begin alike together, and those by length."""
        begin = self.of(prompt)
        return len(begin), begin, len(prompt)

    def copy(self, begin: Ids, rows: int, cache: DynamicCache) -> None:
        """Keys and values of a beginning into so many rows of an empty cache."""
        if self._kept is None or self._kept[0] != begin:
            self._kept = None  # never two of them in memory
            ids = torch.tensor([begin], device=self.model.device)
            positions = torch.arange(len(begin), device=ids.device)[None]
            self._kept = begin, DynamicCache(config=self.model.config)
            _next(self.model, ids, torch.ones_like(ids), positions, self._kept[1])
        for layer, kept in zip(cache.layers, self._kept[1].layers, strict=True):
            layer.update(*(x.expand(rows, -1, -1, -1) for x in (kept.keys, kept.values)))


def _shared(prompts: Sequence[Sequence[int]]) -> dict[Ids, Ids]:
    """What each prompt of a group begins with, which is what all of its group begin with.

    In sorted order, a group goes on while more than half of a prompt is that of its first one.
    """
    found: dict[Ids, Ids] = {}
    group: list[Ids] = []
    for prompt in [*sorted(map(tuple, prompts)), ()]:
        if group and 2 * common_prefix(group[0], prompt) <= max(len(group[0]), len(prompt)):
            shared = min(common_prefix(group[0], group[-1]), min(map(len, group)) - 1)
            if len(group) > 1 and shared >= WORTH_SHARING:
                found |= dict.fromkeys(group, group[0][:shared])
            group = []
        group.append(prompt)
    return found


def _reserved(model: PreTrainedModel, room: int) -> DynamicCache:
    """A cache with room for so many tokens of each row, where its layers see all of them."""
    cache = DynamicCache(config=model.config)
    cache.layers = [Reserved(room) if type(x) is DynamicLayer else x for x in cache.layers]
    return cache


def _sees_all(model: PreTrainedModel) -> bool:
    """Whether no layer has a window, which would count the padding after what is shared.

    Only attention through transformers' interface is known to tell its cache of a window.
    """
    layers = DynamicCache(config=model.config).layers
    return model._supports_attention_backend and all(type(x) is DynamicLayer for x in layers)


class Reserved(DynamicLayer):
    """Keys and values in reserved memory: a step writes one token and copies none.

    What is not written yet is zero: read without weight, it must be a number.
    """

    def __init__(self, room: int):
        super().__init__()
        self.room = room  # tokens

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        super().lazy_initialization(key_states, value_states)
        self._reserved = [
            x.new_zeros(*x.shape[:2], self.room, x.shape[3]) for x in (key_states, value_states)
        ]
        self._show(0)

    def take(self, part: slice, read: DynamicLayer, rows: int, width: int) -> None:
        """Copy what some rows have read to the end of their width, after padding; rows: in all."""
        if not self.is_initialized:
            self.lazy_initialization(
                *(x[:1].expand(rows, -1, -1, -1) for x in (read.keys, read.values))
            )
        padding = width - read.keys.shape[2]
        for whole, new in zip(self._reserved, (read.keys, read.values), strict=True):
            whole[part, :, padding:width] = new
        self._show(width)

    def update(self, key_states: Tensor, value_states: Tensor, *args, **kwargs):
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.keys.shape[2]
        end = start + key_states.shape[2]
        if end > self._reserved[0].shape[2]:
            self._reserved = [self._wider(whole, start) for whole in self._reserved]
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

    @staticmethod
    def _wider(whole: Tensor, length: int) -> Tensor:
        """The same with more room; the memory of rows that left goes with the old."""
        wider = whole.new_empty(*whole.shape[:2], whole.shape[2] + GROWTH, whole.shape[3])
        wider[:, :, :length], wider[:, :, length:] = whole[:, :, :length], 0
        return wider

    def batch_repeat_interleave(self, repeats: int) -> None:
        self._reserved = [whole.repeat_interleave(repeats, dim=0) for whole in self._reserved]
        self._show(self.keys.shape[2])

    def _show(self, length: int) -> None:
        self.keys, self.values = (whole[:, :, :length] for whole in self._reserved)
        self.keys.whole, self.values.whole = self._reserved  # which newest.attention reads


def _pad_left(rows: Sequence[Sequence[int]], pad: int, device) -> tuple[Tensor, Tensor]:
    """Ids and mask (1: a token, 0: padding), both rows x longest row."""
    width = max(map(len, rows))
    ids = [[pad] * (width - len(row)) + list(row) for row in rows]
    mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _read(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    begun: Beginnings,
    new: int,
) -> tuple[Tensor, Tensor, DynamicCache]:
    """Logits of the token after each prompt, (rows, V), mask, and cache with room for new ones.

    A cache that is not in our hands is filled by all prompts at once.
    """
    width = max(map(len, prompts))
    cache = _reserved(model, width + min(new, GROWTH))
    ours = all(isinstance(x, Reserved) for x in cache.layers)
    parts = _parts(prompts, begun) if ours else [(slice(None), ())]
    mask = torch.zeros(len(prompts), width, dtype=torch.long, device=model.device)
    logits = []
    for part, begin in parts:
        rest = [prompt[len(begin) :] for prompt in prompts[part]]
        ids, seen = _pad_left(rest, tokenizer.pad_token_id, model.device)
        seen = torch.cat([seen.new_ones(len(rest), len(begin)), seen], dim=1)
        positions = (seen.cumsum(1) - 1).clamp(min=0)[:, len(begin) :]
        mask[part, width - seen.shape[1] :] = seen
        read = cache if len(parts) == 1 else _reserved(model, seen.shape[1])
        if begin:
            begun.copy(begin, len(rest), read)
        logits.append(_next(model, ids, seen, positions, read))
        if read is not cache:
            for layer, some in zip(cache.layers, read.layers, strict=True):
                layer.take(part, some, *mask.shape)
    return torch.cat(logits), mask, cache


def _parts(prompts: Sequence[Sequence[int]], begun: Beginnings) -> list[tuple[slice, Ids]]:
    """Rows that are read together, and what they begin with: a few of those that begin alike."""
    parts, end = [], 0
    for begin, group in groupby(prompts, key=begun.of):
        lengths = [len(prompt) for prompt in group]
        start, end = end, end + len(lengths)
        size = max(1, READ_AT_ONCE // (max(lengths) - len(begin)))
        parts += [(slice(i, min(i + size, end)), begin) for i in range(start, end, size)]
    return parts


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
