"""In the last layer of a decoder, what is done to tokens of which nothing is asked is left out.

After its attention a layer treats each token by itself, and what the last one makes of a token is
read only where a logit is asked for: at one token in ten in a batch of KRSL.
"""

from functools import partial

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

NAME = "asked"  # the argument, (n,): which tokens of the one row of a batch, each of them once


def install(model: PreTrainedModel) -> list[RemovableHandle]:
    """Let the MLP of the last layer see those tokens alone, in calls that name them.

    Others get zeros from it. Returns hooks to remove; none where no such MLP is found, or it has
    them already.
    """
    layer = (getattr(model.get_decoder(), "layers", None) or [None])[-1]
    attention, mlp = (getattr(layer, name, None) for name in ("self_attn", "mlp"))
    if attention is None or mlp is None or _is_hooked(mlp):
        return []
    state = {NAME: None, "width": None}
    return [
        # not of the layer: activation checkpointing runs what is within it again, not its hooks
        attention.register_forward_pre_hook(partial(_note, state), with_kwargs=True),
        mlp.register_forward_pre_hook(partial(_pick, state)),
        mlp.register_forward_hook(partial(_spread, state)),
    ]


def _is_hooked(mlp: torch.nn.Module) -> bool:
    return any(getattr(hook, "func", None) is _pick for hook in mlp._forward_pre_hooks.values())


def _note(state: dict, _: torch.nn.Module, args: tuple, kwargs: dict) -> None:
    state[NAME] = kwargs.get(NAME)


def _pick(state: dict, _: torch.nn.Module, args: tuple) -> tuple | None:
    whole, asked = args[0], state[NAME]
    state["width"] = whole.shape[1]
    return None if asked is None else (whole.index_select(1, asked), *args[1:])


def _spread(state: dict, _: torch.nn.Module, args: tuple, made: Tensor) -> Tensor | None:
    asked, state[NAME] = state[NAME], None
    if asked is None:
        return None
    return made.new_zeros(1, state["width"], made.shape[2]).index_copy(1, asked, made)
