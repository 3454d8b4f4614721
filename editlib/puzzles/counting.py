"""object_counting: count the things of one category among others."""

import random
import re
from dataclasses import dataclass

from editlib.puzzles.family import Family, listing, unlisting
from editlib.puzzles.reasoner import Reasoner

CATEGORIES = {
    "fruits": ("apples", "pears", "plums", "figs", "mangoes", "peaches", "lemons", "cherries"),
    "animals": ("cows", "goats", "ducks", "mice", "rabbits", "snakes", "frogs", "horses"),
    "instruments": ("flutes", "drums", "violins", "pianos", "trumpets", "harps", "guitars"),
    "tools": ("hammers", "saws", "drills", "axes", "shovels", "rakes", "pliers"),
    "clothes": ("shirts", "coats", "socks", "gloves", "skirts", "scarves", "jackets"),
}
CATEGORY = {thing: name for name, things in CATEGORIES.items() for thing in things}

ITEM = (
    "The {items} are {verdict}, so we add {added} and have {total}.",
    "As {items} are {verdict}, add {added} to get {total}.",
    "Next, {items} are {verdict}: plus {added} makes {total}.",
    "The {items}: {verdict}, adding {added} gives {total}.",
)


@dataclass(frozen=True)
class Pile:
    """How many of which things there are, and what to count."""

    things: tuple[tuple[int, str], ...]
    category: str


def draw(rng: random.Random, size: int) -> Pile:
    """size + 1 sorts of things, at least one of the category and one not."""
    category = rng.choice(list(CATEGORIES))
    n = size + 1
    inside = rng.randint(1, min(n - 1, 5))
    others = [thing for thing in CATEGORY if CATEGORY[thing] != category]
    things = rng.sample(CATEGORIES[category], inside) + rng.sample(others, n - inside)
    rng.shuffle(things)
    return Pile(tuple((rng.randint(2, 9), thing) for thing in things), category)


def ask(p: Pile) -> str:
    things = listing([f"{number} {thing}" for number, thing in p.things])
    return f"I have {things}. How many {p.category} do I have?"


def parse(text: str) -> Pile | None:
    question = re.fullmatch(r"I have (.+)\. How many (\w+) do I have\?", text)
    if not question or question[2] not in CATEGORIES:
        return None
    things = [re.fullmatch(r"(\d+) (\w+)", item) for item in unlisting(question[1])]
    if not all(thing and thing[2] in CATEGORY for thing in things):
        return None
    return Pile(tuple((int(thing[1]), thing[2]) for thing in things), question[2])


def solve(p: Pile, r: Reasoner) -> str:
    """Judge each sort of thing and keep a running total."""
    r.aside()
    total = 0
    for number, thing in p.things:
        verdicts = [p.category, f"not {p.category}"]
        right = verdicts[CATEGORY[thing] != p.category]
        verdict = r.decide("knowledge", "verdict", right, verdicts)
        due = number if verdict == p.category else 0
        added = r.decide("logical", "added", due, [0, number])
        near = [total + added + error for error in (-1, 1, 2)]
        total = r.decide("calculation", "total", total + added, near)
        r.say(ITEM, items=f"{number} {thing}", verdict=verdict, added=added, total=total)
    return r.conclude(str(total))


def fact(rng: random.Random) -> str:
    thing, category = rng.choice(list(CATEGORY)), rng.choice(list(CATEGORIES))
    return f"{thing.capitalize()} are {'' if CATEGORY[thing] == category else 'not '}{category}."


OBJECT_COUNTING = Family(
    name="object_counting",
    description="Count how many of the listed things belong to a category.",
    kinds=("logical", "knowledge", "calculation"),
    draw=draw,
    ask=ask,
    parse=parse,
    solve=solve,
    fact=fact,
)
