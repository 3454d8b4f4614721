"""Training objectives as functions of log-probabilities (section 3).

All tensors are aligned with the input ids: entry t speaks of the token at position t given those
before it. The one place that shifts is `token_logp`. Every loss is a sum over the batch divided by
`items`, the count of the whole optimizer step, so that accumulated gradients equal those of one
large batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, logsigmoid

Denominator = Literal["response", "key"]


@dataclass(frozen=True)
class Terms:
    """A loss to minimise, and its parts, detached, for the log."""

    loss: Tensor
    parts: dict[str, float]


Loss = Callable[[Tensor, dict[str, Tensor], Tensor], Terms]  # (what is read, batch, items) -> Terms


def token_logp(logits: Tensor, ids: Tensor) -> Tensor:
    """Log-probability (nats) of each token given those before it; 0 at the first position.

    logits: (B, T, V) as the model gives them, unshifted. ids: (B, T). Returns float32 (B, T).
    """
    nll = cross_entropy(
        logits[:, :-1].float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
    )
    return torch.nn.functional.pad(-nll.view(ids.shape[0], -1), (1, 0))


def sft_loss(logp: Tensor, batch: dict[str, Tensor], items: Tensor) -> Terms:
    """Mean negative log-likelihood of response tokens, eq. 4, weighted where a row says so.

    logp: (B, T), nats. batch["response"]: (B, T) bool; batch["weight"]: (B, 1), of the row's
    tokens. items: response tokens of the whole step.
    """
    loss = -(logp * batch["response"] * batch["weight"]).sum() / items
    return Terms(loss, {"nll": _mean(-logp, batch["response"])})


def mutual_loss(logits: Tensor, batch: dict[str, Tensor], items: Tensor, *, mutual: float) -> Terms:
    """sft_loss of two tasks of a question, whose vocabularies are brought together (SBS-MI).

    A task's vocabulary is the highest probability that each word has anywhere in its response,
    (V,); that of the rationale is held against that of the answer, which is left alone, by the
    cross-entropy of the published code (Chen et al. 2024, arXiv 2403.03348), which takes
    the one for logits and the other for probabilities. Mean over questions, times mutual.

    logits: (N, V) at the response tokens of all rows, in their order: of each question first the
    rationale, then the answer. batch: as sft_loss has it, and input_ids (B, T); share (B, 1), what
    makes a sum over the questions of an epoch, divided by items, their mean.
    """
    response = batch["response"]
    nll = cross_entropy(logits, batch["input_ids"][response], reduction="none")
    logp = nll.new_zeros(response.shape).masked_scatter(response, -nll)
    imitation = sft_loss(logp, batch, items)
    peaks = [side.amax(0) for side in logits.softmax(-1).split(response.sum(-1).tolist())]
    rationale, answer = torch.stack(peaks[::2]), torch.stack(peaks[1::2]).detach()
    apart = -(answer * log_softmax(rationale, -1)).sum(-1)
    loss = imitation.loss + mutual * (apart * batch["share"][::2, 0]).sum() / items
    return Terms(loss, imitation.parts | {"apart": apart.detach().mean().item()})


def krsl_loss(
    logp: Tensor,
    batch: dict[str, Tensor],
    items: Tensor,
    *,
    alpha: float,
    beta: float,
    per: Denominator,
    ceiling: float,
) -> Terms:
    """Key reasoning steps loss, eqs. 5-7: raise correct key tokens, lower wrong ones.

    logp: (2B, T), nats; B correct rows, then B wrong rows. batch["key"], batch["response"]:
    (2B, T) bool. items: number of pairs of the whole step. alpha, beta: the weights ω of key
    tokens of the correct and of the wrong side. per: each row's sum is divided by the number of
    its response tokens (published code) or of its key tokens. ceiling: wrong key tokens whose NLL
    has reached it are left alone (20 nats in the published code), so the loss is bounded below.
    A row without key tokens adds 0.
    """
    correct_key, wrong_key = batch["key"].chunk(2)
    correct_nll, wrong_nll = (-logp).chunk(2)
    wrong_key = wrong_key & (wrong_nll.detach() < ceiling)
    correct_size, wrong_size = batch[per].sum(-1).clamp(min=1).chunk(2)
    correct = (correct_nll * correct_key).sum(-1) / correct_size
    wrong = (wrong_nll * wrong_key).sum(-1) / wrong_size
    loss = (alpha * correct - beta * wrong).sum() / items
    return Terms(
        loss,
        {"correct_key": _mean(correct_nll, correct_key), "wrong_key": _mean(wrong_nll, wrong_key)},
    )


def dpo_loss(
    logp: Tensor, batch: dict[str, Tensor], items: Tensor, *, beta: float, penalty: float = 0.0
) -> Terms:
    """Direct preference optimisation: the correct CoT must gain on the wrong one.

    A side gains by the log-probability of its whole response less that under the student before
    training; the loss is -log sigmoid(beta (gain of correct - gain of wrong)), mean over pairs
    (Rafailov et al. 2023, arXiv 2305.18290, eq. 7). It does not mind if both sides lose. With a
    penalty, what the correct side has lost (never what it has gained) is taken off the difference
    that many times over: DPO-Positive, made for pairs that differ little (Pal et al. 2024, arXiv
    2402.13228, eq. 3; there it is called lambda).

    logp: (2B, T), nats; B correct rows, then B wrong rows. batch["response"]: (2B, T) bool.
    batch["reference"]: (2B,), nats, of whole responses. items: number of pairs of the whole step.
    """
    gains = (logp * batch["response"]).sum(-1) - batch["reference"]
    correct, wrong = gains.chunk(2)
    ahead = correct - wrong - penalty * (-correct).clamp(min=0)
    return Terms(-logsigmoid(beta * ahead).sum() / items, _likelihoods(logp, batch["response"]))


def simpo_loss(
    logp: Tensor, batch: dict[str, Tensor], items: Tensor, *, beta: float, margin: float
) -> Terms:
    """SimPO: the correct CoT must be likelier a token than the wrong one, whatever it was before.

    -log sigmoid(beta (mean log-probability of correct - that of wrong) - margin), mean over pairs
    (Meng et al. 2024, arXiv 2405.14734, eq. 6; there the margin is called gamma). Shapes as in
    dpo_loss, without a reference.
    """
    response = batch["response"]
    mean = (logp * response).sum(-1) / response.sum(-1)
    correct, wrong = mean.chunk(2)
    loss = -logsigmoid(beta * (correct - wrong) - margin).sum() / items
    return Terms(loss, _likelihoods(logp, response))


def _likelihoods(logp: Tensor, response: Tensor) -> dict[str, float]:
    """Mean log-probability of response tokens, side by side: in a collapse both fall."""
    sides = zip(("correct", "wrong"), logp.chunk(2), response.chunk(2), strict=True)
    return {f"{side}_logp": _mean(values, where) for side, values, where in sides}


def _mean(values: Tensor, where: Tensor) -> float:
    return ((values.detach() * where).sum() / where.sum().clamp(min=1)).item()
