"""The stages of a run, in the order the data flows: each reads tables, makes tables, and is kept.

The modules before this one are plain functions on records; here they meet the files of a
`Workspace`. Every stage function returns the folder of its stage.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from editlib import (
    answers,
    bases,
    benchmarks,
    completions,
    dual,
    keysteps,
    methods,
    prompts,
    published,
    puzzles,
    reading,
    teacher,
    views,
)
from editlib.completions import (
    Completion,
    CompletionStore,
    Lost,
    Request,
    exchange,
    request_of,
)
from editlib.errors import KitError, unknown
from editlib.mistakes import Chain, Verdict, by_judge
from editlib.profiles import SampledTeacherSettings
from editlib.published import PublishedPrompts
from editlib.records import (
    CoT,
    DualCoT,
    Question,
    batches,
    growing_table,
    read_batches,
    read_frame,
    read_table,
    write_frame,
    write_frames,
)
from editlib.teacher import ManyTeacher, PuzzleSettings, Teacher
from editlib.workspace import Workspace

EVALUATED = ("test", "longer", "families")  # of puzzles
ASKING = (
    answers,
    reading,
    benchmarks,
    completions,
    dual,
    prompts,
    published,
    puzzles,
    teacher,
    Path(__file__),
)
AGAIN = ", second sample"  # after the name of a kind of prompt that is asked once more
SHOWN = 3  # right CoTs of a demonstration that are given a twin
AT_ONCE = 10_000  # questions in memory at a time while the teacher is asked; BBH is one batch
DRAWN_FROM = 1_000  # CCP exemplars of a task at most, so that memory stays flat; ours
TRIED = 8  # training questions of a task asked without exemplars, to make exemplars of; ours


def teach(ws: Workspace) -> list[str]:
    """Ask the teacher for all that the profile needs of it; the stages made, in order.

    They are those of annotate, build_duals and, where a method learns from a second sample,
    resample.
    """
    made = [annotate(ws), build_duals(ws)]
    settings = ws.profile.training
    if settings and any(map(_learns_from_two, settings.students)):
        made.append(resample(ws))
    return [folder.name for folder in made]


def _learns_from_two(method: str) -> bool:
    """Whether a method, or one that says how long it trains, learns from two samples."""
    return any(
        phase.data == views.RESAMPLED or (phase.as_long_as and _learns_from_two(phase.as_long_as))
        for phase in methods.phases(method)
    )


# --- 01: D+ and D- ---------------------------------------------------------------------------


def annotate(ws: Workspace) -> Path:
    """Ask the teacher for a CoT of every training question.

    Makes questions.parquet (Question), cots.parquet (CoT: correct, wrong, unread) and
    usage.parquet (the columns of usage).
    """
    return ws.stage("annotation", partial(_annotate, ws), code=_asking(ws))


def _annotate(ws: Workspace, folder: Path) -> None:
    annotate_each(ws, training_questions(ws), folder)


def annotate_each(ws: Workspace, questions: Iterable[Question], folder: Path) -> None:
    """Write the tables of annotate() of any questions; memory does not grow with their number."""
    table = folder / "questions.parquet"
    with growing_table(table, Question) as add:
        for some in batches(questions, AT_ONCE):
            add(some)
    few = _first_of_each_task(q for some in read_batches(table, Question) for q in some)
    by, begin, spent = _teacher(ws), _begins(ws, few), []
    with growing_table(folder / "cots.parquet", CoT) as add:
        for some in read_batches(table, Question, _at_once(ws)):
            cots, took = _answer(ws, by, some, begin)
            add(cots)
            spent.append(took)
    tried = _tried(ws, few)[2]
    write_frame(folder / "usage.parquet", pd.DataFrame([*tried, _together("CEP", spent)]))


def resample(ws: Workspace) -> Path:
    """Ask the teacher for a second CoT of every training question, and rectify the wrong ones.

    The prompts are those of CEP and AHP, the completions another sample. Makes cots.parquet (CoT:
    correct, wrong, unread, rectified, rectified_dropped) and usage.parquet. Raises KitError where
    completions were recorded: there is one a prompt.
    """
    if ws.profile.teacher.kind == "recorded":
        raise KitError(
            "recorded completions hold one sample of a prompt: a method that learns from two, such "
            "as 'Std-CoT, repeat sampling', needs another teacher. Leave it out of training.methods"
        )
    make = partial(_resample, ws)
    return ws.stage("resampling", make, inputs=["annotation"], code=_asking(ws))


def _resample(ws: Workspace, folder: Path) -> None:
    by, begin = _teacher(ws), _begins(ws, _few(ws))
    first, hints = [], []
    with growing_table(folder / "cots.parquet", CoT) as add:
        for _, cots, spent in _annotated_again(ws, by, begin):
            add(cots)
            first.append(spent)
        for questions, cots, _ in _annotated_again(ws, by, begin):  # from the store
            rectified, spent = _rectify(ws, by, questions, cots, begin, AGAIN, sample=1)
            add(rectified)
            hints.append(spent)
    spent = [_together(f"CEP{AGAIN}", first), _together(f"AHP{AGAIN}", hints)]
    write_frame(folder / "usage.parquet", pd.DataFrame(spent))


def _annotated_again(
    ws: Workspace, by: Teacher | ManyTeacher, begin: Mapping[str, prompts.Shots]
) -> Iterator[tuple[list[Question], list[CoT], dict]]:
    """The questions with their second CoTs and what these took, some at a time."""
    for questions, _ in _annotated(ws):
        yield questions, *_answer(ws, by, questions, begin, AGAIN, sample=1)


def _answer(
    ws: Workspace,
    by: Teacher | ManyTeacher,
    questions: list[Question],
    begin: Mapping[str, prompts.Shots],
    again: str = "",
    sample: int = 0,
) -> tuple[list[CoT], dict]:
    """The CoTs of some questions, and what they took."""
    asked = _cep_requests(ws, questions, begin)
    answered, spent = _ask(ws, by, asked, f"CEP{again}", sample)
    return dual.annotate(questions, answered), spent


def training_questions(ws: Workspace) -> list[Question]:
    """What the teacher is asked: the training split, or every recorded question."""
    settings = ws.profile.benchmark
    if _published(ws):
        known = set(benchmarks.codex_tasks())
        return [q for q in benchmarks.load("bbh", "all") if q.task in known]
    if settings.name == "puzzles":
        return benchmarks.load("puzzles", "train", settings.questions.train)
    return benchmarks.load(settings.name, "train", settings.per_task, settings.division)


def data_tables(ws: Workspace) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sizes and quirks of the benchmarks of a run, and of those that the local mirror holds.

    A benchmark out of domain that cannot be had now is left out: it is needed in notebook 05.
    """
    settings = ws.profile.benchmark
    if settings.name == "puzzles":
        return benchmarks.size_table(training_questions(ws)), benchmarks.quirks("puzzles")
    asked, quirks = benchmarks.load(settings.name, "all"), [benchmarks.quirks(settings.name)]
    for name in dict.fromkeys([*settings.out_of_domain, *benchmarks.present()]):
        if name != settings.name:
            with suppress(benchmarks.MissingData):
                asked += benchmarks.load(name, "test", division=settings.division)
                quirks.append(benchmarks.quirks(name))
    return benchmarks.size_table(asked), pd.concat(quirks, ignore_index=True)


def division(ws: Workspace) -> pd.DataFrame:
    """On which side of the split each question of BBH lies: task, question, split.

    Without a row for puzzles, whose ids name their split.
    """
    settings = ws.profile.benchmark
    real = settings.name != "puzzles"
    questions = benchmarks.load("bbh", "all", division=settings.division) if real else []
    rows = [(question.task, question.id, question.split) for question in questions]
    return pd.DataFrame(rows, columns=["task", "question", "split"])


def teaching(ws: Workspace, *stages: str) -> pd.DataFrame:
    """Who answered each kind of prompt in the stages, when, and what was lost.

    One row a kind; the second sample has rows of its own. Columns: prompt, teacher, served_as (the
    model as the server names it), first_day, last_day (UTC), answered, dropped (no answer, or one
    that failed its check), then the columns of usage() but n. The exemplars that were asked for
    have a row without days.
    """
    rows = _all_taught(ws, [stage for stage in stages if stage != "resampling"][-1])
    if "resampling" in stages:
        rows += [row | {"prompt": row["prompt"] + AGAIN} for row in _all_taught(ws, "resampling")]
    spent = pd.concat(read_frame(ws.need(stage) / "usage.parquet") for stage in stages)
    taught = pd.DataFrame(rows).merge(spent[spent["n"] > 0], on="prompt", how="outer", sort=False)
    taught["answered"] = taught["answered"].fillna(taught.pop("n"))
    words = dict.fromkeys(["served_as", "first_day", "last_day"], "")
    taught = taught.fillna({"teacher": rows[0]["teacher"], "dropped": 0, **words})
    return taught.astype({"answered": int, "dropped": int})


def _all_taught(ws: Workspace, stage: str) -> list[dict]:
    """A row for each kind of prompt that the CoTs of a stage answer."""
    cots = read_table(ws.need(stage) / "cots.parquet", CoT)
    with completion_store(ws) as store:
        stored = store.get([cot.completion for cot in cots])
    rows = []
    for prompt, roles in dual.ASKED.items():
        found = [cot for cot in cots if cot.role in roles and cot.completion in stored]
        rows += [_taught(prompt, found, [stored[cot.completion] for cot in found])] if found else []
    return rows


def _taught(prompt: str, cots: Sequence[CoT], completions: Sequence[Completion]) -> dict:
    days = [completion.created[:10] for completion in completions]
    return {
        "prompt": prompt,
        "teacher": completions[0].teacher,
        "served_as": ", ".join(sorted({c.served_model for c in completions if c.served_model})),
        "first_day": min(days),
        "last_day": max(days),
        "answered": len(cots),
        "dropped": sum(cot.role in dual.DROPPED for cot in cots),
    }


def reading_differences(ws: Workspace) -> pd.DataFrame:
    """The first CoTs that strict and lenient read differently, the table of answers.differences."""
    questions, cots = read_annotation(ws)
    return answers.differences(questions, {cot.question_id: cot.text for cot in cots})


def _cep_requests(
    ws: Workspace, questions: Sequence[Question], begin: Mapping[str, prompts.Shots]
) -> list[Request]:
    if _published(ws):
        return [Request(_published_cep(question), temperature=0.0) for question in questions]
    if files := _prompt_files(ws):
        asked = [files.cep(question.task, question.text) for question in questions]
        return [Request(prompt, **_sampling(ws)) for prompt in asked]
    return dual.cep_requests(questions, begin, **_sampling(ws))


def _sampling(ws: Workspace) -> dict[str, float]:
    """The temperature of a Request, where the teacher's settings name one."""
    return ws.profile.teacher.model_dump(include={"temperature"})


def _prompt_files(ws: Workspace) -> PublishedPrompts | None:
    """The published few-shot files, if the profile asks with those."""
    settings = ws.profile.benchmark.exemplars
    return PublishedPrompts(settings.folder) if settings.kind == "published" else None


def _published(ws: Workspace) -> bool:
    """Whether the teacher replays what was published, prompts included."""
    settings = ws.profile.teacher
    return settings.kind == "recorded" and settings.completions is None


def _asking(ws: Workspace) -> tuple:
    """What makes the stages that ask stale when it changes."""
    completions = getattr(ws.profile.teacher, "completions", None)
    return (*ASKING, *_there(completions), *prompt_folder(ws))


def prompt_folder(ws: Workspace) -> tuple[Path, ...]:
    """The folder of published few-shot files, where the profile names one that is there."""
    return _there(ws.profile.benchmark.exemplars.folder)


def _there(path: Path | None) -> tuple[Path, ...]:
    return (path,) if path and path.exists() else ()


def _published_cep(question: Question) -> str:
    return prompts.published_cep(benchmarks.published_prompt(question.task), question.text)


def shots(ws: Workspace, questions: Sequence[Question]) -> dict[str, prompts.Shots]:
    """How the CEP of each task of the questions begins; of BBH, of training questions."""
    tasks = sorted({question.task for question in questions})
    if ws.profile.benchmark.name == "puzzles":
        return prompts.puzzle_shots(tasks)
    if files := _prompt_files(ws):
        return {task: files.shots(task) for task in tasks}
    few, answered, _ = _tried(ws, questions)
    return prompts.bbh_shots(dual.own_exemplars(few, answered))


def _tried(
    ws: Workspace, questions: Sequence[Question]
) -> tuple[list[Question], list[Completion], list[dict]]:
    """Zero-shot CoTs of a few training questions of each task, to make exemplars of; and usage.

    None where the exemplars are not the kit's own.
    """
    settings = ws.profile.benchmark
    asked = settings.name != "puzzles" and not _published(ws)
    if not asked or settings.exemplars.kind != "own":
        return [], [], []
    few = _first_of_each_task(questions)
    unseen = prompts.bbh_shots(dict.fromkeys((question.task for question in few), ()))
    texts = [prompts.baseline("zero-shot-CoT", unseen[q.task], q.text) for q in few]
    asked = [Request(text, **_sampling(ws)) for text in texts]
    answered, spent = _ask(ws, _teacher(ws), asked, "exemplars")
    return few, answered, [spent]


def _first_of_each_task(questions: Iterable[Question]) -> list[Question]:
    """TRIED questions of each task at most: exemplars are made of no others."""
    few, seen = [], Counter()
    for question in questions:
        seen[question.task] += 1
        few += [question] if seen[question.task] <= TRIED else []
    return few


def _teacher(ws: Workspace) -> Teacher | ManyTeacher:
    settings = ws.profile.teacher
    if isinstance(settings, SampledTeacherSettings):
        return _model(settings)
    if settings.kind == "recorded":
        if settings.completions:
            return teacher.replay(exchange.read(settings.completions), settings.completions.name)
        return teacher.RecordedTeacher("code-davinci-002", _recorded())
    return teacher.PuzzleTeacher(
        PuzzleSettings(
            settings.error_rates.model_dump(),
            settings.paraphrase,
            settings.heeds_hint,
            settings.seed,
        )
    )


def _model(settings: SampledTeacherSettings) -> Teacher | ManyTeacher:
    # imported where they are wanted: their libraries take seconds, in every notebook
    if settings.kind == "local":
        from editlib.local_teacher import LocalTeacher

        return LocalTeacher(settings)
    from editlib.batch_files import BatchWriter
    from editlib.endpoint import EndpointTeacher

    return BatchWriter(settings) if settings.batch_file else EndpointTeacher(settings)


def asked_of(ws: Workspace) -> tuple[str, int | None]:
    """The teacher of a run as its completions name it, and the seed that they bear."""
    settings = ws.profile.teacher
    sampled = isinstance(settings, SampledTeacherSettings)
    return _teacher(ws).name, settings.seed if sampled else None


def is_asked_by(ws: Workspace, row: Completion) -> bool:
    """Whether a run would ask for a completion as it was asked for: by its teacher and sampling.

    A store may hold others, of the same teacher under settings of before.
    """
    settings, (name, seed) = ws.profile.teacher, asked_of(ws)
    if (row.teacher, row.seed) != (name, seed):
        return False
    if not isinstance(settings, SampledTeacherSettings):
        return True  # one prompt has one completion
    first = _sampled(settings, Request(row.prompt, **_sampling(ws), sample=row.sample))
    tries = settings.attempts, settings.highest_temperature
    return row.attempt < tries[0] and request_of(row) == teacher.retried(first, row.attempt, *tries)


def _recorded() -> dict[str, str]:
    """Prompt -> published completion, over all tasks that have any."""
    known = {task: benchmarks.codex_completions(task) for task in benchmarks.codex_tasks()}
    questions = [q for q in benchmarks.load("bbh", "all") if q.task in known]
    return {_published_cep(q): known[q.task][q.id] for q in questions}


def completion_store(ws: Workspace, sample: int = 0) -> CompletionStore:
    """The completions of this run, kept across stages and settings."""
    ws.create()
    return CompletionStore(ws.artifacts / "completions.sqlite", sample)


def _ask(
    ws: Workspace,
    by: Teacher | ManyTeacher,
    requests: Sequence[Request],
    name: str,
    sample: int = 0,
) -> tuple[list[Completion], dict]:
    """The completion of each request that counts, and what all attempts took."""
    settings, attempts, highest = ws.profile.teacher, 1, 0.0
    mode = answers.mode_for(ws.profile.benchmark.name)
    answered = partial(answers.states_answer, mode=mode)
    requests = [replace(request, sample=sample) for request in requests]
    if isinstance(settings, SampledTeacherSettings):
        attempts, highest = settings.attempts, settings.highest_temperature
        requests = [_sampled(settings, request) for request in requests]
    with completion_store(ws, sample) as store:
        tried = teacher.ask_until_read(by, requests, store, name, attempts, highest, answered)
        lost = store.lost(by.name, {request.prompt for request in requests})
    return [tries[-1] for tries in tried], usage(name, tried, lost)


def _sampled(settings: SampledTeacherSettings, request: Request) -> Request:
    return replace(
        request, top_p=settings.top_p, max_tokens=settings.max_tokens, seed=settings.seed
    )


def usage(name: str, tried: Sequence[Sequence[Completion]], lost: Sequence[Lost] = ()) -> dict:
    """How many completions one kind of prompt took, and their tokens as the teacher counts them.

    tried: all attempts at each prompt, of which n counts the prompts. lost: what was or may have
    been paid for without a reply that can be read; its tokens and cost count. Columns: prompt, n,
    prompt_tokens, completion_tokens; cost_usd where the teacher has prices; attempts (in all) where
    some were asked again; lost, and lost_estimated (no reply said what it took), where there are
    any.
    """
    rows = [row for tries in tried for row in tries]
    paid = [*rows, *lost]
    spent = {
        "prompt": name,
        "n": len(tried),
        "prompt_tokens": sum(row.prompt_tokens or 0 for row in paid),
        "completion_tokens": sum(row.completion_tokens or 0 for row in paid),
    }
    if any(row.cost is not None for row in paid):
        spent["cost_usd"] = sum(row.cost or 0.0 for row in paid)
    if len(rows) > len(tried):
        spent["attempts"] = len(rows)
    if lost:
        spent |= {"lost": len(lost), "lost_estimated": sum(row.estimated for row in lost)}
    return spent


def teacher_chains(ws: Workspace, questions: Sequence[Question]) -> list[Completion]:
    """The teacher's first CoT of any questions, asked as those of training (for comparison)."""
    asked = _cep_requests(ws, questions, _begins(ws, questions))
    return _ask(ws, _teacher(ws), asked, "CEP")[0]


# --- 00: the method on one task --------------------------------------------------------------


@dataclass(frozen=True)
class Demonstration:
    """The method on a few questions of one task."""

    questions: list[Question]
    cots: list[CoT]
    completions: dict[str, Completion]  # by key, those of the CoTs that were asked for
    pair: DualCoT


def demonstrate(ws: Workspace, task: str, most: int) -> Demonstration:
    """Annotate at most so many training questions of a task, and make pairs of the first ones.

    The completions are stored: what later notebooks ask again is not answered anew. Raises
    KitError where there is no such task, or no pair comes of it.
    """
    everything = training_questions(ws)
    questions = [question for question in everything if question.task == task][:most]
    if not questions:
        raise KitError(unknown("task", task, sorted({question.task for question in everything})))
    by, begin = _teacher(ws), _begins(ws, questions)
    cots, _ = _answer(ws, by, questions, begin)
    if _published(ws):
        pairs = [pair for pair in benchmarks.published_duals() if pair.task == task]
    else:
        right = dual.with_role(cots, "correct")[:SHOWN]
        cots += _rectify(ws, by, questions, cots, begin)[0]
        shown = dual.ccp_exemplars(questions, cots)
        cots += _corrupt(ws, by, questions, right, shown)[0]
        pairs = sorted(dual.pair(questions, cots), key=lambda pair: pair.subset)  # D+dual first
    if not pairs:
        raise KitError(f"no pair comes of {len(questions)} questions of {task}; name another task")
    with completion_store(ws) as store:
        return Demonstration(questions, cots, store.get([c.completion for c in cots]), pairs[0])


# --- 02: D-+, D+- and Ddual ------------------------------------------------------------------


def build_duals(ws: Workspace) -> Path:
    """Rectify D-, corrupt D+, check both, and pair them.

    Makes cots.parquet (CoT, all roles), duals.parquet (DualCoT), counts.parquet (stage, task, n),
    usage.parquet and preferences.jsonl (prompt, chosen, rejected: TRL's columns). With recorded
    completions no further question can be asked: the pairs are the published ones.
    """
    make = _published_duals if _published(ws) else _build_duals
    return ws.stage("duals", partial(make, ws), inputs=["annotation"], code=_asking(ws))


def _build_duals(ws: Workspace, folder: Path) -> None:
    by, begin = _teacher(ws), _begins(ws, _few(ws))
    hints, lures, shown = [], [], {}
    for questions, cots in _annotated(ws):  # all of them, since any may be shown to any CCP
        rectified, spent = _rectify(ws, by, questions, cots, begin)
        hints.append(spent)
        for task, found in dual.ccp_exemplars(questions, [*cots, *rectified]).items():
            known = shown.setdefault(task, [])
            known += found[: DRAWN_FROM - len(known)]
    _write_duals(folder, _dual_parts(ws, by, begin, shown, lures))
    spent = [_together("AHP", hints), _together("CCP", lures)]
    write_frame(folder / "usage.parquet", pd.DataFrame(spent))


def _annotated(ws: Workspace) -> Iterator[tuple[list[Question], list[CoT]]]:
    """The questions with their first CoTs, some at a time; all at once for one batch file."""
    folder, size = ws.need("annotation"), _at_once(ws)
    tables = ("questions.parquet", Question), ("cots.parquet", CoT)
    yield from zip(*(read_batches(folder / name, kind, size) for name, kind in tables), strict=True)


def _at_once(ws: Workspace) -> int:
    return 2**31 - 1 if getattr(ws.profile.teacher, "batch_file", None) else AT_ONCE


def _few(ws: Workspace) -> list[Question]:
    """TRIED of the annotated questions of each task at most."""
    return _first_of_each_task(question for some, _ in _annotated(ws) for question in some)


def _rectify(
    ws: Workspace,
    by: Teacher | ManyTeacher,
    questions: list[Question],
    cots: list[CoT],
    begin: Mapping[str, prompts.Shots],
    again: str = "",
    sample: int = 0,
) -> tuple[list[CoT], dict]:
    """What becomes of the wrong ones among the CoTs of some questions, and what it took."""
    wrong = dual.with_role(cots, "wrong")
    asked = _ahp_requests(ws, questions, wrong, begin)
    hinted, spent = _ask(ws, by, asked, f"AHP{again}", sample)
    return dual.rectified(questions, wrong, hinted), spent


def _dual_parts(
    ws: Workspace,
    by: Teacher | ManyTeacher,
    begin: Mapping[str, prompts.Shots],
    shown: Mapping,
    lures: list[dict],
) -> Iterator[tuple[list[Question], list[CoT], list[DualCoT]]]:
    """Questions, all CoTs and the pairs, some at a time; what CCP took is added to lures."""
    for questions, cots in _annotated(ws):
        rectified, _ = _rectify(ws, by, questions, cots, begin)  # from the store
        corrupted, spent = _corrupt(ws, by, questions, dual.with_role(cots, "correct"), shown)
        lures.append(spent)
        cots = [*cots, *rectified, *corrupted]
        yield questions, cots, dual.pair(questions, cots)


def _corrupt(
    ws: Workspace,
    by: Teacher | ManyTeacher,
    questions: list[Question],
    correct: list[CoT],
    shown: Mapping[str, Sequence[prompts.Exemplar]],
) -> tuple[list[CoT], dict]:
    """What becomes of correct CoTs of some questions, and what it took."""
    misled, spent = _ask(ws, by, _ccp_requests(ws, questions, correct, shown), "CCP")
    return dual.corrupted(questions, correct, misled), spent


def _together(name: str, parts: Sequence[dict]) -> dict:
    """The usage of one kind of prompt from that of its parts; attempts are at least one each."""
    total = usage(name, [])
    for key in dict.fromkeys(key for part in parts for key in part if key != "prompt"):
        total[key] = sum(part.get(key, part["n"] if key == "attempts" else 0) for part in parts)
    return total


def _begins(ws: Workspace, questions: Sequence[Question]) -> dict[str, prompts.Shots]:
    """How CEP and AHP begin by task; nothing where whole prompt files say it.

    Raises KitError, before any is paid for, where such a file is missing.
    """
    if _published(ws):
        return {}
    if files := _prompt_files(ws):
        files.check(sorted({question.task for question in questions}))
        return {}
    return shots(ws, questions)


def _ahp_requests(
    ws: Workspace,
    questions: Sequence[Question],
    wrong: Sequence[CoT],
    begin: Mapping[str, prompts.Shots],
) -> list[Request]:
    if files := _prompt_files(ws):
        texts = {question.id: question.text for question in questions}
        asked = [files.ahp(cot.task, texts[cot.question_id], cot.answer) for cot in wrong]
        return [Request(prompt, **_sampling(ws)) for prompt in asked]
    return dual.ahp_requests(questions, wrong, begin, **_sampling(ws))


def _ccp_requests(
    ws: Workspace,
    questions: Sequence[Question],
    correct: Sequence[CoT],
    shown: Mapping[str, Sequence[prompts.Exemplar]],
) -> list[Request]:
    if files := _prompt_files(ws):
        texts = {question.id: question.text for question in questions}
        asked = [files.ccp(cot.task, texts[cot.question_id], cot.text) for cot in correct]
        return [Request(prompt, **_sampling(ws)) for prompt in asked]
    tasks = {question.task: () for question in questions}
    puzzle = ws.profile.benchmark.name == "puzzles"
    begin = shots(ws, questions) if puzzle else prompts.bbh_shots(tasks, wrong=True)
    seed = ws.profile.teacher.seed
    return dual.ccp_requests(questions, correct, shown, begin, seed=seed, **_sampling(ws))


def _published_duals(ws: Workspace, folder: Path) -> None:
    questions, cots = read_annotation(ws)
    _write_duals(folder, [(questions, cots, benchmarks.published_duals())])
    nothing = pd.DataFrame([usage("AHP", []), usage("CCP", [])])
    write_frame(folder / "usage.parquet", nothing)


def _write_duals(
    folder: Path, parts: Iterable[tuple[list[Question], list[CoT], list[DualCoT]]]
) -> None:
    counted: Counter[tuple[str, str]] = Counter()
    with (
        growing_table(folder / "cots.parquet", CoT) as add_cots,
        growing_table(folder / "duals.parquet", DualCoT) as add_duals,
        (folder / "preferences.jsonl").open("w", encoding="utf-8") as preferences,
    ):
        for questions, cots, duals in parts:
            add_cots(cots)
            add_duals(duals)
            rows = dual.counts(questions, cots, duals)
            counted.update({(row["stage"], row["task"]): row["n"] for row in rows})
            if duals:
                rows = pd.DataFrame(dual.preference_rows(duals))
                rows.to_json(preferences, orient="records", lines=True, force_ascii=False)
    counts = [(stage, task, n) for (stage, task), n in counted.items()]
    write_frame(folder / "counts.parquet", pd.DataFrame(counts, columns=["stage", "task", "n"]))


def read_annotation(ws: Workspace) -> tuple[list[Question], list[CoT]]:
    """The training questions and their first CoTs, as notebook 01 left them."""
    folder = ws.need("annotation")
    return read_table(folder / "questions.parquet", Question), read_table(
        folder / "cots.parquet", CoT
    )


def read_resampled(ws: Workspace) -> list[CoT]:
    """The second CoT of every training question; asked for now, where that was not done yet."""
    return read_table(resample(ws) / "cots.parquet", CoT)


def read_duals(ws: Workspace) -> tuple[list[CoT], list[DualCoT]]:
    """All CoTs and the pairs, as notebook 02 left them."""
    folder = ws.need("duals")
    return read_table(folder / "cots.parquet", CoT), read_table(folder / "duals.parquet", DualCoT)


# --- 03: key steps ---------------------------------------------------------------------------


def locate(ws: Workspace) -> Path:
    """Find the key steps of every pair.

    Makes keysteps.parquet, the table of keysteps.mark.
    """
    code = [keysteps, Path(__file__)]
    if ws.profile.keysteps.unit == "tokens":
        code += bases.base_files(ws.profile.student)
    return ws.stage("keysteps", partial(_locate, ws), inputs=["duals"], code=code)


def _locate(ws: Workspace, folder: Path) -> None:
    segment, ties = segmenter(ws), ws.profile.keysteps.ties
    duals = read_batches(ws.need("duals") / "duals.parquet", DualCoT)
    marks = (keysteps.mark(batch, segment, ties) for batch in duals)
    write_frames(folder / "keysteps.parquet", marks, keysteps.MARKS)


def segmenter(ws: Workspace) -> keysteps.Segmenter:
    """How this run cuts responses into units: the student's tokens, or words."""
    if ws.profile.keysteps.unit == "words":
        return keysteps.WordSegmenter()
    return keysteps.TokenSegmenter(bases.load_tokenizer(ws.profile.student))


def read_keysteps(ws: Workspace) -> pd.DataFrame:
    """Ids and key marks of every pair, as notebook 03 left them."""
    return read_frame(ws.need("keysteps") / "keysteps.parquet")


def known_mistakes(ws: Workspace, completions: Sequence[str]) -> dict[str, dict]:
    """What a puzzle teacher knows about its own mistakes, by completion key. For analysis only.

    Each value holds mistakes (kind, step, start, end: characters) and consequences (start, end).
    """
    with completion_store(ws) as store:
        return store.truth(completions)


def judge_of(ws: Workspace) -> tuple[Teacher | ManyTeacher, dict] | None:
    """The judge of the profile, and how it is sampled (fields of Request); None: it names none."""
    settings = ws.profile.judge
    if settings is None:
        return None
    sampling = settings.model_dump(include={"temperature", "top_p", "max_tokens", "seed"})
    return _model(settings), sampling


def judge_mistakes(ws: Workspace, chains: Sequence[Chain]) -> list[Verdict] | None:
    """What the judge of the profile says about each chain; None where it names no judge.

    Replies are kept with the completions of the run. For analysis only.
    """
    if (found := judge_of(ws)) is None:
        return None
    judge, sampling = found
    with completion_store(ws) as store:
        return by_judge(judge, store, **sampling)(chains)


# --- questions for students ------------------------------------------------------------------


def evaluated(ws: Workspace) -> tuple[str, ...]:
    """The splits that students are examined on; for BBH the others are benchmarks by name."""
    settings = ws.profile.benchmark
    return EVALUATED if settings.name == "puzzles" else ("test", *settings.out_of_domain)


def split(ws: Workspace, name: str) -> list[Question]:
    """The questions of one split, as many as the profile says; each names that split."""
    settings = ws.profile.benchmark
    if settings.name == "puzzles":
        return benchmarks.load("puzzles", name, getattr(settings.questions, name))
    if name in benchmarks.SPLITS[settings.name]:
        return benchmarks.load(settings.name, name, settings.per_task, settings.division)
    found = benchmarks.load(name, "test", settings.per_task, settings.division)
    return [replace(question, split=name) for question in found]
