from dataclasses import replace

import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM

from editlib import decoding, drafts, encoding, evaluation, exams, grid, pipeline, ragged
from editlib.methods import phases
from editlib.records import read_frame
from editlib.workspace import open_workspace
from tests.conftest import tiny_llama
from tests.test_decoding import lively, of_tasks

NEW = 12


@pytest.fixture(scope="module")
def asked(tok):
    """A model, prompts of which some begin alike, and what it says to each."""
    model, prompts = lively(tok), of_tasks(tok)
    said = decoding.greedy(model, tok, prompts, NEW, 4)
    assert len(set(said)) > 8
    return model, prompts, said


def spoilt(tok, text, place):
    """A text with another word at a place, or at its end where it is shorter."""
    ids = encoding.response_ids(tok, [text])[0][:-1]
    ids[place : place + 1] = [(ids[place] + 1) % len(tok) if place < len(ids) else 5]
    return tok.decode(ids)


WAYS = {
    "its own": lambda tok, said: said,
    "those of others": lambda tok, said: said[1:] + said[:1],
    "spoilt at the start": lambda tok, said: [spoilt(tok, text, 0) for text in said],
    "spoilt within": lambda tok, said: [
        spoilt(tok, text, i % 7) if i % 3 else text for i, text in enumerate(said)
    ],
    "too short": lambda tok, said: [" ".join(text.split()[:5]) for text in said],
    "too long": lambda tok, said: [f"{text} {text} {text}" for text in said],
    "empty": lambda tok, said: [""] * len(said),
}


@pytest.mark.parametrize("at_once", [1, 200, 100_000])
@pytest.mark.parametrize("way", WAYS)
def test_answers_are_the_same_whatever_was_thought_likely(tok, asked, monkeypatch, way, at_once):
    monkeypatch.setattr(drafts, "READ_AT_ONCE", at_once)
    model, prompts, said = asked
    likely = WAYS[way](tok, said)
    assert decoding.greedy(model, tok, prompts, NEW, 4, likely) == said
    monkeypatch.setattr(drafts, "WORTH_READING", 0)  # all are read
    assert decoding.greedy(model, tok, prompts, NEW, 4, likely) == said


def ids_of(model, tok, prompts):
    """Prompts, and what the model writes after each, as ids with the end token where it ends."""
    encoded = encoding.prompt_ids(tok, prompts)
    new = decoding.continuations(model, tok, encoded, NEW)
    return encoded, [[*ids, tok.eos_token_id][:NEW] for ids in new]


def test_what_stands_is_given_and_the_model_s_own_next_token(tok, asked):
    model, prompts, _ = asked
    encoded, own = ids_of(model, tok, prompts)
    assert drafts.standing(model, encoded, own) == own
    other = [[*ids[:6], (ids[6] + 1) % len(tok), *ids[7:]] for ids in own if len(ids) > 6]
    assert len(other) > 8
    long = [i for i, ids in enumerate(own) if len(ids) > 6]
    found = drafts.standing(model, [encoded[i] for i in long], other)
    assert found == [own[i][:7] for i in long]


def test_no_more_are_read_where_few_tokens_stand(tok, asked, monkeypatch):
    monkeypatch.setattr(drafts, "READ_AT_ONCE", 300)
    model, prompts, _ = asked
    encoded, own = ids_of(model, tok, prompts)
    wrong = [[(token + 1) % len(tok) for token in ids] for ids in own]
    found = drafts.standing(model, encoded, wrong)
    assert 0 < sum(map(bool, found)) < len(found) / 2
    assert all(len(ids) == 1 for ids in found if ids)  # its own first token
    half = [ids if i < 8 else wrong[i] for i, ids in enumerate(own)]
    assert all(drafts.standing(model, encoded[:12], half[:12]))


def test_what_is_read_is_not_written(tok, asked, monkeypatch):
    monkeypatch.setattr(drafts, "READ_AT_ONCE", 100_000)
    model, prompts, said = asked
    whole = [(p, text) for p, text in zip(prompts, said, strict=True) if len(text.split()) == NEW]
    prompts, said = zip(*whole, strict=True)
    assert len(said) > 3
    calls, write = [], decoding.continuations
    monkeypatch.setattr(
        decoding, "continuations", lambda m, t, rows, **how: calls.append(rows) or write(m, t, rows)
    )
    assert decoding.greedy(model, tok, prompts, NEW, 64, said) == list(said)
    assert calls == []


def test_a_model_that_cannot_read_ragged_batches_writes_all(tok):
    window = MistralConfig(
        vocab_size=len(tok),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        sliding_window=8,
    )
    torch.manual_seed(0)
    model, prompts = MistralForCausalLM(window).eval(), of_tasks(tok)
    said = decoding.greedy(model, tok, prompts, NEW, 4)
    assert drafts.standing(model, *ids_of(model, tok, prompts)) == [[]] * len(prompts)
    assert decoding.greedy(model, tok, prompts, NEW, 4, said) == said


@pytest.mark.parametrize("refused", [True, False])
def test_there_is_a_likely_text_for_each_prompt(tok, asked, monkeypatch, refused):
    model, prompts, said = asked
    monkeypatch.setattr(ragged, "install", lambda _: "no reason" if refused else None)
    for likely in (said[:-1], [*said, "more"]):
        with pytest.raises(ValueError, match="zip"):
            decoding.greedy(model, tok, prompts, NEW, 4, likely)


def test_an_end_amid_a_likely_text_ends_the_answer(tok):
    """A text may spell special tokens."""
    model, end = tiny_llama(len(tok), seed=3).eval(), tok.eos_token
    prompts = ["Q : what is 5 A :", "Q : 8 A :"]
    said = decoding.greedy(model, tok, prompts, NEW, 4)
    likely = [f"{text} {end} {text}" for text in said]
    assert decoding.greedy(model, tok, prompts, NEW, 4, likely) == said


@pytest.fixture
def seen(monkeypatch):
    """What was thought likely in each call of greedy."""
    calls, greedy = [], decoding.greedy

    def watched(model, tokenizer, prompts, new, batch, likely=()):
        calls.append(list(likely))
        return greedy(model, tokenizer, prompts, new, batch, likely)

    monkeypatch.setattr(decoding, "greedy", watched)
    return calls


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    overrides = ["training.seeds=[0]", "training.methods=[EDIT w/o KRSL, EDIT]"]
    ws = open_workspace("smoke", overrides, tmp_path_factory.mktemp("drafts"))
    pipeline.annotate(ws), pipeline.build_duals(ws), pipeline.locate(ws)
    for cell in grid.cells({"EDIT": [0]}):
        grid.train_cell(ws, cell)
    return ws


def test_an_exam_thinks_likely_what_the_student_before_said(trained, seen, tmp_path):
    folder = exams._examine(trained, ("EDIT", 0))
    assert [bool(likely) for likely in seen] == [False, True]  # EDIT w/o KRSL came first
    before = trained.artifacts / exams._stage("predictions", "EDIT w/o KRSL", 0)
    assert seen[1] == read_frame(before / "predictions.parquet")["text"].tolist()
    seen.clear()
    assert exams._examine(trained, ("EDIT", 0)) == folder and not seen
    plain, _, questions = exams._seated(trained, "EDIT", 0)
    said = evaluation.answer(plain, _, questions, trained.profile.decoding, "EDIT", 0)
    found = read_frame(folder / "predictions.parquet")["text"].tolist()
    assert found == [each.text for each in said]


def test_validation_thinks_likely_what_was_said_last(trained, seen, tmp_path):
    ws = replace(trained, folder=tmp_path / "smoke")
    pipeline.annotate(ws), pipeline.build_duals(ws), pipeline.locate(ws)
    grid.train_cell(ws, grid.Cell(phases("EDIT"), 0))
    first, second = ws.profile.training.sft.epochs, ws.profile.training.krsl.epochs
    assert len(seen) == first + second
    assert seen[0] == []
    assert all(len(likely) == len(pipeline.split(ws, "validation")) for likely in seen[1:])


def test_the_best_exam_is_the_first_of_equals(trained, monkeypatch):
    scores = iter([0.2, 0.7, 0.7, 0.1])
    exam = grid.Exam(trained, "validation", "CoT")

    def held(self, _):
        self.said = [f"exam {len(told)}"]
        told.append(self.said)
        return next(scores)

    told = []
    monkeypatch.setattr(grid.Exam, "_held", held)
    assert [exam(None) for _ in range(4)] == [0.2, 0.7, 0.7, 0.1]
    assert exam.best == ["exam 1"] and exam.said == ["exam 3"]


@pytest.mark.parametrize("how", ["answer", "two steps"])
def test_students_that_are_asked_in_parts_are_told_nothing(trained, seen, how):
    model, tokenizer, questions = exams._seated(trained, "EDIT", 0)
    given = questions[:3]
    evaluation.answer(
        model, tokenizer, given, trained.profile.decoding, "EDIT", 0, asked=how, likely=["a"] * 3
    )
    assert seen and not any(seen)
