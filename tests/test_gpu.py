"""On a GPU: ragged batches give what padded ones give, and accelerate's FSDP trains with them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.testing import assert_close
from transformers import LlamaConfig, LlamaForCausalLM

from editlib import profiles, ragged
from editlib.bench import steps
from tests import distributed
from tests.test_ragged import duals

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")

ROOT = Path(__file__).parent.parent
KRSL = profiles.load("mini").training.krsl
LAUNCH = [
    *(sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "1"),
    *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
    *("--use_fsdp", "--fsdp_version", "2", "--fsdp_auto_wrap_policy", "TRANSFORMER_BASED_WRAP"),
    *("--fsdp_transformer_layer_cls_to_wrap", "LlamaDecoderLayer"),
    *("--fsdp_cpu_ram_efficient_loading", "false"),
]


def student(dtype):
    """Heads of 64, which flash attention takes."""
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=50,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    lora = LoraConfig(r=8, target_modules=["q_proj", "v_proj"])
    model = get_peft_model(LlamaForCausalLM(shape).to("cuda", dtype), lora)
    for name, weight in model.named_parameters():
        if "lora_B" in name:  # zero at birth: its twin would get no gradient
            torch.nn.init.normal_(weight, std=0.1)
    assert ragged.install(model.get_base_model()) is None
    return model


def loss_and_gradients(model, way, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(model, "zero_grad", lambda **_: None)
        loss = steps.step(model, steps.batch_of(duals(), KRSL, way), KRSL)
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return loss, gradients


def counted(monkeypatch):
    """The calls of varlen_attn from now on."""
    calls, attend = [], ragged.varlen_attn
    monkeypatch.setattr(ragged, "varlen_attn", lambda *a, **k: calls.append(a) or attend(*a, **k))
    return calls


def test_ragged_batches_equal_padded_ones_in_float32(monkeypatch):
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    model, calls = student(torch.float32), counted(monkeypatch)
    loss, expected = loss_and_gradients(model, "padded", monkeypatch)
    ours, gradients = loss_and_gradients(model, "kit", monkeypatch)
    assert ours == pytest.approx(loss, rel=1e-5) and gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        most = gradient.abs().max().item()
        assert most > 0
        assert_close(gradients[name], gradient, rtol=0, atol=1e-5 * most)
    assert not calls


def test_ragged_batches_agree_with_padded_ones_in_bfloat16(monkeypatch):
    """In one call of flash attention; as far as bfloat16, of 8 bits, tells."""
    model, calls = student(torch.bfloat16), counted(monkeypatch)
    loss, expected = loss_and_gradients(model, "padded", monkeypatch)
    ours, gradients = loss_and_gradients(model, "kit", monkeypatch)
    assert ours == pytest.approx(loss, rel=1e-2)
    for name, gradient in expected.items():
        assert (gradients[name] - gradient).norm() < 5e-2 * gradient.norm(), name
    assert len(calls) == model.config.num_hidden_layers


def test_the_fsdp_of_accelerate_trains_as_one_process_does(tmp_path):
    alone = distributed.trained_in_float32(1, tmp_path / "alone")
    file = tmp_path / "fsdp" / "result.pt"
    file.parent.mkdir()
    command = [*LAUNCH, str(ROOT / "tests" / "distributed.py"), "fsdp", str(file)]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    together = torch.load(file, weights_only=True, map_location="cuda")
    assert any(value.abs().max() > 1e-3 for name, value in alone.items() if "lora_B" in name)
    assert_close(together, alone, rtol=1e-4, atol=1e-5)  # two updates are about 2e-3
