"""A kind of mistake: a word of the question is taken for its opposite."""

import re

from editlib.mistakes import Kind, misread

PAIRS = (("before", "after"), ("left", "right"), ("older", "younger"), ("more", "less"))
OPPOSITE = {a: b for pair in PAIRS for a, b in (pair, pair[::-1])}
WORD = re.compile(rf"\b({'|'.join(OPPOSITE)})\b")


def take_one(question, chain, rng):
    """The chain of one who reads one such word the wrong way round."""
    found = list(WORD.finditer(question))
    if not found:
        return None
    word = rng.choice(found)
    as_if = question[: word.start()] + OPPOSITE[word[1]] + question[word.end() :]
    return misread(question, as_if, chain)


def told(question, text):
    """Turns, in their order, that are told the other way round."""
    asked = re.findall(r"\bTurn (left|right|around)\b", question)
    found = re.finditer(r"\b[Tt]urn(?:ing)? (left|right|around)\b", text)
    for right, said in zip(asked, found, strict=False):
        if OPPOSITE.get(right) == said[1]:
            yield (*said.span(1), f"the question says {right}")


KIND = Kind("opposite", "OP", "a word of the question is taken for its opposite", told, take_one)
