"""Several processes train as one does: batches dealt out by accelerate, or a model in shards."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from tests import distributed

ROOT = Path(__file__).parent.parent


def by_one_process(how, folder):
    """In a folder of its own, where no other run finds checkpoints to go on from."""
    return (
        distributed.sharded(1, 0)
        if how == "sharded"
        else distributed.trained(1, folder / "alone", how)
    )


def by_two_processes(how, folder):
    file = folder / "result.pt"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [*launch, str(ROOT / "tests" / "distributed.py"), how, str(file)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("how", ["pairs", "responses", "sharded"])
def test_two_processes_come_to_what_one_does(how, tmp_path):
    alone = by_one_process(how, tmp_path)
    together = by_two_processes(how, tmp_path)
    assert any(value.abs().max() > 1e-3 for value in alone.values())
    assert_close(together, alone, rtol=1e-5, atol=1e-7)


def test_processes_that_divide_by_tokens_of_their_own_come_to_something_else(tmp_path):
    alone = by_one_process("responses", tmp_path)
    apart = by_two_processes("local", tmp_path)
    assert max((apart[name] - alone[name]).abs().max() for name in alone) > 1e-5
