"""Key marks by another rule than edit distance, for students that learn from them.

The marks of edit distance come with the pairs (keysteps.py). Here they are replaced: by those of a
locator, by as many at random or where the student that starts the phase is most surprised, or by
what the puzzle teacher knows about its mistakes.
"""

from collections.abc import Mapping, Sequence

import Levenshtein
import numpy as np

from editlib.errors import KitError
from editlib.keysteps import Segmenter, Segments, overlaps, unit_id
from editlib.locators import LOCATORS, first_change
from editlib.methods import KNOWN, RANDOM
from editlib.mistakes import UnknownTruth
from editlib.records import DualCoT

SIDES = ("correct", "wrong")


class OtherTokens(KitError):
    """A response and the ids that were made of it do not agree."""


def marked(
    rows: Sequence[dict],
    pairs: Mapping[str, DualCoT],
    segment: Segmenter,
    key: str,
    truths: Mapping[str, Mapping],
) -> list[dict]:
    """The rows with the marks of another rule in the place of their own.

    rows: id, correct, wrong (ids), correct_key, wrong_key (bool, one an id). pairs: by id. key: a
    name of LOCATORS, RANDOM or KNOWN. truths: for KNOWN alone, completion key -> mistakes (start,
    end), as pipeline.known_mistakes gives them.
    Raises OtherTokens where segment cuts a response into other ids than those of its row, and
    UnknownTruth where KNOWN meets a wrong CoT of which no mistake is known.
    """
    if key == RANDOM:
        return [_with(row, *_shuffled(row)) for row in rows]
    return [_with(row, *_located(row, pairs[row["id"]], segment, key, truths)) for row in rows]


def _with(row: dict, correct: np.ndarray, wrong: np.ndarray) -> dict:
    return row | {"correct_key": correct, "wrong_key": wrong}


def _shuffled(row: dict) -> list[np.ndarray]:
    """As many marks on each side, at places that the id of the pair decides."""
    rng = np.random.default_rng(unit_id(row["id"]))
    return [rng.permutation(row[f"{side}_key"]) for side in SIDES]


def _located(row: dict, pair: DualCoT, segment: Segmenter, key: str, truths) -> list[np.ndarray]:
    correct, wrong = segment(pair.correct), segment(pair.wrong)
    if [correct.ids, wrong.ids] != [list(row[side]) for side in SIDES]:
        raise OtherTokens(f"pair {row['id']}: its ids are not those of this student's tokenizer")
    if key == KNOWN:
        known = truths.get(pair.wrong_completion, {"mistakes": ()})["mistakes"]
        spans = [(mistake["start"], mistake["end"]) for mistake in known]
        if not spans:
            raise UnknownTruth(f"{pair.id}: no mistake is known in its wrong CoT")
        return known_mistake(correct, wrong, spans)
    return [LOCATORS[key](correct, wrong), LOCATORS[key](wrong, correct)]


def known_mistake(
    correct: Segments, wrong: Segments, spans: Sequence[tuple[int, int]]
) -> list[np.ndarray]:
    """Marks of both sides from the characters of the wrong CoT that are known to be mistaken.

    An oracle, for analysis: no teacher but that of the puzzles says where it went wrong. Wrong
    side: the tokens that share a character with a span, and nothing of what follows from it.
    Correct side: the tokens that a shortest edit script puts in their place, unchanged ones among
    them included; where it puts none there, the first changed run. bool (T,) and (U,).
    """
    mask = overlaps(wrong.spans, spans)
    twin = np.zeros(len(correct.ids), dtype=bool)
    for tag, i, i_end, j, j_end in Levenshtein.opcodes(wrong.ids, correct.ids):
        if tag == "insert":  # between two marked tokens, or beside one
            twin[j:j_end] = mask[max(i - 1, 0) : i + 1].any()
        elif tag != "delete":
            twin[j:j_end] = mask[i:i_end]
    return [twin if twin.any() else first_change(correct, wrong), mask]


def of_highest_loss(rows: Sequence[dict], logp: Sequence[Mapping[str, np.ndarray]]) -> list[dict]:
    """The rows with as many marks on each side as they have, where a student is most surprised.

    logp: of every response token of both sides under that student, nats; the first of equals.
    """
    return [
        _with(row, *(_lowest(own[side], int(np.sum(row[f"{side}_key"]))) for side in SIDES))
        for row, own in zip(rows, logp, strict=True)
    ]


def _lowest(values: np.ndarray, n: int) -> np.ndarray:
    mask = np.zeros(len(values), dtype=bool)
    mask[np.argsort(values, kind="stable")[:n]] = True
    return mask
