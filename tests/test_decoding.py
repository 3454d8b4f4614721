import torch

from editlib import batching, decoding
from tests.conftest import tiny_llama

PROMPTS = ["Q : what is 5 A :", "Q : what is 5 minus 2 plus 3 A :", "Q : 8 A :"]


def one_by_one(model, tok, prompt, new):
    """Greedy decoding by definition: no batch, no padding, no cache."""
    ids = batching.prompt_ids(tok, prompt)
    start = len(ids)
    while len(ids) < start + new and tok.eos_token_id not in ids[start:]:
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits
        ids.append(int(logits[0, -1].argmax()))
    return tok.decode([i for i in ids[start:] if i != tok.eos_token_id])


def test_batched_answers_equal_those_given_one_by_one(tok):
    model = tiny_llama(len(tok), seed=3).eval()
    expected = [one_by_one(model, tok, prompt, 12) for prompt in PROMPTS]
    assert len(set(expected)) > 1
    for batch in (1, 2, 3):
        assert decoding.greedy(model, tok, PROMPTS, max_new_tokens=12, batch=batch) == expected


def test_what_all_prompts_begin_with_is_read_once(tok):
    model = tiny_llama(len(tok), seed=3).eval()
    read = []
    model.register_forward_pre_hook(
        lambda _, args, kwargs: read.append(kwargs["input_ids"].shape), with_kwargs=True
    )
    exemplar = "Q : what is 5 minus 2 plus 3 A : 5 minus 2 is 3 plus 3 is 8 \n "
    prompts = [exemplar * 2 + prompt for prompt in PROMPTS]
    expected = [one_by_one(model, tok, prompt, 12) for prompt in prompts]
    read.clear()
    assert decoding.greedy(model, tok, prompts, max_new_tokens=12, batch=3) == expected
    ids = [batching.prompt_ids(tok, prompt) for prompt in prompts]
    shared = len(batching.prompt_ids(tok, exemplar * 2))
    assert read[0][0] == 1 and read[0][1] >= shared > decoding.WORTH_SHARING
    assert read[1] == (3, max(map(len, ids)) - read[0][1])


def test_a_batch_writes_what_generate_writes_though_rows_leave_it(tok):
    """Rows of many lengths that end at different times, against transformers' own generate."""
    model = tiny_llama(len(tok), seed=3).eval()
    for weight in model.parameters():
        weight.data.mul_(10)  # so that it does not repeat itself
    prompts = [f"Q : {'5 minus 2 plus ' * (i % 5)}{i % 4 + 2} A :" for i in range(40)]
    expected = []
    for prompt in prompts:
        ids = torch.tensor([batching.prompt_ids(tok, prompt)])
        new = model.generate(
            ids, do_sample=False, max_new_tokens=20, pad_token_id=1, eos_token_id=tok.eos_token_id
        )
        expected.append(tok.decode(new[0, ids.shape[1] :], skip_special_tokens=True))
    lengths = {len(text.split()) for text in expected}
    assert min(lengths) < 20 and len(lengths) > 2, "rows must leave the batch at different times"
    assert decoding.greedy(model, tok, prompts, max_new_tokens=20, batch=16) == expected
