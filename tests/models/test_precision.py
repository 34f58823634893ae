import torch

from homeroom.models.precision import Peak, measure_peak, products_dtype, products_in, resolve_precision


def test_autocast_has_to_win_clearly():
    assert Peak(1e9, 1.4e9).fastest == torch.float32
    assert Peak(1e9, 1.6e9).fastest == torch.bfloat16
    assert Peak(1e9, 2e9).of(torch.bfloat16) == 2e9
    assert Peak(1e9, 2e9).of(torch.float32) == 1e9


def test_this_machine_multiplies():
    peak = measure_peak(size=64, seconds=0.01)
    assert min(peak.float32, peak.bfloat16) > 1e6
    assert measure_peak(size=64, seconds=0.01) is peak  # once a process


def test_a_format_is_asked_for_by_name():
    model = torch.nn.Linear(1, 1)
    assert resolve_precision("float32", model) == torch.float32
    assert resolve_precision("bfloat16", model) == torch.bfloat16
    assert resolve_precision("auto", model) == measure_peak().fastest


def test_products_are_in_the_format_of_the_innermost_context():
    table = torch.ones(3, 3)
    assert products_dtype(table) == (table @ table).dtype == torch.float32
    assert products_dtype(table.double()) == torch.float64
    with products_in(torch.bfloat16):
        assert products_dtype(table) == (table @ table).dtype == torch.bfloat16
        with products_in(torch.float32):
            assert products_dtype(table) == (table @ table).dtype == torch.float32
