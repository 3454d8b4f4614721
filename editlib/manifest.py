"""What a run was made with: versions, commit, hardware, settings, data."""

import os
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import pandas as pd
import psutil

import editlib
from editlib import benchmarks
from editlib.workspace import KIT, Workspace, digest

PACKAGES = (
    *("torch", "transformers", "tokenizers", "peft", "accelerate", "numpy", "Levenshtein"),
    *("pandas", "scipy", "statsmodels", "matplotlib", "seaborn", "papermill"),
)


def describe(ws: Workspace, overrides: Sequence[str]) -> dict:
    """Everything about a run but its notebooks: plain values, no path and no name of a user."""
    return {
        "kit": editlib.__version__,
        "commit": commit(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "hardware": hardware(),
        "profile": ws.name,
        "overrides": list(overrides),
        "seeds": ws.profile.training.seeds if ws.profile.training else [],
        "settings": ws.profile.model_dump(mode="json"),
    }


def commit() -> dict | None:
    """The kit's git commit, and whether files other than results differ from it."""
    if not (KIT.parent / ".git").exists():
        return None
    head = _output("git", "-C", str(KIT.parent), "rev-parse", "HEAD")
    changes = _output("git", "-C", str(KIT.parent), "status", "--porcelain", "--", ":!results")
    return {"id": head, "changed": bool(changes)} if head else None


def hardware() -> dict:
    """Processor, memory and graphics card; None for what this machine does not tell."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader"),
    }


def data_fingerprint(ws: Workspace) -> str | None:
    """Fingerprint of what a profile reads: a local mirror (its checksums, or its files' sizes), or
    the pinned addresses of its benchmarks.

    None for puzzles, which are generated; raises MissingData where a mirror is named but absent.
    """
    name = ws.profile.benchmark.name
    if name == "puzzles":
        return None
    teacher = ws.profile.teacher
    published = teacher.kind == "recorded" and teacher.completions is None
    if not os.environ.get("EDITLIB_DATA_DIR") and not published:
        return digest(benchmarks.sources(name))
    folder = benchmarks.data_dir()
    if (folder / "SHA256SUMS").exists():
        return digest(folder / "SHA256SUMS")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest([[str(path.relative_to(folder)), path.stat().st_size] for path in files])


def teacher_usage(ws: Workspace) -> dict[str, int | float] | None:
    """Totals of the number columns of tables/teacher_usage.csv; None where no such table is.

    Counts are whole; cost_usd, where the teacher has prices, is in USD.
    """
    path = ws.folder / "tables" / "teacher_usage.csv"
    if not path.exists():
        return None
    totals = pd.read_csv(path).sum(numeric_only=True)
    return {
        name: round(total, 6) if name == "cost_usd" else int(total)
        for name, total in totals.items()
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or None
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _output(*command: str) -> str | None:
    """What a command prints; None if it is not installed, fails or prints nothing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
