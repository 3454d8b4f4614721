"""Asking an endpoint teacher, beside the time that its server takes alone, and replaying it."""

import asyncio
import re
import shutil
import socket
import tempfile
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from math import ceil
from multiprocessing import get_context
from pathlib import Path

import pyarrow.parquet as pq
from aiohttp import web

from editlib import benchmarks, dual, pipeline
from editlib.answers import MARKER
from editlib.bench import in_fresh_process, peak_mb, seconds_of
from editlib.completions import CompletionStore, Request, completion_key
from editlib.endpoint import EndpointTeacher
from editlib.profiles import EndpointTeacherSettings
from editlib.records import CoT, Question, write_table
from editlib.workspace import Workspace, open_workspace

REQUESTS, FLIGHT = 20_000, 200  # in all, at once
LATENCY = 0.2  # seconds from a request to its reply
GOAL = 0.9  # share of the ideal
REPLAY_GOAL = 60.0  # seconds
REPLY = {
    "choices": [{"message": {"content": "So the answer is 3."}, "finish_reason": "stop"}],
    "model": "m",
    "usage": {"prompt_tokens": 10, "completion_tokens": 5},
}


def throughput(requests: int = REQUESTS) -> list[dict]:
    """One row: requests, in_flight, latency (s), seconds, ideal (s), share (of the ideal), goal.

    Also mb_before and mb_after: the peak memory of the process after one round of requests, and at
    the end. The server has a process of its own, and all else a second, fresh one.
    """
    with serving(_reply) as url:
        seconds, before, after = in_fresh_process(_asked, url, requests)
    ideal = ceil(requests / FLIGHT) * LATENCY
    row = {"requests": requests, "in_flight": FLIGHT, "latency": LATENCY, "seconds": seconds}
    row |= {"ideal": ideal, "share": ideal / seconds, "goal": GOAL}
    return [row | {"mb_before": before, "mb_after": after}]


def _asked(url: str, number: int) -> tuple[float, float, float]:
    settings = EndpointTeacherSettings(kind="endpoint", model="m", base_url=url, concurrency=FLIGHT)
    teacher = EndpointTeacher(settings)
    asked = [Request(f"question {n}", seed=0) for n in range(FLIGHT + number)]
    keyed = [(completion_key(teacher.name, request), request) for request in asked]
    with (
        tempfile.TemporaryDirectory() as scratch,
        CompletionStore(Path(scratch) / "completions.sqlite") as store,
    ):
        teacher.complete_many(dict(keyed[:FLIGHT]), store, "warm", known=0)
        whole, before = dict(keyed[FLIGHT:]), peak_mb()
        seconds = seconds_of(lambda: teacher.complete_many(whole, store, "bench", known=0))
    return seconds, before, peak_mb()


Handler = Callable[[web.Request], Awaitable[web.Response]]


@contextmanager
def serving(post: Handler, get: Handler | None = None) -> Iterator[str]:
    """The URL of a server, in a process of its own, that answers chat completions by `post`.

    get: what answers a GET of the same address, if anything does.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=FLIGHT) as listening:
        arguments = (listening, post, get)
        process = get_context("spawn").Process(target=_serve, args=arguments, daemon=True)
        process.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    try:
        yield url
    finally:
        process.terminate()
        process.join()


def _serve(listening: socket.socket, post: Handler, get: Handler | None) -> None:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", post)
    if get:
        app.router.add_get("/v1/chat/completions", get)
    web.run_app(app, sock=listening, print=None, access_log=None, backlog=FLIGHT)


def saying(text: str) -> web.Response:
    """A chat completion of this text."""
    message = {"message": {"content": text}, "finish_reason": "stop"}
    return web.json_response(REPLY | {"choices": [message]})


async def _reply(request: web.Request) -> web.Response:
    await asyncio.sleep(LATENCY)
    return web.json_response(REPLY)


# --- BBH once more, from the store ---------------------------------------------------------------


def replay(per_task: int | None = None) -> list[dict]:
    """One row: the chains and pairs of all BBH questions once more, from a store that has them.

    Returns questions, completions (in the store), pairs, seconds, goal (s). CEP, AHP and CCP are
    asked, and CEP and AHP for a second sample. The teacher is a server that is gone before the time
    is taken, so nothing is asked then. It gives the published chain of a question where there is
    one, else the question itself; AHP and CCP end it on another answer. Raises MissingData where
    BBH cannot be had.
    """
    questions = benchmarks.load("bbh", "all", per_task)
    with tempfile.TemporaryDirectory() as scratch:
        with serving(partial(_retell, _told(questions))) as url:
            ws = _replayed(url, scratch)
            _teach(ws, per_task)
        for stage in ("annotation", "duals", "resampling"):
            shutil.rmtree(ws.artifacts / stage)
        seconds = in_fresh_process(_seconds_again, url, scratch, per_task)
        with pipeline.completion_store(ws) as store:
            completions = sum(1 for _ in store.rows())
        pairs = pq.read_metadata(ws.need("duals") / "duals.parquet").num_rows
    row = {"questions": len(questions), "completions": completions, "pairs": pairs}
    return [row | {"seconds": seconds, "goal": REPLAY_GOAL}]


def _replayed(url: str, results: str) -> Workspace:
    """The paper's own run, but for the server, exemplars of the kit's own, and one try a prompt."""
    server = [f"teacher.base_url={url}", "teacher.attempts=1"]
    exemplars = "benchmark.exemplars={kind: own, folder: null}"
    return open_workspace("paper", [*server, exemplars], results)


def _seconds_again(url: str, results: str, per_task: int | None) -> float:
    return seconds_of(partial(_teach, _replayed(url, results), per_task))


def _teach(ws: Workspace, per_task: int | None) -> None:
    ws.stage("annotation", partial(_annotate, ws, per_task))
    pipeline.build_duals(ws)
    pipeline.resample(ws)


def _annotate(ws: Workspace, per_task: int | None, folder: Path) -> None:
    """The stage of notebook 01, for both sides of the split."""
    questions = benchmarks.load("bbh", "all", per_task)
    chains = dual.annotate(questions, pipeline.teacher_chains(ws, questions))
    write_table(folder / "questions.parquet", questions, Question)
    write_table(folder / "cots.parquet", chains, CoT)


def _told(questions: Sequence[Question]) -> dict[str, tuple[str, str, str]]:
    """Of each question text: its chain, its answer, and another answer of its task."""
    published, golds = {}, defaultdict(set)
    for task in benchmarks.codex_tasks():
        published |= benchmarks.codex_completions(task)
    for question in questions:
        golds[question.task].add(question.answer)
    told = {}
    for q in questions:
        chain = published.get(q.id, f"{q.text} So {MARKER} {q.answer}.")
        told[q.text] = chain, q.answer, min(golds[q.task] - {q.answer})
    return told


async def _retell(told: Mapping[str, tuple[str, str, str]], request: web.Request) -> web.Response:
    prompt = (await request.json())["messages"][0]["content"]
    asked = re.split(r"\n(Hint|Right Response|A): ", prompt.rpartition("\n\nQ: ")[2])
    chain, right, wrong = told[asked[0]]
    if asked[1] != "A":
        answer = right if asked[1] == "Hint" else wrong
        chain = f"{chain.rpartition(MARKER)[0]}{MARKER} {answer}."
    return saying(chain)
