import json
import random
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from editlib import decoding, local_teacher
from editlib.completions import CompletionStore, Request
from editlib.local_teacher import BadPrompt, LocalTeacher, NoModel, _Draw
from editlib.profiles import LocalTeacherSettings
from editlib.teacher import ask

PROMPTS = ("5 minus 2 is", "what is 3 plus 4", "Therefore , the answer is", "we get 7")


@pytest.fixture
def store(tmp_path):
    with CompletionStore(tmp_path / "completions.sqlite") as store:
        yield store


def teacher(folder, **changes):
    return LocalTeacher(LocalTeacherSettings(kind="local", model=str(folder), **changes))


def requests(**sampling):
    return [Request(p, **{"max_tokens": 12, "seed": 0} | sampling) for p in PROMPTS]


def fresh(tmp_path, name, folder, asked, **changes):
    with CompletionStore(tmp_path / f"{name}.sqlite") as store:
        return [row.text for row in ask(teacher(folder, **changes), asked, store, "ask")]


def test_at_temperature_zero_it_says_what_the_model_says_alone(model_folder, store):
    rows = ask(teacher(model_folder), requests(temperature=0), store, "ask")
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model = AutoModelForCausalLM.from_pretrained(model_folder)
    for row, prompt in zip(rows, PROMPTS, strict=True):
        ids = tokenizer(f"Q : {prompt} A :", return_tensors="pt")["input_ids"]
        both = model.generate(ids, do_sample=False, max_new_tokens=12, pad_token_id=1)
        new = both[0, ids.shape[1] :].tolist()
        assert row.text == tokenizer.decode(new, skip_special_tokens=True)
        assert (row.prompt_tokens, row.completion_tokens) == (ids.shape[1], len(new))
        assert row.finish_reason == ("stop" if new[-1] == tokenizer.eos_token_id else "length")


def test_a_sample_depends_on_its_own_seed_and_not_on_its_batch(model_folder, tmp_path):
    asked = requests(temperature=1.0)
    alone = fresh(tmp_path, "a", model_folder, asked, batch=1)
    assert fresh(tmp_path, "b", model_folder, asked, batch=3) == alone
    for change in ({"seed": 1}, {"sample": 1}, {"attempt": 1}):
        others = [replace(request, **change) for request in asked]
        assert fresh(tmp_path, str(change), model_folder, others) != alone


@pytest.mark.parametrize("at_once", [1, 4])
def test_long_prompts_are_asked_first(model_folder, monkeypatch, at_once):
    """Within what is prepared at once, and of such parts those that hold the longest."""
    monkeypatch.setattr(local_teacher, "BATCHES_AT_ONCE", at_once)
    lengths = random.Random(0).sample(range(1, 40), 12)
    asked = [Request(" ".join(["3 minus"] * n), max_tokens=1) for n in lengths]
    batches = [batch for batch, _ in teacher(model_folder, batch=3)._batches(asked)]
    words = [len(request.prompt.split()) for batch in batches for request in batch]
    assert sorted(words) == sorted(2 * n for n in lengths)
    assert words == sorted(words, reverse=True)


def test_what_prompts_begin_with_is_read_once(model_folder, tmp_path, monkeypatch):
    begin = "what is 3 plus 4 " * 5
    asked = [Request(begin + prompt, temperature=0, max_tokens=3) for prompt in PROMPTS]
    read, next_of = [], decoding._next

    def counted(model, ids, *rest):
        read.append(ids.numel())
        return next_of(model, ids, *rest)

    monkeypatch.setattr(decoding, "_next", counted)
    alone = fresh(tmp_path, "alone", model_folder, asked)
    whole = sum(read)
    monkeypatch.setattr(decoding, "WORTH_SHARING", 20)
    assert fresh(tmp_path, "together", model_folder, asked) == alone
    assert sum(read) - whole < whole - 2 * len(begin.split())


def test_a_model_may_end_in_more_than_one_way(model_folder, tmp_path, store):
    asked = [Request(PROMPTS[0], temperature=0, max_tokens=12)]
    [row] = ask(teacher(model_folder), asked, store, "ask")
    other = shutil.copytree(model_folder, tmp_path / "other")
    tokenizer = AutoTokenizer.from_pretrained(other)
    ends = [
        tokenizer.eos_token_id,
        *tokenizer(row.text, add_special_tokens=False)["input_ids"][2:3],
    ]
    config = json.loads((other / "generation_config.json").read_text()) | {"eos_token_id": ends}
    (other / "generation_config.json").write_text(json.dumps(config))
    [short] = ask(teacher(other), asked, store, "ask")
    assert row.text.startswith(short.text) and len(short.text) < len(row.text)
    assert (short.finish_reason, short.completion_tokens) == ("stop", 3)


def test_a_model_without_an_end_writes_until_it_has_enough(model_folder, tmp_path, store):
    endless = shutil.copytree(model_folder, tmp_path / "endless")
    config = json.loads((endless / "generation_config.json").read_text()) | {"eos_token_id": None}
    (endless / "generation_config.json").write_text(json.dumps(config))
    [row] = ask(teacher(endless), [Request(PROMPTS[0], max_tokens=12)], store, "ask")
    assert (row.finish_reason, row.completion_tokens) == ("length", 12)


def test_a_draw_follows_the_softmax():
    logits = torch.tensor([0.1, 0.6, 0.3]).log().repeat(4000, 1)
    asked = [Request("?", temperature=1.0, seed=seed) for seed in range(4000)]
    draw = _Draw(asked, "anyone", "cpu")
    shares = draw(logits, torch.arange(4000), 0).bincount(minlength=3) / 4000
    assert torch.allclose(shares, torch.tensor([0.1, 0.6, 0.3]), atol=0.03)


def test_a_small_top_p_leaves_the_likeliest_word(model_folder, tmp_path):
    greedy = fresh(tmp_path, "greedy", model_folder, requests(temperature=0))
    narrow = fresh(tmp_path, "narrow", model_folder, requests(temperature=1.0, top_p=1e-6))
    assert narrow == greedy


def test_a_base_model_has_no_chat(model_folder, tmp_path, store):
    base = shutil.copytree(model_folder, tmp_path / "base")
    (base / "chat_template.jinja").unlink()
    [row, *_] = ask(teacher(base), requests(), store, "ask")
    assert row.prompt_tokens == len(PROMPTS[0].split())


@pytest.mark.parametrize("n", [0, 64, 500])
def test_a_prompt_that_the_model_cannot_read_is_named_before_any_is_completed(
    model_folder, tmp_path, store, n
):
    base = shutil.copytree(model_folder, tmp_path / "base")
    (base / "chat_template.jinja").unlink()
    asked = [Request(PROMPTS[0], max_tokens=1), Request(" ".join(["3"] * n), max_tokens=1)]
    with pytest.raises(BadPrompt, match=rf"has {n} tokens; .* reads from 1 to 63,"):
        ask(teacher(base), asked, store, "ask")
    assert list(store.rows()) == []


def test_the_longest_prompt_that_leaves_room_is_answered(model_folder, store):
    [row] = ask(teacher(model_folder), [Request("3 " * 59, max_tokens=1)], store, "ask")
    assert (row.prompt_tokens, row.completion_tokens) == (63, 1)


def test_what_is_stored_needs_no_model(model_folder, store, monkeypatch):
    rows = ask(teacher(model_folder), requests(), store, "ask")
    monkeypatch.setattr(LocalTeacher, "_loaded", None)
    assert ask(teacher(model_folder), requests(), store, "ask") == rows


def test_the_name_of_a_folder_shows_no_path_and_tells_models_apart(model_folder, tmp_path):
    copy = shutil.copytree(model_folder, tmp_path / "tiny-chat")
    name = teacher(model_folder).name
    assert name == teacher(copy).name and name.startswith("tiny-chat-") and "/" not in name
    (copy / "generation_config.json").write_text("{}")
    assert teacher(copy).name != name


def test_the_name_of_a_model_id_holds_the_commit_that_its_revision_means(monkeypatch):
    asked = []

    def config(source, revision, **_):  # what the hub says, or its cache on this machine
        asked.append((source, revision))
        return SimpleNamespace(_commit_hash="0123abcd")

    monkeypatch.setattr(AutoConfig, "from_pretrained", config)
    assert teacher("hf:some/model", revision="v2").name == "some/model@0123abcd"
    assert teacher("some/model").name == "some/model@0123abcd"
    assert asked == [("some/model", "v2"), ("some/model", "main")]


def test_other_weights_are_another_teacher(model_folder, tmp_path):
    trained = shutil.copytree(model_folder, tmp_path / model_folder.name)
    name, weights = teacher(trained).name, trained / "model.safetensors"
    assert name == teacher(model_folder).name
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert teacher(trained).name != name


def test_a_model_that_brings_code_is_refused_and_its_code_not_run(model_folder, tmp_path, store):
    trap = shutil.copytree(model_folder, tmp_path / "trap")
    ran = tmp_path / "ran"
    (trap / "modeling_trap.py").write_text(f"open({str(ran)!r}, 'w')")
    config = json.loads((trap / "config.json").read_text()) | {"model_type": "trap"}
    config["auto_map"] = dict.fromkeys(("AutoConfig", "AutoModelForCausalLM"), "modeling_trap.X")
    (trap / "config.json").write_text(json.dumps(config))
    with pytest.raises(NoModel, match="neither a folder with a model"):
        ask(teacher(trap), requests(), store, "ask")
    assert not ran.exists()


def test_a_missing_model_is_named(tmp_path, store, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(NoModel, match=r"teacher\.model='.*empty' is neither"):
        ask(teacher(empty), requests(), store, "ask")
