import math
from dataclasses import replace

import pandas as pd
import pytest

from editlib import decoding, evaluation, prompts
from editlib.profiles import Decoding
from editlib.prompts import Shots
from editlib.records import Question


def asked(text, answer, benchmark="bbh"):
    return Question(f"{benchmark}/t/0", benchmark, "t", "test", text, answer)


@pytest.mark.parametrize(
    ("question", "chance"),
    [
        (asked("Options:\nmany. Which?\nOptions:\n(A) x\n(B) y\n(C) z", "(A)"), 1 / 3),
        (asked("Valid?\nOptions:\n- valid \n- invalid", "valid"), 1 / 2),
        (asked("Is it so?", "yes"), 1 / 2),
        (asked("True or False", "True", "puzzles"), 1 / 2),
        (asked("How many?", "3"), math.nan),
    ],
)
def test_chance_follows_from_the_options(question, chance):
    assert evaluation.chance(question) == pytest.approx(chance, nan_ok=True)


def test_guessing_stands_beside_the_answers_to_questions_where_its_chance_is_known():
    texts = ["Is it so?", "Which?\nOptions:\n(A) x\n(B) y\n(C) z", "How many?"]
    gold = ["yes", "(A)", "3"]
    questions = [
        replace(asked(text, answer), id=f"bbh/t/{n}")
        for n, (text, answer) in enumerate(zip(texts, gold, strict=True))
    ]
    seeds = {"bbh/t/0": [True, True], "bbh/t/1": [False, True], "bbh/t/2": [True, True]}
    predictions = pd.DataFrame(
        [(id, "M", right) for id, both in seeds.items() for right in both],
        columns=["question_id", "method", "correct"],
    )
    table = evaluation.beside_guessing(predictions, questions, ["method"])
    [(method, n, chance, accuracy)] = table.itertuples(index=False)
    assert (method, n, accuracy) == ("M", 2, 0.75) and chance == pytest.approx(5 / 12)
    assert evaluation.beside_guessing(predictions[4:], questions, ["method"]).empty


def test_an_untrained_student_can_be_asked_in_another_way(monkeypatch):
    sent = []

    def greedy(model, tokenizer, texts, *_):
        sent.extend(texts)
        return ["(B)\n\nQ: And then?\nA: So the answer is (A)." for _ in texts]

    monkeypatch.setattr(decoding, "greedy", greedy)
    question = asked("Which?\nOptions:\n(A) x\n(B) y", "(B)")
    settings = Decoding(max_new_tokens=1, batch=1)
    few = Shots("Choose.", ())

    def prompt(q):
        return prompts.baseline("few-shot", few, q.text)

    [own] = evaluation.answer(None, None, [question], settings, "base", 0, prompt)
    assert sent == [prompt(question)] and (own.read, own.correct) == ("(B)", True)
    [usual] = evaluation.answer(None, None, [question], settings, "base", 0)
    assert sent[1] == prompts.student(question.text) and usual.read == "(A)"


def test_most_votes_win_and_unread_samples_have_none():
    assert evaluation.majority(["3", None, "4", "4", None, None]) == ("4", 2)
    assert evaluation.majority(["4", "3", "3", "4"]) == ("4", 2)  # of equals the one given first
    assert evaluation.majority([None, None]) == (None, 0)


def vote(monkeypatch, asked, *samples):
    """The vote of a student that says these things; after a rationale, 4."""
    sent = []

    def sampled(model, tokenizer, texts, max_new_tokens, batch, how):
        sent.extend(texts)
        return [list(samples) for _ in texts]

    def greedy(model, tokenizer, texts, *_):
        sent.extend(texts)
        return [" 4." for _ in texts]

    monkeypatch.setattr(decoding, "sampled", sampled)
    monkeypatch.setattr(decoding, "greedy", greedy)
    question = Question("puzzles/t/0", "puzzles", "t", "test", "What is 2 plus 2?", "4")
    settings, how = Decoding(max_new_tokens=1, batch=1), decoding.Sampling(len(samples), 1, 1, 0)
    [found] = evaluation.vote(None, None, [question], settings, how, "M", 7, asked)
    return found, sent


def test_a_vote_says_how_many_samples_agree(monkeypatch):
    samples = [f"So. Therefore, the answer is {x}." for x in (3, 4, 4)] + ["I do not know."]
    found, sent = vote(monkeypatch, "CoT", *samples)
    assert sent == ["Q: What is 2 plus 2?\nA:\n"]
    assert (found.read, found.votes, found.samples, found.agreement) == ("4", 2, 4, 0.5)
    assert found.correct and (found.method, found.seed) == ("M", 7)
    lost, _ = vote(monkeypatch, "CoT", *samples[:1])
    assert not lost.correct and lost.agreement == 1


def test_in_two_steps_each_sampled_rationale_is_concluded(monkeypatch):
    found, sent = vote(monkeypatch, "two steps", "One.", "Two.")
    assert [text.rpartition("\n")[2] for text in sent] == [
        "",
        "One. Therefore, the answer is",
        "Two. Therefore, the answer is",
    ]
    assert (found.read, found.votes) == ("4", 2)


def test_the_answer_alone_is_read_as_a_conclusion(monkeypatch):
    monkeypatch.setattr(decoding, "greedy", lambda *_: [" Bob.\n\nQ: And?"])
    question = Question("puzzles/t/0", "puzzles", "t", "test", "Who?", "Bob")
    settings = Decoding(max_new_tokens=1, batch=1)
    asked = {"prompt": lambda q: q.text, "direct": True}
    [direct] = evaluation.answer(None, None, [question], settings, "M", 0, **asked)
    assert direct.correct and direct.text == "Therefore, the answer is Bob."
    [reasoned] = evaluation.answer(None, None, [question], settings, "M", 0, prompt=asked["prompt"])
    assert reasoned.read is None  # a CoT has to say itself that its answer follows
