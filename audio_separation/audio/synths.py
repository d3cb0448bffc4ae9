"""The synthesizers of the listening agent in closed form: parameters in [0, 1] become sound.

The formulas are those of the published Pure Data patches (Madaghiele and Fasciani, AIMC 2024); ``audio/puredata`` plays
the same ones in Pure Data. Every oscillator is a cosine that starts at phase 0, as Pure Data's ``osc~``.
"""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Optional, Protocol

import numpy as np
from numpy.typing import ArrayLike

from audio_separation.audio.soundfiles import read_mono, resample
from audio_separation.errors import UserError

RATE = 44100  # Hz
SOURCE_SECONDS = 4.0  # of the granular synthesizer's generated source
RAMP_SECONDS = 0.005  # in which moving parameters reach their next values
# of a grain, from parameter 0 to 1, as a square: short ones can be told apart
GRAIN_SECONDS = (0.01, 0.5)


class Synth(Protocol):
    """What every back end offers."""

    name: str
    rate_hz: int
    param_names: tuple[str, ...]

    @property
    def num_params(self) -> int:
        """P."""

    def render(self, params: np.ndarray, seconds: float) -> np.ndarray:
        """Sound of ``params`` ``[P]`` from phase 0: float32 ``[L]``.

        Raises:
            UserError: for another number of parameters or one outside [0, 1].
        """

    def render_path(self, path: np.ndarray, period: int) -> np.ndarray:
        """Sound of parameters ``[T, P]`` that move every ``period`` samples: float32 ``[T period]``.

        Raises:
            UserError: as :meth:`render`.
        """

    def describe(self) -> dict[str, Any]:
        """Plain data that its sound follows from, for the identity of what is computed with it."""


def check_params(params: ArrayLike, count: int, name: str) -> np.ndarray:
    """``params`` as float64 ``[P]``.

    Raises:
        UserError: for another number than ``count``, or a value outside [0, 1].
    """
    values = np.asarray(params, np.float64)
    if values.shape != (count,):
        raise UserError(
            f"synthesizer {name} takes {count} parameters, found an array of shape {values.shape}; give {count} "
            "numbers in [0, 1]"
        )
    if not ((values >= 0) & (values <= 1)).all():  # not-a-number fails both
        raise UserError(
            f"parameters of synthesizer {name} must lie in [0, 1], found {values.tolist()}; clip or rescale them"
        )
    return values


class ClosedFormSynth:
    """A formula of the parameters and the time.

    Args:
        name: of the synthesizer.
        param_names: of its parameters.
        rate_hz: of the sound.
        formula: (params, number of samples, rate) -> samples.
        source: sound that the formula reads (granular), for :meth:`describe`.
    """

    def __init__(
        self,
        name: str,
        param_names: tuple[str, ...],
        rate_hz: int,
        formula: Callable[[np.ndarray, int, int], np.ndarray],
        source: Optional[np.ndarray] = None,
    ):
        self.name, self.param_names, self.rate_hz = name, param_names, rate_hz
        self._formula, self._source = formula, source

    @property
    def num_params(self) -> int:
        return len(self.param_names)

    def render(self, params: np.ndarray, seconds: float) -> np.ndarray:
        values = check_params(params, self.num_params, self.name)
        return self._formula(values, round(seconds * self.rate_hz), self.rate_hz).astype(np.float32)

    def render_path(self, path: np.ndarray, period: int) -> np.ndarray:
        """Sound of parameters that move from period to period, without a break of phase: float32 ``[T period]``.

        Args:
            path: ``[T, P]``.
            period: samples; its first ``RAMP_SECONDS`` are the way from the parameters before.
        """
        for values in path:
            check_params(values, self.num_params, self.name)
        moving = glide(np.asarray(path, np.float64), period, min(period, round(RAMP_SECONDS * self.rate_hz)))
        return self._formula(moving, moving.shape[1], self.rate_hz).astype(np.float32)

    def describe(self) -> dict[str, Any]:
        source = "" if self._source is None else hashlib.sha256(self._source.tobytes()).hexdigest()
        return {"synth": self.name, "backend": "numpy", "rate_hz": self.rate_hz, "source": source}


# ---- formulas: of parameters [P], or of parameters that change, [P, L] -----------------------------------
def phase_of(freq_hz: ArrayLike, length: int, rate_hz: int) -> np.ndarray:
    """Phase in turns before each of ``length`` samples of an oscillator: ``osc~``'s accumulator of ``freq_hz``."""
    turns = np.cumsum(np.broadcast_to(np.asarray(freq_hz, np.float64), (length,))) / rate_hz
    return np.concatenate([[0.0], turns[:-1]])[:length]


def sine(params: np.ndarray, length: int, rate_hz: int) -> np.ndarray:
    """``p1 cos(2 pi f t)`` with f = 20 + 2500 p0."""
    return params[1] * np.cos(2 * np.pi * phase_of(20.0 + 2500.0 * params[0], length, rate_hz))


def fm_frequencies(params: np.ndarray) -> tuple[Any, Any, Any]:
    """Carrier, modulator and deviation in Hz of the FM synthesizers."""
    carrier_hz = 400.0 * (1.0 + params[0])
    modulator_hz = 5.0 * params[1] * carrier_hz
    return carrier_hz, modulator_hz, 5.0 * params[2] * modulator_hz


def fm(params: np.ndarray, length: int, rate_hz: int) -> np.ndarray:
    """Frequency modulation; a fourth parameter is the amplitude."""
    carrier_hz, modulator_hz, deviation_hz = fm_frequencies(params)
    modulator = np.cos(2 * np.pi * phase_of(modulator_hz, length, rate_hz))
    wave = np.cos(2 * np.pi * phase_of(carrier_hz + deviation_hz * modulator, length, rate_hz))
    return wave * params[3] if len(params) == 4 else wave


def nearest(value: float) -> int:
    """The nearest whole number, halves upwards, as in the patch; Python's ``round`` takes the even one."""
    return math.floor(value + 0.5)


class Grains:
    """How the granular synthesizer plays: what its four parameters mean for a source of ``length`` samples.

    Grain n begins at the sample nearest to ``n rate / density``. It reads the source from ``start`` on, ``pitch``
    samples for each of its own, wrapping round, interpolated linearly, under a Hann window of ``grain`` samples,
    divided by the root of how many sound at once, where that is more than one. Parameters that change count where a
    grain begins.
    """

    def __init__(self, params: np.ndarray, length: int, rate_hz: int):
        shortest, longest = GRAIN_SECONDS
        self.density_hz = 1.0 + 39.0 * params[0]
        self.start = nearest(params[1] * (length - 1))
        self.grain = max(2, nearest((shortest + (longest - shortest) * params[2] ** 2) * rate_hz))
        self.pitch = 0.1 + 1.9 * params[3]
        self.gain = 1.0 / np.sqrt(max(1.0, self.density_hz * self.grain / rate_hz))

    def wave(self, source: np.ndarray) -> np.ndarray:
        """One grain of ``source``, ``[grain]``."""
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.grain) / self.grain)
        places = self.start + self.pitch * np.arange(self.grain)
        whole = np.floor(places).astype(int)
        part, size = places - whole, len(source)
        return self.gain * window * ((1 - part) * source[whole % size] + part * source[(whole + 1) % size])


def granular(source: np.ndarray, params: np.ndarray, length: int, rate_hz: int) -> np.ndarray:
    """Grains of ``source``, see :class:`Grains`."""
    wave = np.zeros(length)
    begin = 0.0
    grain, made_of = np.zeros(0), None
    while nearest(begin) < length:
        first = nearest(begin)
        now = params if params.ndim == 1 else params[:, first]
        if made_of is None or not np.array_equal(now, made_of):
            grains = Grains(now, len(source), rate_hz)
            grain, made_of = grains.wave(source), now
        end = min(length, first + len(grain))
        wave[first:end] += grain[: end - first]
        begin += rate_hz / grains.density_hz
    return wave


def glide(path: np.ndarray, period: int, ramp: int) -> np.ndarray:
    """Parameters ``[P, T period]`` that are ``path[t]`` in period t, reached over its first ``ramp`` samples.

    Args:
        path: ``[T, P]``.
    """
    held = np.repeat(path.T, period, 1)
    rise = np.arange(1, ramp + 1) / ramp
    for step in range(1, len(path)):
        before, after = path[step - 1][:, None], path[step][:, None]
        held[:, step * period : step * period + ramp] = before + (after - before) * rise
    return held


@lru_cache(maxsize=2)
def generated_source(rate_hz: int) -> np.ndarray:
    """Eight plucked notes that rise and grow brighter, float32 ``[L]``: the granular source where none is supplied."""
    count = 8
    length = round(SOURCE_SECONDS / count * rate_hz)
    time = np.arange(length) / rate_hz
    notes = []
    for note in range(count):
        pitch_hz, brightness = 110.0 * 2 ** (note * 5 / 12), 0.4 + 0.07 * note
        numbers = np.arange(1, 1 + min(24, int(0.45 * rate_hz / pitch_hz)))[:, None]
        partials = (
            brightness**numbers
            * np.exp(-time * (2 + numbers))
            * np.sin(2 * np.pi * pitch_hz * numbers * time)
        )
        notes.append(partials.sum(0) * np.minimum(1, time / 0.002))
    wave = np.concatenate(notes)
    return (0.9 * wave / np.abs(wave).max()).astype(np.float32)


# ---- by name --------------------------------------------------------------------------------------------
PARAMS: dict[str, tuple[str, ...]] = {
    "sine": ("frequency", "amplitude"),
    "fm3": ("frequency", "harmonicity", "modulation index"),
    "fm4": ("frequency", "harmonicity", "modulation index", "amplitude"),
    "granular": ("density", "start", "duration", "pitch"),
}


def read_source(path: Optional[Path], rate_hz: int) -> np.ndarray:
    """The granular synthesizer's sound, float32 ``[L]`` at ``rate_hz``: a file's, or the generated one.

    Raises:
        UserError: for a file that cannot be read or holds no sound.
    """
    if path is None:
        return generated_source(rate_hz)
    wave, found_hz = read_mono(path)
    if not len(wave):
        raise UserError(f"the source {path} holds no sound; give another recording")
    return resample(wave, found_hz, rate_hz).astype(np.float32)


def make_synth(name: str, rate_hz: int = RATE, source: Optional[Path] = None) -> ClosedFormSynth:
    """The synthesizer ``sine``, ``fm3``, ``fm4`` or ``granular``.

    Args:
        source: sound file for granular.

    Raises:
        UserError: for an unknown name, or a source that cannot be used.
    """
    if name not in PARAMS:
        raise UserError(
            f"there is no closed form of synthesizer {name!r}; expected one of {', '.join(PARAMS)}, or a patch of your "
            "own with the back end pd"
        )
    if name != "granular":
        if source is not None:
            raise UserError(f"synthesizer {name} reads no source, found {source}; leave it out")
        return ClosedFormSynth(name, PARAMS[name], rate_hz, sine if name == "sine" else fm)
    wave = read_source(source, rate_hz)

    def formula(params: np.ndarray, length: int, rate: int) -> np.ndarray:
        return granular(wave, params, length, rate)

    return ClosedFormSynth(name, PARAMS[name], rate_hz, formula, wave)
