"""A local mirror made from checkouts of the two public repositories, in their layout."""

import json
import re

import pytest

from editlib import benchmarks
from editlib.benchmarks import convert
from editlib.prompts import published_cep

PROMPT = "Add up.\n\nQ: 1 + 1 =\nA: Let's think step by step.\nOne more. So the answer is 2."
SUMS = [("2 + 2 =", "4"), ("2 + 3 =", "5"), ("2 + 2 =", "5"), ("Cut", "(A)")]  # one asked twice
WHOLE = {"Cut": "Cut off?\n(A) yes"}  # how the prompt of a completion has it
CCP = """Question Description: Add up.
Write the wrong one.

Q: 3 + 3 =

Right Response: Three
and three.

Therefore, the answer is 6.

Wrong Response: Three of three. Therefore, the answer is 9.

Q: 3 + 3 =

Right Response: Three
and three.

Therefore, the answer is 6.

Wrong Response: Three of three. Therefore, the answer is 9.

Q: 4 + 4 =

Right Response: No second one. Therefore, the answer is 8.


Q: {QUESTION}
Right Response: {RIGHT}
Wrong Response: {WRONG}"""


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")


def outputs(rows):
    said = [
        {
            "input": published_cep(PROMPT, WHOLE.get(question, question)),
            "prediction": f"I say {target} to {question}",
            "target": target,
        }
        for question, target in rows
    ]
    return json.dumps({"canary": "do not train", "outputs": said})


@pytest.fixture
def repositories(tmp_path):
    bbh, cascod = tmp_path / "BIG-Bench-Hard", tmp_path / "CasCoD"
    codex = bbh / "code-davinci-002-outputs" / "code-davinci-002-cot"
    for task, rows in {"sums": SUMS, "more": SUMS[:2]}.items():
        examples = [{"input": question, "target": target} for question, target in rows]
        put(bbh / "bbh" / f"{task}.json", json.dumps({"canary": "x", "examples": examples}))
        put(bbh / "cot-prompts" / f"{task}.txt", f"A canary GUID.\n-----\n{PROMPT}")
    put(codex / "sums_few_shot_template_0-255000.json", outputs(reversed(SUMS)))
    put(codex / "more_few_shot_template_0-255000.json", outputs(SUMS[:1]))
    put(cascod / "dataset" / "bbh" / "cot-ccp" / "sums.txt", CCP)
    return bbh, cascod, tmp_path / "data"


def test_a_mirror_is_made_that_the_kit_reads(repositories, monkeypatch, capsys):
    assert convert.main(list(map(str, repositories))) == 0
    said = capsys.readouterr().out
    assert "6 questions of 2 tasks" in said and "completions of 1 tasks" in said
    assert "more is left out: 1 of its questions have no completion" in said
    assert "ccp/sums/1: left out" in said and "1 pairs" in said
    monkeypatch.setenv("EDITLIB_DATA_DIR", str(repositories[2]))
    read = {question.id: question for question in benchmarks.load("bbh", "all")}
    assert [(q.text, q.answer) for q in read.values() if q.task == "sums"] == SUMS
    assert benchmarks.codex_tasks() == ["sums"] and benchmarks.published_prompt("more") == PROMPT
    for id, text in benchmarks.codex_completions("sums").items():
        assert text == f"I say {read[id].answer} to {read[id].text}"
    [pair] = benchmarks.published_duals()
    assert (pair.question, pair.correct_answer, pair.wrong_answer) == ("3 + 3 =", "6", "9")
    assert pair.correct == "Three\nand three.\n\nTherefore, the answer is 6."


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda bbh, cascod: (bbh / "cot-prompts").rename(bbh / "x"), r"holds no cot-prompts/\*"),
        (lambda bbh, cascod: (cascod / "dataset").rename(cascod / "x"), "CasCoD holds no dataset"),
        (lambda bbh, cascod: put(bbh / "bbh" / "sums.json", "version https:"), "sums.json: expect"),
        (lambda bbh, cascod: put(bbh / "bbh" / "sums.json", "[]"), "a list of examples"),
        (
            lambda bbh, cascod: put(bbh / "bbh" / "sums.json", '{"examples": "abc"}'),
            "a list of examples, each with input, target as text",
        ),
        (
            lambda bbh, cascod: put(
                bbh / "bbh" / "sums.json", '{"examples": [{"input": "1 + 1"}]}'
            ),
            "each with input, target as text",
        ),
        (lambda bbh, cascod: put(bbh.parent / "data", "a file"), "cannot be written: Not a dir"),
    ],
)
def test_a_repository_of_another_layout_is_one_line(repositories, capsys, edit, message):
    edit(*repositories[:2])
    assert convert.main(list(map(str, repositories))) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and re.search(message, said)
