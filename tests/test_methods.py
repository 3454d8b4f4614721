"""Each method against its definition: its phases, the words its loss touches, the loss by hand."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate.utils import send_to_device
from datasets import Dataset
from torch.testing import assert_close
from trl import DPOConfig, DPOTrainer

from editlib import encoding, keysteps, marks, methods, objectives, paper, profiles, training
from editlib.errors import KitError
from editlib.locators import LOCATORS
from editlib.methods import KEYS, METHODS, WEIGHTS, phases
from editlib.mistakes import UnknownTruth
from editlib.records import DualCoT

PROMPT = "Q : what is 5 minus 2 A :"
CORRECT = "5 minus 2 is 3 . so we get 3"
WRONG = "5 minus 2 is 4 . Therefore , we get 4"

BASE = {"lr": 1e-3, "also_try": [], "epochs": 1, "batch": 8, "accumulation": 1, "lr_decay": 1.0}
SECTIONS = {
    "sft": profiles.SFT(**BASE),
    "krsl": profiles.KRSL(**BASE, alpha=1.0, beta=0.025, per="response", ceiling=20.0),
    "dpo": profiles.DPO(**BASE, beta=0.1),
    "dpop": profiles.DPOP(**BASE, beta=0.1, penalty=50.0),
    "simpo": profiles.SimPO(**BASE, beta=2.0, margin=1.0),
}


# --- the table -------------------------------------------------------------------------------


LEARNT = {  # as the paper and those of the baselines define them; with what the student is asked
    "MT-CoT": ("SFT on D+ as CoT and answer", "marked CoT"),
    "SCOTT": ("SFT on D+ with counterfactuals", "factual"),
    "Std-CoT": ("SFT on D+", "CoT"),
    "SBS": ("SFT on D+ as rationale and answer", "answer"),
    "SBS-MI": ("SFT on D+ as rationale and answer, mutual 0.2", "answer"),
    "CasCoD": ("SFT on D+ in two steps", "two steps"),
    "Std-CoT, repeat sampling": ("SFT on D+merge sampled twice", "CoT"),
    "Std-CoT, dual CoTs": ("SFT on both sides of Ddual", "CoT"),
    "Std-CoT continued": ("SFT on D+, then SFT on D+, as long as EDIT", "CoT"),
    "EDIT w/o KRSL": ("SFT on D+merge", "CoT"),
    "EDIT w/o RWC": ("SFT on D+, then KRSL on D+dual", "CoT"),
    "EDIT w/o RWC, KRSL on Ddual": ("SFT on D+, then KRSL on Ddual", "CoT"),
    "EDIT": ("SFT on D+merge, then KRSL on Ddual", "CoT"),
    "EDIT, KRSL on D+dual": ("SFT on D+merge, then KRSL on D+dual", "CoT"),
    "EDIT, KRSL on D-dual": ("SFT on D+merge, then KRSL on D-dual", "CoT"),
    "EDIT, only correct steps": ("SFT on D+merge, then KRSL on Ddual, beta 0", "CoT"),
    "EDIT, only wrong steps": ("SFT on D+merge, then KRSL on Ddual, alpha 0", "CoT"),
    "DPO": ("SFT on D+merge, then DPO on Ddual", "CoT"),
    "DPO, rate 0.001": ("SFT on D+merge, then DPO on Ddual, lr 0.001", "CoT"),
    "DPO-Positive": ("SFT on D+merge, then DPOP on Ddual", "CoT"),
    "SimPO": ("SFT on D+merge, then SIMPO on Ddual", "CoT"),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_learns_from_what_its_definition_says(name):
    said = ", then ".join(map(str, phases(name))), METHODS[name].asked
    if name in LEARNT:
        assert said == LEARNT[name]
    elif phases(name)[-1].as_long_as:  # a control goes on as it began
        first, second = phases(name)
        assert first == replace(second, as_long_as=None)
    else:  # variants of EDIT change one thing in KRSL
        assert said[0].startswith("SFT on D+merge, then KRSL on Ddual, ") and said[1] == "CoT"


def test_no_two_methods_are_the_same_and_each_name_fits_a_folder():
    names = [" then ".join(map(str, phases(method))) for method in METHODS]
    assert len(set(names)) == len(METHODS)
    assert not any("/" in name or len(name) > 200 for name in names)


def test_every_locator_has_its_student_and_every_key_its_locator():
    used = {phase.key for method in METHODS for phase in phases(method)}
    assert used == set(KEYS) > set(LOCATORS)


def test_the_grid_of_weights_holds_the_points_of_the_paper_and_each_names_its_weights():
    points = zip(paper.TABLE_4["alpha"], paper.TABLE_4["beta"], strict=True)
    assert set(points) < set(WEIGHTS)
    for (alpha, beta), name in WEIGHTS.items():
        last = phases(name)[-1]
        settings = SECTIONS[last.objective].model_copy(update=last.changes)
        found = (settings.alpha, settings.beta) if last.objective == "krsl" else (0, 0)
        assert found == (alpha, beta), name


def test_what_trains_longer_than_std_cot_has_a_control():
    kit = [name for name in METHODS if len(phases(name)) > 1 or name == "EDIT w/o KRSL"]
    controls = {name for name in kit if phases(name)[-1].as_long_as}
    without = {name for name in kit if methods.control(name) is None}
    assert without == controls and len(controls) < len(kit)
    assert methods.control("EDIT, words") == "EDIT w/o KRSL continued"
    assert methods.control("EDIT w/o RWC") == "Std-CoT as long as EDIT w/o RWC"


@pytest.mark.parametrize("method", ["DPO", "EDIT w/o KRSL as long as DPO"])
def test_a_method_without_its_settings_is_refused(method):
    asks = f"training.methods=['{method}']"
    with pytest.raises(KitError, match=f"{method} needs training.dpo, which is not set"):
        profiles.load("smoke", [asks])
    given = SECTIONS["dpo"].model_dump()
    assert profiles.load("smoke", [asks, f"training.dpo={given}"]).training.dpo.beta == 0.1


def test_rates_of_a_preference_loss_too_are_compared_on_validation_questions():
    given = SECTIONS["dpo"].model_dump() | {"also_try": [1e-4]}
    with pytest.raises(KitError, match="also_try needs checkpoint validation"):
        profiles.load("smoke", [f"training.dpo={given}", "training.checkpoint=last"])


# --- which words a loss touches --------------------------------------------------------------


def pair(correct=CORRECT, wrong=WRONG):
    return DualCoT("a", "q", "minus", "D+dual", PROMPT, correct, wrong, *["", "", "", "wrong key"])


def pair_row(tok, dual=None):
    dual = dual or pair()
    correct, wrong = encoding.response_ids(tok, [dual.correct, dual.wrong])
    keys = keysteps.key_masks(correct, wrong)
    row = {"id": dual.id, "prompt": encoding.prompt_ids(tok, [PROMPT])[0]}
    references = {"correct_reference": -20.0, "wrong_reference": -20.0}
    sides = {"correct": correct, "wrong": wrong, "correct_key": keys[0], "wrong_key": keys[1]}
    return row | sides | references


def truth(word, text=WRONG):
    start = text.index(word)
    return {"wrong key": {"mistakes": [{"start": start, "end": start + len(word)}]}}


def rows_for(tok, phase, truths=None):
    if phase.objective == "sft":
        row = pair_row(tok)
        return [{"prompt": row["prompt"], "response": row["correct"]}]
    rows = [pair_row(tok)]
    if phase.key in (methods.EDIT_DISTANCE, methods.HIGHEST_LOSS):
        return rows
    segment = keysteps.TokenSegmenter(tok)
    return marks.marked(rows, {"a": pair()}, segment, phase.key, truths or truth("4"))


def touched(tok, method, truths=None):
    """The words whose log-probability the last phase raises, and those that it lowers."""
    phase = phases(method)[-1]
    objective = training.objective(SECTIONS[phase.objective].model_copy(update=phase.changes))
    batch = objective.collate(rows_for(tok, phase, truths))
    logp = torch.full(batch["response"].shape, -1.0, requires_grad=True)
    objective.loss(logp, batch, batch["items"]).loss.backward()
    ids = batch["input_ids"]
    return tok.decode(ids[logp.grad < 0]), tok.decode(ids[logp.grad > 0])


ALL = f"{CORRECT} <end>", f"{WRONG} <end>"
TOUCHED = {
    "Std-CoT": (ALL[0], ""),
    "EDIT w/o KRSL": (ALL[0], ""),
    "EDIT": ("3 so 3", "4 Therefore , 4"),
    "EDIT, per key token": ("3 so 3", "4 Therefore , 4"),
    "EDIT, only correct steps": ("3 so 3", ""),
    "EDIT, only wrong steps": ("", "4 Therefore , 4"),
    "EDIT, alpha 0, beta 1": ("", "4 Therefore , 4"),
    "EDIT, first differing token": ("3", "4"),
    "EDIT, first changed run": ("3", "4"),
    "EDIT, longest blocks (difflib)": ("3 so 3", "4 Therefore , 4"),
    "EDIT, words": ("3 so 3", "4 Therefore , 4"),
    "EDIT, sentences": (ALL[0].removesuffix(" <end>"), ALL[1].removesuffix(" <end>")),
    "EDIT, all from the first difference": (
        "3 . so we get 3 <end>",
        "4 . Therefore , we get 4 <end>",
    ),
    "EDIT, all tokens": ALL,
    "EDIT, known mistake": ("3", "4"),
    "DPO": ALL,
    "DPO-Positive": ALL,
    "SimPO": ALL,
}


@pytest.mark.parametrize("method", TOUCHED)
def test_a_loss_touches_the_words_of_its_definition_and_no_other(tok, method):
    assert touched(tok, method) == TOUCHED[method]


def test_random_marks_are_as_many_as_those_of_edit_distance_and_the_id_decides_where(tok):
    row = pair_row(tok)
    first, again, other = (
        marks.marked([row | {"id": name}], {}, keysteps.TokenSegmenter(tok), methods.RANDOM, {})[0]
        for name in ("a", "a", "b")
    )
    for side in ("correct_key", "wrong_key"):
        assert first[side].sum() == row[side].sum() == other[side].sum()
        assert (first[side] == again[side]).all()
    assert any((first[side] != other[side]).any() for side in ("correct_key", "wrong_key"))


def test_the_tokens_of_highest_loss_are_as_many_and_those_that_surprise_most(tok):
    row = pair_row(tok)
    rng = np.random.default_rng(0)
    logp = {side: -rng.permutation(len(row[side])).astype(float) for side in ("correct", "wrong")}
    found = marks.of_highest_loss([row], [logp])[0]
    for side in ("correct", "wrong"):
        key = found[f"{side}_key"]
        assert key.sum() == row[f"{side}_key"].sum()
        assert logp[side][key].max() < logp[side][~key].min()


@pytest.mark.parametrize(
    ("correct", "wrong", "mistake", "expected"),
    [
        (CORRECT, WRONG, "is 4", ("is 3", "is 4")),  # what stands there, changed or not
        (CORRECT, WRONG, "Therefore ,", ("so", "Therefore ,")),  # a later one, not the first
        ("5 is 3", "5 minus 2 is 3", "minus", ("", "minus")),  # nothing stands there, nor elsewhere
        ("5 is 3", "5 minus is 4", "minus", ("3", "minus")),  # so the first run that changed
        ("5 is minus 3", "5 is 4", "4", ("minus 3", "4")),  # two words for one
    ],
)
def test_a_known_mistake_is_marked_alone_with_what_stands_in_its_place(
    tok, correct, wrong, mistake, expected
):
    segment = keysteps.TokenSegmenter(tok)
    start = wrong.index(mistake)
    sides = segment(correct), segment(wrong)
    found = marks.known_mistake(*sides, [(start, start + len(mistake))])
    words = [
        tok.decode(np.array(side.ids)[key].tolist()) for side, key in zip(sides, found, strict=True)
    ]
    assert tuple(words) == expected


def test_a_mistake_that_nobody_knows_and_ids_of_another_tokenizer_are_refused(tok):
    segment, pairs = keysteps.TokenSegmenter(tok), {"a": pair()}
    with pytest.raises(UnknownTruth, match="a: no mistake is known"):
        marks.marked([pair_row(tok)], pairs, segment, methods.KNOWN, {})
    other = pair_row(tok) | {"correct": [1, 2, 3]}
    with pytest.raises(marks.OtherTokens, match="pair a"):
        marks.marked([other], pairs, segment, "words", {})


# --- the losses of preferences by hand -------------------------------------------------------


def hand_made():
    """Two pairs; sums of log-probabilities -6 and -9, -4 and -2; mean -3 and -3, -2 and -2."""
    logp = -torch.tensor(
        [[5.0, 2.0, 4.0, 7.0], [5.0, 1.0, 3.0, 7.0], [5.0, 2.0, 3.0, 4.0], [5.0, 2.0, 7.0, 7.0]]
    )
    response = torch.tensor([[0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 1, 1], [0, 1, 0, 0]]).bool()
    reference = torch.tensor([-5.0, -4.5, -7.0, -3.0])
    return logp, {"response": response, "reference": reference}, torch.tensor(2)


def softplus(x):
    return math.log1p(math.exp(x))  # -log sigmoid(-x)


def test_dpo_by_hand():
    """Gains: correct -1 and 0.5, wrong -2 and 1."""
    terms = objectives.dpo_loss(*hand_made(), beta=0.5)
    assert terms.loss.item() == pytest.approx((softplus(-0.5) + softplus(0.25)) / 2)
    assert terms.parts == pytest.approx({"correct_logp": -10 / 4, "wrong_logp": -11 / 4})


def test_dpo_positive_by_hand_takes_off_what_the_correct_side_lost():
    """The first pair lost 1, so that 1 - 3 is left; the second gained: no penalty."""
    loss = objectives.dpo_loss(*hand_made(), beta=0.5, penalty=3.0).loss
    assert loss.item() == pytest.approx((softplus(1.0) + softplus(0.25)) / 2)


def test_simpo_by_hand_divides_by_the_length_of_each_side_and_needs_no_reference():
    logp, batch, items = hand_made()
    del batch["reference"]
    logp = logp.clone()
    logp[1, 1] = -2.0  # means: correct -3 and -2.5, wrong -3 and -2
    loss = objectives.simpo_loss(logp, batch, items, beta=2.0, margin=0.3).loss
    assert loss.item() == pytest.approx((softplus(0.3) + softplus(0.3 + 1.0)) / 2)


def test_dpo_is_content_where_both_sides_sink_and_dpo_positive_is_not():
    logp, batch, items = hand_made()
    sunk = {"response": batch["response"], "reference": batch["reference"] + 8.0}
    plain = [objectives.dpo_loss(logp, b, items, beta=0.1).loss for b in (batch, sunk)]
    guarded = [
        objectives.dpo_loss(logp, b, items, beta=0.1, penalty=5.0).loss for b in (batch, sunk)
    ]
    assert_close(plain[0], plain[1])
    assert guarded[1] > guarded[0] + 1


# --- the same through a model ----------------------------------------------------------------


def some_rows(tok):
    texts = [(CORRECT, WRONG), ("so we get 3", "so we get 7 . The answer is 7"), ("3", "4")]
    return [pair_row(tok, replace(pair(*sides), id=str(i))) for i, sides in enumerate(texts)]


def with_reference(student, rows, bf16=False):
    read = training.pair_logp(student, rows, 2, bf16)
    return [
        row | {f"{side}_reference": float(own[side].sum()) for side in own}
        for row, own in zip(rows, read, strict=True)
    ]


def test_reference_log_probabilities_are_those_of_each_row_alone(tok, tiny):
    rows = some_rows(tok)
    for row, read in zip(rows, training.pair_logp(tiny, rows, 2), strict=True):
        for side in ("correct", "wrong"):
            ids = torch.tensor([[*row["prompt"], *row[side]]])
            with torch.no_grad():
                alone = objectives.token_logp(tiny(ids).logits, ids)[0, len(row["prompt"]) :]
            assert_close(torch.tensor(read[side]), alone, rtol=1e-4, atol=1e-6)


def loss_of(student, rows, settings, ragged_too=True):
    objective = training.objective(settings)
    batch = objective.collate_and_pack(rows) if ragged_too else objective.collate(rows)
    logp = training.log_probabilities(student, send_to_device(batch, "cpu"), objective.mask)
    return objective.loss(logp, batch, batch["items"])


@pytest.mark.parametrize(("section", "expected"), [("dpo", math.log(2)), ("dpop", math.log(2))])
def test_a_preference_loss_begins_at_indifference(tok, tiny, section, expected):
    rows = with_reference(tiny, some_rows(tok))
    assert loss_of(tiny, rows, SECTIONS[section]).loss.item() == pytest.approx(expected, abs=1e-4)


def test_references_are_read_at_the_precision_of_training(tok, tiny, tmp_path):
    """Else the student seems to have moved before it was trained."""
    settings = SECTIONS["dpo"].model_copy(update={"beta": 20.0, "batch": 3})

    def seems_to_have_moved(bf16):
        rows = with_reference(tiny, some_rows(tok), bf16)
        how = {"seed": 0, "scratch": tmp_path / f"{bf16}", "updates": 1, "bf16": True}
        log = training.fit(copy.deepcopy(tiny), rows, settings, **how)
        return abs(log[0]["loss"] - math.log(2))

    assert seems_to_have_moved(bf16=True) < 1e-3 < seems_to_have_moved(bf16=False)


def test_dpo_equals_that_of_trl(tok, tiny, tmp_path):
    """The same pairs and students; TRL keeps the student of the start as an adapter of its own."""
    rows = with_reference(tiny, some_rows(tok))
    text = {side: [tok.decode(row[side][:-1]) for row in rows] for side in ("correct", "wrong")}
    data = Dataset.from_dict(
        {"prompt": [PROMPT + " "] * 3, "chosen": text["correct"], "rejected": text["wrong"]}
    )
    how = {"use_cpu": True, "bf16": False, "report_to": [], "gradient_checkpointing": False}
    arguments = DPOConfig(str(tmp_path), per_device_train_batch_size=3, beta=0.1, **how)
    trainer = DPOTrainer(tiny, args=arguments, train_dataset=data, processing_class=tok)
    with torch.no_grad():
        for name, weight in tiny.named_parameters():
            if "lora_B.default" in name:
                weight += 0.3 * torch.randn(weight.shape, generator=torch.manual_seed(5))
    theirs = trainer.compute_loss(trainer.model, next(iter(trainer.get_train_dataloader())))
    ours = loss_of(tiny, rows, SECTIONS["dpo"]).loss
    assert abs(ours.item() - math.log(2)) > 1e-3  # it has left the start
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-4)


@pytest.mark.parametrize("section", ["dpo", "dpop", "simpo"])
def test_training_widens_the_distance_between_the_sides(tok, tiny, tmp_path, section):
    rows = with_reference(tiny, some_rows(tok))
    settings = SECTIONS[section].model_copy(update={"lr": 3e-3})

    def distance():
        read = training.pair_logp(tiny, rows, 3)
        return sum(own["correct"].mean() - own["wrong"].mean() for own in read)

    before = distance()
    log = training.fit(tiny, rows, settings, seed=0, scratch=tmp_path, updates=5)
    assert distance() > before
    assert {"correct_logp", "wrong_logp"} <= set(log[0])
