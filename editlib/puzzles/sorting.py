"""word_sorting: put words in alphabetical order by their first letters, which all differ."""

import random
import re
from collections.abc import Sequence
from string import ascii_lowercase

from editlib.puzzles.family import Family
from editlib.puzzles.reasoner import Reasoner

WORDS = (
    "arrow",
    "bell",
    "cloud",
    "door",
    "eagle",
    "feather",
    "garden",
    "hill",
    "island",
    "jar",
    "kettle",
    "lamp",
    "mirror",
    "needle",
    "ocean",
    "paper",
    "queen",
    "river",
    "stone",
    "table",
    "umbrella",
    "valley",
    "window",
    "yard",
    "zebra",
    "anchor",
    "basket",
    "candle",
    "desert",
    "engine",
    "forest",
    "glass",
    "hammer",
    "iron",
    "jacket",
    "key",
    "ladder",
    "mountain",
    "night",
    "onion",
    "pepper",
    "quiet",
    "rope",
    "silver",
    "tower",
    "uncle",
    "village",
    "water",
    "yellow",
    "zero",
)
QUESTION = "Sort these words in alphabetical order: "

NUMBER = (
    "The word {word} starts with {letter}, letter {number}.",
    "We see that {word} begins with {letter}, number {number}.",
    "For {word} we have {letter}, which is letter {number}.",
)
NEXT = (
    "The lowest of {numbers} is {lowest}, so next is {word}.",
    "Of {numbers} we take {lowest}, {word}.",
    "Among {numbers} the least is {lowest}, for {word}.",
)

Words = tuple[str, ...]


def draw(rng: random.Random, size: int) -> Words:
    """size + 1 words with different first letters."""
    letters = rng.sample(sorted({word[0] for word in WORDS}), size + 1)
    return tuple(rng.choice([word for word in WORDS if word[0] == first]) for first in letters)


def ask(words: Words) -> str:
    return QUESTION + " ".join(words)


def parse(text: str) -> Words | None:
    words = tuple(text.removeprefix(QUESTION).split(" "))
    known = text.startswith(QUESTION) and all(re.fullmatch("[a-z]+", word) for word in words)
    return words if known and len({word[0] for word in words}) == len(words) else None


def solve(words: Words, r: Reasoner) -> str:
    """Number every word by its first letter, then take the lowest again and again."""
    numbered = []
    places = [place(word) for word in words]
    for word in words:
        number = r.decide("knowledge", "number", place(word), beyond(place(word), places))
        r.say(NUMBER, word=word, letter=word[0], number=number)
        numbered.append((number, word))
    r.aside()
    order = []
    while len(numbered) > 1:
        lowest, word = r.decide("logical", "lowest word", min(numbered), numbered)
        numbers = ", ".join(str(number) for number, _ in numbered)
        r.say(NEXT, numbers=numbers, lowest=lowest, word=word)
        numbered.remove((lowest, word))
        order.append(word)
    return r.conclude(" ".join([*order, numbered[0][1]]))


def place(word: str) -> int:
    """The place of the first letter in the alphabet, from 1."""
    return ascii_lowercase.index(word[0]) + 1


def beyond(number: int, others: Sequence[int]) -> list[int]:
    """Wrong places for a letter that change the order: just past another one."""
    past = [other + 1 if other > number else other - 1 for other in others if other != number]
    return [wrong for wrong in past if 1 <= wrong <= 26]


def fact(rng: random.Random) -> str:
    word = rng.choice(WORDS)
    return rng.choice(
        [
            f"The word {word} starts with {word[0]}.",
            f"In the alphabet {word[0]} is letter {place(word)}.",
        ]
    )


WORD_SORTING = Family(
    name="word_sorting",
    description="Sort words alphabetically.",
    kinds=("logical", "knowledge"),
    draw=draw,
    ask=ask,
    parse=parse,
    solve=solve,
    fact=fact,
)
