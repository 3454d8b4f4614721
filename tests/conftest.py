"""Stand-ins made on the spot: a word-level tokenizer and a one-layer model."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEXT = "Q A : 5 minus plus 2 is 3 4 7 8 . The answer Therefore , the so we get what"


def pytest_collection_modifyitems(items):
    """The longest test first, so that no core waits for it in the end."""
    items.sort(key=lambda item: item.name != "test_smoke_through_make")


@pytest.fixture(scope="session")
def tok() -> PreTrainedTokenizerFast:
    vocabulary = {word: i for i, word in enumerate(["<unk>", "<end>", *TEXT.split()])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<end>", pad_token="<end>"
    )


def tiny_llama(vocabulary: int, seed: int = 0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    return LlamaForCausalLM(config)


@pytest.fixture
def tiny(tok):
    """A LoRA student without dropout, so that two passes give the same numbers."""
    model = tiny_llama(len(tok))
    torch.manual_seed(1)
    lora = LoraConfig(r=4, lora_dropout=0.0, target_modules=["q_proj", "v_proj"])
    student = get_peft_model(model, lora)
    for name, weight in student.named_parameters():
        if "lora_B" in name:  # zero at birth: its twin would get no gradient
            torch.nn.init.normal_(weight, std=0.1)
    return student


@pytest.fixture(scope="session")
def model_folder(tok, tmp_path_factory):
    """A folder with a one-layer chat model that samples by default, as chat models do."""
    folder = tmp_path_factory.mktemp("models") / "tiny-chat"
    model, tokenizer = tiny_llama(len(tok), seed=3), copy.deepcopy(tok)
    model.generation_config.update(do_sample=True, eos_token_id=tok.eos_token_id)
    tokenizer.chat_template = "{% for m in messages %}Q : {{ m['content'] }} A :{% endfor %}"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
