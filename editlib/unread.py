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
    state: dict[str, Tensor | None] = {}

    def note(_: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        state["asked"] = kwargs.get(NAME)

    def pick(_: torch.nn.Module, args: tuple) -> tuple | None:
        state["whole"] = args[0]
        return (
            None if state["asked"] is None else (args[0].index_select(1, state["asked"]), *args[1:])
        )

    def spread(_: torch.nn.Module, args: tuple, made: Tensor) -> Tensor:
        whole, asked = state.pop("whole"), state["asked"]
        return made if asked is None else torch.zeros_like(whole).index_copy(1, asked, made)

    return [
        layer.register_forward_pre_hook(note, with_kwargs=True),
        mlp.register_forward_pre_hook(pick),
        mlp.register_forward_hook(spread),
    ]
