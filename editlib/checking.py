"""Checks any chain of thought on a puzzle, sentence by sentence.

The solver that writes chains reads them here. At each step it says what it would say after what the
text has said so far. Where the text says something else, the solver's own wrong values are tried at
the decisions of that step: the one that makes it say the same names the kind of the mistake, and
the solver goes on from there, as the writer of the text did. So a step that follows rightly from an
earlier mistake is valid, though it is not right.
"""

import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain
from typing import Any, Literal

from editlib.puzzles import FAMILIES, Voice, read_question
from editlib.puzzles.family import CHOICE
from editlib.puzzles.reasoner import ASIDES, CONCLUSION, Reasoner, Wordings, _pieces
from editlib.puzzles.schedule import HOURS

Kind = Literal["logical", "knowledge", "calculation", "other"]
MOST_WORDS = 90  # of a sentence that is looked at; steps are shorter


@dataclass(frozen=True)
class Value:
    """What a text puts into a slot of a step: text[start:end]."""

    name: str
    start: int
    end: int
    key: bool  # a decision sits here, that is, a mistake of a known kind can strike
    wrong: bool  # it does not follow from what the text said before
    right: bool  # it is that of the clean chain


@dataclass(frozen=True)
class Step:
    """A sentence of a text, text[start:end], held against a step of the solver.

    number: the step of the solver, from 0. formed: whether it is worded as that step is; a step
    left out is an empty sentence. valid: whether it follows from what the text said before; None
    where that cannot be told. kinds: of its mistakes. also: kinds that explain them as well.
    """

    number: int
    start: int
    end: int
    formed: bool
    valid: bool | None
    right: bool
    kinds: tuple[Kind, ...] = ()
    also: tuple[Kind, ...] = ()
    values: tuple[Value, ...] = ()

    @property
    def wrong(self) -> tuple[Value, ...]:
        """The values that do not follow."""
        return tuple(value for value in self.values if value.wrong)


@dataclass(frozen=True)
class Check:
    """What can be said of a chain. steps: its sentences in order, asides left out."""

    steps: tuple[Step, ...]
    concluded: bool  # its last sentence states an answer, and nothing is missing before it
    follows: bool | None  # the answer follows from the steps; None: cannot be told, or has none

    @property
    def formed(self) -> bool:
        """Whether the text is a chain of the family's form from start to end."""
        return self.concluded and all(step.formed for step in self.steps)

    @property
    def right(self) -> bool:
        """Whether all of it is right, the answer included."""
        return self.concluded and all(step.right for step in self.steps)

    @property
    def first(self) -> int | None:
        """The index among steps of the first that does not follow; None: there is none."""
        invalid = (i for i, step in enumerate(self.steps) if step.valid is False)
        return next(invalid, None)


def check(question: str, text: str) -> Check:
    """Check a chain against the question's own solver; any text will do.

    Raises UnknownPuzzle where the question is none of the embedded benchmark.
    """
    puzzle = read_question(question)
    return _Reading(_Solver(puzzle.family, puzzle.problem), text).check()


# --- the solver ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Decision:
    """A decision that could have gone otherwise: where it shows, its value, the wrong ones."""

    turn: int  # the how many-th decision of its step
    kind: Kind
    names: tuple[str, ...]
    value: Any
    wrong: tuple[Any, ...]

    def texts(self, value: Any) -> tuple[str, ...]:
        """How a value would show if values were shown as they are."""
        return tuple(map(str, value if len(self.names) > 1 else [value]))


@dataclass(frozen=True)
class _Said:
    """A step as the solver would say it."""

    wordings: Wordings
    slots: Mapping[str, str]
    decisions: tuple[_Decision, ...]


Script = dict[tuple[int, int], Any]  # (step, turn) -> the value that a decision takes


class _Enough(Exception):
    """The step that was wanted has been said."""


class _Teller(Reasoner):
    """Takes decisions by a script, and keeps what is said as slots instead of text."""

    def __init__(self, script: Script, first: int, last: int | None):
        super().__init__(Voice(""))
        self.script, self.last, self.said = script, last, []
        self._step, self._turn, self._decisions = first, 0, []

    def decide(self, kind: Kind, slots: str, right: Any, wrong: Sequence[Any]) -> Any:
        turn, self._turn = self._turn, self._turn + 1
        choices = tuple(value for value in wrong if value != right)
        if not choices:
            return right
        value = self.script.get((self._step, turn), right)
        self._decisions.append(_Decision(turn, kind, tuple(slots.split()), value, choices))
        return value

    def say(self, wordings: Wordings, **slots: object) -> None:
        shown = {name: str(value) for name, value in slots.items()}
        self.said.append(_Said(wordings, shown, tuple(self._decisions)))
        if self._step == self.last:
            raise _Enough
        self._step, self._turn, self._decisions = self._step + 1, 0, []

    def aside(self) -> None:
        """Asides say nothing that could be wrong."""


@dataclass(frozen=True)
class _Solver:
    """A problem, what was said before it (none, or where a text went another way)."""

    family: str
    problem: Any
    before: tuple[_Said, ...] = ()
    script: Script = field(default_factory=dict)

    def tell(self, more: Script | None = None, last: int | None = None) -> list[_Said]:
        """All steps, or those up to the last one wanted; cut short where a value leads nowhere."""
        teller = _Teller(self.script | (more or {}), len(self.before), last)
        with suppress(_Enough, LookupError, TypeError, ValueError):
            # a value of the text may be one that no fact or option is of
            FAMILIES[self.family].solve(self.problem, teller)
        return [*self.before, *teller.said]

    def concludes(self) -> bool:
        """Whether no value that the text holds leads nowhere."""
        return any(said.wordings == CONCLUSION for said in self.tell())

    def moved(self, step: int, seen: Mapping[str, str]) -> "_Solver":
        """The solver from the expression that a text shows after a step.

        What is left of an expression is all that later steps depend on.
        """
        left = seen.get("rest", seen.get("expression", ""))
        return _Solver(self.family, tuple(left.split()), tuple(self.tell(last=step)[:step]))


# --- a text, read beside it -------------------------------------------------------------------


@dataclass(frozen=True)
class _Sentence:
    start: int
    end: int
    text: str


def _sentences(text: str) -> list[_Sentence]:
    """The sentences of a text but for asides; no value of a puzzle contains a full stop."""
    found = re.finditer(r"[^.\s][^.]*\.?|\.", text)
    sentences = [_Sentence(m.start(), m.start() + len(m[0].rstrip()), m[0].rstrip()) for m in found]
    return [sentence for sentence in sentences if sentence.text not in ASIDES]


@cache
def _form(wording: str) -> re.Pattern:
    """A regular expression for a whole sentence in this wording, whatever its values."""
    parts = (re.escape(text) + (".+?" if name else "") for text, name in _pieces(wording))
    return re.compile("".join(parts))


Span = tuple[int, int]
Seen = list[tuple[str, int, int, str]]  # slot name, start, end, text, in the order of the text


def _filled(
    pieces: Sequence[tuple[str, str | None]],
    slots: Mapping[str, str],
    text: str,
    at: int,
    longest: bool,
) -> list[Span] | None:
    """Where the slots of a wording lie in a text from a place on; None: it is not so worded.

    A slot holds what the solver says where it can, else as little, or as much, as will do.
    """
    (literal, name), *later = pieces or [("", None)]
    start = at + len(literal)
    if not text.startswith(literal, at):
        return None
    if name is None:
        return [] if start == len(text) else None
    line = text.find("\n", start)  # no value holds a break
    others = range(start + 1, (len(text) if line < 0 else line) + 1)
    expected = [start + len(slots[name])] if text.startswith(slots[name], start) else []
    for end in chain(expected, reversed(others) if longest else others):
        if (rest := _filled(later, slots, text, end, longest)) is not None:
            return [(start, end), *rest]
    return None


def _readings(said: _Said, sentence: _Sentence) -> Iterator[Seen]:
    """The slots of a sentence under each wording that it has the form of."""
    text = sentence.text
    if not text.endswith(".") or len(text.split(" ")) > MOST_WORDS:
        return
    for wording in said.wordings:
        if _form(wording).fullmatch(text) is None:
            continue
        names = [name for _, name in _pieces(wording) if name]
        for longest in (False, True):
            spans = _filled(_pieces(wording), said.slots, text, 0, longest)
            places = [(sentence.start + s, sentence.start + e) for s, e in spans]
            yield [(n, *p, text[s:e]) for n, p, (s, e) in zip(names, places, spans, strict=True)]


def _agreeing(said: _Said, seen: Seen) -> int:
    """How many slots of a sentence hold what the solver says."""
    return sum(said.slots[name] == text for name, _, _, text in seen)


def _read(said: _Said, sentence: _Sentence) -> Seen | None:
    """The slots of a sentence under the wording that agrees best; None: it is not of this step."""
    return max(_readings(said, sentence), key=lambda seen: _agreeing(said, seen), default=None)


class _Reading:
    """Holds a text against its solver, sentence by sentence."""

    def __init__(self, solver: _Solver, text: str):
        self.clean = solver.tell()
        self.solver, self.told = solver, self.clean
        self.sentences = _sentences(text)
        self.steps: list[Step] = []
        self.at = 0  # the step that is due
        self.lost = False  # the text went where the solver cannot follow
        self.chosen: str | None = None  # the option that the text takes, whatever its reasons
        self.follows: bool | None = None

    def check(self) -> Check:
        for i, sentence in enumerate(self.sentences):
            self._take(sentence, len(self.sentences) - i)
        finished = bool(self.steps) and self._is_conclusion(self.steps[-1].number)
        finished = finished and self.steps[-1].formed
        if not finished:  # the text breaks off
            end = self.sentences[-1].end if self.sentences else 0
            self.steps.append(Step(self.at, end, end, False, False, False, ("other",)))
        missing = any(step.start == step.end for step in self.steps)
        return Check(tuple(self.steps), finished and not missing, self.follows)

    def _is_conclusion(self, number: int) -> bool:
        return number < len(self.told) and self.told[number].wordings == CONCLUSION

    def _take(self, sentence: _Sentence, left: int) -> None:
        """Take the next sentence for a step: the one due, or a later one if that is left out."""
        for number in range(self.at, len(self.told)):
            seen = _read(self.told[number], sentence)
            if seen is not None:
                self._leave_out(number, sentence.start)
                self.steps.append(self._compare(number, sentence, seen))
                self.at = number + 1
                return
        place = (self.at, sentence.start, sentence.end)
        self.steps.append(Step(*place, formed=False, valid=False, right=False, kinds=("other",)))
        if left <= len(self.told) - self.at:  # it stands for the step due; otherwise it is extra
            self.at += 1
        self.lost = True

    def _leave_out(self, number: int, start: int) -> None:
        """Note the steps from the one due to this one as left out."""
        for missing in range(self.at, number):
            self.steps.append(Step(missing, start, start, False, False, False, ("other",)))
            self.lost = True

    def _compare(self, number: int, sentence: _Sentence, seen: Seen) -> Step:
        said = self.told[number]
        if said.wordings == CHOICE:
            self.chosen = dict((name, text) for name, _, _, text in seen)["letter"]
        if said.wordings == CONCLUSION and self.lost and self.chosen is not None:
            said = replace(said, slots={"answer": self.chosen})
            self.lost = False
        kinds, also, wrong = self._explain(number, said, seen)
        values = self._values(number, said, seen, wrong)
        valid = None if self.lost and not kinds else not kinds
        if said.wordings == CONCLUSION:
            self.follows = valid
        right = all(value.right for value in values)
        place = (number, sentence.start, sentence.end)
        return Step(*place, True, valid, right, kinds, also, values)

    def _values(self, number: int, said: _Said, seen: Seen, wrong: set[str]) -> tuple[Value, ...]:
        clean = self.clean[number].slots if number < len(self.clean) else {}
        key = {name for decision in said.decisions for name in decision.names}
        return tuple(
            Value(
                name,
                start,
                end,
                key=name in key,
                wrong=name in wrong and text != said.slots[name],
                right=clean.get(name) == text,
            )
            for name, start, end, text in seen
        )

    def _explain(
        self, number: int, said: _Said, seen: Seen
    ) -> tuple[tuple[Kind, ...], tuple[Kind, ...], set[str]]:
        """The kinds of the mistakes of a sentence, other kinds that would do as well, the names of
        its wrong slots; the solver goes on from what the text says.
        """
        if _agreeing(said, seen) == len(seen):
            self.lost = False  # the text is back where the solver is
            return (), (), set()
        if self.lost:
            return (), (), set()
        best, *others = _explanations(self.solver, number, said, seen)
        slips = [n for n, _, _, text in seen if n in best.names and text != said.slots[n]]
        copied = [n for n, _, _, text in seen if text != best.said.slots[n]]
        self._follow(number, best, seen, {*copied})
        first = next((n for n, _, _, text in seen if text != said.slots[n]), None)
        if first in copied and first not in best.names:  # what follows may follow from that
            return ("other",), (), {*copied}
        kinds = tuple(dict.fromkeys([*best.kinds, *(["other"] if copied else [])]))
        also = {kind for other in others for kind in other.kinds} - {*kinds}
        return kinds, tuple(sorted(also)), {*slips, *copied} or {*said.slots}

    def _follow(
        self, number: int, best: "_Explanation", seen: Seen, copied: Container[str]
    ) -> None:
        """Let the solver go on from this step as the text says it, if it can.

        Later steps hang on what is decided, so a wrong copy leads astray only where it stands in
        the place of a decision.
        """
        texts = {name: text for name, _, _, text in seen}
        script = {(number, turn): value for turn, value in best.picks.items()}
        solver = replace(self.solver, script=self.solver.script | script)
        lost = any(name in copied for d in best.said.decisions for name in d.names)
        if copied and texts.keys() & {"rest", "expression"}:
            solver, lost = solver.moved(number, texts), False
        if solver.concludes():
            self.solver, self.told = solver, solver.tell()
            self.lost = lost or best.said.wordings == CHOICE
        else:
            self.lost = True


# --- what could have gone wrong ---------------------------------------------------------------


@dataclass(frozen=True)
class _Explanation:
    """Wrong values of decisions of one step, and what the solver says with them."""

    picks: Mapping[int, Any]  # turn -> value
    kinds: tuple[Kind, ...]
    names: frozenset[str]  # slots where these decisions show
    said: _Said


def _explanations(solver: _Solver, step: int, said: _Said, seen: Seen) -> list[_Explanation]:
    """The explanations of a sentence by the fewest slips that the solver knows.

    Without any: by a value that is none of the solver's, and of the kind of its slot if that is but
    one. Without that: the one that explains most.
    """
    nothing = _Explanation({}, (), frozenset(), said)
    partly = [nothing]
    for candidates in (_listed, _any):
        tried = [nothing]
        for _ in said.decisions:
            tried = [e for t in tried for e in _one_more(solver, step, t, seen, candidates)]
            if full := [e for e in tried if _agreeing(e.said, seen) == len(seen)]:
                return full
            partly += tried
    return [max(partly, key=lambda e: (_agreeing(e.said, seen), -len(e.picks)))]


Candidates = Callable[[_Said, _Decision, Mapping[str, str]], Iterator[tuple[Any, Kind]]]


def _one_more(
    solver: _Solver, step: int, before: _Explanation, seen: Seen, candidates: Candidates
) -> Iterator[_Explanation]:
    """Explanations with one slip more, at a later decision of the step."""
    texts = {name: text for name, _, _, text in seen}
    for decision in before.said.decisions:
        if decision.turn <= max(before.picks, default=-1):
            continue
        for value, kind in candidates(before.said, decision, texts):
            picks = {**before.picks, decision.turn: value}
            told = solver.tell({(step, turn): v for turn, v in picks.items()}, last=step)
            if len(told) > step and told[step].slots.keys() == before.said.slots.keys():
                names = before.names | {*decision.names}
                yield _Explanation(picks, (*before.kinds, kind), names, told[step])


def _is_last(said: _Said, decision: _Decision) -> bool:
    """Whether no later decision of the step shows in the same slots."""
    later = (other for other in said.decisions if other.turn > decision.turn)
    return not any({*decision.names} & {*other.names} for other in later)


def _listed(
    said: _Said, decision: _Decision, texts: Mapping[str, str]
) -> Iterator[tuple[Any, Kind]]:
    """The solver's wrong values; of those that are shown as they are, only what the text shows."""
    shown = tuple(said.slots[name] for name in decision.names)
    wanted = tuple(texts[name] for name in decision.names)
    plain = _is_last(said, decision) and decision.texts(decision.value) == shown
    for value in decision.wrong:
        if not plain or decision.texts(value) == wanted:
            yield value, decision.kind


def _any(said: _Said, decision: _Decision, texts: Mapping[str, str]) -> Iterator[tuple[Any, Kind]]:
    """The same, and the value of the text where it can be read and is none of them."""
    yield from _listed(said, decision, texts)
    if not _is_last(said, decision):
        return
    values = decision.value if len(decision.names) > 1 else (decision.value,)
    read = tuple(
        _like(value, said.slots[name], texts[name])
        for value, name in zip(values, decision.names, strict=True)
    )
    value = read if len(decision.names) > 1 else read[0]
    if None not in read and value != decision.value and value not in decision.wrong:
        kinds = {d.kind for d in said.decisions if {*d.names} & {*decision.names}}
        yield value, decision.kind if len(kinds) == 1 else "other"


def _dated(text: str) -> tuple[int, str]:
    day, month = text.split(" ")
    return int(day), month


_READERS = (str, int, lambda text: tuple(text.split(", ")), _dated, HOURS.get)


def _like(value: Any, shown: str, text: str) -> Any | None:
    """What a text says, read in the way that finds a value in what it is shown as; or None."""
    for reader in _READERS:
        try:
            if reader(shown) == value:
                return reader(text)
        except ValueError:
            continue
    return None
