"""Texts to token ids.

Prompt and response are tokenised apart and joined as ids, so the boundary is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # takes seconds, and is read by people alone
    from transformers import PreTrainedTokenizerBase


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> list[list[int]]:
    """Ids of student prompts, each with the tokenizer's own start token if it has one."""
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    return [start + ids for ids in _ids(tokenizer, prompts)]


def response_ids(tokenizer: PreTrainedTokenizerBase, responses: Sequence[str]) -> list[list[int]]:
    """Ids of rationales, each with the end-of-text token."""
    return [[*ids, tokenizer.eos_token_id] for ids in _ids(tokenizer, responses)]


def _ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Ids of texts as they stand, all in one call: one each takes several times as long."""
    if isinstance(texts, str):
        raise TypeError(f"expected a list of texts, found one text, {texts[:40]!r}")
    return tokenizer(list(texts), add_special_tokens=False)["input_ids"] if len(texts) else []
