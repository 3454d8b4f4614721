"""What a person reads in an answer, kind by kind: an option, a word, a number, brackets, a list.

Where a person could not tell, the functions give None. The kind follows from the options of the
question and from the form of its gold answer; nothing else of the gold answer is used.
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Literal

from editlib.records import Question

Kind = Literal["choice", "word", "number", "brackets", "list", "text"]

_CUE = re.compile(
    r"\b(?:answer|(?:correct|right|best) (?:option|choice))"
    r"(?:\s+(?:is|should be|must be)\b(?!\s*:)|(?:\s+is)?\s*:)",
    re.IGNORECASE,
)
_OPTION = re.compile(r"^\(([A-Z])\)[ \t]?(.*)$", re.MULTILINE)
_LISTED = re.compile(r"^- (\S+)[ \t]*$", re.MULTILINE)
_PAIRS = (("True", "False"), ("Yes", "No"), ("yes", "no"), ("valid", "invalid"))
_NUMBER = re.compile(
    r"(?<![\w.^/,])[-+]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?(?![\w/^:]|[.,][0-9])"
)
_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
_MORE_WORDS = re.compile(
    r"\b(?:eleven|twelve|\w+teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty|half|once|twice)\b"
)
_BEFORE = re.compile(  # what may stand between "the answer is" and a number
    r"(?:\W|\b(?:that|there|are|is|it|we|have|get|a|an|total|of|exactly|equal|to|simply|just|the"
    r"|number|sum|result|value|but|rather|minus|negative|[a-z])\b)*",
    re.IGNORECASE,
)
_SYMBOLS = re.compile(r"[<>≤≥≠≈~]|!=|[0-9]!|\\[a-zA-Z]")  # in which a number is not the answer
_REASON = re.compile(r"[.;!?](?=\s|$)|\n|,?\s\(?\b(?:because|since)\b|[,\s]\s*\(?\bas\s\(?[A-Z]\b")
_BOXES = re.compile(r"\\boxed\{[^{}]*\}[\s$,]*\b(?:or|and)\b[\s$]*\\boxed\{")
_NAME = r"(?:\([A-Z]\)|\S+)"
_DENIED = re.compile(
    rf"(?:\b(?:not|cannot|rather than|instead of|neither|nor)|n't)\s+(?:\w+\s+)?{_NAME}"
    rf"(?:\s*(?:,|\bor\b|\bnor\b|\band\b)\s*{_NAME})*"
)
_REFUSED = re.compile(
    r"\b(?:wrong|incorrect|impossible|eliminated|excluded|unlikely|ruled out|except|none"
    r"|everything|anything)\b|\) or\b"
)
_VAGUE = re.compile(
    r"\b(?:than|least|most|about|around|roughly|approximately|over|under|between|or|and"
    r"|dozens?|hundreds?|thousands?|millions?|billions?|trillions?)\b"
)
_LABEL = r"^\W*(?:(?i:option|choice)\s+)?"
_ROUND = " \t\r\n.,;:!?*_`\"'“”‘’$"


# --- what kind of answer is asked for -------------------------------------------------------


def kind(question: Question) -> Kind:
    """What an answer to the question looks like, from its options and the form of the gold one."""
    gold = question.answer
    if len(options(question.text)) > 1:
        return "choice"
    if len(_closed(question)) > 1:
        return "word"
    if _NUMBER.fullmatch(gold):
        return "number"
    if re.fullmatch(r"[][(){}<> ]+", gold):
        return "brackets"
    return "list" if question.task == "word_sorting" else "text"


def options(text: str) -> dict[str, str]:
    """The lettered options of a question, "(A)" and so on: letter -> text; empty if there are none.

    >>> options("Which?\\nOptions:\\n(A) this\\n(B) that")
    {'A': 'this', 'B': 'that'}
    """
    return dict(_OPTION.findall(text.rpartition("Options:\n")[2]))


def _closed(question: Question) -> tuple[str, ...]:
    """The words an answer is one of: those listed, or the pair that the gold one belongs to."""
    listed = tuple(_LISTED.findall(question.text.rpartition("Options:\n")[2]))
    return listed or next((pair for pair in _PAIRS if question.answer in pair), ())


# --- reading as a person would --------------------------------------------------------------


def found(question: Question, text: str) -> str | None:
    """Where a person looks if there is no marker: the last box or other cue, or all of the text."""
    cue = max((found.end() for found in _CUE.finditer(text)), default=-1)
    box = text.rfind("\\boxed{")
    if max(box, cue) < 0:
        return _alone(question, text)
    if any(several.end() == box + len("\\boxed{") for several in _BOXES.finditer(text)):
        return None
    tail = text[box:] if box > cue else text[cue:]
    return told(question, tail) or (_text(tail) if kind(question) == "text" else None)


def cued(text: str) -> bool:
    """Whether a text says somewhere that its answer follows.

    >>> cued("The answer is (B).") and cued("**Answer:** 3")
    True
    """
    return bool(_CUE.search(text)) or "\\boxed{" in text


def last_cue(text: str) -> int:
    """Where the last cue or box of a text begins; -1 if there is none."""
    return max([text.rfind("\\boxed{"), *(cue.start() for cue in _CUE.finditer(text))])


def _alone(question: Question, text: str) -> str | None:
    """The answer of a text that holds nothing else, such as a reply to a zero-shot prompt."""
    answer = told(question, text)
    if answer is None:
        return None
    plain = {answer}
    if kind(question) == "choice":
        known = options(question.text)[answer[1]]
        plain |= {known, f"{answer} {known}"}
    return answer if _letters(text) in map(_letters, plain) else None


def _letters(text: str) -> str:
    return re.sub(r"[\s_.,;:!?*`$\"'()]+", "", text).casefold()


def _text(tail: str) -> str | None:
    return _plain(tail).partition("\n")[0].strip(" \t\r*_`.") or None


def boxed(text: str) -> str | None:
    """What the last \\boxed of a text holds; None if there is none.

    >>> boxed("so \\\\boxed{\\\\frac{1}{2}}.")
    '\\\\frac{1}{2}'
    """
    _, box, rest = text.rpartition("\\boxed{")
    return _braced(rest).strip() if box else None


def _braced(text: str) -> str:
    """Up to the brace that closes the one before the text; all of it where none does."""
    depth = 1
    for found in re.finditer(r"[{}]", text):
        depth += 1 if found[0] == "{" else -1
        if depth == 0:
            return text[: found.start()]
    return text


def told(question: Question, tail: str) -> str | None:
    """The answer in a tail, in the form of its kind; None where a person could not tell."""
    if _BOXES.search(tail):
        return None
    tail = _plain(tail)
    match kind(question):
        case "choice":
            return _choice(tail, options(question.text))
        case "word":
            return _word(tail, _closed(question))
        case "number":
            return _number(tail)
        case "brackets":
            first = re.split(r"\.(?=\s|$)|\n", tail, maxsplit=1)[0]
            bare = re.sub(r"[\s,`'\"]+", "", first)
            return " ".join(bare) if bare and not re.search(r"[^][(){}<>]", bare) else None
        case "list":
            words, asked = _list(tail), question.text.casefold().split()
            known = len(words) > 1 and all(word.casefold() in asked for word in words)
            return " ".join(words) if known else None
    return None


def _plain(tail: str) -> str:
    """Without the wrapping of markdown and LaTeX around an answer."""
    tail = boxed(tail) or tail
    tail = re.sub(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}", r"\1", tail)
    tail = re.sub(r"[−–]", "-", re.sub(r"\*\*|`|\\[()\[\]]", "", tail))
    return tail.strip(" \t\r\n:$")


def _clause(tail: str) -> str:
    """The first clause: up to the end of the sentence or line, or to the reason given."""
    return _REASON.split(tail, maxsplit=1)[0].strip(_ROUND)


def _choice(tail: str, known: Mapping[str, str]) -> str | None:
    """One option, by its letter or by its whole text; None if several, none or a contradiction."""
    line = tail.partition("\n")[0]
    label = re.match(rf"{_LABEL}\(?([A-Z])[).:]+\s*(.*)", line)
    if label and _bare(label[2]) and _bare(label[2]) == _bare(known.get(label[1], "")):
        return f"({label[1]})"  # letter and text agree, whatever the text says
    clause = _DENIED.sub(" ", _clause(line)).strip(_ROUND)
    alone = [letter for letter, text in known.items() if _bare(text) == _bare(_clause(line))]
    if _REFUSED.search(clause):  # unless an option says so itself, such as "impossible to tell"
        return f"({alone[0]})" if len(alone) == 1 else None
    found = {letter.upper() for letter in re.findall(r"\(([A-Za-z])\)", clause)}
    found |= set(re.findall(rf"{_LABEL}([A-Z])(?=[).:,]|\W*$)", clause))
    said = {_bare(part) for part in (line, _clause(line), label[2] if label else "")}
    named = {letter for letter, text in known.items() if _bare(text) and _bare(text) in said}
    if len(named) == 1 or not found:
        found |= named
    return f"({found.pop()})" if len(found) == 1 and found <= known.keys() else None


def _word(tail: str, known: Iterable[str]) -> str | None:
    """One of a few words: at the start, or alone in a clause that denies nothing."""
    by_word = {word.casefold(): word for word in known}
    clause = _clause(tail)
    first = re.match(r"\W*(\w+)(?:\W*$|[,:)\"'])", clause)
    if first and first[1].casefold() in by_word:
        return by_word[first[1].casefold()]
    words = set(re.findall(r"\w+", clause.casefold()))
    found = words & by_word.keys()
    denied = words & {"not", "no", "yes", "never", "neither", "nor", "or", "t", "far", "hardly"}
    return by_word[found.pop()] if len(found) == 1 and not denied else None


def _number(tail: str) -> str | None:
    """The only number of the first clause, or the one after the last equals sign of a sum.

    Only what leads up to a number may stand before it, and its unit after it.
    """
    tail = re.sub(r"(?<![\w)])-\s+(?=[0-9.])", "-", tail)  # "- 12" is -12, ".5" is 0.5
    tail = re.sub(r"(?<![\w.])\.(?=[0-9])", "0.", tail)
    whole = re.sub(r"\\?[$%]|\\[,; ]", " ", _DENIED.sub(" ", _clause(tail)))
    before, _, after = whole.rpartition("=")
    clause = whole if re.search(r"[a-zA-Z]{2}", before) else after
    clause = re.sub(r"\b(?:minus|negative)\s+(?=[0-9])", "-", clause)
    found = {word.replace(",", "").lstrip("+") for word in _NUMBER.findall(clause)}
    found |= {str(_WORDS.index(w)) for w in re.findall(r"\w+", clause.casefold()) if w in _WORDS}
    broken = re.search(r"[0-9]", _NUMBER.sub("", clause))  # such as 1/2 or 3:30: not one number
    vague = any(pattern.search(whole) for pattern in (_VAGUE, _MORE_WORDS, _SYMBOLS, _REFUSED))
    return found.pop() if len(found) == 1 and not (broken or vague or _late(clause)) else None


def _late(clause: str) -> bool:
    """Whether a number comes after words that do not lead up to one."""
    start = _BEFORE.match(clause).end()
    return not re.match(rf"[-+]?[0-9]|(?:{'|'.join(_WORDS)})\b", clause[start:], re.IGNORECASE)


def _list(tail: str) -> list[str]:
    """Words of a list, whatever parts them: blanks, commas, quotes, "and" after a comma."""
    text = re.split(r"\n\s*\n|[.](?=\s|$)", tail, maxsplit=1)[0]
    text = re.sub(r",\s*and\s", ", ", text.strip().strip("[]()"))
    return [word for word in (w.strip("\"'“”,;<") for w in re.split(r"[\s,;]+", text)) if word]


def mentions(text: str, gold: str) -> bool:
    """Whether a gold answer stands somewhere in a text, as a word of its own.

    >>> mentions("(A) or (B)", "(B)"), mentions("about 24 million", "24"), mentions("240", "24")
    (True, True, False)
    """
    return bool(re.search(rf"(?<!\w){re.escape(gold)}(?!\w)", text, re.IGNORECASE))


# --- equal in kind --------------------------------------------------------------------------


def same(kind: Kind, read: str, gold: str) -> bool:
    if kind == "number":
        return bool(_NUMBER.fullmatch(read)) and _value(read) == _value(gold)
    if kind == "list":
        return [w.casefold() for w in _list(read)] == [w.casefold() for w in _list(gold)]
    if kind == "text":
        return bool(_formula(gold)) and _formula(read) == _formula(gold)
    return read.casefold() == gold.casefold()


def _value(number: str) -> Decimal:
    return Decimal(number.replace(",", ""))


def _bare(text: str) -> str:
    return " ".join(text.casefold().split()).strip(_ROUND)


def _formula(text: str) -> str:
    """Text or LaTeX without what changes its look alone."""
    plain = re.sub(r"\\(?:left|right|!|,|;| )", "", _plain(text)).replace("\\dfrac", "\\frac")
    plain = re.sub(r"\s*([-+*/=^,<>|(){}\[\]])\s*", r"\1", plain)
    return re.sub(r"\s+", "" if "\\" in plain else " ", plain).strip(_ROUND)
