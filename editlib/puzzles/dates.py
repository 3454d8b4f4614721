"""date_understanding: go from date to date by days and weeks (no leap years)."""

import random
import re
from dataclasses import dataclass

from editlib.puzzles.family import Family, choose, split_options, window, with_options
from editlib.puzzles.reasoner import Reasoner

MONTHS = {
    "January": 31,
    "February": 28,
    "March": 31,
    "April": 30,
    "May": 31,
    "June": 30,
    "July": 31,
    "August": 31,
    "September": 30,
    "October": 31,
    "November": 30,
    "December": 31,
}
ORDER = list(MONTHS)
EVENTS = ("exam", "party", "trip", "race", "fair", "dance", "concert", "wedding")
WAYS = ("before", "after")
SHIFTS = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4}  # size -> events

WEEKS = (
    "{weeks} weeks are {days} days.",
    "There are {days} days in {weeks} weeks.",
    "With {weeks} weeks we mean {days} days.",
)
SHIFT = (
    "The {event} is {way} that, so {day} {sign} {days} = {sum}.",
    "For the {event} we go {way}: {day} {sign} {days} = {sum}.",
    "As the {event} comes {way}, we have {day} {sign} {days} = {sum}.",
)
SETTLE = (
    "{month} has {length} days, so that is {date}.",
    "Since {month} has {length} days, we get {date}.",
    "There are {length} days in {month}, which gives {date}.",
)
FOUND = (
    "So the last date is {date}.",
    "This brings us to {date}.",
    "We look for {date}.",
)

Date = tuple[int, str]  # day, month


@dataclass(frozen=True)
class Shift:
    """An event some days or weeks before or after the one told before it."""

    event: str
    number: int
    unit: str  # days, weeks
    way: str  # before, after


@dataclass(frozen=True)
class Calendar:
    """Today's date and a series of events; the last one's date is asked."""

    today: Date
    shifts: tuple[Shift, ...]
    options: tuple[str, ...]


def show(date: Date) -> str:
    return f"{date[0]} {date[1]}"


def day_of_year(date: Date) -> int:
    """Days since the first of January.

    >>> day_of_year((1, "March"))
    59
    """
    day, month = date
    return sum(MONTHS[earlier] for earlier in ORDER[: ORDER.index(month)]) + day - 1


def date_of(day: int) -> Date:
    """The date some days after the first of January; the year repeats."""
    day %= 365
    for month, length in MONTHS.items():
        if day < length:
            return day + 1, month
        day -= length
    raise AssertionError("a year has 365 days")


def settle(day: int, month: str, length: int) -> Date:
    """The date for a day past an end of the month, if `length` is that of the month to count.

    day < 1 counts back from the end of `month`, which then is the one before.
    """
    if day < 1:
        return day + length, month
    if day > length:
        return day - length, ORDER[(ORDER.index(month) + 1) % 12]
    return day, month


def draw(rng: random.Random, size: int) -> Calendar:
    """One or more events; from size 2 on, one of the shifts may be in weeks."""
    events = rng.sample(EVENTS, SHIFTS[size])
    weekly = rng.randrange(2 * len(events)) if size > 1 else None
    shifts = tuple(
        Shift(event, rng.randint(2, 3), "weeks", rng.choice(WAYS))
        if i == weekly
        else Shift(event, rng.randint(2, 15), "days", rng.choice(WAYS))
        for i, event in enumerate(events)
    )
    today = date_of(rng.randrange(365))
    last = day_of_year(today) + sum(map(days_ahead, shifts))
    return Calendar(today, shifts, tuple(show(date_of(last + i)) for i in window(rng, 4)))


def days_ahead(shift: Shift) -> int:
    """By how many days an event follows the one before it; negative if it comes first."""
    days = shift.number * (7 if shift.unit == "weeks" else 1)
    return days if shift.way == "after" else -days


def ask(p: Calendar) -> str:
    marks = ["today", *(f"the {shift.event}" for shift in p.shifts)]
    told = [
        f"The {shift.event} is {shift.number} {shift.unit} {shift.way} {mark}."
        for shift, mark in zip(p.shifts, marks[:-1], strict=True)
    ]
    question = f"Today is {show(p.today)}. {' '.join(told)} What is the date of {marks[-1]}?"
    return with_options(question, p.options)


def parse(text: str) -> Calendar | None:
    question, options = split_options(text)
    date = rf"(\d+) ({'|'.join(MONTHS)})"
    today = re.match(rf"Today is {date}\. .* What is the date of the \w+\?$", question)
    told = re.findall(r"The (\w+) is (\d+) (days|weeks) (before|after) ", question)
    if not today or not told or not all(re.fullmatch(date, option) for option in options):
        return None
    shifts = tuple(Shift(event, int(n), unit, way) for event, n, unit, way in told)
    return Calendar((int(today[1]), today[2]), shifts, options)


def solve(p: Calendar, r: Reasoner) -> str:
    """For each event: the days, their sum, the month it falls in."""
    date = p.today
    for shift in p.shifts:
        date = solve_shift(date, shift, r)
    gaps = [abs(day_of_year(date) - day_of_year(read(option))) for option in p.options]
    nearest = min(range(len(gaps)), key=lambda i: min(gaps[i], 365 - gaps[i]))
    r.aside()
    r.say(FOUND, date=show(date))
    return r.conclude(choose(r, p.options, show(date), nearest))


def read(option: str) -> Date:
    day, month = option.split(" ")
    return int(day), month


def solve_shift(date: Date, shift: Shift, r: Reasoner) -> Date:
    days = shift.number
    if shift.unit == "weeks":
        guess = [shift.number * length for length in (5, 6, 8)]
        days = r.decide("knowledge", "days", shift.number * 7, guess)
        days = r.decide("calculation", "days", days, [days - 1, days + 1])
        r.say(WEEKS, weeks=shift.number, days=days)
    day, month = date
    sign = r.decide("logical", "sign", "-" if shift.way == "before" else "+", ["+", "-"])
    sum_ = day + days if sign == "+" else day - days
    sum_ = r.decide("calculation", "sum", sum_, [sum_ + error for error in (-2, -1, 1, 2)])
    r.say(SHIFT, event=shift.event, way=shift.way, day=day, sign=sign, days=days, sum=sum_)
    if sum_ < 1:
        month = ORDER[ORDER.index(month) - 1]
    wrong = [
        n for n in (28, 30, 31) if settle(sum_, month, n) != settle(sum_, month, MONTHS[month])
    ]
    length = r.decide("knowledge", "length", MONTHS[month], wrong)
    right = settle(sum_, month, length)
    near = [(right[0] + error, right[1]) for error in (-1, 1) if 1 <= right[0] + error <= 28]
    date = r.decide("calculation", "date", right, near)
    r.say(SETTLE, month=month, length=length, date=show(date))
    return date


def fact(rng: random.Random) -> str:
    i = rng.randrange(12)
    weeks, day, days = rng.randint(2, 6), rng.randint(1, 31), rng.randint(2, 21)
    return rng.choice(
        [
            f"{day} + {days} = {day + days}.",
            f"{day} - {days} = {day - days}.",
            f"{ORDER[i]} has {MONTHS[ORDER[i]]} days.",
            f"After {ORDER[i - 1]} comes {ORDER[i]}.",
            f"Before {ORDER[i]} comes {ORDER[i - 1]}.",
            f"{weeks} weeks are {7 * weeks} days.",
        ]
    )


DATE_UNDERSTANDING = Family(
    name="date_understanding",
    description="Work out a date from other dates.",
    kinds=("logical", "knowledge", "calculation"),
    draw=draw,
    ask=ask,
    parse=parse,
    solve=solve,
    fact=fact,
)
