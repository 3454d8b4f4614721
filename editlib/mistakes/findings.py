"""What a classifier points at."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A mistake in a text: text[start:end], and why it is one."""

    kind: str
    start: int
    end: int
    why: str
