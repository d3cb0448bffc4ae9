"""Live responses at the poses of nodes against the stored ones: delay, level and reverberation of pairs.

Both are estimates from random rays, so they agree as far as two estimates do. What that means is measured beside
it, between two live estimates of the same pair.
"""

from __future__ import annotations

from typing import Callable, NamedTuple, Optional, Sequence

import numpy as np

from audio_separation.audio.stft import RATE
from audio_separation.envs.live.rirs import LiveRirs, Situation, apart, finished
from audio_separation.envs.live.scenes import HomeScene
from audio_separation.scenes.acoustics import Pose
from audio_separation.scenes.generate.acoustics import SOUND_SPEED_M_S, reverberation_time
from audio_separation.scenes.raycast import RayTriangles

EARLY_SAMPLES = 6  # around the expected arrival: the direct sound alone, before most reflections
LATE_SAMPLES = 6

Load = Callable[[int, int, int], np.ndarray]  # azimuth, receiver id, source id -> [2, L]


class Pair(NamedTuple):
    """A receiver with a heading and a source; nodes are ids (rows of points.txt)."""

    azimuth: int
    receiver: int
    source: int


class Measures(NamedTuple):
    """Of one response."""

    delay: Optional[int]  # samples to the peak of the direct sound; None where the source is out of sight
    direct_db: Optional[float]  # energy of the direct sound at both ears
    level_db: float  # of the whole response
    rt60_s: float  # nan where it does not decay far enough


class Agreement(NamedTuple):
    """Two sets of responses of the same P pairs.

    Attributes:
        delay_samples: difference of the direct delays ``[visible pairs]``.
        direct_db: difference of the direct levels ``[visible pairs]``.
        level_db: difference of the levels ``[P]``.
        rt60_ratio: ``[P]``, nan where one of them does not decay far enough.
    """

    delay_samples: np.ndarray
    direct_db: np.ndarray
    level_db: np.ndarray
    rt60_ratio: np.ndarray

    def rows(self) -> dict[str, dict[str, float]]:
        """Mean, median and largest deviation of each quantity, and over how many pairs."""
        return {
            "delay, samples": _summary(self.delay_samples, 0.0),
            "direct level, dB": _summary(self.direct_db, 0.0),
            "level, dB": _summary(self.level_db, 0.0),
            "RT60, ratio": _summary(self.rt60_ratio, 1.0),
        }


def draw_pairs(scene: HomeScene, count: int, rng: np.random.Generator) -> list[Pair]:
    """``count`` pairs of different nodes with headings, drawn evenly; sources where responses are stored."""
    nodes, sources = scene.graph.node_ids, scene.record["source_nodes"]
    pairs: list[Pair] = []
    while len(pairs) < count:
        receiver, source = int(rng.choice(nodes)), int(rng.choice(sources))
        if receiver != source:
            pairs.append(Pair(int(90 * rng.integers(4)), receiver, source))
    return pairs


def compare(scene: HomeScene, pairs: list[Pair], stored: Load) -> tuple[Agreement, Agreement]:
    """Stored responses against live ones, and live ones against others of the same poses.

    Args:
        scene: a home, whose settings are those it was made with (``LIVE.RAYS 0``).
        stored: gives a stored response.
    """
    rirs = LiveRirs({scene.name: scene})
    triangles = RayTriangles(scene.home_mesh.vertices, scene.home_mesh.faces)
    found = []
    for pair in pairs:
        here, there = (
            scene.graph.positions[scene.graph.index(node)] for node in (pair.receiver, pair.source)
        )
        situation = Situation(scene.name, tuple(here.tolist()), -pair.azimuth % 360, (tuple(there.tolist()),))
        live = rirs.load(scene.name, 0, rirs.number(situation), 0)
        up = np.array([0.0, scene.mic_height_m, 0.0])
        ears, mouth = here + up, apart(here + up, there + up)
        pose = Pose(ears, -pair.azimuth % 360)
        _, (again,) = scene.acoustics.responses([pose, pose], mouth[None])  # each listener has its own rays
        visible = not triangles.blocked(ears[None], mouth[None])[0]
        expected = float(np.linalg.norm(mouth - ears)) / SOUND_SPEED_M_S * RATE if visible else None
        found.append([measure(response, expected) for response in (stored(*pair), live, finished(again))])
    first, second, third = zip(*found)
    return _agreement(first, second), _agreement(second, third)


def measure(response: np.ndarray, expected: Optional[float]) -> Measures:
    """Measures of a response ``[2, L]``, whose direct sound is expected at this sample (None: out of sight)."""
    power = np.asarray(response, float) ** 2
    level, rt60 = _decibels(power.sum()), reverberation_time(response)
    if expected is None:
        return Measures(None, None, level, rt60)
    begin = max(0, round(expected) - EARLY_SAMPLES)
    direct = power[:, begin : round(expected) + LATE_SAMPLES]
    return Measures(begin + int(np.argmax(direct.max(0))), _decibels(direct.sum()), level, rt60)


def _decibels(energy: float) -> float:
    return 10 * float(np.log10(max(energy, 1e-20)))


def _agreement(first: Sequence[Measures], second: Sequence[Measures]) -> Agreement:
    both = list(zip(first, second))
    return Agreement(
        np.array([b.delay - a.delay for a, b in both if a.delay is not None and b.delay is not None], float),
        np.array(
            [
                b.direct_db - a.direct_db
                for a, b in both
                if a.direct_db is not None and b.direct_db is not None
            ]
        ),
        np.array([b.level_db - a.level_db for a, b in both]),
        np.array([b.rt60_s / a.rt60_s for a, b in both]),
    )


def _summary(values: np.ndarray, ideal: float) -> dict[str, float]:
    known = values[np.isfinite(values)]
    off = np.abs(known - ideal)
    return {
        "pairs": len(known),
        "mean": float(known.mean()) if len(known) else float("nan"),
        "median_deviation": float(np.median(off)) if len(known) else float("nan"),
        "largest_deviation": float(off.max()) if len(known) else float("nan"),
    }
