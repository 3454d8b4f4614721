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
from functools import lru_cache, partial
from math import ceil
from typing import Annotated
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2
import openai
from pydantic import AfterValidator, BaseModel, Field, ValidationError

from editlib.completions import Lost, Reply, Request
from editlib.errors import KitError
from editlib.profiles import EndpointTeacherSettings, Prices

KEY_LENGTH = 16  # characters; what is shorter may be a word of a reply and no secret
CHARACTERS = 4  # a token, where no server has counted any
_ANSWER = "answer"  # the extension of a response that holds what was read in it
_NO_KEY = "none"  # for servers that need no key; the client wants one


class BadEndpoint(KitError):
    """A key that cannot be sent."""


def body(settings: EndpointTeacherSettings, request: Request, key: str) -> dict:
    """The JSON of a chat completion request; key: that of its completion."""
    asked = {
        "model": settings.model,
        "messages": [{"role": "user", "content": request.prompt}],
        "temperature": request.temperature,
        "top_p": request.top_p,
        settings.limit_name: request.max_tokens,
    }
    if request.seed is not None:  # another one for each sample and attempt; servers may ignore it
        asked["seed"] = int(key[:7], 16)
    return asked


class Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class Choice(BaseModel):
    message: Message
    finish_reason: str | None = None


def _believed(count: int | None) -> int | None:
    """Not what would lower the bill, or fit no column of the store."""
    return count if count is not None and 0 <= count < 2**31 else None


class Usage(BaseModel):
    prompt_tokens: Annotated[int | None, AfterValidator(_believed)] = None
    completion_tokens: Annotated[int | None, AfterValidator(_believed)] = None


class Answer(BaseModel):
    """What the kit reads of a chat completion; the rest is let pass."""

    choices: Annotated[list[Choice], Field(min_length=1)]
    model: str | None = None
    usage: Usage | None = None


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


class _Counted(BaseModel):
    usage: Usage


def lost(name: str, settings: EndpointTeacherSettings, asked: dict, body: bytes) -> Lost:
    """What a reply that is no chat completion was paid for; by estimate where it does not say."""
    try:
        usage = _Counted.model_validate_json(body).usage
    except ValidationError:
        usage = Usage()
    prompt, counts = asked["messages"][0]["content"], (usage.prompt_tokens, usage.completion_tokens)
    guesses = tokens(prompt), min(tokens(body), asked[settings.limit_name])
    counted = [
        ceil(guess) if count is None else count
        for count, guess in zip(counts, guesses, strict=True)
    ]
    return Lost(
        teacher=name,
        prompt=prompt,
        prompt_tokens=counted[0],
        completion_tokens=counted[1],
        estimated=None in counts,
        cost=settings.prices and cost(settings.prices, *counted),
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
    settings: EndpointTeacherSettings, faults: Counter, broken: Callable[[dict, bytes], None]
) -> openai.AsyncOpenAI:
    """A client that repeats what may pass, and counts by kind what went wrong.

    broken: called with what was asked and the body of each reply of status 200 that is no chat
    completion. What it raises ends the request.
    """
    return openai.AsyncOpenAI(
        base_url=settings.base_url,
        api_key=_key(settings) or _NO_KEY,
        max_retries=settings.retries,
        timeout=None,  # of parts of a try; _Carrier bounds the whole
        http_client=_Client(transport=_Carrier(settings, faults, broken), follow_redirects=True),
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
        broken: Callable[[dict, bytes], None],
    ) -> None:
        self._faults, self._broken = faults, broken
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
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Raises what the client on top takes for a fault that may pass."""
        try:
            status, headers, content = await self._send(request)
            async with self._turn:
                await asyncio.sleep(0)
        except TimeoutError:
            self._faults["timeout"] += 1
            raise httpx2.ReadTimeout("no reply in time", request=request) from None
        except (aiohttp.ClientError, OSError) as error:
            self._faults["connection"] += 1
            raise httpx2.NetworkError(str(error), request=request) from error
        try:
            response = httpx2.Response(status, headers=headers, content=content)
            content = response.content  # as it was before it was packed
            if response.is_success:
                response.extensions[_ANSWER] = Answer.model_validate_json(content)
        except (ValidationError, httpx2.DecodingError):
            self._faults["broken reply"] += 1
            # A page that was moved to is fetched without what was asked, and not paid.
            if httpx2.codes.is_success(status) and request.content:
                self._broken(json.loads(request.content), content)
            said = f"not a chat completion: {content.decode(errors='replace')[:200]!r}"
            raise httpx2.DecodingError(said, request=request) from None
        if response.is_error:
            self._faults[f"HTTP {status}"] += 1
        return response

    async def _send(self, request: httpx2.Request) -> tuple[int, Sequence, bytes]:
        sent = self._session.request(
            request.method,
            str(request.url),
            headers=request.headers.multi_items(),
            data=await request.aread(),
            allow_redirects=False,
        )
        async with sent as answer:
            return answer.status, answer.raw_headers, await answer.read()

    async def aclose(self) -> None:
        await self._session.close()


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
    return "broken reply" if isinstance(error.__cause__, httpx2.DecodingError) else "connection"
