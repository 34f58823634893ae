"""Products of a few rows, made the other way round: the same numbers, and only where that is allowed."""

import pytest
import torch
import torch.nn.functional as F

from homeroom.models.linear import FEW_ROWS, Linear, product


def other_way(y) -> bool:
    """Whether it lies in memory column by column."""
    return y.stride()[-1] != 1


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 8, 15, 16, 33, 64, 65])
@pytest.mark.parametrize("shape", [lambda n: (n,), lambda n: (1, n), lambda n: (n, 1)])
def test_a_product_is_the_same_either_way(rows, shape):
    x, weight = torch.randn(*shape(rows), 24), torch.randn(40, 24)
    with torch.inference_mode():
        made = product(x, weight)
    assert other_way(made) == (rows in FEW_ROWS)
    assert made.shape == (*shape(rows), 40)
    torch.testing.assert_close(made, F.linear(x, weight), rtol=1e-5, atol=1e-5)


def test_it_is_turned_only_in_float32_where_nothing_is_learned():
    layer, x = Linear(24, 40, bias=False), torch.randn(3, 24)
    with torch.no_grad():
        assert other_way(layer(x))
        with torch.autocast("cpu", torch.bfloat16):
            assert not other_way(layer(x))
            assert layer(x).dtype == torch.bfloat16
        assert not other_way(layer.double()(x.double()))
    learned = layer.float()(x)
    assert not other_way(learned)
    learned.sum().backward()
    assert layer.weight.grad is not None
    with torch.no_grad():
        biased = Linear(24, 40)
        torch.testing.assert_close(biased(x), x @ biased.weight.t() + biased.bias)
