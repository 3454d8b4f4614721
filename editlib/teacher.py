"""Teachers (prompt text in, completion out), and how they are asked for what the store lacks."""

import json
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Protocol, runtime_checkable

from tqdm import tqdm

from editlib import prompts, puzzles
from editlib.answers import read_answer
from editlib.completions import (
    Completion,
    CompletionStore,
    Reply,
    Request,
    completed,
    completion_key,
    request_of,
)
from editlib.errors import KitError, unknown


class Teacher(Protocol):
    """Anything that completes a prompt. Its name must change with whatever changes its replies."""

    @property
    def name(self) -> str: ...

    def complete(self, request: Request) -> Reply: ...


@runtime_checkable
class ManyTeacher(Protocol):
    """A teacher that is better asked many things at once."""

    @property
    def name(self) -> str: ...

    def complete_many(
        self, requests: Mapping[str, Request], store: CompletionStore, desc: str, known: int
    ) -> None:
        """Add the completion of each request, given by key, to the store as it arrives.

        known: how many more the caller asked for that are stored already. Raises KitError where
        some could not be completed; those that could are in the store.
        """


class UnknownPrompt(KitError):
    """A recorded teacher was asked something that nobody recorded."""


# --- recorded completions -------------------------------------------------------------------


@dataclass(frozen=True)
class RecordedTeacher:
    """Replays one completion a prompt, whatever the sampling settings."""

    name: str
    table: Mapping[str, str]  # prompt -> completion

    def complete(self, request: Request) -> Reply:
        """The recorded text; raises UnknownPrompt where there is none."""
        if request.prompt not in self.table:
            raise UnknownPrompt(
                f"{self.name} has no completion of the prompt that ends in "
                f"{request.prompt[-80:]!r} ({len(self.table)} recorded). It replays prompts "
                "letter for letter: ask with the prompt that was recorded, or another teacher"
            )
        return Reply(self.table[request.prompt], "recorded", None, None)


def replay(rows: Iterable[tuple[Completion, dict | None]], name: str) -> RecordedTeacher:
    """A teacher that replays recorded rows: of each prompt's first sample, the last attempt."""
    table: dict[str, Completion] = {}
    rows = [row for row, _ in rows]
    if len(asked := sorted({f"{row.teacher} (seed {row.seed})" for row in rows})) > 1:
        raise KitError(
            f"{name} holds the completions of {', '.join(asked)}; a replay needs those of one: "
            "export them from a profile that names it"
        )
    for row in rows:
        if row.sample == 0 and (row.prompt not in table or table[row.prompt].attempt < row.attempt):
            table[row.prompt] = row
    digest = sha256("".join(sorted(row.key for row in table.values())).encode()).hexdigest()[:12]
    return RecordedTeacher(f"{name}-{digest}", {row.prompt: row.text for row in table.values()})


# --- the puzzle teacher ---------------------------------------------------------------------

_LAST_BLOCK = re.compile(
    r"Q: (?P<question>.+?)\n"
    r"(?:"
    r"(?:Hint: The correct answer is (?P<hint>[^\n]+)\.\n)?A: Let's think step by step\."
    r"|"
    r"Right Response: (?P<right>.+)\nWrong Response:"
    r")",
    re.DOTALL,
)
_TRIES = 20  # draws of a slip that changes the answer, before a wrong response that does not
_LOST = Reply("I cannot work out what is asked here.", "stop", None, None)


@dataclass(frozen=True)
class PuzzleSettings:
    """How a puzzle teacher reasons; all are probabilities but the seed."""

    error_rates: Mapping[str, float]  # kind of mistake -> that a chain contains one
    paraphrase: float  # that a step is worded another way than usual
    heeds_hint: float  # that it thinks again when its answer differs from the hint
    seed: int


class PuzzleTeacher:
    """Solves puzzles in words, with mistakes at set rates; sees nothing but the prompt's text.

    Only the last block of the prompt is read: blocks are parted by blank lines and puzzles
    contain none. A prompt that asks no puzzle gets a reply without an answer.
    """

    def __init__(self, settings: PuzzleSettings) -> None:
        kinds = {kind for family in puzzles.FAMILIES.values() for kind in family.kinds}
        for kind in settings.error_rates:
            if kind not in kinds:
                raise KitError(unknown("kind of mistake", kind, sorted(kinds)))
        self.settings = settings
        self.name = f"puzzle-{_fingerprint(settings)}"

    def complete(self, request: Request) -> Reply:
        """Counts of tokens are counts of words."""
        asked = _LAST_BLOCK.fullmatch(request.prompt.rpartition("\n\n")[2])
        if asked is None:
            return _LOST
        question, hint, right = asked["question"], asked["hint"], asked["right"]
        try:
            puzzle = puzzles.read_question(question)
        except puzzles.UnknownPuzzle:
            return _LOST
        rng = random.Random(
            f"{self.settings.seed}|{request.temperature}|{request.sample}|{request.prompt}"
        )
        if right is not None:
            solution = self._mislead(puzzle, question, right, rng)
        else:
            solution = self._think(puzzle, question, hint, rng)
        return _reply(request.prompt, solution)

    def _think(
        self, puzzle: puzzles.Puzzle, question: str, hint: str | None, rng: random.Random
    ) -> puzzles.Solution:
        """CEP and AHP: solve with the usual mistakes; a hint may prompt a second, careful try."""
        solution = puzzles.reason(puzzle, self._voice(question, rng), self._slips(puzzle, rng))
        surprised = hint is not None and solution.answer != hint
        if surprised and rng.random() < self.settings.heeds_hint:
            return puzzles.reason(puzzle, self._voice(question, rng))
        return solution

    def _slips(self, puzzle: puzzles.Puzzle, rng: random.Random) -> list[puzzles.Site]:
        """For each kind, at its rate, one of the places where the puzzle allows it."""
        places = _places(puzzle)
        rates = sorted(self.settings.error_rates.items())
        struck = [kind for kind, rate in rates if rng.random() < rate]
        return [rng.choice(places[kind]) for kind in struck if kind in places]

    def _mislead(
        self, puzzle: puzzles.Puzzle, question: str, right: str, rng: random.Random
    ) -> puzzles.Solution:
        """CCP: follow the right response up to one slip that, if possible, changes its answer."""
        places = _places(puzzle)
        for _ in range(_TRIES):
            slip = rng.choice(places[rng.choice(sorted(places))])
            solution = puzzles.reason(puzzle, self._voice(question, rng, like=right), [slip])
            if solution.answer != read_answer(right):
                break
        return solution

    def _voice(self, question: str, rng: random.Random, like: str | None = None) -> puzzles.Voice:
        return puzzles.Voice(question, paraphrase=self.settings.paraphrase, rng=rng, like=like)


def _places(puzzle: puzzles.Puzzle) -> dict[str, list[puzzles.Site]]:
    """Where a mistake of each kind can strike."""
    places: dict[str, list[puzzles.Site]] = {}
    for site in puzzles.sites(puzzle):
        places.setdefault(site.kind, []).append(site)
    return places


def _reply(prompt: str, solution: puzzles.Solution) -> Reply:
    truth = {
        "mistakes": [asdict(mistake) for mistake in solution.mistakes],
        "consequences": [asdict(span) for span in solution.consequences],
    }
    return Reply(solution.text, "stop", len(prompt.split()), len(solution.text.split()), truth)


def _fingerprint(settings: PuzzleSettings) -> str:
    """Of the settings and of the code that turns them into text: either changes the replies."""
    digest = sha256(json.dumps(asdict(settings), sort_keys=True).encode())
    sources = [Path(__file__), *Path(puzzles.__file__).parent.glob("*.py")]
    for source in sorted(sources):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


# --- asking ----------------------------------------------------------------------------------


def ask(
    teacher: Teacher | ManyTeacher, requests: Sequence[Request], store: CompletionStore, desc: str
) -> list[Completion]:
    """The completion of each request, in order; only what the store lacks is asked.

    Each is committed as it arrives. The bar shows after two seconds, so fast teachers are quiet.
    Raises KitError, before any is asked, where a prompt is no text that can be sent.
    """
    keys = [completion_key(teacher.name, request) for request in requests]
    asked = dict(zip(keys, requests, strict=True))
    missing = {key: asked[key] for key in store.missing(keys)}
    _refuse_broken(missing.values())
    if isinstance(teacher, ManyTeacher):
        if missing:
            teacher.complete_many(missing, store, desc, known=len(asked) - len(missing))
    else:
        for request in tqdm(missing.values(), desc=desc, delay=2, leave=False):
            reply = teacher.complete(request)
            store.add(completed(teacher.name, request, reply), reply.truth)
    stored = store.get(keys)  # what is on disk is the fact, even if another process was faster
    return [stored[key] for key in keys]


def _refuse_broken(requests: Iterable[Request]) -> None:
    for request in requests:
        try:
            request.prompt.encode()
        except UnicodeEncodeError as error:
            raise KitError(
                f"the prompt that ends in {request.prompt[-80:]!r} holds half a surrogate pair "
                f"(character {error.start + 1:,}), which cannot be sent or stored; nothing was "
                "asked. Mend the question or the exemplar that it comes from"
            ) from error


def ask_until_read(
    teacher: Teacher | ManyTeacher,
    requests: Sequence[Request],
    store: CompletionStore,
    desc: str,
    attempts: int,
    highest: float,
    answers: Callable[[str], bool] = lambda text: read_answer(text) is not None,
) -> list[list[Completion]]:
    """All attempts at each request, in order; the last one counts.

    What does not answer is asked again, at temperatures that rise in equal steps from the
    request's own (where it names one) to the highest; after so many attempts in all it stays
    unread, as does at once what the server refused. answers: whether a text does, which is given
    up to where the teacher asks itself another question.
    """

    def unanswered(last: Completion) -> bool:
        return not (last.refused or answers(prompts.first_reply(last.text)))

    tried = [[completion] for completion in ask(teacher, requests, store, desc)]
    for attempt in range(1, attempts):
        unread = [tries for tries in tried if unanswered(tries[-1])]
        again = [retried(request_of(tries[0]), attempt, attempts, highest) for tries in unread]
        answered = ask(teacher, again, store, f"{desc}, attempt {attempt + 1}")
        for tries, completion in zip(unread, answered, strict=True):
            tries.append(completion)
    return tried


def retried(request: Request, attempt: int, attempts: int, highest: float) -> Request:
    """The attempt 0, 1, ... of so many at a request, see ask_until_read."""
    if request.temperature is None or not attempt:
        return replace(request, attempt=attempt)
    share = attempt / (attempts - 1)
    temperature = request.temperature + share * (highest - request.temperature)
    return replace(request, attempt=attempt, temperature=round(temperature, 4))
