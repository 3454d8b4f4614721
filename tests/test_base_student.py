"""The bundled base student is the one its card speaks of, and has read no question it is asked."""

import hashlib
import json
import random
from collections import Counter
from dataclasses import asdict, replace
from itertools import count
from operator import eq

import pytest
from transformers import AutoModelForCausalLM, Trainer, TrainerState

from editlib import base_student, decoding, profiles, prompts, puzzles
from editlib.answers import read_answer
from editlib.base_student import Recipe, Stage
from editlib.bases import BUNDLED, load_tokenizer

STUDENT = profiles.load("mini").student
WITH_OPTIONS = (
    "tracking_shuffled_objects",
    "date_understanding",
    "logical_deduction",
    "temporal_sequences",
)


@pytest.fixture(scope="module")
def card():
    return json.loads((BUNDLED / "card.json").read_text())


@pytest.fixture(scope="module")
def documents():
    """Of the first stage, which stands for all: the same code draws them."""
    return base_student.documents(Recipe().stages[0])


def test_the_card_holds_the_recipe_and_the_corpus_of_this_code(card, documents):
    assert card["recipe"] == json.loads(json.dumps(asdict(Recipe())))
    found = card["passes"][1]["corpus_sha256"]  # the first pass reads echoes
    hashed = hashlib.sha256("\n".join(documents).encode()).hexdigest()
    assert found == hashed, "the puzzles changed: make base-student"


def test_no_chain_of_a_taught_family_is_as_long_as_those_that_are_distilled():
    assert max(size for stage in Recipe().stages for size in stage.sizes) < min(
        puzzles.SPLITS["train"][1]
    )


def test_no_evaluation_question_stands_in_the_corpora(documents):
    """Which holds for all documents: every text belongs to one split, by its hash."""
    read = {document.partition("\nA:\n")[0] for document in documents}
    asked = {text.removeprefix("Q: ") for text in read if text.startswith("Q: ")}
    assert {puzzles.split_of(text) for text in asked} == {"corpus"}
    for split in ("train", "validation", "test", "longer", "families"):
        assert not read & {f"Q: {question.text}" for question in puzzles.questions(split, 60)}


def test_the_weights_fit_into_the_repository():
    assert sum(f.stat().st_size for f in BUNDLED.iterdir()) < 16 * 2**20


def test_the_weights_are_of_the_size_the_card_names(card):
    assert AutoModelForCausalLM.from_pretrained(BUNDLED).num_parameters() == card["parameters"]


@pytest.mark.parametrize("name", WITH_OPTIONS)
def test_it_reads_the_options_of_easy_questions(name):
    """And does not give one letter to all: then no method could be told from another there."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(BUNDLED), load_tokenizer(STUDENT)
    family, rng = puzzles.FAMILIES[name], random.Random(0)
    asked = {family.ask(family.draw(rng, 2)) for _ in range(400)}
    texts = sorted(text for text in asked if puzzles.split_of(text) == "validation")[:24]
    told = decoding.greedy(model.eval(), tokenizer, list(map(prompts.student, texts)), 160, 24)
    answers = list(map(read_answer, told))
    right = [puzzles.reason(puzzles.read_question(t), puzzles.Voice(t)).answer for t in texts]
    assert sum(map(eq, answers, right)) / len(texts) > 0.6
    assert max(Counter(answers).values()) / len(texts) < 0.75


SMALL = Recipe(
    vocabulary=300,
    width=16,
    layers=1,
    heads=2,
    echoes=Stage(30, (), 2, context=96, batch=4, lr=1e-3),
    stages=(
        Stage(24, (1,), 0, context=64, batch=8, lr=1e-3),
        Stage(40, (2,), 1, None, 4, lr=1e-3, jumps=True),
    ),
)
ECHOES, PACKED, JUMPS = 8, 11, 10  # updates of its passes
AMONG_ECHOES = (Trainer, "training_step", 6)
AMONG_JUMPS = (Trainer, "training_step", ECHOES + PACKED + 8)


def trained(recipe, place):
    """The files of a student and its weights in full precision, and how many updates it took."""
    with pytest.MonkeyPatch.context() as patch:
        step, taken = Trainer.training_step, count()
        patch.setattr(Trainer, "training_step", lambda *a, **k: (next(taken), step(*a, **k))[1])
        patch.setattr(base_student, "SAVE_EVERY", 2)
        base_student.train(recipe, place / "base", place / "scratch")
    last = base_student.checkpoints(recipe, place / "scratch") / "pass 2" / "checkpoint-10"
    files = [*(place / "base").iterdir(), last / "model.safetensors"]
    return {file.relative_to(place).parts[-2:]: file.read_bytes() for file in files}, next(taken)


def killed(recipe, place, where, name, call):
    """Train until a function is called for the call-th time, which brings the end."""
    with pytest.MonkeyPatch.context() as patch:
        function, calls = getattr(where, name), count(1)

        def deadly(*args, **kwargs):
            if next(calls) == call:
                raise KeyboardInterrupt
            return function(*args, **kwargs)

        patch.setattr(where, name, deadly)
        with pytest.raises(KeyboardInterrupt):
            trained(recipe, place)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A student trained without a break; the folder in which it was."""
    place = tmp_path_factory.mktemp("whole")
    return *trained(SMALL, place), place


def test_a_base_student_can_be_trained_from_nothing(whole):
    _, taken, place = whole
    card = json.loads((place / "base" / "card.json").read_text())
    assert taken == ECHOES + PACKED + JUMPS
    assert [each["tokens"] > 1000 for each in card["passes"]] == [True] * 3
    assert AutoModelForCausalLM.from_pretrained(place / "base").config.hidden_size == 16


@pytest.mark.parametrize(
    ("where", "name", "call", "kept"),
    [
        pytest.param(*AMONG_ECHOES, 4, id="within a pass"),
        pytest.param(TrainerState, "save_to_json", 3, 4, id="while a checkpoint is written"),
        pytest.param(base_student, "atomic_write", 1, ECHOES, id="before a pass is recorded"),
        pytest.param(base_student, "rows_of", 3, ECHOES + PACKED, id="between passes"),
        pytest.param(*AMONG_JUMPS, ECHOES + PACKED + 6, id="among jumps"),
    ],
)
def test_killed_it_goes_on_to_the_same_student(whole, tmp_path, where, name, call, kept):
    """kept: updates before the last checkpoint."""
    killed(SMALL, tmp_path, where, name, call)
    files, taken = trained(SMALL, tmp_path)
    assert taken == whole[1] - kept
    assert files == whole[0]


def test_jumps_that_are_not_drawn_again_would_make_another_student(whole, tmp_path, monkeypatch):
    killed(SMALL, tmp_path, *AMONG_JUMPS)
    monkeypatch.setattr(base_student, "_draw_again", lambda *_, **__: None)
    assert trained(SMALL, tmp_path)[0] != whole[0]


def test_checkpoints_of_another_recipe_are_not_taken_up(whole, tmp_path, monkeypatch):
    other = replace(SMALL, echoes=replace(SMALL.echoes, lr=2e-3))
    killed(other, tmp_path, *AMONG_ECHOES)
    assert trained(SMALL, tmp_path) == whole[:2]
    monkeypatch.setattr(base_student, "checkpoints", lambda _, scratch: scratch)
    killed(other, tmp_path / "mixed", *AMONG_ECHOES)
    assert trained(SMALL, tmp_path / "mixed")[0] != whole[0]


def test_checkpoints_of_other_code_or_as_many_processes_lie_apart(tmp_path, monkeypatch):
    found = {base_student.checkpoints(SMALL, tmp_path)}
    with monkeypatch.context() as patch:
        patch.setenv("WORLD_SIZE", "2")
        found.add(base_student.checkpoints(SMALL, tmp_path))
    monkeypatch.setattr(base_student, "puzzles", base_student.training)
    found.add(base_student.checkpoints(SMALL, tmp_path))
    assert len(found) == 3


def test_a_separate_document_teaches_its_chain_and_not_its_question():
    documents = ["Q: 1 + 2?\nA:\nIt is 3.", "2 plus 2 is 4."]
    tokenizer = base_student.train_tokenizer(documents, SMALL)
    taught = [
        tokenizer.decode([label for label in row["labels"] if label != -100])
        for row in base_student.separate(documents, tokenizer)
    ]
    assert taught == [f"It is 3.{base_student.END}", f"2 plus 2 is 4.{base_student.END}"]


def test_positions_jump_in_some_rows_and_stay_in_reach():
    tokenizer, rows = load_tokenizer(STUDENT), [{"input_ids": [5] * 200, "labels": [5] * 200}] * 64
    batch = base_student.JumpingCollator(tokenizer, 512, seed=0)(rows)
    steps = batch["position_ids"].diff(dim=1)
    assert (batch["position_ids"][:, 0] == 0).all() and batch["position_ids"].max() < 512
    assert steps.min() == 1
    jumping = (steps > 1).any(1)
    assert 16 < jumping.sum() < 48
    assert 0.05 < (steps[jumping] > 1).float().mean() < 0.15


def test_an_echo_is_one_line_again_and_again_of_which_the_first_is_not_learnt():
    stage = SMALL.echoes
    rows = base_student.echoes(stage, 500)
    assert len(rows) == stage.documents
    for ids, labels in zip(rows["input_ids"], rows["labels"], strict=True):
        line = labels.count(-100)
        assert len(ids) == stage.context
        assert ids[line:] == ids[:-line] == labels[line:]
    assert rows["input_ids"] == base_student.echoes(stage, 500)["input_ids"]


def test_packed_rows_lose_nothing_but_the_tail():
    documents = list(puzzles.corpus(20, 3))
    tokenizer = base_student.train_tokenizer(documents, SMALL)
    rows = base_student.pack(documents, tokenizer, 50)["input_ids"]
    whole = "".join(document + base_student.END for document in documents)
    assert {len(row) for row in rows} == {50}
    assert whole.startswith(tokenizer.decode([i for row in rows for i in row]))
