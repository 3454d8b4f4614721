"""Open the notebooks in JupyterLab for a profile: ``python -m editlib.lab --profile smoke``.

The notebooks' empty parameters then stand for this profile, these settings and this folder.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from editlib import options
from editlib.benchmarks import mirror
from editlib.errors import KitError
from editlib.workspace import LAB, open_workspace

FIRST = "/lab/tree/notebooks/00_start_here.ipynb"


def environment(profile: str, overrides: Sequence[str], results: Path | None) -> dict[str, str]:
    """What tells open_workspace of a choice, from whatever folder a notebook runs in.

    Raises KitError for a choice that open_workspace would refuse.
    """
    open_workspace(profile, overrides, results)
    path = Path(profile).resolve() if profile.endswith((".yaml", ".yml")) else profile
    values = (path, "\n".join(overrides), results.resolve() if results else "")
    return dict(zip(LAB, map(str, values), strict=True))


def main(argv: Sequence[str] | None = None) -> int:
    """Becomes JupyterLab; 2 if the profile or a setting is unknown."""
    parser = argparse.ArgumentParser(prog="editlib.lab", description="Open the notebooks.")
    options.add(parser)
    parser.add_argument("jupyter", nargs="*", help="after --: options of JupyterLab itself")
    arguments = parser.parse_args(argv)
    mirror.name_absolutely()
    overrides = options.split_assignments(arguments.set)
    try:
        chosen = environment(arguments.profile, overrides, arguments.results)
    except KitError as error:
        options.complain(error)
        return 2
    command = [sys.executable, "-m", "jupyter", "lab", f"--LabApp.default_url={FIRST}"]
    os.execve(sys.executable, [*command, *arguments.jupyter], os.environ | chosen)


if __name__ == "__main__":
    sys.exit(main())
