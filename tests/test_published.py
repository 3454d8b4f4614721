"""Published few-shot files become prompts letter for letter; baselines and own exemplars."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editlib import benchmarks, dual, prompts
from editlib.answers import MARKER, read_answer
from editlib.benchmarks.descriptions import BBH_DESCRIPTIONS
from editlib.benchmarks.names import BBH
from editlib.errors import KitError
from editlib.prompts import Exemplar, Shots
from editlib.published import BLOCKS, PublishedPrompts
from editlib.records import Question

SHOWN = "Add up.\n\nQ: 1 + 1?\nA: Let's think step by step.\nIt is 2. So the answer is 2."
hostile = st.text() | st.sampled_from(
    [
        "{QUESTION}",
        "{RIGHT}{WRONG}",
        "{}",
        "\\1",
        "\\g<0>",
        f"{MARKER} 3.",
        "'\"",
        "{{ x }}",
        "\r\n",
    ]
)


@dataclass(frozen=True)
class Held(PublishedPrompts):
    """Files that are a dict."""

    files: dict

    def _read(self, kind, task):
        return self.files[kind, task]


def held(block: bool) -> Held:
    ends = {kind: f"\n\n{text}" if block else "" for kind, text in BLOCKS.items()}
    return Held(Path("."), {(kind, "sums"): SHOWN + end for kind, end in ends.items()})


@pytest.mark.parametrize("block", [True, False])
@given(question=hostile, answer=hostile, right=hostile)
def test_text_goes_through_untouched_with_and_without_placeholders(block, question, answer, right):
    files, asked = held(block), f"{SHOWN}\n\nQ: {question}\n"
    assert files.cep("sums", question) == f"{asked}A: Let's think step by step."
    hint = f"H: The correct answer is {answer}.\nA: Let's think step by step."
    assert files.ahp("sums", question, answer) == asked + hint
    wrong = files.ccp("sums", question, right)
    assert wrong == f"{asked}Right Response: {right}\nWrong Response:"


def test_what_an_author_wrote_in_the_last_block_is_kept():
    files = Held(
        Path("."), {("cot-prompts", "sums"): "Q: {QUESTION}\nX\n\nQ: {QUESTION}\nA: A: Go"}
    )
    assert files.cep("sums", "1?") == "Q: {QUESTION}\nX\n\nQ: 1?\nA: A: Go"


def test_the_canary_line_of_a_file_is_not_sent():
    files = Held(Path("."), {("cot-prompts", "sums"): f"Keep out. Canary GUID 1\n-----\n{SHOWN}"})
    assert files.cep("sums", "2?").startswith("Add up.\n\nQ: 1 + 1?")


def test_a_file_that_is_missing_or_no_text_is_named(tmp_path):
    with pytest.raises(KitError, match=r"cot-ahp/sums\.txt is missing\. .* benchmark.exemplars"):
        PublishedPrompts(tmp_path).ahp("sums", "q", "a")
    (tmp_path / "cot-ccp").mkdir()
    (tmp_path / "cot-ccp" / "sums.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(KitError, match=r"sums\.txt: not UTF-8"):
        PublishedPrompts(tmp_path).ccp("sums", "q", "r")


@pytest.mark.parametrize("block", [True, False])
def test_a_cep_file_is_read_as_description_and_exemplars(block):
    second = "Q: What is\n2 + 2?\nA: Let's think step by step. Well.\nTherefore, the answer is 4."
    text = f"Keep out. Canary GUID 1\n-----\nAdd up.\n\nIn full.\n\n{SHOWN[9:]}\n\n{second}"
    end = f"\n\n{BLOCKS['cot-prompts']}" if block else ""
    shots = Held(Path("."), {("cot-prompts", "sums"): text + end}).shots("sums")
    assert shots.description == "Add up.\n\nIn full."
    assert shots.exemplars == (
        Exemplar("1 + 1?", "2", "It is 2. So the answer is 2."),
        Exemplar("What is\n2 + 2?", "4", "Well.\nTherefore, the answer is 4."),
    )


@pytest.mark.parametrize(
    "text",
    [
        "Add up.",
        SHOWN.replace("\n", "\r\n"),
        f"{SHOWN}\n\nQ: 2 + 2?\nA: 4",
        SHOWN.replace("the answer is", "it must be"),
    ],
)
def test_exemplars_that_cannot_be_read_are_an_error_and_not_left_out(text):
    with pytest.raises(KitError, match=r"cot-prompts/sums\.txt: no exemplars to be read"):
        Held(Path("."), {("cot-prompts", "sums"): text}).shots("sums")


@pytest.mark.skipif(not os.environ.get("EDITLIB_DATA_DIR"), reason="no data mirror is named")
def test_the_published_files_of_all_27_tasks_give_the_prompts_behind_the_completions(tmp_path):
    (tmp_path / "cot-prompts").symlink_to(benchmarks.data_dir() / "bbh_cot_prompts")
    files = PublishedPrompts(tmp_path)
    for task in BBH:
        asked = prompts.published_cep(benchmarks.published_prompt(task), "{QUESTION}?")
        assert files.cep(task, "{QUESTION}?") == asked


# --- the kit's own


def test_every_bbh_task_has_a_line_of_its_own_and_prompts_that_ask_for_the_marker():
    assert set(BBH_DESCRIPTIONS) == set(BBH) and len(set(BBH_DESCRIPTIONS.values())) == 27
    for wrong in (False, True):
        for task, shots in prompts.bbh_shots(dict.fromkeys(BBH, ()), wrong).items():
            assert shots.description.startswith(BBH_DESCRIPTIONS[task])
            assert MARKER in shots.description and "\n" not in shots.description


def completion(question, text):
    return SimpleNamespace(prompt=question.text, text=text)


def test_own_exemplars_are_right_marked_varied_and_one_more_than_shown():
    asked = [Question(f"bbh/t/{n}", "bbh", "t", "train", f"{n}?", "1") for n in range(7)]
    asked[5] = replace(asked[5], answer="2")
    texts = ["It is 1.", "So the answer is 3.", *["Sure.\n\nSo the answer is 1."] * 3]
    texts += ["So the answer is 2.", "So the answer is 1."]
    found = dual.own_exemplars(asked, list(map(completion, asked, texts)))
    assert [e.question for e in found["t"]] == ["2?", "5?", "3?", "4?"]
    assert found["t"][0].correct == "Sure.\nSo the answer is 1."
    assert dual.own_exemplars(asked[:1], [completion(asked[0], "?")]) == {"t": ()}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("It is hard.\n\nQ: Another one?\nA: So the answer is 1.", []),
        ("So the answer is 1.\n\nQ: Another one?\nA: It is 2.", ["So the answer is 1."]),
        ("So the answer is 1.\n\nQ: Another one?\nA: So the answer is 2.", ["So the answer is 1."]),
    ],
)
def test_no_exemplar_shows_a_question_that_the_teacher_asked_itself(text, shown):
    asked = Question("bbh/t/1", "bbh", "t", "train", "1?", "1")
    found = dual.own_exemplars([asked], [completion(asked, text)])
    assert [exemplar.correct for exemplar in found["t"]] == shown


def test_no_prompt_shows_its_own_question_among_spare_exemplars():
    four = [Exemplar(f"{n}?", "1", "So the answer is 1.") for n in range(4)]
    assert [e.question for e in prompts.drawn_for("1?", four)] == ["0?", "2?", "3?"]
    assert [e.question for e in prompts.drawn_for("9?", four)] == ["0?", "1?", "2?"]
    assert prompts.drawn_for("1?", four[:3]) == four[:3]


# --- baselines (the first rows of Table 1)

SHOTS = Shots("Add up.", (Exemplar("1 + 1?", "2", "It is 2. Therefore, the answer is 2."),))


def test_baselines_show_exemplars_or_reasoning_or_both():
    asked = {style: prompts.baseline(style, SHOTS, "2 + 2?") for style in prompts.STYLES}
    assert {s for s, text in asked.items() if "1 + 1?" in text} == {"few-shot", "few-shot-CoT"}
    thinking = {s for s, text in asked.items() if text.endswith("A: Let's think step by step.")}
    assert thinking == {"zero-shot-CoT", "few-shot-CoT"}
    assert asked["few-shot-CoT"] == prompts.cep(SHOTS.description, SHOTS.exemplars, "2 + 2?")
    assert asked["few-shot"].endswith("Q: 1 + 1?\nA: 2\n\nQ: 2 + 2?\nA:")
    assert asked["zero-shot"] == "Add up. Give the answer alone.\n\nQ: 2 + 2?\nA:"


@given(hostile)
def test_a_baseline_keeps_the_question_untouched(question):
    for style in prompts.STYLES:
        assert f"\n\nQ: {question}\nA:" in prompts.baseline(style, SHOTS, question)


def test_an_unknown_style_lists_the_valid_ones():
    with pytest.raises(KitError, match=r"unknown prompt style 'few-shots'; .* first: few-shot"):
        prompts.baseline("few-shots", SHOTS, "2?")


@given(st.text().filter(lambda text: "Q: " not in text))
def test_a_reply_ends_where_a_model_asks_itself_the_next_question(text):
    assert prompts.first_reply(f"{text}\n\nQ: And then?\nA: no").strip() == text.strip()
    assert prompts.first_reply(text) == text
    assert read_answer(prompts.first_reply("the answer is 2.\n\nQ: 3?\nA: the answer is 3.")) == "2"
