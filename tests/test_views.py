"""Methods trained on responses against their definitions: words learnt, losses, exams."""

import math

import numpy as np
import pytest
import torch

from editlib import bases, batching, encoding, evaluation, objectives, profiles, prompts, views
from editlib.methods import METHODS
from editlib.records import CoT, Question

TEXT = "What is 5 minus 2?"
RIGHT, WRONG = "5 minus 2 is 3.", "5 minus 2 is 4."  # rationales
QUESTION = Question("puzzles/sums/0", "puzzles", "sums", "train", TEXT, "3")
BASELINES = [
    "MT-CoT",
    "SCOTT",
    "Std-CoT",
    "SBS",
    "SBS-MI",
    "CasCoD",
    "Std-CoT, repeat sampling",
    "Std-CoT, dual CoTs",
]


def cot(role, answer, rationale, id="0"):
    text = f"{rationale} Therefore, the answer is {answer}."
    question = f"puzzles/sums/{id}"
    return CoT(f"{question}#{role}", question, "sums", role, text, "3", answer, "key")


PAIR = [cot("correct", "3", RIGHT), cot("corrupted", "4", WRONG)]
FULL, LURE = PAIR[0].text, PAIR[1].text


@pytest.fixture(scope="module")
def tokenizer():
    return bases.load_tokenizer(profiles.load("mini").student)


def rows(method, cots=PAIR, again=()):
    questions = {f"puzzles/sums/{n}": TEXT for n in range(9)}
    return views.rows(METHODS[method].phases[0].data, questions, cots, again)


def encoded(tokenizer, method, cots=PAIR, again=()):
    """Rows of a method as they are trained on, and the task of each part."""
    made = rows(method, cots, again)
    ids = [
        [
            {
                "task": part.task,
                "prompt": encoding.prompt_ids(tokenizer, [part.prompt])[0],
                "response": encoding.response_ids(tokenizer, [part.response])[0],
            }
            for part in row
        ]
        for row in made
    ]
    tasks = [part.task for row in made for part in row]
    return views.weighed(METHODS[method].phases[0].data, ids), tasks


@pytest.mark.parametrize(
    ("method", "given", "learnt"),
    [
        ("Std-CoT", [f"Q: {TEXT}\nA:\n"], [FULL]),
        (
            "MT-CoT",
            [f"[CoT] Q: {TEXT}\nA:\n", f"[Answer] Q: {TEXT}\nA:\nTherefore, the answer is"],
            [FULL, " 3."],
        ),
        (
            "SBS",
            [f"[Rationale] Q: {TEXT}\nA:\n", f"[Answer] Q: {TEXT}\nA:\nTherefore, the answer is"],
            [RIGHT, " 3."],
        ),
        (
            "SCOTT",
            [
                f"[Factual] Q: {TEXT}\nA:\n",
                f"[Counterfactual] Q: {TEXT}\nA:\n{WRONG} Therefore, the answer is",
            ],
            [FULL, " 4."],
        ),
        (
            "CasCoD",
            [
                f"[Rationale] Q: {TEXT}\nA:\n",
                f"[Rationale] Q: {TEXT}\nA:\n{RIGHT} Therefore, the answer is",
            ],
            [RIGHT, " 3."],
        ),
        (
            "Std-CoT, dual CoTs",
            [f"Q: {TEXT}\nA:\n", f"[Counterfactual] Q: {TEXT}\nA:\n"],
            [FULL, LURE],
        ),
    ],
)
def test_what_each_method_is_given_and_which_words_it_learns(method, given, learnt, tokenizer):
    made, _ = encoded(tokenizer, method)
    batch = batching.collate_responses(made)
    assert len(batch["input_ids"]) == len(given)
    for i, (prompt, response) in enumerate(zip(given, learnt, strict=True)):
        ids, touched = batch["input_ids"][i], batch["response"][i]
        assert tokenizer.decode(ids[touched]) == response + tokenizer.eos_token
        first = touched.nonzero()[0].item()
        assert tokenizer.decode(ids[:first]) == prompt


def test_repeat_sampling_learns_the_right_cots_of_both_samples():
    first = [*PAIR, cot("wrong", "4", WRONG, "1"), cot("rectified", "3", RIGHT, "1")]
    again = [cot("correct", "3", "It is 3.", "1"), cot("wrong", "4", WRONG, "0")]
    made = rows("Std-CoT, repeat sampling", first, again)
    assert [part.response for [part] in made] == [FULL, FULL, again[0].text]


def test_dual_cots_leave_out_what_has_no_twin():
    alone = cot("correct", "3", RIGHT, "1"), cot("unread", None, RIGHT, "2")
    assert len(rows("Std-CoT, dual CoTs", [*PAIR, *alone])) == 2


def test_a_question_without_a_corrupted_twin_has_no_counterfactual():
    [row] = rows("SCOTT", PAIR[:1])
    assert [part.task for part in row] == ["factual"]


BY_HAND = {  # shares of the loss of each task, as published
    "MT-CoT": {"CoT": 1, "answer": 1},
    "SBS": {"rationale": 1, "answer": 1},
    "SCOTT": {"factual": 0.5, "counterfactual": 0.5},
    "CasCoD": {"rationale": 0.9, "answer": 0.1},
    "Std-CoT": {"CoT": 1},
}


@pytest.mark.parametrize("method", BY_HAND)
def test_the_loss_is_the_sum_of_the_means_of_its_tasks(method, tokenizer):
    """A batch of two questions whose every token has an NLL of its own place in its sequence."""
    two = [*PAIR, cot("correct", "3", RIGHT * 2, "1")]
    made, tasks = encoded(tokenizer, method, two)
    batch = batching.collate_responses(made)
    places = torch.arange(batch["input_ids"].shape[1]).float().expand(batch["response"].shape)
    loss = objectives.sft_loss(-places, batch, batch["items"]).loss.item()
    nll: dict[str, list[float]] = {}
    for task, part in zip(tasks, batching.parts(made), strict=True):
        start = len(part["prompt"])
        nll.setdefault(task, []).extend(range(start, start + len(part["response"])))
    assert nll.keys() == BY_HAND[method].keys()
    by_hand = sum(share * np.mean(nll[task]) for task, share in BY_HAND[method].items())
    assert loss == pytest.approx(by_hand, rel=1e-5)


def test_sbs_mi_by_hand(tokenizer):
    """Its loss is that of SBS, and how far a rationale's likeliest words are from its answer's."""
    made, _ = encoded(tokenizer, "SBS-MI", [*PAIR, cot("correct", "3", RIGHT * 2, "1")])
    batch = batching.collate_responses(made)
    sizes = batch["response"].sum(-1).tolist()
    logits = torch.randn(sum(sizes), len(tokenizer), requires_grad=True)
    together = objectives.mutual_loss(logits, batch, batch["items"], mutual=0.2)
    ids, apart = batch["input_ids"][batch["response"]], []
    logp = torch.zeros(batch["response"].shape)
    logp[batch["response"]] = logits.log_softmax(-1)[range(len(ids)), ids]
    alone = objectives.sft_loss(logp, batch, batch["items"])
    highest = [side.softmax(-1).max(0).values for side in logits.split(sizes)]
    for rationale, answer in zip(highest[::2], highest[1::2], strict=True):
        total = sum(math.exp(x) for x in rationale.tolist())
        words = zip(rationale.tolist(), answer.tolist(), strict=True)
        apart.append(-sum(a * math.log(math.exp(r) / total) for r, a in words))
    assert together.parts["apart"] == pytest.approx(np.mean(apart), rel=1e-5)
    assert together.loss.item() == pytest.approx(alone.loss.item() + 0.2 * np.mean(apart), rel=1e-5)
    (together.loss - alone.loss).backward()
    moved = [part.abs().sum() > 1e-6 for part in logits.grad.split(sizes)]
    assert moved == [True, False] * 2  # the answer is left alone


def test_the_loss_test_can_fail(tokenizer):
    """With the weights forgotten, the many words of the rationale drown the answer."""
    made, _ = encoded(tokenizer, "CasCoD")
    batch = batching.collate_responses(made)
    logp = -torch.arange(batch["input_ids"].shape[1]).float().expand(batch["response"].shape)
    weighed = objectives.sft_loss(logp, batch, batch["items"]).loss
    batch["weight"] = torch.ones_like(batch["weight"])
    assert not torch.isclose(weighed, objectives.sft_loss(logp, batch, batch["items"]).loss)


def test_the_sentence_of_the_answer_is_no_part_of_the_rationale():
    assert views.rationale("One. Two is so. Therefore, the answer is 3.") == "One. Two is so."
    assert views.rationale("One.\nSo the answer is (B).") == "One."
    assert views.rationale("No answer here.") == "No answer here."


# --- exams -----------------------------------------------------------------------------------


def said(method, *replies):
    """The prompts a student of a method gets at an exam, and the texts that come of it."""
    sent, given = [], iter(replies)

    def write(texts):
        sent.extend(texts)
        return [[next(given)] for _ in texts]

    [[text]] = evaluation.ask([QUESTION], METHODS[method].asked, write, write)
    return sent, text


@pytest.mark.parametrize("method", [m for m in METHODS if METHODS[m].asked == "CoT"])
def test_most_methods_are_asked_as_they_were_trained(method):
    assert said(method, FULL) == ([f"Q: {TEXT}\nA:\n"], FULL)


@pytest.mark.parametrize(("method", "mark"), [("MT-CoT", "[CoT] "), ("SCOTT", "[Factual] ")])
def test_a_method_of_two_tasks_is_asked_for_its_cot(method, mark):
    assert said(method, FULL) == ([f"{mark}Q: {TEXT}\nA:\n"], FULL)


def test_sbs_is_asked_for_the_answer_alone():
    sent, text = said("SBS", " 3.")
    assert sent == [f"[Answer] Q: {TEXT}\nA:\nTherefore, the answer is"]
    assert text == "Therefore, the answer is 3."


def test_cascod_is_asked_for_a_rationale_then_for_the_answer_after_its_own():
    sent, text = said("CasCoD", WRONG, " 4.")
    begun = f"[Rationale] Q: {TEXT}\nA:\n"
    assert sent == [begun, f"{begun}{WRONG} Therefore, the answer is"]
    assert text == LURE


@pytest.mark.parametrize("method", BASELINES)
def test_an_exam_asks_what_training_gave(method):
    """Every prompt of an exam is one that the student saw, its own words being the teacher's."""
    given = {part.prompt for row in rows(method) for part in row}
    replies = {"two steps": (RIGHT, " 3."), "answer": (" 3.",)}.get(METHODS[method].asked, (FULL,))
    assert set(said(method, *replies)[0]) <= given


def test_marks_differ():
    assert len(set(prompts.MARKS.values())) == len(prompts.MARKS)
