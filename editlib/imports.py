"""Imports before they are asked for, which else take longer than many a cell.

Those of a notebook: this module is an extension of IPython, which its kernel loads as it starts,
while another notebook runs. Those of processes side by side: one process imports for all of them.
"""

import ast
import gc
import json
import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path

NOTEBOOK = "EDITLIB_NOTEBOOK"  # variable: the notebook that a kernel is for
ALL_CORES = "all-cores"  # tag of a cell whose work goes on side by side (editlib.cores)
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def load_ipython_extension(_) -> None:
    """Import what the cells of a notebook import, in a namespace of its own."""
    cells = json.loads(Path(os.environ[NOTEBOOK]).read_text(encoding="utf-8"))["cells"]
    if any(ALL_CORES in cell["metadata"].get("tags", []) for cell in cells):
        start_workers()
    gc.disable()  # what is imported stays: to look for garbage in it takes a fifth of the time
    for statement in _imports(cells):
        with suppress(Exception):  # which the cell itself will meet
            exec(statement, {})
    gc.enable()


def _imports(cells: list[dict]) -> Iterator[str]:
    """The import statements of code cells, but for those within others and beside magics."""
    for cell in cells:
        with suppress(SyntaxError):
            parsed = ast.parse("".join(cell["source"]) if cell["cell_type"] == "code" else "")
            yield from (
                ast.unparse(s) for s in parsed.body if isinstance(s, ast.Import | ast.ImportFrom)
            )


def start_workers() -> None:
    """Start the process that those of cores.run_all are forked from, if it does not run yet.

    It imports what they need, once for all.
    """
    if sys.platform == "linux":  # elsewhere libraries may not survive a fork: each imports its own
        multiprocessing.set_forkserver_preload(["editlib.workers"])
    forkserver.ensure_running()
