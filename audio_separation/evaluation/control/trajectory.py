"""What is kept of an episode while it is played."""

from __future__ import annotations

from typing import Any, NamedTuple


class Trajectory(NamedTuple):
    """An episode.

    Attributes:
        number: in its split.
        infos: of the environment, from the reset on: one more than actions.
        actions: as they were taken.
        rewards: of each action.
    """

    number: int
    infos: list[dict[str, Any]]
    actions: list[Any]
    rewards: list[float]
