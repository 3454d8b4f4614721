"""The base student of profile full-gpu: the bundled one made twice as wide, which reads on.

`make wide-student` trains it. It begins where the bundled one ended, since students of this width
that began from nothing came to less in as little time.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from editlib import base_student, bases, puzzles, training
from editlib.base_student import SCRATCH, Stage
from editlib.profiles import Student
from editlib.workspace import digest

TWICE = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")


@dataclass(frozen=True)
class Growth:
    """Everything that decides the weights, beside those of the bundled student."""

    seed: int = 0  # of what tells its halves apart
    stages: tuple[Stage, ...] = (
        Stage(64_000, sizes=(2, 3), seed=6, context=None, batch=16, lr=1e-3),
        Stage(64_000, sizes=(2, 3), seed=7, context=None, batch=16, lr=1e-3, jumps=True),
    )


def widened(model: LlamaForCausalLM, seed: int) -> LlamaForCausalLM:
    """A student of twice the width, heads and hidden units that computes what the model does.

    Hidden states are those of the model twice over, so each matrix takes half of what it took from
    either copy; noise that the copies cancel lets training tell them apart (function-preserving
    growth: Net2Net, Chen et al. 2016). Expects tied embeddings.
    """
    config = model.config.to_dict()
    config |= {name: 2 * config[name] for name in TWICE}
    wide, generator = LlamaForCausalLM(LlamaConfig(**config)), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in wide.named_parameters():
            weight.copy_(_twice(name, model.get_parameter(name), generator))
    return wide.eval()


def _twice(name: str, weight: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    if name.endswith("embed_tokens.weight"):
        return torch.cat([weight, weight], dim=1)
    if name == "model.norm.weight":  # logits add both copies up
        return torch.cat([weight, weight]) / 2
    if weight.dim() == 1:
        return torch.cat([weight, weight])
    return torch.cat([_of_both(weight, generator) for _ in range(2)])


def _of_both(weight: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The matrix of an input that comes twice: the same sum, by weights of their usual size."""
    noise = torch.randn(weight.shape, generator=generator) * weight.std() / 2
    return torch.cat([weight / 2 + noise, weight / 2 - noise], dim=1)


def train(growth: Growth, bundled: LlamaForCausalLM, folder: Path, scratch: Path) -> None:
    """Widen the bundled student, let it read, and write it with its card into folder.

    scratch: as in base_student.train.
    """
    tokenizer = bases.load_tokenizer(Student(base="bundled", max_length=1, lora=None))
    place = scratch / digest(asdict(growth), bases.BUNDLED, puzzles, base_student, Path(__file__))
    model = widened(bundled, growth.seed)
    passes = [
        base_student.train_stage(model, tokenizer, stage, place / f"pass {number}")
        for number, stage in enumerate(growth.stages)
    ]
    base_student.save(model, tokenizer, growth, passes, folder)
    training.discard(place)


if __name__ == "__main__":
    bundled = LlamaForCausalLM.from_pretrained(bases.BUNDLED, dtype=torch.float32)
    train(Growth(), bundled, bases.WIDE, SCRATCH)
