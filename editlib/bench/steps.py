"""Training steps of a LoRA student of 41 million parameters, beside padded batches and TRL."""

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial

import pandas as pd
import torch
from accelerate.utils import send_to_device
from datasets import Dataset
from joblib import cpu_count
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn.functional import pad
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer

from editlib import folded, profiles, ragged, training
from editlib.bench import REPEATS, Baseline, Benchmark, Job, in_fresh_process, pairs, peak_mb

BATCH = 4  # pairs
PUBLISHED_LENGTH = 1024  # tokens, to which the published code pads
WAYS = ("padded", "padded to 1,024", "kit")
SHAPE = LlamaConfig(
    vocab_size=pairs.VOCABULARY,
    hidden_size=512,
    intermediate_size=1408,
    num_hidden_layers=8,
    num_attention_heads=8,
    max_position_embeddings=PUBLISHED_LENGTH,
)
SFT, KRSL = (getattr(profiles.load("mini").training, phase) for phase in ("sft", "krsl"))


def student(config: LlamaConfig = SHAPE, device: str = "cpu", dtype=torch.float32) -> PeftModel:
    """Random weights of this shape with LoRA as published (Table 16), ready for ragged batches."""
    torch.manual_seed(0)
    lora = profiles.load("paper").student.lora
    adapted = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=lora.targets)
    with torch.device(device):
        base = LlamaForCausalLM._from_config(config, dtype=dtype)
    model = get_peft_model(base, adapted).train()
    if obstacle := ragged.install(model.get_base_model()):
        raise RuntimeError(obstacle)
    return model


def batch_of(rows: Sequence[dict], settings: profiles.Optimization, way: str) -> dict:
    """A batch of the objective of these settings, in one of WAYS."""
    objective = training.objective(settings)
    if way == "kit":
        return objective.collate_and_pack(rows)
    batch = objective.collate(rows)
    wide = way == "padded to 1,024"
    return {name: _widened(tensor) for name, tensor in batch.items()} if wide else batch


def computed(batch: dict) -> int:
    """Tokens that go through the student, padding included."""
    return batch.get("ragged", batch)["input_ids"].numel()


def step(model: PeftModel, batch: dict, settings: profiles.Optimization) -> float:
    """Forward and backward of one batch, by the Trainer's rule for precision; returns the loss.

    Padded batches are the plain way: with them adapters are left to peft.
    """
    objective = training.objective(settings)
    batch = send_to_device(batch, model.device)
    half = model.dtype == torch.bfloat16
    with folded.installed(model) if "ragged" in batch else nullcontext():
        with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=half):
            logp = training.log_probabilities(model, batch, objective.mask)
            loss = objective.loss(logp, batch, batch["items"]).loss
        loss.backward()
    model.zero_grad(set_to_none=True)
    return loss.item()


def _widened(tensor: torch.Tensor) -> torch.Tensor:
    return pad(tensor, (0, PUBLISHED_LENGTH - tensor.shape[-1])) if tensor.dim() else tensor


def benchmarks() -> list[Benchmark]:
    """KRSL on puzzle and BBH lengths, fewer pairs beside slow baselines; SFT on mixed lengths."""
    model = student()
    lengths = _batches()
    last, batches = list(lengths.items())[-1]
    pair, two = ([batch[:n] for batch in batches] for n in (1, 2))
    wide = {WAYS[1]: Baseline(_job(model, pair, KRSL, WAYS[1]), 9)}
    trl = {"DPO step of TRL": Baseline(_dpo(two), 4)}
    right = [responses(batch)[: len(batch)] for batch in batches]  # a correct side of each pair
    return [
        *(
            _of(model, KRSL, work, some, _padded(model, KRSL, some, 3))
            for work, some in lengths.items()
        ),
        _of(model, KRSL, f"{last}, one pair", pair, wide),
        _of(model, KRSL, f"{last}, two pairs", two, trl),
        _of(model, SFT, last, right, _padded(model, SFT, right, 1.5)),
    ]


def _of(model: PeftModel, settings, work: str, batches: list[list[dict]], beside) -> Benchmark:
    name = "KRSL step" if settings is KRSL else "SFT step"
    return Benchmark(name, work, _job(model, batches, settings, "kit"), beside)


def _padded(model: PeftModel, settings, batches: list[list[dict]], goal) -> dict[str, Baseline]:
    return {"padded": Baseline(_job(model, batches, settings, "padded"), goal)}


def _job(model: PeftModel, batches: list[list[dict]], settings, way: str) -> Job:
    return lambda i: step(model, batch_of(batches[i], settings, way), settings)


def kit_step(model: PeftModel, rows: Sequence[dict], settings: profiles.Optimization) -> float:
    """A step in the kit's way, batch making included; returns the loss."""
    return step(model, batch_of(rows, settings, "kit"), settings)


def _batches() -> dict[str, list[list[dict]]]:
    """Batches of pairs of puzzle lengths and, where the data folder is there, of BBH lengths."""
    sources = {"puzzle lengths": pairs.of_puzzles(4), "BBH lengths": pairs.published()}
    return {work: _cut(pairs.rows(duals)) for work, duals in sources.items() if duals}


def _cut(rows: list[dict]) -> list[list[dict]]:
    fitting = [row for row in rows if longest(row) <= PUBLISHED_LENGTH // 2]
    return [fitting[i::REPEATS][:BATCH] for i in range(REPEATS)]


def longest(row: dict) -> int:
    """Tokens of the prompt and the longer side of a pair."""
    return len(row["prompt"]) + max(len(row["correct"]), len(row["wrong"]))


def responses(batch: list[dict]) -> list[dict]:
    """Both sides of some pairs as rows of SFT."""
    return [
        {"prompt": row["prompt"], "response": row[side]}
        for side in ("correct", "wrong")
        for row in batch
    ]


def _dpo(batches: list[list[dict]]) -> Job:
    """Steps of TRL on the pairs, and the ids, of KRSL steps; on a student of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        rows = [row for batch in batches for row in batch]
        trainer = dpo_trainer(student(), rows, len(batches[0]), scratch)
    inputs = list(trainer.get_train_dataloader())

    def job(i: int) -> None:
        trainer.compute_loss(trainer.model, inputs[i]).backward()
        trainer.model.zero_grad(set_to_none=True)

    return job


def dpo_trainer(model: PeftModel, rows: list[dict], size: int, scratch: str) -> DPOTrainer:
    def text(ids) -> str:
        return "".join(f"{i} " for i in ids)  # the end token comes after the last blank

    data = [
        {"prompt": text(r["prompt"]), "chosen": text(r["correct"]), "rejected": text(r["wrong"])}
        for r in rows
    ]
    settings = DPOConfig(
        output_dir=scratch,
        per_device_train_batch_size=size,
        max_length=PUBLISHED_LENGTH,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to=[],
        disable_tqdm=True,
        train_sampling_strategy="sequential",
    )
    return DPOTrainer(
        model, args=settings, train_dataset=Dataset.from_list(data), processing_class=_numbers()
    )


def _numbers() -> PreTrainedTokenizerFast:
    """A tokenizer that reads "5 17" as the ids 5 and 17."""
    special = {"<pad>": 0, "<end>": 1}
    words = {str(i): i for i in range(pairs.RESERVED, pairs.VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(special | words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>")


# --- memory ----------------------------------------------------------------------------------


def memory() -> pd.DataFrame:
    """Peak memory of a KRSL step over that of the loaded student, each in a process of its own.

    Returns rows of benchmark, work (the one of longest pairs), way, mb.
    """
    work, batches = list(_batches().items())[-1]
    longest_one = max(batches, key=lambda rows: sum(len(row["correct"]) for row in rows))
    with ThreadPoolExecutor(cpu_count()) as pool:
        mb = list(pool.map(partial(in_fresh_process, grown, longest_one), WAYS))
    rows = pd.DataFrame({"way": WAYS, "mb": mb})
    return rows.assign(benchmark="KRSL step", work=work)[["benchmark", "work", "way", "mb"]]


def grown(rows: list[dict], way: str) -> float:
    """MB by which the peak of this process grows in one step of these pairs."""
    model = student()
    before = peak_mb()
    step(model, batch_of(rows, KRSL, way), KRSL)
    return peak_mb() - before
