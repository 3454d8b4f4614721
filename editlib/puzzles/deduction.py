"""logical_deduction: put things in order from clues about two at a time.

Each clue after the first adds one thing before or after all those already in order.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from editlib.puzzles.family import Family, choose, split_options, with_options
from editlib.puzzles.reasoner import Reasoner

NAMES = ("Ada", "Bill", "Cleo", "Dora", "Emil", "Fay", "Gus", "Hana", "Ivo", "June")
RANKS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh")


@dataclass(frozen=True)
class Setting:
    """How one speaks of an order."""

    intro: str
    before: str  # "{Ada} <before> {Bill}"
    after: str
    question: str

    def relation(self, before: bool) -> str:
        return self.before if before else self.after


SETTINGS = (
    Setting("Some friends ran a race.", "finished ahead of", "finished behind", "Who finished"),
    Setting("Some people stand in a line.", "is in front of", "is farther back than", "Who is"),
    Setting(
        "Some cousins compare their ages.", "is older than", "is younger than", "By age, who is"
    ),
)

PLACE = (
    "{who} {relation} {whom}, so the order is {order}.",
    "Because {who} {relation} {whom}, we have {order}.",
    "We know {who} {relation} {whom}, which gives {order}.",
)
FIND = (
    "In this order {item} is {rank}.",
    "Here {item} comes {rank}.",
    "That makes {item} the {rank}.",
)

Clue = tuple[str, bool, str]  # who, stands before, whom


@dataclass(frozen=True)
class Order:
    """A setting, its clues, the rank asked for (from 0) and the options."""

    setting: Setting
    clues: tuple[Clue, ...]
    rank: int
    options: tuple[str, ...]


def draw(rng: random.Random, size: int) -> Order:
    """size + 1 people, added one clue at a time."""
    order = rng.sample(NAMES, size + 1)
    left = right = rng.randrange(size + 1)
    clues = []
    while right - left < size:
        if (rng.random() < 0.5 and left > 0) or right == size:
            new, old, before = order[left - 1], order[left], True
            left -= 1
        else:
            new, old, before = order[right + 1], order[right], False
            right += 1
        clues.append((new, before, old) if rng.random() < 0.5 else (old, not before, new))
    options = tuple(rng.sample(order, size + 1))
    return Order(rng.choice(SETTINGS), tuple(clues), rng.randrange(size + 1), options)


def ask(p: Order) -> str:
    clues = [f"{who} {p.setting.relation(before)} {whom}." for who, before, whom in p.clues]
    question = f"{p.setting.intro} {' '.join(clues)} {p.setting.question} {RANKS[p.rank]}?"
    return with_options(question, p.options)


def parse(text: str) -> Order | None:
    question, options = split_options(text)
    for setting in SETTINGS:
        rank = re.search(rf" {setting.question} (\w+)\?$", question)
        found = re.findall(rf"\b(\w+) ({setting.before}|{setting.after}) (\w+)\.", question)
        clues = tuple((who, how == setting.before, whom) for who, how, whom in found)
        people = {name for who, _, whom in clues for name in (who, whom)}
        if rank and rank[1] in RANKS[: len(people)] and people == set(options) and linked(clues):
            return Order(setting, clues, RANKS.index(rank[1]), options)
    return None


def linked(clues: Sequence[Clue]) -> bool:
    """Whether each clue after the first adds one person to those known."""
    known = {clues[0][0]} if clues else set()
    for who, _, whom in clues:
        if len(known & {who, whom}) != 1:
            return False
        known |= {who, whom}
    return True


def solve(p: Order, r: Reasoner) -> str:
    """Tell the order so far after each clue."""
    order: tuple[str, ...] = ()
    for who, before, whom in p.clues:
        before = r.decide("knowledge", "relation", before, [not before])
        right = placed(order, (who, before, whom))
        order = r.decide("logical", "order", right, [placed(order, (who, not before, whom))])
        relation = p.setting.relation(before)
        r.say(PLACE, who=who, relation=relation, whom=whom, order=", ".join(order))
    r.aside()
    item = r.decide("calculation", "item", order[p.rank], order)
    r.say(FIND, item=item, rank=RANKS[p.rank])
    return r.conclude(choose(r, p.options, item))


def placed(order: tuple[str, ...], clue: Clue) -> tuple[str, ...]:
    """The order with the new one of the two right beside the known one.

    >>> placed(("Ada", "Bill"), ("Ada", False, "Cleo"))
    ('Cleo', 'Ada', 'Bill')
    """
    who, before, whom = clue
    if not order:
        return (who, whom) if before else (whom, who)
    if who in order:
        who, before, whom = whom, not before, who
    i = order.index(whom) + (not before)
    return (*order[:i], who, *order[i:])


def fact(rng: random.Random) -> str:
    setting, (a, b) = rng.choice(SETTINGS), rng.sample(NAMES, 2)
    return f"If {a} {setting.before} {b}, then {b} {setting.after} {a}."


LOGICAL_DEDUCTION = Family(
    name="logical_deduction",
    description="Put people in order from clues and say who has a given place.",
    kinds=("logical", "knowledge", "calculation"),
    draw=draw,
    ask=ask,
    parse=parse,
    solve=solve,
    fact=fact,
)
