"""Work side by side on all cores there are: one process and one thread each."""

import os
import warnings
from collections.abc import Callable, Sequence

import torch
import transformers
from joblib import Parallel, cpu_count, delayed, parallel_config
from tqdm.auto import tqdm

from editlib.errors import KitError


def settle() -> None:
    """One thread a cell: cells run side by side, and sums do not depend on the machine."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")


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
    with parallel_config(backend="loky", inner_max_num_threads=1):
        results = Parallel(n_jobs=workers, return_as="generator")(
            delayed(function)(i) for i in items
        )
    return list(tqdm(results, total=len(items), desc=desc))
