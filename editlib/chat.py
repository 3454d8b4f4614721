"""Chat completions as OpenAI-compatible servers speak them: the request, the reply, its cost.

Also the HTTP client underneath, which counts what goes wrong. The official client on top of it
repeats what may pass (429, 500, a cut connection, silence, a broken reply) with growing pauses
and heeds Retry-After.
"""

import asyncio
import os
import re
from collections import Counter
from typing import Annotated

import aiohttp
import httpx2
import openai
from pydantic import BaseModel, Field, ValidationError

from editlib.completions import Reply, Request, completion_key
from editlib.errors import KitError
from editlib.profiles import EndpointTeacherSettings, Prices

KEY_LENGTH = 16  # characters; what is shorter may be a word of a reply and no secret
CHARACTERS = 4  # a token, where no server has counted any
_ANSWER = "answer"  # the extension of a response that holds what was read in it
_NO_KEY = "none"  # for servers that need no key; the client wants one


class BadEndpoint(KitError):
    """A key that cannot be sent."""


def body(name: str, settings: EndpointTeacherSettings, request: Request) -> dict:
    """The JSON of a chat completion request."""
    asked = {
        "model": settings.model,
        "messages": [{"role": "user", "content": request.prompt}],
        "temperature": request.temperature,
        "top_p": request.top_p,
        settings.limit_name: request.max_tokens,
    }
    if request.seed is not None:  # another one for each sample and attempt; servers may ignore it
        asked["seed"] = int(completion_key(name, request)[:7], 16)
    return asked


class Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class Choice(BaseModel):
    message: Message
    finish_reason: str | None = None


class Usage(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Answer(BaseModel):
    """What the kit reads of a chat completion; the rest is let pass."""

    choices: Annotated[list[Choice], Field(min_length=1)]
    model: str | None = None
    usage: Usage | None = None


def reply_of(answer: Answer, prompt: str, prices: Prices | None) -> Reply:
    """What a server answered; a cost is estimated where it does not count its tokens."""
    choice, usage = answer.choices[0], answer.usage or Usage()
    text = choice.message.content or choice.message.refusal or ""
    counts = usage.prompt_tokens, usage.completion_tokens
    return Reply(
        text=text,
        finish_reason="refusal" if choice.message.refusal else choice.finish_reason or "unknown",
        prompt_tokens=counts[0],
        completion_tokens=counts[1],
        served_model=answer.model,
        cost=prices and cost(prices, counts[0] or tokens(prompt), counts[1] or tokens(text)),
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


def tokens(text: str) -> float:
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


def client(settings: EndpointTeacherSettings, faults: Counter) -> openai.AsyncOpenAI:
    """A client that repeats what may pass, and counts by kind what went wrong."""
    return openai.AsyncOpenAI(
        base_url=settings.base_url,
        api_key=_key(settings) or _NO_KEY,
        max_retries=settings.retries,
        timeout=None,  # of parts of a try; _Client bounds the whole
        http_client=_Client(faults, settings.timeout, settings.concurrency),
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


class _Client(openai.DefaultAioHttpClient):  # half the work a request of the plain one
    """Bounds the time of each try, and counts its faults in a table of the caller's."""

    def __init__(self, faults: Counter, seconds: float, connections: int) -> None:
        super().__init__(timeout=None, limits=httpx2.Limits(max_connections=connections))
        self._faults, self._seconds = faults, seconds

    async def send(self, request: httpx2.Request, **options) -> httpx2.Response:
        """Raises what the client on top takes for a fault that may pass."""
        try:
            async with asyncio.timeout(self._seconds):
                response = await super().send(request, **options)
            if response.is_success:
                response.extensions[_ANSWER] = Answer.model_validate_json(response.content)
        except TimeoutError:
            self._faults["timeout"] += 1
            raise httpx2.ReadTimeout("no reply in time", request=request) from None
        except (httpx2.RequestError, aiohttp.ClientError, OSError) as error:
            self._faults["connection"] += 1
            raise httpx2.NetworkError(str(error), request=request) from error
        except ValidationError:
            self._faults["broken reply"] += 1
            said = f"not a chat completion: {response.text[:200]!r}"
            raise httpx2.DecodingError(said, request=request) from None
        if not response.is_success:
            self._faults[f"HTTP {response.status_code}"] += 1
        return response


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
