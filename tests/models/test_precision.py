import torch

from homeroom.models.precision import Peak, measure_peak


def test_autocast_has_to_win_clearly():
    assert Peak(1e9, 1.4e9).fastest == torch.float32
    assert Peak(1e9, 1.6e9).fastest == torch.bfloat16
    assert Peak(1e9, 2e9).of(torch.bfloat16) == 2e9
    assert Peak(1e9, 2e9).of(torch.float32) == 1e9


def test_this_machine_multiplies():
    peak = measure_peak(size=64, seconds=0.01)
    assert min(peak.float32, peak.bfloat16) > 1e6
    assert measure_peak(size=64, seconds=0.01) is peak  # once a process
