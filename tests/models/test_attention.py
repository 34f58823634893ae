import pytest
import torch
import torch.nn.functional as F

from homeroom.models import attention
from homeroom.models.attention import attend
from homeroom.models.transformer import document_mask


def parts(rows: int = 2, heads: int = 3, length: int = 24, width: int = 16):
    generator = torch.Generator().manual_seed(3)
    table = [torch.randn(rows, heads, length, width, generator=generator).bfloat16() for _ in range(4)]
    return [tensor.requires_grad_() for tensor in table[:3]], table[3]


@pytest.mark.parametrize("packed", [False, True])
def test_written_out_it_is_the_fused_kernel_and_its_gradient(packed, monkeypatch):
    leaves, upstream = parts()
    document_BT = (torch.arange(24) // 9).expand(2, 24)
    mask = document_mask(document_BT) if packed else None
    # Against float32, where no rounding stands between: bfloat16 keeps 8 bits.
    exact = [leaf.detach().float().requires_grad_() for leaf in leaves]
    expected = F.scaled_dot_product_attention(*exact, attn_mask=mask, is_causal=mask is None)
    wanted = torch.autograd.grad(expected, exact, upstream.float())
    for limit in (0, 2**24):  # torch's kernel, then ours
        monkeypatch.setattr(attention, "WRITTEN_OUT", limit)
        mixed = attend(*leaves, mask)
        assert mixed.dtype == torch.bfloat16
        torch.testing.assert_close(mixed.float(), expected, atol=0.03, rtol=0.03)
        for ours, theirs in zip(torch.autograd.grad(mixed, leaves, upstream), wanted, strict=True):
            assert (ours.float() - theirs).norm() < 0.01 * theirs.norm()


def test_it_is_written_out_where_that_is_faster_and_nowhere_else(monkeypatch):
    fused: list[tuple[int, ...]] = []
    kernel = F.scaled_dot_product_attention
    monkeypatch.setattr(
        F,
        "scaled_dot_product_attention",
        lambda query, *rest, **options: fused.append(tuple(query.shape)) or kernel(query, *rest, **options),
    )
    (query, key, value), _ = parts()
    attend(query, key, value, None)
    one, some_B1TS = query[:, :, -1:], torch.arange(24).expand(2, 1, 1, 24) < 20
    mixed = attend(one, key, value, some_B1TS)  # one token of an answer
    assert not fused
    expected = kernel(one.float(), key.float(), value.float(), attn_mask=some_B1TS)
    torch.testing.assert_close(mixed.float(), expected, atol=0.03, rtol=0.03)
    attend(query.float(), key.float(), value.float(), None)
    attend(query, key[:, :1], value[:, :1], None)  # grouped queries
    monkeypatch.setattr(attention, "WRITTEN_OUT", 2 * 3 * 24 * 24 - 1)
    attend(query, key, value, None)
    assert len(fused) == 3
