"""Locators: which tokens of a wrong CoT are blamed, and how they meet the mistakes that are known.

Edit distance is the paper's. The others mark fewer tokens, more, larger units, or as many at
random; all see the two responses and nothing else.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher

import numpy as np
import pandas as pd

from editlib import keysteps
from editlib.keysteps import Segmenter, Segments, common_prefix, overlaps
from editlib.records import DualCoT

Locator = Callable[[Segments, Segments], np.ndarray]  # (response, its twin) -> bool (units,)


def edit_distance(tokens: Segments, twin: Segments, ties: keysteps.Ties = "library") -> np.ndarray:
    """The tokens that a shortest edit script changes (section 3.3)."""
    return keysteps.key_mask(tokens.ids, twin.ids, ties)


def first_difference(tokens: Segments, twin: Segments) -> np.ndarray:
    """The first token that the twin does not have there."""
    return np.arange(len(tokens.ids)) == common_prefix(tokens.ids, twin.ids)


def from_first_difference(tokens: Segments, twin: Segments) -> np.ndarray:
    """The first token that differs and all after it."""
    return np.arange(len(tokens.ids)) >= common_prefix(tokens.ids, twin.ids)


def first_change(tokens: Segments, twin: Segments) -> np.ndarray:
    """The first run of changed tokens: where the paths part, without what follows from it."""
    mask = edit_distance(tokens, twin)
    first = int(mask.argmax())
    end = first + int((~np.append(mask[first:], False)).argmax())
    return mask & (np.arange(len(mask)) < end)


def common_subsequence(tokens: Segments, twin: Segments) -> np.ndarray:
    """What is in no matching block of difflib, which looks for long blocks, not for few edits."""
    mask = np.ones(len(tokens.ids), dtype=bool)
    matcher = SequenceMatcher(None, tokens.ids, twin.ids, autojunk=False)
    for start, _, size in matcher.get_matching_blocks():
        mask[start : start + size] = False
    return mask


def changed_words(tokens: Segments, twin: Segments) -> np.ndarray:
    """The tokens of words that a shortest edit of words changes."""
    segment = keysteps.WordSegmenter()
    return _of_changed(tokens, segment(tokens.text), segment(twin.text))


def changed_sentences(tokens: Segments, twin: Segments) -> np.ndarray:
    """The tokens of sentences that a shortest edit of sentences changes."""
    return _of_changed(tokens, _sentences(tokens.text), _sentences(twin.text))


def every_token(tokens: Segments, twin: Segments) -> np.ndarray:
    """All of them, which is unlikelihood training."""
    return np.ones(len(tokens.ids), dtype=bool)


LOCATORS: dict[str, Locator] = {
    "edit distance": edit_distance,
    "first differing token": first_difference,
    "first changed run": first_change,
    "longest blocks (difflib)": common_subsequence,
    "words": changed_words,
    "sentences": changed_sentences,
    "all from the first difference": from_first_difference,
    "all tokens": every_token,
}


def at_random(locate: Locator, rng: np.random.Generator) -> Locator:
    """As many marks as a locator makes, at random places: the level of chance."""
    return lambda tokens, twin: rng.permutation(locate(tokens, twin))


def _of_changed(tokens: Segments, units: Segments, twin: Segments) -> np.ndarray:
    mask = keysteps.key_mask(units.ids, twin.ids)
    changed = [span for span, key in zip(units.spans, mask, strict=True) if key]
    return overlaps(tokens.spans, changed)


def _sentences(text: str) -> Segments:
    found = list(re.finditer(r"\S.*?(?:[.!?\n](?=\s|$)|$)", text, re.DOTALL))
    return Segments(
        text, [keysteps.unit_id(match[0]) for match in found], [match.span() for match in found]
    )


# --- against known mistakes ------------------------------------------------------------------


def agreement(
    duals: Sequence[DualCoT], truths: Mapping[str, dict], segment: Segmenter, locate: Locator
) -> pd.DataFrame:
    """How the marks on each wrong CoT meet the mistakes that are known in it, counted in units.

    truths: completion key -> mistakes (dicts of kind, start, end) and consequences (start, end);
    pairs whose wrong completion has no mistake there are left out.
    Returns one row a pair: id, task, subset, kind (those of its mistakes, joined by "+"), units,
    key (marked units), mistake (units of mistakes), found (mistake and marked), hit (marked and of
    a mistake or of what follows from one).
    """
    known = [(pair, truths.get(pair.wrong_completion, {})) for pair in duals]
    return pd.DataFrame(
        [_meet(pair, truth, segment, locate) for pair, truth in known if truth.get("mistakes")],
        columns=["id", "task", "subset", "kind", "units", "key", "mistake", "found", "hit"],
    )


def _meet(pair: DualCoT, truth: dict, segment: Segmenter, locate: Locator) -> dict:
    wrong, correct = segment(pair.wrong), segment(pair.correct)
    key = locate(wrong, correct)
    mistake = overlaps(wrong.spans, [(m["start"], m["end"]) for m in truth["mistakes"]])
    follows = overlaps(wrong.spans, [(c["start"], c["end"]) for c in truth["consequences"]])
    return {
        "id": pair.id,
        "task": pair.task,
        "subset": pair.subset,
        "kind": "+".join(sorted({m["kind"] for m in truth["mistakes"]})),
        "units": len(key),
        "key": int(key.sum()),
        "mistake": int(mistake.sum()),
        "found": int((key & mistake).sum()),
        "hit": int((key & (mistake | follows)).sum()),
    }


def scores(counts: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Precision, recall and F1 of key units for each group of rows of agreement().

    recall = found / mistake: which share of the mistakes bears a mark. precision = hit / key:
    which share of the marks lies on a mistake or on what follows from it. All three pool the units
    of a group; nan where there is nothing to divide by. reached: share of pairs with a mark on any
    unit of a mistake. Returns by, pairs, precision, recall, f1, reached.
    """
    groups = counts.groupby(list(by), sort=False) if by else counts.groupby(lambda _: 0)
    sums = groups[["key", "mistake", "found", "hit"]].sum()
    precision, recall = sums["hit"] / sums["key"], sums["found"] / sums["mistake"]
    table = pd.DataFrame(
        {
            "pairs": groups.size(),
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / (precision + recall),
            "reached": (counts["found"] > 0).groupby(groups.ngroup()).mean().to_numpy(),
        }
    )
    return table.reset_index(drop=not by)
