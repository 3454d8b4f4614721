"""An endpoint teacher that is killed again and again, and what that loses and costs."""

import asyncio
import json
import os
import random
import signal
import tempfile
import time
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from threading import RLock
from urllib.request import urlopen

from aiohttp import web
from tqdm import tqdm

from editlib.bench.teaching import saying, serving
from editlib.completions import Completion, CompletionStore, Request
from editlib.endpoint import EndpointTeacher
from editlib.profiles import EndpointTeacherSettings
from editlib.teacher import ask

FLIGHT = 8  # requests at once
LATENCY = 0.05  # seconds from a request to its reply
IMPORTING = 0.25  # share of the kills that strike a process that begins with its imports ...
IMPORTS = 2.0  # ... which takes about so many seconds
SO_FAR: Counter[str] = Counter()  # how often each prompt has arrived; of the server's process


def killed(requests: int = 2_000, kills: int = 50, seed: int = 0) -> list[dict]:
    """One row: a run that is killed (SIGKILL) at random moments, and then left to end.

    Returns requests, at_once (in flight at most), kills, lost (completions that were stored before
    a kill and not after it), asked_though_stored, caught (in flight at a kill, over all kills),
    paid_twice (how often a prompt arrived at the server once more), equal (whether the table is
    that of an undisturbed run, but for its times), seconds.
    """
    with tempfile.TemporaryDirectory() as scratch:
        path, whole = Path(scratch) / "killed.sqlite", Path(scratch) / "whole.sqlite"
        with serving(_echo, _arrivals) as url:
            _ask(url, whole, requests)
        with serving(_echo, _arrivals) as url:
            started = time.perf_counter()
            counts = _disturb(url, path, requests, kills, random.Random(seed))
            _ask(url, path, requests)
            seconds = time.perf_counter() - started
            counts["paid_twice"] = _arrived(url).total() - requests
        row = {"requests": requests, "at_once": FLIGHT, **counts}
        return [row | {"equal": _stored(path) == _stored(whole), "seconds": seconds}]


def _disturb(url: str, path: Path, requests: int, kills: int, rng: random.Random) -> Counter:
    """Ask and kill so many times; what came of it."""
    counts = Counter(kills=0, lost=0, asked_though_stored=0, caught=0)
    between = requests / kills / FLIGHT * LATENCY  # seconds of asking, about
    for _ in range(kills):
        before, arrived = _stored(path), _arrived(url)
        asking = None if rng.random() < IMPORTING else between
        counts["kills"] += _kill(url, path, requests, rng, asking)
        after, came = _stored(path), _settled(url) - arrived
        counts["lost"] += len(before.items() - after.items())
        counts["asked_though_stored"] += len(before.keys() & came.keys())
        counts["caught"] += len(came.keys() - after.keys())
    return counts


def _kill(url: str, path: Path, requests: int, rng: random.Random, asking: float | None) -> bool:
    """Start asking, and kill that at a random moment; whether it was still at it.

    asking: about how long it is to ask before; None: kill it while it imports.
    """
    context = get_context("spawn" if asking is None else "forkserver")
    context.set_forkserver_preload([__name__])
    process, arrived = context.Process(target=_ask, args=(url, path, requests)), _arrived(url)
    process.start()
    while asking is not None and process.is_alive() and _arrived(url) == arrived:
        time.sleep(0.005)
    time.sleep(rng.uniform(0, IMPORTS if asking is None else 2 * asking))
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def _ask(url: str, path: Path, requests: int) -> None:
    tqdm.set_lock(RLock())  # its own is one of all processes, and outlives those that are killed
    settings = EndpointTeacherSettings(kind="endpoint", model="m", base_url=url, concurrency=FLIGHT)
    with (
        CompletionStore(path) as store,
        open(os.devnull, "w") as quiet,
        redirect_stdout(quiet),
        redirect_stderr(quiet),
    ):
        asked = [Request(f"question {n}") for n in range(requests)]
        ask(EndpointTeacher(settings), asked, store, "kills")


def _stored(path: Path) -> dict[str, Completion]:
    with CompletionStore(path) as store:
        return {row.prompt: replace(row, created="") for row, _ in store.rows()}


# --- the server, in a process of its own --------------------------------------------------------


async def _echo(request: web.Request) -> web.Response:
    prompt = (await request.json())["messages"][0]["content"]
    SO_FAR[prompt] += 1
    await asyncio.sleep(LATENCY)
    return saying(f"{prompt}: the answer is 3.")


async def _arrivals(request: web.Request) -> web.Response:
    return web.json_response(SO_FAR)


def _arrived(url: str) -> Counter:
    """How often each prompt has arrived so far."""
    with urlopen(f"{url}/chat/completions", timeout=60) as reply:
        return Counter(json.load(reply))


def _settled(url: str) -> Counter:
    """The same, once what a killed process has sent is through."""
    before, now = None, _arrived(url)
    while before != now:
        time.sleep(2 * LATENCY)
        before, now = now, _arrived(url)
    return now
