"""Rooms, episodes and sounds by hand, for the tests of the audition tasks."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from audio_separation.config import get_config
from audio_separation.envs.audition.episodes import AuditionEpisode
from audio_separation.envs.audition.rooms import RoomPlan

SQUARE = ((0.0, 0.0), (6.0, 0.0), (6.0, 6.0), (0.0, 6.0))
# the corner that points inwards is (3, 3), in the walkable part (2.7, 2.7)
ELL = ((0.0, 0.0), (6.0, 0.0), (6.0, 3.0), (3.0, 3.0), (3.0, 6.0), (0.0, 6.0))
HEXAGON = tuple((3 + 3 * np.cos(a).item(), 3 + 3 * np.sin(a).item()) for a in np.arange(6) * np.pi / 3)
SHAPES = {"shoebox": SQUARE, "polygon": HEXAGON, "l_shape": ELL}


class Hums:
    """Stands for Sounds: clips are ``<class>_<Hz>``, sines of one second."""

    def __init__(self, rate_hz: int = 8000) -> None:
        self.rate_hz = rate_hz
        self.names = ("a_200", "b_300", "c_400")

    def loop(self, clip: str) -> np.ndarray:
        hertz = int(clip.split("_")[1])
        return np.sin(2 * np.pi * hertz * np.arange(self.rate_hz) / self.rate_hz).astype(np.float32)

    def window(self, clip: str, first: int, length: int) -> np.ndarray:
        return self.loop(clip)[(first + np.arange(length)) % self.rate_hz]

    def draw(self, count: int, rng: np.random.Generator) -> tuple[str, ...]:
        return tuple(rng.permutation(self.names)[:count].tolist())


def settings(**changes: object):
    """The section AUDITION with ``changes``; a dot of a key is written as two underscores."""
    words = [str(w) for key, value in changes.items() for w in (f"AUDITION.{key.replace('__', '.')}", value)]
    return get_config(None, words).AUDITION


def room(shape: str = "shoebox", order: int = 0, height_m: float = 0.0, absorption: float = 0.36) -> RoomPlan:
    """A room of 6 x 6 metres."""
    return RoomPlan(shape, SHAPES[shape], height_m, absorption, "", order, 0.3)


def episode(
    sources: Sequence[Sequence[float]],
    start: Sequence[float],
    heading_deg: float = 0.0,
    plan: RoomPlan | None = None,
    clips: Sequence[str] = ("a_200", "b_300", "c_400"),
) -> AuditionEpisode:
    """An episode by hand."""
    count = len(sources)
    return AuditionEpisode(
        plan or room(),
        np.array(sources, float),
        np.array(start, float),
        heading_deg,
        tuple(clips[:count]),
        (0,) * count,
    )
