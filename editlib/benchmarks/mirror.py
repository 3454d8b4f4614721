"""Benchmarks from a local mirror, the folder named by EDITLIB_DATA_DIR.

It holds rows of real benchmarks, and published texts that have no other home:
    bbh/<task>.jsonl              id, task, input, target
    agieval/<set>.jsonl           passage, question, options, label
    arc/ARC-{Easy,Challenge}-Test.jsonl   input (with options), target
    bbh_cot_prompts/<task>.txt    the published few-shot prompt of the task
    codex_cot/<task>.jsonl        id, completion (code-davinci-002 on those prompts)
    dual_cots_ccp.jsonl           published right and wrong rationales
"""

import json
import os
from pathlib import Path

from editlib.benchmarks.hub import MissingData
from editlib.errors import KitError, unknown
from editlib.records import DualCoT

FILES = {
    "bbh": "bbh/{task}.jsonl",
    "agieval": "agieval/{task}.jsonl",
    "arc_e": "arc/ARC-Easy-Test.jsonl",
    "arc_c": "arc/ARC-Challenge-Test.jsonl",
}
TEXTS = {  # fields of a row that are text
    "bbh": ("id", "task", "input", "target"),
    "agieval": ("question", "label"),
    "arc_e": ("input", "target"),
    "arc_c": ("input", "target"),
}


def name_absolutely() -> None:
    """Make EDITLIB_DATA_DIR, if set, mean the same folder in notebooks, which run elsewhere."""
    if folder := os.environ.get("EDITLIB_DATA_DIR"):
        os.environ["EDITLIB_DATA_DIR"] = str(Path(folder).expanduser().resolve())


def data_dir() -> Path:
    """The local mirror, from EDITLIB_DATA_DIR; raises MissingData where there is none."""
    folder = os.environ.get("EDITLIB_DATA_DIR")
    if not folder or not Path(folder).is_dir():
        found = f"it is {folder!r}, which is no folder" if folder else "it is not set"
        raise MissingData(
            "published completions and prompts are read from a local mirror: set EDITLIB_DATA_DIR "
            f"to the folder that holds bbh/ and codex_cot/ ({found}). README.md says how to make it"
        )
    return Path(folder)


def holds(benchmark: str) -> bool:
    """Whether a mirror is named and has the folder of the benchmark."""
    if not os.environ.get("EDITLIB_DATA_DIR") or benchmark not in FILES:
        return False
    return (data_dir() / FILES[benchmark]).parent.is_dir()


def rows(benchmark: str, task: str) -> list[dict]:
    """The rows of one task as the mirror has them; raises KitError naming file and line."""
    return _rows(data_dir() / FILES[benchmark].format(task=task), TEXTS[benchmark])


def bbh_tasks() -> list[str]:
    """The BBH tasks present in the mirror, by name."""
    return _tasks("bbh")


def codex_tasks() -> list[str]:
    """The BBH tasks whose published completions are present in the mirror, by name."""
    return _tasks("codex_cot")


def codex_completions(task: str) -> dict[str, str]:
    """The code-davinci-002 completion of each question of a task, by question id."""
    if task not in codex_tasks():
        raise KitError(unknown("task with published completions", task, codex_tasks()))
    rows = _rows(data_dir() / "codex_cot" / f"{task}.jsonl", ("id", "completion"))
    return {row["id"]: row["completion"] for row in rows}


def published_prompt(task: str) -> str:
    """The published few-shot prompt of a BBH task, up to and without the question."""
    if task not in bbh_tasks():
        raise KitError(unknown("BBH task", task, bbh_tasks()))
    return _read(data_dir() / "bbh_cot_prompts" / f"{task}.txt")


def published_duals() -> list[DualCoT]:
    """The dual CoTs published with the authors' CCP prompts; no completion stands behind them.

    Their questions are BBH questions: train on them and those rows are no longer a test.
    """
    fields = ("id", "task", "question", "correct_cot", "wrong_cot")
    rows = _rows(data_dir() / "dual_cots_ccp.jsonl", (*fields, "correct_answer", "wrong_answer"))
    return [
        DualCoT(
            id=f"{row['id']}#D+dual",
            question_id=row["id"],
            task=row["task"],
            subset="D+dual",
            question=row["question"],
            correct=row["correct_cot"],
            wrong=row["wrong_cot"],
            correct_answer=row["correct_answer"],
            wrong_answer=row["wrong_answer"],
            correct_completion="",
            wrong_completion="",
        )
        for row in rows
    ]


def _tasks(folder: str) -> list[str]:
    tasks = sorted(path.stem for path in (data_dir() / folder).glob("*.jsonl"))
    if not tasks:
        raise MissingData(f"{data_dir() / folder} holds no .jsonl file; is EDITLIB_DATA_DIR right?")
    return tasks


def _rows(path: Path, keys: tuple[str, ...]) -> list[dict]:
    """Rows of a JSONL file that hold these keys; raises KitError naming file and line."""
    # Not splitlines(): a rationale may hold other line separators than the line feed.
    lines = _read(path).removesuffix("\n").split("\n")
    return [_row(line, keys, f"{path}, line {n}") for n, line in enumerate(lines, start=1)]


def _row(line: str, keys: tuple[str, ...], where: str) -> dict:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise KitError(f"{where}: not JSON ({error.msg}); copy the file again") from error
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in keys):
        raise KitError(f"{where}: expected an object with the texts {', '.join(keys)}")
    return row


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode()  # no newline translation: prompts are exact
    except FileNotFoundError as error:
        raise MissingData(f"{path} is missing; is EDITLIB_DATA_DIR right?") from error
    except UnicodeDecodeError as error:
        raise KitError(f"{path}: not UTF-8 ({error}); copy the file again") from error
