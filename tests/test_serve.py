"""The endpoint teacher against a server of another's making: `transformers serve`."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import replace

import pytest

from editlib.completions import CompletionStore, Request
from editlib.endpoint import EndpointTeacher
from editlib.local_teacher import LocalTeacher
from editlib.profiles import EndpointTeacherSettings, LocalTeacherSettings
from editlib.teacher import ask


@pytest.fixture(scope="module")
def url(model_folder, tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(model_folder)]
    log = tmp_path_factory.mktemp("serve") / "log"
    with log.open("w") as file:
        server = subprocess.Popen(
            [*command, *where],
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
            stdout=file,
            stderr=file,
            cwd=log.parent,
        )
    try:
        _wait(f"http://127.0.0.1:{port}/health", server, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(30)


def _wait(url, server, log):
    until = time.monotonic() + 300  # a busy machine takes long to load torch
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(url, timeout=5)
            return
        except (urllib.error.URLError, ConnectionError):
            assert server.poll() is None, log.read_text()
            time.sleep(0.1)
    raise AssertionError(f"no server after five minutes: {log.read_text()}")


@pytest.fixture
def teacher(url, model_folder):
    return EndpointTeacher(
        EndpointTeacherSettings(
            kind="endpoint", model=str(model_folder), base_url=url, concurrency=3
        )
    )


@pytest.fixture
def store(tmp_path):
    with CompletionStore(tmp_path / "completions.sqlite") as store:
        yield store


REQUESTS = [Request(f"{n} plus 2 is", max_tokens=8, seed=0) for n in (3, 4, 7, 8)]


def test_it_answers_and_is_asked_once(teacher, store, capsys):
    rows = ask(teacher, REQUESTS, store, "CEP")
    assert ask(teacher, REQUESTS, store, "CEP") == rows
    assert capsys.readouterr().out.count("4 answered, 0 failed") == 1
    for row in rows:
        assert row.finish_reason in ("stop", "length")
        assert row.prompt_tokens == 8 and 0 < row.completion_tokens <= 8
        assert "tiny-chat" in row.served_model


def test_greedily_it_says_what_the_local_teacher_says(teacher, model_folder, store):
    local = LocalTeacher(LocalTeacherSettings(kind="local", model=str(model_folder)))
    greedy = [replace(request, temperature=0) for request in REQUESTS]
    there, here = (ask(each, greedy, store, "ask") for each in (teacher, local))
    assert [row.text.split() for row in there] == [row.text.split() for row in here]
