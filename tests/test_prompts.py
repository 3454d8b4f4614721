import pytest
from hypothesis import given
from hypothesis import strategies as st

from editlib import prompts, puzzles
from editlib.answers import MARKER, read_answer
from editlib.prompts import Exemplar

SHOWN = Exemplar("What is 1 plus 1?", "2", "1 plus 1 is 2.", "1 plus 1 is 3.")
hostile = st.text() | st.sampled_from(
    ["{{ 7 * 7 }}", "{% for", "{# #}", "<b>&amp;", f"{MARKER} 3.", "{0}", "%s", "\r\n", "\x00", ""]
)


def test_cep_shows_the_exemplars_then_asks():
    assert prompts.cep("Do sums.", [SHOWN], "What is 2 plus 2?") == (
        "Do sums.\n"
        "\n"
        "Q: What is 1 plus 1?\n"
        "A: Let's think step by step.\n"
        "1 plus 1 is 2.\n"
        "\n"
        "Q: What is 2 plus 2?\n"
        "A: Let's think step by step."
    )


def test_ahp_is_cep_with_a_hint_after_every_question():
    asked = prompts.ahp("Do sums.", [SHOWN], "What is 2 plus 2?", "4")
    hints = [line for line in asked.split("\n") if line.startswith("Hint: ")]
    assert hints == ["Hint: The correct answer is 2.", "Hint: The correct answer is 4."]
    without = "\n".join(line for line in asked.split("\n") if line not in hints)
    assert without == prompts.cep("Do sums.", [SHOWN], "What is 2 plus 2?")


def test_ccp_ends_where_the_wrong_response_begins():
    assert prompts.ccp("Do sums.", [SHOWN], "What is 2 plus 2?", "2 plus 2 is 4.") == (
        "Do sums.\n"
        "\n"
        "Q: What is 1 plus 1?\n"
        "Right Response: 1 plus 1 is 2.\n"
        "Wrong Response: 1 plus 1 is 3.\n"
        "\n"
        "Q: What is 2 plus 2?\n"
        "Right Response: 2 plus 2 is 4.\n"
        "Wrong Response:"
    )


def test_ccp_refuses_an_exemplar_without_a_wrong_response():
    with pytest.raises(ValueError, match="wrong response"):
        prompts.ccp("Do sums.", [Exemplar("q", "a", "c")], "q", "c")


@given(hostile, hostile, hostile, hostile)
def test_text_passes_through_untouched(description, question, answer, rationale):
    shown = Exemplar(question, answer, rationale, rationale)
    assert prompts.cep(description, [shown], question) == (
        f"{description}\n\nQ: {question}\nA: Let's think step by step.\n{rationale}\n\n"
        f"Q: {question}\nA: Let's think step by step."
    )
    hint = f"Q: {question}\nHint: The correct answer is {answer}.\nA: Let's think step by step."
    assert prompts.ahp(description, [shown], question, answer) == (
        f"{description}\n\n{hint}\n{rationale}\n\n{hint}"
    )
    right = f"Q: {question}\nRight Response: {rationale}\nWrong Response:"
    assert prompts.ccp(description, [shown], question, rationale) == (
        f"{description}\n\n{right} {rationale}\n\n{right}"
    )


def test_the_published_layout_is_kept_to_the_letter():
    asked = prompts.published_cep("Do sums.\n\nQ: a\nA: b", "What is 2 plus 2?")
    assert asked == "Do sums.\n\nQ: a\nA: b\n\nQ: What is 2 plus 2?\nA: Let's think step by step."


@pytest.mark.parametrize("task", puzzles.FAMILIES)
def test_puzzle_exemplars_are_solved_and_fit_the_layout(task):
    shots = prompts.puzzle_shots([task])[task]
    assert len({exemplar.question for exemplar in shots.exemplars}) == 3
    for exemplar in shots.exemplars:
        assert puzzles.read_question(exemplar.question).family == task
        assert read_answer(exemplar.correct) == exemplar.answer
        assert "\n\n" not in exemplar.question + exemplar.correct


def test_a_student_is_asked_in_one_way():
    assert prompts.student("What is 2 plus 2?") == "Q: What is 2 plus 2?\nA:\n"


@pytest.mark.parametrize(
    ("style", "steps", "alone"),
    [("zero-shot", 0, 1), ("few-shot", 0, 1), ("zero-shot-CoT", 1, 0), ("few-shot-CoT", 1, 0)],
)
def test_a_prompt_of_the_kits_own_says_once_what_is_to_be_written(style, steps, alone):
    shots = prompts.bbh_shots({"navigate": [Exemplar("Where?", "(A)", "Here.")]})["navigate"]
    asked = prompts.baseline(style, shots, "Where now?")
    assert asked.count("Reason step by step") == steps
    assert asked.count("Give the answer alone.") == alone


def test_exemplars_that_do_not_fit_are_left_out_the_last_first():
    shown = [Exemplar(f"What is {n} plus 1?", str(n + 1), f"It is {n + 1}.") for n in range(3)]
    shots = prompts.Shots("Do sums.", tuple(shown))

    def asked(style, room):
        return prompts.fitted(style, shots, "What is 9 plus 9?", lambda text: len(text) <= room)

    whole, all_three = asked("few-shot-CoT", 10_000)
    assert all_three == 3 and whole == prompts.baseline("few-shot-CoT", shots, "What is 9 plus 9?")
    cut, two = asked("few-shot-CoT", len(whole) - 1)
    assert two == 2 and shown[1].question in cut and shown[2].question not in cut
    bare, none = asked("few-shot", 0)  # asked all the same
    assert none == 0 and "What is 9 plus 9?" in bare
    assert asked("zero-shot", 10_000)[1] == 0
