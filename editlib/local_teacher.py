"""A transformers model on this machine as teacher: no server, no key."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from hashlib import sha256
from itertools import groupby
from math import inf
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    LogitsProcessorList,
    PreTrainedModel,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from editlib.completions import CompletionStore, Reply, Request, completed, completion_key
from editlib.decoding import Beginnings, continuations
from editlib.errors import KitError
from editlib.profiles import LocalTeacherSettings

_BLOCK = 2**16  # bytes
BATCHES_AT_ONCE = 32  # whose prompts are looked through for what they begin with


class NoModel(KitError):
    """A local teacher's model cannot be loaded."""


class BadPrompt(KitError):
    """A prompt that is empty, or fills all that a local teacher's model can read."""


class LocalTeacher:
    """Completes prompts in batches: greedily at temperature 0, else by a seed of each prompt's own.

    Of a model's own generation settings only the end tokens count: no repetition penalty, say.

    The model is loaded with the first prompt, so a run that finds all in the store needs none.
    """

    def __init__(self, settings: LocalTeacherSettings) -> None:
        self.settings = settings
        self.source = settings.model.removeprefix("hf:")

    @cached_property
    def name(self) -> str:
        """A model id with its commit; of a folder its last name and a digest of what lies in it."""
        folder = Path(self.source)
        if folder.is_dir():
            return _digested(folder)
        return f"{self.source}@{self._commit}" if self._commit else self.source

    @cached_property
    def _commit(self) -> str | None:
        """What a revision (a branch, say) of a model id means today; None where nothing tells."""
        with self._needing_a_model():
            config = AutoConfig.from_pretrained(
                self.source, revision=self.settings.revision or "main", trust_remote_code=False
            )
        return getattr(config, "_commit_hash", None)

    def complete_many(
        self, requests: Mapping[str, Request], store: CompletionStore, desc: str, known: int
    ) -> None:
        """See ManyTeacher. Prompts that begin alike share a batch, and so do those of like length.

        Raises NoModel, or BadPrompt before any is completed.
        """
        self._check(requests.values())
        with tqdm(total=len(requests), desc=desc, unit=" completions", leave=False) as bar:
            for batch, begun in self._batches(requests.values()):
                for request, reply in zip(batch, self._replies(batch, begun), strict=True):
                    store.add(completed(self.name, request, reply))
                bar.update(len(batch))

    def _batches(self, requests: Iterable[Request]) -> Iterator[tuple[list[Request], Beginnings]]:
        """Each of one temperature, top_p and max_tokens, with what a few batches of them share.

        Long prompts come first: where memory does not suffice, that shows at once.
        """
        tokenizer, model = self._loaded
        size = self.settings.batch
        ordered = sorted(requests, key=lambda request: (*_settings(request), request.prompt))
        for _, group in groupby(ordered, key=_settings):
            parts = _cut(list(group), BATCHES_AT_ONCE * size)
            for part in sorted(parts, key=_longest, reverse=True):
                ids = dict(zip(part, _read(tokenizer, part)["input_ids"], strict=True))
                begun = Beginnings(model, list(ids.values()))
                near = sorted(part, key=lambda request: begun.place(ids[request]), reverse=True)
                yield from ((batch, begun) for batch in _cut(near, size))

    @cached_property
    def _loaded(self):
        options = {"revision": self._commit or "main", "trust_remote_code": False}
        with self._needing_a_model():
            tokenizer = AutoTokenizer.from_pretrained(self.source, padding_side="left", **options)
            model = AutoModelForCausalLM.from_pretrained(
                self.source, dtype="auto", device_map="auto", **options
            )
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer, model.eval()

    @contextmanager
    def _needing_a_model(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            raise NoModel(
                f"teacher.model={self.settings.model!r} is neither a folder with a model nor a "
                f"model id that can be downloaded from here: {error}"
            ) from error

    def _check(self, requests: Iterable[Request]) -> None:
        tokenizer, model = self._loaded
        # None: a model that no length is too much for
        most = getattr(model.config.get_text_config(), "max_position_embeddings", None) or inf
        for request in requests:
            [ids] = _read(tokenizer, [request])["input_ids"]
            if not 0 < len(ids) < most:
                raise BadPrompt(
                    f"the prompt that ends in {request.prompt[-80:]!r} has {len(ids):,} tokens; "
                    f"{self.settings.model} reads from 1 to {most - 1:,}, with room to answer. "
                    "Nothing was asked: show shorter exemplars, or name a model that reads more"
                )

    def _replies(self, batch: Sequence[Request], begun: Beginnings) -> list[Reply]:
        """All of one temperature, top_p and max_tokens."""
        tokenizer, model = self._loaded
        read, most = _read(tokenizer, batch)["input_ids"], batch[0].max_tokens
        how = {} if batch[0].temperature == 0 else {"choose": _Draw(batch, self.name, model.device)}
        ends = _ends(model)
        new = continuations(model, tokenizer, read, most, begun=begun, ends=ends, **how)
        return [self._reply(*row, most) for row in zip(read, new, strict=True)]

    def _reply(self, read: list[int], new: list[int], most: int) -> Reply:
        text = self._loaded[0].decode(new, skip_special_tokens=True)
        stopped = len(new) < most
        finish, written = ("stop", len(new) + 1) if stopped else ("length", len(new))
        return Reply(text, finish, len(read), written, served_model=self.name)


def _digested(folder: Path) -> str:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    digest = sha256(repr([(path.name, path.stat().st_size) for path in files]).encode())
    for path in files:
        for block in _blocks(path):
            digest.update(block)
    return f"{folder.resolve().name}-{digest.hexdigest()[:12]}"


def _blocks(path: Path) -> Iterator[bytes]:
    """All of a small file; of one beyond 16 MiB, such as weights, 256 blocks spread over it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        for start in range(0, size, max(_BLOCK, size // 256)):
            file.seek(start)
            yield file.read(_BLOCK)


def _cut(requests: list[Request], size: int) -> Iterator[list[Request]]:
    return (requests[start : start + size] for start in range(0, len(requests), size))


def _longest(requests: list[Request]) -> int:
    """Characters of the longest prompt."""
    return max(len(request.prompt) for request in requests)


def _settings(request: Request) -> tuple[float, float, int]:
    """What the requests of a batch have in common."""
    return request.temperature, request.top_p, request.max_tokens


def _ends(model: PreTrainedModel) -> list[int]:
    """The tokens that each end what a model writes, often more than that of its tokenizer."""
    end = model.generation_config.eos_token_id
    return end if isinstance(end, list) else [end] * (end is not None)


def _chat(tokenizer, prompt: str) -> str:
    if tokenizer.chat_template is None:
        return prompt
    messages = [{"role": "user", "content": prompt}]
    return tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)


def _read(tokenizer, batch: Sequence[Request], **options):
    """The token ids of prompts."""
    texts = [_chat(tokenizer, request.prompt) for request in batch]
    chats = tokenizer.chat_template is not None  # which writes the special tokens itself
    return tokenizer(texts, add_special_tokens=not chats, **options)


class _Draw:
    """Draws the next token of each row from the softmax (Gumbel-max), by a generator a row.

    So a completion does not depend on which prompts share its batch, but for rounding.
    """

    def __init__(self, batch: Sequence[Request], name: str, device) -> None:
        seeds = [int(completion_key(name, request)[:15], 16) for request in batch]
        self.generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        self.warp = LogitsProcessorList([TemperatureLogitsWarper(batch[0].temperature)])
        if batch[0].top_p < 1:
            self.warp.append(TopPLogitsWarper(batch[0].top_p))

    def __call__(self, logits: Tensor, rows: Tensor, step: int) -> Tensor:
        """logits: (rows, vocabulary); see decoding.continuations."""
        scores = self.warp(None, logits.float())
        noise = torch.empty_like(scores)
        for own, row in zip(noise, rows.tolist(), strict=True):
            own.exponential_(generator=self.generators[row])
        return (scores - noise.clamp_min(torch.finfo(noise.dtype).tiny).log()).argmax(-1)
