"""In the last layer of a decoder, what is done to tokens of which nothing is asked is left out.

After its attention a layer treats each token by itself, and what the last one makes of a token is
read only where a logit is asked for: at one token in ten in a batch of KRSL.
"""

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

NAME = "asked"  # the argument, (n,): which tokens of the one row of a batch, each of them once


def install(model: PreTrainedModel) -> list[RemovableHandle]:
    """Let the MLP of the last layer see those tokens alone, in calls that name them.

    Others get zeros from it. Returns hooks to remove; none where no such MLP is found.
    """
    layer = (getattr(model.get_decoder(), "layers", None) or [None])[-1]
    mlp = getattr(layer, "mlp", None)
    if mlp is None:
        return []
    state = {}

    def note(_: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        state["asked"] = kwargs.get(NAME)

    def pick(_: torch.nn.Module, args: tuple) -> tuple | None:
        whole, asked = args[0], state["asked"]
        state["width"] = whole.shape[1]
        return None if asked is None else (whole.index_select(1, asked), *args[1:])

    def spread(_: torch.nn.Module, args: tuple, made: Tensor) -> Tensor | None:
        if state["asked"] is None:
            return None
        zeros = made.new_zeros(1, state["width"], made.shape[2])
        return zeros.index_copy(1, state["asked"], made)

    return [
        layer.register_forward_pre_hook(note, with_kwargs=True),
        mlp.register_forward_pre_hook(pick),
        mlp.register_forward_hook(spread),
    ]
