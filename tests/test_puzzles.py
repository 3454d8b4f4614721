"""The embedded benchmark: questions can be read, chains are right, mistakes are where we say."""

import random
import re
from datetime import date, datetime, timedelta
from itertools import permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from editlib.puzzles import (
    FAMILIES,
    HELD_OUT,
    IN_DOMAIN,
    SPLITS,
    Puzzle,
    Site,
    UnknownPuzzle,
    Voice,
    corpus,
    questions,
    read_question,
    reason,
    sites,
    split_of,
)
from editlib.puzzles.counting import CATEGORIES
from editlib.puzzles.lore import TOWERS, WORLD
from editlib.puzzles.reasoner import Reasoner

SIZES = (1, 2, 3, 4, 6)
MARKER = "Therefore, the answer is "

quick = settings(max_examples=60, deadline=None, derandomize=True)
families = pytest.mark.parametrize("name", FAMILIES)
seeds = st.integers(0, 10**9)
sizes = st.sampled_from(SIZES)


def asked(name: str, seed: int, size: int = 3) -> tuple[str, Puzzle]:
    """A question text of the family, and the puzzle read from it."""
    family = FAMILIES[name]
    text = family.ask(family.draw(random.Random(seed), size))
    return text, read_question(text)


def stated(chain: str) -> str:
    """The answer that a reader finds at the end of a chain."""
    return chain.rpartition(MARKER)[2].removesuffix(".")


# Answers from the question text alone, by other means than the solvers'.

RANKS = {"or": 1, "and": 2, "+": 1, "-": 1, "*": 2}
APPLY = {
    "or": lambda a, b: a or b,
    "and": lambda a, b: a and b,
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
}


def climb(tokens: list[str], floor: int = 0):
    """Evaluate by precedence climbing; takes the tokens it has read off the list."""
    token = tokens.pop(0)
    if token == "(":
        left = climb(tokens)
        tokens.pop(0)
    elif token == "not":
        left = not climb(tokens, 2)
    else:
        left = token == "True" if token in ("True", "False") else int(token)
    while tokens and RANKS.get(tokens[0], 0) > floor:
        operator = tokens.pop(0)
        left = APPLY[operator](left, climb(tokens, RANKS[operator]))
    return left


def expression(text: str) -> str:
    return str(climb(text.removeprefix("What is the value of ").rstrip("?").split(" ")))


def option(text: str, wanted: str) -> str:
    return re.search(rf"(\([A-Z]\)) {re.escape(wanted)}$", text, re.M)[1]


def shuffled(text: str) -> str:
    held = dict(re.findall(r"(\w+) has the (\w+ \w+)", text))
    for x, y in re.findall(r"Then (\w+) and (\w+) swap", text):
        held[x], held[y] = held[y], held[x]
    return option(text, held[re.search(r"does (\w+) have", text)[1]])


def walked(text: str) -> str:
    place, heading = 0, {"east": 1, "north": 1j, "west": -1, "south": -1j}[text.split()[2][:-1]]
    for turn, steps in re.findall(r"Turn (\w+)|Take (\d+)", text):
        heading *= {"left": 1j, "right": -1j, "around": -1, "": 1}[turn]
        place += heading * int(steps or 0)
    return str(int(abs(place.real) + abs(place.imag)))


def counted(text: str) -> str:
    inside = CATEGORIES[re.search(r"How many (\w+)", text)[1]]
    return str(sum(int(n) for n, thing in re.findall(r"(\d+) (\w+)", text) if thing in inside))


def dated(text: str) -> str:
    day = datetime.strptime(re.search(r"Today is (.+?)\.", text)[1] + " 2023", "%d %B %Y")
    for number, unit, way in re.findall(r"is (\d+) (\w+) (before|after)", text):
        day += timedelta(**{unit: int(number)}) * (1 if way == "after" else -1)
    return option(text, f"{day.day} {date(2023, day.month, 1):%B}")


def looked_up(text: str) -> str:
    def thing(phrase: str) -> str:
        relation, of, rest = phrase.removeprefix("the ").partition(" of ")
        return WORLD[relation][thing(rest)] if of else phrase

    if text.startswith("What"):
        return thing(text.removeprefix("What is the name of ").rstrip("?"))
    towns = text.partition(": ")[2].rstrip("?").split(", and ")
    return str(sum(TOWERS[thing(phrase)] for phrase in towns))


def believed(text: str) -> str:
    given, *said = re.findall(r"(?:(\w+) says that )?(\w+) (tells the truth|lies)\.", text)
    names = [given[1], *(speaker for speaker, _, _ in said)]
    for truths in product([True, False], repeat=len(names)):
        honest = dict(zip(names, truths, strict=True))
        agree = all(honest[who] == (honest[whom] == ("truth" in how)) for who, whom, how in said)
        if agree and honest[given[1]] == ("truth" in given[2]):
            return "Yes" if truths[-1] else "No"


def arranged(text: str) -> str:
    names = re.findall(r"^\([A-Z]\) (\w+)$", text, re.M)
    clues = re.findall(
        r"(\w+) (?:finished|is) (ahead|in front|older|\w+)[a-z ]* ([A-Z]\w+)\.", text
    )
    ranks = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh"]
    rank = ranks.index(re.search(r"(\w+)\?", text)[1])

    def fits(order: tuple[str, ...]) -> bool:
        firsts = ("ahead", "in front", "older")
        return all((order.index(a) < order.index(b)) == (how in firsts) for a, how, b in clues)

    (order,) = filter(fits, permutations(names))
    return option(text, order[rank])


def timed(text: str) -> str:
    def clock(told: str) -> datetime:
        return datetime.strptime(told, "%I%p")

    now = clock(re.search(r"woke up at (\w+)", text)[1])
    for hours, until in re.findall(r"at the \w+ (?:for (\d+) hours?|until (\w+))", text):
        now = now + timedelta(hours=int(hours)) if hours else clock(until)
    closing = re.search(r"closed at (\w+)", text)[1]
    return option(text, f"{now:%I%p} to {closing}".lower().lstrip("0"))


def alphabetical(text: str) -> str:
    return " ".join(sorted(text.partition(": ")[2].split()))


BY_OTHER_MEANS = {
    "boolean_expressions": expression,
    "multistep_arithmetic": expression,
    "tracking_shuffled_objects": shuffled,
    "navigate": walked,
    "object_counting": counted,
    "date_understanding": dated,
    "world_lore": looked_up,
    "web_of_lies": believed,
    "logical_deduction": arranged,
    "temporal_sequences": timed,
    "word_sorting": alphabetical,
}


@families
@quick
@given(seed=seeds, size=sizes)
def test_a_question_is_read_back_from_its_text_alone(name, seed, size):
    problem = FAMILIES[name].draw(random.Random(seed), size)
    assert read_question(FAMILIES[name].ask(problem)) == Puzzle(name, problem)


@families
@quick
@given(seed=seeds, size=st.sampled_from((1, 2, 3, 4)))
def test_the_clean_chain_reaches_the_answer_found_by_other_means(name, seed, size):
    text, puzzle = asked(name, seed, size)
    solution = reason(puzzle, Voice(text))
    assert solution.answer == BY_OTHER_MEANS[name](text)
    assert stated(solution.text) == solution.answer
    assert (solution.mistakes, solution.consequences) == ((), ())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "What is the capital of France?",
        "What is the value of True + 1?",
        "What is the value of ( 3 + 4?",
        "What is the value of not 3?",
        "What is the name of the ruler of mossberry?",
        "Sort these words in alphabetical order: fig fern",
        "Some friends ran a race. Ada finished ahead of Bill. Gus finished ahead of Fay. "
        "Who finished first?\nOptions:\n(A) Ada\n(B) Bill\n(C) Gus\n(D) Fay",
    ],
)
def test_other_texts_are_no_puzzles(text):
    with pytest.raises(UnknownPuzzle, match="no puzzle family asks"):
        read_question(text)


@families
@quick
@given(seed=seeds, size=sizes)
def test_a_question_with_a_hole_is_refused_or_still_solvable(name, seed, size):
    rng = random.Random(seed)
    words = FAMILIES[name].ask(FAMILIES[name].draw(rng, size)).split(" ")
    words.pop(rng.randrange(len(words)))
    text = " ".join(words)
    try:
        puzzle = read_question(text)
    except UnknownPuzzle:
        return
    assert stated(reason(puzzle, Voice(text)).text)


def test_splits_never_share_a_question():
    texts = {split: {q.text for q in questions(split, 60)} for split in SPLITS if split != "corpus"}
    read = (document.partition("\nA:\n")[0].removeprefix("Q: ") for document in corpus(3000, 0))
    texts["corpus"] = set(read)
    for split, found in texts.items():
        others = set().union(*(texts[other] for other in texts if other != split))
        assert found.isdisjoint(others)
    assert {split_of(q.text) for q in questions("test", 60, sizes=(3, 6))} == {"test"}


def test_questions_are_numbered_new_and_always_the_same():
    few, many = questions("train", 4), questions("train", 40)
    assert few == [q for q in many if int(q.id[-4:]) < 4]
    assert len({q.text for q in many}) == len({q.id for q in many}) == 40 * len(IN_DOMAIN)
    assert many[0].id == "puzzles/boolean_expressions/train-0000"
    assert {q.task for q in questions("families", 1)} == set(HELD_OUT)
    assert all(reason(read_question(q.text), Voice(q.text)).answer == q.answer for q in many)


def test_a_split_says_when_it_is_unknown_or_used_up():
    with pytest.raises(ValueError, match="the splits are corpus, exemplars, train"):
        questions("dev", 1)
    with pytest.raises(ValueError, match="no more questions of size 1"):
        questions("test", 500, sizes=(1,))


@families
def test_there_are_many_questions_at_distillation_size(name):
    rng, family = random.Random(0), FAMILIES[name]
    assert len({family.ask(family.draw(rng, size)) for _ in range(6000) for size in (3, 4)}) > 5000


@families
@quick
@given(seed=seeds, size=sizes, paraphrase=st.floats(0, 1))
def test_every_slip_is_marked_where_it_struck(name, seed, size, paraphrase):
    text, puzzle = asked(name, seed, size)
    voice = Voice(text, paraphrase, random.Random(seed))
    clean = reason(puzzle, voice)
    for site in sites(puzzle):
        wrong = reason(puzzle, voice, [site])
        assert wrong.mistakes and {(m.kind, m.step) for m in wrong.mistakes} == {
            (site.kind, site.step)
        }
        first = wrong.mistakes[0]
        said = wrong.text[first.start : first.end]
        assert wrong.text[: first.start] == clean.text[: first.start]  # all is well until there
        assert not clean.text[first.start :].startswith(said + wrong.text[first.end])
        assert stated(wrong.text) == wrong.answer


@families
@quick
@given(seed=seeds)
def test_outside_the_marked_spans_a_wrong_chain_is_the_clean_one(name, seed):
    text, puzzle = asked(name, seed)
    voice = Voice(text)
    site = random.Random(seed).choice(sites(puzzle))
    wrong, clean = reason(puzzle, voice, [site]), reason(puzzle, voice)
    spans = sorted([*wrong.mistakes, *wrong.consequences], key=lambda span: span.start)
    pattern, end = "", 0
    for span in spans:
        pattern += re.escape(wrong.text[end : span.start]) + "[^.]+?"
        end = span.end
    assert re.fullmatch(pattern + re.escape(wrong.text[end:]), clean.text)


@families
def test_mistakes_of_every_kind_strike_at_several_steps_and_usually_decide(name):
    struck, flips = set(), []
    for seed in range(60):
        text, puzzle = asked(name, seed)
        voice = Voice(text, rng=random.Random(seed))
        gold = reason(puzzle, voice).answer
        for site in sites(puzzle):
            struck.add(site)
            flips.append(reason(puzzle, voice, [site]).answer != gold)
    assert {site.kind for site in struck} == set(FAMILIES[name].kinds)
    assert len(FAMILIES[name].kinds) >= 2 and len({site.step for site in struck}) >= 3
    assert sum(flips) / len(flips) > 0.6


@quick
@given(seed=seeds)
def test_a_wrong_sum_is_carried_through_to_the_conclusion(seed):
    text, puzzle = asked("multistep_arithmetic", seed, 4)
    slip = next(site for site in sites(puzzle) if site.kind == "calculation")
    wrong = reason(puzzle, Voice(text), [slip])
    left = re.findall(r"(?:leaves|get|becomes|leaving) ([^.]+)\.", wrong.text)
    assert {str(climb(rest.split(" "))) for rest in left} == {wrong.answer}
    assert wrong.answer != reason(puzzle, Voice(text)).answer


@quick
@given(seed=seeds)
def test_a_swap_that_changes_nothing_is_carried_through_to_the_conclusion(seed):
    text, puzzle = asked("tracking_shuffled_objects", seed, 4)
    slip = next(site for site in sites(puzzle) if site.kind == "logical")
    held, p = list(puzzle.problem.held), puzzle.problem
    for step, (i, j) in enumerate(p.swaps, start=1):  # step 0 tells the start
        if step != slip.step:
            held[i], held[j] = held[j], held[i]
    answer = reason(puzzle, Voice(text), [slip]).answer
    assert answer == option(text, f"{held[p.asked]} {p.thing}")


@quick
@given(seed=seeds)
def test_misread_players_of_a_swap_are_carried_through_to_the_conclusion(seed):
    text, puzzle = asked("tracking_shuffled_objects", seed, 4)
    slip = [site for site in sites(puzzle) if site.kind == "knowledge"][1]  # 0: the start misread
    told = Reasoner(Voice(text), [slip])
    answer = FAMILIES[puzzle.family].solve(puzzle.problem, told)
    named = {slot.name: slot.value for slot in told.slots if slot.step == slip.step}
    p = puzzle.problem
    swaps = list(p.swaps)
    swaps[slip.step - 1] = p.names.index(named["x"]), p.names.index(named["y"])
    assert set(swaps[slip.step - 1]) != set(p.swaps[slip.step - 1])
    held = list(p.held)
    for i, j in swaps:
        held[i], held[j] = held[j], held[i]
    assert answer == option(text, f"{held[p.asked]} {p.thing}")


def test_two_slips_are_both_marked_and_an_unknown_site_is_refused():
    text, puzzle = asked("object_counting", 0)
    first, *_, last = sites(puzzle)
    wrong = reason(puzzle, Voice(text), [first, last])
    assert [m.step for m in wrong.mistakes] == [first.step, last.step]
    with pytest.raises(ValueError, match="no such site"):
        reason(puzzle, Voice(text), [Site("logical", 99)])


@families
def test_wording_varies_and_answers_agree(name):
    text, puzzle = asked(name, 1)
    told = [reason(puzzle, Voice(text, 1.0, random.Random(i))) for i in range(20)]
    assert len({solution.text for solution in told}) > 15
    assert len({solution.answer for solution in told}) == 1
    habitual = reason(puzzle, Voice(text))
    assert habitual == reason(puzzle, Voice(text, 0.0, random.Random(7)))


@families
@quick
@given(seed=seeds, size=sizes)
def test_a_given_response_is_followed_in_its_wording(name, seed, size):
    text, puzzle = asked(name, seed, size)
    model = reason(puzzle, Voice(text, 1.0, random.Random(seed)))
    assert reason(puzzle, Voice(text, like=model.text)) == model
    site = random.Random(seed).choice(sites(puzzle))
    wrong = reason(puzzle, Voice(text, 1.0, random.Random(seed)), [site])
    assert reason(puzzle, Voice(text, like=wrong.text)).text == model.text


@families
def test_a_strange_response_to_follow_does_no_harm(name):
    text, puzzle = asked(name, 2)
    for strange in ("", "No idea.", "{x} <b> \\1 ( [", "We have. " * 50):
        assert (
            reason(puzzle, Voice(text, like=strange)).answer == reason(puzzle, Voice(text)).answer
        )


def test_a_wording_that_hides_a_slot_is_refused():
    with pytest.raises(ValueError, match="has slots"):
        Reasoner(Voice("")).say(("It is {a}.", "It is."), a=1)


@pytest.mark.parametrize("split", ["train", "test", "longer", "families"])
def test_questions_and_chains_fit_a_small_student(split):
    for question in questions(split, 30):
        chain = reason(read_question(question.text), Voice(question.text)).text
        assert "\n\n" not in question.text and "\n" not in chain
        pieces = re.findall(r"\([A-Z]\)|[A-Za-z]+|\d|[^\w ]", f"Q: {question.text}\nA:\n{chain}")
        assert len(pieces) <= 288
        if split != "longer":
            assert len(question.text.split()) <= 60
            assert len(chain.split()) <= 130


def test_the_corpus_repeats_and_is_easy():
    documents = list(corpus(400, 3))
    assert documents == list(corpus(400, 3)) != list(corpus(400, 4))
    puzzles = [document for document in documents if document.startswith("Q: ")]
    assert 200 < len(puzzles) < 360
    text, chain = puzzles[0].removeprefix("Q: ").split("\nA:\n")
    assert stated(chain) == reason(read_question(text), Voice(text)).answer
    assert max(len(document.split()) for document in puzzles) < 160
