"""The command-line options that say which profile, with which settings, and where it writes."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path


def add(parser: argparse.ArgumentParser) -> None:
    """Add --profile, --set and --results."""
    parser.add_argument("--profile", default="mini", help="a name, or the path of a YAML file")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="change settings"
    )
    parser.add_argument("--results", type=Path, help="where to write (default: results/)")


def split_assignments(texts: Sequence[str]) -> list[str]:
    """Texts that hold one or more name=value each, cut into single ones; values may hold spaces.

    >>> split_assignments(["a.b=1 c=[x, y z]", "d=2"])
    ['a.b=1', 'c=[x, y z]', 'd=2']
    """
    return [part for text in texts for part in re.split(r"\s+(?=[\w.]+=)", text.strip())]


def complain(error: Exception) -> None:
    """Say on stderr what is wrong, without a traceback."""
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
