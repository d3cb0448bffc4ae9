"""Sound that arrives in numbered blocks, some of which may be lost, and its descriptors."""

from __future__ import annotations

import math
from typing import Optional

import numpy as np

from audio_separation.audio.descriptors import describe
from audio_separation.live.osc import SEQUENCE, ahead


class BlockStream:
    """The newest blocks of a sound.

    Descriptors are those of the newest frames that no lost block touches, so a lost block delays them and does no more:
    until the next whole frame the last ones stand.

    Args:
        rate_hz, window, hop: of the analysis; a block has ``hop`` samples.
        frames: that a description is the mean of, where so many are there.

    Attributes:
        lost: blocks that have not arrived although later ones have.
        reordered: blocks that came after a later one, in time to be used.
        repeated: blocks that came again, or too late.
        stale: descriptions that had to repeat the one before.
    """

    def __init__(self, rate_hz: int, window: int, hop: int, frames: int):
        self._rate_hz, self._window, self._hop, self._frames = rate_hz, window, hop, frames
        self._room = math.ceil((window + (frames - 1) * hop) / hop)
        self._blocks: dict[int, np.ndarray] = {}
        self._newest: Optional[int] = None
        self._described: Optional[int] = None
        self._features: Optional[np.ndarray] = None
        self.lost = self.reordered = self.repeated = self.stale = 0

    def put(self, number: int, samples: np.ndarray) -> None:
        """Take a block ``[hop]``; ``number`` counts from 0 to ``SEQUENCE - 1`` and begins again."""
        if self._newest is None:
            self._newest = number
            self._blocks[number] = samples
            return
        step = ahead(number, self._newest)
        if step > 0:
            self.lost += step - 1
            self._newest = number
            self._blocks[number] = samples
            for old in [n for n in self._blocks if ahead(number, n) >= self._room]:
                del self._blocks[old]
        elif number in self._blocks or -step >= self._room:
            self.repeated += 1
        else:
            self.lost -= 1
            self.reordered += 1
            self._blocks[number] = samples

    def features(self) -> Optional[np.ndarray]:
        """Mean descriptors ``[D]`` of the newest frames; None before the first whole frame."""
        wave = self._newest_run()
        if len(wave) < self._window or self._newest == self._described:
            if self._features is not None:
                self.stale += 1
            return self._features
        frames = min(self._frames, 1 + (len(wave) - self._window) // self._hop)
        wave = wave[len(wave) - self._window - (frames - 1) * self._hop :]
        self._features = describe(wave, self._rate_hz, self._window, self._hop).mean(0)
        self._described = self._newest
        return self._features

    def _newest_run(self) -> np.ndarray:
        run: list[np.ndarray] = []
        number = self._newest
        while number is not None and number in self._blocks:
            run.append(self._blocks[number])
            number = (number - 1) % SEQUENCE
        return np.concatenate(run[::-1]) if run else np.zeros(0)
