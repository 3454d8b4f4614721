"""Work side by side on all cores there are: one process and one thread each.

The processes are forked from one that has imported what they need and done nothing else: they start
at once, and share its memory.
"""

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import torch
import transformers
from joblib import cpu_count
from tqdm.auto import tqdm

from editlib.errors import KitError
from editlib.imports import ONE_THREAD, start_workers


def processes() -> int:
    """How many work side by side; raises KitError where EDITLIB_PROCESSES is no such number."""
    usual = 1 if torch.cuda.is_available() else cpu_count()
    given = os.environ.get("EDITLIB_PROCESSES", str(usual))
    if not given.isdecimal() or given == "0":
        raise KitError(f"EDITLIB_PROCESSES={given!r}: expected a number of processes, 1 or more")
    return int(given)


def run_all(function: Callable, items: Sequence, desc: str) -> list:
    """function of every item, in order, one process a core (one in all where there is a GPU).

    EDITLIB_PROCESSES sets another number, such as several small students that share a GPU. What a
    process raises ends all others. Raises KitError where one was killed.
    """
    if not items:
        return []
    workers = min(processes(), len(items))
    if workers == 1:
        _settle()
        return list(tqdm(map(function, items), total=len(items), desc=desc))
    start_workers()
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(workers, context, _begin, (dict(os.environ),)) as pool:
        try:
            return list(tqdm(pool.map(function, items), total=len(items), desc=desc))
        except BrokenProcessPool as error:
            raise KitError(
                f"{desc}: a process ended amid its work. If it was killed for want of memory, run "
                f"this again with EDITLIB_PROCESSES={workers - 1}; what was done is kept. A script "
                'that asks for it needs if __name__ == "__main__"'
            ) from error
        except BaseException:
            for process in list(pool._processes.values()):  # public only from Python 3.14
                process.terminate()
            raise


def _begin(environment: dict[str, str]) -> None:
    """In a process of its own, which ends when the one that asked for it tells it to, or ends.

    environment: of that one, whatever it was when the process was started that this is forked from.
    """
    os.environ.clear()
    os.environ |= environment | ONE_THREAD
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_outlive_none, daemon=True).start()
    _settle()


def _outlive_none() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _settle() -> None:
    """One thread a cell: cells run side by side, and sums do not depend on the machine."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
