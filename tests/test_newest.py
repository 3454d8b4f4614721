"""Attention of the newest token equals that of sdpa, whatever lies in the room of a cache."""

from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from editlib import decoding, newest, ragged
from tests.conftest import tiny_llama

ROWS, HEADS, SEEN, ROOM, SIZE = 3, 4, 7, 12, 8


def tokens(key_heads, queries=1):
    """A query, and keys and values that are part of wider tensors."""
    torch.manual_seed(0)
    query = torch.randn(ROWS, queries, HEADS, SIZE).transpose(1, 2)
    wholes = torch.randn(2, ROWS, key_heads, ROOM, SIZE)
    key, value = (whole[:, :, :SEEN] for whole in wholes)
    key.whole, value.whole = wholes
    return query, key, value


def left_padded():
    mask = torch.ones(ROWS, 1, 1, SEEN, dtype=torch.bool)
    for row in range(ROWS):
        mask[row, :, :, :row] = False
    return mask


def module(key_heads):
    return SimpleNamespace(num_key_value_groups=HEADS // key_heads)


@pytest.mark.parametrize("key_heads", [HEADS, 2, 1])
@pytest.mark.parametrize("mask", [None, left_padded()])
@pytest.mark.parametrize("scaling", [None, 0.7])
def test_it_equals_that_of_sdpa(monkeypatch, key_heads, mask, scaling):
    inputs = module(key_heads), *tokens(key_heads), mask
    expected, _ = sdpa_attention_forward(*inputs, scaling=scaling)
    with monkeypatch.context() as patch:
        patch.setattr(newest, "sdpa_attention_forward", None)  # not what answers
        found, _ = newest.attention(*inputs, scaling=scaling)
    assert found.shape == (ROWS, 1, HEADS, SIZE) and found.is_contiguous()
    assert_close(found, expected, rtol=0, atol=1e-6)


def test_what_is_not_written_yet_has_no_weight():
    query, key, value = tokens(HEADS)
    expected, _ = newest.attention(module(HEADS), query, key, value, left_padded())
    key.whole[:, :, SEEN:], value.whole[:, :, SEEN:] = 1e30, -1e30
    assert newest.attention(module(HEADS), query, key, value, left_padded())[0].equal(expected)
    key.whole[:, :, SEEN - 1] = 1.0  # the test can fail: this one is written
    assert not newest.attention(module(HEADS), query, key, value, left_padded())[0].equal(expected)


def test_keys_alone_from_a_cache_are_read_as_they_are():
    """Some decoders make other values of those that the cache gives."""
    query, key, value = tokens(HEADS)
    expected, _ = newest.attention(module(HEADS), query, key, value, None)
    found, _ = newest.attention(module(HEADS), query, key, value.clone(), None)
    assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "case", ["two tokens", "half precision", "mask of numbers", "mask a head", "dropout", "bias"]
)
def test_everything_else_goes_by_sdpa(monkeypatch, case):
    query, key, value = tokens(HEADS, queries=2 if case == "two tokens" else 1)
    mask, more = None, {"scaling": 0.5}
    if case == "half precision":
        query = query.bfloat16()
    if case.startswith("mask"):
        dtype = torch.float32 if case == "mask of numbers" else torch.bool
        mask = torch.ones(ROWS, HEADS, 1, SEEN, dtype=dtype)
    if case in ("dropout", "bias"):
        more |= {"dropout": 0.1} if case == "dropout" else {"position_bias": torch.zeros(1)}
    told = []
    monkeypatch.setattr(
        newest, "sdpa_attention_forward", lambda *inputs, **how: told.append((inputs[4], how))
    )
    newest.attention(module(HEADS), query, key, value, mask, **more)
    [(seen, how)] = told
    assert seen is mask and how == more


@pytest.mark.parametrize("usual", ["sdpa", ragged.NAME, "eager"])
def test_a_model_has_its_own_attention_back_whatever_happens(usual):
    model = tiny_llama(40)
    model.set_attn_implementation(usual)
    with pytest.raises(KeyError), newest.installed(model):
        within = model.config._attn_implementation
        raise KeyError
    assert within == ("eager" if usual == "eager" else newest.NAME)
    assert model.config._attn_implementation == usual


def test_a_model_that_attends_otherwise_is_not_touched(monkeypatch):
    model = tiny_llama(40)
    model.set_attn_implementation("eager")
    monkeypatch.setattr(model, "set_attn_implementation", lambda _: pytest.fail("it was set"))
    with newest.installed(model):
        assert model.config._attn_implementation == "eager"


def test_decoding_goes_by_it_and_reads_the_whole_room(monkeypatch, tok):
    model, seen = tiny_llama(len(tok)).eval(), []

    def attention(module, query, key, *inputs, **how):
        seen.append((query.shape[2], key.shape[2], key.whole.shape[2]))
        return newest.attention(module, query, key, *inputs, **how)

    monkeypatch.setattr(decoding, "GROWTH", 3)
    monkeypatch.setitem(newest.AttentionInterface._global_mapping, newest.NAME, attention)
    decoding.continuations(model, tok, [[5, 6, 7], [5, 8]], 6, ends=[])
    assert seen == [(3, 3, 6), (1, 4, 6), (1, 5, 6), (1, 6, 6), (1, 7, 9), (1, 8, 9)]


def test_the_room_of_a_cache_holds_numbers(monkeypatch, tok):
    """What memory held before may be none, and nought times that is none either."""
    made = []
    monkeypatch.setattr(decoding, "GROWTH", 3)
    growing = decoding.Reserved._wider
    monkeypatch.setattr(
        decoding.Reserved, "_wider", staticmethod(lambda *a: made.append(growing(*a)) or made[-1])
    )
    reserved = decoding._reserved
    caches = []
    monkeypatch.setattr(decoding, "_reserved", lambda *a: caches.append(reserved(*a)) or caches[-1])
    decoding.continuations(tiny_llama(len(tok)).eval(), tok, [[5, 6, 7], [5, 8]], 6, ends=[])
    whole = caches[0].layers[0]._reserved[0]
    assert whole is made[-2] and whole.shape[2] == 9
    assert whole[:, :, 8:].eq(0).all() and whole[0, :, :8].ne(0).any(-1).all()
