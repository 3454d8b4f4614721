"""Work side by side on all cores there are: one process and one thread each."""

import gc
import os
import warnings
from collections.abc import Callable, Sequence

import torch
import transformers
from joblib import Parallel, cpu_count, delayed, parallel_config
from tqdm.auto import tqdm

from editlib.errors import KitError


def _settled(function: Callable, item):
    """function(item), in a process that has imported all it needs.

    One thread a cell: cells run side by side, and sums do not depend on the machine.
    """
    gc.enable()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    return function(item)


def processes() -> int:
    """How many work side by side; raises KitError where EDITLIB_PROCESSES is no such number."""
    usual = 1 if torch.cuda.is_available() else cpu_count()
    given = os.environ.get("EDITLIB_PROCESSES", str(usual))
    if not given.isdecimal() or given == "0":
        raise KitError(f"EDITLIB_PROCESSES={given!r}: expected a number of processes, 1 or more")
    return int(given)


def run_all(function: Callable, items: Sequence, desc: str) -> list:
    """function of every item, in order, one process a core (one in all where there is a GPU).

    EDITLIB_PROCESSES sets another number, such as several small students that share a GPU.
    """
    if not items:
        return []
    # loky renews a worker that has grown by 300 MB, and says so; nothing is lost
    warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
    workers = min(processes(), len(items))
    # what a process imports stays: to look for garbage in it takes a fifth of the time
    with parallel_config(backend="loky", inner_max_num_threads=1, initializer=gc.disable):
        results = Parallel(n_jobs=workers, return_as="generator")(
            delayed(_settled)(function, i) for i in items
        )
    return list(tqdm(results, total=len(items), desc=desc))
