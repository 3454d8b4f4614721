"""EDIT, mistake-driven key reasoning step distillation, made reproducible."""

import os

__version__ = "0.1.0"

# Threads of a small student wait for one another far more often than they compute. By default they
# spin meanwhile, and where another program has the core, that took forty times as long as the work.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # torch reads it when it is loaded; so do kernels
