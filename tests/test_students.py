import pytest
import torch

from editlib import profiles, students
from editlib.students import merged
from tests.conftest import tiny_llama

WHOLE = profiles.load("smoke", ["student.lora=null"]).student


def weights(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@torch.no_grad()
def test_a_merged_student_says_the_same_and_comes_back_bit_for_bit(tiny, tok):
    ids = tok("5 minus 2 is 3 .", return_tensors="pt")["input_ids"]
    tiny.eval()
    apart, before = tiny(ids).logits, weights(tiny)
    with merged(tiny):
        inside = weights(tiny)
        assert torch.allclose(tiny(ids).logits, apart, atol=1e-5)
    assert any(not torch.equal(inside[name], before[name]) for name in before)
    assert same(weights(tiny), before)
    assert torch.equal(tiny(ids).logits, apart)


def test_without_an_adapter_there_is_nothing_to_merge(tok):
    model = tiny_llama(len(tok))
    before = weights(model)
    with merged(model) as inside:
        assert inside is model and same(weights(model), before)
    assert same(weights(model), before)


@pytest.mark.parametrize("seed", [0, 1])
def test_without_lora_a_student_begins_as_a_copy_of_the_base_and_all_of_it_learns(seed):
    base, student = students.load_base(WHOLE), students.fresh(WHOLE, seed)
    assert same(weights(student), weights(base))
    assert all(p.requires_grad and p.dtype == torch.float32 for p in student.parameters())
    with torch.no_grad():
        for weight in student.parameters():
            weight.add_(1.0)
    assert same(weights(students.fresh(WHOLE, seed)), weights(base))


@pytest.mark.parametrize("trainable", [True, False])
def test_a_whole_student_comes_back_as_it_was_saved(tmp_path, trainable):
    student = students.fresh(WHOLE, 0)
    with torch.no_grad():
        for weight in student.parameters():
            weight.add_(torch.randn_like(weight))
    student.save_pretrained(tmp_path)
    loaded = students.load(WHOLE, tmp_path, trainable)
    assert same(weights(loaded), weights(student)) and loaded.config.tie_word_embeddings
    ids = torch.arange(9)[None]
    assert torch.equal(loaded(ids).logits, student(ids).logits)


@pytest.mark.parametrize("settings", [WHOLE, profiles.load("smoke").student], ids=["all", "LoRA"])
def test_a_folder_without_a_student_is_named(tmp_path, settings):
    with pytest.raises(students.NoStudent, match=f"{tmp_path} holds no usable student: .* Delete"):
        students.load(settings, tmp_path)


@pytest.mark.parametrize("settings", [WHOLE, profiles.load("smoke").student], ids=["all", "LoRA"])
def test_weights_cut_short_are_named(tmp_path, settings):
    students.fresh(settings, 0).save_pretrained(tmp_path)
    [weights] = tmp_path.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(students.NoStudent, match=f"{tmp_path} holds no usable student: .* Delete"):
        students.load(settings, tmp_path)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_a_gpu_computes_in_what_the_profile_says_and_a_processor_in_float32(monkeypatch, dtype):
    student = profiles.load("smoke", [f"student.dtype={dtype}"]).student
    assert students.dtype(student) is torch.float32
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert students.dtype(student) is getattr(torch, dtype)
