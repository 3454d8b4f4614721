"""What each process of tests/test_distributed.py runs: ``torchrun tests/distributed.py HOW FILE``.

Saves the adapter that two updates of fit leave (HOW pairs, or responses, whose lengths differ from
process to process, or local: those, each process dividing by its own tokens), or the gradients of
one step whose layers are sharded over the processes (HOW sharded). HOW fsdp, for ``accelerate
launch --use_fsdp`` and tests/test_gpu.py: the adapter of pairs, in float32, from layers that
accelerate sharded.
"""

import os
import sys
from pathlib import Path
from unittest import mock

import torch
import torch.distributed as dist
from peft import LoraConfig, get_peft_model
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from editlib import keysteps, ragged, training
from editlib.profiles import KRSL, SFT
from tests.conftest import tiny_llama

PAIRS, END = 16, 2
USUAL = {"lr": 1e-3, "also_try": [], "epochs": 1, "batch": PAIRS // 2, "accumulation": 1}
USUAL |= {"lr_decay": 1.0}
SETTINGS = KRSL(**USUAL, alpha=1.0, beta=0.5, per="response", ceiling=20.0)


def pairs():
    """Made-up pairs of unlike lengths that share their first tokens."""
    generator = torch.Generator().manual_seed(0)

    def ids(n):
        return torch.randint(3, 40, (n,), generator=generator).tolist()

    for i in range(PAIRS):
        shared = ids(5)
        correct, wrong = [*shared, *ids(4 + i % 5), END], [*shared, *ids(3 + i % 4), END]
        keys = keysteps.key_mask(correct, wrong), keysteps.key_mask(wrong, correct)
        sides = {"correct": correct, "wrong": wrong, "correct_key": keys[0], "wrong_key": keys[1]}
        yield {"prompt": ids(4 + i % 3)} | sides


def responses():
    """A third of the pairs' correct sides has three times the length of the others."""
    for i, pair in enumerate(pairs()):
        response = pair["correct"] * (3 if i % 3 == 0 else 1)
        yield {"prompt": pair["prompt"], "response": response, "weight": 1.0}


def student():
    torch.manual_seed(0)
    return get_peft_model(tiny_llama(48), LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))


def trained(processes, scratch, how="pairs"):
    """The adapter after one epoch of training.fit, its batches dealt to the processes."""
    settings, rows = (SETTINGS, pairs()) if how == "pairs" else (SFT(**USUAL), responses())
    settings = settings.model_copy(update={"batch": settings.batch // processes})
    model = student()
    training.fit(model, list(rows), settings, seed=0, scratch=scratch)
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def trained_in_float32(processes, scratch):
    """The same where fit would take bfloat16, which is where there is a GPU."""
    arguments = training.TrainingArguments
    with mock.patch.object(
        training, "TrainingArguments", lambda **given: arguments(**given | {"bf16": False})
    ):
        return trained(processes, scratch)


def by_fsdp(scratch):
    adapter = trained_in_float32(int(os.environ["WORLD_SIZE"]), scratch)
    assert all(isinstance(weight, DTensor) for weight in adapter.values())
    return {name: weight.full_tensor() for name, weight in adapter.items()}


def own_items(trainer, batches, device):
    """As if each process knew of its own batches alone; the means of all are averaged."""
    return trainer.args.world_size * sum(batch["items"] for batch in batches)


def sharded(processes, rank):
    """Gradients of a step on all pairs, each process holding and computing its share."""
    model, objective = student(), training.objective(SETTINGS)
    assert ragged.install(model.get_base_model()) is None
    if processes > 1:
        for layer in model.get_base_model().model.layers:
            fully_shard(layer)
        fully_shard(model)
    batch = objective.collate_and_pack(list(pairs())[rank::processes])
    logp = training.log_probabilities(model, batch, objective.mask)
    loss = objective.loss(logp, batch, torch.tensor(PAIRS)).loss * processes
    loss.backward()
    grads = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    return {name: g.full_tensor() if processes > 1 else g for name, g in grads.items()}


if __name__ == "__main__":
    how, file = sys.argv[1], Path(sys.argv[2])
    if how == "fsdp":
        result = by_fsdp(file.parent)
    else:
        dist.init_process_group("gloo")
        processes, rank = dist.get_world_size(), dist.get_rank()
        if how == "local":
            training.StudentTrainer._get_num_items_in_batch = own_items
        if how == "sharded":
            result = sharded(processes, rank)
        else:
            result = trained(processes, file.parent, how)
    if dist.get_rank() == 0:
        torch.save(result, file)
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)  # now and then a thread of gloo outlives its group, and a usual end would abort
