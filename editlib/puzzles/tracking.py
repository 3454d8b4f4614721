"""tracking_shuffled_objects: three players swap what they hold; who ends up with what?"""

import random
import re
from dataclasses import dataclass

from editlib.puzzles.family import Family, choose, listing, split_options, with_options
from editlib.puzzles.reasoner import Reasoner

NAMES = ("Ann", "Bob", "Cleo", "Dan", "Eve", "Finn", "Gwen", "Hugo")
COLORS = ("red", "blue", "green", "black", "white", "pink", "brown", "gray")
THINGS = ("ball", "hat", "card", "book")
PAIRS = ((0, 1), (0, 2), (1, 2))

START = (
    "At the start, {a} has {first}, {b} {second} and {c} {third}.",
    "We begin with {a}: {first}, {b}: {second}, {c}: {third}.",
    "First, {a} holds {first}, {b} {second} and {c} {third}.",
)
SWAP = (
    "When {x} and {y} swap, {a} has {first}, {b} {second} and {c} {third}.",
    "After {x} and {y} swap, it is {a}: {first}, {b}: {second}, {c}: {third}.",
    "Then {x} and {y} trade: {a} holds {first}, {b} {second} and {c} {third}.",
)
END = (
    "At the end, {name} has {item}.",
    "So {name} ends up with {item}.",
    "In the end {name} holds {item}.",
)

Trio = tuple[str, str, str]


@dataclass(frozen=True)
class Shuffle:
    """Who holds which thing at the start, who swaps with whom, who is asked about."""

    thing: str
    names: Trio
    held: Trio  # colors
    swaps: tuple[tuple[int, int], ...]
    asked: int
    options: Trio  # colors


def swapped(held: Trio, pair: tuple[int, int]) -> Trio:
    """What everyone holds after a swap.

    >>> swapped(("red", "blue", "pink"), (0, 2))
    ('pink', 'blue', 'red')
    """
    order = list(held)
    i, j = pair
    order[i], order[j] = order[j], order[i]
    return tuple(order)


def draw(rng: random.Random, size: int) -> Shuffle:
    """A game of `size` swaps, no two the same in a row."""
    swaps = [rng.choice(PAIRS)]
    while len(swaps) < size:
        swaps.append(rng.choice([pair for pair in PAIRS if pair != swaps[-1]]))
    held = tuple(rng.sample(COLORS, 3))
    return Shuffle(
        thing=rng.choice(THINGS),
        names=tuple(rng.sample(NAMES, 3)),
        held=held,
        swaps=tuple(swaps),
        asked=rng.randrange(3),
        options=tuple(rng.sample(held, 3)),
    )


def ask(p: Shuffle) -> str:
    pairs = zip(p.names, p.held, strict=True)
    has = listing([f"{name} has the {color} {p.thing}" for name, color in pairs])
    swaps = " ".join(f"Then {p.names[i]} and {p.names[j]} swap." for i, j in p.swaps)
    question = f"{has}. {swaps} Which {p.thing} does {p.names[p.asked]} have at the end?"
    return with_options(question, [f"{color} {p.thing}" for color in p.options])


def parse(text: str) -> Shuffle | None:
    question, options = split_options(text)
    held = re.findall(r"\b(\w+) has the (\w+) (\w+)", question)
    asked = re.search(r"Which (\w+) does (\w+) have at the end\?$", question)
    names = tuple(name for name, _, _ in held)
    swaps = re.findall(r"Then (\w+) and (\w+) swap\.", question)
    if not asked or len(names) != 3 or not {asked[2], *sum(swaps, ())} <= set(names):
        return None
    colors = tuple(color for _, color, _ in held)
    if sorted(options) != sorted(f"{color} {asked[1]}" for color in colors):
        return None
    return Shuffle(
        thing=asked[1],
        names=names,
        held=colors,
        swaps=tuple((names.index(x), names.index(y)) for x, y in swaps),
        asked=names.index(asked[2]),
        options=tuple(option.split(" ")[0] for option in options),
    )


def solve(p: Shuffle, r: Reasoner) -> str:
    """Tell what everyone holds after each swap."""
    who = dict(zip("abc", p.names, strict=True))
    misread = [swapped(p.held, pair) for pair in PAIRS]
    held = r.decide("knowledge", "first second third", p.held, misread)
    r.say(START, **who, first=held[0], second=held[1], third=held[2])
    r.aside()
    for pair in p.swaps:
        wrong = [held, *(swapped(held, other) for other in PAIRS)]
        held = r.decide("logical", "first second third", swapped(held, pair), wrong)
        x, y = (p.names[i] for i in pair)
        r.say(SWAP, x=x, y=y, **who, first=held[0], second=held[1], third=held[2])
    item = r.decide("logical", "item", held[p.asked], held)
    r.say(END, name=p.names[p.asked], item=item)
    return r.conclude(choose(r, p.options, p.options.index(item)))


def fact(rng: random.Random) -> str:
    a, b = rng.sample(NAMES, 2)
    x, y = rng.sample(COLORS, 2)
    return f"If {a} has {x} and {b} has {y} and they swap, {a} has {y} and {b} has {x}."


TRACKING_SHUFFLED_OBJECTS = Family(
    name="tracking_shuffled_objects",
    description="Find out who holds what after a series of swaps.",
    kinds=("logical", "knowledge"),
    draw=draw,
    ask=ask,
    parse=parse,
    solve=solve,
    fact=fact,
)
