from collections import Counter
from functools import partial
from itertools import chain, groupby, takewhile

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from editlib import decoding, encoding
from tests.conftest import tiny_llama

PROMPTS = ["Q : what is 5 A :", "Q : what is 5 minus 2 plus 3 A :", "Q : 8 A :"]


def one_by_one(model, tok, prompt, new):
    """Greedy decoding by definition: no batch, no padding, no cache."""
    ids = encoding.prompt_ids(tok, [prompt])[0]
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


@pytest.mark.parametrize(
    ("prompts", "batch", "sizes"), [(10, 4, [4, 3, 3]), (8, 4, [4, 4]), (3, 4, [3]), (0, 4, [])]
)
def test_batches_are_of_like_size(tok, monkeypatch, prompts, batch, sizes):
    seen = []
    monkeypatch.setattr(
        decoding, "continuations", lambda m, t, rows, **how: seen.append(len(rows)) or rows
    )
    asked = ["Ada has 2 apples."] * prompts
    assert len(decoding.greedy(tiny_llama(len(tok)), tok, asked, 12, batch)) == prompts
    assert seen == sizes


def tokens_read(model):
    """A list that grows by the number of tokens of each forward pass, a prompt's or new ones."""
    read = []
    model.register_forward_pre_hook(
        lambda _, args, kwargs: read.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    return read


def of_tasks(tok, lengths=(90, 120, 70), each=5):
    """Prompts of several tasks in turn, each task with exemplars of its own, and one of none."""
    draw = np.random.default_rng(0)
    words = sorted({*tok.get_vocab()} - {*tok.all_special_tokens})
    heads = [" ".join(draw.choice(words, n)) for n in lengths]
    asked = [" ".join(draw.choice(words, n)) for n in draw.integers(3, 12, each * len(heads))]
    prompts = [f"{heads[i % len(heads)]} {question}" for i, question in enumerate(asked)]
    return [*prompts[:3], asked[0], *prompts[3:]]


@pytest.mark.parametrize("read_at_once", [2_048, 20])
@pytest.mark.parametrize("batch", [1, 4, 64])
def test_what_prompts_of_a_task_begin_with_is_read_once(tok, monkeypatch, batch, read_at_once):
    """Also where a batch ends amid a task."""
    monkeypatch.setattr(decoding, "READ_AT_ONCE", read_at_once)
    model, prompts = lively(tok), of_tasks(tok)
    ids = encoding.prompt_ids(tok, prompts)
    new = [generated(model, tok, prompt, 12) for prompt in ids]
    expected = [tok.decode(row, skip_special_tokens=True) for row in new]
    assert len(set(expected)) > 8
    read, asked = tokens_read(model), partial(decoding.greedy, model, tok, prompts, 1, batch)
    asked()
    questions = 16 * 12  # padded, but to no more than the longest
    assert 90 + 120 + 70 <= sum(read) < 90 + 120 + 70 + questions
    assert decoding.greedy(model, tok, prompts, 12, batch) == expected
    monkeypatch.setattr(decoding, "WORTH_SHARING", 1_000)
    read.clear()
    asked()
    assert sum(read) >= sum(map(len, ids)) > 1_400


def test_one_beginning_is_kept_and_short_ones_leave_the_order_of_lengths(tok):
    model, prompts = lively(tok), of_tasks(tok)
    rows = encoding.prompt_ids(tok, prompts)
    begun = decoding.Beginnings(model, rows)
    order = sorted(rows, key=begun.place)
    assert [len(list(group)) for _, group in groupby(order, key=begun.of)] == [1, 5, 5, 5]
    assert begun.of(rows[3]) == () and len({begun.of(row) for row in rows[:3]}) == 3
    short = encoding.prompt_ids(tok, PROMPTS * 2)
    begun = decoding.Beginnings(model, short)
    assert sorted(short, key=begun.place) == sorted(short, key=len)


def test_samples_of_prompts_of_tasks_do_not_depend_on_what_shares_a_batch(tok):
    model, prompts = lively(tok), of_tasks(tok)
    together = drawn(model, tok, prompts)
    assert drawn(model, tok, prompts[::-1], batch=6) == together[::-1]
    assert [drawn(model, tok, [prompt])[0] for prompt in prompts] == together


@pytest.mark.parametrize("growth", [256, 3])
@pytest.mark.parametrize("read_at_once", [2_048, 50])
def test_a_batch_writes_what_generate_writes_though_rows_leave_it(
    tok, monkeypatch, read_at_once, growth
):
    """Rows of many lengths that end at different times, against transformers' own generate."""
    monkeypatch.setattr(decoding, "READ_AT_ONCE", read_at_once)
    monkeypatch.setattr(decoding, "GROWTH", growth)
    model = tiny_llama(len(tok), seed=3).eval()
    for weight in model.parameters():
        weight.data.mul_(10)  # so that it does not repeat itself
    prompts = [f"Q : {'5 minus 2 plus ' * (i % 5)}{i % 4 + 2} A :" for i in range(40)]
    expected = []
    for prompt in prompts:
        ids = torch.tensor(encoding.prompt_ids(tok, [prompt]))
        new = model.generate(
            ids, do_sample=False, max_new_tokens=20, pad_token_id=1, eos_token_id=tok.eos_token_id
        )
        expected.append(tok.decode(new[0, ids.shape[1] :], skip_special_tokens=True))
    lengths = {len(text.split()) for text in expected}
    assert min(lengths) < 20 and len(lengths) > 2, "rows must leave the batch at different times"
    assert decoding.greedy(model, tok, prompts, max_new_tokens=20, batch=16) == expected


TINY = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 1,
}


def tiny(kind, tok, **how):
    """A model of another family, far from even-handed, so that a wrong mask changes its tokens."""
    torch.manual_seed(3)
    config = AutoConfig.for_model(kind, vocab_size=len(tok), **how)
    model = AutoModelForCausalLM.from_config(config).eval()
    for weight in model.parameters():
        weight.data += 0.3 * torch.randn_like(weight)
    return model


def unlike(tok, shared=80):
    """Prompts of unlike lengths that begin with the same tokens."""
    draw = np.random.default_rng(0)
    ids = np.setdiff1d(np.arange(len(tok)), tok.all_special_ids)
    head = draw.choice(ids, shared).tolist()
    return [head + draw.choice(ids, n).tolist() for n in (3, 9, 5, 14, 1, 7, 7, 11)]


def generated(model, tok, prompt, new=24):
    """What transformers' own generate writes after one prompt."""
    ids = torch.tensor([prompt])
    how = {"pad_token_id": tok.pad_token_id, "eos_token_id": tok.eos_token_id}
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=new, **how
    )
    return [i for i in out[0, len(prompt) :].tolist() if i not in how.values()]


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("mistral", TINY | {"sliding_window": 6}),
        ("llama4_text", TINY | {"attention_chunk_size": 8, "head_dim": 8, "num_local_experts": 2}),
        (
            "gpt_neo",
            {
                "hidden_size": 32,
                "num_layers": 2,
                "num_heads": 4,
                "window_size": 6,
                "attention_types": [[["local"], 2]],
            },
        ),
        ("roberta", TINY | {"is_decoder": True, "max_position_embeddings": 128}),
    ],
)
def test_padding_after_shared_tokens_changes_no_answer(tok, kind, how):
    """Windows and chunks count tokens, not padding; positions may have an offset."""
    model, prompts = tiny(kind, tok, **how), unlike(tok)
    expected = [generated(model, tok, prompt) for prompt in prompts]
    assert len(set(map(tuple, expected))) > 4
    assert decoding.continuations(model, tok, prompts, 24) == expected


@pytest.mark.parametrize(
    ("kind", "how", "reason"),
    [
        ("mamba", TINY, "past_key_values"),
        ("lfm2", TINY | {"layer_types": ["conv", "full_attention"]}, "LinearAttentionLayer"),
        ("mixtral", TINY | {"output_router_logits": True}, "router logits"),
        ("doge", TINY | {"hidden_size": 64, "keep_window_size": 8}, "picks tokens"),
        ("openai-gpt", {"n_embd": 32, "n_layer": 2, "n_head": 4}, "past_key_values"),
        ("bart", {"d_model": 32, "decoder_layers": 2, "decoder_ffn_dim": 64}, "position_ids"),
    ],
)
def test_what_cannot_be_padded_goes_through_generate_and_says_so_once(tok, kind, how, reason):
    decoding._tell.cache_clear()
    model, prompts = tiny(kind, tok, **how), unlike(tok)
    expected = [generated(model, tok, prompt) for prompt in prompts]
    assert len(set(map(tuple, expected))) > 4
    with pytest.warns(
        UserWarning, match=f"{kind} writes through model.generate: .*{reason}"
    ) as said:
        assert decoding.continuations(model, tok, prompts, 24) == expected
        twice = [row for row in expected for _ in range(2)]
        assert decoding.continuations(model, tok, prompts, 24, samples=2) == twice
    assert len([x for x in said if "model.generate" in str(x.message)]) == 1
    together = drawn(model, tok)
    assert len(set(together[0])) > 1, "samples of one prompt must not be copies"
    assert drawn(model, tok, PROMPTS[::-1], batch=1) == together[::-1]


def lively(tok):
    """A model that is not sure of itself but no coin toss either."""
    model = tiny_llama(len(tok), seed=3).eval()
    for weight in model.parameters():
        weight.data.mul_(4)
    return model


def drawn(model, tok, prompts=PROMPTS, batch=64, new=12, **how):
    how = {"samples": 3, "temperature": 0.7, "top_p": 0.95, "seed": 0} | how
    return decoding.sampled(model, tok, prompts, new, batch, decoding.Sampling(**how))


def test_the_same_seed_says_the_same_whatever_shares_the_batch(tok):
    model = lively(tok)
    together = drawn(model, tok)
    assert [len(samples) for samples in together] == [3, 3, 3]
    assert len(set(together[0])) > 1, "samples of one prompt must not be copies"
    assert drawn(model, tok, batch=1) == together
    assert drawn(model, tok, PROMPTS[::-1]) == together[::-1]
    assert [samples[:2] for samples in drawn(model, tok, seed=1)] != [s[:2] for s in together]


@pytest.mark.parametrize("how", [{"temperature": 1e-4}, {"top_p": 1e-6}])
def test_without_freedom_a_sample_is_the_greedy_answer(tok, how):
    model = lively(tok)
    greedy = decoding.greedy(model, tok, PROMPTS, max_new_tokens=12, batch=3)
    assert drawn(model, tok, **how) == [[text] * 3 for text in greedy]


def test_a_prompt_is_read_once_for_all_its_samples(tok):
    model, read = lively(tok), []
    model.register_forward_pre_hook(
        lambda _, args, kwargs: read.append(kwargs["input_ids"].shape), with_kwargs=True
    )
    drawn(model, tok, PROMPTS[:1], samples=5, new=2)
    assert read[0] == (1, len(encoding.prompt_ids(tok, PROMPTS[:1])[0])) and read[1] == (5, 1)


@pytest.mark.parametrize(("temperature", "top_p"), [(0.7, 0.95), (1.0, 1.0), (1.5, 0.6)])
def test_tokens_come_as_often_as_transformers_would_draw_them(tok, temperature, top_p):
    """Against the softmax behind model.generate's own warpers, by a chi-squared test."""
    model, n = lively(tok), 4000
    ids = torch.tensor(encoding.prompt_ids(tok, PROMPTS[:1]))
    with torch.inference_mode():
        logits = model(input_ids=ids).logits[:, -1]
    for warper in (TemperatureLogitsWarper(temperature), TopPLogitsWarper(top_p)):
        logits = warper(ids, logits)
    expected = n * logits[0].double().softmax(-1)
    how = decoding.Sampling(n, temperature, top_p, seed=0)
    numbers = decoding._draws(ids[0].tolist(), how, 1)[:, 0]

    def choose(logits, rows, step):
        return decoding._pick(logits, numbers[rows], how)

    with torch.inference_mode():
        rows = decoding.continuations(model, tok, ids.tolist(), 1, n, choose)
    found = torch.bincount(
        torch.tensor([row[0] if row else tok.eos_token_id for row in rows]), minlength=len(tok)
    ).double()
    assert found[expected == 0].sum() == 0, "a token outside top-p was drawn"
    often = expected > 0
    assert often.sum() > 3
    assert stats.chisquare(found[often], expected[often]).pvalue > 0.001
    wrong = expected[often].roll(1)
    assert stats.chisquare(found[often], wrong).pvalue < 1e-6  # the test can fail


@pytest.mark.parametrize("scale", [0.1, 1.0, 20.0])  # flat: all tokens are needed; peaked: few
def test_what_is_drawn_does_not_depend_on_how_many_tokens_are_sorted(monkeypatch, scale):
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(50, 500, generator=generator)
    numbers, how = torch.rand(50, generator=generator), decoding.Sampling(8, 0.7, 0.95, seed=0)
    found = decoding._pick(logits, numbers, how)
    for few in (1, 500):
        monkeypatch.setattr(decoding, "FEW", few)
        assert decoding._pick(logits, numbers, how).equal(found)


@pytest.mark.parametrize("kind", ["llama", "mamba"])  # by our hand, and through generate
def test_any_of_several_tokens_ends_a_text(tok, kind):
    model, prompts = tiny(kind, tok, **TINY), unlike(tok)
    whole = [generated(model, tok, prompt) for prompt in prompts]
    # which are not asked for
    model.generation_config.repetition_penalty, model.generation_config.no_repeat_ngram_size = (
        9.0,
        1,
    )
    assert [generated(model, tok, prompt) for prompt in prompts] != whole
    word = Counter(chain.from_iterable(whole)).most_common(1)[0][0]
    ends = [tok.eos_token_id, word]
    cut = [list(takewhile(lambda token: token != word, row)) for row in whole]
    assert cut != whole
    assert decoding.continuations(model, tok, prompts, 24, ends=ends) == cut


def test_a_model_on_several_devices_keeps_its_cache_to_itself(tok):
    model = tiny("llama", tok, **TINY)
    assert decoding._unfit(model) is None
    model.hf_device_map = {"model.layers.0": 0, "model.layers.1": 1}
    assert decoding._unfit(model) == "it lies on several devices"
    model.hf_device_map = {"": "cpu"}
    assert decoding._unfit(model) is None
