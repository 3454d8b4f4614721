"""Completions are data: what was asked, what came back, and the store that keeps both.

Every completion lies under a key made of all that decides it, so nothing is asked twice and a
killed run goes on where it stopped. What a puzzle teacher knows about its own mistakes lies in a
table apart, for analysis only.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, fields
from datetime import UTC, datetime
from hashlib import sha256
from operator import attrgetter
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from editlib.errors import KitError

VERSION = 2  # of keys and rows: raise it when the meaning of a stored completion changes


@dataclass(frozen=True)
class Request:
    """One prompt and how to sample its completion; the defaults are the paper's teacher's."""

    prompt: str  # sent as one user message
    temperature: float | None = 0.2  # this, top_p and seed: None leaves it to the teacher
    top_p: float | None = 1.0
    max_tokens: int = 2048
    sample: int = 0  # 0, 1, ...: repeated samples of one prompt
    attempt: int = 0  # 1, 2, ...: asked again, since no answer could be read
    seed: int | None = None


@dataclass(frozen=True)
class Reply:
    """What a teacher gives back; counts are in its own tokens, None where it does not say."""

    text: str
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None
    truth: dict | None = None  # what it knows about its mistakes; kept apart from the completion
    served_model: str | None = None  # the model as the server names it
    cost: float | None = None  # USD; None where the teacher has no prices


@dataclass(frozen=True)
class Lost:
    """A reply that was paid for and cannot be read, or was waited for and never came."""

    teacher: str
    prompt: str
    prompt_tokens: int
    completion_tokens: int
    estimated: bool  # nothing said how many tokens it took
    cost: float | None  # USD


Origin = Literal["asked", "batch", "imported"]
Count = Annotated[int, Field(ge=0, lt=2**31)]


@dataclass(frozen=True)
class Completion:
    """A reply with all that led to it, as it lies in the store."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid", strict=True)

    key: str
    teacher: str
    prompt: str
    text: str
    temperature: float | None
    top_p: float | None
    max_tokens: Count
    sample: Count
    attempt: Count
    seed: int | None
    finish_reason: str
    prompt_tokens: Count | None
    completion_tokens: Count | None
    served_model: str | None
    cost: float | None  # USD, at the prices of that day
    created: str  # UTC, ISO 8601, to the second
    origin: Origin  # an imported one was not paid for here

    @property
    def refused(self) -> bool:
        """Whether a server answered with an HTTP status that leaves the prompt unread for good."""
        return self.finish_reason.startswith("HTTP ")


class BrokenStore(KitError):
    """A completion store that sqlite cannot read or write."""


def completion_key(teacher: str, request: Request) -> str:
    """The name of a completion: a hash over all that decides it."""
    numbers = {"temperature": request.temperature, "top_p": request.top_p}
    as_one = {name: None if value is None else float(value) for name, value in numbers.items()}
    named = {"version": VERSION, "teacher": teacher, **vars(request), **as_one}  # 0 is 0.0
    return sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()


def request_of(completion: Completion) -> Request:
    """What a completion answers."""
    return Request(**{field.name: getattr(completion, field.name) for field in fields(Request)})


def completed(teacher: str, request: Request, reply: Reply, origin: Origin = "asked") -> Completion:
    """The row that keeps a reply, dated now."""
    return Completion(
        key=completion_key(teacher, request),
        teacher=teacher,
        # Half a surrogate pair, which JSON can smuggle in, cannot be written to disk.
        text=reply.text.encode(errors="replace").decode(),
        finish_reason=reply.finish_reason,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        served_model=reply.served_model,
        cost=reply.cost,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        origin=origin,
        **vars(request),
    )


# --- the store ------------------------------------------------------------------------------

_COLUMNS = [field.name for field in fields(Completion)]
_VALUES = attrgetter(*_COLUMNS)
_ROWS, _TRUTHS, _SENT, _FAILED, _READ, _LOST = (
    f"{name}_{VERSION}" for name in ("completions", "truths", "sent", "failed", "read", "lost")
)
_SCHEMA = f"""
    CREATE TABLE IF NOT EXISTS {_ROWS} ({", ".join(_COLUMNS)}, PRIMARY KEY (key));
    CREATE TABLE IF NOT EXISTS {_TRUTHS} (key PRIMARY KEY, truth);
    CREATE TABLE IF NOT EXISTS {_SENT} (key PRIMARY KEY, teacher, request);
    CREATE TABLE IF NOT EXISTS {_FAILED} (key PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS {_READ} (key PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS {_LOST} ({", ".join(Lost.__dataclass_fields__)}, sample DEFAULT 0);
"""
_ADD = f"INSERT OR IGNORE INTO {_ROWS} VALUES ({', '.join('?' * len(_COLUMNS))})"
_GET = "SELECT {} FROM {} WHERE key IN (SELECT value FROM json_each(?))"
_COUNTED = "FILTER (WHERE prompt_tokens IS NOT NULL AND completion_tokens IS NOT NULL)"
_SUMS = f"""
    SELECT count(*) {_COUNTED}, sum(length(prompt)) {_COUNTED}, sum(prompt_tokens) {_COUNTED},
           sum(completion_tokens) {_COUNTED}, total(cost) FILTER (WHERE origin != 'imported')
           + (SELECT total(cost) FROM {_LOST} WHERE teacher = :teacher)
    FROM {_ROWS} WHERE teacher = :teacher
"""


@dataclass(frozen=True)
class Totals:
    """What a store holds of one teacher; all but paid are over rows whose tokens were counted."""

    n: int
    characters: int  # of the prompts
    prompt_tokens: int
    completion_tokens: int
    paid: float  # USD, lost replies included; what was imported cost nothing here


class CompletionStore:
    """Completions in one sqlite file, for all teachers; many processes may share it.

    Every method raises BrokenStore where sqlite cannot do it. One thread at a time may use it.
    sample: which sample of its prompts is being asked for; lost replies are kept apart by it.
    """

    def __init__(self, path: Path, sample: int = 0) -> None:
        self.path, self.sample = path, sample
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._guarded():
            # An endpoint teacher writes from the thread of its event loop while others wait.
            self._db = sqlite3.connect(path, timeout=60, check_same_thread=False)
            # A write-ahead log survives a killed process without waiting for the disk each time.
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(_SCHEMA)
            told = "SELECT 1 FROM pragma_table_info(?) WHERE name = 'sample'"
            if not self._db.execute(told, [_LOST]).fetchone():  # made before there were samples
                self._db.execute(f"ALTER TABLE {_LOST} ADD COLUMN sample DEFAULT 0")

    def add(self, completion: Completion, truth: dict | None = None) -> None:
        """Keep a completion for good, and apart from it what the teacher knows about it."""
        self.add_all([(completion, truth)])

    def add_all(self, rows: Iterable[tuple[Completion, dict | None]]) -> int:
        """Keep completions, all of them or none; how many are new. One that is here stays."""
        new = 0
        with self._guarded(), self._db:
            for completion, truth in rows:
                new += self._db.execute(_ADD, _VALUES(completion)).rowcount
                if truth is not None:
                    row = (completion.key, json.dumps(truth))
                    self._db.execute(f"INSERT OR IGNORE INTO {_TRUTHS} VALUES (?, ?)", row)
        return new

    def get(self, keys: Sequence[str]) -> dict[str, Completion]:
        """Those of the completions that are here, by key."""
        rows = self._select(", ".join(_COLUMNS), _ROWS, keys)
        return {row[0]: Completion(*row) for row in rows}

    def missing(self, keys: Sequence[str]) -> list[str]:
        """Those of the keys that have no completion here, each once, in their order."""
        known = {key for (key,) in self._select("key", _ROWS, keys)}
        return [key for key in dict.fromkeys(keys) if key not in known]

    def truth(self, keys: Sequence[str]) -> dict[str, dict]:
        """What the teacher knows about its completions, by key. For analysis: no stage reads it."""
        return {key: json.loads(truth) for key, truth in self._select("key, truth", _TRUTHS, keys)}

    def rows(self) -> Iterator[tuple[Completion, dict | None]]:
        """All completions by key, each with its truth where there is one."""
        columns = ", ".join(_COLUMNS)
        query = f"SELECT {columns}, truth FROM {_ROWS} LEFT JOIN {_TRUTHS} USING (key) ORDER BY key"
        with self._guarded():
            for *row, truth in self._db.execute(query):
                yield Completion(*row), None if truth is None else json.loads(truth)

    def totals(self, teacher: str) -> Totals:
        """Sums over the rows of one teacher."""
        with self._guarded():
            sums = self._db.execute(_SUMS, {"teacher": teacher}).fetchone()
        return Totals(*(total or 0 for total in sums))

    def note_lost(self, lost: Lost) -> None:
        """Keep for good what was paid for nothing."""
        row = [*astuple(lost), self.sample]
        with self._guarded(), self._db:
            self._db.execute(f"INSERT INTO {_LOST} VALUES ({', '.join('?' * len(row))})", row)

    def lost(self, teacher: str, prompts: Iterable[str]) -> list[Lost]:
        """What was paid for nothing at these prompts, in the sample of this store."""
        columns, among = ", ".join(Lost.__dataclass_fields__), "(SELECT value FROM json_each(?))"
        query = (
            f"SELECT {columns} FROM {_LOST} WHERE teacher = ? AND sample = ? AND prompt IN {among}"
        )
        given = [teacher, self.sample, json.dumps(list(prompts))]
        with self._guarded():
            rows = self._db.execute(query, given).fetchall()
        return [Lost(*row) for row in rows]

    def note_sent(self, teacher: str, requests: Mapping[str, Request]) -> None:
        """Remember by key what went out in a batch file: its results name nothing but the key."""
        rows = [(key, teacher, json.dumps(asdict(request))) for key, request in requests.items()]
        with self._guarded(), self._db:
            self._db.executemany(f"INSERT OR IGNORE INTO {_SENT} VALUES (?, ?, ?)", rows)
            keys = [(key,) for key in requests]
            self._db.executemany(f"DELETE FROM {_FAILED} WHERE key = ?", keys)

    def note_failed(self, lines: Mapping[str, str]) -> None:
        """Remember what a batch service gave back without a completion: digest of a line -> key."""
        with self._guarded(), self._db:
            for table, keys in ((_FAILED, lines.values()), (_READ, lines)):
                rows = [(key,) for key in keys]
                self._db.executemany(f"INSERT OR IGNORE INTO {table} VALUES (?)", rows)

    def failed_before(self, lines: Iterable[str]) -> set[str]:
        """Those of the lines (digests) that note_failed was told of, whatever went out since."""
        return {line for (line,) in self._select("key", _READ, list(lines))}

    def waiting(self, keys: Sequence[str]) -> list[str]:
        """Those of the keys that went out in a batch file of which nothing has come back."""
        sent = {key for (key,) in self._select("key", _SENT, keys)}
        if not sent:
            return []
        failed = {key for (key,) in self._select("key", _FAILED, keys)}
        return [key for key in self.missing(keys) if key in sent - failed]

    def outstanding(self, teacher: str) -> dict[str, Request]:
        """By key, all that went out in batch files for a teacher and of which nothing came back."""
        back = f"SELECT key FROM {_ROWS} UNION ALL SELECT key FROM {_FAILED}"
        query = f"SELECT key, request FROM {_SENT} WHERE teacher = ? AND key NOT IN ({back})"
        with self._guarded():
            rows = self._db.execute(query, [teacher]).fetchall()
        return {key: Request(**json.loads(request)) for key, request in rows}

    def sent(self, keys: Sequence[str]) -> dict[str, tuple[str, Request]]:
        """Teacher and request, by key, of what went out in batch files."""
        rows = self._select("key, teacher, request", _SENT, keys)
        return {key: (teacher, Request(**json.loads(request))) for key, teacher, request in rows}

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> "CompletionStore":
        return self

    def __exit__(self, *problem) -> None:
        self.close()

    def _select(self, columns: str, table: str, keys: Sequence[str]) -> list[tuple]:
        with self._guarded():
            return self._db.execute(_GET.format(columns, table), [json.dumps(keys)]).fetchall()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OverflowError) as error:  # such as a seed that no column holds
            raise BrokenStore(
                f"{self.path} does not work as a completion store ({error}). If no other run is "
                "using it, move it away: what it held is then asked again"
            ) from error
