"""What processes side by side need, imported before they are forked (editlib.cores)."""

import gc
import os

from editlib.imports import ONE_THREAD

os.environ |= ONE_THREAD  # libraries look there as they are imported
gc.disable()  # what is imported stays: to look for garbage in it takes a fifth of the time
from editlib import own_sets, pivots, quality, studies  # noqa: E402, F401

gc.freeze()  # nor is its memory written to, so that it stays shared
gc.enable()
