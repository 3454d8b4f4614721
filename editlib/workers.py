"""What processes side by side need, imported before they are forked (editlib.cores)."""

import gc
import os

# each has one core; libraries look here as they are imported
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
gc.disable()  # what is imported stays: to look for garbage in it takes a fifth of the time
from editlib import own_sets, pivots, quality, studies  # noqa: E402, F401

gc.freeze()  # nor is its memory written to, so that it stays shared
gc.enable()
