"""Mistakes that can be found without a language model: whatever a text states and a program checks.

Sums, truth values and comparisons are computed again (mistakes.arithmetic), walks on a grid, swaps,
running totals and lists are followed, dates are held against the calendar, and what the text says
the question states against the question. A rule that cannot read a statement says nothing: silence
is no proof of a right chain. Nothing here knows the answer.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from editlib.mistakes import arithmetic
from editlib.mistakes.calendar import misdated
from editlib.mistakes.findings import Finding

_N = r"(-?\d+)"
_POINT = re.compile(r"\(\s*(-?\d+)\s*,\s*(-?\d+)\s*\)")
_SENTENCE = re.compile(r"[^.;\n]+(?:\.(?=\d)[^.;\n]+)*")
_ENDLESS = re.compile(r"\d{31,}")  # digits that no sum of a question has: a model in a loop


@lru_cache(maxsize=64)
def core(question: str, text: str) -> tuple[Finding, ...]:
    """All that the rules of the core find, in the order of the text."""
    question, text = _bounded(question), _bounded(text)
    found = [finding for rule in RULES for finding in rule(question, text)]
    return tuple(sorted(found, key=lambda each: (each.start, each.end)))


def _bounded(text: str) -> str:
    """The same text, with a word that says nothing in place of each endless number."""
    return _ENDLESS.sub(lambda digits: "_" * len(digits[0]), text)


def of(kind: str) -> Callable[[str, str], list[tuple[int, int, str]]]:
    """The rule of one kind of the core: (question, text) -> start, end, why."""

    def rule(question: str, text: str) -> list[tuple[int, int, str]]:
        found = core(question, text)
        return [(each.start, each.end, each.why) for each in found if each.kind == kind]

    return rule


# --- sums, truth values, comparisons ----------------------------------------------------------


def sums(question: str, text: str) -> Iterator[Finding]:
    """Equations that do not hold, and operations that are taken before their turn."""
    for each in arithmetic.equations(text):
        if not each.holds:
            said = f"{text[each.left.start : each.right.end]}: it is {_show(each.left.value)}"
            yield Finding(arithmetic.kind_of(each), each.right.start, each.right.end, said)
    for each in arithmetic.out_of_turn(text):
        why = f"{text[each.left.start : each.left.end]} is not due yet"
        yield Finding("knowledge", each.left.start, each.left.end, why)


def _show(value: arithmetic.Value | None) -> str:
    return str(value if isinstance(value, bool) or value is None else float(value)).removesuffix(
        ".0"
    )


_COMPARED = re.compile(
    r"(?<![<>] )(?<![\w.<>])(-?\d+(?:\.\d+)?(?:\s*[<>]\s*-?\d+(?:\.\d+)?)+)"
    r"(?:\s+is\s+(not\s+)?(correct|true|right|incorrect|false|wrong)\b)"
)


def comparisons(question: str, text: str) -> Iterator[Finding]:
    """A chain such as "1 < 4 < 3" that is called correct, or not correct, and is the other."""
    for match in _COMPARED.finditer(text):
        numbers = [float(n) for n in re.split(r"\s*[<>]\s*", match[1])]
        signs = re.findall("[<>]", match[1])
        holds = all(
            a < b if sign == "<" else a > b
            for a, b, sign in zip(numbers, numbers[1:], signs, strict=False)
        )
        called = (match[3] in ("correct", "true", "right")) != bool(match[2])
        if holds != called:
            yield Finding("logical", *match.span(1), f"{match[1]} is {holds}".lower())


_ADDED = re.compile(
    rf"\b(?:add|adding|added|plus)\s+{_N}\b[^.;:\d]{{0,25}}?"
    rf"\b(?:to get|gives|makes|have|get|total of|total|to reach|is)"
    rf"\s+{_N}\b(?![ ]*[-+*/%])(?!\.\d)",
    re.IGNORECASE,
)


def totals(question: str, text: str) -> Iterator[Finding]:
    """A running total that does not follow from the one before it; the first is not checked."""
    total = None
    for match in _ADDED.finditer(text):
        added, stated = int(match[1]), int(match[2])
        if total is not None and stated != total + added:
            why = f"{total} and {added} more make {total + added}"
            yield Finding("calculation", *match.span(2), why)
        total = stated


# --- lists ------------------------------------------------------------------------------------

_ANNOUNCED = re.compile(r"\b(\d+)\s+(?:separate|following|different)?\s*[a-z]+s[.:]?\s*(?=\(1\))")


def lists(question: str, text: str) -> Iterator[Finding]:
    """A numbered list that is not as long as the words just before it say."""
    for match in _ANNOUNCED.finditer(text):
        length = 0
        for number in re.finditer(r"\((\d+)\)", text[match.end() :]):
            if int(number[1]) != length + 1:
                break
            length += 1
        if length > 1 and length != int(match[1]):
            yield Finding("calculation", *match.span(1), f"the list has {length} entries")


_LETTER = re.compile(r"\"([a-z])\" \((\d+)\)")


def letters(question: str, text: str) -> Iterator[Finding]:
    """A letter with a wrong place in the alphabet, where places count from 1."""
    for match in _LETTER.finditer(text):
        place = ord(match[1]) - ord("a") + 1
        if int(match[2]) != place:
            yield Finding("knowledge", *match.span(2), f"{match[1]} is letter {place}")


# --- walks on a grid --------------------------------------------------------------------------

_COMPASS = ("north", "east", "south", "west")  # clockwise
_AXES = {"positive y": "north", "positive x": "east", "negative y": "south", "negative x": "west"}
_FACING = r"(north|east|south|west)\b|(?:the )?(positive|negative) (x|y)[- ]axis"
_FACED = re.compile(rf"\bfac(?:e|es|ing)\s+(?:{_FACING})", re.IGNORECASE)
_TURNED = re.compile(r"\bturn(?:s|ing)?\s+(left|right|around)\b", re.IGNORECASE)
_STEPS = re.compile(r"\b(\d+) steps?\b(?:\s+(north|east|south|west|forward|backward|left|right))?")
_QUARTERS = {"right": 1, "around": 2, "left": 3}
_MOVES = {"north": (0, 1), "east": (1, 0), "south": (0, -1), "west": (-1, 0)}


def walks(question: str, text: str) -> Iterator[Finding]:
    """Turns that end in a wrong direction, and steps that lead to a wrong point.

    A walk starts at the first point the text names, or at (0, 0). A point as far away as the steps
    lead, in another direction, breaks a rule; one at another distance is miscounted.
    """
    at, facing = (0, 0), _direction(_FACED.search(question))
    for sentence in _SENTENCE.finditer(text):
        said, offset = sentence[0], sentence.start()
        turn, steps, points = _TURNED.search(said), _STEPS.search(said), _POINT.search(said)
        faced = _FACED.search(said)
        if turn and faced and facing:
            due = _COMPASS[(_COMPASS.index(facing) + _QUARTERS[turn[1].lower()]) % 4]
            if _direction(faced) != due:
                start, end = faced.span()
                yield Finding("logical", offset + start, offset + end, f"it is {due} after that")
        facing = _direction(faced) or facing
        if points and steps and steps.start() < points.start():
            yield from _walked(at, steps, points, facing, offset)
        at = (int(points[1]), int(points[2])) if points else at


def _direction(match: re.Match | None) -> str | None:
    if match is None:
        return None
    named, sign, axis = match.groups()
    return named.lower() if named else _AXES[f"{sign} {axis}".lower()]


def _walked(
    at: tuple[int, int], steps: re.Match, point: re.Match, facing: str | None, offset: int
) -> Iterator[Finding]:
    number, said = int(steps[1]), steps[2]
    heading = said if said in _MOVES else facing if said is None else None
    dx, dy = int(point[1]) - at[0], int(point[2]) - at[1]
    span = offset + point.start(), offset + point.end()
    if (dx and dy) or abs(dx) + abs(dy) != number:
        yield Finding("calculation", *span, f"{number} steps from {at} do not lead there")
    elif heading and (dx, dy) != tuple(number * each for each in _MOVES[heading]):
        yield Finding("knowledge", *span, f"{heading} of {at} lies another point")


# --- swaps ------------------------------------------------------------------------------------

_SWAP_WORD = r"(?:swaps?|trades?|switch(?:es)?|exchanges?|the swap|the trade)\b"
_SWAP = re.compile(rf"\b([A-Z]\w+) and ([A-Z]\w+) {_SWAP_WORD}")
_NO_VALUE = {
    "and",
    "swap",
    "swaps",
    "trade",
    "trades",
    "switch",
    "has",
    "is",
    "the",
    "gets",
    "with",
}


def swaps(question: str, text: str) -> Iterator[Finding]:
    """Swaps between people: of others than the question says, or with a wrong outcome."""
    asked = [{m[1], m[2]} for m in _SWAP.finditer(question)]
    if not asked:
        return
    names = "|".join(sorted(set.union(*asked)))
    holding = re.compile(rf"\b({names})(?:: ([^,.;:\n]+)| ([a-z]+)\b)")
    state: dict[str, str] = {}
    done = 0
    for sentence in _SENTENCE.finditer(text):
        held = [
            _Held(
                m[1],
                (m[2] or m[3]).strip(),
                sentence.start() + m.start(),
                sentence.start() + m.end(),
            )
            for m in holding.finditer(sentence[0])
            if (m[2] or m[3]) not in _NO_VALUE
        ]
        if re.search(rf"\b{_SWAP_WORD}", sentence[0]) and len(held) > 1:
            pair = _swapping(sentence[0], held)
            if pair and done < len(asked):
                yield from _swapped(pair, asked[done], state, held, sentence)
                done += 1
        state |= {each.name: each.value for each in held}


@dataclass(frozen=True)
class _Held:
    name: str
    value: str
    start: int
    end: int


def _swapping(sentence: str, held: list[_Held]) -> set[str] | None:
    """Who swaps: named before the verb, or told twice, before and after."""
    if match := _SWAP.search(sentence):
        return {match[1], match[2]}
    told = [each.name for each in held]
    twice = {name for name in told if told.count(name) == 2}
    return twice if len(twice) == 2 else None


def _swapped(
    pair: set[str], asked: set[str], state: dict[str, str], held: list[_Held], sentence: re.Match
) -> Iterator[Finding]:
    if pair != asked:
        why = f"the question has {' and '.join(sorted(asked))} swap here"
        yield Finding("knowledge", held[0].start, held[0].end, why)
    before = {each.name: each.value for each in reversed(held)}  # what is told first
    twice = len({each.name for each in held}) < len(held)
    before = state | (before if twice else {})
    after = {each.name: each for each in held}
    if not pair <= before.keys():
        return
    one, other = sorted(pair)
    due = before | {one: before[other], other: before[one]}
    for name, each in after.items():
        if name in due and each.value != due[name]:
            yield Finding("logical", each.start, each.end, f"{name} has {due[name]} after that")


# --- what the question states -----------------------------------------------------------------

_UNITS = {"day", "hour", "minute", "month", "option", "second", "step", "time", "week", "year"}
_TO_TWELVE = "one two three four five six seven eight nine ten eleven twelve"
_WORD_NUMBERS = {word: n for n, word in enumerate(_TO_TWELVE.split(), 1)}
_COUNTED = re.compile(r"(?<![\w.,/:(-])(\d+|" + "|".join(_WORD_NUMBERS) + r") ([a-z]{3,}s)\b")
_LISTED = re.compile(r"\b([a-z]{3,}s) \((\d+)\)")


def numbers(question: str, text: str) -> Iterator[Finding]:
    """A thing that the question counts once, first told with another number; not in a quotation."""
    asked: dict[str, set[int]] = {}
    for match in _COUNTED.finditer(question):
        asked.setdefault(match[2], set()).add(_count(match[1]))
    own = re.sub(r'"[^"]*"', lambda quoted: "-" * len(quoted[0]), text)
    told: dict[str, tuple[int, int, int]] = {}
    found = [*_COUNTED.finditer(own), *_LISTED.finditer(own)]
    for match in sorted(found, key=lambda each: each.start()):
        number, thing = match.groups() if match.re is _COUNTED else reversed(match.groups())
        told.setdefault(thing, (_count(number), *match.span()))
    for thing, (number, start, end) in told.items():
        known = asked.get(thing, set())
        if len(known) == 1 and number not in known and thing.rstrip("s") not in _UNITS:
            why = f"the question has {known.copy().pop()} {thing}"
            yield Finding("knowledge", start, end, why)


def _count(word: str) -> int:
    return _WORD_NUMBERS.get(word) or int(word)


_CLAIM = re.compile(r"\b([A-Z]\w+) says (?:that )?([A-Z]\w+) (lies|tells the truth)")


def claims(question: str, text: str) -> Iterator[Finding]:
    """Who the question lets say one thing of another, and the text the opposite."""
    asked = {(m[1], m[2]): m[3] for m in _CLAIM.finditer(question)}
    for match in _CLAIM.finditer(text):
        said = asked.get((match[1], match[2]))
        if said and said != match[3]:
            yield Finding("knowledge", *match.span(3), f"in the question {match[1]} says {said}")


def restated(question: str, text: str) -> Iterator[Finding]:
    """The expression of the question, told with other numbers or truth values."""
    asked = max(arithmetic.expressions(question), key=lambda e: len(e.tokens), default=None)
    told = max(arithmetic.expressions(text), key=lambda e: len(e.tokens), default=None)
    if asked is None or told is None or len(asked.tokens) < 5:
        return
    differing = [(a, b) for a, b in zip(asked.tokens, told.tokens, strict=False) if a != b]
    if len(asked.tokens) == len(told.tokens) and 0 < len(differing) < 3:
        why = f"the question has {question[asked.start : asked.end]}"
        yield Finding("knowledge", told.start, told.end, why)


def dates(question: str, text: str) -> Iterator[Finding]:
    """What the calendar says otherwise."""
    yield from misdated(text)


Found = Callable[[str, str], Iterator[Finding]]
RULES: tuple[Found, ...] = (
    sums,
    comparisons,
    totals,
    lists,
    letters,
    walks,
    swaps,
    numbers,
    claims,
    restated,
    dates,
)
