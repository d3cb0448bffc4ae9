"""The space in which sounds are compared: chosen descriptors, standardised by the lookup table, clipped."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Sequence

import numpy as np
from yacs.config import CfgNode

from audio_separation.audio.descriptors import CATEGORIES, columns, expand
from audio_separation.config.default import key_origin
from audio_separation.envs.synth.table import LookupTable
from audio_separation.errors import UserError


class Scaler(NamedTuple):
    """Standardisation by mean and scale, then clipping.

    Attributes:
        mean: ``[D]``.
        scale: ``[D]``, positive.
        clip: largest magnitude.
    """

    mean: np.ndarray
    scale: np.ndarray
    clip: float

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """``[..., D]`` -> float32 ``[..., D]`` in [-clip, clip]."""
        return np.clip((values - self.mean) / self.scale, -self.clip, self.clip).astype(np.float32)

    def plain(self) -> dict[str, Any]:
        """As plain data, for a bundle."""
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist(), "clip": self.clip}

    @classmethod
    def of(cls, values: np.ndarray, clip: float) -> Scaler:
        """By the rows of ``values`` ``[R, D]``; what never varies is left as it is."""
        scale = values.std(0)
        # rounding leaves a trace of variation in a column that has none
        constant = scale <= 1e-9 * np.abs(values).max(0)
        return cls(values.mean(0), np.where(constant, 1.0, scale), clip)

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> Scaler:
        """What :meth:`plain` gave."""
        return cls(np.array(content["mean"]), np.array(content["scale"]), float(content["clip"]))


class SoundSpace:
    """Which descriptors are observed and compared, and how they are scaled.

    Args:
        config: the section SYNTH says which.
        table: whose rows are the standard.

    Raises:
        UserError: for unknown descriptors, compared ones that are not observed, or weights that do not fit.
    """

    def __init__(self, config: CfgNode, table: LookupTable):
        synth = config.SYNTH
        self.names = _expand(config, "FEATURES")
        self._columns = columns(self.names)
        _expand(config, "REWARD_FEATURES")  # refuses unknown words
        self.weights = _weights(self.names, synth.REWARD_FEATURES, synth.REWARD_WEIGHTS)
        lacking = [name for name in self.names if name not in table.names]
        if lacking:
            raise UserError(
                f"SYNTH.FEATURES asks for {', '.join(lacking[:3])}, which the lookup table does not have; leave them "
                "out, or make the table anew: python scripts/compute_lookup.py"
            )
        self.rows = table.features[:, [table.names.index(name) for name in self.names]]
        self.scaler = Scaler.of(self.rows, synth.CLIP)
        self.params_scaler = Scaler.of(table.params, synth.CLIP)

    def plain(self) -> dict[str, Any]:
        """As plain data, for a bundle."""
        return {
            "names": list(self.names),
            "weights": self.weights.tolist(),
            "scaler": self.scaler.plain(),
            "params_scaler": self.params_scaler.plain(),
        }

    @property
    def size(self) -> int:
        """D, of the observed descriptors."""
        return len(self.names)

    def place(self, described: np.ndarray) -> np.ndarray:
        """Scaled observed descriptors of what ``describe`` gives: ``[..., all]`` -> float32 ``[..., D]``."""
        return self.scaler(described[..., self._columns])


def _expand(config: CfgNode, key: str) -> list[str]:
    """The columns that a key of the section lists."""
    words, where = config.SYNTH[key], key_origin(config, f"SYNTH.{key}")
    if not all(isinstance(word, str) for word in words):
        raise UserError(f"{where} must list names of descriptors such as mfcc-0 or mfcc, found {words!r}")
    return expand(words, where)


def _weights(names: Sequence[str], compared: Sequence[str], weights: Sequence[float]) -> np.ndarray:
    """Weight ``[D]`` of each observed descriptor; 0 of those that are not compared."""
    if weights and len(weights) != len(compared):
        raise UserError(
            f"SYNTH.REWARD_WEIGHTS has {len(weights)} numbers for {len(compared)} words of SYNTH.REWARD_FEATURES "
            f"({', '.join(map(str, compared))}); give one each, or leave it empty"
        )
    found = dict.fromkeys(names, 0.0)
    for word, weight in zip(compared, weights or [1.0] * len(compared)):
        # not-a-number is in no range
        if type(weight) not in (int, float) or not 0 <= weight < np.inf:
            raise UserError(f"SYNTH.REWARD_WEIGHTS must be finite numbers from 0 on, found {weight!r}")
        for name in CATEGORIES.get(word, (word,)):
            if name not in found:
                raise UserError(
                    f"SYNTH.REWARD_FEATURES compares {name}, which SYNTH.FEATURES does not observe; add it there"
                )
            found[name] = float(weight)
    if not any(found.values()):
        raise UserError(
            "SYNTH.REWARD_FEATURES compares nothing; name at least one descriptor with a weight above 0"
        )
    return np.array([found[name] for name in names])
