"""Rows of token ids to padded tensors.

Padding is on the right and only as long as the longest row of the batch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def fits(max_length: int, prompt: Sequence[int], *responses: Sequence[int]) -> bool:
    """Whether a row keeps its final answer: a row that does not fit is dropped, never cut."""
    return all(len(prompt) + len(response) <= max_length for response in responses)


def parts(rows: Sequence[dict]) -> list[dict]:
    """The prompts and responses of SFT rows: a row is one, or has several (one a task) in parts."""
    return [part for row in rows for part in row.get("parts", [row])]


def collate_responses(rows: Sequence[dict]) -> dict[str, Tensor]:
    """SFT batch from rows of prompt and response ids, or of parts that have a weight besides.

    Returns input_ids, attention_mask, response (B, T) of all parts; weight (B, 1): of each one's
    tokens, and share (B, 1): of its row, as views.weighed gives them, 1 unless said; items ():
    number of response tokens, the denominator of the loss.
    """
    flat = parts(rows)
    batch = _pad([(part["prompt"], part["response"]) for part in flat])
    said = {
        name: torch.tensor([[part.get(name, 1.0)] for part in flat]) for name in ("weight", "share")
    }
    return batch | said | {"items": batch["response"].sum()}


def collate_duals(rows: Sequence[dict]) -> dict[str, Tensor]:
    """KRSL batch: B correct rows, then B wrong rows of the same pairs.

    rows: prompt, correct, wrong (ids) and correct_key, wrong_key (bool, one per response id).
    Returns input_ids, attention_mask, response, key (2B, T); items (): B, the number of pairs.
    Raises ValueError where a mask and its ids differ in length.
    """
    sides = [(row["prompt"], row[side]) for side in ("correct", "wrong") for row in rows]
    masks = [row[f"{side}_key"] for side in ("correct", "wrong") for row in rows]
    batch = _pad(sides)
    key = torch.zeros_like(batch["response"])
    for i, ((prompt, response), mask) in enumerate(zip(sides, masks, strict=True)):
        if len(mask) != len(response):
            raise ValueError(f"{len(mask)} key marks for {len(response)} response ids")
        key[i, len(prompt) : len(prompt) + len(response)] = torch.as_tensor(mask, dtype=torch.bool)
    return batch | {"key": key, "items": torch.tensor(len(rows))}


def collate_preferences(rows: Sequence[dict]) -> dict[str, Tensor]:
    """The batch of collate_duals, and what the student before training made of it.

    rows: as there, and correct_reference, wrong_reference: log-probability of the whole response.
    Returns also reference (2B,), nats, correct rows first.
    """
    sides = [row[f"{side}_reference"] for side in ("correct", "wrong") for row in rows]
    return collate_duals(rows) | {"reference": torch.tensor(sides, dtype=torch.float32)}


def _pad(sides: Sequence[tuple[Sequence[int], Sequence[int]]]) -> dict[str, Tensor]:
    width = max(len(prompt) + len(response) for prompt, response in sides)
    ids = torch.zeros(len(sides), width, dtype=torch.long)  # the pad id is masked: any id will do
    attention, answered = torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
    for i, (prompt, response) in enumerate(sides):
        end = len(prompt) + len(response)
        ids[i, :end] = torch.tensor([*prompt, *response])
        attention[i, :end] = 1
        answered[i, len(prompt) : end] = True
    return {"input_ids": ids, "attention_mask": attention, "response": answered}
