"""web_of_lies: a chain of people who each say whether the one before tells the truth."""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from editlib.puzzles.family import Family
from editlib.puzzles.reasoner import Reasoner

NAMES = ("Amy", "Ben", "Cora", "Dev", "Elsa", "Fred", "Gina", "Hank", "Iris", "Jack")
TRUE, FALSE = CLAIMS = ("tells the truth", "lies")

FIRST = (
    "We are told that {name} {claim}.",
    "To begin with, {name} {claim}.",
    "It is given that {name} {claim}.",
)
SAYS = (
    "{name} says that {other} {claim}, and {other} {fact}, so {name} {verdict}.",
    "We know {other} {fact} and {name} says that {other} {claim}, so {name} {verdict}.",
    "Since {other} {fact} and {name} says that {other} {claim}, we see that {name} {verdict}.",
)


@dataclass(frozen=True)
class Web:
    """People in the order of the chain, and what is said of each by the next one."""

    names: tuple[str, ...]
    claims: tuple[str, ...]  # claims[0] is given, claims[i] is said by names[i] of names[i - 1]


def draw(rng: random.Random, size: int) -> Web:
    """`size` statements after the given one."""
    names = rng.sample(NAMES, size + 1)
    return Web(tuple(names), tuple(rng.choices(CLAIMS, k=size + 1)))


def statements(p: Web) -> Iterator[tuple[str, str, str]]:
    """Who says what of whom, as (speaker, other, claim)."""
    return zip(p.names[1:], p.names[:-1], p.claims[1:], strict=True)


def ask(p: Web) -> str:
    told = [f"{speaker} says that {other} {claim}." for speaker, other, claim in statements(p)]
    told = " ".join([f"{p.names[0]} {p.claims[0]}.", *told])
    return f"{told} Does {p.names[-1]} tell the truth?\nOptions:\n- Yes\n- No"


def parse(text: str) -> Web | None:
    claim = "|".join(CLAIMS)
    first = re.match(rf"(\w+) ({claim})\.", text)
    told = re.findall(rf"\b(\w+) says that \w+ ({claim})\.", text)
    if not first or not told:
        return None
    names, claims = zip(first.groups(), *told, strict=True)
    return Web(names, claims)


def solve(p: Web, r: Reasoner) -> str:
    """Tell of each speaker whether what is said agrees with what was found."""
    fact = r.decide("knowledge", "claim", p.claims[0], CLAIMS)
    r.say(FIRST, name=p.names[0], claim=fact)
    r.aside()
    for speaker, other, said in statements(p):
        claim = r.decide("knowledge", "claim", said, CLAIMS)
        right = TRUE if claim == fact else FALSE
        verdict = r.decide("logical", "verdict", right, CLAIMS)
        r.say(SAYS, name=speaker, other=other, claim=claim, fact=fact, verdict=verdict)
        fact = verdict
    return r.conclude("Yes" if fact == TRUE else "No")


def fact(rng: random.Random) -> str:
    name, other = rng.sample(NAMES, 2)
    claim, truth = rng.choices(CLAIMS, k=2)
    verdict = TRUE if claim == truth else FALSE
    return f"If {name} says that {other} {claim} and {other} {truth}, then {name} {verdict}."


WEB_OF_LIES = Family(
    name="web_of_lies",
    description="Find out whether the last person in a chain of statements tells the truth.",
    kinds=("logical", "knowledge"),
    draw=draw,
    ask=ask,
    parse=parse,
    solve=solve,
    fact=fact,
)
