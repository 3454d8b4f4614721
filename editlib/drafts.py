"""Answers that are read before they are written.

A student that a phase has hardly moved says nearly all that the student before it said. To read
that takes about half the time of writing it on a processor: what the model would have written
stands, and it goes on where it would have written otherwise.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby

import torch
from accelerate.utils import send_to_device
from transformers import PreTrainedModel

from editlib import ragged
from editlib.keysteps import common_prefix

WORTH_READING = 0.5  # share of tokens that stand: where fewer do, no more drafts are read
READ_AT_ONCE = 1_024  # tokens, prompts included; as many are read in vain where none stand


@torch.inference_mode()
def standing(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], drafts: Sequence[Sequence[int]]
) -> list[list[int]]:
    """What the model would write of each draft after its prompt, and then its own next token.

    All are ids, and no draft is empty; one that stands as a whole is given back as it is. Nothing
    is given for drafts that were not read: those after too few have stood, and all of a model that
    ragged.install refuses. Raises ValueError unless there is one for each prompt.
    """
    lengths = [len(p) + len(d) for p, d in zip(prompts, drafts, strict=True)]
    found: list[list[int]] = [[] for _ in drafts]
    if ragged.install(ragged.bare(model)):
        return found
    read = stood = 0
    for part in _parts(lengths):
        rows = [{"prompt": prompts[i], "response": drafts[i]} for i in part]
        for i, own in zip(part, _likeliest(model, rows), strict=True):
            same = common_prefix(own, drafts[i])
            found[i] = own[: same + 1]
            read, stood = read + len(own), stood + same
        if stood < WORTH_READING * read:
            break
    return found


def _parts(lengths: Sequence[int]) -> Iterator[list[int]]:
    """The rows that are read together, of so many tokens each."""
    before = [0, *accumulate(lengths)]
    for _, part in groupby(range(len(lengths)), key=lambda i: before[i] // READ_AT_ONCE):
        yield list(part)


def _likeliest(model: PreTrainedModel, rows: Sequence[dict]) -> list[list[int]]:
    """The likeliest token in the place of each token of a response, given those before it."""
    packed = send_to_device(ragged.pack_responses(rows), model.device)
    tokens = ragged.token_logits(model, packed).argmax(-1)
    return [part.tolist() for part in tokens.split([len(row["response"]) for row in rows])]
