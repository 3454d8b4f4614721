"""navigate: follow turns and steps on a grid; how long is the way back?

The question asks for a distance, not whether one is back at the start: a yes or no would hide
most wrong turns.
"""

import random
import re
from dataclasses import dataclass

from editlib.puzzles.family import Family
from editlib.puzzles.reasoner import Reasoner

COMPASS = ("north", "east", "south", "west")  # clockwise
MOVES = {"north": (0, 1), "east": (1, 0), "south": (0, -1), "west": (-1, 0)}
TURNS = {"right": 1, "around": 2, "left": 3}  # quarter turns clockwise

TURN = (
    "Turn {turn}: we now face {facing}.",
    "After turning {turn} we face {facing}.",
    "We turn {turn}, which means we face {facing}.",
)
WALK = (
    "Take {steps} {facing}: we are at ({x}, {y}).",
    "Going {steps} {facing} brings us to ({x}, {y}).",
    "We walk {steps} {facing} and reach ({x}, {y}).",
)
BACK = (
    "The way back from ({x}, {y}) is {east} + {north} = {total} steps.",
    "From ({x}, {y}) it takes {east} + {north} = {total} steps to get back.",
    "We stand at ({x}, {y}), so we are {east} + {north} = {total} steps away.",
)


@dataclass(frozen=True)
class Walk:
    """Where one faces first, then steps taken after each turn; the first walk needs no turn."""

    facing: str
    turns: tuple[str, ...]
    steps: tuple[int, ...]  # one longer than turns


def draw(rng: random.Random, size: int) -> Walk:
    """`size` walks with a turn between each two."""
    return Walk(
        facing=rng.choice(COMPASS),
        turns=tuple(rng.choices(list(TURNS), weights=(2, 1, 2), k=size - 1)),
        steps=tuple(rng.randint(1, 9) for _ in range(size)),
    )


def plural(steps: int) -> str:
    return f"{steps} step" if steps == 1 else f"{steps} steps"


def ask(p: Walk) -> str:
    walks = [f"Take {plural(steps)}." for steps in p.steps]
    turned = [f"Turn {turn}. {walk}" for turn, walk in zip(p.turns, walks[1:], strict=True)]
    path = " ".join([walks[0], *turned])
    return f"You face {p.facing}. {path} How many steps along the grid lead back to the start?"


def parse(text: str) -> Walk | None:
    facing = re.match(rf"You face ({'|'.join(COMPASS)})\.", text)
    turns = re.findall(rf"Turn ({'|'.join(TURNS)})\.", text)
    steps = [int(n) for n in re.findall(r"Take (\d+) steps?\.", text)]
    if not facing or len(steps) != len(turns) + 1:
        return None
    return Walk(facing[1], tuple(turns), tuple(steps))


def turned(facing: str, turn: str) -> str:
    """The direction after a turn.

    >>> turned("west", "right")
    'north'
    """
    return COMPASS[(COMPASS.index(facing) + TURNS[turn]) % 4]


def moved(x: int, y: int, facing: str, steps: int) -> tuple[int, int]:
    """The point after some steps; x grows to the east, y to the north."""
    dx, dy = MOVES[facing]
    return x + dx * steps, y + dy * steps


def solve(p: Walk, r: Reasoner) -> str:
    """Tell the direction after each turn and the point after each walk."""
    x = y = 0
    facing = p.facing
    for i, steps in enumerate(p.steps):
        if i:
            facing = decide_turn(facing, p.turns[i - 1], r)
            r.say(TURN, turn=p.turns[i - 1], facing=facing)
        else:
            r.aside()
        x, y = decide_point(x, y, facing, steps, r)
        r.say(WALK, steps=plural(steps), facing=facing, x=x, y=y)
    east, north = abs(x), abs(y)
    sums = [east + north + error for error in (-1, 1, 2)] + [abs(east - north)]
    total = r.decide("calculation", "total", east + north, sums)
    r.say(BACK, x=x, y=y, east=east, north=north, total=total)
    return r.conclude(str(total))


def decide_turn(facing: str, turn: str, r: Reasoner) -> str:
    others = [turned(facing, other) for other in TURNS]
    return r.decide("logical", "facing", turned(facing, turn), [facing, *others])


def decide_point(x: int, y: int, facing: str, steps: int, r: Reasoner) -> tuple[int, int]:
    """The next point: wrong axis or sign for the direction, wrong sum."""
    others = [moved(x, y, other, steps) for other in COMPASS]
    right = r.decide("knowledge", "x y", moved(x, y, facing, steps), others)
    near = [moved(*right, facing, error) for error in (-2, -1, 1, 2)]
    return r.decide("calculation", "x y", right, near)


def fact(rng: random.Random) -> str:
    facing, turn = rng.choice(COMPASS), rng.choice(list(TURNS))
    x, y, steps = rng.randint(-9, 9), rng.randint(-9, 9), rng.randint(1, 9)
    point = moved(x, y, facing, steps)
    return rng.choice(
        [
            f"Who faces {facing} and turns {turn} faces {turned(facing, turn)}.",
            f"From {x, y}, {plural(steps)} {facing} lead to {point}.",
        ]
    )


NAVIGATE = Family(
    name="navigate",
    description="Follow the instructions and find how far from the start you end up.",
    kinds=("logical", "knowledge", "calculation"),
    draw=draw,
    ask=ask,
    parse=parse,
    solve=solve,
    fact=fact,
)
