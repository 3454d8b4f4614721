"""Locators: which tokens of a wrong CoT are blamed.

Edit distance is the paper's. The others mark fewer tokens, more, larger units, or as many at
random; all see the two responses and nothing else.
"""

import re
from collections.abc import Callable
from difflib import SequenceMatcher

import numpy as np

from editlib import keysteps
from editlib.keysteps import Segments, common_prefix, overlaps

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
