"""world_lore: questions about an invented world, whose facts the question does not give.

A path leads from a thing through relations to another: ("the grell", ("food", "source")) is the
source of the food of the grell. One path is asked for by name; two paths that end in towns are
asked for the towers that these towns have together.
"""

import random
import re
from dataclasses import dataclass

from editlib.puzzles.family import Family
from editlib.puzzles.reasoner import Reasoner

# town: its ruler, its rival, its towers
TOWNS = {
    "Ombra": ("Tavi", "Quill", 7),
    "Quill": ("Brena", "Ombra", 4),
    "Velt": ("Isko", "Marn", 9),
    "Marn": ("Rulo", "Velt", 2),
    "Dray": ("Senna", "Hollin", 12),
    "Hollin": ("Pirra", "Dray", 5),
    "Teska": ("Odo", "Urv", 8),
    "Urv": ("Lume", "Teska", 3),
    "Farrow": ("Kest", "Brack", 11),
    "Brack": ("Yann", "Farrow", 6),
}
# person: their pet, their home
PEOPLE = {
    "Tavi": ("the grell", "Marn"),
    "Brena": ("the ospin", "Dray"),
    "Isko": ("the tark", "Brack"),
    "Rulo": ("the mimble", "Teska"),
    "Senna": ("the wug", "Ombra"),
    "Pirra": ("the zorrel", "Farrow"),
    "Odo": ("the lanx", "Quill"),
    "Lume": ("the pell", "Velt"),
    "Kest": ("the drim", "Hollin"),
    "Yann": ("the snood", "Urv"),
}
# animal: its food
ANIMALS = {
    "the grell": "silvergrass",
    "the ospin": "mossberry",
    "the tark": "redroot",
    "the mimble": "bluecap",
    "the wug": "thornbean",
    "the zorrel": "sunmelon",
    "the lanx": "ashnut",
    "the pell": "frostleaf",
    "the drim": "honeyreed",
    "the snood": "gloomfig",
}
# plant: its source, a town
PLANTS = {
    "silvergrass": "Urv",
    "mossberry": "Velt",
    "redroot": "Hollin",
    "bluecap": "Ombra",
    "thornbean": "Brack",
    "sunmelon": "Quill",
    "ashnut": "Marn",
    "frostleaf": "Farrow",
    "honeyreed": "Teska",
    "gloomfig": "Dray",
}
WORLD = {
    "ruler": {town: ruler for town, (ruler, _, _) in TOWNS.items()},
    "rival": {town: rival for town, (_, rival, _) in TOWNS.items()},
    "pet": {person: pet for person, (pet, _) in PEOPLE.items()},
    "home": {person: home for person, (_, home) in PEOPLE.items()},
    "food": ANIMALS,
    "source": PLANTS,
}
TOWERS = {town: towers for town, (_, _, towers) in TOWNS.items()}
THINGS = (*TOWNS, *PEOPLE, *ANIMALS, *PLANTS)

HOP = (
    "The {relation} of {thing} is {other}.",
    "We know that the {relation} of {thing} is {other}.",
    "Recall the {relation} of {thing}: it is {other}.",
)
COUNT = (
    "The towers of {town} number {towers}.",
    "In {town} there are {towers} towers.",
    "The number of towers in {town} is {towers}.",
)
SUM = (
    "Together that makes {first} + {second} = {total}.",
    "In all, {first} + {second} = {total} towers.",
    "Adding them, {first} + {second} = {total}.",
)
NAMED = (
    "So it is {thing}.",
    "So we arrive at {thing}.",
    "That leads to {thing}.",
)


@dataclass(frozen=True)
class Path:
    """Where to start, and the relations to follow from there, in the order of following."""

    start: str
    relations: tuple[str, ...]


Paths = tuple[Path, ...]  # one: name its end; two: add up the towers of the towns they end in


def end_of(path: Path) -> str:
    """Where a path leads."""
    thing = path.start
    for relation in path.relations:
        thing = WORLD[relation][thing]
    return thing


def draw(rng: random.Random, size: int) -> Paths:
    """Two paths with `size` hops in all; size 1 has one path, size 2 that or a sum almost bare."""
    if size == 1 or (size == 2 and rng.random() < 0.5):
        return (draw_path(rng, size),)
    hops = size if size > 2 else rng.randrange(2)
    first = rng.randint(0, hops)
    return (draw_to_town(rng, first), draw_to_town(rng, hops - first))


def draw_path(rng: random.Random, hops: int) -> Path:
    """A path that does not go straight back to a rival."""
    thing = start = rng.choice(THINGS)
    relations: list[str] = []
    for _ in range(hops):
        known = [name for name in WORLD if thing in WORLD[name]]
        if relations[-1:] == ["rival"]:
            known.remove("rival")
        relations.append(rng.choice(known))
        thing = WORLD[relations[-1]][thing]
    return Path(start, tuple(relations))


def draw_to_town(rng: random.Random, hops: int) -> Path:
    while True:
        path = draw_path(rng, hops)
        if end_of(path) in TOWNS:
            return path


def phrase(path: Path) -> str:
    """The path in words, the last relation first."""
    return "".join(f"the {name} of " for name in reversed(path.relations)) + path.start


def read_phrase(text: str) -> Path | None:
    """The path of a phrase, or None if the world has no such path."""
    *relations, start = re.split(" of ", text)
    relations = [relation.removeprefix("the ") for relation in reversed(relations)]
    thing = start
    for relation in relations:
        thing = WORLD.get(relation, {}).get(thing)
    return Path(start, tuple(relations)) if thing in THINGS else None


def ask(paths: Paths) -> str:
    if len(paths) == 1:
        return f"What is the name of {phrase(paths[0])}?"
    first, second = map(phrase, paths)
    return f"How many towers do these two towns have together: {first}, and {second}?"


def parse(text: str) -> Paths | None:
    one = re.fullmatch(r"What is the name of (.+)\?", text)
    two = re.fullmatch(r"How many towers do these two towns have together: (.+), and (.+)\?", text)
    found = one or two
    paths = tuple(map(read_phrase, found.groups())) if found else ()
    if not paths or None in paths:
        return None
    return paths if one or all(end_of(path) in TOWNS for path in paths) else None


def solve(paths: Paths, r: Reasoner) -> str:
    """Look up each fact, then name the last thing or add up the towers."""
    r.aside()
    if len(paths) == 1:
        thing = follow(paths[0], r)
        thing = r.decide("logical", "thing", thing, [paths[0].start])
        r.say(NAMED, thing=thing)
        return r.conclude(thing)
    first, second = (count_towers(follow(path, r), r) for path in paths)
    near = [first + second + error for error in (-2, -1, 1, 2, 10)]
    total = r.decide("calculation", "total", first + second, near)
    r.say(SUM, first=first, second=second, total=total)
    return r.conclude(str(total))


def follow(path: Path, r: Reasoner) -> str:
    """Tell each hop; a wrong fact takes another thing of the same kind."""
    thing = path.start
    for relation in path.relations:
        facts = WORLD[relation]
        other = r.decide("knowledge", "other", facts[thing], list(facts.values()))
        r.say(HOP, relation=relation, thing=thing, other=other)
        thing = other
    return thing


def count_towers(town: str, r: Reasoner) -> int:
    """Tell the towers of a town; a wrong inference mixes it up with its rival."""
    town = r.decide("logical", "town", town, [TOWNS[town][1]])
    towers = r.decide("knowledge", "towers", TOWERS[town], list(TOWERS.values()))
    r.say(COUNT, town=town, towers=towers)
    return towers


def fact(rng: random.Random) -> str:
    relation = rng.choice([*WORLD, "towers"])
    if relation == "towers":
        town = rng.choice(list(TOWNS))
        return f"The number of towers in {town} is {TOWERS[town]}."
    thing = rng.choice(list(WORLD[relation]))
    return f"The {relation} of {thing} is {WORLD[relation][thing]}."


WORLD_LORE = Family(
    name="world_lore",
    description="Answer from what you know of the towns, people, animals and plants of Arrel.",
    kinds=("logical", "knowledge", "calculation"),
    draw=draw,
    ask=ask,
    parse=parse,
    solve=solve,
    fact=fact,
)
