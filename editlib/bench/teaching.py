"""Asking an endpoint teacher, beside the time that its server takes alone."""

import asyncio
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from math import ceil
from multiprocessing import get_context
from pathlib import Path

from aiohttp import web

from editlib.bench import in_fresh_process, peak_mb, seconds_of
from editlib.completions import CompletionStore, Request, completion_key
from editlib.endpoint import EndpointTeacher
from editlib.profiles import EndpointTeacherSettings

REQUESTS, FLIGHT = 20_000, 200  # in all, at once
LATENCY = 0.2  # seconds from a request to its reply
GOAL = 0.9  # share of the ideal
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


async def _reply(request: web.Request) -> web.Response:
    await asyncio.sleep(LATENCY)
    return web.json_response(REPLY)
