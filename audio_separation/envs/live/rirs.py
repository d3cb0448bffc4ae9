"""Responses of any pose, computed when they are first asked for, in the form that the renderer takes them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Mapping, NamedTuple

import numpy as np

from audio_separation.audio.cache import ByteLru
from audio_separation.audio.rir_store import NUM_EARS, RirStore
from audio_separation.audio.stft import RATE
from audio_separation.envs.live.scenes import LiveScene
from audio_separation.scenes.acoustics import Pose
from audio_separation.scenes.generate.acoustics import GAIN, MAX_LENGTH_S, SAME_NODE_DROP_M, trim_tail

MOST_NUMBERED = 2**16  # situations that keep their number; an older one gets another when it comes back

Point = tuple[float, float, float]


class Situation(NamedTuple):
    """All that decides what one listener hears of its sources: places on the floor, and a heading in degrees."""

    scene: str
    position: Point
    rotation_deg: float
    sources: tuple[Point, ...]


class LiveRirs(RirStore):
    """Responses by situation: ``load(scene, 0, number, s)`` is that of source ``s`` in situation ``number``.

    The responses of a situation are simulated together, levelled and cut as those of generated homes are, and
    kept (at most ``cache_mb`` MiB): an agent that stands still, or comes back, costs nothing.

    Attributes:
        simulated: situations that were simulated.
    """

    def __init__(self, scenes: Mapping[str, LiveScene], cache_mb: float = 64) -> None:
        super().__init__(RATE)
        self._scenes = scenes
        self._numbers: OrderedDict[Situation, int] = OrderedDict()
        self._situations: dict[int, Situation] = {}
        self._next = 0
        self._cache: ByteLru[int, list[np.ndarray]] = ByteLru(int(cache_mb * 2**20))
        self.simulated = 0

    def number(self, situation: Situation) -> int:
        """The number of a situation; numbers are never used for another one."""
        if situation not in self._numbers:
            self._numbers[situation] = self._next
            self._situations[self._next] = situation
            self._next += 1
            if len(self._numbers) > MOST_NUMBERED:
                _, oldest = self._numbers.popitem(last=False)
                del self._situations[oldest]
        self._numbers.move_to_end(situation)
        return self._numbers[situation]

    def max_samples(self, scene: str) -> int:
        return int(MAX_LENGTH_S * RATE)

    def _read(self, scene: str, azimuth: int, receiver: int, source: int) -> np.ndarray:
        found = self._cache.get(receiver)
        if found is None:
            found = self._simulate(self._situations[receiver])
            self._cache.put(receiver, found, sum(rir.nbytes for rir in found))
        return found[source]

    def _simulate(self, situation: Situation) -> list[np.ndarray]:
        self.simulated += 1
        scene = self._scenes[situation.scene]
        up = np.array([0.0, scene.mic_height_m, 0.0])
        ears = np.array(situation.position) + up
        sources = np.stack([apart(ears, np.array(place) + up) for place in situation.sources])
        (found,) = scene.acoustics.responses([Pose(ears, situation.rotation_deg)], sources)
        return [finished(response) for response in found]


def apart(ears: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Where a source sounds from: lowered, where it would come nearer than SAME_NODE_DROP_M to the ears.

    At the listener's own place it sits straight below, as in generated homes, neither left nor ahead.
    """
    offset = source - ears
    if np.linalg.norm(offset) >= SAME_NODE_DROP_M:
        return source
    across = float(np.hypot(offset[0], offset[2]))
    return np.array([source[0], ears[1] - np.sqrt(SAME_NODE_DROP_M**2 - across**2), source[2]])


def finished(response: np.ndarray) -> np.ndarray:
    """A simulated response ``[2, L]``, levelled and cut as the homes' stored ones are."""
    if response.shape[1] == 0:  # nothing arrives
        return np.zeros((NUM_EARS, 1), np.float32)
    return np.ascontiguousarray(trim_tail(GAIN * response), dtype=np.float32)
