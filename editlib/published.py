"""The published few-shot prompts, read from a folder as their authors lay them out.

    cot-prompts/<task>.txt   CEP, as in BIG-Bench Hard and in the authors' repository
    cot-ahp/<task>.txt       AHP: the same with a hint line after every question
    cot-ccp/<task>.txt       CCP: right and wrong responses side by side

A file either ends in a block of placeholders, {QUESTION}, {CORRECT}, {RIGHT} and {WRONG}, which are
filled in, or in its last exemplar, and then the block of its kind is appended. Nothing else of a
file is touched. All three folders lie in dataset/bbh of the authors' repository, SOURCE.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from editlib.answers import read_answer
from editlib.errors import KitError
from editlib.prompts import Exemplar, Shots

SOURCE = "github.com/C-W-D/CasCoD"  # shared by CasCoD and EDIT, says its README
BLOCKS = {  # folder -> the last block of a prompt
    "cot-prompts": "Q: {QUESTION}\nA: Let's think step by step.",
    "cot-ahp": "Q: {QUESTION}\nH: The correct answer is {CORRECT}.\nA: Let's think step by step.",
    "cot-ccp": "Q: {QUESTION}\nRight Response: {RIGHT}\nWrong Response: {WRONG}",
}
_CANARY = re.compile(r"\A[^\n]*canary[^\n]*\n-+\n", re.IGNORECASE)  # not meant for a model
_EXEMPLAR = re.compile(r"(.+)\nA: Let's think step by step\.\s+(.+)", re.DOTALL)
_INSTEAD = (
    f"Copy cot-prompts/, cot-ahp/ and cot-ccp/ from dataset/bbh of {SOURCE} to there, or set "
    "benchmark.exemplars.kind to own"
)


@dataclass(frozen=True)
class PublishedPrompts:
    """Prompts of one folder; each method raises KitError where a file is missing or no text."""

    folder: Path

    def cep(self, task: str, question: str) -> str:
        """Chain of thought extraction prompt."""
        return self._filled("cot-prompts", task, QUESTION=question)

    def ahp(self, task: str, question: str, answer: str) -> str:
        """Answer hint prompt, with the correct answer of the question."""
        return self._filled("cot-ahp", task, QUESTION=question, CORRECT=answer)

    def ccp(self, task: str, question: str, right: str) -> str:
        """Contrastive CoT prompt, up to where the wrong response begins."""
        return self._filled("cot-ccp", task, QUESTION=question, RIGHT=right, WRONG="").rstrip(" ")

    def shots(self, task: str) -> Shots:
        """The description and the exemplars of the CEP, each with the answer that it ends on.

        Raises KitError where there are none, or where one of them has no rationale or no answer.
        """
        description, *blocks = re.split(r"\n\n+Q: ", self._parts("cot-prompts", task)[0].rstrip())
        solved = [_EXEMPLAR.fullmatch(block) for block in blocks]
        found = [Exemplar(m[1], read_answer(m[2]), m[2]) for m in solved if m]
        if not found or len(found) < len(blocks) or any(each.answer is None for each in found):
            raise KitError(
                f"{self._path('cot-prompts', task)}: no exemplars to be read. Expected after "
                "a description, and parted by blank lines: Q: ..., then A: Let's think step by "
                "step., then a rationale that ends in: the answer is ... Copy the file again"
            )
        return Shots(description, tuple(found))

    def check(self, tasks: Collection[str]) -> None:
        """Raises KitError unless the files of all three kinds are there for each of the tasks."""
        missing = []
        for kind in BLOCKS:
            lacking = [f"{kind}/{t}.txt" for t in tasks if not self._path(kind, t).is_file()]
            missing += lacking if (self.folder / kind).is_dir() else [f"{kind}/"]
        if missing:
            raise KitError(f"{', '.join(missing)} missing in {self.folder}. {_INSTEAD}")
        for kind, task in product(BLOCKS, tasks):
            self._read(kind, task)

    def _filled(self, kind: str, task: str, **values: str) -> str:
        start, block = self._parts(kind, task)
        # One pass over the block alone: braces in a question or a response stay as they are.
        return start + re.sub(r"\{(QUESTION|CORRECT|RIGHT|WRONG)\}", lambda m: values[m[1]], block)

    def _parts(self, kind: str, task: str) -> tuple[str, str]:
        """A file up to its last block, and that block."""
        text = _CANARY.sub("", self._read(kind, task))
        place = text.rfind("Q: {QUESTION}")
        return (text[:place], text[place:]) if place >= 0 else (f"{text}\n\n", BLOCKS[kind])

    def _path(self, kind: str, task: str) -> Path:
        return self.folder / kind / f"{task}.txt"

    def _read(self, kind: str, task: str) -> str:
        path = self._path(kind, task)
        try:
            return path.read_bytes().decode()  # no newline translation: prompts are exact
        except FileNotFoundError as error:
            raise KitError(f"{path} is missing. {_INSTEAD}") from error
        except UnicodeDecodeError as error:
            raise KitError(f"{path}: not UTF-8 ({error}); copy the file again") from error
