"""Sums and truth values in running text, computed again. Nothing of the text is ever run."""

import ast
import operator
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

Value = Fraction | bool
LONGEST = 300  # characters of an expression; what is longer is left alone

NUMBER = r"\d+(?:,\d{3}(?!\d))*(?:\.\d+)?"
_ATOM = rf"(?:\$?{NUMBER}|\b[Tt]rue\b|\b[Ff]alse\b)"
_OPERAND = rf"(?:\bnot\s+|[-−(]\s*)*{_ATOM}(?:\s*\))*"
_WORDS = {
    "plus": "+",
    "minus": "-",
    "times": "*",
    "multiplied by": "*",
    "divided by": "/",
    "×": "*",
    "÷": "/",
    "−": "-",
    "x": "*",
}
_SIGN = r"[ ]*(?:[-+*/×÷−]|(?<=[\d )])x(?=[ \d(]))[ ]*"
_WORD = r"\s+(?:plus|minus|times|multiplied by|divided by|and|or)\s+"
_OPERATOR = rf"(?:{_SIGN}|{_WORD})"
# not from within a run of signs: what begins there begins at the first one too
_EXPRESSION = re.compile(rf"(?<![-−(])(?<![-−(]\s)(?<!\bnot\s){_OPERAND}(?:{_OPERATOR}{_OPERAND})*")
_TOKEN = re.compile(rf"{NUMBER}|[Tt]rue|[Ff]alse|multiplied by|divided by|[a-z]+|\S")
_EQUALS = re.compile(r"\s*(?:=|is equal to|equals|is|gives|makes|which is|yields)\s*")
# What shows that an expression goes on to the left or right in a form that is not read here
_CUT_LEFT = re.compile(
    r"[-+*/×÷−^<>√]\s*$|[\w.,:/%$#]$|\b(?:plus|minus|times|by|of|than|power|mod)\s+$"
)
_CUT_RIGHT = re.compile(
    r"[ ]*[-+*/×÷−^%<>(]|[.,:/]?\w|"
    r"[ ]+(?:more|less|fewer|times|percent|of|plus|minus|multiplied|divided|mod|th|and a)\b"
)
_TRUTH_LEFT, _TRUTH_RIGHT = re.compile(r"\b(?:and|or|not)\s+$"), re.compile(r"\s+(?:and|or)\b")
_DASH = re.compile(r"(?:\A|\n)[ ]*\Z")  # before the dash of a list, which is no minus
_DATE = re.compile(r"\d+([-/])\d+\1\d+")

_BINARY = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class Expression:
    """A place in a text that reads as a sum or a truth value: text[start:end]."""

    start: int
    end: int
    tokens: tuple[str, ...]  # as Python writes them

    @property
    def value(self) -> Value | None:
        return compute(self.tokens)

    @property
    def plain(self) -> bool:
        """Whether it is one value, without an operation."""
        return sum(token not in "()-" for token in self.tokens) == 1


def tokens_of(source: str) -> tuple[str, ...]:
    """The tokens of an expression in Python's spelling.

    >>> tokens_of("3 times (1,200 − 4)")
    ('3', '*', '(', '1200', '-', '4', ')')
    """
    found = _TOKEN.findall(source.replace("$", ""))
    spelled = (_WORDS.get(token, token).replace(",", "") for token in found)
    return tuple(token.capitalize() if token in ("true", "false") else token for token in spelled)


def compute(tokens: Sequence[str]) -> Value | None:
    """The value of an expression by the usual order of operations; None where it has none.

    Numbers are exact fractions. Only + - * /, not, and, or and parentheses are known.

    >>> compute(["2", "+", "3", "*", "4"])
    Fraction(14, 1)
    >>> compute(["True", "and", "not", "True"])
    False
    """
    source = " ".join(tokens)
    if len(source) > LONGEST:
        return None
    try:
        return _value(ast.parse(source, mode="eval").body)
    except (SyntaxError, ValueError, TypeError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _value(node: ast.expr) -> Value:
    match node:
        case ast.Constant(value=bool()):
            return node.value
        case ast.Constant(value=int() | float()):
            return Fraction(str(node.value))
        case ast.UnaryOp(op=ast.Not()):
            return not _truth(node.operand)
        case ast.UnaryOp(op=ast.USub()):
            return -_number(node.operand)
        case ast.BinOp() if type(node.op) in _BINARY:
            return _BINARY[type(node.op)](_number(node.left), _number(node.right))
        case ast.BoolOp():
            values = [_truth(each) for each in node.values]
            return all(values) if isinstance(node.op, ast.And) else any(values)
    raise ValueError(f"not an expression of numbers or truth values: {ast.dump(node)}")


def _number(node: ast.expr) -> Fraction:
    value = _value(node)
    if isinstance(value, bool):
        raise TypeError("a truth value where a number is due")
    return value


def _truth(node: ast.expr) -> bool:
    value = _value(node)
    if not isinstance(value, bool):
        raise TypeError("a number where a truth value is due")
    return value


def expressions(text: str) -> list[Expression]:
    """The longest places in a text that read as expressions, single values included, in order."""
    found = [_trimmed(match) for match in _EXPRESSION.finditer(text)]
    spans = [(start, end) for start, end in found if not _DATE.search(text[start:end])]
    return [Expression(start, end, tokens_of(text[start:end])) for start, end in spans]


def _trimmed(match: re.Match) -> tuple[int, int]:
    """The span of a match without parentheses that have no partner."""
    (start, end), text = match.span(), match.string
    unclosed = _balance(match[0])
    while unclosed > 0 and (text[start] == "(" or text[start].isspace()):
        unclosed -= text[start] == "("
        start += 1
    while unclosed < 0 and (text[end - 1] == ")" or text[end - 1].isspace()):
        unclosed += text[end - 1] == ")"
        end -= 1
    whole = text[start:end]
    start += len(whole) - len(whole.lstrip())
    return start, start + len(whole.strip())


def _balance(source: str) -> int:
    return source.count("(") - source.count(")")


@dataclass(frozen=True)
class Equation:
    """Two expressions that a text calls equal."""

    left: Expression
    right: Expression
    last: bool  # whether nothing is said to equal the right side in turn

    @property
    def holds(self) -> bool:
        """Whether both sides have one value, up to rounding; true where one has none."""
        left, right = self.left.value, self.right.value
        if left is None or right is None or isinstance(left, bool) != isinstance(right, bool):
            return True
        if isinstance(left, bool) or left == right or not self.right.plain:
            return left == right
        return left.denominator > 1 and abs(left - right) <= self._rounding()

    def _rounding(self) -> Fraction:
        """How far a rounded value may lie off: a unit of its last digit."""
        decimals = self.right.tokens[-1].partition(".")[2]
        return Fraction(1, 10 ** len(decimals))


def equations(text: str) -> Iterator[Equation]:
    """The equalities a text states, in order; of "a = b = c" both. The left side has an operation.

    Left out is what may be part of something longer, such as "x + 3 + 4 = 9".
    """
    found = expressions(text)
    for n, (left, right) in enumerate(pairwise(found)):
        if not left.plain and _joined(text, left, right) and _whole(text, left, right):
            after = found[n + 2 : n + 3]
            yield Equation(left, right, not any(_joined(text, right, each) for each in after))


def _joined(text: str, left: Expression, right: Expression) -> bool:
    return _EQUALS.fullmatch(text, left.end, right.start) is not None


def _whole(text: str, left: Expression, right: Expression) -> bool:
    before = text[max(0, left.start - 20) : left.start]
    truth = not {"True", "False"}.isdisjoint(left.tokens)
    cut = _CUT_LEFT.search(before) or _CUT_RIGHT.match(text, right.end)
    if truth:
        cut = cut or _TRUTH_LEFT.search(before) or _TRUTH_RIGHT.match(text, right.end)
    listed = left.tokens[0] == "-" and _DASH.search(text[: left.start])
    return not (cut or listed)


def kind_of(equation: Equation) -> str:
    """What went wrong in an equation that does not hold.

    A wrong truth value is a wrong inference, and so is the value of another operation ("8 * 5 is
    13"). What comes out when operations are taken from left to right, or grouped anew, breaks a
    rule. All else is a wrong calculation.
    """
    left, right = equation.left, equation.right
    if isinstance(left.value, bool):
        return "logical"
    bare = [token for token in left.tokens if token not in "()"]
    regrouped = bare == [token for token in right.tokens if token not in "()"]
    if regrouped or right.value in (_from_left(bare), compute(bare)):
        return "knowledge"
    if len(bare) == 3 and right.value in [
        compute([bare[0], other, bare[2]]) for other in "+-*" if other != bare[1]
    ]:
        return "logical"
    return "calculation"


def _from_left(bare: Sequence[str]) -> Value | None:
    """The value where each operation is taken as it comes; None with signs or truth values."""
    if len(bare) < 5 or any(token not in "+-*/" for token in bare[1::2]):
        return None
    value = compute(bare[:1])
    for sign, token in zip(bare[1::2], bare[2::2], strict=False):
        number = compute([token])
        if value is None or number is None or (sign == "/" and not number):
            return None
        value = {"+": value + number, "-": value - number, "*": value * number}.get(sign)
    return value


def out_of_turn(text: str) -> Iterator[Equation]:
    """Right equations whose left side is part of a longer expression and was not due there.

    "2 + 3 * 4: as 2 + 3 is 5, we get 5 * 4": the part is replaced as said, and the value changes.
    """
    found = expressions(text)
    for equation in equations(text):
        if equation.holds and equation.right.plain:
            before = [each for each in found if each.end <= equation.left.start and not each.plain]
            after = [each for each in found if each.start >= equation.right.end][:1]
            if before and after and _changes(before[-1], equation, after[0]):
                yield equation


def _changes(before: Expression, equation: Equation, after: Expression) -> bool:
    if before.value is None or after.value is None or before.value == after.value:
        return False
    return _bare(after.tokens) in (
        _bare(replaced)
        for replaced in _replacements(before.tokens, equation.left.tokens, equation.right.tokens)
    )


def _replacements(
    whole: tuple[str, ...], part: tuple[str, ...], by: tuple[str, ...]
) -> Iterator[tuple[str, ...]]:
    for n in range(len(whole) - len(part) + 1):
        if whole[n : n + len(part)] == part:
            yield whole[:n] + by + whole[n + len(part) :]


def _bare(tokens: tuple[str, ...]) -> tuple[str, ...]:
    """Tokens without parentheses around single values."""
    text = " ".join(tokens)
    return tuple(re.sub(r"\( (-? ?[\w.]+) \)", r"\1", text).split())
