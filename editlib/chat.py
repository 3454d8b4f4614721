"""Chat completions as OpenAI-compatible servers speak them: the request, the reply, its cost.

Also the HTTP client underneath, which counts what goes wrong. The official client on top of it
repeats what may pass (429, 500, a cut connection, silence, a broken reply) with growing pauses
and heeds Retry-After.
"""

import asyncio
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from math import ceil
from types import SimpleNamespace
from typing import Annotated, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2
import openai
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WrapValidator,
)

from editlib.completions import Count, Lost, Reply, Request
from editlib.errors import KitError
from editlib.profiles import EndpointTeacherSettings, Prices

KEY_LENGTH = 16  # characters; what is shorter may be a word of a reply and no secret
CHARACTERS = 4  # a token, where no server has counted any
_ANSWER = "answer"  # the extension of a response that holds what was read in it
_NO_KEY = "none"  # for servers that need no key; the client wants one
_ASTRAY = (httpx2.TooManyRedirects, httpx2.RemoteProtocolError)  # where redirects may lead


class BadEndpoint(KitError):
    """A key that cannot be sent."""


def body(settings: EndpointTeacherSettings, request: Request, key: str) -> dict:
    """The JSON of a chat completion request; key: that of its completion."""
    asked = {
        "model": settings.model,
        "messages": [{"role": "user", "content": request.prompt}],
        settings.limit_name: request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        # another one for each sample and attempt; servers may ignore it
        "seed": None if request.seed is None else int(key[:7], 16),
    }
    return {name: value for name, value in asked.items() if value is not None}


def _or_none(found: object, read: Callable) -> object:
    """What a model makes of a value, or None where it cannot be that."""
    try:
        return read(found)
    except ValidationError:
        return None


def _joined(content: object) -> object:
    """The text of a content that comes in parts."""
    if not isinstance(content, list):
        return content
    parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
    texts = [part.get("text") for part in parts]
    return "".join(text for text in texts if isinstance(text, str))


LENIENT = WrapValidator(_or_none)  # what is beside the text must not lose a reply that is paid
Text = Annotated[str | None, LENIENT]
Tokens = Annotated[Count | None, LENIENT]  # nor lower the bill, nor fit no column of the store


class Body(BaseModel):
    # It may quote the key: no error repeats it.
    model_config = ConfigDict(hide_input_in_errors=True)


class Message(Body):
    content: Annotated[str | None, BeforeValidator(_joined)] = None
    refusal: Text = None


class Choice(Body):
    message: Message
    finish_reason: Text = None


class Usage(Body):
    prompt_tokens: Tokens = None
    completion_tokens: Tokens = None


class Answer(Body):
    """What the kit reads of a chat completion; the rest is let pass."""

    choices: Annotated[list[Choice], Field(min_length=1)]
    model: Text = None
    usage: Annotated[Usage | None, LENIENT] = None


class _Counted(Body):
    usage: Usage


Read = TypeVar("Read", bound=Body)


def read(kind: type[Read], body: bytes) -> Read | None:
    """What the JSON of a reply holds; None where it is none of that kind."""
    try:
        return kind.model_validate_json(body)
    except ValidationError:
        with suppress(ValidationError):
            return kind.model_validate_json(_whole_characters(body))
    return None


def _whole_characters(body: bytes) -> bytes:
    """JSON with a mark in place of each broken character, such as half a surrogate pair."""
    try:
        found = json.loads(body.decode(errors="replace"))
    except (ValueError, RecursionError):
        return body
    return json.dumps(found, ensure_ascii=False).encode(errors="replace")


def reply_of(settings: EndpointTeacherSettings, answer: Answer, prompt: str) -> Reply:
    """What a server answered, without the key; a cost is estimated where it counts no tokens."""
    prices, hidden = settings.prices, partial(without_key, settings, shortest=KEY_LENGTH)
    choice, usage = answer.choices[0], answer.usage or Usage()
    text = hidden(choice.message.content or choice.message.refusal or "")
    counts = usage.prompt_tokens, usage.completion_tokens
    return Reply(
        text=text,
        finish_reason="refusal"
        if choice.message.refusal
        else hidden(choice.finish_reason or "unknown"),
        prompt_tokens=counts[0],
        completion_tokens=counts[1],
        served_model=answer.model and hidden(answer.model),
        cost=prices and cost(prices, counts[0] or tokens(prompt), counts[1] or tokens(text)),
    )


def lost(name: str, settings: EndpointTeacherSettings, asked: dict, body: bytes | None) -> Lost:
    """What a reply that is no chat completion was paid for; by estimate where it does not say.

    body: None where nothing came back; then it is the most that may have been paid.
    """
    counted = read(_Counted, body or b"")
    usage = counted.usage if counted else Usage()
    counts = usage.prompt_tokens, usage.completion_tokens
    prompt, limit = asked["messages"][0]["content"], asked[settings.limit_name]
    if body is None:
        guesses = len(prompt.encode()), limit
    else:
        guesses = tokens(prompt), min(tokens(body), limit)
    taken = [
        ceil(guess) if count is None else count
        for count, guess in zip(counts, guesses, strict=True)
    ]
    return Lost(
        teacher=name,
        prompt=prompt,
        prompt_tokens=taken[0],
        completion_tokens=taken[1],
        estimated=None in counts,
        cost=settings.prices and cost(settings.prices, *taken),
    )


def cost(prices: Prices, prompt_tokens: float, completion_tokens: float) -> float:
    """USD.

    >>> cost(Prices(prompt=1.0, completion=2.0), 500_000, 250_000)
    1.0
    """
    return (prices.prompt * prompt_tokens + prices.completion * completion_tokens) / 1e6


def highest_cost(settings: EndpointTeacherSettings, request: Request) -> float:
    """What a request may cost at most, USD: a prompt has no more tokens than bytes. 0 unpriced."""
    longest = len(request.prompt.encode())
    return cost(settings.prices, longest, request.max_tokens) if settings.prices else 0.0


def tokens(text: str | bytes) -> float:
    """About how many there are."""
    return len(text) / CHARACTERS


# --- the client -----------------------------------------------------------------------------


def check(settings: EndpointTeacherSettings) -> None:
    """Raises BadEndpoint; the message does not repeat the key."""
    if not re.fullmatch(r"[!-~]*", _key(settings)):
        raise BadEndpoint(
            f"the variable {settings.key_variable} holds a space or a letter that no key has: "
            "copy the key again"
        )


def client(
    settings: EndpointTeacherSettings, faults: Counter, lose: Callable[[dict, bytes | None], None]
) -> openai.AsyncOpenAI:
    """A client that repeats what may pass, and counts by kind what went wrong.

    lose: called with what was asked and the body of each reply of status 200 that is no chat
    completion; with None where a try was sent, and no whole reply came before its time was up or
    the connection broke. What it raises ends the request.
    """
    return openai.AsyncOpenAI(
        base_url=settings.base_url,
        api_key=_key(settings) or _NO_KEY,
        max_retries=settings.retries,
        timeout=None,  # of parts of a try; _Carrier bounds the whole
        http_client=_Client(
            faults, transport=_Carrier(settings, faults, lose), follow_redirects=True
        ),
    )


async def complete(client: openai.AsyncOpenAI, asked: dict) -> Answer:
    """Send a request as body() makes it; raises openai.OpenAIError where it failed for good."""
    # Raw: the client's own typed call takes twice as long, and would only check it again. The
    # whole address: it would be put together anew each time.
    address = f"{client.base_url}chat/completions"
    response = await client.post(address, body=asked, cast_to=httpx2.Response)
    return response.extensions[_ANSWER]


def without_key(settings: EndpointTeacherSettings, text: str, shortest: int = 1) -> str:
    """A text that may quote a server, which may quote the key.

    shortest: characters of a key that is looked for.
    """
    key = _key(settings)
    return text.replace(key, "[key]") if len(key) >= shortest else text


def has_key(settings: EndpointTeacherSettings) -> bool:
    """Whether the environment holds one."""
    return bool(_key(settings))


def _key(settings: EndpointTeacherSettings) -> str:
    return os.environ.get(settings.key_variable, "").strip()


class _Client(httpx2.AsyncClient):
    def __init__(self, faults: Counter, **options) -> None:
        super().__init__(**options)
        self._faults = faults

    async def send(self, request: httpx2.Request, **options) -> httpx2.Response:
        """Counts what no try shows: one that was sent on and on, or to no address."""
        try:
            return await super().send(request, **options)
        except _ASTRAY:
            self._faults["redirect"] += 1
            raise

    def build_request(self, method: str, url: str, *, timeout: object, **parts) -> httpx2.Request:
        """As the client on top hands it over: there is nothing to merge with."""
        return httpx2.Request(method, _parsed(url), **parts)


_parsed = lru_cache(8)(httpx2.URL)  # there is one address


class _Carrier(httpx2.AsyncBaseTransport):
    """Sends by aiohttp, at half the work a request of the usual one.

    Bounds the time of each try, counts its faults and reads what comes back.
    """

    def __init__(
        self,
        settings: EndpointTeacherSettings,
        faults: Counter,
        lose: Callable[[dict, bytes | None], None],
    ) -> None:
        self._settings, self._faults, self._lose = settings, faults, lose
        # Replies that come together go on one by one. Otherwise each next request, which aiohttp
        # hands to a task of its own, leaves only when all those replies have been worked through.
        self._turn = asyncio.Lock()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=settings.concurrency, ssl=httpx2.create_ssl_context()
            ),
            timeout=aiohttp.ClientTimeout(total=settings.timeout),
            proxy=_proxy(settings.base_url),
            auto_decompress=False,  # the response does
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[_noting_what_is_sent()],
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Raises what the client on top takes for a fault that may pass."""
        sent = asyncio.Event()
        try:
            reply = await self._send(request, sent)
        except (aiohttp.ClientError, OSError) as error:
            fault = self._no_reply(error, request)
        else:
            async with self._turn:
                await asyncio.sleep(0)
            return self._response(request, *reply)
        if sent.is_set():
            self._note(request, None)
        raise fault

    def _no_reply(self, error: Exception, request: httpx2.Request) -> httpx2.TransportError:
        if isinstance(error, TimeoutError):
            self._faults["timeout"] += 1
            return httpx2.ReadTimeout("no reply in time", request=request)
        self._faults["connection"] += 1
        return httpx2.NetworkError(str(error), request=request)

    def _response(
        self, request: httpx2.Request, status: int, headers: Sequence, content: bytes
    ) -> httpx2.Response:
        response = _unpacked(status, headers, content)
        if response is None:
            raise self._broken_reply(request, status, content)
        if not (response.is_success or response.has_redirect_location):
            self._faults[f"HTTP {status}"] += 1
        if response.is_success:
            answer = read(Answer, response.content)
            if answer is None:
                raise self._broken_reply(request, status, response.content)
            response.extensions[_ANSWER] = answer
        return response

    def _broken_reply(
        self, request: httpx2.Request, status: int, content: bytes
    ) -> httpx2.DecodingError:
        self._faults["broken reply"] += 1
        if httpx2.codes.is_success(status):
            self._note(request, content)
        said = without_key(self._settings, content.decode(errors="replace"))[:200]
        return httpx2.DecodingError(f"not a chat completion: {said!r}", request=request)

    def _note(self, request: httpx2.Request, content: bytes | None) -> None:
        # A page that was moved to is fetched without what was asked, and not paid.
        if request.content:
            self._lose(json.loads(request.content), content)

    async def _send(
        self, request: httpx2.Request, sent: asyncio.Event
    ) -> tuple[int, Sequence, bytes]:
        reply = self._session.request(
            request.method,
            str(request.url),
            headers=request.headers.multi_items(),
            data=await request.aread(),
            allow_redirects=False,
            trace_request_ctx=sent,
        )
        async with reply as answer:
            return answer.status, answer.raw_headers, await answer.read()

    async def aclose(self) -> None:
        await self._session.close()


def _noting_what_is_sent() -> aiohttp.TraceConfig:
    """Sets the event of a request when it leaves: before that it cannot be paid."""

    async def left(_, context: SimpleNamespace, __) -> None:
        context.trace_request_ctx.set()

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(left)
    return trace


def _unpacked(status: int, headers: Sequence, content: bytes) -> httpx2.Response | None:
    """None where the content is not packed as the headers say."""
    with suppress(httpx2.DecodingError):
        return httpx2.Response(status, headers=headers, content=content)


def _proxy(url: str) -> str | None:
    """What the environment names for it."""
    parts, named = urlsplit(url), getproxies()
    proxy = named.get(parts.scheme) or named.get("all")
    if not proxy or proxy_bypass(parts.hostname):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def reason(error: openai.OpenAIError) -> str:
    """What went wrong; the client itself says of all that is no HTTP status "Connection error"."""
    hidden = isinstance(error, openai.APIConnectionError) and error.__cause__
    return str(error.__cause__ if hidden else error)


def kind(error: openai.OpenAIError) -> str:
    """The name under which a fault is counted."""
    if isinstance(error, openai.APIStatusError):
        return f"HTTP {error.status_code}"
    if isinstance(error, openai.APITimeoutError):
        return "timeout"
    if isinstance(error.__cause__, _ASTRAY):
        return "redirect"
    return "broken reply" if isinstance(error.__cause__, httpx2.DecodingError) else "connection"
