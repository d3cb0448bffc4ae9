"""Speech of many distinct synthetic speakers with eSpeak NG (DESIGN section 5).

A speaker is a fixed voice variant, language (its letter-to-sound rules give an accent), pitch, pitch range
and rate, and, beyond what eSpeak offers, a vocal-tract scale (all formants moved by resampling, the rate
compensated) and a fixed smooth spectral colour.
"""

from __future__ import annotations

import importlib.util
import json
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.signal import firwin2, oaconvolve, resample_poly

from audio_separation.errors import UserError
from audio_separation.scenes.generate.corpus_layout import RATE_HZ
from audio_separation.scenes.generate.sentences import random_sentences

# ruff: noqa: SIM905  (word lists read better as text)

ESPEAK_RATE_HZ = 22050
_RESAMPLE_UP = 320  # 16000 / 22050 = 320 / 441; the speaker's tract scale changes the 441
_RESAMPLE_DOWN = 441
_VOLUME = 25  # eSpeak's default is 100, at which half of the voices clip
_COLOUR_HZ = (0, 200, 500, 1000, 1800, 3000, 5000, 8000)  # knots of the spectral colour
_COLOUR_TAPS = 255  # linear phase, 62 Hz resolution
_TRIM_DB = -40.0  # pauses before and after a sentence: below this, relative to its peak

# Voices of eSpeak that resemble persons: no whispers, robots, croaks or echoes, and none that clips.
_VARIANTS = """
    m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5 Alex Alicia Andrea Andy Annie Denis Gene Jacky Lee Mario
    Michael Mike Nguyen Reed Storm adam anika aunty belinda boris ed edward
    grandma grandpa gustave iven2 kaukovalta linda marcelo max michel norbert pablo paul pedro
    robert sandro shelby steph steph2 travis victor zac
""".split()
# Languages in Latin script: their rules read our English text with an accent.
_LANGUAGES = """
    en-us en en-gb-scotland en-gb-x-rp en-029 en-us-nyc en-gb-x-gbclan en-gb-x-gbcwmd
    de fr es it pt-br nl sv da nb pl cs fi hu ro id sw ca et lv
""".split()
_ENGLISH = 8  # the first so many of _LANGUAGES


@dataclass(frozen=True)
class Speaker:
    """Fixed parameters of one synthetic voice; pitch and pitch range are eSpeak's 0..100."""

    name: str
    language: str
    variant: str
    pitch: int
    pitch_range: int
    words_per_minute: int
    tract_down: int  # resampling 320 : tract_down; above 441 a shorter vocal tract (higher formants)
    colour_db: tuple[float, ...]  # gains at _COLOUR_HZ
    pause_s: float  # between sentences

    @property
    def tract_scale(self) -> float:
        """Factor on all frequencies of the voice."""
        return self.tract_down / _RESAMPLE_DOWN


def draw_speakers(rng: np.random.Generator, count: int) -> list[Speaker]:
    """``count`` speakers ``spk00``, ``spk01``, ...; no two share a variant while the variants last.

    Pitch, range, rate and tract scale are stratified (each of ``count`` equal strata is used once), so that
    the voices spread out instead of clumping. Half of the speakers use English rules.
    """

    def stratified(low: float, high: float) -> np.ndarray:
        return low + (high - low) * (rng.permutation(count) + rng.random(count)) / count

    variants = [_VARIANTS[i % len(_VARIANTS)] for i in _repeated_permutation(rng, len(_VARIANTS), count)]
    english = _repeated_permutation(rng, _ENGLISH, count)
    foreign = _repeated_permutation(rng, len(_LANGUAGES) - _ENGLISH, count) + _ENGLISH
    pitch, pitch_range = stratified(32, 78), stratified(25, 80)
    rate, tract = stratified(145, 190), stratified(0.86, 1.18)
    tilt_db, pause_s = stratified(-7, 7), stratified(0.08, 0.25)
    speakers = []
    for i in range(count):
        ripple = rng.uniform(-4, 4, len(_COLOUR_HZ))
        slope = np.linspace(-0.5, 0.5, len(_COLOUR_HZ)) * tilt_db[i]
        speakers.append(
            Speaker(
                name=f"spk{i:02d}",
                language=_LANGUAGES[english[i] if i % 2 == 0 else foreign[i]],
                variant=variants[i],
                pitch=round(pitch[i]),
                pitch_range=round(pitch_range[i]),
                words_per_minute=round(rate[i] / tract[i]),  # the resampling speeds up by the tract scale
                tract_down=round(_RESAMPLE_DOWN * tract[i]),
                colour_db=tuple(round(float(g), 2) for g in ripple + slope),
                pause_s=round(float(pause_s[i]), 3),
            )
        )
    return speakers


def _repeated_permutation(rng: np.random.Generator, size: int, count: int) -> np.ndarray:
    """``count`` indices below ``size``, each used once before any is used again."""
    rounds = -(-count // size)
    return np.concatenate([rng.permutation(size) for _ in range(rounds)])[:count]


def find_espeak() -> tuple[Path, Path]:
    """Paths of eSpeak NG's library and of the folder that holds ``espeak-ng-data``.

    Raises UserError when the package ``espeakng-loader`` or its files are missing.
    """
    spec = importlib.util.find_spec("espeakng_loader")
    if spec is None or spec.origin is None:
        raise UserError(
            "synthetic speech needs the package espeakng-loader, which is not installed; "
            "run: pip install espeakng-loader"
        )
    folder = Path(spec.origin).parent
    names = {"win32": "espeak-ng.dll", "darwin": "libespeak-ng.dylib"}
    library = folder / names.get(sys.platform, "libespeak-ng.so")
    for path in (library, folder / "espeak-ng-data"):
        if not path.exists():
            raise UserError(
                f"{path} is missing from the installed espeakng-loader; run: pip install --force-reinstall "
                "espeakng-loader"
            )
    return library, folder


def speak(speaker: Speaker, sentences: list[str], enough_s: float) -> list[np.ndarray]:
    """eSpeak's own samples, one int16 array at 22.05 kHz a sentence, until ``enough_s`` are reached.

    Runs in a process of its own (see ``espeak_process``), so the result depends on the arguments alone.
    Raises UserError when eSpeak NG is missing or refuses.
    """
    library, data_parent = find_espeak()
    request = {
        "library": str(library),
        "data_parent": str(data_parent),
        "voice": f"{speaker.language}+{speaker.variant}",
        "pitch": speaker.pitch,
        "pitch_range": speaker.pitch_range,
        "words_per_minute": speaker.words_per_minute,
        "volume": _VOLUME,
        "sentences": sentences,
        "enough_samples": int(enough_s * ESPEAK_RATE_HZ),
        "rand_seed": 1,
    }
    script = Path(__file__).with_name("espeak_process.py")
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(script)], input=json.dumps(request).encode(), capture_output=True
    )
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"its process ended with status {done.returncode}"
        raise UserError(
            f"eSpeak NG ({library}) failed for speaker {speaker.name}: {reason}; "
            "run: pip install --force-reinstall espeakng-loader"
        )
    return _unpack(done.stdout)


def _unpack(data: bytes) -> list[np.ndarray]:
    spoken, start = [], 0
    while start < len(data):
        (count,) = struct.unpack_from("<I", data, start)
        spoken.append(np.frombuffer(data, "<i2", count, start + 4))
        start += 4 + 2 * count
    return spoken


def synthesise(speaker: Speaker, rng: np.random.Generator, seconds: int) -> np.ndarray:
    """One recording of a speaker saying random sentences: float32 ``[L]``, L = 16000 * seconds."""
    wanted = RATE_HZ * seconds
    sentences = random_sentences(rng, 4 + seconds)  # a sentence lasts well over a second
    # Trimmed pauses and the tract scale shorten what eSpeak says; half as much again is always enough.
    spoken = speak(speaker, sentences, 1.5 * seconds * max(speaker.tract_scale, 1.0))
    pause = np.zeros(int(speaker.pause_s * ESPEAK_RATE_HZ), np.float32)
    pieces = []
    for samples in spoken:
        pieces += [_trim(samples.astype(np.float32) / 32768), pause]
    voice = resample_poly(np.concatenate(pieces), _RESAMPLE_UP, speaker.tract_down)
    if len(voice) < wanted:
        raise RuntimeError(f"{speaker.name}: eSpeak NG spoke {len(voice)} samples, expected {wanted} or more")
    gains = 10 ** (np.array(speaker.colour_db) / 20)
    colour = firwin2(_COLOUR_TAPS, _COLOUR_HZ, gains, fs=RATE_HZ)
    return oaconvolve(voice[:wanted], colour, mode="same").astype(np.float32)


def _trim(samples: np.ndarray) -> np.ndarray:
    loud = np.flatnonzero(np.abs(samples) > np.abs(samples).max(initial=0) * 10 ** (_TRIM_DB / 20))
    return samples[loud[0] : loud[-1] + 1] if len(loud) else samples[:0]
