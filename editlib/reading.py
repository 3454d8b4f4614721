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
    r"(?:\banswer(?:\s+(?:choice|option))?|\b(?:correct|right|best)\s+(?:option|choice))[*_]*"
    r"(?:\s+(?:is|(?:should|must|would) be)\b(?![*_\s]*:)|(?:\s+is)?[*_\s]*:)"
    r"|^[ \t]*[#*_]+[ \t]*(?:(?:the|final|correct)[ \t]+)*answer[*_: \t]*\n",  # a heading
    re.IGNORECASE | re.MULTILINE,
)
_WHICH = (  # "the correct answer is" is a cue, "a wrong answer is" is none
    r"\b(?:a|the|my|our|so|thus|hence|therefore|final|correct|right|best|only|actual|overall|most"
    r"|likely|plausible|logical|appropriate|accurate)\s+"
)
_LED = re.compile(rf"(?:^\s*|[^\w\s'’-]\s*|\n\s*|{_WHICH})$", re.I)
_SUPPOSED = re.compile(
    rf"\b(?:if|whether|suppos\w+|assum\w+|imagine|not)\s+(?:that\s+)?(?:{_WHICH}){{0,5}}$", re.I
)
_UNREAL = re.compile(r"\b(?:if|had|were|otherwise|unless|suppos\w+|assum\w+)\b[^.!?\n]*$", re.I)
_OPTION = re.compile(r"^\(([A-Z])\)[ \t]?(.*)$", re.MULTILINE)
_LISTED = re.compile(r"^- (\S+)[ \t]*$", re.MULTILINE)
_PAIRS = (("True", "False"), ("Yes", "No"), ("yes", "no"), ("valid", "invalid"))
_NUMBER = re.compile(
    r"(?<![\w.^/,])[-+]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?(?![\w/^:]|[.,][0-9])"
)
_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
_LEAD = (  # all that may stand between "the answer is" and the answer
    r"(?:[\s,:.$(\[*_\"'“”‘’=]|\b[a-z]\s*=|\ban?\b|\b(?i:the|that|this|there|it|we|is|are|have|get"
    r"|total|of|exactly|equal|to|number|sum|result|value|option|choice|letter|answer|argument"
    r"|statement|sentence|deductively|clear|clearly|definitely|(?:most )?likely|probably|simply"
    r"|just|but|rather|indeed)\b)*?"
)
_UNIT = (  # all that may stand after a number: "square feet", "apples in the basket"
    r"(?:\s+(?:[a-z]{3,}(?<!ed)\s+){0,2}(?:[a-z]+(?<![su])s|people|children|men|women|feet|fish"
    r"|percent|[cmk]m|kg|mph|hour|day|week|month|year|mile|dollar))?"
    r"(?:\s+(?:(?:in|on|at|of|per)\s+(?:the\s+)?[a-z]+|left|each|total|altogether|old))?\W{0,9}"
)
_AMOUNT = re.compile(rf"{_LEAD}({_NUMBER.pattern}|(?i:{'|'.join(_WORDS)})\b){_UNIT}")
_SUM = re.compile(r"\s*(?:[a-zA-Z]\s*(?:=|$))?[-+*×·/()=.,\d\s]*")
_SCALE = re.compile(
    r"\b(?:(?:dozen|hundred|thousand|million|billion|trillion|third|quarter)s?|times|half|halves)\b"
)
_LETTER = re.compile(rf"{_LEAD}(?:\(([A-Za-z])\)|([A-Z])(?:[).:]|(?=,|\W*$)))")
_REASON = re.compile(
    r"[.!](?=\s+[^\s=]|\s*$)|;(?=\s)(?!\s*[-+]?[0-9])|\n|,?\s\(?\b(?:because|since)\b"
    r"|[,\s]\s*\(?\bas\s\(?[A-Z]\b"
)
_BOXES = re.compile(  # several in one breath
    r"\\boxed\{(?:[^{}]|\{[^{}]*\})*\}(?:[^\w.\n]|\b(?:or|and|text|mathrm|[a-z])\b){0,20}\\boxed\{"
)
_NAME = r"(?:\([A-Za-z]\)|[A-Z]\b|[-+]?[0-9]\S*)"
_DENIED = re.compile(
    rf"(?:\b(?:not|cannot|rather than|instead of|neither|nor)|n't)\s+(?:\w+\s+)?{_NAME}"
    rf"(?:\s*(?:,|\bor\b|\bnor\b|\band\b)\s*{_NAME})*(?:[^,;]{{0,80}}?\bbut\b)?"
)
_REFUSED = re.compile(  # what takes back a letter that it follows, or adds another one
    r"\b(?:not?|never|none|or|but|if|unless|false|wrong|incorrect|impossible|unlikely|eliminated"
    r"|excluded|ruled out|except|fails?)\b|n't|\?|\([A-Za-z]\)|\b[A-Z](?=[).:,]|\W*$)"
    r"|^\W*(?:is|was|seems|can|could|may|might)\b(?!\s+(?:the\s+)?(?:correct|right|best)\b)"
)
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
    last, box = _cue(text), text.rfind("\\boxed{")
    cue = last.end() if last else -1
    if max(box, cue) < 0:
        return _alone(question, text)
    if any(several.end() == box + len("\\boxed{") for several in _BOXES.finditer(text)):
        return None
    tail = text[box:] if box > cue else text[cue:]
    return told(question, tail) or (_text(tail) if kind(question) == "text" else None)


def cued(text: str) -> bool:
    """Whether a text says somewhere that its answer follows.

    >>> cued("The answer is (B).") and cued("**Answer**: 3")
    True
    >>> cued("The wrong answer is (B).") or cued("Suppose the answer is 3.")
    False
    """
    return bool(_cue(text)) or "\\boxed{" in text


def last_cue(text: str) -> int:
    """Where the last cue or box of a text begins; -1 if there is none."""
    cue = _cue(text)
    return max(text.rfind("\\boxed{"), cue.start() if cue else -1)


def _cue(text: str) -> re.Match | None:
    """The last cue of a text that means what it says."""
    for cue in reversed([*_CUE.finditer(text)]):
        before = text[max(0, cue.start() - 200) : cue.start()].replace("*", "")
        if _LED.search(before) and not supposed(before, cue[0]):
            return cue
    return None


def supposed(before: str, cue: str) -> bool:
    """Whether the words before a cue, such as "the answer is", deny or only suppose what it says.

    >>> supposed("Suppose that ", "the answer is"), supposed("If it rains, ", "the answer would be")
    (True, True)
    """
    return bool((_UNREAL if "would" in cue else _SUPPOSED).search(before[-200:]))


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
    for found in re.finditer(r"\\.|[{}]", text, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
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
            bare = re.sub(r"[\s,`'\"]+|\\(?=[{}])", "", first)
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
    clause = _clause(line)
    for said in (line, _DENIED.sub(" ", clause)):
        letter, rest = _label(said)
        text = known.get(letter, "")
        if rest and _is(text, rest):
            return f"({letter})"  # letter and text agree, whatever the text says
    named = [each for each, text in known.items() if _bare(text) and _is(text, line, clause)]
    if not letter:
        return f"({named[0]})" if len(named) == 1 else None
    if letter not in (named or known) or (rest and any(_is(each, rest) for each in known.values())):
        return None
    if _bare(text).startswith(_bare(rest)) or _bare(rest).startswith(_bare(text)):
        rest = rest[len(text) :]
    return None if _REFUSED.search(rest) else f"({letter})"


def _label(said: str) -> tuple[str | None, str]:
    """The letter that a text begins with, after a lead-in, and what follows it."""
    label = _LETTER.match(said)
    if not label:
        return None, ""
    return (label[1] or label[2]).upper(), said[label.end() :].strip(_ROUND)


def _is(text: str, *said: str) -> bool:
    return _bare(text) in map(_bare, said)


def _word(tail: str, known: Iterable[str]) -> str | None:
    """One of a few words, which nothing but a lead-in goes before and no other word follows."""
    by_word = {word.casefold(): word for word in known}
    either = "|".join(map(re.escape, by_word))
    said = re.match(
        rf"{_LEAD}({either})(?:\W*$|[,:)\"'])(?!\W*(?:or\b|and\b)?\W*(?:{either})\b)",
        _clause(tail),
        re.IGNORECASE,
    )
    return by_word[said[1].casefold()] if said else None


def _number(tail: str) -> str | None:
    """The number that the first clause is, or the one after the last equals sign of a sum.

    Only what leads up to a number may stand before it, and its unit after it.
    """
    tail = re.sub(r"(?<![\w)])-\s+(?=[0-9.])", "-", tail)  # "- 12" is -12, ".5" is 0.5
    tail = re.sub(r"(?<![\w.])\.(?=[0-9])", "0.", tail)
    whole = re.sub(r"\\?[$%]|\\[,; ]", " ", _DENIED.sub(" ", _clause(tail)))
    before, _, after = whole.rpartition("=")
    clause = after if _SUM.fullmatch(before) else whole
    clause = re.sub(r"\b(?:minus|negative)\s+(?=[0-9])", "-", clause)
    said = _AMOUNT.fullmatch(clause)
    if not said or _SCALE.search(clause):
        return None
    word = said[1].casefold()
    return str(_WORDS.index(word)) if word in _WORDS else word.replace(",", "").lstrip("+")


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
