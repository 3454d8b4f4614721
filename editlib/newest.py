"""Attention of the newest token of each row, on a processor: what most of decoding goes by.

sdpa reads a cache at a fraction of what memory gives: two matrix products take half its time. They
run over all the room of a cache, since a processor reads a little more in one piece faster than
less with gaps; what is not written yet gets no weight.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from editlib import ragged

NAME = "newest"
TWISTS = (*ragged.TWISTS, "position_bias", "cache")


def attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs,
) -> tuple[Tensor, None]:
    """What one token of each row sees in a cache; more tokens and other attention go by sdpa.

    query: (rows, heads, 1, size), key and value: (rows, key heads, T, size), each a part of the
    tensor that its attribute whole names, if it has one. attention_mask: bool (rows, 1, 1, T).
    Returns (rows, 1, heads, size).
    """
    if not _plain(query, attention_mask, kwargs):
        kwargs["scaling"] = scaling
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    (rows, heads, _, size), seen = query.shape, key.shape[2]
    if all(hasattr(x, "whole") for x in (key, value)):  # neither was made of another since
        key, value = key.whole, value.whole
    scale = size**-0.5 if scaling is None else scaling
    scores = (query * scale).reshape(rows, key.shape[1], -1, size) @ key.transpose(2, 3)
    scores[..., seen:] = -torch.inf
    if attention_mask is not None:
        scores[..., :seen].masked_fill_(~attention_mask, -torch.inf)
    return (scores.softmax(-1) @ value).reshape(rows, 1, heads, -1), None


def _plain(query: Tensor, mask: Tensor | None, kwargs: dict) -> bool:
    """Whether it is one token a row in float32, of which a mask at most hides some of a row."""
    twisted = kwargs.get("dropout") or any(kwargs.get(name) is not None for name in TWISTS)
    common = mask is None or (mask.dtype == torch.bool and mask.shape[1] == 1)
    return query.shape[2] == 1 and query.dtype == torch.float32 and common and not twisted


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)


@contextmanager
def installed(model: PreTrainedModel) -> Iterator[None]:
    """Within it, a model on a processor attends so, if it attends by sdpa else."""
    usual = model.config._attn_implementation
    fits = model.device.type == "cpu" and model._supports_attention_backend
    if not fits or usual not in ("sdpa", ragged.NAME):
        yield
        return
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(usual)
