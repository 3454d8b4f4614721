"""``python -m editlib.benchmarks.convert BIG-Bench-Hard CasCoD data``: make a local mirror.

The first two are checkouts of the public repositories of those names, the last is the folder that
EDITLIB_DATA_DIR is to name. What goes where is in mirror.py; of BIG-Bench Hard it takes bbh/*.json,
cot-prompts/*.txt and code-davinci-002-outputs/code-davinci-002-cot/*.json, of CasCoD
dataset/bbh/cot-ccp/*.txt. No text is changed.
"""

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from editlib import options
from editlib.answers import read_answer
from editlib.errors import KitError
from editlib.records import atomic_write

_HEAD = re.compile(r"\A[^\n]*canary[^\n]*\n-+\n", re.IGNORECASE)
_CODEX = "code-davinci-002-outputs/code-davinci-002-cot"
_ASKED = "\nA: Let's think step by step."  # how the prompt of a completion ends
_BLOCKS = re.compile(r"\n\n+Q: ")
_PAIR = re.compile(r"(.+?)\n+Right Response: (.+?)\n+Wrong Response: (.+)", re.DOTALL)


def convert(bbh: Path, cascod: Path, out: Path) -> list[str]:
    """Write the mirror, each file whole or not at all; what was written and left out, in lines.

    Raises KitError where a repository does not hold what is named above.
    """
    questions = {
        path.stem: _json(path, "examples", ("input", "target"))
        for path in _files(bbh, "bbh/*.json")
    }
    for task, rows in questions.items():
        texts = [{"input": row["input"], "target": row["target"]} for row in rows]
        named = [{"id": f"bbh/{task}/{n}", "task": task} | row for n, row in enumerate(texts)]
        _write(out / "bbh" / f"{task}.jsonl", _lines(named))
    said = [f"{sum(map(len, questions.values())):,} questions of {len(questions)} tasks"]
    for path in _files(bbh, "cot-prompts/*.txt"):
        _write(out / "bbh_cot_prompts" / path.name, _HEAD.sub("", _text(path)))
    said += _completions(bbh, questions, out / "codex_cot")
    pairs = [row for path in _files(cascod, "dataset/bbh/cot-ccp/*.txt") for row in _pairs(path)]
    whole = [row for row in pairs if None not in row.values()]
    _write(out / "dual_cots_ccp.jsonl", _lines(whole))
    unread = [row["id"] for row in pairs if row not in whole]
    said += [f"{', '.join(unread)}: left out, not to be read as a pair"] if unread else []
    return [*said, f"{len(whole)} pairs of right and wrong rationales"]


def _completions(bbh: Path, questions: dict[str, list[dict]], out: Path) -> list[str]:
    """Write those of each task that has one for every question."""
    said, written = [], 0
    for path in _files(bbh, f"{_CODEX}/*_few_shot_template*.json"):
        task = path.name.partition("_few_shot_template")[0]
        found = _aligned(
            questions.get(task, []), _json(path, "outputs", ("input", "target", "prediction"))
        )
        if missing := len(questions.get(task, [])) - len(found):
            said.append(f"{task} is left out: {missing} of its questions have no completion")
        elif found:
            rows = [{"id": f"bbh/{task}/{n}", "completion": found[n]} for n in sorted(found)]
            _write(out / f"{task}.jsonl", _lines(rows))
            written += 1
    return [f"completions of {written} tasks", *said]


def _aligned(questions: Sequence[dict], outputs: Iterable[dict]) -> dict[int, str]:
    """The completion of each question, by its place.

    By question and gold answer, each used once: some questions are there twice. One question is cut
    short in bbh/, and whole in its prompt.
    """
    waiting: dict[tuple[str, str], list[int]] = defaultdict(list)
    for n, row in enumerate(questions):
        waiting[row["input"], row["target"]].append(n)
    found, left = {}, []
    for row in outputs:
        asked = row["input"].removesuffix(_ASKED).rpartition("\n\nQ: ")[2]
        if places := waiting[asked, row["target"]]:
            found[places.pop(0)] = row["prediction"]
        else:
            left.append((asked, row))
    for asked, row in left:
        for (text, target), places in waiting.items():
            if places and asked.startswith(text) and target == row["target"]:
                found[places.pop(0)] = row["prediction"]
                break
    return found


def _pairs(path: Path) -> list[dict]:
    """The exemplars of a CCP prompt, one that it shows twice once; None for what cannot be read."""
    blocks = [block for block in _BLOCKS.split(_text(path))[1:] if "{QUESTION}" not in block]
    rows = []
    for k, block in enumerate(dict.fromkeys(block.strip() for block in blocks)):
        parts = _PAIR.fullmatch(block)
        question, right, wrong = parts.groups() if parts else (None, None, None)
        rows.append(
            {
                "id": f"ccp/{path.stem}/{k}",
                "task": path.stem,
                "question": question,
                "correct_cot": right,
                "wrong_cot": wrong,
                "correct_answer": read_answer(right or ""),
                "wrong_answer": read_answer(wrong or ""),
            }
        )
    return rows


# --- files ------------------------------------------------------------------------------------


def _files(repository: Path, pattern: str) -> list[Path]:
    found = sorted(repository.glob(pattern))
    if not found:
        raise KitError(
            f"{repository} holds no {pattern}. Expected a checkout of the repository; README.md "
            "names both and the commits"
        )
    return found


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()  # no newline translation: prompts are exact
    except UnicodeDecodeError as error:
        raise KitError(f"{path}: not UTF-8 ({error}); check the repository out again") from error


def _json(path: Path, name: str, fields: Sequence[str]) -> list[dict]:
    """The rows of a list in a JSON object, each with these fields, all text."""
    try:
        rows = json.loads(_text(path))[name]
        if all(isinstance(row[field], str) for row in rows for field in fields):
            return rows
    except (ValueError, KeyError, TypeError):
        pass
    raise KitError(
        f"{path}: expected a JSON object with a list of {name}, each with {', '.join(fields)} as "
        "text; check out the commit that README.md names"
    )


def _lines(rows: Iterable[dict]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _write(path: Path, text: str) -> None:
    try:
        atomic_write(path, lambda temporary: temporary.write_bytes(text.encode()))
    except OSError as error:
        raise KitError(
            f"{path} cannot be written: {error.strerror}; name another folder"
        ) from error


def main(argv: Sequence[str] | None = None) -> int:
    """0: done; 2: a repository that does not hold what is needed."""
    parser = argparse.ArgumentParser(prog="editlib.benchmarks.convert", description=__doc__)
    for name in ("bbh", "cascod", "out"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args(argv)
    try:
        said = convert(arguments.bbh, arguments.cascod, arguments.out)
    except KitError as error:
        options.complain(error)
        return 2
    print("\n".join([*said, f"written to {arguments.out}"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
