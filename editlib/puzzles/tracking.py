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
    "At the start: {a} {first}, {b} {second}, {c} {third}.",
    "We begin with {a} {first}, {b} {second}, {c} {third}.",
    "First we have {a} {first}, {b} {second}, {c} {third}.",
)
SWAP = (
    "{x} {x_had} and {y} {y_had} swap to {x} {x_has} and {y} {y_has}.",
    "From {x} {x_had} and {y} {y_had} the swap makes {x} {x_has} and {y} {y_has}.",
    "Then {x} {x_had} and {y} {y_had} trade, which gives {x} {x_has} and {y} {y_has}.",
)
END = (
    "At the end: {name} {item}.",
    "So we end with {name} {item}.",
    "In the end we have {name} {item}.",
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
    """Tell what the two players of each swap held before and hold after it."""
    who = dict(zip("abc", p.names, strict=True))
    misread = [swapped(p.held, pair) for pair in PAIRS]
    held = r.decide("knowledge", "first second third", p.held, misread)
    r.say(START, **who, first=held[0], second=held[1], third=held[2])
    r.aside()
    for swap in p.swaps:
        held = solve_swap(swap, held, p.names, r)
    item = r.decide("logical", "item", held[p.asked], held)
    r.say(END, name=p.names[p.asked], item=item)
    return r.conclude(choose(r, p.options, item))


def solve_swap(swap: tuple[int, int], held: Trio, names: Trio, r: Reasoner) -> Trio:
    """What everyone holds after a swap, whose players may be misread or keep what they have."""
    players = [(names[i], names[j]) for i, j in PAIRS]
    x, y = r.decide("knowledge", "x y", (names[swap[0]], names[swap[1]]), players)
    pair = names.index(x), names.index(y)
    had = held[pair[0]], held[pair[1]]
    has = r.decide("logical", "x_has y_has", had[::-1], [had])
    r.say(SWAP, x=x, y=y, x_had=had[0], y_had=had[1], x_has=has[0], y_has=has[1])
    return held if has == had else swapped(held, pair)


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
