"""Rows of unlike lengths one after another: no padding, and what two rows share computed once.

A batch is one long row of segments. A segment is a trunk and, for a pair, a branch that sees the
first tokens of the trunk and then itself: the second rationale after all that it shares with the
first. Attention stays within a segment; nothing else in a decoder looks across tokens.
"""

from collections.abc import Sequence
from itertools import accumulate, chain

import numpy as np
import torch
from accelerate.utils import send_to_device
from torch import Tensor
from torch.backends.cuda import SDPAParams, can_use_flash_attention
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from editlib import unread
from editlib.batching import parts
from editlib.keysteps import common_prefix

NAME = "ragged"
_FULL = "full_attention"  # transformers' name for a layer without a window
PROBE = (1, 4), (4, 6), (6, 10), (10, 13)  # prompt, shared, and the rest of both sides: a pair
UNREAD = (1, 1, 1, 1)  # shape of a mask: its dimensions keep transformers from making one of T x T
ROUNDING = 0.25  # of what a plainly wrong reading differs by, what a right one may
# arguments that make attention another one
TWISTS = ("s_aux", "softcap", "sliding_window", "indices", "block_indices")
Segment = tuple[int, int, int]  # tokens of: the trunk's part that the branch sees, its rest, branch


class Unlike(ValueError):
    """A decoder calls its attention in a way that a ragged batch cannot go."""


def attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    segments: Sequence[Segment] | None = None,
    **kwargs,
) -> tuple[Tensor, None]:
    """Causal attention within each segment; without segments, that of sdpa.

    query: (1, heads, T, size), key and value: (1, key heads, T, size), T the tokens of all
    segments. Returns (1, T, heads, size). Raises Unlike where the decoder asks for another one.
    """
    unread = attention_mask is not None and attention_mask.shape == UNREAD
    if segments is None:
        if unread and query.shape[2] > 1:
            raise Unlike("its attention is not told of segments")
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    if not unread:
        raise Unlike("it makes a mask of its own")
    if twists := [name for name in TWISTS if kwargs.get(name) is not None]:
        raise Unlike(f"its attention takes {' and '.join(twists)}")
    query, key = query.to(value.dtype), key.to(value.dtype)  # autocast leaves rotated ones wider
    groups = query.shape[1] // key.shape[1]
    keys, values = (_seen(repeat_kv(x, groups), segments) for x in (key, value))
    rows, columns = _sizes(segments)
    dropout, scale = kwargs.get("dropout", 0.0), kwargs.get("scaling")
    if not dropout and can_use_flash_attention(
        SDPAParams(query, keys, values, None, dropout, False, False)
    ):
        return _at_once(query, keys, values, rows, columns, scale), None
    how = {"dropout_p": dropout, "scale": scale}
    # split, not slices: the backward pass of a slice fills a whole tensor with zeros
    parts = (x.split(n, dim=2) for x, n in ((query, rows), (keys, columns), (values, columns)))
    done = [_lower_right(*each, **how) for each in zip(*parts, strict=True)]
    return torch.cat(done, dim=2).transpose(1, 2).contiguous(), None


def _seen(x: Tensor, segments: Sequence[Segment]) -> Tensor:
    """Of keys or values, what each trunk sees and then what its branch sees, one after another."""
    pieces = iter(x.split(list(chain.from_iterable(segments)), dim=2))
    seen = []
    for _, _, branch in segments:
        shared, rest, own = next(pieces), next(pieces), next(pieces)
        seen += [shared, rest, shared, own] if branch else [shared, rest]
    return torch.cat(seen, dim=2)


def _sizes(segments: Sequence[Segment]) -> tuple[list[int], list[int]]:
    """Tokens of each trunk and of each branch, and how many each of them sees."""
    rows, columns = [], []
    for shared, rest, branch in segments:
        rows += [shared + rest, branch] if branch else [shared + rest]
        columns += [shared + rest, shared + branch] if branch else [shared + rest]
    return rows, columns


def _lower_right(query: Tensor, key: Tensor, value: Tensor, **how) -> Tensor:
    """The last row sees every column, each row before it one less."""
    rows, columns = query.shape[2], key.shape[2]
    if rows == columns:
        return scaled_dot_product_attention(query, key, value, is_causal=True, **how)
    mask = torch.ones(rows, columns, dtype=torch.bool, device=query.device).tril(columns - rows)
    return scaled_dot_product_attention(query, key, value, attn_mask=mask, **how)


def _at_once(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    rows: list[int],
    columns: list[int],
    scale: float | None,
) -> Tensor:
    """The same in one call of flash attention, which takes half precision on a GPU."""
    ends = (
        torch.tensor([0, *accumulate(n)], dtype=torch.int32).to(query.device, non_blocking=True)
        for n in (rows, columns)
    )
    q, k, v = (x.squeeze(0).transpose(0, 1) for x in (query, keys, values))
    causal = {"scale": scale, "window_size": (-1, 0)}  # lower right where they see more
    return varlen_attn(q, k, v, *ends, max(rows), max(columns), **causal).unsqueeze(0)


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)  # for calls without segments, such as generation


def install(model: PreTrainedModel) -> str | None:
    """Let a decoder take ragged batches; returns what stands in the way, None where nothing does.

    A made-up pair is read both ways first, since a decoder may do with its attention what nobody
    can tell from its configuration. Everything else (generation, evaluation) goes on as with sdpa.
    Where rotary positions depend on the length of a text (dynamic, longrope), they do so on that
    of a segment here and on that of a padded row elsewhere.
    """
    usual = model.config._attn_implementation
    if usual == NAME:
        return None
    if found := _obstacle(model):
        return found
    hooks = unread.install(model)
    found = _tried(model)
    if found and hooks:
        for hook in hooks:
            hook.remove()
        found = _tried(model)
    model.set_attn_implementation(usual if found else NAME)
    return found


def _tried(model: PreTrainedModel) -> str | None:
    """What differs, or goes wrong, when a pair is read; the model's attention is replaced by it."""
    training = model.training
    model.eval()
    try:
        return _misread(model)
    except Exception as error:  # of whatever model: it goes on in the plain way
        return f"{type(error).__name__}: {error}".removeprefix("Unlike: ").partition("\n")[0]
    finally:
        model.train(training)


def bare(model: torch.nn.Module) -> PreTrainedModel:
    """The model itself, under adapters."""
    return next(x for x in model.modules() if isinstance(x, PreTrainedModel))


def _obstacle(model: PreTrainedModel) -> str | None:
    """What its configuration says against it: every layer must see all that came before."""
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    if not model._supports_attention_backend:
        return "its attention cannot be replaced"
    if set(kinds) != {_FULL} if kinds else getattr(config, "sliding_window", None):
        return "not all of its layers see all that came before"
    if getattr(config, "attn_logit_softcapping", None):
        return "its attention is capped"
    if getattr(config, "output_router_logits", False):
        return "it gives out router logits, which are counted by a mask"
    return None


@torch.no_grad()
def _misread(model: PreTrainedModel) -> str | None:
    """What differs when a pair is read at once from its sides read alone; None: rounding at most.

    In half precision rounding can hide much, so that what differs is also held against a reading
    in which the branch sees the whole trunk.
    """
    n = model.get_input_embeddings().num_embeddings
    prompt, shared, right, wrong = ([7 * i % n for i in range(*ends)] for ends in PROBE)
    sides = {"correct": shared + right, "wrong": shared + wrong}
    packed = send_to_device(pack_whole_duals([{"prompt": prompt, **sides}]), model.device)
    texts = [torch.tensor([prompt + side], device=model.device) for side in sides.values()]
    logits = [model(ids, use_cache=False).logits[0, len(prompt) - 1 : -1] for ids in texts]
    alone = -cross_entropy(torch.cat(logits).float(), packed["targets"], reduction="none")
    model.set_attn_implementation(NAME)
    whole = [(packed["input_ids"].shape[1], 0, 0)]
    apart, spoilt = (
        (token_logp(model, packed | {"segments": segments}) - alone).norm()
        for segments in (packed["segments"], whole)
    )
    eps = torch.finfo(model.dtype).eps
    if apart <= eps**0.5 * alone.norm() and apart <= max(ROUNDING * spoilt, eps * alone.norm()):
        return None
    return "it reads a pair that shares its prompt otherwise than two texts"


# --- rows to ragged batches ------------------------------------------------------------------


def pack_responses(rows: Sequence[dict]) -> dict:
    """One segment a part of a row: prompt and response, whose every token is asked for.

    rows: as batching.collate_responses takes them. Returns what token_logp takes.
    """
    packed = _Packed()
    for row in parts(rows):
        trunk = [*row["prompt"], *row["response"][:-1]]  # the last token predicts nothing
        first = packed.add(trunk, [], []) + _last(row["prompt"])
        packed.ask(range(first, first + len(row["response"])), row["response"])
    return packed.inputs()


def pack_duals(rows: Sequence[dict]) -> dict:
    """One segment a pair: what both sides share once, then the rest of each up to its last key.

    rows: prompt, correct, wrong (ids) and correct_key, wrong_key (bool, one per response id); only
    key tokens are asked for, those of all correct sides first. Returns what token_logp takes.
    """
    packed, wrongs = _Packed(), []
    for row in rows:
        keys = [np.flatnonzero(row[f"{side}_key"]).tolist() for side in ("correct", "wrong")]
        correct, wrong = (
            row[side][: key[-1] if key else 0]
            for side, key in zip(("correct", "wrong"), keys, strict=True)
        )
        shared = common_prefix(correct, wrong)
        trunk, before = [*row["prompt"], *correct[:shared]], _last(row["prompt"])
        start = packed.add(trunk, correct[shared:], wrong[shared:])
        packed.ask([start + before + t for t in keys[0]], [row["correct"][t] for t in keys[0]])
        skip = len(correct) - shared  # tokens of the correct side alone
        places = [start + before + t + (skip if t > shared else 0) for t in keys[1]]
        wrongs.append((places, [row["wrong"][t] for t in keys[1]]))
    for places, targets in wrongs:
        packed.ask(places, targets)
    return packed.inputs()


def pack_whole_duals(rows: Sequence[dict]) -> dict:
    """As pack_duals, but asks for every token of both sides."""
    sides = ("correct", "wrong")
    return pack_duals(
        [r | {f"{s}_key": np.ones(len(r[s]), dtype=bool) for s in sides} for r in rows]
    )


def _last(prompt: Sequence[int]) -> int:
    """Where a prompt ends, which is what foretells the first token of a response."""
    if not len(prompt):
        raise ValueError("a prompt holds no token: nothing foretells the first one of its response")
    return len(prompt) - 1


class _Packed:
    """A ragged batch while it is put together."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.segments: list[Segment] = []
        self.places: list[int] = []
        self.targets: list[int] = []

    def add(self, shared: Sequence[int], rest: Sequence[int], branch: Sequence[int]) -> int:
        """Append a segment; returns where it starts."""
        start = len(self.ids)
        self.ids += [*shared, *rest, *branch]
        self.positions += range(len(shared) + len(rest))
        self.positions += range(len(shared), len(shared) + len(branch))
        self.segments.append((len(shared), len(rest), len(branch)))
        return start

    def ask(self, places: Sequence[int], targets: Sequence[int]) -> None:
        """Ask for the log-probability of each target after the token at its place."""
        self.places.extend(places)
        self.targets.extend(targets)

    def inputs(self) -> dict:
        return {
            "input_ids": torch.tensor([self.ids]),
            "position_ids": torch.tensor([self.positions]),
            "attention_mask": torch.zeros(UNREAD),
            "segments": self.segments,
            "logits_to_keep": torch.tensor(self.places, dtype=torch.long),  # also of none
            "targets": torch.tensor(self.targets, dtype=torch.long),
            unread.NAME: torch.tensor(sorted({*self.places}), dtype=torch.long),
        }


def token_logp(model: torch.nn.Module, packed: dict) -> Tensor:
    """Log-probability (nats, float32) of each token asked for, in the order of asking; (N,)."""
    return -cross_entropy(token_logits(model, packed), packed["targets"], reduction="none")


def token_logits(model: torch.nn.Module, packed: dict) -> Tensor:
    """Logits (N, V), float32, in the place of each token asked for, in the order of asking."""
    inputs = {name: value for name, value in packed.items() if name != "targets"}
    logits = model(**inputs, use_cache=False).logits.squeeze(0)  # [0] is slower on the way back
    return logits.float()
