"""word_sorting: put words in alphabetical order by their first letters, which all differ."""

import random
import re
from string import ascii_lowercase

from editlib.puzzles.family import Family
from editlib.puzzles.reasoner import Reasoner

WORDS = tuple(
    "arrow bell cloud door eagle feather garden hill island jar kettle lamp mirror needle ocean "
    "paper queen river stone table umbrella valley window yard zebra "
    "anchor basket candle desert engine forest glass hammer iron jacket key ladder mountain "
    "night onion pepper quiet rope silver tower uncle village water yellow zero".split()
)
QUESTION = "Sort these words in alphabetical order: "

NUMBER = (
    "{word} starts with {letter}, letter {number}.",
    "{word} begins with {letter}, which is number {number}.",
    "For {word} we have {letter}, letter {number} of the alphabet.",
)
NEXT = (
    "The lowest of {numbers} is {lowest}, so {word} comes next.",
    "Of {numbers} we take {lowest}, which is {word}.",
    "Among {numbers} the least is {lowest}, that is {word}.",
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
    for word in words:
        number = ascii_lowercase.index(word[0]) + 1
        near = [number + error for error in (-3, -2, -1, 1, 2, 3) if 1 <= number + error <= 26]
        number = r.decide("knowledge", "number", number, near)
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


def fact(rng: random.Random) -> str:
    word = rng.choice(WORDS)
    number = ascii_lowercase.index(word[0]) + 1
    return rng.choice([f"{word} starts with {word[0]}.", f"{word[0]} is letter {number}."])


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
