"""Rewards of the audition tasks as named terms."""

from __future__ import annotations

from typing import NamedTuple

from yacs.config import CfgNode


class RewardTerms(NamedTuple):
    """What a step earned, by reason."""

    step: float = 0.0
    turn: float = 0.0
    found: float = 0.0
    closest: float = 0.0
    progress: float = 0.0

    @property
    def total(self) -> float:
        """The reward: the sum of the terms."""
        return float(sum(self))


def reward_terms(
    weights: CfgNode, turned: bool, num_found: int, distance_m: float, progress_m: float
) -> RewardTerms:
    """Score a step.

    Args:
        weights: the section ``AUDITION.REWARD``.
        turned: whether the action was a turn.
        num_found: sources that this step turned off.
        distance_m: to the nearest source that still sounds, after the move; more than 0. Of no effect where the
            step found a source.
        progress_m: by how much the way to the nearest source has become shorter; the sources are those that
            sounded before the move.
    """
    return RewardTerms(
        step=weights.STEP,
        turn=weights.TURN if turned else 0.0,
        found=weights.FOUND * num_found,
        closest=0.0 if num_found else weights.CLOSEST / distance_m,
        progress=weights.PROGRESS * progress_m,
    )
