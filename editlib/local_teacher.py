"""A transformers model on this machine as teacher: no server, no key."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from hashlib import sha256
from math import inf
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from editlib.completions import CompletionStore, Reply, Request, completed, completion_key
from editlib.errors import KitError
from editlib.profiles import LocalTeacherSettings

_BLOCK = 2**16  # bytes


class NoModel(KitError):
    """A local teacher's model cannot be loaded."""


class BadPrompt(KitError):
    """A prompt that is empty, or fills all that a local teacher's model can read."""


class LocalTeacher:
    """Completes prompts in batches: greedily at temperature 0, else by a seed of each prompt's own.

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
        """See ManyTeacher. Prompts of like length share a batch.

        Raises NoModel, or BadPrompt before any is completed.
        """
        self._check(requests.values())
        with tqdm(total=len(requests), desc=desc, unit=" completions", leave=False) as bar:
            for batch in _batches(requests.values(), self.settings.batch):
                for request, reply in zip(batch, self._replies(batch), strict=True):
                    store.add(completed(self.name, request, reply))
                bar.update(len(batch))

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

    @torch.inference_mode()
    def _replies(self, batch: Sequence[Request]) -> list[Reply]:
        """All of one temperature, top_p and max_tokens."""
        tokenizer, model = self._loaded
        inputs = _read(tokenizer, batch, padding=True, return_tensors="pt")
        ids = model.generate(
            **{name: inputs[name].to(model.device) for name in ("input_ids", "attention_mask")},
            do_sample=False,
            max_new_tokens=batch[0].max_tokens,
            pad_token_id=tokenizer.pad_token_id,
            logits_processor=_sampling(batch, self.name, model.device),
        )
        read = inputs["attention_mask"].sum(1).tolist()
        new = ids[:, inputs["input_ids"].shape[1] :].tolist()
        return [self._reply(n, row) for n, row in zip(read, new, strict=True)]

    def _reply(self, read: int, ids: list[int]) -> Reply:
        tokenizer, model = self._loaded
        end = model.generation_config.eos_token_id
        ends = end if isinstance(end, list) else [end]
        stop = next((n for n, token in enumerate(ids) if token in ends), None)
        text = tokenizer.decode(ids[:stop], skip_special_tokens=True)
        written = len(ids) if stop is None else stop + 1
        finish = "length" if stop is None else "stop"
        return Reply(text, finish, read, written, served_model=self.name)


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


def _batches(requests, size: int) -> list[list[Request]]:
    """Each of one temperature, top_p and max_tokens, the longest prompts first."""
    groups: dict[tuple, list[Request]] = {}
    for request in sorted(requests, key=lambda request: -len(request.prompt)):
        sampling = (request.temperature, request.top_p, request.max_tokens)
        groups.setdefault(sampling, []).append(request)
    return [
        group[start : start + size]
        for group in groups.values()
        for start in range(0, len(group), size)
    ]


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


def _sampling(batch: Sequence[Request], name: str, device) -> LogitsProcessorList:
    request = batch[0]
    if request.temperature == 0:
        return LogitsProcessorList()
    seeds = [int(completion_key(name, request)[:15], 16) for request in batch]
    steps = [TemperatureLogitsWarper(request.temperature), _Draw(seeds, device)]
    if request.top_p < 1:
        steps.insert(1, TopPLogitsWarper(request.top_p))
    return LogitsProcessorList(steps)


class _Draw(LogitsProcessor):
    """Makes the largest logit a draw from the softmax (Gumbel-max), from a generator a row.

    So a completion does not depend on which prompts share its batch, but for rounding.
    """

    def __init__(self, seeds: Sequence[int], device) -> None:
        self.generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """scores: logits (rows, vocabulary)."""
        noise = torch.empty_like(scores)
        for row, generator in zip(noise, self.generators, strict=True):
            row.exponential_(generator=generator)
        return scores - noise.clamp_min(torch.finfo(noise.dtype).tiny).log()
