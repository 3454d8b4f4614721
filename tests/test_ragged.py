"""Ragged batches give the losses and gradients of padded ones, whatever rows look like."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.testing import assert_close
from transformers import (
    DogeConfig,
    DogeForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GptOssConfig,
    GptOssForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    NemotronConfig,
    NemotronForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    RobertaConfig,
    RobertaForCausalLM,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from editlib import ragged, training, unread
from editlib.profiles import DPO, DPOP, KRSL, SFT, SimPO

BASE = {"lr": 1e-2, "also_try": [], "epochs": 1, "batch": 8, "accumulation": 1, "lr_decay": 1.0}
PLAIN = SFT(**BASE)
EDIT = KRSL(**BASE, alpha=1.0, beta=0.5, per="response", ceiling=20.0)
SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.5,
}


def student(config=None):
    torch.manual_seed(0)
    model = LlamaForCausalLM(config or LlamaConfig(**SIZES))
    targets = ["q_proj", "v_proj", "down_proj"]
    adapted = get_peft_model(model, LoraConfig(r=4, lora_dropout=0.0, target_modules=targets))
    assert unread.install(model)  # which leaves calls that name no tokens as they are
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return adapted


def some_ids(rng, low=1, high=12):
    return rng.integers(2, 50, rng.integers(low, high)).tolist()


def pair(rng, shared, correct_key=None, wrong_key=None):
    """A pair whose sides begin alike; keys at random, in the shared part too, unless given."""
    start = some_ids(rng, shared, shared + 1) if shared else []
    row = {
        "prompt": some_ids(rng),
        "correct": start + some_ids(rng),
        "wrong": start + some_ids(rng),
    }
    for side, given in (("correct", correct_key), ("wrong", wrong_key)):
        chance = rng.random(len(row[side])) < 0.4
        row[f"{side}_key"] = chance if given is None else np.full(len(row[side]), given)
        row[f"{side}_reference"] = -rng.uniform(2, 5) * len(row[side])
    return row


def duals(seed=0):
    rng = np.random.default_rng(seed)
    rows = [pair(rng, shared) for shared in (0, 1, 3, 8)]
    rows.append(pair(rng, 4, correct_key=False))
    rows.append(pair(rng, 4, wrong_key=False))
    rows.append(pair(rng, 4, correct_key=False, wrong_key=False))
    rows.append(pair(rng, 2, correct_key=True, wrong_key=True))
    return rows


def responses(seed=0):
    rng = np.random.default_rng(seed)
    plain = [{"prompt": some_ids(rng), "response": some_ids(rng)} for _ in range(8)]
    heavy, light = plain[0] | {"weight": 3.0}, plain[1] | {"weight": 0.5}
    return [*plain[2:], {"parts": [heavy, light]}, {"parts": [heavy]}]


def two_tasks(seed=0):
    rng = np.random.default_rng(seed)
    return [
        {
            "parts": [
                {"prompt": some_ids(rng), "response": some_ids(rng), "weight": w, "share": 9.0}
                for w in (3.0, 0.5)
            ]
        }
        for _ in range(4)
    ]


def step(model, rows, settings, tmp_path, padded, implementation=ragged.NAME):
    """Loss and gradients of one optimizer step, through the Trainer."""
    model.get_base_model().set_attn_implementation("sdpa" if padded else implementation)
    trainer = training.StudentTrainer(
        model=model,
        args=training._arguments(settings, 0, tmp_path, None, selects=False),
        objective=training.objective(settings),
        lr_decay=1.0,
        padded=padded,
    )
    batch = trainer.data_collator(rows)
    model.zero_grad()
    loss = trainer.training_step(model, batch, batch["items"])
    weights = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return loss, weights


def assert_same(one, other):
    """Equal to 1e-5 of the largest entry, loss and every gradient."""
    assert_close(one[0], other[0], rtol=1e-5, atol=1e-7)
    assert one[1].keys() == other[1].keys()
    for name, gradient in other[1].items():
        assert gradient.abs().max() > 0, name
        assert_close(one[1][name], gradient, rtol=0, atol=1e-5 * gradient.abs().max().item())


SETTINGS = {
    "sft": PLAIN,
    "sbs-mi": SFT(**BASE, mutual=0.5),
    "krsl": EDIT,
    "krsl, alpha 0": EDIT.model_copy(update={"alpha": 0.0}),
    "krsl, beta 0": EDIT.model_copy(update={"beta": 0.0}),
    "krsl, per key": EDIT.model_copy(update={"per": "key"}),
    "krsl, low ceiling": EDIT.model_copy(update={"ceiling": 4.0}),
    "dpo": DPO(**BASE, beta=0.1),
    "dpop": DPOP(**BASE, beta=0.01, penalty=5.0),
    "simpo": SimPO(**BASE, beta=2.0, margin=1.0),
}


def rows_for(settings):
    if isinstance(settings, SFT):
        return two_tasks() if settings.mutual else responses()
    return duals()


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_loss_and_gradients_equal_those_of_padded_batches(settings, tmp_path):
    rows, model = rows_for(settings), student()
    padded = step(model, rows, settings, tmp_path, padded=True)
    assert_same(step(model, rows, settings, tmp_path, padded=False), padded)


def test_the_ceiling_of_that_test_leaves_some_tokens_alone(tmp_path):
    model = student()
    low = step(model, duals(), SETTINGS["krsl, low ceiling"], tmp_path, padded=True)
    with pytest.raises(AssertionError):
        assert_same(low, step(model, duals(), EDIT, tmp_path, padded=True))


@pytest.mark.parametrize("name", ["dpo", "dpop", "simpo"])
def test_that_test_can_fail_for_preferences(name, tmp_path, monkeypatch):
    """Two tokens of one rationale in the place of each other are noticed."""
    model = student()
    padded = step(model, duals(), SETTINGS[name], tmp_path, padded=True)
    monkeypatch.setattr(
        ragged, "pack_whole_duals", lambda rows: ragged.pack_duals(two_swapped(rows))
    )
    with pytest.raises(AssertionError):
        assert_same(step(model, duals(), SETTINGS[name], tmp_path, padded=False), padded)


def two_swapped(rows):
    """Every token asked for, but the last two of the longest wrong side change places."""
    whole = [
        row | {f"{side}_key": np.ones(len(row[side]), dtype=bool) for side in ("correct", "wrong")}
        for row in rows
    ]
    last = max(whole, key=lambda row: len(row["wrong"]))
    last["wrong"] = [*last["wrong"][:-2], *last["wrong"][-2:][::-1]]
    return whole


def varlen_by_definition(q, k, v, ends_q, ends_k, max_q, max_k, *, scale, window_size):
    """What torch's call for GPUs does, row by row: (tokens, heads, size), lower right."""
    assert window_size == (-1, 0)
    rows, columns = (torch.diff(ends).tolist() for ends in (ends_q, ends_k))
    assert (max_q, max_k) == (max(rows), max(columns))
    done = []
    parts = (x.double().split(n) for x, n in ((q, rows), (k, columns), (v, columns)))
    for query, key, value in zip(*parts, strict=True):
        scores = torch.einsum("qhd,khd->hqk", query, key) * scale
        unseen = torch.ones(scores.shape[1:]).triu(scores.shape[2] - scores.shape[1] + 1).bool()
        weights = scores.masked_fill(unseen, -torch.inf).softmax(-1)
        done.append(torch.einsum("hqk,khd->qhd", weights, value))
    return torch.cat(done).to(q.dtype)


def test_all_segments_in_one_call_equal_padded_batches(tmp_path, monkeypatch):
    model = student()
    padded = step(model, duals(), EDIT, tmp_path, padded=True)
    calls = []
    monkeypatch.setattr(
        ragged, "varlen_attn", lambda *a, **how: calls.append(a) or varlen_by_definition(*a, **how)
    )
    monkeypatch.setattr(ragged, "can_use_flash_attention", lambda params: True)
    assert_same(step(model, duals(), EDIT, tmp_path, padded=False), padded)
    assert len(calls) == model.config.num_hidden_layers


def test_under_autocast_a_whole_model_in_float32_is_read_in_one_call(monkeypatch):
    calls = []
    monkeypatch.setattr(
        ragged, "varlen_attn", lambda *a, **how: calls.append(a) or varlen_by_definition(*a, **how)
    )
    model = student().get_base_model()
    assert ragged.install(model) is None
    monkeypatch.setattr(
        ragged,
        "can_use_flash_attention",
        lambda p: p.query.dtype == p.key.dtype == p.value.dtype == torch.bfloat16,
    )
    with torch.autocast("cpu", torch.bfloat16):
        ragged.token_logp(model, ragged.pack_duals(duals()))
    assert len(calls) == model.config.num_hidden_layers


@pytest.mark.parametrize("where", ["branch", "positions", "asked"])
def test_the_equality_test_can_fail(where, tmp_path, monkeypatch):
    """A branch that sees one token too few, or counts positions on from the trunk, is noticed.

    So is an asked token that the last layer leaves out.
    """
    model = student()
    padded = step(model, duals(), EDIT, tmp_path, padded=True)
    if where == "branch":
        lower_right = ragged._lower_right
        monkeypatch.setattr(
            ragged,
            "_lower_right",
            lambda q, k, v, **how: lower_right(
                q, *(x[:, :, int(x.shape[2] > q.shape[2]) :] for x in (k, v)), **how
            ),
        )
    else:
        pack = ragged.pack_duals

        def amiss(rows):
            packed = pack(rows)
            length = packed["input_ids"].shape[1]
            if where == "asked":
                return packed | {"asked": packed["asked"][:-1]}
            return packed | {"position_ids": torch.arange(length)[None]}

        monkeypatch.setattr(ragged, "pack_duals", amiss)
    with pytest.raises(AssertionError):
        assert_same(step(model, duals(), EDIT, tmp_path, padded=False), padded)


def test_every_weight_may_learn_with_activation_checkpointing(tmp_path):
    model = student()
    for weight in model.parameters():
        weight.requires_grad_(True)
    padded = step(model, duals(), EDIT, tmp_path, padded=True)
    model.activation_checkpointing_enable({"use_reentrant": False})
    model.get_base_model().train()
    assert_same(step(model, duals(), EDIT, tmp_path, padded=False), padded)


def test_a_segment_is_asked_for_what_the_mask_marks():
    rows = duals()
    packed = ragged.pack_duals(rows)
    marked = [
        token
        for side in ("correct", "wrong")
        for row in rows
        for token, key in zip(row[side], row[f"{side}_key"], strict=True)
        if key
    ]
    assert packed["targets"].tolist() == marked
    whole = sum(2 * len(r["prompt"]) + len(r["correct"]) + len(r["wrong"]) for r in rows)
    assert packed["input_ids"].shape[1] < whole


def test_generation_goes_on_as_with_sdpa():
    model = student().get_base_model().eval()
    ids, mask = torch.tensor([[0, 0, 5, 6], [7, 8, 9, 4]]), torch.tensor([[0, 0, 1, 1], [1] * 4])
    how = {"attention_mask": mask, "do_sample": False, "max_new_tokens": 8, "pad_token_id": 0}
    expected = model.generate(ids, **how)
    assert ragged.install(model) is None
    assert model.generate(ids, **how).tolist() == expected.tolist()


def test_a_whole_model_is_trained_and_checkpointing_changes_no_weight(tmp_path):
    trained = []
    for checkpointing in (False, True):
        model = student().get_base_model()
        before = {name: weight.clone() for name, weight in model.state_dict().items()}
        settings = EDIT.model_copy(update={"checkpointing": checkpointing, "accumulation": 2})
        training.fit(model, duals(), settings, seed=0, scratch=tmp_path / f"{checkpointing}")
        assert model.is_activation_checkpointing == checkpointing
        trained.append(model.state_dict())
    moved = [not torch.equal(trained[0][name], weight) for name, weight in before.items()]
    assert any(moved)
    assert_close(*trained, rtol=1e-5, atol=1e-6)


def test_a_batch_without_a_key_token_costs_nothing(tmp_path):
    rng = np.random.default_rng(0)
    rows = [pair(rng, 2, correct_key=False, wrong_key=False) for _ in range(2)]
    for padded in (True, False):
        loss, gradients = step(student(), rows, EDIT, tmp_path, padded)
        assert loss == 0 and not any(gradient.any() for gradient in gradients.values())


WHOLE = {"layer_types": ["full_attention"] * 2}
GONE_WRONG = {  # what is said: decoders that would read a ragged batch wrongly and say nothing
    "is not told of segments": (NemotronForCausalLM, NemotronConfig, {}),
    "a mask of its own": (DogeForCausalLM, DogeConfig, {}),
    "takes s_aux": (GptOssForCausalLM, GptOssConfig, WHOLE),
    "otherwise than two texts": (RobertaForCausalLM, RobertaConfig, {"is_decoder": True}),
    "gives out router logits": (MixtralForCausalLM, MixtralConfig, {"output_router_logits": True}),
}
PRECISIONS = pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
WELL = {
    "Qwen3": (Qwen3ForCausalLM, Qwen3Config, {}),
    "GPT-2": (GPT2LMHeadModel, GPT2Config, {}),
    "Mixtral": (MixtralForCausalLM, MixtralConfig, {}),
}


def decoder(kind, config, changes):
    torch.manual_seed(0)
    model = kind(config(**SIZES | changes))
    for name, weight in model.named_parameters():
        if name.endswith((".A", ".sinks")):  # which are zero until they are trained
            torch.nn.init.normal_(weight, std=0.5)
    return model.train()


@PRECISIONS
@pytest.mark.parametrize("initial", [0.02, 0.5])
@pytest.mark.parametrize("said", GONE_WRONG)
def test_a_decoder_that_reads_ragged_batches_wrongly_is_left_as_it_is(said, initial, precision):
    kind, config, changes = GONE_WRONG[said]
    model = decoder(kind, config, changes | {"initializer_range": initial}).to(precision)
    usual = model.config._attn_implementation
    assert said in ragged.install(model)
    assert model.config._attn_implementation == usual and model.training


@PRECISIONS
@pytest.mark.parametrize("way", ["all before", "itself alone", "half the scale"])
def test_attention_that_is_another_one_is_noticed(way, precision, monkeypatch):
    attention = ragged.attention

    def other(*args, segments=None, **how):
        if way == "all before" and segments:
            segments = [(sum(map(sum, segments)), 0, 0)]
        elif way == "itself alone" and segments:
            segments = [part for a, b, c in segments for part in ((a + b, 0, 0), (c, 0, 0))]
        elif segments:
            how["scaling"] /= 2
        return attention(*args, segments=segments, **how)

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, ragged.NAME, other)
    model = decoder(*WELL["Qwen3"]).to(precision)
    assert "otherwise than two texts" in ragged.install(model)


def test_a_decoder_that_fails_on_ragged_batches_is_left_as_it_is(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no such shape\nand more")

    monkeypatch.setattr(ragged, "token_logp", broken)
    model = decoder(*WELL["Qwen3"])
    assert ragged.install(model) == "RuntimeError: no such shape"
    assert model.config._attn_implementation != ragged.NAME and model.training


def test_a_prompt_without_tokens_foretells_nothing():
    row = duals()[0] | {"prompt": []}
    with pytest.raises(ValueError, match="prompt holds no token"):
        ragged.pack_duals([row])
    with pytest.raises(ValueError, match="prompt holds no token"):
        ragged.pack_responses([{"prompt": [], "response": [3, 4]}])


def test_ids_may_be_arrays_and_a_response_empty():
    as_lists = [{"prompt": [5, 6], "response": [7, 8, 9]}, {"prompt": [5], "response": []}]
    as_arrays = [{name: np.array(ids, dtype=int) for name, ids in row.items()} for row in as_lists]
    packed = [ragged.pack_responses(rows) for rows in (as_lists, as_arrays)]
    assert packed[0].pop("segments") == packed[1].pop("segments")
    assert_close(*packed)
    assert packed[0]["targets"].tolist() == [7, 8, 9]
    assert packed[0]["logits_to_keep"].tolist() == [1, 2, 3]


@PRECISIONS
@pytest.mark.parametrize("model", WELL.values(), ids=WELL)
def test_a_decoder_that_reads_them_rightly_takes_them(model, precision):
    assert ragged.install(decoder(*model).to(precision)) is None


def test_a_model_with_a_window_takes_padded_batches_and_says_so():
    config = MistralConfig(**SIZES, sliding_window=4)
    torch.manual_seed(0)
    lora = LoraConfig(r=4, target_modules=["q_proj"])
    model = get_peft_model(MistralForCausalLM(config), lora)
    with pytest.warns(
        UserWarning, match="^mistral: padded batches.*: not all of its layers see all"
    ):
        assert not training.goes_ragged(model)
