"""What processes side by side need, imported by the one that they are forked from.

That one loads this module as it starts (editlib.imports); nothing else does.
"""

import gc
import os

from editlib.imports import ONE_THREAD

os.environ |= ONE_THREAD  # libraries look there as they are imported
gc.disable()  # what is imported stays: to look for garbage in it takes a fifth of the time
from editlib import own_sets, pivots, quality, studies  # noqa: E402, F401

gc.freeze()  # nor is its memory written to, so that it stays shared
gc.enable()
