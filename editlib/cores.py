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
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
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

    EDITLIB_PROCESSES sets another number, such as several small students that share a GPU. The
    first that raises ends the others. Raises KitError where a process dies, or what it makes cannot
    be handed over.
    """
    if not items:
        return []
    workers = min(processes(), len(items))
    if workers == 1:
        _settle()
        return list(tqdm(map(function, items), total=len(items), desc=desc))
    start_workers()
    context = multiprocessing.get_context("forkserver")
    made: list[Future] = []
    try:
        with ProcessPoolExecutor(workers, context, _begin, (dict(os.environ),)) as pool:
            return _results(pool, made, function, items, desc)
    except BrokenProcessPool as error:
        told = (getattr(each.exception(), "__cause__", None) for each in made)
        raise KitError(
            f"{desc}: a process ended amid its work, or could not hand over what it made. An error "
            "above says why; where there is none it was killed, most likely for want of memory: "
            f"run this again with EDITLIB_PROCESSES={workers - 1}. What was done is kept"
        ) from next(filter(None, told), error)


def _results(pool, made: list[Future], function: Callable, items: Sequence, desc: str) -> list:
    """function of every item; made gets what is under way. Whatever is raised ends all processes:
    left to itself, the pool waits for those that it was starting when it broke.
    """
    try:
        for item in items:
            made.append(pool.submit(function, item))
        for each in tqdm(as_completed(made), total=len(items), desc=desc):
            each.result()
        return [each.result() for each in made]
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
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _settle()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _settle() -> None:
    """One thread a cell: cells run side by side, and sums do not depend on the machine."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
