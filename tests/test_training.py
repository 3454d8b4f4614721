"""Objectives, batching and the Trainer: which words a loss touches, and by how much."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

from editlib import batching, encoding, objectives, profiles, ragged, training
from editlib.keysteps import key_mask
from editlib.profiles import KRSL
from tests.conftest import tiny_llama

BASE = {"lr": 1e-2, "also_try": [], "epochs": 1, "batch": 8, "accumulation": 1, "lr_decay": 1.0}
SFT = profiles.SFT(**BASE)
SBS_MI = profiles.SFT(**BASE, mutual=0.5)
EDIT = KRSL(**BASE, alpha=1.0, beta=0.025, per="response", ceiling=20.0)
PROMPT = "Q : what is 5 minus 2 A :"
CORRECT = ["5 minus 2 is 3 . The answer is 3", "so we get 3 . The answer is 3"]
WRONG = ["5 minus 2 is 4 . The answer is 4", "so we get 3 plus 4 . The answer is 7"]


def sft_rows(tok, n=8):
    prompt = encoding.prompt_ids(tok, [PROMPT])[0]
    responses = encoding.response_ids(tok, CORRECT)
    return [{"prompt": prompt, "response": responses[i % 2]} for i in range(n)]


def dual_rows(tok, n=8):
    rows = []
    for i in range(n):
        correct, wrong = encoding.response_ids(tok, [CORRECT[i % 2], WRONG[i % 2]])
        rows.append(
            {
                "prompt": encoding.prompt_ids(tok, [PROMPT])[0],
                "correct": correct,
                "wrong": wrong,
                "correct_key": key_mask(correct, wrong),
                "wrong_key": key_mask(wrong, correct),
            }
        )
    return rows


def words(tok, batch, mask):
    return tok.decode(batch["input_ids"][batch[mask]])


def test_ids_are_of_lists_of_texts(tok):
    assert encoding.prompt_ids(tok, []) == []
    with pytest.raises(TypeError, match="a list of texts, found one text, 'so we"):
        encoding.prompt_ids(tok, "so we get 3")


def test_sft_touches_the_response_and_nothing_else(tok):
    batch = batching.collate_responses(sft_rows(tok, 1))
    assert words(tok, batch, "response") == CORRECT[0] + " <end>"
    assert batch["items"] == len(CORRECT[0].split()) + 1


def test_krsl_touches_the_key_words_of_both_sides(tok):
    batch = batching.collate_duals(dual_rows(tok, 1))
    assert words(tok, batch, "key") == "3 3 4 4"


def test_a_mask_of_another_length_is_refused(tok):
    row = dual_rows(tok, 1)[0]
    with pytest.raises(ValueError, match="10 key marks for 11 response ids"):
        batching.collate_duals([row | {"correct_key": row["correct_key"][1:]}])


def test_padding_is_no_longer_than_the_longest_row(tok):
    rows = dual_rows(tok, 4)
    longest = max(len(r["prompt"]) + max(len(r["correct"]), len(r["wrong"])) for r in rows)
    assert batching.collate_duals(rows)["input_ids"].shape == (8, longest)


def test_log_probabilities_speak_of_the_token_at_their_own_position():
    logits = torch.zeros(1, 3, 4)
    logits[0, 0, 2] = 5.0  # after the first token, token 2 is likely
    logp = objectives.token_logp(logits, torch.tensor([[1, 2, 3]]))
    assert_close(logp, torch.tensor([[0.0, 5 - math.log(math.exp(5) + 3), -math.log(4)]]))


def hand_made():
    """One pair: correct tokens with NLL 1, 2, 3 (the last two key), wrong with 4, 30, 6 (key)."""
    logp = -torch.tensor([[0.0, 1.0, 2.0, 3.0], [0.0, 4.0, 30.0, 6.0]])
    response = torch.tensor([[False, True, True, True]] * 2)
    key = torch.tensor([[False, False, True, True], [False, False, True, True]])
    return logp, {"response": response, "key": key}, torch.tensor(1)


@pytest.mark.parametrize(
    ("per", "ceiling", "expected"),
    [
        ("response", 20.0, (2 + 3) / 3 - 0.5 * 6 / 3),
        ("response", 99.0, (2 + 3) / 3 - 0.5 * 36 / 3),
        ("key", 20.0, (2 + 3) / 2 - 0.5 * 6 / 2),
    ],
)
def test_krsl_by_hand(per, ceiling, expected):
    terms = objectives.krsl_loss(*hand_made(), alpha=1.0, beta=0.5, per=per, ceiling=ceiling)
    assert terms.loss.item() == pytest.approx(expected)


def test_sft_by_hand():
    logp, batch, _ = hand_made()
    batch["weight"] = torch.ones(2, 1)
    assert objectives.sft_loss(logp, batch, torch.tensor(6)).loss.item() == pytest.approx(46 / 6)


def test_a_pair_without_key_tokens_adds_nothing():
    logp, batch, items = hand_made()
    batch["key"] = torch.zeros_like(batch["key"])
    loss = objectives.krsl_loss(logp, batch, items, alpha=1, beta=1, per="key", ceiling=20).loss
    assert loss.item() == 0.0


def gradient(student, rows, settings, cut, tmp_path, padded, items=None):
    """Gradient of one optimizer step whose rows come in pieces of the sizes in cut."""
    student.get_base_model().set_attn_implementation("sdpa" if padded else ragged.NAME)
    trainer = training.StudentTrainer(
        model=student,
        args=training._arguments(settings, 0, tmp_path, None, selects=False),
        objective=training.objective(settings),
        lr_decay=1.0,
        padded=padded,
    )
    rest = iter(rows)
    batches = [trainer.data_collator([next(rest) for _ in range(size)]) for size in cut]
    items = items or trainer._get_num_items_in_batch(batches, torch.device("cpu"))
    student.zero_grad()
    for batch in batches:
        trainer.training_step(student, batch, items)
    return torch.cat([p.grad.flatten() for p in student.parameters() if p.grad is not None])


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("settings", [SFT, SBS_MI, EDIT, EDIT.model_copy(update={"per": "key"})])
@pytest.mark.parametrize("cut", [(4, 4), (5, 3), (1,) * 8])
def test_the_gradient_does_not_depend_on_how_the_step_is_cut(
    tok, tiny, settings, cut, tmp_path, padded
):
    rows = dual_rows(tok) if isinstance(settings, KRSL) else sft_rows(tok)
    if settings is SBS_MI:  # a row of two tasks
        tasks = [{"weight": 3.0, "share": 9.0}, {"weight": 0.5, "share": 9.0}]
        rows = [{"parts": [row | task for task in tasks]} for row in rows]
    whole = gradient(tiny, rows, settings, (8,), tmp_path, padded=True)
    assert whole.abs().max() > 0
    assert_close(gradient(tiny, rows, settings, cut, tmp_path, padded), whole, rtol=1e-4, atol=1e-7)


def test_an_update_reads_as_many_rows_where_a_process_sees_several_gpus(tmp_path, monkeypatch):
    ready = training.TrainingArguments.__post_init__

    def with_four(arguments):
        ready(arguments)
        arguments._n_gpu = 4

    monkeypatch.setattr(training.TrainingArguments, "__post_init__", with_four)
    usual = training.TrainingArguments(str(tmp_path), per_device_train_batch_size=SFT.batch)
    assert usual.train_batch_size == 4 * SFT.batch
    arguments = training._arguments(SFT, 0, tmp_path, None, selects=False)
    assert arguments.train_batch_size == SFT.batch


@pytest.mark.parametrize("padded", [True, False])
def test_the_cut_test_can_fail(tok, tiny, tmp_path, padded):
    rows = sft_rows(tok)
    whole = gradient(tiny, rows, SFT, (8,), tmp_path, padded)
    wrong_items = torch.tensor(4 * 11)  # as if each piece were divided by its own tokens
    with pytest.raises(AssertionError):
        assert_close(gradient(tiny, rows, SFT, (5, 3), tmp_path, padded, wrong_items), whole)


@torch.no_grad()
def key_logp(student, rows):
    batch = batching.collate_duals(rows)
    logits = student(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    logp = objectives.token_logp(logits, batch["input_ids"])
    correct, wrong = (logp * batch["key"]).chunk(2)
    return SimpleNamespace(correct=correct.sum().item(), wrong=wrong.sum().item())


@pytest.mark.parametrize(
    ("alpha", "beta", "raised", "lowered"), [(1.0, 0.0, True, None), (0.0, 1.0, None, True)]
)
def test_krsl_raises_correct_key_words_and_lowers_wrong_ones(
    tok, tiny, tmp_path, alpha, beta, raised, lowered
):
    settings = EDIT.model_copy(update={"alpha": alpha, "beta": beta, "lr": 1e-3})
    before = key_logp(tiny, dual_rows(tok))
    training.fit(tiny, dual_rows(tok), settings, seed=0, scratch=tmp_path, updates=3)
    after = key_logp(tiny, dual_rows(tok))
    assert raised is None or after.correct > before.correct
    assert lowered is None or after.wrong < before.wrong


def test_the_learning_rate_falls_once_an_epoch(tok, tiny, tmp_path):
    settings = SFT.model_copy(update={"epochs": 3, "batch": 4, "lr_decay": 0.5})
    trainer = training.StudentTrainer(
        model=tiny,
        args=training._arguments(settings, 0, tmp_path, None, selects=False),
        train_dataset=sft_rows(tok),
        objective=training.objective(settings),
        lr_decay=settings.lr_decay,
        padded=True,
    )
    trainer.create_optimizer_and_scheduler(num_training_steps=6)
    rates = []
    for _ in range(6):
        rates.append(trainer.lr_scheduler.get_last_lr()[0] / settings.lr)
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
    assert rates == [1, 1, 0.5, 0.5, 0.25, 0.25]


@pytest.fixture(params=["adapter", "all weights"])
def student(request, tok, tiny):
    """A student of each form that training takes."""
    return tiny if request.param == "adapter" else tiny_llama(len(tok))


def weights(student):
    return torch.cat([p.detach().flatten() for p in student.parameters() if p.requires_grad])


def test_the_best_epoch_on_validation_is_kept_the_first_of_equals(tok, student, tmp_path):
    scores, seen = iter([0.2, 0.8, 0.8, 0.1]), []

    def score(student):
        seen.append(weights(student).clone())
        return next(scores)

    settings = SFT.model_copy(update={"epochs": 4})
    training.fit(student, sft_rows(tok), settings, seed=0, scratch=tmp_path, score=score)
    assert_close(weights(student), seen[1])


def test_test_questions_are_logged_and_choose_nothing(tok, tiny, tmp_path):
    scores, tests, seen = iter([0.8, 0.2, 0.1]), iter([0.1, 0.9, 0.5]), []

    def follow(student):
        seen.append(weights(student).clone())
        return next(tests)

    settings = SFT.model_copy(update={"epochs": 3})
    log = training.fit(
        tiny,
        sft_rows(tok),
        settings,
        seed=0,
        scratch=tmp_path,
        score=lambda _: next(scores),
        follow=follow,
    )
    assert [e["eval_test_accuracy"] for e in log if "eval_accuracy" in e] == [0.1, 0.9, 0.5]
    assert_close(weights(tiny), seen[0])  # the best on validation questions, worst on those of test


def test_a_killed_run_goes_on_from_its_last_whole_checkpoint(tok, student, tmp_path):
    settings = SFT.model_copy(update={"epochs": 4, "batch": 4})
    start = weights(student).clone()
    training.fit(student, sft_rows(tok), settings, seed=0, scratch=tmp_path / "whole")
    expected = weights(student).clone()

    def put_back():
        offset = 0
        for p in student.parameters():
            if p.requires_grad:
                p.data.copy_(start[offset : offset + p.numel()].view_as(p))
                offset += p.numel()

    def killed(_, calls=[]):  # noqa: B006  (the list counts the calls)
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return len(calls)

    put_back()
    with pytest.raises(KeyboardInterrupt):
        training.fit(
            student, sft_rows(tok), settings, seed=0, scratch=tmp_path / "cut", score=killed
        )
    newest = max((tmp_path / "cut").glob("checkpoint-*"), key=lambda f: int(f.name.split("-")[1]))
    broken = newest.with_name("checkpoint-99")  # a checkpoint that was being written
    broken.mkdir()
    put_back()
    training.fit(student, sft_rows(tok), settings, seed=0, scratch=tmp_path / "cut")
    assert_close(weights(student), expected)
