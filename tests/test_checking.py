"""The step checker: right about chains that are known, and unmoved by any text."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from editlib.checking import check
from editlib.puzzles import FAMILIES, UnknownPuzzle, Voice, read_question, reason, sites

quick = settings(max_examples=80, deadline=None, derandomize=True)
families = pytest.mark.parametrize("name", FAMILIES)
SEEDS = range(25)

WALK = "You face east. Take 7 steps. Turn left. Take 9 steps. How many steps along the grid lead "
WALK += "back to the start?"
SUM = "What is the value of 9 + 4 * 2?"


def asked(name, seed):
    """A question of the family, its puzzle, and a source of chance."""
    rng = random.Random(f"{name}/{seed}")
    text = FAMILIES[name].ask(FAMILIES[name].draw(rng, rng.choice([1, 2, 3, 4, 5])))
    return text, read_question(text), rng


def first_wrong(text, found):
    """The words of the first wrong value, and the kinds of its step's mistakes."""
    step = found.steps[found.first]
    value = step.wrong[0]
    return text[value.start : value.end], step.kinds


@families
def test_no_alarm_on_clean_chains_however_they_are_worded(name):
    for seed in SEEDS:
        text, puzzle, rng = asked(name, seed)
        voice = Voice(text, paraphrase=rng.choice([0, 0.15, 1]), rng=rng)
        found = check(text, reason(puzzle, voice).text)
        assert found.right and found.formed and found.follows and found.first is None


@families
def test_the_first_slip_is_found_at_its_characters_and_its_kind_is_told(name):
    struck = 0
    for seed in SEEDS:
        text, puzzle, rng = asked(name, seed)
        places = sites(puzzle)
        slips = rng.sample(places, min(len(places), rng.choice([1, 1, 2])))
        told = reason(puzzle, Voice(text, paraphrase=0.15, rng=rng), slips)
        if not told.mistakes:  # the wrong value is shown as the right one
            continue
        struck += 1
        first = min(told.mistakes, key=lambda mistake: mistake.start)
        found = check(text, told.text)
        step = found.steps[found.first]
        assert step.number == first.step
        assert (step.wrong[0].start, step.wrong[0].end) == (first.start, first.end)
        kinds = {mistake.kind for mistake in told.mistakes if mistake.step == first.step}
        assert kinds <= {*step.kinds, *step.also}
        assert not found.right
    assert struck > len(SEEDS) // 2


@families
def test_what_follows_from_one_slip_is_valid_though_not_right(name):
    for seed in SEEDS:
        text, puzzle, rng = asked(name, seed)
        told = reason(puzzle, Voice(text), [rng.choice(sites(puzzle))])
        found = check(text, told.text)
        wrong_steps = {mistake.step for mistake in told.mistakes}
        assert {step.number for step in found.steps if not step.valid} == wrong_steps
        assert found.follows
        changed = [v for s in found.steps for v in s.values if not v.right]
        assert len(changed) == len(told.mistakes) + len(told.consequences)


@families
def test_the_chain_of_another_question_is_not_right(name):
    text, puzzle, _ = asked(name, 0)
    other, _, _ = asked(name, 1)
    assert not check(other, reason(puzzle, Voice(text)).text).right


def test_a_value_copied_wrongly_is_of_no_kind_and_the_inference_from_it_is_not_blamed():
    text = "Take 7 steps east: we are at (7, 0). Turn right: we now face south. "
    text += "Take 9 steps south: we are at (7, -9). The way back from (7, -9) is 7 + 9 = 16 steps. "
    text += "Therefore, the answer is 16."
    found = check(WALK, text)
    assert first_wrong(text, found) == ("right", ("other",))
    assert [step.valid for step in found.steps] == [True, False, True, True, True]
    assert found.follows and not found.right


def test_a_sum_that_no_slip_would_give_is_a_wrong_sum_all_the_same():
    question = "Today is 14 May. The exam is 11 days after today. What is the date of the exam?\n"
    question += "Options:\n(A) 24 May\n(B) 25 May\n(C) 26 May\n(D) 27 May"
    text = "The exam is after that, so 14 + 11 = 19. May has 31 days, so that is 19 May. "
    text += "We look for 19 May. Of the options, (A) 24 May against 19 May, no; (B) 25 May against "
    text += (
        "19 May, no; (C) 26 May against 19 May, no; (D) 27 May against 19 May, no; so we choose "
    )
    text += "(A). Therefore, the answer is (A)."
    found = check(question, text)
    assert first_wrong(text, found) == ("19", ("calculation",))
    assert sum(step.valid is False for step in found.steps) == 1


def test_two_kinds_that_explain_the_same_number_are_both_told():
    text = "We have 9 + 4 * 2. Now 4 * 2 = 6, leaving 9 + 6. Now 9 + 6 = 15, leaving 15. "
    found = check(SUM, text + "Therefore, the answer is 15.")
    step = found.steps[found.first]
    assert {*step.kinds, *step.also} == {"logical", "calculation"}


def test_the_checker_goes_on_from_an_expression_that_was_copied_wrongly():
    text = "We have 9 + 4 * 3. Now 4 * 3 = 12, leaving 9 + 12. Now 9 + 12 = 21, leaving 21. "
    text += "Therefore, the answer is 21."
    found = check(SUM, text)
    assert first_wrong(text, found) == ("9 + 4 * 3", ("other",))
    assert [step.valid for step in found.steps] == [False, True, True, True]


def test_a_conclusion_can_be_right_and_yet_not_follow():
    text = "We have 9 + 4 * 2. Now 4 * 2 = 9, leaving 9 + 9. Now 9 + 9 = 18, leaving 18. "
    text += "Therefore, the answer is 17."
    found = check(SUM, text)
    assert found.follows is False and found.steps[-1].right and not found.right


def test_a_step_left_out_and_a_chain_that_breaks_off_are_not_of_the_form():
    text = reason(read_question(WALK), Voice(WALK)).text
    sentences = re.findall(r"[^.]+\.", text)
    left_out = check(WALK, "".join(sentences[:-2] + sentences[-1:]))
    assert not left_out.formed and left_out.steps[left_out.first].start == left_out.steps[-1].start
    broken = check(WALK, "".join(sentences[:-1]))
    assert not broken.concluded and broken.follows is None
    assert broken.first == len(broken.steps) - 1


def test_garbage_is_not_a_chain():
    for text in ("", "no", "....", "Therefore, the answer is .", "\x00\n" * 9):
        found = check(WALK, text)
        assert not found.formed and not found.right and found.first == 0


def test_a_question_that_is_no_puzzle_cannot_be_checked():
    with pytest.raises(UnknownPuzzle):
        check("What is love?", "Therefore, the answer is 42.")


@quick
@given(name=st.sampled_from(list(FAMILIES)), seed=st.integers(0, 50), text=st.text(max_size=300))
def test_no_text_makes_it_stumble(name, seed, text):
    question, _, _ = asked(name, seed)
    found = check(question, text)
    assert all(0 <= step.start <= step.end <= len(text) for step in found.steps)


@quick
@given(name=st.sampled_from(list(FAMILIES)), seed=st.integers(0, 10**6), cuts=st.integers(1, 6))
def test_no_garbled_chain_makes_it_stumble(name, seed, cuts):
    """Words dropped, doubled, exchanged with words of another chain of the family."""
    question, puzzle, rng = asked(name, seed)
    words = reason(puzzle, Voice(question)).text.split(" ")
    _, other, _ = asked(name, seed + 1)
    strange = reason(other, Voice(question)).text.split(" ")
    for _ in range(cuts):
        place = rng.randrange(len(words))
        words[place : place + 1] = rng.choice(
            [[], [words[place]] * 2, [rng.choice(strange)], [rng.choice(words)], ["9" * 30]]
        )
        words = words or ["."]
    text = " ".join(words)
    found = check(question, text)
    assert found.steps and all(0 <= s.start <= s.end <= len(text) for s in found.steps)
    assert not found.right or found.first is None
