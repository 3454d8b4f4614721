"""boolean_expressions and multistep_arithmetic: reduce an expression one operation at a time.

An expression is a tuple of tokens; one operation on plain values is a slice of it. Operations are
taken from the first innermost parentheses, there by rank, there from left to right.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from editlib.puzzles.family import Family
from editlib.puzzles.reasoner import Reasoner

Tokens = tuple[str, ...]

QUESTION = "What is the value of "
OPENING = (
    "We have {expression}.",
    "The expression is {expression}.",
    "Start with {expression}.",
)
STEP = (
    "Here {part} is {value}, which leaves {rest}.",
    "As {part} gives {value}, we get {rest}.",
    "Since {part} is {value}, it becomes {rest}.",
    "Now {part} = {value}, leaving {rest}.",
)
RANKS = {"not": 0, "and": 1, "or": 2, "*": 0, "+": 1, "-": 1}


def parts(tokens: Tokens) -> list[slice]:
    """The operations on plain values in the first innermost group, the right one to take first."""
    end = tokens.index(")") if ")" in tokens else len(tokens)
    start = max((i + 1 for i in range(end) if tokens[i] == "("), default=0)
    found = []
    for i in range(start, end):
        if tokens[i] in RANKS and tokens[i + 1] not in RANKS:
            first = i if tokens[i] == "not" else i - 1
            found.append((RANKS[tokens[i]], first, i + 2))
    return [slice(first, last) for _, first, last in sorted(found)]


def operate(tokens: Tokens) -> str:
    """The value of one operation on plain values."""
    match tokens:
        case ("not", a):
            return str(a == "False")
        case (a, "and", b):
            return str(a == b == "True")
        case (a, "or", b):
            return str("True" in (a, b))
        case (a, "*", b):
            return str(int(a) * int(b))
        case (a, "+", b):
            return str(int(a) + int(b))
        case (a, "-", b):
            return str(int(a) - int(b))
    raise ValueError(f"not an operation on plain values: {' '.join(tokens)}")


def replaced(tokens: Tokens, part: slice, value: str) -> Tokens:
    """The expression with a value for one operation; parentheses around a lone value go."""
    start, end = part.start, part.stop
    while tokens[start - 1 : start] == ("(",) and tokens[end : end + 1] == (")",):
        start, end = start - 1, end + 1
    return (*tokens[:start], value, *tokens[end:])


def path(tokens: Tokens) -> Iterator[Tokens]:
    """The expression before and after each operation of the right path, its value at last."""
    yield tokens
    while len(tokens) > 1:
        part = parts(tokens)[0]
        tokens = replaced(tokens, part, operate(tokens[part]))
        yield tokens


def value_of(tokens: Tokens) -> str:
    """The value of an expression."""
    *_, (value,) = path(tokens)
    return value


def operations(tokens: Tokens) -> list[Tokens]:
    """The operations of the right path, each as it is when its turn comes."""
    *before, _ = path(tokens)
    return [rest[parts(rest)[0]] for rest in before]


def out_of_turn(tokens: Tokens) -> list[slice]:
    """Operations whose turn has not come and that change the value if taken now."""
    _, *later = parts(tokens)
    truth = value_of(tokens) if later else ""
    taken = [(part, replaced(tokens, part, operate(tokens[part]))) for part in later]
    return [part for part, rest in taken if value_of(rest) != truth]


def solve(tokens: Tokens, r: Reasoner) -> str:
    """Take the operations in turn and show what is left after each."""
    r.say(OPENING, expression=" ".join(tokens))
    r.aside()
    while len(tokens) > 1:
        part = r.decide("knowledge", "part", parts(tokens)[0], out_of_turn(tokens))
        operation = tokens[part]
        value = decide_value(operation, r)
        tokens = replaced(tokens, part, value)
        r.say(STEP, part=" ".join(operation), value=value, rest=" ".join(tokens))
    return r.conclude(tokens[0])


def decide_value(operation: Tokens, r: Reasoner) -> str:
    """The value of one operation; slips are a wrong inference, operator or calculation."""
    right = operate(operation)
    if right in ("True", "False"):
        return r.decide("logical", "value", right, ["True", "False"])
    a, operator, b = operation
    others = [operate((a, other, b)) for other in "+-*" if other != operator]
    value = r.decide("logical", "value", right, others)
    near = [str(int(right) + error) for error in (-2, -1, 1, 2, 10)]
    return r.decide("calculation", "value", value, near)


@dataclass(frozen=True)
class Grammar:
    """What expressions of a family are made of."""

    leaves: Tokens
    operators: Tokens
    negation: float = 0.0  # the share of operations that are "not"


BOOLEAN = Grammar(("True", "False"), ("and", "or"), negation=0.35)
ARITHMETIC = Grammar(tuple("123456789"), ("+", "-", "*"))


def build(rng: random.Random, grammar: Grammar, size: int) -> Tokens:
    """A random expression of `size` operations."""
    if size == 0:
        return (rng.choice(grammar.leaves),)
    if rng.random() < grammar.negation:
        return ("not", *enclose(build(rng, grammar, size - 1)))
    left = rng.randrange(size)
    sides = [build(rng, grammar, n) for n in (left, size - 1 - left)]
    sides = [enclose(side) if rng.random() < 0.25 else side for side in sides]
    return (*sides[0], rng.choice(grammar.operators), *sides[1])


def enclose(tokens: Tokens) -> Tokens:
    """In parentheses, where there is an operation between two values to enclose."""
    return ("(", *tokens, ")") if len(tokens) > 2 else tokens


def draw_boolean(rng: random.Random, size: int) -> Tokens:
    """An expression whose value hangs on at least half of its operations."""
    while True:
        tokens = build(rng, BOOLEAN, size + 1)
        if 2 * len(pivots(tokens)) > size:
            return tokens


def pivots(tokens: Tokens) -> list[Tokens]:
    """The operations of a logical expression whose wrong value makes the whole come out wrong.

    >>> pivots(("True", "or", "False", "and", "True"))
    [('True', 'or', 'False')]
    """
    *before, (truth,) = path(tokens)
    found = []
    for rest in before:
        part = parts(rest)[0]
        wrong = "False" if operate(rest[part]) == "True" else "True"
        if value_of(replaced(rest, part, wrong)) != truth:
            found.append(rest[part])
    return found


def draw_arithmetic(rng: random.Random, size: int) -> Tokens:
    """An expression that meets no number outside 0 to 99 and no factor over 12."""
    while True:
        tokens = build(rng, ARITHMETIC, size)
        if all(map(within_reach, operations(tokens))):
            return tokens


def within_reach(operation: Tokens) -> bool:
    a, operator, b = operation
    factors = max(int(a), int(b)) <= 12 or operator != "*"
    return factors and 0 <= int(operate(operation)) <= 99


def ask(tokens: Tokens) -> str:
    return QUESTION + " ".join(tokens) + "?"


def parse_with(grammar: Grammar, text: str) -> Tokens | None:
    """The expression asked for, if it is one of this grammar."""
    if not (text.startswith(QUESTION) and text.endswith("?")):
        return None
    tokens = tuple(text.removeprefix(QUESTION).removesuffix("?").split(" "))
    return tokens if well_formed(tokens, grammar) else None


def well_formed(tokens: Tokens, grammar: Grammar) -> bool:
    """Whether the tokens shrink to one value, v, by the rules of the grammar."""
    roles = dict.fromkeys(grammar.leaves, "v") | dict.fromkeys(grammar.operators, "o")
    shape, longer = " ".join(roles.get(token, token) for token in tokens), ""
    if "( v )" in shape:  # no operation to do there
        return False
    rule = r"v o v|\( v \)" + ("|not v" if grammar.negation else "")
    while shape != longer:
        shape, longer = re.sub(rule, "v", shape), shape
    return shape == "v"


def parse_boolean(text: str) -> Tokens | None:
    return parse_with(BOOLEAN, text)


def parse_arithmetic(text: str) -> Tokens | None:
    return parse_with(ARITHMETIC, text)


def boolean_fact(rng: random.Random) -> str:
    a, b = rng.choices(BOOLEAN.leaves, k=2)
    operation = rng.choice([("not", a), (a, "and", b), (a, "or", b)])
    return f"The value of {' '.join(operation)} is {operate(operation)}."


def arithmetic_fact(rng: random.Random) -> str:
    while True:
        a, b = sorted((rng.randint(0, 99), rng.randint(0, 20)), reverse=rng.random() < 0.9)
        operation = (str(a), rng.choice(ARITHMETIC.operators), str(b))
        if within_reach(operation):
            return f"{' '.join(operation)} is {operate(operation)}."


BOOLEAN_EXPRESSIONS = Family(
    name="boolean_expressions",
    description="Evaluate a logical expression of True, False, not, and, or.",
    kinds=("logical", "knowledge"),
    draw=draw_boolean,
    ask=ask,
    parse=parse_boolean,
    solve=solve,
    fact=boolean_fact,
)
MULTISTEP_ARITHMETIC = Family(
    name="multistep_arithmetic",
    description="Work out an arithmetic expression that takes several steps.",
    kinds=("logical", "knowledge", "calculation"),
    draw=draw_arithmetic,
    ask=ask,
    parse=parse_arithmetic,
    solve=solve,
    fact=arithmetic_fact,
)
