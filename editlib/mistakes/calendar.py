"""Dates in running text, held against the calendar."""

import re
from calendar import day_name, month_name, monthrange
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise

import pandas as pd

from editlib.mistakes import arithmetic
from editlib.mistakes.findings import Finding

MONTHS = {name.lower(): n for n, name in enumerate(month_name) if n}
MONTHS |= {name[:3]: n for name, n in MONTHS.items()} | {"sept": 9}
DAYS = {name.lower(): n for n, name in enumerate(day_name)}
_MONTH = (
    r"(Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|"
    r"Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\b\.?"
)
_DATE = re.compile(
    rf"\b(?:(?P<m1>\d\d)/(?P<d1>\d\d)/(?P<y1>\d{{4}})"
    rf"|{_MONTH.replace('(', '(?P<m2>', 1)} (?P<d2>\d\d?)(?:st|nd|rd|th)?,? (?P<y2>\d{{4}}))\b"
)
_DAY_OF_MONTH = re.compile(rf"\b(?<!\d )(\d\d?) {_MONTH}(?! \d)|\b{_MONTH} (\d\d?)\b(?![,/\d])")
_LENGTH = re.compile(rf"\b(\d\d) days in {_MONTH}|\b{_MONTH} has (\d\d) days")

_AGAIN = re.compile(r",? (?:that is|i\.e\.,?|which is|or|in other words),? ")


def misdated(text: str) -> Iterator[Finding]:
    """Days that do not exist, months of a wrong length, weekdays and steps in time that are off."""
    dated = list(_dates(text))
    for start, end, day in dated:
        if day is None:
            yield Finding("knowledge", start, end, "there is no such day")
    known = [(start, end, day) for start, end, day in dated if day]
    yield from _lengths(text)
    yield from _weekdays(text, known)
    yield from _same(text, known)
    yield from _later(text, known)
    yield from _carried(text)


def _dates(text: str) -> Iterator[tuple[int, int, date | None]]:
    """Full dates in American order; None where the calendar has no such day."""
    for match in _DATE.finditer(text):
        month = int(match["m1"]) if match["m1"] else MONTHS[match["m2"].lower().rstrip(".")]
        day, year = int(match["d1"] or match["d2"]), int(match["y1"] or match["y2"])
        if month > 12 and day <= 12:
            continue  # day first
        exists = 0 < month <= 12 and year > 0 and 0 < day <= monthrange(year, month)[1]
        yield match.start(), match.end(), date(year, month, day) if exists else None


def _lengths(text: str) -> Iterator[Finding]:
    for match in _LENGTH.finditer(text):
        said, group = (match[1], 1) if match[1] else (match[4], 4)
        month = MONTHS[(match[2] or match[3]).lower()]
        usual = monthrange(2023, month)[1]
        if int(said) not in (usual, 29 if month == 2 else usual):
            yield Finding("knowledge", *match.span(group), f"that month has {usual} days")


def _weekdays(text: str, known: list[tuple[int, int, date]]) -> Iterator[Finding]:
    for _, end, day in known:
        match = re.compile(
            rf",? (?:is|was|will be|falls on) (?:a )?({'|'.join(day_name)})\b"
        ).match(text, end)
        if match and DAYS[match[1].lower()] != day.weekday():
            why = f"{day:%B %d, %Y} is a {day_name[day.weekday()]}"
            yield Finding("knowledge", *match.span(1), why)


def _same(text: str, known: list[tuple[int, int, date]]) -> Iterator[Finding]:
    """One date in two forms."""
    for (_, end, first), (start, stop, second) in pairwise(known):
        if first != second and _AGAIN.fullmatch(text[end:start]):
            yield Finding("calculation", start, stop, f"that is {first:%m/%d/%Y}")


_NOW = re.compile(r"\b(?:today(?:'s date)? is|today is)(?: \w+day,?)? (?:also )?$", re.IGNORECASE)
_STEP = re.compile(
    r"(?:(?P<n>\d+|a|one|two|three|ten) (?P<unit>hour|day|week|month|year)s? "
    r"(?P<way>ago|later|before|after|from)|(?P<near>tomorrow|yesterday))"
    r"(?: from)?(?: (?:today|now|that))?(?:'s date)?,? (?:is|was|would be|will be) $",
    re.IGNORECASE,
)
_NUMBERS = {"a": 1, "one": 1, "two": 2, "three": 3, "ten": 10}


def _later(text: str, known: list[tuple[int, int, date]]) -> Iterator[Finding]:
    """Dates told as so much before or after the date that the text calls today's."""
    today = None
    for start, end, day in known:
        before = text[max(0, start - 60) : start]
        step = _STEP.search(before)
        if step and today and (due := _moved(today, step)) not in (None, day):
            yield Finding("calculation", start, end, f"that is {due:%m/%d/%Y}")
        if _NOW.search(before):
            today = None if re.match(r"\s*[-+−]", text[end:]) else day  # "May 9 + 40 days"


def _moved(today: date, step: re.Match) -> date | None:
    near = (step["near"] or "").lower()
    if near:
        return today + timedelta(days=1 if near == "tomorrow" else -1)
    number = _NUMBERS.get(step["n"].lower()) or int(step["n"])
    sign = -1 if step["way"].lower() in ("ago", "before") else 1
    if step["unit"].lower() == "hour" and number % 24:
        return None
    days = {"hour": number // 24, "day": number, "week": 7 * number}.get(step["unit"].lower())
    if days is not None:
        return today + timedelta(days=sign * days)
    offset = pd.DateOffset(**{f"{step['unit'].lower()}s": sign * number})
    return (pd.Timestamp(today) + offset).date()


def _carried(text: str) -> Iterator[Finding]:
    """A sum of days that is called a day of a month: equal to it, or off by a month's length."""
    for equation in arithmetic.equations(text):
        value = equation.right.value
        rest = text[equation.right.end : equation.right.end + 90]
        length, day = _LENGTH.search(rest), _DAY_OF_MONTH.search(rest)
        if not (equation.last and length and day and length.start() < day.start()):
            continue
        stated, month = int(day[1] or day[4]), int(length[1] or length[4])
        due = value if 0 < value <= month else value - month if value > 0 else value + month
        if stated != due:
            start = equation.right.end + day.start()
            why = f"{value} with {month} days in the month is day {due}"
            yield Finding("calculation", start, start + len(day[0].rstrip(".")), why)
