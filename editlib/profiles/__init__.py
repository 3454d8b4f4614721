"""Profiles: every number of a run, as typed data.

A profile is a YAML file beside this module (or one of the user's), checked against the models
below; an unknown name or a value of the wrong type stops the run. Any value can be overridden by
its dotted name: ``load("mini", ["training.krsl.lr=1e-4"])``.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FilePath,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from editlib import methods
from editlib.benchmarks import Division
from editlib.errors import KitError, unknown


def _anchored(path: Any, info: ValidationInfo) -> Any:
    """Where a path in a profile leads: from the profile's file, or from the kit's root."""
    return Path((info.context or {}).get("base", ""), path) if isinstance(path, str) else path


Probability = Annotated[float, Field(ge=0, le=1)]
HERE = Path(__file__).parent
LAYERS = (  # of a Llama, which the kit's own bases are
    *("q_proj", "k_proj", "v_proj", "o_proj"),
    *("gate_proj", "up_proj", "down_proj"),
)


class BadProfile(KitError):
    """A profile that does not exist, cannot be read, or holds an unknown or wrong value."""


def _once(values: list) -> list:
    twice = [value for value in values if values.count(value) > 1]
    if twice:
        raise ValueError(f"{twice[0]!r} is named more than once: name each once")
    return values


Once = AfterValidator(_once)  # a validator of lists
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what transformers and numpy take


class Settings(BaseModel):
    # A wrong value may be a key in the wrong place: no traceback repeats it.
    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False
    )


class Questions(Settings):
    """How many questions of each task go into each split (puzzles)."""

    train: PositiveInt
    validation: PositiveInt
    test: PositiveInt
    longer: PositiveInt  # out of domain: longer instances of the trained families
    families: PositiveInt  # out of domain: families never trained on


class Exemplars(Settings):
    """Where the exemplars of CEP, AHP and CCP come from (real benchmarks)."""

    kind: Literal["own", "published"] = "own"  # own: made with the teacher, from training questions
    # of cot-prompts/, cot-ahp/ and cot-ccp/, if published; what lies there counts, not where
    folder: Annotated[Path, BeforeValidator(_anchored)] | None = Field(None, exclude=True)

    @model_validator(mode="after")
    def _has_a_folder(self) -> "Exemplars":
        if (self.kind == "published") != (self.folder is not None):
            raise ValueError(
                f"kind {self.kind}, folder {self.folder}: published exemplars need the folder that "
                "holds cot-prompts/, cot-ahp/ and cot-ccp/, own ones none"
            )
        return self


class Benchmark(Settings):
    name: Literal["puzzles", "bbh"]
    questions: Questions | None = None  # puzzles only
    per_task: PositiveInt | None = None  # real benchmarks: at most so many; None: all there are
    out_of_domain: Annotated[
        list[Literal["bb_sub", "agieval", "arc_e", "arc_c", "gsm8k", "math"]], Once
    ] = []
    seed: Seed = 0  # of the split of BBH and of the sample of BB-sub
    validation: Probability = 0.05  # share of BBH-train that chooses among students
    exemplars: Exemplars = Exemplars()

    @property
    def division(self) -> Division:
        return Division(self.seed, self.validation)


class ErrorRates(Settings):
    """Probability that a chain of the puzzle teacher holds a mistake of each kind."""

    logical: Probability
    knowledge: Probability
    calculation: Probability


class PuzzleTeacherSettings(Settings):
    kind: Literal["puzzle"]
    temperature: float = Field(0.2, ge=0)
    error_rates: ErrorRates
    paraphrase: Probability  # share of steps worded anew in each chain
    heeds_hint: Probability  # how often a hint that contradicts the chain is followed
    seed: Seed


class RecordedTeacherSettings(Settings):
    """Published BBH completions; or, with a file of completions, whatever prompts it answers."""

    kind: Literal["recorded"]
    # JSONL, see editlib.completions
    completions: Annotated[FilePath, BeforeValidator(_anchored)] | None = Field(None, exclude=True)
    temperature: float = Field(0.2, ge=0)
    seed: int | None = 0  # which exemplars a CCP prompt shows: that of the recorded run


class SampledTeacherSettings(Settings):
    """How a language model is sampled, and how often it is asked for an answer it left out."""

    model: str
    temperature: float = Field(0.2, ge=0)  # this and the next two: A.9.1
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: PositiveInt = 2048  # of a completion
    attempts: PositiveInt = 5  # in all, where no answer can be read
    highest_temperature: float = Field(1.5, ge=0)  # of the last attempt
    seed: Seed = 0

    @model_validator(mode="after")
    def _rises(self) -> "SampledTeacherSettings":
        if self.temperature is not None and self.highest_temperature < self.temperature:
            raise ValueError(
                f"highest_temperature {self.highest_temperature} is below temperature "
                f"{self.temperature}"
            )
        return self


class Prices(Settings):
    """USD per million tokens."""

    prompt: float = Field(ge=0)
    completion: float = Field(ge=0)


class EndpointTeacherSettings(SampledTeacherSettings):
    """A server that speaks the OpenAI protocol.

    What is excluded decides where, how fast and at what price it is asked, not what it replies:
    a change makes no stage stale, and no manifest shows it.
    """

    kind: Literal["endpoint"]
    temperature: float | None = Field(0.2, ge=0)  # null in this and the next two: not sent
    top_p: float | None = Field(1.0, gt=0, le=1)
    seed: Seed | None = 0
    limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"  # as the server asks
    base_url: str = Field(exclude=True)  # up to and with /v1
    key_variable: str = Field("OPENAI_API_KEY", exclude=True)  # the name of the variable
    concurrency: PositiveInt = Field(16, exclude=True)  # requests in flight
    timeout: PositiveFloat = Field(120.0, exclude=True)  # seconds a try may take
    retries: int = Field(5, ge=0, exclude=True)  # of one request, after faults that may pass
    unanswerable: list[int] = Field([], exclude=True)  # HTTP statuses that leave a request unread
    prices: Prices | None = Field(None, exclude=True)
    budget: PositiveFloat | None = Field(None, exclude=True)  # USD, for all of it in one store
    # write requests there and ask nothing
    batch_file: Annotated[Path, BeforeValidator(_anchored)] | None = Field(None, exclude=True)
    batch_again: bool = Field(False, exclude=True)  # those too that an earlier file holds

    @field_validator("key_variable")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", value):
            raise ValueError(
                "expected the name of an environment variable in capitals, such as "
                "OPENAI_API_KEY. If a key stands there, take it out: keys belong in the environment"
            )
        return value

    @field_validator("base_url")
    @classmethod
    def _holds_no_secret(cls, value: str) -> str:
        if not re.fullmatch(r"https?://[^/@?#\s]+(/[^@?#\s]*)?", value):
            raise ValueError(
                "expected http(s)://host/path, such as http://127.0.0.1:8000/v1, without a user, "
                "password or query"
            )
        return value

    @model_validator(mode="after")
    def _has_prices(self) -> "EndpointTeacherSettings":
        if self.budget is not None and self.prices is None:
            raise ValueError("budget needs prices: {prompt: ..., completion: ...}")
        return self


class LocalTeacherSettings(SampledTeacherSettings):
    """A transformers model on this machine; model: an id or a folder."""

    kind: Literal["local"]
    revision: str | None = None  # of a model id: a commit, tag or branch
    batch: PositiveInt = Field(8, exclude=True)  # prompts of one forward pass


Judge = Annotated[
    EndpointTeacherSettings | LocalTeacherSettings, Field(discriminator="kind")
]  # a model that reads CoTs


class KeySteps(Settings):
    unit: Literal["tokens", "words"]
    ties: Literal["library", "authors"]


class Lora(Settings):
    rank: PositiveInt
    alpha: PositiveInt
    dropout: Probability
    targets: Annotated[list[str], Field(min_length=1), Once]  # layers of the base, by name


class Student(Settings):
    base: str  # "bundled", "wide", "tiny" (random weights, for tests), or a transformers id or path
    max_length: PositiveInt  # tokens of prompt and response together
    lora: Lora | None  # null: no adapter, all weights of the base are trained
    dtype: Literal["bfloat16", "float32"] = "bfloat16"  # on a GPU; a processor takes float32

    @model_validator(mode="after")
    def _has_the_layers(self) -> "Student":
        known = self.lora and self.base in ("bundled", "wide", "tiny")
        for name in self.lora.targets if known else ():
            if name not in LAYERS:
                raise ValueError("lora.targets: " + unknown(f"layer of {self.base}", name, LAYERS))
        return self


class Optimization(Settings):
    lr: PositiveFloat
    also_try: list[PositiveFloat]  # other rates; the one that validates best is kept
    epochs: PositiveInt
    batch: PositiveInt  # rows (SFT) or pairs (KRSL) of one forward pass
    accumulation: PositiveInt
    lr_decay: PositiveFloat  # the learning rate is multiplied by this after each epoch
    checkpointing: bool = False  # compute activations again on the way back: slower, less memory


class SFT(Optimization):
    """batch: rows."""

    mutual: float = Field(default=0.0, ge=0)  # SBS-MI sets it; see objectives.mutual_loss


class KRSL(Optimization):
    alpha: float = Field(ge=0)  # weight of key tokens of the correct CoT
    beta: float = Field(ge=0)  # weight of key tokens of the wrong CoT
    per: Literal["response", "key"]  # what a row's loss is divided by
    ceiling: PositiveFloat  # nats; wrong key tokens at or above it are left alone


class DPO(Optimization):
    """batch: pairs."""

    beta: PositiveFloat  # how dear it is to leave the student that it starts from; Table 9: 0.1


class DPOP(DPO):
    """DPO-Positive, which looks after the correct side."""

    penalty: PositiveFloat  # on what the correct side loses; 50 in its paper, where it is lambda


class SimPO(Optimization):
    """batch: pairs."""

    beta: PositiveFloat  # 2 to 10 in its paper
    margin: float = Field(ge=0)  # gamma; about half of beta in its paper


def _known(names: list[str]) -> list[str]:
    """Rows of the table alone: a set of pairs of one's own comes from a notebook."""
    for name in names:
        if name not in methods.METHODS:
            raise ValueError(unknown("method", name, methods.METHODS))
    return names


Known = AfterValidator(_known)
Methods = Annotated[list[str], Field(min_length=1), Known, Once]
Seeds = Annotated[list[Seed], Field(min_length=1), Once]


class Ablations(Settings):
    """Methods that are asked less of: those of the second line, with seeds of their own."""

    seeds: Seeds
    methods: Methods


class Training(Settings):
    seeds: Seeds
    methods: Methods
    ablations: Ablations | None = None
    checkpoint: Literal["validation", "last", "paper"]  # see ASKED of grid
    follow_test: bool = False  # log test accuracy of `methods` after each epoch; chooses nothing
    sft: SFT
    krsl: KRSL
    dpo: DPO | None = None  # these three: None where no method needs them
    dpop: DPOP | None = None
    simpo: SimPO | None = None
    # Phases that learn at another rate than their objective's, by name ("SFT on D+merge")
    lr_of: dict[str, PositiveFloat] = {}

    def of(self, phase: methods.Phase) -> Optimization:
        """The settings of a phase: those of its objective, its own rate, what the method changes.

        A phase that goes on for longer learns at the rate of the phase that it goes on from.
        """
        settings = getattr(self, phase.objective)
        rate = self.lr_of.get(str(replace(phase, as_long_as=None)), settings.lr)
        alone = {} if phase.lr is None else {"also_try": []}  # a rate of its own is not searched
        return settings.model_copy(update={"lr": rate} | phase.changes | alone)

    @field_validator("lr_of")
    @classmethod
    def _names_phases(cls, rates: dict) -> dict:
        known = {str(phase) for each in methods.METHODS.values() for phase in each.phases}
        for name in rates.keys() - known:
            raise ValueError(unknown("phase", name, sorted(known)))
        return rates

    @property
    def students(self) -> dict[str, list[int]]:
        """Every method and the seeds that it is trained with."""
        found = dict.fromkeys(self.methods, self.seeds)
        more = self.ablations
        return found | ({m: more.seeds for m in more.methods if m not in found} if more else {})

    @model_validator(mode="after")
    def _has_settings(self) -> "Training":
        for name in self.students:
            for section in sorted(methods.objectives(name)):
                if getattr(self, section) is None:
                    raise ValueError(f"method {name} needs training.{section}, which is not set")
        return self

    @model_validator(mode="after")
    def _can_choose(self) -> "Training":
        sections = (self.sft, self.krsl, self.dpo, self.dpop, self.simpo)
        searched = any(section.also_try for section in sections if section is not None)
        if self.checkpoint == "last" and searched:
            raise ValueError("also_try needs checkpoint validation or paper, found last")
        if self.checkpoint != "validation" and self.follow_test:
            raise ValueError(f"follow_test needs checkpoint validation, found {self.checkpoint}")
        return self


class Decoding(Settings):
    max_new_tokens: PositiveInt
    batch: PositiveInt


class Exam(Settings):
    """What is asked besides: the untrained student in other ways, and for many samples."""

    untrained: Annotated[
        list[Literal["zero-shot", "few-shot", "zero-shot-CoT", "few-shot-CoT"]], Once
    ] = []
    self_consistency: Annotated[list[str], Known, Once] = []  # methods
    seeds: Seeds | None = None  # whose students sample for it; null: all seeds of these methods
    samples: PositiveInt = 8  # this and the next two: Table 8
    temperature: PositiveFloat = 0.7
    top_p: float = Field(0.95, gt=0, le=1)


class Profile(Settings):
    notebooks: Annotated[list[str], Once]
    benchmark: Benchmark
    teacher: Annotated[
        PuzzleTeacherSettings
        | RecordedTeacherSettings
        | EndpointTeacherSettings
        | LocalTeacherSettings,
        Field(discriminator="kind"),
    ]
    keysteps: KeySteps
    student: Student | None = None  # None: no student is trained (recorded)
    training: Training | None = None
    judge: Judge | None = None  # who reads CoTs: kinds of mistakes (06), scores (07)
    decoding: Decoding | None = None
    exam: Exam = Exam()

    @model_validator(mode="after")
    def _fits_together(self) -> "Profile":
        answers = self._answers()
        if self.benchmark.name not in answers:
            raise ValueError(
                f"teacher.kind {self.teacher.kind} answers benchmark.name "
                f"{' or '.join(answers)}, found {self.benchmark.name}"
            )
        if (self.benchmark.name == "puzzles") != (self.benchmark.questions is not None):
            raise ValueError("benchmark.questions: puzzles need numbers, bbh takes all there are")
        if self.benchmark.name == "puzzles" and (
            self.benchmark.out_of_domain or self.benchmark.per_task
        ):
            raise ValueError("benchmark.out_of_domain and per_task are for bbh, not for puzzles")
        asked = self.training.methods if self.training else []
        if absent := [name for name in self.exam.self_consistency if name not in asked]:
            raise ValueError(f"exam.self_consistency: {absent[0]} is not in training.methods")
        trained = self.training.seeds if self.training else []
        if absent := [seed for seed in self.exam.seeds or () if seed not in trained]:
            raise ValueError(f"exam.seeds: {absent[0]} is not in training.seeds")
        if self.keysteps.unit == "tokens" and self.student is None:
            raise ValueError("keysteps.unit tokens needs a student, whose tokens they are")
        if self.keysteps.unit == "words" and self.training is not None:
            raise ValueError(
                "keysteps.unit words cannot be trained on: a student learns from its tokens. Set "
                "keysteps.unit to tokens, or leave training out"
            )
        return self

    def _answers(self) -> tuple[str, ...]:
        """The benchmarks that the teacher can be asked about."""
        if self.teacher.kind == "puzzle":
            return ("puzzles",)
        if self.teacher.kind == "recorded" and self.teacher.completions is None:
            return ("bbh",)
        return ("puzzles", "bbh")


def names() -> list[str]:
    """The profiles that come with the kit."""
    return sorted(path.stem for path in HERE.glob("*.yaml"))


def overview() -> list[dict]:
    """What each profile of the kit is made of, one row a profile, as its file says."""
    return [
        _row(name, _parse((HERE / f"{name}.yaml").read_text("utf-8"), name)) for name in names()
    ]


def _row(name: str, values: dict) -> dict:
    return {
        "profile": name,
        "teacher": values["teacher"]["kind"],
        "benchmark": values["benchmark"]["name"],
        "student": values.get("student", {}).get("base", "none"),
        "seeds": len(values.get("training", {}).get("seeds", ())),
        "notebooks": ", ".join(name.partition("_")[0] for name in values["notebooks"]),
    }


def load(profile: str, overrides: Sequence[str] = ()) -> Profile:
    """Read a profile by name, or by the path of a YAML file, and apply "dotted.name=value"s.

    Raises BadProfile: no such profile, broken YAML, an unknown name, a value out of range.
    """
    path = Path(profile) if profile.endswith((".yaml", ".yml")) else HERE / f"{profile}.yaml"
    if not path.exists():
        raise BadProfile(unknown("profile", profile, names()))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadProfile(f"{path} cannot be read as UTF-8 text: {error}") from error
    values = _parse(text, where=str(path))
    if not isinstance(values, dict):
        raise BadProfile(f"{path}: expected settings by name, found {type(values).__name__}")
    read = _validated(values, path)
    for override in overrides:
        _set(values, read, override)
    return _validated(values, path) if overrides else read


def _validated(values: dict, path: Path) -> Profile:
    try:
        base = HERE.parent.parent if path.parent == HERE else path.resolve().parent
        return Profile.model_validate(values, context={"base": base})
    except ValidationError as error:
        raise BadProfile(_explain(error, path)) from error


class _Loader(yaml.SafeLoader):
    """Refuses a name that stands twice in one place, where YAML would keep the last."""

    def compose_mapping_node(self, anchor):
        node = super().compose_mapping_node(anchor)
        names = [name.value for name, _ in node.value]
        for place, (name, _) in enumerate(node.value):
            if name.value in names[:place]:
                problem = f"{name.value!r} stands there for the second time"
                raise yaml.composer.ComposerError(None, None, problem, name.start_mark)
        return node


def _parse(text: str, where: str):
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        place = error.problem_mark
        raise BadProfile(
            f"{where}, line {place.line + 1}, column {place.column + 1}: not valid YAML: "
            + ", ".join(filter(None, [error.context, error.problem]))
        ) from error
    except yaml.YAMLError as error:  # a character that no YAML may hold
        raise BadProfile(f"{where}: not valid YAML: {' '.join(str(error).split())}") from error


def _set(values: dict, settings: Settings, override: str) -> None:
    """Put one override into the values that the settings were read from."""
    name, equals, value = override.partition("=")
    if not equals:
        raise BadProfile(f"override {override!r}: expected dotted.name=value")
    *parents, leaf = name.strip().split(".")
    for parent in parents:
        _check_name(settings, parent, name)
        values = values.setdefault(parent, {})
        settings = getattr(settings, parent) if isinstance(values, dict) else None
    _check_name(settings, leaf, name)
    values[leaf] = _parse(value, where=f"override {override!r}")


def _check_name(settings: Settings, key: str, name: str) -> None:
    if not isinstance(settings, Settings):
        raise BadProfile(
            f"override {name!r}: nothing is set there that holds {key!r}; set it whole"
        )
    if key not in (valid := type(settings).model_fields):
        raise BadProfile(f"override {name!r}: " + unknown("setting", key, sorted(valid)))


def _explain(error: ValidationError, path: Path) -> str:
    lines = [
        ": ".join(filter(None, [".".join(map(str, e["loc"])), e["msg"]])) + _found(e)
        for e in error.errors()
    ]
    return f"{path.name}: " + "; ".join(lines)


def _found(e) -> str:
    """The wrong value; not one that may be a key."""
    hidden = isinstance(e["input"], dict) or e["type"] == "extra_forbidden"
    hidden = hidden or e["loc"][-1:] in (("key_variable",), ("base_url",))
    return "" if hidden else f" (found {e['input']!r})"
