"""The closed-form synthesizers played piece by piece, without a break of phase, as a live synthesizer must.

A period's parameters are glided to over its first ``RAMP_SECONDS``, in a line, and phases go on; so the pieces are what
:meth:`audio_separation.audio.synths.ClosedFormSynth.render_path` gives for the whole, and there are no clicks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import numpy as np

from audio_separation.audio.synths import (
    PARAMS,
    RAMP_SECONDS,
    Grains,
    check_params,
    fm_frequencies,
    glide,
    make_synth,
    nearest,
    phase_of,
    read_source,
)


class StreamingSynth:
    """A synthesizer that goes on from piece to piece.

    Args:
        name: ``sine``, ``fm3``, ``fm4`` or ``granular``.
        rate_hz: of the sound.
        source: sound file for granular.

    Raises:
        UserError: as :func:`audio_separation.audio.synths.make_synth`.
    """

    def __init__(self, name: str, rate_hz: int, source: Optional[Path] = None):
        make_synth(name, rate_hz, source)  # refuses what there is not
        self.name, self.rate_hz, self.num_params = name, rate_hz, len(PARAMS[name])
        self._last: Optional[np.ndarray] = None
        self._turns = [0.0, 0.0]  # of the modulator and the carrier
        self._source = read_source(source, rate_hz) if name == "granular" else np.zeros(0)
        self._tail = np.zeros(0)  # of grains that sound on
        self._next_grain = 0.0  # samples after the beginning of the next piece

    def play(self, params: np.ndarray, length: int) -> np.ndarray:
        """The next ``length`` samples, with ``params`` ``[P]``: float32 ``[length]``.

        Raises:
            UserError: for parameters outside [0, 1].
        """
        values = check_params(params, self.num_params, self.name)
        before = values if self._last is None else self._last
        ramp = min(length, round(RAMP_SECONDS * self.rate_hz))
        moving = glide(np.stack([before, values]), length, ramp)[:, length:]
        self._last = values
        if self.name == "granular":
            return self._grains(moving, length).astype(np.float32)
        if self.name == "sine":
            return (moving[1] * self._oscillate(0, 20.0 + 2500.0 * moving[0], length)).astype(np.float32)
        carrier_hz, modulator_hz, deviation_hz = fm_frequencies(moving)
        modulator = self._oscillate(0, modulator_hz, length)
        wave = self._oscillate(1, carrier_hz + deviation_hz * modulator, length)
        return (wave * moving[3] if self.num_params == 4 else wave).astype(np.float32)

    def _oscillate(self, which: int, freq_hz: np.ndarray, length: int) -> np.ndarray:
        turns = self._turns[which] + phase_of(freq_hz, length, self.rate_hz)
        if length:
            self._turns[which] = (turns[-1] + freq_hz[-1] / self.rate_hz) % 1.0
        return np.cos(2 * np.pi * turns)

    def _grains(self, moving: np.ndarray, length: int) -> np.ndarray:
        wave = np.zeros(max(length, len(self._tail)))
        wave[: len(self._tail)] += self._tail
        while nearest(self._next_grain) < length:
            first = nearest(self._next_grain)
            grains = Grains(moving[:, first], len(self._source), self.rate_hz)
            grain = grains.wave(self._source)
            if first + len(grain) > len(wave):
                wave = np.concatenate([wave, np.zeros(first + len(grain) - len(wave))])
            wave[first : first + len(grain)] += grain
            self._next_grain += self.rate_hz / grains.density_hz
        self._next_grain -= length
        self._tail = wave[length:]
        return wave[:length]
