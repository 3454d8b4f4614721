"""LoRA on a processor: an adapter is added to the weight under it before both meet the tokens.

x (W + s B A)^T in the place of x W^T + s ((x A^T) B^T), and so backwards: two products of the whole
batch fewer of eight, and no sum of two tensors of its size. Gradients reach A and B alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from peft.tuners.lora import Linear
from torch import Tensor


class _Folded(torch.autograd.Function):
    """(..., n) by a weight (m, n), its adapter A (r, n), B (m, r) and scale, to (..., m)."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(x, weight, a, b)
        ctx.scale = scale
        return x @ torch.addmm(weight, b, a, alpha=scale).T

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, a, b = ctx.saved_tensors
        tokens, grads, of_x = x.flatten(0, -2), grad.flatten(0, -2), None
        of_a = (grads @ b).mul_(ctx.scale).T @ tokens
        of_b = grads.T @ (tokens @ a.T).mul_(ctx.scale)
        if ctx.needs_input_grad[0]:  # once more, since to keep it would take a second model
            of_x = grad @ torch.addmm(weight, b, a, alpha=ctx.scale)
        return of_x, None, of_a, of_b, None


@contextmanager
def installed(model: torch.nn.Module) -> Iterator[None]:
    """Within it, adapters of a model are added up so, wherever that is what peft would compute.

    Backward passes belong within it too: activation checkpointing runs the model again in them.
    """
    layers = [x for x in model.modules() if type(x) is Linear and "forward" not in vars(x)]
    for layer in layers:
        layer.forward = partial(_forward, layer)
    try:
        yield
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


def _forward(layer: Linear, x: Tensor, *args, **kwargs) -> Tensor:
    parts = None if args or kwargs or layer.merged or layer.disable_adapters else _parts(layer)
    if parts is None or not _plain(x, *parts):
        return Linear.forward(layer, x, *args, **kwargs)
    made = _Folded.apply(x, *parts, layer.scaling[layer.active_adapters[0]])
    bias = layer.base_layer.bias
    return made if bias is None else made + bias


def _parts(layer: Linear) -> tuple[Tensor, Tensor, Tensor] | None:
    """Weight, A and B; None where there is more to a layer than one plain adapter on a weight."""
    base, active = layer.base_layer, layer.active_adapters
    name = active[0] if len(active) == 1 else None
    if type(base) is not torch.nn.Linear or name not in layer.lora_A or name in layer.lora_variant:
        return None
    a, b, dropout = layer.lora_A[name], layer.lora_B[name], layer.lora_dropout[name]
    drops = type(dropout) is not torch.nn.Identity and dropout.training
    more = drops or b.bias is not None or base.weight.requires_grad
    return None if more or any(map(_watched, (base, a, b))) else (base.weight, a.weight, b.weight)


def _watched(module: torch.nn.Module) -> bool:
    """Whether somebody counts on its being called."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


def _plain(x: Tensor, weight: Tensor, a: Tensor, b: Tensor) -> bool:
    """Whether all are whole, on a processor, and float32: with less, what A and B add is lost."""
    tensors, (m, n) = (x, weight, a, b), (len(b), a.shape[-1])
    if weight.shape != (m, n) or any(type(t.data) is not Tensor for t in tensors):
        return False  # sharded
    if {(t.device.type, t.dtype) for t in tensors} != {("cpu", torch.float32)}:
        return False
    few = x.numel() // n * (m + n) < 2 * m * n  # tokens: two sums take more than they spare
    return not few and not torch.is_autocast_enabled("cpu")
