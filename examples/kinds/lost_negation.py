"""A kind of mistake: a "not" that stands in the question is lost on the way."""

import re

from editlib.mistakes import Kind, misread
from editlib.mistakes.arithmetic import expressions


def lose_one(question, chain, rng):
    """The chain of one who overlooks one of the negations."""
    found = list(re.finditer(r"\bnot ", question))
    lost = rng.choice(found) if found else None
    return (
        misread(question, question[: lost.start()] + question[lost.end() :], chain)
        if lost
        else None
    )


def fewer(question, text):
    """The expression of the question, told with a "not" less."""
    longest = [
        max(expressions(each), key=lambda e: len(e.tokens), default=None)
        for each in (question, text)
    ]
    if None in longest:
        return
    asked, told = longest
    same = [[t for t in each.tokens if t != "not"] for each in (asked, told)]
    if same[0] == same[1] and len(told.tokens) < len(asked.tokens):
        yield told.start, told.end, "the question has one more not"


KIND = Kind("lost negation", "LN", "a negation of the question is lost", fewer, lose_one)
