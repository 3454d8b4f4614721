"""Batch files: requests written for a provider's batch service, and its results read back.

Large providers answer them within a day at half the price. A request carries its key as
custom_id, so that results find their way into the same store in any order.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from itertools import accumulate
from pathlib import Path

from editlib import chat
from editlib.completions import (
    Completion,
    CompletionStore,
    Lost,
    Reply,
    Request,
    completed,
    completion_key,
)
from editlib.completions.exchange import BadLine, each
from editlib.errors import KitError
from editlib.profiles import EndpointTeacherSettings
from editlib.records import atomic_write

URL = "/v1/chat/completions"
SHARE = 0.5  # of the usual price


class BatchWaiting(KitError):
    """What is missing was written before, and may be answered by now."""


class BatchOverBudget(KitError):
    """What is left of the budget may not pay for one more request."""


class BatchWritten(KitError):
    """Nothing was asked: what is missing stands in a batch file."""


@dataclass(frozen=True)
class BatchWriter:
    """Stands in for an endpoint teacher, under its name; writes what it would be asked."""

    settings: EndpointTeacherSettings

    @property
    def name(self) -> str:
        return self.settings.model

    def complete_many(
        self, requests: Mapping[str, Request], store: CompletionStore, desc: str, known: int
    ) -> None:
        """Write settings.batch_file and raise BatchWritten, since nothing is completed yet.

        Only as many requests are written as cannot cost more than is left of settings.budget,
        beside what waits in earlier files; raises BatchOverBudget where that is none, and
        BatchWaiting where an earlier file holds some and settings.batch_again is not set.
        """
        path = self.settings.batch_file
        refuse_waiting(self.settings, requests, store, desc)
        waiting = reserved(self.settings, requests, store)
        chosen = self._affordable(requests, store.totals(self.name).paid, waiting)
        store.note_sent(self.name, chosen)
        rows = (json.dumps(self._row(key, request)) + "\n" for key, request in chosen.items())
        atomic_write(path, lambda temporary: temporary.write_text("".join(rows), encoding="utf-8"))
        left = len(requests) - len(chosen)
        later = f"; {left:,} are left for later, as teacher.budget may not reach" if left else ""
        raise BatchWritten(
            f"{path} holds {len(chosen):,} requests ({desc}; {known:,} more are answered{later}). "
            "Send it to the batch service, fetch its results and errors, and read them with "
            "python -m editlib.completions batch-read"
        )

    def _affordable(
        self, requests: Mapping[str, Request], paid: float, waiting: float
    ) -> dict[str, Request]:
        """The first requests, as many as cannot cost more than is left of the budget."""
        if self.settings.budget is None:
            return dict(requests)
        costs = (SHARE * chat.highest_cost(self.settings, each) for each in requests.values())
        spent = accumulate(costs, initial=paid + waiting)
        next(spent)
        chosen = {
            key: request
            for (key, request), total in zip(requests.items(), spent, strict=True)
            if total <= self.settings.budget
        }
        if not chosen:
            raise BatchOverBudget(
                f"teacher.budget is {self.settings.budget:g} USD, {paid:.4f} are spent, what waits "
                f"in earlier batch files may cost {waiting:.4f}, and no further request is sure to "
                "cost less than what is left. Nothing was written; read the results of those "
                "files, or raise teacher.budget, to go on"
            )
        return chosen

    def _row(self, key: str, request: Request) -> dict:
        body = chat.body(self.settings, request, key)
        return {"custom_id": key, "method": "POST", "url": URL, "body": body}


def refuse_waiting(
    settings: EndpointTeacherSettings,
    requests: Collection[str],
    store: CompletionStore,
    desc: str,
) -> None:
    """Raises BatchWaiting where some of the requests (keys) would be paid for a second time."""
    waiting = store.waiting(list(requests))
    if waiting and not settings.batch_again:
        raise BatchWaiting(
            f"{len(waiting):,} of {len(requests):,} requests ({desc}) stand in an earlier batch "
            "file; nothing was asked. Read the results of that file first; if it was never sent or "
            "has expired, ask all the same with teacher.batch_again=true (batch-write: --again)"
        )


def reserved(
    settings: EndpointTeacherSettings, requests: Collection[str], store: CompletionStore
) -> float:
    """The most that batch files may still cost, USD, without the requests (keys); 0 unpriced."""
    waiting = store.outstanding(settings.model)
    others = [request for key, request in waiting.items() if key not in requests]
    return SHARE * sum(chat.highest_cost(settings, request) for request in others)


@dataclass(frozen=True)
class BatchRead:
    """What a file of results brought, in lines."""

    new: int
    known: int  # failures that were read before, and completions that were in the store already
    failed: int  # requests without a completion: they are asked again
    example: str  # of a failure
    bad: tuple[BadLine, ...]  # lines that cannot be used


def read_results(
    store: CompletionStore, path: Path, settings: EndpointTeacherSettings
) -> BatchRead:
    """Add the completions of a result or error file to a store.

    Lines that are no results, or answer what this store never sent, are counted as bad. A result
    that is no chat completion was paid for and has failed. A failure that is read once more costs
    nothing, and says nothing of a later batch. Raises BadLine if there is no such file.
    """
    bad: list[BadLine] = []
    read = list(each(path, partial(_digested, store, settings), bad))
    rows = [found for _, found in read if isinstance(found, Completion)]
    failed = {line: found for line, found in read if isinstance(found, Failure)}
    for line in store.failed_before(failed):
        del failed[line]
    new = store.add_all((row, None) for row in rows)
    _note(store, failed)
    example = next((failure.reason for failure in failed.values()), "")
    return BatchRead(new, len(read) - new - len(failed), len(failed), example, tuple(bad))


@dataclass(frozen=True)
class Failure:
    """A request that the service did not complete."""

    key: str
    reason: str  # as the service says it
    lost: Lost | None = None  # what it was paid all the same


def _note(store: CompletionStore, failed: Mapping[str, Failure]) -> None:
    for failure in failed.values():
        if failure.lost:
            store.note_lost(failure.lost)
    store.note_failed({line: failure.key for line, failure in failed.items()})


def _digested(
    store: CompletionStore, settings: EndpointTeacherSettings, line: dict, where: str
) -> tuple[str, Completion | Failure]:
    digest = sha256(json.dumps(line, sort_keys=True).encode()).hexdigest()
    return digest, _result(store, settings, line, where)


def _result(
    store: CompletionStore, settings: EndpointTeacherSettings, line: dict, where: str
) -> Completion | Failure:
    key = line.get("custom_id")
    if not isinstance(key, str):
        raise BadLine(f"{where}: no custom_id, expected a line of a batch result file")
    found = store.sent([key]).get(key)
    if found is None:
        raise BadLine(f"{where}: custom_id {key!r} was not sent from the store {store.path}")
    response = line.get("response") or {}
    if not {"response", "error"} & line.keys() or not isinstance(response, dict):
        raise BadLine(f"{where}: no response and no error, expected a line of a batch result file")
    status = response.get("status_code")
    if status in settings.unanswerable:
        return completed(*found, Reply("", f"HTTP {status}", None, None), origin="batch")
    if line.get("error") or status != 200:
        said = json.dumps(line.get("error") or response)
        return Failure(key, chat.without_key(settings, said)[:300])
    return _completion(*found, response.get("body"), settings, where)


def _completion(
    teacher: str, request: Request, body: object, settings: EndpointTeacherSettings, where: str
) -> Completion | Failure:
    said = json.dumps(body).encode()
    answer = chat.read(chat.Answer, said)
    if answer is None:
        key = completion_key(teacher, request)
        lost = chat.lost(teacher, settings, chat.body(settings, request, key), said)
        reason = f"{where}: its body is not a chat completion"
        return Failure(key, reason, replace(lost, cost=_at_a_share(lost.cost)))
    reply = chat.reply_of(settings, answer, request.prompt)
    return completed(teacher, request, replace(reply, cost=_at_a_share(reply.cost)), origin="batch")


def _at_a_share(cost: float | None) -> float | None:
    return None if cost is None else SHARE * cost
