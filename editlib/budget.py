"""How much text a phase of training reads: equal updates are not equal text."""

from collections.abc import Sequence

from editlib import batching, training
from editlib.profiles import Optimization

READ = ("prompt", "response", "correct", "wrong")


def tokens_read(rows: Sequence[dict], settings: Optimization, updates: int) -> int:
    """Tokens of prompts and responses in so many updates; those of a part of an epoch about.

    rows: of grid.drawn, at least one. A pair counts its prompt once and both sides whole, though
    fast paths skip some of them; a row of several parts, one a task, counts each. What is read
    before training, by a reference or a locator, is not counted.
    """
    epochs, rest = divmod(updates, training.updates_per_epoch(len(rows), settings))
    passes = epochs + rest * settings.batch * settings.accumulation / len(rows)
    parts = batching.parts(rows)
    return round(passes * sum(len(part[name]) for part in parts for name in READ if name in part))
