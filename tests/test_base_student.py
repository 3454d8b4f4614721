"""The bundled base student is the one its card speaks of, and has read no question it is asked."""

import hashlib
import json

import pytest
from transformers import AutoModelForCausalLM

from editlib import base_student, puzzles
from editlib.students import BUNDLED


@pytest.fixture(scope="module")
def card():
    return json.loads((BUNDLED / "card.json").read_text())


@pytest.fixture(scope="module")
def documents(card):
    return list(puzzles.corpus(card["recipe"]["documents"], card["recipe"]["seed"]))


def test_the_card_holds_the_recipe_and_the_corpus_of_this_code(card, documents):
    assert base_student.Recipe(**card["recipe"]) == base_student.Recipe()
    digest = hashlib.sha256("\n".join(documents).encode()).hexdigest()
    assert digest == card["corpus_sha256"], "the puzzles changed: make base-student"


def test_no_evaluation_question_stands_in_the_corpus(documents):
    text = "\n".join(documents)
    for split in ("validation", "test", "longer", "families"):
        for question in puzzles.questions(split, 40):
            assert f"Q: {question.text}\nA:" not in text


def test_the_weights_fit_into_the_repository():
    assert sum(f.stat().st_size for f in BUNDLED.iterdir()) < 16 * 2**20


def test_the_weights_are_of_the_size_the_card_names(card):
    assert AutoModelForCausalLM.from_pretrained(BUNDLED).num_parameters() == card["parameters"]


def test_a_base_student_can_be_trained_from_nothing(tmp_path):
    recipe = base_student.Recipe(documents=60, vocabulary=300, width=16, layers=1, heads=2, batch=4)
    base_student.train(recipe, tmp_path / "base")
    assert json.loads((tmp_path / "base" / "card.json").read_text())["tokens"] > 1000
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "base").config.hidden_size == 16
