"""From a row, as its source has it, to one question text with lettered options and a gold answer.

What is odd about a row is said beside it (Read.quirks: what was found, what was done about it).
"""

import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from editlib.reading import boxed

_LETTERS = string.ascii_uppercase
_PREFIX = re.compile(r"^\(([A-Z])\)\s*")
_ODD_PREFIX = re.compile(r"^([A-Z])(?:\?\s*|\s+(?=\S))")


@dataclass(frozen=True)
class Read:
    """A question text and its gold answer, and the quirks met on the way (found, done)."""

    text: str
    answer: str
    quirks: tuple[tuple[str, str], ...] = ()


def lettered(question: str, options: Sequence[str]) -> str:
    """A question with its options as BBH prints them, (A), (B) and so on; each on one line.

    >>> print(lettered("Which?", ["this", "that"]))
    Which?
    Options:
    (A) this
    (B) that
    """
    lines = [f"({x}) {' '.join(o.split())}" for x, o in zip(_LETTERS, options, strict=False)]
    return "\n".join([_trimmed(question), "Options:", *lines])


def _trimmed(text: str) -> str:
    """Without blank lines around it; blanks before the first word may be of a drawing, and stay."""
    return re.sub(r"^\s*\n", "", text).rstrip()


def bbh(row: Mapping) -> Read:
    """input, target: as they are."""
    return Read(row["input"], row["target"])


def agieval(row: Mapping) -> Read:
    """passage, question, options with their letters as text, label (the printed letter)."""
    parts = [_option(option, n, row["options"]) for n, option in enumerate(row["options"])]
    letters = [letter for letter, _, _ in parts]
    quirks = []
    if any(odd for _, _, odd in parts):
        quirks.append(("an option without its printed letter", "lettered by its position"))
    if letters != sorted(letters):
        quirks.append(("options printed out of order", "sorted by their printed letters"))
    options = [text for _, text, _ in sorted(parts, key=lambda part: part[0])]
    question = "\n".join(filter(None, [row["passage"], row["question"]]))
    return Read(lettered(question, options), f"({row['label']})", tuple(quirks))


def _option(option: str, position: int, options: Sequence[str]) -> tuple[str, str, bool]:
    """Letter, text, and whether the letter had to be told from the position."""
    if printed := _PREFIX.match(option):
        return printed[1], option[printed.end() :], False
    letter = _LETTERS[position]
    odd = _ODD_PREFIX.match(option)
    if odd and odd[1] == letter and _is_label(odd, option, options):
        option = option[odd.end() :]
    return letter, option, True


def _is_label(odd: re.Match, option: str, options: Sequence[str]) -> bool:
    """Whether a bare leading letter is a label and not a word, as in "A dog"."""
    labelled = all(o[:2] == f"{x} " for x, o in zip(_LETTERS, options, strict=False))
    return "?" in odd[0] or labelled or option[odd.end()].isupper()


def arc(row: Mapping) -> Read:
    """question, choices (text, label), answerKey; or the one text that a mirror has for them."""
    if "input" in row:
        stem, _, listed = row["input"].removeprefix("Question: ").rpartition("\nOptions:\n")
        found = re.findall(r"^\((\w)\) (.*)$", listed, re.MULTILINE)
        labels, options = [label for label, _ in found], [text for _, text in found]
        gold = row["target"].strip("()")
    else:
        stem, gold = row["question"], row["answerKey"]
        labels, options = row["choices"]["label"], row["choices"]["text"]
    numbered = labels != list(_LETTERS[: len(labels)])
    quirks = (("options labelled by numbers", "lettered in their order"),) if numbered else ()
    return Read(lettered(stem, options), f"({_LETTERS[labels.index(gold)]})", quirks)


def bb_sub(row: Mapping) -> Read:
    """inputs, multiple_choice_targets, multiple_choice_scores (1 for what is right).

    The targets stand as their authors wrote them down, often the right one first; BIG-bench itself
    asks with a shuffled list, printed in inputs. That order is kept.
    """
    targets, scores = row["multiple_choice_targets"], row["multiple_choice_scores"]
    right, quirks = targets[scores.index(max(scores))], []
    question, options = _as_asked(row["inputs"], targets)
    if scores.count(max(scores)) > 1:
        quirks.append(("several options are right", "the first at the source is the gold answer"))
    if len(options) > len(_LETTERS):
        quirks.append(("more options than letters", "options in one line, answered by their text"))
        return Read(f"{question}\nOptions: {', '.join(options)}", right, tuple(quirks))
    return Read(lettered(question, options), f"({_LETTERS[options.index(right)]})", tuple(quirks))


def _as_asked(text: str, targets: Sequence[str]) -> tuple[str, list[str]]:
    """The bare question, without "Q:", "choice:" and "A:", and its options as the text has them.

    Where the text does not print all options, they are put in an order of their hashes.
    """
    known = "|".join(re.escape(target) for target in sorted(targets, key=len, reverse=True))
    printed = rf"\n[ \t.]*choice:[ \t]*({known})[ \t]*(?=\n|$)"
    options = re.findall(printed, text)
    if sorted(options) != sorted(targets):
        options = sorted(targets, key=lambda target: blake2b(f"{text}|{target}".encode()).digest())
    bare = _trimmed(re.sub(printed, "", text)).removeprefix("Q: ")
    return _trimmed(re.sub(r"\s*\nA:\s*$", "", bare)), options


def gsm8k(row: Mapping) -> Read:
    """question, answer (worked out, the number after ####)."""
    return Read(
        row["question"].strip(), row["answer"].rpartition("####")[2].strip().replace(",", "")
    )


def math(row: Mapping) -> Read:
    """problem, solution (the answer in its last box)."""
    return Read(row["problem"].strip(), boxed(row["solution"]) or "")


READERS: dict[str, Callable[[Mapping], Read]] = {
    "bbh": bbh,
    "agieval": agieval,
    "bb_sub": bb_sub,
    "arc_e": arc,
    "arc_c": arc,
    "gsm8k": gsm8k,
    "math": math,
}
