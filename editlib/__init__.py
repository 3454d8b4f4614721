"""EDIT, mistake-driven key reasoning step distillation, made reproducible."""

import os

__version__ = "0.1.0"

# Threads of a small student wait for one another far more often than they compute. By default they
# spin meanwhile: where another program has the core, for forty times as long as the work takes.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # torch reads it when it is loaded; so do kernels
