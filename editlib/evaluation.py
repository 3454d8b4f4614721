"""Accuracy of students: answers read by rule, unread ones counted as wrong and shown."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from editlib import decoding, prompts, reading
from editlib.answers import agrees, read_for
from editlib.decoding import Sampling
from editlib.methods import Asked
from editlib.profiles import Decoding
from editlib.prompts import CONCLUSION
from editlib.records import Prediction, Question, Vote

Write = Callable[[list[str]], list[list[str]]]  # prompts -> texts that continue each
WHOLE = ("CoT", "marked CoT", "factual")  # asked so, all that is said comes in one reply


def answer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    settings: Decoding,
    method: str,
    seed: int,
    prompt: Callable[[Question], str] | None = None,
    direct: bool = False,
    asked: Asked = "CoT",
    likely: Sequence[str] = (),
) -> list[Prediction]:
    """Let a student answer questions greedily; one Prediction a question, in their order.

    asked: as the method has its students asked. prompt: another way, for students that nobody
    trained. A student that was shown exemplars goes on to ask itself the next question; what it
    then says is no part of its answer. direct: the prompt asks for the answer alone, so what comes
    is read as if after "Therefore, the answer is". likely: what a student asked for a CoT may well
    say to each question, such as what it said before it learnt a little more; it saves time alone.
    """
    write = _greedy(model, tokenizer, settings, likely if asked in WHOLE else ())
    if prompt:
        texts = [prompts.first_reply(text) for [text] in write([prompt(q) for q in questions])]
        texts = [f"{CONCLUSION} {text.strip()}" for text in texts] if direct else texts
    else:
        texts = [text for [text] in ask(questions, asked, write, write)]
    return [_mark(q, text, method, seed) for q, text in zip(questions, texts, strict=True)]


def _greedy(model, tokenizer, settings: Decoding, likely: Sequence[str] = ()) -> Write:
    def write(texts: list[str]) -> list[list[str]]:
        limits = settings.max_new_tokens, settings.batch
        return [[text] for text in decoding.greedy(model, tokenizer, texts, *limits, likely)]

    return write


def ask(
    questions: Sequence[Question], asked: Asked, write: Write, conclude: Write
) -> list[list[str]]:
    """What a student says to each question, once for each text that write gives.

    asked: for a "CoT", plain, "marked CoT" or "factual"; for the "answer" alone; or in "two steps",
    where conclude gives the answer after each rationale that write gave.
    """
    texts = [q.text for q in questions]
    if asked == "answer":
        replies = write([prompts.concluded(prompts.student(text, "answer")) for text in texts])
        return [[CONCLUSION + reply for reply in found] for found in replies]
    if asked != "two steps":
        return write([prompts.student(text, asked) for text in texts])
    begun = [prompts.student(text, "rationale") for text in texts]
    found = write(begun)
    given = [
        prompts.concluded(prompt, rationale)
        for prompt, rationales in zip(begun, found, strict=True)
        for rationale in rationales
    ]
    replies = iter(conclude(given))
    return [
        [prompts.concluded("", rationale) + next(replies)[0] for rationale in rationales]
        for rationales in found
    ]


def vote(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    settings: Decoding,
    how: Sampling,
    method: str,
    seed: int,
    asked: Asked = "CoT",
) -> list[Vote]:
    """Self-consistency (Table 8): the answer that most of a student's samples give.

    In two steps, rationales are sampled and the answer after each is the most likely one.
    """
    limits = {"max_new_tokens": settings.max_new_tokens, "batch": settings.batch}
    write = partial(decoding.sampled, model, tokenizer, how=how, **limits)
    texts = ask(questions, asked, write, _greedy(model, tokenizer, settings))
    return [_count(q, found, method, seed) for q, found in zip(questions, texts, strict=True)]


def majority(answers: Sequence[str | None]) -> tuple[str | None, int]:
    """The answer given most often and how often; of equals the one given first ("first given").

    None is an answer that could not be read: it has no vote.

    >>> majority(["3", "4", None, "4", "3", None, None])
    ('3', 2)
    """
    votes = Counter(answer for answer in answers if answer is not None)
    return votes.most_common(1)[0] if votes else (None, 0)


def _count(question: Question, texts: Sequence[str], method: str, seed: int) -> Vote:
    read, votes = majority([read_for(question, text) for text in texts])
    return Vote(
        question.id,
        question.task,
        question.split,
        method,
        seed,
        question.answer,
        read,
        len(texts),
        votes,
        votes / len(texts),
        correct=agrees(question, read),
    )


def share_correct(predictions: Sequence[Prediction]) -> float:
    """Accuracy between 0 and 1."""
    return sum(p.correct for p in predictions) / len(predictions)


def accuracy_table(predictions: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Accuracy and share of unread answers (both 0 to 1) for each group.

    predictions: one row a Prediction. by: columns to group by, for example split, method, seed.
    Returns the columns of by, then n, accuracy, unread.
    """
    marked = predictions.assign(unread=predictions["read"].isna())
    groups = marked.groupby(list(by), sort=False, observed=True)
    return groups.agg(
        n=("correct", "size"), accuracy=("correct", "mean"), unread=("unread", "mean")
    ).reset_index()


def chance(question: Question) -> float:
    """Probability (0 to 1) of guessing the answer; nan where it is open (a number, words).

    1 / number of options where they are listed; a half where the answer is one of two words.
    """
    _, found, listed = question.text.rpartition("\nOptions:\n")
    if found:
        return 1 / len(listed.splitlines())
    return 0.5 if reading.kind(question) == "word" else float("nan")


def beside_guessing(
    predictions: pd.DataFrame, questions: Iterable[Question], by: Sequence[str]
) -> pd.DataFrame:
    """Accuracy beside what guessing gets, on the questions where that is known (see chance).

    predictions: one row a Prediction. by: columns to group by. Returns the columns of by, then n
    (questions), chance and accuracy (means, 0 to 1); a group without such a question has no row.
    """
    chances = {question.id: chance(question) for question in questions}
    known = predictions.assign(chance=predictions["question_id"].map(chances))
    groups = known.dropna(subset="chance").groupby(list(by), sort=False, observed=True)
    means = {"chance": ("chance", "mean"), "accuracy": ("correct", "mean")}
    return groups.agg(n=("question_id", "nunique"), **means).reset_index()


def _mark(question: Question, text: str, method: str, seed: int) -> Prediction:
    read = read_for(question, text)
    return Prediction(
        question.id,
        question.task,
        question.split,
        method,
        seed,
        text,
        question.answer,
        read,
        correct=agrees(question, read),
    )
