from dataclasses import replace

import pandas as pd

from editlib import manifest, pipeline
from editlib.completions import Lost, Reply, Request, completed
from editlib.teacher import replay
from editlib.workspace import open_workspace

ROW = completed("m", Request("a"), Reply("Well.", "stop", 10, 5))


def test_every_attempt_counts_and_is_paid():
    assert pipeline.usage("CEP", [[ROW], [ROW]]) == {
        "prompt": "CEP",
        "n": 2,
        "prompt_tokens": 20,
        "completion_tokens": 10,
    }
    dear = replace(ROW, cost=0.25)
    spent = pipeline.usage("CEP", [[dear, dear], [ROW]])
    assert (spent["n"], spent["attempts"], spent["prompt_tokens"]) == (2, 3, 30)
    assert spent["cost_usd"] == 0.5


def test_replies_that_were_lost_are_paid_too():
    lost = [Lost("m", "a", 7, 3, estimated, 0.5) for estimated in (True, False)]
    spent = pipeline.usage("CEP", [[replace(ROW, cost=0.25)]], lost)
    assert (spent["prompt_tokens"], spent["completion_tokens"]) == (24, 11)
    assert (spent["cost_usd"], spent["lost"], spent["lost_estimated"]) == (1.25, 2, 1)


def test_the_manifest_sums_tokens_and_money(tmp_path):
    ws = open_workspace("smoke", [], tmp_path)
    rows = [
        {"prompt": "CEP", "n": 2, "cost_usd": 0.25},
        {"prompt": "AHP", "n": 1, "cost_usd": None},
    ]
    ws.save_table(pd.DataFrame(rows), "teacher_usage")
    assert manifest.teacher_usage(ws) == {"n": 3, "cost_usd": 0.25}


def test_a_replay_takes_the_last_attempt_of_the_first_sample():
    rows = [
        replace(ROW, key="0", text="first"),
        replace(ROW, key="1", attempt=2, text="third"),
        replace(ROW, key="2", attempt=1, text="second"),
        replace(ROW, key="3", sample=1, attempt=3, text="other sample"),
    ]
    teachers = [replay([(row, None) for row in order], "run") for order in (rows, rows[::-1])]
    assert {teacher.complete(Request("a")).text for teacher in teachers} == {"third"}
    assert teachers[0].name == teachers[1].name != replay([], "run").name
