"""A student made twice as wide begins as the one it was made of, and learns with both halves."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from editlib import bases, students, wide_student
from editlib.base_student import Stage
from editlib.errors import KitError
from editlib.profiles import load
from editlib.wide_student import Growth, widened

GROWTH = Growth(stages=(Stage(24, (1,), 6, None, 8, lr=0.5),))  # at 3 updates of a warm-up of 100
TEXTS = torch.randint(0, 1_397, (3, 40), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def narrow():
    """A student of the bundled one's tokenizer and a sixteenth of its width, random weights."""
    config = LlamaConfig(
        vocab_size=1_397,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for weight in model.parameters():  # the norms' too, which begin as ones
            weight.copy_(torch.randn(weight.shape) / 3)
    return model


def test_twice_as_wide_it_computes_the_same(narrow):
    wide = widened(narrow, seed=0)
    assert wide.config.hidden_size == 16 and wide.config.num_attention_heads == 4
    torch.testing.assert_close(wide(TEXTS).logits, narrow(TEXTS).logits, rtol=1e-4, atol=1e-4)


def test_a_student_of_which_a_head_was_lost_does_not(narrow):
    wide = widened(narrow, seed=0)
    with torch.no_grad():
        wide.model.layers[0].self_attn.o_proj.weight[:, :4] = 0
    assert (wide(TEXTS).logits - narrow(TEXTS).logits).abs().max() > 0.01


def test_training_tells_its_halves_apart(narrow):
    wide = widened(narrow, seed=0)
    wide(TEXTS, labels=TEXTS).loss.backward()
    first, second = wide.get_input_embeddings().weight.grad.chunk(2, dim=1)
    assert (first - second).abs().max() > 0.1 * first.abs().max()


def test_it_reads_on_and_is_written_with_its_card(narrow, tmp_path, monkeypatch):
    wide_student.train(GROWTH, narrow, tmp_path / "base", tmp_path / "scratch")
    card = json.loads((tmp_path / "base" / "card.json").read_text())
    assert card["recipe"]["stages"][0]["seed"] == 6 and card["passes"][0]["tokens"] > 500
    made = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    assert (made(TEXTS).logits - narrow(TEXTS).logits).abs().max() > 0.01
    assert not list((tmp_path / "scratch").iterdir())
    monkeypatch.setattr(bases, "WIDE", tmp_path / "base")
    student = load("full-gpu").student
    assert bases.load_tokenizer(student).eos_token_id == 0
    assert students.load_base(student).config.hidden_size == 16


def test_who_has_not_trained_it_is_told_how(tmp_path, monkeypatch):
    monkeypatch.setattr(bases, "WIDE", tmp_path / "none")
    with pytest.raises(KitError, match=r"there is no .*none\. Train it: make wide-student"):
        bases.load_tokenizer(load("full-gpu").student)


def test_what_it_reads_the_bundled_one_has_not_read():
    read = {stage.seed for stage in wide_student.base_student.Recipe().stages}
    assert not read & {stage.seed for stage in Growth().stages}
