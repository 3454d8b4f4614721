"""The last layer works on the tokens that are asked for alone, and nothing asked for changes."""

import copy
import pickle

import pytest
import torch
from torch.testing import assert_close
from transformers import AutoConfig, AutoModelForCausalLM

from editlib import ragged, unread
from tests.test_decoding import TINY
from tests.test_ragged import duals


def decoder(kind="llama", **how):
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, vocab_size=60, **(TINY | how))
    return AutoModelForCausalLM.from_config(config).eval()


def widths(model, layer):
    """How many tokens the MLP of a layer has seen, a number a call."""
    seen = []
    mlp = model.model.layers[layer].mlp.gate_proj
    mlp.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    return seen


def test_the_last_mlp_sees_each_asked_token_once_and_logits_stay():
    model, packed = decoder(), ragged.pack_duals(duals())
    model.set_attn_implementation(ragged.NAME)
    expected = ragged.token_logits(model, packed)
    assert unread.install(model)
    first, last = widths(model, 0), widths(model, 1)
    with torch.no_grad():
        assert_close(ragged.token_logits(model, packed), expected, rtol=0, atol=1e-6)
    places = packed["logits_to_keep"].tolist()
    assert first == [packed["input_ids"].shape[1]] and last == [len(set(places))]
    assert last[0] < len(places) < first[0], "a token must be asked for twice"


def test_precision_of_training_may_be_lower_than_that_of_weights():
    """Under autocast an MLP makes numbers of another kind than it takes."""
    model, packed = decoder(), ragged.pack_duals(duals())
    model.set_attn_implementation(ragged.NAME)
    with torch.autocast("cpu", torch.bfloat16):
        expected = ragged.token_logp(model, packed)
        unread.install(model)
        found = ragged.token_logp(model, packed)
    found.sum().backward()
    assert_close(found, expected, rtol=0, atol=1e-2)
    assert model.model.layers[-1].mlp.up_proj.weight.grad.abs().max() > 0


def test_what_is_not_asked_for_is_not_computed():
    """The test above could not tell otherwise: this is what differs."""
    model, packed = decoder(), ragged.pack_duals(duals())
    model.set_attn_implementation(ragged.NAME)
    everywhere = {n: v for n, v in packed.items() if n not in ("targets", "logits_to_keep")}
    with torch.no_grad():
        expected = model(**everywhere, use_cache=False).logits[0]
        unread.install(model)
        found = model(**everywhere, use_cache=False).logits[0]
    same = (found - expected).abs().amax(-1) < 1e-5
    assert same.nonzero().squeeze(1).tolist() == packed["asked"].tolist()


def test_calls_that_name_no_tokens_and_removed_hooks_leave_a_model_as_it_was():
    model, ids = decoder(), torch.arange(12).view(2, 6)
    with torch.no_grad():
        expected = model(ids).logits
        hooks = unread.install(model)
        assert model(ids).logits.equal(expected)
        for hook in hooks:
            hook.remove()
        assert model(ids, asked=torch.tensor([0])).logits.equal(expected)


@pytest.mark.parametrize("kind", ["gpt2", "opt", "nemotron"])
def test_a_decoder_whose_last_layer_has_no_such_mlp_is_left_alone(kind):
    how = {"gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4}, "opt": {"ffn_dim": 64}}.get(kind, {})
    hooks = unread.install(decoder(kind, **how))
    assert bool(hooks) == (kind == "nemotron")


def test_where_it_does_harm_ragged_batches_go_on_without(monkeypatch):
    model, removed = decoder(), []
    install = unread.install

    def spoilt(model):
        hooks = install(model)
        removed.append(model.model.layers[-1].mlp.register_forward_hook(lambda *_: 1 / 0))
        return [*hooks, removed[0]]

    monkeypatch.setattr(ragged.unread, "install", spoilt)
    assert ragged.install(model) is None and model.config._attn_implementation == ragged.NAME
    assert not model.model.layers[-1].mlp._forward_hooks
    assert not model.model.layers[-1].self_attn._forward_pre_hooks


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_computes_again_what_was_asked_for_then(reentrant):
    """Though another batch was read since, and one in the plain way."""
    gradients = []
    for hooked in (False, True):
        model = decoder().train()
        model.set_attn_implementation(ragged.NAME)
        assert bool(hooked and unread.install(model)) == hooked
        model.activation_checkpointing_enable({"use_reentrant": reentrant})
        model.enable_input_require_grads()
        losses = [ragged.token_logp(model, ragged.pack_duals(duals(seed))).sum() for seed in (0, 1)]
        with torch.no_grad():
            model(torch.arange(8)[None], use_cache=False)
        (losses[0] + 2 * losses[1]).backward()
        gradients.append({name: weight.grad for name, weight in model.named_parameters()})
    for name, expected in gradients[0].items():
        most = expected.abs().max().item()
        assert_close(gradients[1][name], expected, rtol=0, atol=1e-5 * most)


def test_a_hooked_model_can_be_copied_and_pickled_and_hooks_come_once():
    model = decoder()
    model.set_attn_implementation(ragged.NAME)
    unread.install(model)
    packed = ragged.pack_duals(duals())
    with torch.no_grad():
        expected = ragged.token_logits(model, packed)
        for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert unread.install(other) == []
            assert ragged.token_logits(other, packed).equal(expected)
