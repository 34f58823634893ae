"""Learning-rate schedules as pure functions of the step: nothing to save, nothing to restore."""


def warmup_stable_decay(step: int, total: int, *, warmup: int, decay: int, floor: float = 0.0) -> float:
    """The multiplier at `step` (0-based): linear up, flat, linear down to `floor` (Hu et al. 2024, MiniCPM, eq. 1).

    >>> [round(warmup_stable_decay(s, 10, warmup=2, decay=4), 2) for s in range(10)]
    [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    rise = (step + 1) / warmup if step < warmup else 1.0
    left = (total - step) / decay if decay else 1.0
    return min(rise, floor + (1 - floor) * min(1.0, left))
