"""A chat completion server on loopback that misbehaves by script."""

import gzip
import json
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ECHO = "So the answer is {}."


def completion(text, finish="stop", **message):
    return {
        "id": "chat-1",
        "object": "chat.completion",
        "model": "served-1",
        "choices": [{"index": 0, "finish_reason": finish, "message": {"content": text} | message}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


class Loopback(ThreadingHTTPServer):
    """script: (prompt, arrivals of it so far) -> a way to answer, see Handler.reply."""

    daemon_threads = True
    request_queue_size = 1000

    def __init__(self, script):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.lock = script, threading.Lock()
        self.arrivals, self.bodies, self.keys = Counter(), [], []
        self.released = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request, client_address):
        """A client that was killed, or gave up waiting, is no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        prompt, server = body["messages"][0]["content"], self.server
        with server.lock:
            before = server.arrivals[prompt]
            server.arrivals[prompt] += 1
            server.bodies.append(body)
            server.keys.append(self.headers["authorization"])
        self.reply(server.script(prompt, before), prompt)

    def do_GET(self):
        self.send(200, b"<html>sign in</html>")

    def reply(self, way, prompt):
        if way == "stall":
            self.server.released.wait(60)
            self.close_connection = True
        elif way == "hang up":
            self.close_connection = True
        elif way == "cut":
            self.head(200, 1000)
            self.wfile.write(b'{"choices"')
            self.close_connection = True
        elif way == "drip":
            self.head(200, 1000)
            while not self.server.released.wait(0.1):
                self.wfile.write(b" ")
            self.close_connection = True
        elif way == "broken JSON":
            self.send(200, b'{"choices": [')
        elif way == "no choice":
            self.send(200, completion("") | {"choices": []})
        elif way == "page":
            self.send(200, b"<html>sign in</html>")
        elif way == "packed":
            packed = gzip.compress(json.dumps(completion(ECHO.format(prompt))).encode())
            self.send(200, packed, **{"Content-Encoding": "gzip"})
        elif way == "badly packed":
            self.send(200, b"no gzip at all", **{"Content-Encoding": "gzip"})
        elif way == "moved":
            self.send(307, b"", Location=f"{self.server.url}/elsewhere")
        elif way == "round":
            self.send(307, b"", Location=f"{self.server.url}/chat/completions")
        elif way == "no port":
            self.send(307, b"", Location="http://127.0.0.1:port/v1")
        elif way == "nowhere":
            self.send(307, b"")
        elif way == "sign in":
            self.send(302, b"", Location=f"{self.server.url}/sign-in")
        elif way == "quoted key":
            key = self.headers["authorization"].removeprefix("Bearer ")
            self.send(200, completion(key, finish=key) | {"model": key})
        elif way == "key for choices":
            key = self.headers["authorization"].removeprefix("Bearer ")
            self.send(200, {"choices": key, "usage": key})
        elif way == "nothing":
            self.send(200, completion(None))
        elif way == "refusal":
            self.send(200, completion(None, refusal="I will not."))
        elif way == "length":
            self.send(200, completion("It goes on and", "length"))
        elif way == "no marker":
            self.send(200, completion("It is hard to say."))
        elif way == "uncounted":
            self.send(200, completion(ECHO.format(prompt)) | {"usage": None})
        elif isinstance(way, bytes):
            self.send(200, way)
        elif isinstance(way, dict):
            self.send(200, completion(ECHO.format(prompt)) | way)
        elif isinstance(way, int):
            said = {"error": {"message": f"key {self.headers['authorization']} at fault"}}
            self.send(way, said, **({"Retry-After": "1"} if way == 429 else {}))
        else:
            self.send(200, completion(ECHO.format(prompt)))

    def send(self, status, content, **headers):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.head(status, len(data), **headers)
        self.wfile.write(data)

    def head(self, status, length, **headers):
        self.send_response(status)
        all_headers = {"Content-Type": "application/json", "Content-Length": length} | headers
        for name, value in all_headers.items():
            self.send_header(name, str(value))
        self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def serving(script=lambda prompt, before: "ok"):
    """Runs a Loopback server in a thread."""
    server = Loopback(script)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
