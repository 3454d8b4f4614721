"""The text that a phase of training reads, counted by hand."""

import pytest

from editlib import budget, profiles

SFT = profiles.load("mini").training.sft.model_copy(update={"batch": 1, "accumulation": 2})


@pytest.mark.parametrize(
    ("row", "tokens"),
    [
        ({"prompt": [1, 2], "response": [3]}, 3),
        ({"prompt": [1, 2], "correct": [3, 4], "wrong": [5], "correct_key": [True, False]}, 5),
        ({"parts": [{"prompt": [1], "response": [2]}, {"prompt": [1], "response": [2, 3]}]}, 5),
    ],
)
def test_a_row_counts_its_prompts_and_all_that_is_learnt(row, tokens):
    assert budget.tokens_read([row, row, row], SFT, updates=2) == 3 * tokens  # one epoch


def test_updates_beyond_an_epoch_read_rows_of_mean_length():
    rows = [{"prompt": [1], "response": [2] * n} for n in (1, 2, 3)]  # 2 and 1 an epoch
    assert [budget.tokens_read(rows, SFT, n) for n in (1, 2, 3, 4)] == [6, 9, 15, 18]
