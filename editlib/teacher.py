"""Teachers (prompt text in, completion out) and the store that keeps what they answered.

Every completion is kept under a key made of all that decides it, so nothing is asked twice and
a killed run goes on where it stopped. What a puzzle teacher knows about its own mistakes lies in
a table apart, for analysis only.
"""

import json
import random
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from editlib import puzzles
from editlib.answers import read_answer
from editlib.errors import KitError, unknown

_KEY_VERSION = 1  # raise when the meaning of a stored completion changes


@dataclass(frozen=True)
class Request:
    """One prompt and how to sample its completion; the defaults are the paper's teacher's."""

    prompt: str
    temperature: float = 0.2
    top_p: float = 1.0
    max_tokens: int = 2048
    sample: int = 0  # 0, 1, ...: repeated samples of one prompt


@dataclass(frozen=True)
class Reply:
    """What a teacher gives back; counts are in its own tokens, None where it does not say."""

    text: str
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None
    truth: dict | None = None  # what it knows about its mistakes; kept apart from the completion


@dataclass(frozen=True)
class Completion:
    """A reply with all that led to it, as it lies in the store."""

    key: str
    teacher: str
    prompt: str
    text: str
    temperature: float
    top_p: float
    max_tokens: int
    sample: int
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None


class Teacher(Protocol):
    """Anything that completes a prompt. Its name must change with whatever changes its replies."""

    @property
    def name(self) -> str: ...

    def complete(self, request: Request) -> Reply: ...


class UnknownPrompt(KitError):
    """A recorded teacher was asked something that nobody recorded."""


class BrokenStore(KitError):
    """A completion store that sqlite cannot read or write."""


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


# --- the completion store -------------------------------------------------------------------

_COLUMNS = [field.name for field in fields(Completion)]
_SCHEMA = f"""
    CREATE TABLE IF NOT EXISTS completions ({", ".join(_COLUMNS)}, PRIMARY KEY (key));
    CREATE TABLE IF NOT EXISTS truths (key PRIMARY KEY, truth);
"""
_ADD = f"INSERT OR IGNORE INTO completions VALUES ({', '.join('?' * len(_COLUMNS))})"
_GET = "SELECT {} FROM {} WHERE key IN (SELECT value FROM json_each(?))"


class CompletionStore:
    """Completions in one sqlite file, for all teachers; many processes may share it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._guarded():
            self._db = sqlite3.connect(path, timeout=60)
            # A write-ahead log survives a killed process without waiting for the disk each time.
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(_SCHEMA)

    def add(self, completion: Completion, truth: dict | None = None) -> None:
        """Keep a completion for good, and apart from it what the teacher knows about it."""
        with self._guarded(), self._db:
            self._db.execute(_ADD, astuple(completion))
            if truth is not None:
                row = (completion.key, json.dumps(truth))
                self._db.execute("INSERT OR IGNORE INTO truths VALUES (?, ?)", row)

    def get(self, keys: Sequence[str]) -> dict[str, Completion]:
        """Those of the completions that are here, by key."""
        rows = self._select(", ".join(_COLUMNS), "completions", keys)
        return {row[0]: Completion(*row) for row in rows}

    def truth(self, keys: Sequence[str]) -> dict[str, dict]:
        """What the teacher knows about its completions, by key. For analysis: no stage reads it."""
        return {key: json.loads(truth) for key, truth in self._select("key, truth", "truths", keys)}

    def close(self) -> None:
        self._db.close()

    def _select(self, columns: str, table: str, keys: Sequence[str]) -> list[tuple]:
        with self._guarded():
            return self._db.execute(_GET.format(columns, table), [json.dumps(keys)]).fetchall()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise BrokenStore(
                f"{self.path} does not work as a completion store ({error}). If no other run is "
                "using it, move it away: what it held is then asked again"
            ) from error


def completion_key(teacher: str, request: Request) -> str:
    """The name of a completion: a hash over all that decides it."""
    named = {"version": _KEY_VERSION, "teacher": teacher, **asdict(request)}
    return sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()


def ask(
    teacher: Teacher, requests: Sequence[Request], store: CompletionStore, desc: str
) -> list[Completion]:
    """The completion of each request, in order; only what the store lacks is asked.

    Each is committed as it arrives. The bar shows after two seconds, so fast teachers are quiet.
    """
    keys = [completion_key(teacher.name, request) for request in requests]
    known = store.get(keys)
    missing = {k: request for k, request in zip(keys, requests, strict=True) if k not in known}
    for key, request in tqdm(missing.items(), desc=desc, delay=2, leave=False):
        reply = teacher.complete(request)
        store.add(_completion(key, teacher.name, request, reply), reply.truth)
    stored = store.get(keys)  # what is on disk is the fact, even if another process was faster
    return [stored[key] for key in keys]


def _completion(key: str, teacher: str, request: Request, reply: Reply) -> Completion:
    return Completion(
        key=key,
        teacher=teacher,
        # Half a surrogate pair, which JSON can smuggle in, cannot be written to disk.
        text=reply.text.encode(errors="replace").decode(),
        finish_reason=reply.finish_reason,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        **asdict(request),
    )
