"""Student models: the base they start from, and the adapters that training leaves behind."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from editlib import bases
from editlib.errors import KitError
from editlib.profiles import Student


class NoStudent(KitError):
    """A student model cannot be loaded."""


def load_base(student: Student) -> PreTrainedModel:
    """The base model, for evaluation: bundled, tiny (random weights), or any of transformers."""
    if student.base == "tiny":
        return _tiny(len(bases.load_tokenizer(student)))
    try:
        return (
            AutoModelForCausalLM.from_pretrained(bases.source(student), dtype=_dtype())
            .to(_device())
            .eval()
        )
    except OSError as error:
        raise NoStudent(
            f"student.base={student.base!r} is neither bundled, tiny, a folder with a model, nor a "
            f"model id that can be downloaded from here: {error}"
        ) from error


def fresh_adapter(model: PreTrainedModel, student: Student, seed: int) -> PeftModel:
    """A new LoRA adapter on a base model; seed decides its initial weights."""
    torch.manual_seed(seed)
    lora = student.lora
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
    )
    return get_peft_model(model, config)


def load_adapter(model: PreTrainedModel, folder: Path, trainable: bool = False) -> PeftModel:
    """A trained adapter on its base model; raises NoStudent if the folder holds none."""
    try:
        return PeftModel.from_pretrained(model, folder, is_trainable=trainable)
    except (OSError, ValueError) as error:
        raise NoStudent(f"{folder} holds no usable adapter: {error}. Train it again.") from error


@contextmanager
def merged(model: PeftModel) -> Iterator[PeftModel]:
    """The adapter folded into its base, which halves the time of decoding; then as before.

    Every bit is as before: taking an adapter out by subtraction alone would leave rounding errors.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, BaseTunerLayer)]
    before = [layer.get_base_layer().weight.detach().clone() for layer in layers]
    model.merge_adapter()
    try:
        yield model
    finally:
        model.unmerge_adapter()
        with torch.no_grad():
            for layer, weight in zip(layers, before, strict=True):
                layer.get_base_layer().weight.copy_(weight)


def _tiny(vocabulary: int) -> PreTrainedModel:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=bases.TINY_CONTEXT,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).eval()


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _dtype() -> torch.dtype:
    return torch.bfloat16 if torch.cuda.is_available() else torch.float32
