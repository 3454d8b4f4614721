"""A teacher behind an OpenAI-compatible server: many requests at once, within a budget."""

import gc
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import anyio
import anyio.lowlevel
import openai
from anyio.from_thread import start_blocking_portal
from tqdm import tqdm

from editlib import chat
from editlib.batch_files import refuse_waiting, reserved
from editlib.completions import (
    Completion,
    CompletionStore,
    Lost,
    Reply,
    Request,
    Totals,
    completed,
)
from editlib.errors import KitError
from editlib.profiles import EndpointTeacherSettings

_COMPLETION = 300  # tokens of a chain of thought, before any is counted
_OBJECTS = 20_000  # new ones, after which Python looks for cycles; its own setting is 700
_NEVER_THE_PROMPTS = ("HTTP 401", "HTTP 403", "HTTP 404", "HTTP 429")  # whatever is asked
_LEFT_UNREAD = (
    "Prompts that are refused for good (too long, filtered) may be left unread: list their HTTP "
    "status in teacher.unanswerable"
)
_HOPELESS = (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)


class TeacherStopped(KitError):
    """An endpoint teacher did not complete all requests; what it completed is stored."""


class BudgetReached(TeacherStopped):
    """The next request could cost more than is left of teacher.budget."""


class EndpointTeacher:
    """A model on a server; its name is that of the model, wherever it is served."""

    def __init__(self, settings: EndpointTeacherSettings) -> None:
        chat.check(settings)
        self.settings = settings
        self.name = settings.model

    def complete_many(
        self, requests: Mapping[str, Request], store: CompletionStore, desc: str, known: int
    ) -> None:
        """See ManyTeacher; prints a plan first and a summary of tokens, cost and faults last.

        Raises BudgetReached, TeacherStopped with the number of failed requests by kind, or
        BatchWaiting where a batch file holds some of them.
        """
        refuse_waiting(self.settings, requests, store, desc)
        totals = store.totals(self.name)
        print(plan(self.settings, requests.values(), known, totals, desc))
        waiting = reserved(self.settings, requests, store)
        run = _Run(self, store, len(requests), totals.paid, waiting, desc)
        # Notebooks already run an event loop: this one has a thread of its own.
        with start_blocking_portal() as portal:
            portal.call(run.complete, requests)
        print(run.summary())
        run.finish()


# --- before the first call ------------------------------------------------------------------


def plan(
    settings: EndpointTeacherSettings,
    requests: Collection[Request],
    known: int,
    totals: Totals,
    desc: str,
) -> str:
    """How much is left to ask, about how many tokens that takes, and what it costs (USD)."""
    characters = sum(len(request.prompt) for request in requests)
    rate = totals.prompt_tokens / totals.characters if totals.n else 1 / chat.CHARACTERS
    prompt = characters * rate
    each = totals.completion_tokens / totals.n if totals.n else _COMPLETION
    most = sum(request.max_tokens for request in requests)
    completion = min(each * len(requests), most)
    lines = [
        f"{desc}: {known + len(requests):,} prompts for {settings.model}, {known:,} already "
        f"answered, {len(requests):,} to ask",
        f"  about {prompt:,.0f} prompt and {completion:,.0f} completion tokens (at most {most:,})",
    ]
    if settings.prices:
        about, worst = (chat.cost(settings.prices, prompt, n) for n in (completion, most))
        ceiling = f"ceiling {settings.budget:g} USD" if settings.budget else "no ceiling"
        lines.append(
            f"  about {about:.2f} USD (at most {worst:.2f}), {totals.paid:.2f} paid before, "
            f"{ceiling} (teacher.budget)"
        )
    return "\n".join(lines)


# --- the run --------------------------------------------------------------------------------


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """Python looks for reference cycles less often, which takes a tenth of the time of a request.

    Each look goes through new objects, of which a request makes hundreds and leaves next to none.
    """
    before = gc.get_threshold()
    gc.set_threshold(_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _Run:
    """One go at some requests: what is in flight, what it cost, and what went wrong."""

    def __init__(
        self,
        teacher: EndpointTeacher,
        store: CompletionStore,
        n: int,
        paid: float,
        waiting: float,
        desc: str,
    ) -> None:
        self.teacher, self.settings, self.store = teacher, teacher.settings, store
        self.paid, self.before = paid, paid  # USD
        self.waiting = waiting  # USD that batch files may still cost
        self.reserved, self.flying = 0.0, 0  # USD that what is in flight may cost at most; how many
        self.tokens = Counter()
        self.faults, self.failed = Counter(), Counter()  # tries and requests, by kind
        self.answered = 0
        self.lost: list[Lost] = []
        self.row = 0  # requests that failed since one was answered
        self.example = ""
        self.stopped: KitError | bool = False  # True: given up, see _complaint
        self.bar = tqdm(total=n, desc=desc, unit=" completions", leave=False)

    async def complete(self, requests: Mapping[str, Request]) -> None:
        """As many workers as may be in flight share one iterator: nothing queues up."""
        self.landed = anyio.Condition()
        todo = iter(requests.items())
        workers = min(self.settings.concurrency, len(requests))
        with self.bar, _seldom_collecting():
            async with (
                chat.client(self.settings, self.faults, self._lose) as client,
                anyio.create_task_group() as group,
            ):
                for _ in range(workers):
                    group.start_soon(self._work, client, todo)
                    await anyio.lowlevel.checkpoint()  # the first has asked before the last is made

    async def _work(self, client: openai.AsyncOpenAI, todo: Iterator[tuple[str, Request]]) -> None:
        for key, request in todo:
            most = chat.highest_cost(self.settings, request)
            if not await self._may_spend(most):
                return
            try:
                await self._one(client, request, key)
            finally:
                await self._land(most)

    async def _one(self, client: openai.AsyncOpenAI, request: Request, key: str) -> None:
        asked = chat.body(self.settings, request, key)
        try:
            answer = await chat.complete(client, asked)
        except openai.OpenAIError as error:
            if getattr(error, "status_code", None) in self.settings.unanswerable:
                self._keep(request, Reply("", chat.kind(error), None, None))
            else:
                self._failed(error)
        except KitError as error:  # no money for another try, or no room to note a lost one
            self.stopped = self.stopped or error
        else:
            self._keep(request, chat.reply_of(self.settings, answer, request.prompt))

    def _keep(self, request: Request, reply: Reply) -> None:
        row = completed(self.teacher.name, request, reply)
        try:
            self.store.add(row)
        except KitError as error:  # the disk is full, say: no use in paying for more
            self.stopped = error
        else:
            self._count(row)

    def _count(self, row: Completion) -> None:
        self.answered, self.row = self.answered + 1, 0
        self._spend(row.prompt_tokens, row.completion_tokens, row.cost)
        if row.finish_reason != "stop":
            if not row.refused:  # whose status was counted when it came
                self.faults[f"finish reason {row.finish_reason}"] += 1
        elif not row.text:
            self.faults["empty reply"] += 1
        self.bar.set_postfix_str(self._spent(), refresh=False)
        self.bar.update()

    def _failed(self, error: openai.OpenAIError) -> None:
        self.failed[chat.kind(error)] += 1
        self.example = self.example or chat.without_key(self.settings, chat.reason(error))[:500]
        self.row += 1
        if isinstance(error, _HOPELESS) or self.row >= max(10, self.settings.concurrency):
            self.stopped = self.stopped or True

    # --- money

    def _spend(self, prompt: int | None, completion: int | None, cost: float | None) -> None:
        self.tokens["prompt"] += prompt or 0
        self.tokens["text"] += completion or 0
        self.paid += cost or 0.0

    def _lose(self, asked: dict, body: bytes | None) -> None:
        """Note what a lost reply cost; raises BudgetReached where that leaves too little."""
        lost = chat.lost(self.teacher.name, self.settings, asked, body)
        self.store.note_lost(lost)
        self.lost.append(lost)
        self._spend(lost.prompt_tokens, lost.completion_tokens, lost.cost)
        if self._beyond_budget(self.reserved):
            raise BudgetReached(self._out_of_money(self.reserved))

    def _beyond_budget(self, more: float) -> bool:
        budget = self.settings.budget
        return budget is not None and self.paid + self.waiting + more > budget

    async def _may_spend(self, most: float) -> bool:
        """Reserve what a request may cost, waiting for others to land; False: stop here."""
        if self.settings.budget is None:
            return not self.stopped
        async with self.landed:
            while self.flying and self._beyond_budget(self.reserved + most) and not self.stopped:
                await self.landed.wait()
            if self._beyond_budget(most) and not self.stopped:
                self.stopped = BudgetReached(self._out_of_money(most))
            if self.stopped:
                return False
            self.reserved += most
            self.flying += 1
            return True

    async def _land(self, most: float) -> None:
        if self.settings.budget is None:
            return
        with anyio.CancelScope(shield=True):
            async with self.landed:
                self.reserved -= most
                self.flying -= 1
                self.landed.notify_all()

    # --- words

    def _spent(self) -> str:
        words = f"{self.tokens['prompt']:,} + {self.tokens['text']:,} tokens"
        return words + (f", {self.paid - self.before:.4f} USD" if self.settings.prices else "")

    def summary(self) -> str:
        """What was answered, failed and spent, and each fault that was met on the way."""
        failed = sum(self.failed.values())
        line = (
            f"{self.teacher.name}: {self.answered:,} answered, {failed:,} failed; {self._spent()}"
        )
        if self.lost:
            line += f"; of these {_wasted(self.lost)}"
        return line + (f"; faults on the way: {_counts(self.faults)}" if self.faults else "")

    def finish(self) -> None:
        """Raises TeacherStopped where a request has no completion, saying how to go on."""
        if isinstance(self.stopped, KitError):
            raise self.stopped
        if self.failed:
            raise TeacherStopped(self._complaint())

    def _complaint(self) -> str:
        settings = self.settings
        key = "" if chat.has_key(settings) else f" The variable {settings.key_variable} is not set."
        refused = ". " + _LEFT_UNREAD if any(map(_may_be_the_prompts, self.failed)) else ""
        return (
            f"{self.teacher.name} at {settings.base_url} left {sum(self.failed.values()):,} "
            f"requests unanswered ({_counts(self.failed)}), the first with: {self.example}.{key} "
            f"{self.answered:,} were answered and are stored. Run again: only what is missing is "
            f"asked{refused}"
        )

    def _out_of_money(self, most: float) -> str:
        waiting = f", batch files may still cost {self.waiting:.4f}" if self.waiting else ""
        return (
            f"teacher.budget is {self.settings.budget:g} USD, {self.paid:.4f} are spent{waiting} "
            f"and what comes next may cost {most:.4f}. What was answered is stored. To go on, "
            "raise teacher.budget and run again: only what is missing is asked"
        )


def _may_be_the_prompts(kind: str) -> bool:
    return bool(re.fullmatch(r"HTTP 4\d\d", kind)) and kind not in _NEVER_THE_PROMPTS


def _wasted(lost: Collection[Lost]) -> str:
    prompt = sum(each.prompt_tokens for each in lost)
    text = sum(each.completion_tokens for each in lost)
    cost = sum(each.cost or 0.0 for each in lost)
    guessed = sum(each.estimated for each in lost)
    return (
        f"{prompt:,} + {text:,} tokens{f', {cost:.4f} USD' if cost else ''} for {len(lost):,} "
        f"replies that were lost ({guessed:,} by estimate)"
    )


def _counts(counts: Counter) -> str:
    return ", ".join(f"{name} x{n:,}" for name, n in counts.most_common())
