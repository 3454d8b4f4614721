import torch

from editlib.students import merged


def weights(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


@torch.no_grad()
def test_a_merged_student_says_the_same_and_comes_back_bit_for_bit(tiny, tok):
    ids = tok("5 minus 2 is 3 .", return_tensors="pt")["input_ids"]
    tiny.eval()
    apart, before = tiny(ids).logits, weights(tiny)
    with merged(tiny):
        inside = weights(tiny)
        assert torch.allclose(tiny(ids).logits, apart, atol=1e-5)
    assert any(not torch.equal(inside[name], before[name]) for name in before)
    assert all(torch.equal(weight, before[name]) for name, weight in weights(tiny).items())
    assert torch.equal(tiny(ids).logits, apart)
