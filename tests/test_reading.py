"""Lenient reading: what a person would read, and nothing that a person would not."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editlib import answers, benchmarks, reading
from editlib.answers import agrees, read_answer, read_for
from editlib.records import Question

DATES = "Which day?\nOptions:\n(A) 09/09/2021\n(B) 09/10/2021\n(C) a leap day\n(D) a leap day"


def asked(text: str, gold: str, benchmark: str = "bbh", task: str = "t") -> Question:
    return Question(f"{benchmark}/{task}/0", benchmark, task, "test", text, gold)


CHOICE = asked(DATES, "(B)")
NUMBER = asked("How many?", "3")
EITHER = asked("Who?\nOptions:\n(A) Ann\n(B) Bob\n(C) either (A) or (B), not both", "(C)")
YES = asked("Is it so?", "Yes")
VALID = asked("Is it valid?\nOptions:\n- valid \n- invalid", "valid")
BRACKETS = asked("Close them: [ <", "> ]")
BRACES = asked("Close them: < {", "} >")
LIST = asked("Sort these words. List: pear apple shouldn't fig", "apple fig", task="word_sorting")
FORMULA = asked("Solve it.", "\\frac{1}{2}", "math")
KINDS = [CHOICE, NUMBER, YES, VALID, BRACKETS, LIST, FORMULA]


@pytest.mark.parametrize(
    ("question", "text", "read"),
    [
        (CHOICE, "So the answer is (B).", "(B)"),
        (CHOICE, "So the answer is B.", "(B)"),
        (CHOICE, "So the answer is B) since it rains.", "(B)"),
        (CHOICE, "So the answer is (B) 09/10/2021.", "(B)"),
        (CHOICE, "So the answer is option B", "(B)"),
        (CHOICE, "So the answer is (b).", "(B)"),
        (CHOICE, "So the answer is 09/10/2021.", "(B)"),
        (CHOICE, "So the answer is not (A) but (B).", "(B)"),
        (CHOICE, "So the answer is (B), not (A).", "(B)"),
        (CHOICE, "So the answer is (B) rather than (A).", "(B)"),
        (CHOICE, "So the answer is (B), because (A) comes first.", "(B)"),
        (CHOICE, "So the answer is (B). Had it been (A), fine.", "(B)"),
        (CHOICE, "The answer is (A)? No. The answer is **(B)**.", "(B)"),
        (CHOICE, "Answer: B", "(B)"),
        (CHOICE, "The correct option is (B).", "(B)"),
        (CHOICE, "Hence $\\boxed{B}$.", "(B)"),
        (CHOICE, "Hence $\\boxed{\\text{(B)}}$, so the day is known.", "(B)"),
        (CHOICE, "(B)", "(B)"),
        (CHOICE, "B.", "(B)"),
        (CHOICE, "(B) 09/10/2021", "(B)"),
        (EITHER, "So the answer is (C) either (A) or (B), not both.", "(C)"),
        (NUMBER, "So the answer is 3.5.", "3.5"),
        (NUMBER, "So the answer is 3 apples.", "3"),
        (NUMBER, "So the answer is 1 + 2 = 3", "3"),
        (NUMBER, "The answer is: $1,234.50", "1234.50"),
        (NUMBER, "So the answer is not 4 but 3.", "3"),
        (NUMBER, "So the answer is −9.", "-9"),
        (NUMBER, "So the answer is minus 9.", "-9"),
        (NUMBER, "So the answer is three.", "3"),
        (NUMBER, "It is \\boxed{12\\text{ cm}}.", "12"),
        (NUMBER, "3", "3"),
        (YES, "So the answer is yes.", "Yes"),
        (YES, "So the answer is No, it is not so.", "No"),
        (VALID, "So the answer is that it is deductively valid.", "valid"),
        (VALID, "Answer: invalid, since nothing follows.", "invalid"),
        (BRACKETS, "So the answer is `>]`.", "> ]"),
        (LIST, "So the answer is apple, fig, and pear.", "apple fig pear"),
        (LIST, "So the answer is ['apple', \"shouldn't\"].", "apple shouldn't"),
        (FORMULA, "Thus $x = \\boxed{\\frac{1}{2}}$.", "\\frac{1}{2}"),
        (CHOICE, "So the answer is **(B) 09/10/2021**.\n\nHence the wrong answer is (A).", "(B)"),
        (CHOICE, "So the answer is (B). Note that the wrong answer is (A).", "(B)"),
        (CHOICE, "So the answer is (B). A common wrong answer: (A)", "(B)"),
        (CHOICE, "**Answer**: (B)", "(B)"),
        (CHOICE, "**Final Answer**: (B)", "(B)"),
        (CHOICE, "### Answer\n(B)", "(B)"),
        (CHOICE, "So the correct answer choice is (B).", "(B)"),
        (CHOICE, "The most likely answer is (B).", "(B)"),
        (CHOICE, "The answer would be (B)", "(B)"),
        (CHOICE, "So the answer is most likely (B).", "(B)"),
        (CHOICE, "So the answer is (B), which is correct.", "(B)"),
        (CHOICE, "So the answer is (B) 09/10/2021, the day after.", "(B)"),
        (CHOICE, "So the answer is not (A) 09/09/2021 but (B).", "(B)"),
        (NUMBER, "So the answer is 12 square feet.", "12"),
        (NUMBER, "So the answer is 12 apples in the basket.", "12"),
        (NUMBER, "So the answer is 12 in total.", "12"),
        (NUMBER, "So the answer is 12 hours per week.", "12"),
        (NUMBER, "So the answer is x = 12.", "12"),
        (NUMBER, "So \\boxed{12}. But then \\boxed{13}.", "13"),
        (BRACES, "\\boxed{\\} >}", "} >"),
        (BRACES, "So the answer is \\} >.", "} >"),
    ],
)
def test_a_person_would_read_so(question, text, read):
    assert read_for(question, text) == read


@pytest.mark.parametrize(
    ("question", "text"),
    [
        (CHOICE, "So the answer is (A) or (B)."),
        (CHOICE, "So the answer is both (A) and (B)."),
        (CHOICE, "So the answer is (B) or none of them."),
        (CHOICE, "So the answer is not (B)."),
        (CHOICE, "So the answer is neither (A) nor (B)."),
        (CHOICE, "So the answer is not (A) or (B)."),
        (CHOICE, "So the answer is clear: (B) is wrong."),
        (CHOICE, "So the answer is (B) 09/09/2021."),
        (CHOICE, "So the answer is a leap day."),
        (CHOICE, "So the answer is (G)."),
        (CHOICE, "So the answer is A day in spring."),
        (CHOICE, "If we look at (B), it says the tenth"),
        (CHOICE, "The tenth it is."),
        (CHOICE, ""),
        (NUMBER, "So the answer is 3 or 4."),
        (NUMBER, "So the answer is more than 3."),
        (NUMBER, "So the answer is x = 3 or x = 5."),
        (NUMBER, "So the answer is 1/3."),
        (NUMBER, "So the answer is 3:30."),
        (NUMBER, "We count 3 apples and go on"),
        (NUMBER, "So the answer is twenty-three."),
        (NUMBER, "So the answer is thirty one."),
        (NUMBER, "So the answer is 3\\pi."),
        (NUMBER, "So the answer is > 3."),
        (NUMBER, "So the answer is x != 3."),
        (NUMBER, "So the answer is 12, where x = 3."),
        (NUMBER, "So the answer is unclear, but step 2 is wrong."),
        (NUMBER, "So the answer is 2, which is wrong."),
        (NUMBER, "So the answer is what Tom has 3 of."),
        (NUMBER, "So the answer is \\boxed{5} or \\boxed{7}."),
        (NUMBER, "We get \\boxed{5} or \\boxed{7}."),
        (VALID, "So the answer is far from valid."),
        (VALID, "So the answer is hardly valid."),
        (CHOICE, "So the answer is everything except (A)."),
        (CHOICE, "So the answer is none, as (A) fails."),
        (CHOICE, "Had it rained, the answer would be (A)."),
        (YES, "So the answer is yes and no."),
        (YES, "So the answer is no idea."),
        (YES, "So the answer is that no one would say so."),
        (VALID, "So the answer is not valid."),
        (VALID, "So the answer is valid or invalid."),
        (BRACKETS, "So the answer is empty."),
        (LIST, "If we look at the words"),
        (LIST, "So the answer is not known to me."),
        (CHOICE, "So the answer is all but (B)."),
        (CHOICE, "So the answer is no longer (B)."),
        (CHOICE, "So the answer is hardly (B)."),
        (CHOICE, "So the answer is far from (B)."),
        (CHOICE, "So the answer is definitely never (B)."),
        (CHOICE, "So the answer is different from (B)."),
        (CHOICE, "So the answer is the opposite of (B)."),
        (CHOICE, "So the answer is false: (B)."),
        (CHOICE, "So the answer is A, B or C."),
        (CHOICE, "So the answer is (A), (B)."),
        (CHOICE, "So the answer is B is far from right."),
        (CHOICE, "The wrong answer is (A) here."),
        (CHOICE, "An incorrect answer is: (A). I pick (B)."),
        (CHOICE, "The first answer is (A)."),
        (CHOICE, "The wrong **answer** is (A)."),
        (CHOICE, "Suppose the correct answer is (A). Then contradiction. So it must be (B)."),
        (CHOICE, "Suppose the answer is (A). Then contradiction. So it must be (B)."),
        (CHOICE, "So the answer is (A)? No, (B)."),
        (CHOICE, "So the answer is (A), which is false; so (B)"),
        (CHOICE, "So the answer is (A), which is not right."),
        (CHOICE, "That is not the answer: (B)"),
        (NUMBER, "So the answer is 12 squared."),
        (NUMBER, "So the answer is 12 cubed."),
        (NUMBER, "So the answer is 12 factorial."),
        (NUMBER, "So the answer is 12 doubled."),
        (NUMBER, "So the answer is 12 less."),
        (NUMBER, "So the answer is 12 pi."),
        (NUMBER, "So the answer is 12 + x."),
        (NUMBER, "So the answer is 12; 13."),
        (NUMBER, "So the answer is 12 times x."),
        (NUMBER, "So the answer is 5! = 12."),
        (NUMBER, "So the answer is x + 2 = 12."),
        (NUMBER, "So the answer is minus three."),
        (NUMBER, "\\boxed{x^{12}}"),
        (NUMBER, "\\boxed{|12|}"),
        (NUMBER, "\\boxed{12 i}"),
        (NUMBER, "\\boxed{12 + y}"),
        (NUMBER, "\\boxed{12}\\text{ or }\\boxed{13}"),
        (NUMBER, "$x = \\boxed{12}$ or $x = \\boxed{13}$"),
        (NUMBER, "\\boxed{12}, \\boxed{13}"),
        (VALID, "So the answer is anything but valid."),
        (VALID, "So the answer is fails to be valid."),
        (YES, "So the answer is yes, or no."),
    ],
)
def test_where_a_person_could_not_tell_it_says_what_strict_says(question, text):
    assert read_for(question, text) == read_answer(text)


@pytest.mark.parametrize(
    ("question", "read"),
    [
        (asked("How many?", "1,234"), "1234"),
        (asked("How many?", "3.50"), "3.5"),
        (asked("Which?", "yes"), "Yes"),
        (LIST, "Apple, fig"),
        (FORMULA, "$\\dfrac{1} {2}$"),
        (asked("Which?", "Les Quatre"), "Les  Quatre."),
    ],
)
def test_the_same_answer_in_another_dress_agrees_leniently_alone(question, read):
    assert agrees(question, read) and not agrees(question, read, "strict")


@pytest.mark.parametrize(
    ("question", "read"),
    [
        (NUMBER, "4"),
        (NUMBER, "3.01"),
        (CHOICE, "(A)"),
        (FORMULA, "\\frac{1}{3}"),
        (YES, None),
        (asked("Move?", "Bxc3"), "bxc3"),
    ],
)
def test_another_answer_does_not_agree(question, read):
    assert not agrees(question, read)


@given(st.sampled_from(KINDS), st.text() | st.text("AB()0123456789,.-= yesnotvalid<>[]{}\\$:\n"))
def test_whatever_the_text_a_read_stays_a_read_and_a_match_a_match(question, chain):
    """Lenient reads all that strict reads, and is right wherever strict is."""
    for text in (chain, f"{chain} the answer is {chain}.", f"\\boxed{{{chain}", f"answer: {chain}"):
        strict, lenient = read_answer(text), read_for(question, text)
        assert (lenient is not None) or strict is None
        assert agrees(question, lenient) or not agrees(question, strict, "strict")
        if reading.kind(question) == "choice" and lenient != strict:
            assert lenient[1] in reading.options(question.text)


@given(st.sampled_from(KINDS), st.text())
def test_a_gold_answer_stated_is_right_in_both_modes(question, chain):
    text = f"{chain} So the answer is {question.answer}."
    for mode in ("strict", "lenient"):
        assert agrees(question, read_for(question, text, mode), mode)


@given(st.text())
def test_puzzles_are_read_strictly(text):
    puzzle = asked(DATES, "(B)", benchmark="puzzles")
    for said in (text, f"the answer is {text}", "Answer: B"):
        assert read_for(puzzle, said) == read_answer(said)


def test_a_very_long_text_is_read_at_once():
    for question in KINDS:
        for unit in ("a loop ", "not ", "{", "\\boxed{", "the answer is ", "3, ", "- ", "(A) or "):
            read_for(question, unit * 50_000)


def test_rows_that_differ_are_listed_with_what_each_mode_read():
    texts = {CHOICE.id: "So the answer is B."}
    [row] = answers.differences([CHOICE, asked("What?", "1", task="other")], texts).to_dict(
        "records"
    )
    assert (row["strict"], row["lenient"]) == ("B", "(B)")
    assert (row["strict_right"], row["lenient_right"]) == (False, True)
    assert answers.differences([CHOICE], {CHOICE.id: "So the answer is (B)."}).empty


@pytest.mark.skipif(not os.environ.get("EDITLIB_DATA_DIR"), reason="no data mirror is named")
@pytest.mark.parametrize("name", ["bbh", "agieval", "arc_c"])
def test_no_option_of_real_questions_is_ever_taken_for_another(name):
    """Each option stated by letter, by text, or both; nearly all are read, none as another."""
    reads, unread = 0, 0
    for question in benchmarks.load(name, "test"):
        listed = reading.options(question.text)
        for letter, text in listed.items() if len(listed) > 1 else ():
            for said in (letter, text, f"({letter}) {text}", f"**({letter})**, I think"):
                read = read_for(question, f"Hm. So the answer is {said}.")
                reads, unread = reads + 1, unread + (read != f"({letter})")
                assert read == f"({letter})" or read not in [f"({each})" for each in listed]
    assert unread < 0.02 * reads


@pytest.mark.skipif(not os.environ.get("EDITLIB_DATA_DIR"), reason="no data mirror is named")
def test_on_published_completions_the_modes_differ_in_one_read_and_in_no_verdict():
    texts = {}
    for task in benchmarks.codex_tasks():
        texts |= benchmarks.codex_completions(task)
    found = answers.differences(benchmarks.load("bbh", "all"), texts)
    assert (found["strict_right"] == found["lenient_right"]).all()
    assert found[["strict", "lenient"]].to_numpy().tolist() == [["135,210", "135210"]]


@pytest.mark.parametrize(
    ("question", "read", "plain"),
    [
        (CHOICE, "(A)", True),
        (CHOICE, "(B)", False),
        (CHOICE, "(A) or (B)", False),  # it may mean the gold one
        (CHOICE, "(B) 09/09/2021", False),  # letter and text disagree
        (CHOICE, "A or B", False),
        (CHOICE, "(A) and (C)", False),
        (asked("Sum?", "12"), "twelve", False),
        (asked("Is it valid?\nOptions:\n- valid \n- invalid", "invalid"), "not valid", False),
        (LIST, "apple, fig and pear", False),
        (FORMULA, "2", True),
        (BRACKETS, "empty", True),
        (BRACKETS, "empty, or > ]", False),
        (BRACKETS, "> ] ]", True),  # holds the gold one, and is another all the same
        (CHOICE, "(G)", True),  # no option at all
        (CHOICE, "none of the above", False),
        (NUMBER, "3 million", False),
        (NUMBER, "13", True),
        (CHOICE, None, False),
    ],
)
def test_an_answer_misses_only_where_it_cannot_mean_the_gold_one(question, read, plain):
    assert answers.misses(question, read) == plain


@pytest.mark.parametrize(
    ("question", "text", "read"),
    [
        (CHOICE, "So the answer is (A). Wait. The answer is (B).", "(B)"),
        (CHOICE, "So the answer is (A). The answer is clear.", "(A)"),
        (NUMBER, "So the answer is –12.", "-12"),
        (NUMBER, "So the answer is - 12.", "-12"),
        (NUMBER, "So the answer is .5", "0.5"),
        (NUMBER, "So the answer is 7 (since 2 + 3 = 5).", "7"),
        (NUMBER, "So the answer is that there are 8 objects.", "8"),
        (NUMBER, "So the answer is the total = 5.", "5"),
        (NUMBER, "So the answer is a total of 12 apples.", "12"),
        (NUMBER, "Hence \\boxed{12\\%}.", "12"),
        (CHOICE, "So the answer is (B), as (A) fails.", "(B)"),
        (CHOICE, "The correct option is (B). Otherwise the answer would be (A).", "(B)"),
        (BRACKETS, "So the answer is > ]. All are closed now.", "> ]"),
        (
            asked("Which?\nOptions:\n(A) sure\n(B) impossible to say", "(B)"),
            "So the answer is impossible to say.",
            "(B)",
        ),
    ],
)
def test_more_that_a_person_would_read(question, text, read):
    assert read_for(question, text) == read


def test_formulas_are_equal_whatever_the_blanks():
    assert agrees(asked("Solve it.", "x^2+1", "math"), "x^2 + 1")
    assert agrees(asked("Solve it.", "(1,2)", "math"), "(1, 2)")
    assert not agrees(asked("Solve it.", "x^2+1", "math"), "x^21")


def test_a_scale_word_makes_another_number():
    assert read_for(NUMBER, "So the answer is 3 million.") == "3 million"
    assert not agrees(NUMBER, "3 million")
