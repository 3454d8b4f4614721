"""Chains of thought told step by step, with mistakes at known places.

A solver tells its chain to a `Reasoner`: what it decides and what it says. One solver writes right
and wrong chains alike: where a slip is asked for, `decide` hands back a wrong value and the solver
computes on with it, so the mistake is carried through to the conclusion.
"""

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from string import Formatter
from typing import Any, Literal

Kind = Literal["logical", "knowledge", "calculation"]
Wordings = tuple[str, ...]  # sentences with the same named slots, any of which will do

CONCLUSION = ("Therefore, the answer is {answer}.",)
ASIDES = (
    "",
    "",
    "",
    "Let me go step by step.",
    "This needs some care.",
    "One thing at a time.",
)


@dataclass(frozen=True)
class Site:
    """A decision where a mistake can strike: its kind and its step (sentence number, from 0)."""

    kind: Kind
    step: int


@dataclass(frozen=True)
class Slot:
    """A value in the text of a chain: text[start:end] == value."""

    step: int
    name: str
    value: str
    start: int
    end: int
    mistake: Kind | None  # the kind of the slip that struck here


@cache
def _pieces(wording: str) -> tuple[tuple[str, str | None], ...]:
    """A wording as (literal text, slot name after it or None) pairs."""
    return tuple((literal, name) for literal, name, _, _ in Formatter().parse(wording))


@cache
def _pattern(wording: str) -> re.Pattern:
    """A regular expression for a wording with any values, at the start of a sentence."""
    slot = "[^.]+?"
    parts = (re.escape(literal) + (slot if name else "") for literal, name in _pieces(wording))
    return re.compile(r"(?:(?<=\. )|\A)" + "".join(parts))


@cache
def _check_slots(wordings: Wordings, names: frozenset[str]) -> None:
    """Raise ValueError unless every wording shows every slot: a hidden value has no span."""
    for wording in wordings:
        found = {name for _, name in _pieces(wording) if name}
        if found != names:
            raise ValueError(f"wording {wording!r} has slots {sorted(found)}, not {sorted(names)}")


def _hash(*key: object) -> int:
    """A 64-bit number that depends on the key alone, on every machine."""
    text = "\x1f".join(map(str, key))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


class Voice:
    """Which wording each step gets, and which of several wrong values a slip takes.

    question:   the question text; the habitual wordings are a function of it.
    paraphrase: chance that a step is re-worded at random.
    rng:        makes this telling differ from others; without it the telling is repeatable.
    like:       a response whose wordings are followed, where they can be recognised.
    """

    def __init__(
        self,
        question: str,
        paraphrase: float = 0.0,
        rng: random.Random | None = None,
        like: str | None = None,
    ):
        self.question = question
        self.paraphrase = paraphrase
        self.telling = rng.getrandbits(64) if rng else 0
        self.like = (like or "").strip()

    def word(self, wordings: Wordings, place: str, cursor: int) -> tuple[str, int]:
        """The wording for this place, and how far in `like` the chain has come."""
        followed, cursor = self._follow(wordings, cursor)
        if self._chance("paraphrase", place) < self.paraphrase:
            return wordings[self.pick(len(wordings), "wording", place)], cursor
        habit = wordings[_hash(self.question, *wordings) % len(wordings)]
        return habit if followed is None else followed, cursor

    def pick(self, n: int, *key: object) -> int:
        """A number in range(n) that depends on the question, this telling and the key."""
        return _hash(self.question, self.telling, *key) % n

    def _chance(self, *key: object) -> float:
        return self.pick(1 << 32, *key) / (1 << 32)

    def _follow(self, wordings: Wordings, cursor: int) -> tuple[str | None, int]:
        """The wording that occurs next in `like`; of two at one place, the more literal."""
        if not self.like:
            return None, cursor
        found = []
        for wording in wordings:
            if match := _pattern(wording).search(self.like, cursor):
                literal = sum(len(text) for text, _ in _pieces(wording))
                found.append((match.start(), -literal, match.end(), wording))
        if not found:
            return None, cursor
        start, _, end, wording = min(found)
        # An empty wording (no aside) occurs everywhere and takes no room.
        return wording, min(end + 1, len(self.like)) if end > start else cursor


class Reasoner:
    """Writes one chain: asks for decisions, words the steps, remembers every slot's span."""

    def __init__(self, voice: Voice, slips: Iterable[Site] = ()):
        self.voice = voice
        self.slips = frozenset(slips)
        self.sites: list[Site] = []
        self.slots: list[Slot] = []
        self.text = ""
        self._step = 0
        self._cursor = 0
        self._struck: dict[str, Kind] = {}

    def decide(self, kind: Kind, slots: str, right: Any, wrong: Sequence[Any]) -> Any:
        """The right value, or one of the wrong ones if a slip of this kind is due at this step.

        slots: where the value shows in the next sentence; several names, separated by blanks,
        for a tuple of as many values. Without a wrong value that differs there is no site.
        """
        choices = [value for value in wrong if value != right]
        if not choices:
            return right
        site = Site(kind, self._step)
        self.sites.append(site)
        if site not in self.slips:
            return right
        value = choices[self.voice.pick(len(choices), "slip", kind, self._step)]
        names = slots.split()
        pairs = zip(right, value, strict=True) if len(names) > 1 else [(right, value)]
        self._struck |= {name: kind for name, (a, b) in zip(names, pairs, strict=True) if a != b}
        return value

    def say(self, wordings: Wordings, **slots: object) -> None:
        """Append one step in one of the wordings, filled with the slots."""
        _check_slots(wordings, frozenset(slots))
        wording = self._word(wordings, f"step {self._step}")
        self._begin_sentence()
        for literal, name in _pieces(wording):
            self.text += literal
            if name:
                start, value = len(self.text), str(slots[name])
                self.text += value
                mistake = self._struck.get(name)
                self.slots.append(Slot(self._step, name, value, start, len(self.text), mistake))
        self._struck = {}
        self._step += 1

    def aside(self) -> None:
        """Append a sentence that says nothing, or nothing."""
        if aside := self._word(ASIDES, f"aside {self._step}"):
            self._begin_sentence()
            self.text += aside

    def conclude(self, answer: str) -> str:
        """Append the answer sentence."""
        self.say(CONCLUSION, answer=answer)
        return answer

    def _word(self, wordings: Wordings, place: str) -> str:
        wording, self._cursor = self.voice.word(wordings, place, self._cursor)
        return wording

    def _begin_sentence(self) -> None:
        self.text += " " if self.text else ""
