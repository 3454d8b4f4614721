"""KRSL and SFT steps of a student of LLaMA2-7B's shape: ``python -m editlib.bench.gpu``.

Random weights in bfloat16 and LoRA as published, on one GPU. Writes results/bench-gpu/.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from peft import PeftModel
from transformers import LlamaConfig

from editlib.bench import pairs, steps, write_machine
from editlib.records import atomic_write
from editlib.workspace import KIT

RESULTS = KIT.parent / "results" / "bench-gpu"
EPOCH = 5_207  # pairs of the paper's Ddual
PEAK = 989e12  # operations a second of an H100 or H200 in bfloat16, without sparsity
SHAPES = {
    "llama2-7b": LlamaConfig(),  # transformers' default is that shape
    "tiny": LlamaConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4
    ),
}


def measure(model: PeftModel, batches: Sequence[list[dict]], phase: str, way: str) -> dict:
    """Time and memory of the steps of one way over some batches, after one step unmeasured.

    Returns phase, way, seconds (a step), tokens_per_second (that go through the student),
    share_of_peak, gb (None without a GPU), epoch_minutes (of 5,207 pairs, both their sides).
    """
    settings = steps.KRSL if phase == "krsl" else steps.SFT
    rows = [batch if phase == "krsl" else steps.responses(batch) for batch in batches]
    packed = [steps.batch_of(each, settings, way) for each in rows]
    steps.step(model, packed[0], settings)
    cuda = model.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    for batch in packed:
        steps.step(model, batch, settings)  # reads its loss at the end, so it has ended
    seconds = time.perf_counter() - started
    tokens = sum(map(steps.computed, packed)) / seconds
    # a weight and token: 2 operations forward, 2 backward, as weights are frozen
    operations = 4 * model.get_base_model().num_parameters() * tokens
    return {
        "phase": phase,
        "way": way,
        "seconds": seconds / len(packed),
        "tokens_per_second": tokens,
        "share_of_peak": operations / PEAK,
        "gb": torch.cuda.max_memory_allocated() / 2**30 if cuda else None,
        "epoch_minutes": EPOCH * seconds / sum(map(len, batches)) / 60,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m editlib.bench.gpu", description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="llama2-7b")
    parser.add_argument("--batch", type=int, default=8, help="pairs of a step")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder to write to")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = pairs.rows(pairs.published() or pairs.of_puzzles(8))
    fitting = [row for row in rows if steps.longest(row) <= steps.PUBLISHED_LENGTH]
    size = options.batch
    batches = [fitting[i : i + size] for i in range(0, len(fitting) - size + 1, size)]
    model = steps.student(SHAPES[options.shape], device, torch.bfloat16)
    table = pd.DataFrame(
        measure(model, batches, phase, way) for phase in ("krsl", "sft") for way in steps.WAYS
    )
    atomic_write(options.results / "steps.csv", lambda file: table.to_csv(file, index=False))
    write_machine(options.results, shape=options.shape, batch=size)
    print(table.to_string(index=False, float_format="{:.3g}".format))


if __name__ == "__main__":
    main()
