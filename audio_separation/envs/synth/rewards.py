"""How like the target the agent sounds: a weighted distance of descriptors, and what reward is made of it.

The shapes are those of the published system (Madaghiele and Fasciani, AIMC 2024).
"""

from __future__ import annotations

import numpy as np

PRIZE_RMSE = 0.1  # below which the prize is won
PRIZE = 10.0


def weighted_rmse(agent: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Root of the weighted mean square of the difference of standardised descriptors.

    Args:
        agent: ``[..., D]``.
        target: ``[..., D]``.
        weights: ``[D]``, not all of them 0.

    Returns:
        ``[...]``.
    """
    return np.sqrt(((target - agent) ** 2 * weights).sum(-1) / weights.sum())


def noisy_rmse(rmse: float, weights: np.ndarray, noise: float, rng: np.random.Generator) -> float:
    """``rmse`` with one descriptor more, of weight ``noise``, that is a random number of [0, 1] on both sides."""
    if not noise:
        return rmse
    total = weights.sum()
    difference = rng.random() - rng.random()
    return float(np.sqrt((rmse**2 * total + noise * difference**2) / (total + noise)))


def shape_reward(rmse: float, shape: str) -> float:
    """The reward for a distance.

    ``linear``: 1 - rmse. ``cubic``: 8 (1/2 - rmse)^3, bounded to [-1, 1] by counting no distance beyond 1.
    ``cubic+prize``: half of that, and ``PRIZE`` within ``PRIZE_RMSE``. ``prize``: plus or minus ``PRIZE``.
    """
    if shape == "linear":
        return 1.0 - rmse
    if shape == "prize":
        return PRIZE if rmse <= PRIZE_RMSE else -PRIZE
    cubic = 8.0 * (0.5 - min(rmse, 1.0)) ** 3
    if shape == "cubic":
        return cubic
    if shape == "cubic+prize":
        return 0.5 * cubic + (PRIZE if rmse <= PRIZE_RMSE else 0.0)
    raise ValueError(f"shape {shape!r}")
