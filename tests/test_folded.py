"""LoRA added to its weight before tokens meet it gives what peft gives, or leaves it to peft."""

from functools import partial

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn.utils import prune
from torch.testing import assert_close
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from editlib import folded, training
from tests.test_ragged import BASE, EDIT, SIZES, duals

IDS = torch.arange(2, 42).view(4, 10)
TARGETS = ["q_proj", "v_proj", "down_proj"]


def adapted(base=None, adapters=("default",), targets=TARGETS, **how):
    torch.manual_seed(0)
    base = base or LlamaForCausalLM(LlamaConfig(**SIZES, attention_bias=True))
    config = LoraConfig(r=4, lora_alpha=12, target_modules=targets, **how)
    model = get_peft_model(base, config, adapter_name=adapters[0])
    for name in adapters[1:]:
        model.add_adapter(name, config)
    for name, weight in model.named_parameters():
        if "lora_" in name or name.endswith("bias"):
            torch.nn.init.normal_(weight, std=0.1)
    model.base_model.set_adapter(list(adapters))
    return model.train()


def gradients(model):
    model(input_ids=IDS, labels=IDS, use_cache=False).loss.backward()
    found = {n: w.grad for n, w in model.named_parameters() if w.grad is not None}
    model.zero_grad()
    return found


def off(found, expected):
    """The largest error of any gradient, as a share of its largest entry."""
    assert set(found) == set(expected)
    errors = [
        (found[name] - each).abs().max() / each.abs().max() for name, each in expected.items()
    ]
    return max(errors).item()


@pytest.fixture
def by_it(monkeypatch):
    """The shapes of weights that went by it."""
    seen, apply = [], folded._Folded.apply
    monkeypatch.setattr(
        folded._Folded, "apply", lambda x, *rest: seen.append(rest[0].shape) or apply(x, *rest)
    )
    return seen


def test_losses_and_gradients_are_those_of_peft(by_it):
    model = adapted()
    logits, expected = model(input_ids=IDS).logits, gradients(model)
    assert not by_it and len(expected) == 2 * 3 * 2
    with folded.installed(model):
        most = logits.abs().max().item()
        assert_close(model(input_ids=IDS).logits, logits, rtol=0, atol=1e-5 * most)
        assert len(by_it) == 3 * 2
        assert off(gradients(model), expected) < 1e-5


@pytest.mark.parametrize("wrong", ["scale", "A", "B", "x"])
def test_that_test_can_fail(wrong, monkeypatch):
    model = adapted()
    expected, backward = gradients(model), folded._Folded.backward

    def spoilt(ctx, grad):
        ctx.scale *= 1.001 if wrong == "scale" else 1
        x, weight, a, b, scale = backward(ctx, grad)
        slip = {"A": a, "B": b, "x": x}.get(wrong)
        if slip is not None:
            slip *= 1.001
        return x, weight, a, b, scale

    monkeypatch.setattr(folded._Folded, "backward", staticmethod(spoilt))
    with folded.installed(model):
        assert off(gradients(model), expected) > 5e-5


@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpointing_changes_nothing(reentrant, by_it):
    model = adapted()
    expected = gradients(model)
    model.activation_checkpointing_enable({"use_reentrant": reentrant})
    model.enable_input_require_grads()
    with folded.installed(model):
        assert off(gradients(model), expected) < 1e-5
    assert len(by_it) == 2 * 3 * 2, "once more each, on the way back"


def test_second_derivatives_are_those_of_peft():
    model, x = adapted(), torch.randn(40, 32, requires_grad=True)
    layer = model.base_model.model.model.layers[0].self_attn.q_proj

    def penalty():
        made = layer(x)
        (slope,) = torch.autograd.grad(made.sum(), x, create_graph=True)
        weights = [layer.lora_A.default.weight, layer.lora_B.default.weight]
        return torch.autograd.grad(made.pow(2).mean() + slope.pow(2).sum(), weights)

    expected = penalty()
    with folded.installed(model):
        for found, each in zip(penalty(), expected, strict=True):
            assert_close(found, each, rtol=0, atol=1e-5 * each.abs().max().item())


def merged(model):
    model.merge_adapter()


def without_adapters(model):
    model.base_model.disable_adapter_layers()


def a_learning_base(model):
    for name, weight in model.named_parameters():
        weight.requires_grad_("base_layer" in name or "lora_" in name)


def half(model):
    model.to(torch.bfloat16)


def dropout_alone(model):
    for name, module in model.eval().named_modules():
        module.training = "lora_dropout" in name


def hooks(model):
    for name, module in model.named_modules():
        if name.endswith("lora_A.default"):
            module.register_forward_hook(lambda _, args, made: 0 * made)


def a_weight_made_by_a_hook(model):
    for name, module in model.named_modules():
        if name.endswith("lora_A.default"):
            prune.l1_unstructured(module, "weight", amount=0.5)


def a_forward_of_its_own(model):
    for name, module in model.named_modules():
        if name.endswith("base_layer"):
            module.forward = lambda x, module=module: 2 * type(module).forward(module, x)


MORE = {
    "two adapters": ({"adapters": ("default", "other")}, None),
    "dropout": ({"lora_dropout": 0.5}, None),
    "DoRA": ({"use_dora": True}, None),
    "a bias of its own": ({"lora_bias": True, "targets": ["q_proj", "v_proj"]}, None),
    "merged": ({}, merged),
    "disabled": ({}, without_adapters),
    "a base that learns": ({}, a_learning_base),
    "half precision": ({}, half),
    "dropout in evaluation": ({"lora_dropout": 0.5}, dropout_alone),
    "hooks": ({}, hooks),
    "pruning": ({}, a_weight_made_by_a_hook),
    "a forward of its own": ({}, a_forward_of_its_own),
}


@pytest.mark.parametrize("what", MORE)
def test_where_there_is_more_to_it_peft_does_it(what, by_it):
    how, change = MORE[what]
    model = adapted(**how)
    if change:
        change(model)
    torch.manual_seed(1)
    expected = model(input_ids=IDS).logits
    torch.manual_seed(1)
    with folded.installed(model):
        assert model(input_ids=IDS).logits.equal(expected)
    assert not by_it


def test_autocast_and_rows_with_adapters_of_their_own_go_by_peft(by_it):
    model = adapted().eval()
    own = {"adapter_names": ["default", "__base__"] * 2}
    rows = model(input_ids=IDS, **own).logits
    with torch.autocast("cpu", torch.bfloat16):
        low = model(input_ids=IDS).logits
    with folded.installed(model):
        assert model(input_ids=IDS, **own).logits.equal(rows)
        with torch.autocast("cpu", torch.bfloat16):
            assert model(input_ids=IDS).logits.equal(low)
    assert not by_it


def test_few_tokens_go_by_peft(by_it):
    model = adapted()
    with folded.installed(model):
        model(input_ids=IDS[:1])  # 10 tokens where q_proj, 32 x 32, takes 16 or more
    assert not by_it


def test_layers_that_are_not_linear_go_by_peft(by_it):
    small = GPT2Config(vocab_size=50, n_positions=32, n_embd=32, n_layer=1, n_head=2)
    model = adapted(GPT2LMHeadModel(small), targets=["c_attn"], fan_in_fan_out=True).eval()
    expected = model(input_ids=IDS).logits
    with folded.installed(model):
        assert model(input_ids=IDS).logits.equal(expected)
    assert not by_it


def test_dropout_does_not_act_in_evaluation(by_it):
    model = adapted(lora_dropout=0.5).eval()
    with torch.no_grad(), folded.installed(model):
        model(input_ids=IDS)
    assert len(by_it) == 3 * 2


def test_a_model_has_its_own_way_back_whatever_happens():
    model = adapted()
    before = [set(vars(module)) for module in model.modules()]
    with pytest.raises(ZeroDivisionError), folded.installed(model), folded.installed(model):
        1 / 0  # noqa: B018
    assert [set(vars(module)) for module in model.modules()] == before


def test_a_forward_that_somebody_put_there_stays():
    model = adapted()
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    layer.forward = own = partial(type(layer).forward, layer)
    with folded.installed(model):
        assert layer.forward is own
    assert layer.forward is own


def test_training_goes_by_it(tmp_path, by_it, monkeypatch):
    trained = []
    for name in ("with", "without"):
        if name == "without":
            monkeypatch.setattr(folded, "_parts", lambda layer: None)
        model = adapted()
        rows = duals()
        training.fit(model, rows, EDIT, seed=0, scratch=tmp_path / name, updates=1)
        trained.append({n: w for n, w in model.named_parameters() if "lora_" in n})
    assert by_it and BASE["lr"] == 1e-2
    assert off(trained[0], trained[1]) < 1e-4
