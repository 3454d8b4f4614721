"""Student answers: greedy generation in batches with a KV cache."""

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from editlib.batching import prompt_ids


@torch.inference_mode()
def greedy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[str],
    max_new_tokens: int,
    batch: int,
) -> list[str]:
    """The most likely continuation of each prompt, in the order of the prompts.

    Prompts of like length share a batch, so that little is padded. A continuation ends at the
    end-of-text token or after max_new_tokens.
    """
    model.eval()
    encoded = [prompt_ids(tokenizer, prompt) for prompt in prompts]
    order = sorted(range(len(prompts)), key=lambda i: len(encoded[i]))
    answers = [""] * len(prompts)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        texts = _continue(model, tokenizer, [encoded[i] for i in chosen], max_new_tokens)
        for i, text in zip(chosen, texts, strict=True):
            answers[i] = text
    return answers


def _continue(model, tokenizer, rows: list[list[int]], max_new_tokens: int) -> list[str]:
    width = max(map(len, rows))
    pad = tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows], device=model.device)
    mask = torch.tensor(
        [[0] * (width - len(row)) + [1] * len(row) for row in rows], device=model.device
    )
    grown = model.generate(
        input_ids=ids,
        attention_mask=mask,
        do_sample=False,
        max_new_tokens=max_new_tokens,
        pad_token_id=pad,
        eos_token_id=tokenizer.eos_token_id,
    )
    return tokenizer.batch_decode(grown[:, width:], skip_special_tokens=True)
