"""In-memory clips and responses for the renderer's tests."""

from __future__ import annotations

import numpy as np

from audio_separation.audio.rir_store import RirStore

RATE = 16000


class FakeClips:
    """Noise clips of different lengths by name; the last part of a second is there to be left out."""

    def __init__(self, seconds: dict[str, float], seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self._clips = {
            name: (rng.standard_normal(int(length * RATE)) * 3000).astype(np.int16)
            for name, length in seconds.items()
        }

    def samples(self, name: str) -> np.ndarray:
        return self._clips[name]


class FakeRirs(RirStore):
    """Decaying noise; ``lengths[source]`` samples, different for each (scene, azimuth, receiver)."""

    def __init__(self, lengths: list[int], rate: int = RATE) -> None:
        super().__init__(rate)
        self.lengths = lengths
        self.num_reads = 0

    def max_samples(self, scene: str) -> int:
        return max(self.lengths)

    def _read(self, scene: str, azimuth: int, receiver: int, source: int) -> np.ndarray:
        self.num_reads += 1
        length = self.lengths[source]
        rng = np.random.default_rng([len(scene), azimuth, receiver, source])
        envelope = np.exp(-3 * np.arange(length) / length)
        return (0.05 * envelope * rng.standard_normal((2, length))).astype(np.float32)
