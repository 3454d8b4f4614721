"""temporal_sequences: when in the day was there time for a visit?"""

import random
import re
from dataclasses import dataclass

from editlib.puzzles.family import Family, choose, split_options, window, with_options
from editlib.puzzles.reasoner import Reasoner

NAMES = ("Mia", "Leo", "Nora", "Omar", "Rosa", "Sam", "Tess", "Vic")
PLACES = ("gym", "cafe", "bank", "library", "office", "market", "school", "station")
GOALS = ("zoo", "park", "museum", "beach", "theater")

WAKE = (
    "The day of {name} begins at {time}.",
    "We start at {time}, when {name} woke up.",
    "As {name} woke up at {time}, we begin there.",
)
STAY = (
    "The {place} took {hours}, which brings us from {now} to {then}.",
    "At the {place} {hours} went by, and {now} plus {hours} is {then}.",
    "Adding {hours} at the {place} to {now}, we get to {then}.",
)
UNTIL = (
    "The {place} lasted until {then}.",
    "Then the {place} took the time up to {then}.",
    "It was {then} when the {place} was over.",
)
FREE = (
    "So {name} was free from {start} to {end}.",
    "That leaves {start} to {end} for {name}.",
    "The free time of {name} was {start} to {end}.",
)


@dataclass(frozen=True)
class Activity:
    """A stay at a place, for some hours or until a time."""

    place: str
    hours: int | None
    until: int | None


@dataclass(frozen=True)
class Day:
    """Times are hours from 0 to 23. The last thing known is when the goal closed."""

    name: str
    goal: str
    wake: int
    activities: tuple[Activity, ...]
    closing: int
    options: tuple[str, ...]


def clock(hour: int) -> str:
    """
    >>> clock(12), clock(13)
    ('12pm', '1pm')
    """
    return f"{(hour - 1) % 12 + 1}{'am' if hour % 24 < 12 else 'pm'}"


HOURS = {clock(hour): hour for hour in range(24)}


def count(hours: int) -> str:
    return f"{hours} hour" if hours == 1 else f"{hours} hours"


def span(start: int, end: int) -> str:
    return f"{clock(start)} to {clock(end)}"


def draw(rng: random.Random, size: int) -> Day:
    """`size` activities of 1 to 4 hours (fewer in a long day)."""
    wake = now = rng.randint(5, 8)
    activities = []
    for place in rng.sample(PLACES, size):
        hours = rng.randint(1, 4 if size < 4 else 2)
        now += hours
        given = (hours, None) if rng.random() < 0.8 else (None, now)
        activities.append(Activity(place, *given))
    closing = rng.randint(now + 3, 23)
    options = tuple(span(now + i, closing) for i in window(rng, 4))
    goal, name = rng.choice(GOALS), rng.choice(NAMES)
    return Day(name, goal, wake, tuple(activities), closing, options)


def ask(p: Day) -> str:
    stays = ", then ".join(stay(activity) for activity in p.activities)
    told = [
        f"{p.name} went to the {p.goal}.",
        f"{p.name} woke up at {clock(p.wake)} and was {stays}.",
        f"The {p.goal} closed at {clock(p.closing)}.",
        f"When could {p.name} be there?",
    ]
    return with_options(" ".join(told), p.options)


def stay(activity: Activity) -> str:
    if activity.until is None:
        return f"at the {activity.place} for {count(activity.hours)}"
    return f"at the {activity.place} until {clock(activity.until)}"


def parse(text: str) -> Day | None:
    question, options = split_options(text)
    time = "|".join(HOURS)
    frame = re.match(
        rf"(\w+) went to the (\w+)\. \w+ woke up at ({time}) and was "
        rf".*\. The \w+ closed at ({time})\.",
        question,
    )
    stays = re.findall(rf"at the (\w+) (?:for (\d+) hours?|until ({time}))[,.]", question)
    if not frame or not all(re.fullmatch(rf"(?:{time}) to (?:{time})", line) for line in options):
        return None
    name, goal, wake, closing = frame.groups()
    activities = tuple(
        Activity(place, int(hours) if hours else None, HOURS.get(until))
        for place, hours, until in stays
    )
    return Day(name, goal, HOURS[wake], activities, HOURS[closing], options)


def solve(p: Day, r: Reasoner) -> str:
    """Tell when each activity ended; what is left of the day is the answer."""
    now = r.decide("knowledge", "time", p.wake, [p.wake - 1, p.wake + 1, p.wake + 2])
    r.say(WAKE, name=p.name, time=clock(now))
    r.aside()
    before = now
    for activity in p.activities:
        before, now = now, solve_stay(activity, now, r)
    start = r.decide("logical", "start", now, [before])
    r.say(FREE, name=p.name, start=clock(start), end=clock(p.closing))
    starts = [option.split(" ")[0] for option in p.options]
    gaps = [abs(start - HOURS[option]) for option in starts]
    return r.conclude(choose(r, starts, clock(start), gaps.index(min(gaps))))


def solve_stay(activity: Activity, now: int, r: Reasoner) -> int:
    """When the activity ended: a given time to recall, or hours to add."""
    if activity.until is not None:
        near = [activity.until + error for error in (-2, -1, 1, 2)]
        then = r.decide("knowledge", "then", activity.until, near)
        r.say(UNTIL, place=activity.place, then=clock(then))
        return then
    right = now + activity.hours
    then = r.decide("calculation", "then", right, [right - 1, right + 1, right + 2])
    hours = count(activity.hours)
    r.say(STAY, place=activity.place, hours=hours, now=clock(now), then=clock(then))
    return then


def fact(rng: random.Random) -> str:
    now, hours = rng.randint(5, 20), rng.randint(1, 4)
    return f"{clock(now)} plus {count(hours)} is {clock(now + hours)}."


TEMPORAL_SEQUENCES = Family(
    name="temporal_sequences",
    description="Find the time of day at which somebody was free for a visit.",
    kinds=("logical", "knowledge", "calculation"),
    draw=draw,
    ask=ask,
    parse=parse,
    solve=solve,
    fact=fact,
)
