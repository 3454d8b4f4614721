"""Student models: the base they start from, and what training makes of it: an adapter, or all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
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
    """The base model, for evaluation: bundled, wide, tiny (random weights), or of transformers."""
    if student.base == "tiny":
        return _tiny(len(bases.load_tokenizer(student)))
    try:
        return _whole(bases.source(student), dtype(student))
    except OSError as error:
        raise NoStudent(
            f"student.base={student.base!r} is neither bundled, wide, tiny, a folder with a model, "
            f"nor a model id that can be downloaded from here: {error}"
        ) from error


def fresh(student: Student, seed: int) -> PreTrainedModel | PeftModel:
    """What training starts from: a new LoRA adapter on the base, or without LoRA the base itself.

    seed: decides the initial weights of the adapter. Without LoRA all weights are in float32, since
    bfloat16 would round small updates away.
    """
    base, lora = load_base(student), student.lora
    if lora is None:
        return base.float()
    torch.manual_seed(seed)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
    )
    return get_peft_model(base, config)


def load(student: Student, folder: Path, trainable: bool = False) -> PreTrainedModel | PeftModel:
    """A trained student, from where save_pretrained left it; raises NoStudent if none lies there.

    trainable: as fresh() made it and training left it; else a plain model, for evaluation.
    """
    base = load_base(student) if student.lora else None
    try:
        if base is None:
            return _whole(folder, torch.float32 if trainable else dtype(student))
        adapted = PeftModel.from_pretrained(base, folder, is_trainable=trainable)
    except (OSError, ValueError, SafetensorError) as error:
        raise NoStudent(
            f"{folder} holds no usable student: {error}. Delete the folder artifacts/training of "
            "its run and run notebook 04_edit_training: it trains this one anew and keeps others"
        ) from error
    return adapted if trainable else adapted.merge_and_unload()


@contextmanager
def merged(model: PreTrainedModel | PeftModel) -> Iterator[PreTrainedModel | PeftModel]:
    """The adapter folded into its base, which halves the time of decoding; then as before.

    Every bit is as before: taking an adapter out by subtraction alone would leave rounding errors.
    A model without an adapter stays as it is.
    """
    if not isinstance(model, PeftModel):
        yield model
        return
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


def _whole(source: Path | str, dtype: torch.dtype) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(source, dtype=dtype).to(_device()).eval()


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


def dtype(student: Student) -> torch.dtype:
    """What a student computes in: student.dtype on a GPU, float32 on a processor."""
    return getattr(torch, student.dtype) if torch.cuda.is_available() else torch.float32
