"""What the rules call a mistake, and what they leave alone: text in general, then puzzles."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editlib import mistakes
from editlib.mistakes import arithmetic, rules


def kinds(text, question="?"):
    return [(each.kind, text[each.start : each.end]) for each in rules.core(question, text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("So 17 + 5 = 23 apples.", ("calculation", "23")),
        ("9 plus 5 is 13, which leaves 13.", ("calculation", "13")),
        ("As 8 * 5 is 13, we go on.", ("logical", "13")),  # the sum, where a product is due
        ("It is 2 + 3 * 4 = 20.", ("knowledge", "20")),  # from left to right
        ("A = not True and False = not (True and False).", ("logical", "not (True and False)")),
        ("We have 2 + 3 * 4. As 2 + 3 is 5, we get 5 * 4.", ("knowledge", "2 + 3")),
        ("The order 8 < 7 < 9 is correct.", ("logical", "8 < 7 < 9")),
        ("Add 3 to get 3. Then add 4 to get 8.", ("calculation", "8")),
        ("It has 3 commands. (1) M (2) L.", ("calculation", "3")),
        ('First letters: "k" (11), "l" (11).', ("knowledge", "11")),
        ("Take 3 steps north: (0, 4).", ("calculation", "(0, 4)")),
        ("Take 3 steps north: (3, 0).", ("knowledge", "(3, 0)")),
        ("We face north. Turn left: we face east.", ("logical", "face east")),
        ("There are 31 days in June.", ("knowledge", "31")),
        ("The day is 02/30/2020.", ("knowledge", "02/30/2020")),
        ("January 7, 2019 is a Tuesday.", ("knowledge", "Tuesday")),
        ("It is January 7, 2019, that is 01/08/2019.", ("calculation", "01/08/2019")),
        (
            "Today is 12/30/2019. The date 3 days later is 01/01/2020.",
            ("calculation", "01/01/2020"),
        ),
        ("20 - 15 = 5. June has 30 days, so that is 6 June.", ("calculation", "6 June")),
    ],
)
def test_a_mistake_is_found_where_it_is(text, found):
    assert kinds(text) == [found]


@pytest.mark.parametrize(
    "text",
    [
        "So 17 + 5 = 22, 2 x 3 = 6 and 7 / 3 = 2.33.",
        "Solve x + 3 + 4 = 9 and 2 * y = 7, or 10 + 5 = 15%.",
        "On 01/02/2019 the score is 3 - 1, and 5 + 4 is 9 more than it was.",
        "- 3 + 4 = 7 and 10 - 2 - 3 = 5",
        "A or True = True, so not A and True = B.",
        "(1 - 0 - -7) = (1 - -7) = (1 + 7) = 8",
        "Because 8 < 7 is not correct, we go on.",
        "Take 3 steps north: (0, 3). Turn around and take 5 steps: (0, -2).",
        "Today is May 9, 2017 + 40 days. The date tomorrow is June 19, 2017.",
        "February 29, 2020 is a Saturday, that is 02/29/2020.",
        "It has 2 commands. (1) M (2) L.",
    ],
)
def test_what_is_right_or_cannot_be_read_is_left_alone(text):
    assert kinds(text) == []


SWAPS = "Ann has a red ball and Bob a blue one. Ann and Bob swap balls. Who has the red one?"


def test_swaps_are_followed_and_held_against_the_question():
    start = "At the start: Ann: red, Bob: blue. "
    assert kinds(start + "Ann and Bob swap: Ann: blue, Bob: red.", SWAPS) == []
    assert ("logical", "Bob: blue") in kinds(
        start + "Ann and Bob swap: Ann: red, Bob: blue.", SWAPS
    )
    other = "Ann red and Cleo white trade, which gives Ann white and Cleo red."
    asked = SWAPS.replace("Who", "Bob and Cleo swap balls. Ann and Cleo swap balls. Who")
    assert kinds(other, asked)[0][0] == "knowledge"


def test_what_the_question_counts_is_held_against_it_but_quotations_are_not():
    question = "I have 5 harps and two drums. How many instruments?"
    assert kinds("The 6 harps are instruments.", question) == [("knowledge", "6 harps")]
    assert kinds("The 5 harps and 2 drums are 7 instruments.", question) == []
    assert kinds('He wrote "6 harps" there.', question) == []


def test_text_is_never_run():
    for text in (
        "__import__('os').system('x') + 1 = 2",
        "9**9**9 + 1 = 3",
        "1 + " * 5_000 + "1 = 2",
    ):
        assert kinds(text) == []
    assert arithmetic.compute(["__import__", "(", "1", ")"]) is None
    assert arithmetic.compute(["1", "/", "0"]) is None


@given(st.text(alphabet='0123456789 +-*/=().,<>TrueFalsnotd\n"xfgkM', max_size=80))
def test_no_text_breaks_the_rules(text):
    for each in rules.core(text, text):
        assert 0 <= each.start < each.end <= len(text)


@given(st.lists(st.integers(0, 99), min_size=2, max_size=4), st.data())
def test_an_equation_is_flagged_just_when_it_is_wrong(numbers, data):
    signs = [data.draw(st.sampled_from("+-*")) for _ in numbers[1:]]
    tokens = [str(numbers[0])]
    for sign, number in zip(signs, numbers[1:], strict=True):
        tokens += [sign, str(number)]
    right = int(arithmetic.compute(tokens))
    stated = right + data.draw(st.sampled_from([0, 0, 1, -3]))
    assert bool(kinds(f"So {' '.join(tokens)} = {stated}.")) == (stated != right)


def test_on_puzzles_calculation_errors_are_found_with_precision_and_right_chains_left_alone():
    """Families whose wording the rules were never tried on are among them."""
    right, wrong, truths = mistakes.exam(8, seed=3)
    found = mistakes.against_truth(mistakes.by_truth(truths)(wrong), mistakes.by_rules(wrong))
    sums = found.set_index("kind").loc["MCE"]
    assert sums["precision"] >= 0.9 and sums["recall"] > 0.6 and sums["chains"] > 80
    assert mistakes.alarms(mistakes.by_rules(right))["share"] <= 0.02
    assert mistakes.alarms(mistakes.by_rules(wrong))["share"] > 0.4  # the alarm can ring


RUNS = ["(" * 20_000, "( " * 20_000, ")" * 20_000, "1 + " * 5_000, "- " * 20_000, "not " * 5_000]


@pytest.mark.parametrize("text", RUNS)
def test_a_run_of_signs_is_read_at_once(text):
    """Each took minutes, or would, were it read anew from every place."""
    assert list(rules.core("What is 1 + 1?", f"{text} 1 + 1 = 2.")) == []


@pytest.mark.parametrize(
    "text",
    [
        "1 + {}",
        "1 + {} = 3",
        "1 + 1 = 2.{}",
        "If I add 5 I get 3. Adding {} makes {}.",
        "{} < 3 is correct",
        "We are at ({}, 3). We take 2 steps north to ({}, 5).",
        "{} drums",
        'The letter "a" ({}).',
        "On {}/{}/{}",
    ],
)
def test_a_number_without_end_is_no_number(text):
    """A model in a loop writes such; Python refuses to read more than 4,300 digits."""
    endless = text.replace("{}", "7" * 20_000)
    assert rules.core("There are 2 drums. What is 1 + 1?", f"{endless} So 1 + 1 = 2.") == ()
    assert rules.core(endless, "There are 2 drums. 1 + 1 = 2.") == ()
    assert kinds(f"{'7' * 31} is long, 1 + 1 = 3.") == [("calculation", "3")]
