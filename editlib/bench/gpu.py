"""KRSL and SFT steps of a student of LLaMA2-7B's shape: ``python -m editlib.bench.gpu``.

Random weights in bfloat16 and LoRA as published, on one GPU. Writes results/bench-gpu/.
"""

import argparse
import gc
import statistics
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from peft import PeftModel
from transformers import LlamaConfig

from editlib import unread
from editlib.bench import pairs, seconds_of, steps, write_machine, write_page
from editlib.records import atomic_write
from editlib.workspace import KIT

RESULTS = KIT.parent / "results" / "bench-gpu"
EPOCH = 5_207  # pairs of the paper's Ddual
PEAK = 989e12  # operations a second of an H100 or H200 in bfloat16, without sparsity
SAYS = (
    "Steps of a student of LLaMA2-7B's shape, random weights in bfloat16, LoRA as published, on "
    "the published dual CoTs: seconds of a step, tokens a second with padding, share of the card's "
    f"peak, memory, and minutes for an epoch of the paper's {EPOCH:,} pairs if they are as long "
    "(an id stands for a word or mark: a tokenizer of subwords makes more)"
)
REPEATS = 3  # of each batch
SIZES = 4, 8, 16  # pairs of a step
SHAPES = {
    "llama2-7b": LlamaConfig(),  # transformers' default is that shape
    "tiny": LlamaConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4
    ),
}


def cells(rows: Sequence[dict], sizes: Sequence[int]) -> Iterator[tuple[str, str, list]]:
    """Phase, way and batches of each row of the table: KRSL at every size, SFT at the middle one.

    Every size sees the same pairs. Batches padded to 1,024 are all alike, so that one stands for
    them.
    """
    rows = rows[: len(rows) // max(sizes) * max(sizes)]
    middle = sizes[len(sizes) // 2]
    for phase, size in [*(("krsl", size) for size in sizes), ("sft", middle)]:
        batches = [rows[i : i + size] for i in range(0, len(rows), size)]
        for way in reversed(steps.WAYS):
            yield phase, way, batches[:1] if way == steps.WAYS[1] else batches


def attempt(model: PeftModel, phase: str, way: str, batches: list[list[dict]]) -> Iterator[dict]:
    """The row of a cell; where memory runs out it says so, and one with checkpointing follows."""
    base = model.get_base_model()
    for checkpointing in (False, True):
        row = {"phase": phase, "way": way, "pairs": len(batches[0]), "checkpointing": checkpointing}
        if checkpointing:
            base.activation_checkpointing_enable({"use_reentrant": False})
        try:
            row |= {"fits": True} | measure(model, phase, way, batches)
        except torch.cuda.OutOfMemoryError:
            row["fits"] = False
        model.zero_grad(set_to_none=True)
        if checkpointing:
            base.activation_checkpointing_disable()
            base.disable_input_require_grads()  # which came with it
        gc.collect()
        torch.cuda.empty_cache()
        yield row
        if row["fits"]:
            return


def measure(model: PeftModel, phase: str, way: str, batches: list[list[dict]]) -> dict:
    """Time and memory of steps over some batches, each the median of 3, after one unmeasured.

    A step makes its batch and runs forward and backward. Returns seconds (a step),
    tokens_per_second (that go through the student, padding included), share_of_peak, gb (at most
    held, weights included; None without a GPU), epoch_minutes (of 5,207 pairs, both their sides).
    """
    settings = steps.KRSL if phase == "krsl" else steps.SFT
    rows = [batch if phase == "krsl" else steps.responses(batch) for batch in batches]
    packed = [steps.batch_of(each, settings, way) for each in rows]
    jobs = [partial(_step, model, each, settings, way) for each in rows]
    cuda = model.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    jobs[max(range(len(jobs)), key=lambda i: steps.computed(packed[i]))]()
    times = [[seconds_of(job) for job in jobs] for _ in range(REPEATS)]
    seconds = sum(map(statistics.median, zip(*times, strict=True)))
    return {
        "seconds": seconds / len(rows),
        "tokens_per_second": sum(map(steps.computed, packed)) / seconds,
        "share_of_peak": sum(operations(model, each) for each in packed) / seconds / PEAK,
        "gb": torch.cuda.max_memory_allocated() / 2**30 if cuda else None,
        "epoch_minutes": EPOCH * seconds / sum(map(len, batches)) / 60,
    }


def _step(model: PeftModel, rows: list[dict], settings, way: str) -> None:
    steps.step(model, steps.batch_of(rows, settings, way), settings)
    if model.device.type == "cuda":
        torch.cuda.synchronize()


def operations(model: PeftModel, batch: dict) -> float:
    """Of the matrix products with weights in a step: what is computed again is not counted, nor
    attention.

    A weight and token take 2 forward and 2 backward, as weights are frozen.
    """
    base = model.get_base_model()
    tokens = steps.computed(batch)
    logits = batch["ragged"]["targets"].numel() if "ragged" in batch else tokens
    left_out = tokens - batch["ragged"][unread.NAME].numel() if "ragged" in batch else 0
    layers, last = (_weights(x) for x in (base.model.layers, base.model.layers[-1].mlp))
    return 4.0 * (layers * tokens - last * left_out + _weights(base.lm_head) * logits)


def _weights(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def write(folder: Path, machine: str, table: pd.DataFrame, whole: int) -> None:
    """The steps so far as CSV, and a page that shows them; whole: how many cells there are."""
    atomic_write(folder / "steps.csv", partial(table.to_csv, index=False))
    done = len(table.drop_duplicates(["phase", "way", "pairs"]))
    by = f"As `python -m editlib.bench.gpu` wrote it on this machine, {done} of {whole} cells"
    write_page(folder, by, machine, {SAYS: table})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m editlib.bench.gpu", description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="llama2-7b")
    parser.add_argument("--pairs", type=int, nargs="+", default=SIZES, help="pairs of a step")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder to write to")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    duals = pairs.published()
    rows = pairs.rows(duals or pairs.of_puzzles(8))
    fitting = [row for row in rows if steps.longest(row) <= steps.PUBLISHED_LENGTH]
    model = steps.student(SHAPES[options.shape], device, torch.bfloat16)
    versions = {"torch": torch.__version__, "cuda": torch.version.cuda}
    lengths = "BBH, in words and marks" if duals else "puzzles, in words and marks"
    of = {"shape": options.shape, "lengths": lengths}
    machine = write_machine(options.results, ["steps"], **versions, **of)
    done = []
    asked = list(cells(fitting, options.pairs))
    for cell in asked:
        for row in attempt(model, *cell):
            done.append(row)
            print(*(f"{n}={v:.3g}" if isinstance(v, float) else f"{n}={v}" for n, v in row.items()))
            table = pd.DataFrame(done)
            write(options.results, machine, table, len(asked))
    print(table.to_string(index=False, float_format="{:.3g}".format))


if __name__ == "__main__":
    main()
