"""What the agent's synthesizer sounds like: descriptors for parameters, and parameters for descriptors."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import numpy as np
from scipy.spatial import cKDTree
from yacs.config import CfgNode

from audio_separation.audio.descriptors import HOP, WINDOW, describe
from audio_separation.audio.synths import Synth, make_synth
from audio_separation.envs.synth.space import SoundSpace
from audio_separation.envs.synth.table import LookupTable
from audio_separation.errors import UserError


def build_synth(config: CfgNode, num_params: int) -> Synth:
    """The synthesizer of the section SYNTH, with the back end that it names.

    Args:
        num_params: P; of a patch of one's own it is not known otherwise.

    Raises:
        UserError: for an unknown name, a patch or a source that cannot be used, or no Pure Data.
    """
    synth = config.SYNTH
    source = Path(synth.SOURCE) if synth.SOURCE else None
    if synth.BACKEND == "numpy":
        if synth.PATCH:
            raise UserError(
                f"SYNTH.PATCH is {synth.PATCH}, which only Pure Data can play; set SYNTH.BACKEND pd, or leave it empty"
            )
        return make_synth(synth.NAME, synth.RATE, source)
    # imported when asked for: it looks for the program
    from audio_separation.audio.puredata.render import PdSynth

    patch = Path(synth.PATCH) if synth.PATCH else None
    return PdSynth(synth.NAME, num_params, patch=patch, rate_hz=synth.RATE, source=source)


class Instrument:
    """Scaled descriptors of the synthesizer's sound.

    Args:
        table: of the synthesizer.
        space: that its rows are scaled in.
        lookup: ``nearest`` row, or ``linear`` between the rows of a full grid.
        synth: renders the sound itself instead; then the table serves :meth:`nearest_params` alone.
        frames: of the analysis, averaged (with ``synth``).

    Raises:
        UserError: ``linear`` over rows that are no full grid.
    """

    def __init__(
        self,
        table: LookupTable,
        space: SoundSpace,
        lookup: str = "nearest",
        synth: Optional[Synth] = None,
        frames: int = 4,
    ):
        self.num_params = table.num_params
        self._params, self._space, self._synth, self._frames = table.params, space, synth, frames
        # a published table does not say what its frames were
        self.window, self.hop = table.settings.get("window", WINDOW), table.settings.get("hop", HOP)
        self.rows = space.scaler(space.rows)  # [R, D]
        self._grid = table.grid()
        self._linear = lookup == "linear"
        if self._linear and self._grid is None:
            raise UserError(
                "SYNTH.LOOKUP linear needs a lookup table whose rows are a full grid of parameters; use nearest"
            )
        self._by_params = None if self._grid is not None else cKDTree(table.params)
        self._by_sound = cKDTree(self.rows * np.sqrt(space.weights))

    def sound(self, params: np.ndarray) -> np.ndarray:
        """Scaled descriptors ``[D]`` of the sound of ``params`` ``[P]``."""
        if self._synth is not None:
            return self._heard(params)
        if self._linear:
            return self._between(params)
        return self.rows[self._row_of(params)]

    def nearest_params(self, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Parameters ``[P]`` and descriptors ``[D]`` of the row most like ``target`` ``[D]``, as weighted."""
        row = int(self._by_sound.query(target * np.sqrt(self._space.weights))[1])
        return self._params[row], self.rows[row]

    def _row_of(self, params: np.ndarray) -> int:
        if self._grid is None:
            assert self._by_params is not None
            return int(self._by_params.query(params)[1])
        row = 0
        for value, axis in zip(params, self._grid):
            row = row * len(axis) + int(np.abs(axis - value).argmin())
        return row

    def _between(self, params: np.ndarray) -> np.ndarray:
        # the 2^P rows around params, each with the product of its weights along the axes
        assert self._grid is not None
        rows, weights = np.zeros(1, int), np.ones(1)
        for value, axis in zip(params, self._grid):
            if len(axis) == 1:  # nothing to go between
                continue
            low = int(np.clip(np.searchsorted(axis, value, "right") - 1, 0, len(axis) - 2))
            part = float(np.clip((value - axis[low]) / (axis[low + 1] - axis[low]), 0.0, 1.0))
            rows = (rows[:, None] * len(axis) + [low, low + 1]).ravel()
            weights = (weights[:, None] * [1 - part, part]).ravel()
        return (weights @ self.rows[rows]).astype(np.float32)

    def _heard(self, params: np.ndarray) -> np.ndarray:
        assert self._synth is not None
        window, hop = self.window, self.hop
        # as in the table, the first window is left out: it holds the onset
        length = 2 * window + (self._frames - 1) * hop
        wave = self._synth.render(params, length / self._synth.rate_hz)[window:]
        return self._space.place(describe(wave, self._synth.rate_hz, window, hop).mean(0))
