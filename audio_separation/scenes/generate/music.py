"""Music by synthesis: chord progressions, melody, bass and drums, another piece for each seed.

Notes are MIDI numbers (69 = 440 Hz), times in beats until they are placed. Instruments are functions
``(rng, midi, seconds) -> float64 [L]`` at 16 kHz; a clip keeps each note it renders, because notes repeat.
"""

from __future__ import annotations

from typing import Callable, NamedTuple

import numpy as np
from scipy.signal import butter, sosfilt

from audio_separation.scenes.generate.corpus_layout import RATE_HZ

_MODES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}
# Chord roots as scale degrees, one a bar.
_PROGRESSIONS = (
    (0, 3, 4, 0), (0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 2, 3, 4), (0, 3, 0, 4), (1, 4, 0, 0),
    (0, 5, 1, 4), (0, 6, 5, 4), (0, 3, 6, 2), (3, 4, 2, 5), (0, 0, 3, 4),
)  # fmt: skip
_BEATS_A_BAR = 4


def _hz(midi: int) -> float:
    return 440.0 * 2 ** ((midi - 69) / 12)


def _release(note: np.ndarray, attack_s: float = 0.004, release_s: float = 0.03) -> np.ndarray:
    """``note`` with linear ramps at both ends."""
    attack, release = int(attack_s * RATE_HZ), int(release_s * RATE_HZ)
    attack, release = min(attack, len(note) // 2), min(release, len(note) // 2)
    note[:attack] *= np.arange(attack) / max(attack, 1)
    note[len(note) - release :] *= np.arange(release)[::-1] / max(release, 1)
    return note


def _partials(midi: int, seconds: float, amplitudes: np.ndarray, stretch: float = 0.0) -> np.ndarray:
    """Sine partials ``[K, L]`` with the given amplitudes; those above 7.6 kHz are left out."""
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    number = np.arange(1, len(amplitudes) + 1)
    frequency_hz = _hz(midi) * number * np.sqrt(1 + stretch * number**2)
    kept = frequency_hz < 7600
    return amplitudes[kept, None] * np.sin(2 * np.pi * np.outer(frequency_hz[kept], t))


def pluck(rng: np.random.Generator, midi: int, seconds: float, damping: float = 0.996) -> np.ndarray:
    """A plucked string (Karplus and Strong, 1983): a noise period, averaged with itself period by period."""
    period = max(4, round(RATE_HZ / _hz(midi)))
    wave = rng.uniform(-1, 1, period)
    wave -= wave.mean()
    # Averaging neighbours turns the wave by half a sample a period, so its pitch is a little lower than
    # RATE / period: by the factor 1 - 1 / (2 period).
    speed = _hz(midi) * period / RATE_HZ / (1 - 0.5 / period)  # read out at the pitch that was asked for
    position = np.arange(int(seconds * RATE_HZ)) * speed
    out = np.empty((int(seconds * RATE_HZ * speed / period) + 2, period))
    for k in range(len(out)):
        out[k] = wave
        wave = damping * 0.5 * (wave + np.roll(wave, 1))
    return _release(np.interp(position, np.arange(out.size), out.ravel()))


def keys(rng: np.random.Generator, midi: int, seconds: float) -> np.ndarray:
    """A struck string: stretched partials, the higher the faster gone."""
    number = np.arange(1, 17)
    waves = _partials(midi, seconds, 1 / number**1.3 * (1 + 0.3 * np.sin(number * 1.9)), stretch=4e-4)
    t = np.arange(waves.shape[1]) / RATE_HZ
    decay = np.exp(-np.outer(0.8 + 0.5 * number[: len(waves)], t) * _hz(midi) / 300)
    return _release((waves * decay).sum(0))


def organ(rng: np.random.Generator, midi: int, seconds: float) -> np.ndarray:
    """Steady partials at octaves and fifths."""
    stops = np.array([1, 0.7, 0.4, 0.5, 0, 0.25, 0, 0.3])
    return _release(_partials(midi, seconds, stops).sum(0), 0.02, 0.06)


def strings(rng: np.random.Generator, midi: int, seconds: float) -> np.ndarray:
    """A bowed ensemble: three detuned saw-like voices with vibrato and a slow attack."""
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    out = np.zeros(len(t))
    for cents in (-7.0, 0.0, 6.0):
        vibrato = 0.004 * np.sin(2 * np.pi * rng.uniform(4.5, 6) * t + rng.uniform(0, 6.28))
        phase = 2 * np.pi * _hz(midi) * 2 ** (cents / 1200) * np.cumsum(1 + vibrato) / RATE_HZ
        out += sum(np.sin(k * phase) / k for k in range(1, 13) if k * _hz(midi) < 7500)
    return _release(out, min(0.12, seconds / 4), min(0.15, seconds / 4))


def flute(rng: np.random.Generator, midi: int, seconds: float) -> np.ndarray:
    """Few partials, vibrato that sets in late, and breath."""
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    vibrato = 0.006 * np.minimum(1, t / 0.4) * np.sin(2 * np.pi * 5.3 * t)
    phase = 2 * np.pi * _hz(midi) * np.cumsum(1 + vibrato) / RATE_HZ
    tone = np.sin(phase) + 0.35 * np.sin(2 * phase) + 0.12 * np.sin(3 * phase)
    sos = butter(1, [min(_hz(midi), 3000), 5000], "bandpass", fs=RATE_HZ, output="sos")
    return _release(tone + 0.05 * sosfilt(sos, rng.standard_normal(len(t))), 0.05, 0.06)


def bell(rng: np.random.Generator, midi: int, seconds: float) -> np.ndarray:
    """Frequency modulation with a decaying index: an inharmonic, bell-like tone."""
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    index = 2.5 * np.exp(-t * 3) * min(1.0, 500 / _hz(midi))  # high notes would alias
    carrier = 2 * np.pi * _hz(midi) * t
    return _release(np.sin(carrier + index * np.sin(1.41 * carrier)) * np.exp(-t * 2))


def bass(rng: np.random.Generator, midi: int, seconds: float) -> np.ndarray:
    """A round electric bass."""
    waves = _partials(midi, seconds, np.array([1, 0.6, 0.35, 0.2, 0.1, 0.06]))
    return _release(waves.sum(0) * np.exp(-np.arange(waves.shape[1]) / RATE_HZ * 1.5), 0.008)


def _kick() -> np.ndarray:
    t = np.arange(int(0.25 * RATE_HZ)) / RATE_HZ
    return np.sin(2 * np.pi * (50 * t + 6 * (1 - np.exp(-t * 30)))) * np.exp(-t * 16)


def _snare(rng: np.random.Generator) -> np.ndarray:
    t = np.arange(int(0.2 * RATE_HZ)) / RATE_HZ
    return 0.5 * rng.standard_normal(len(t)) * np.exp(-t * 25) + 0.5 * np.sin(2 * np.pi * 190 * t) * np.exp(
        -t * 30
    )


def _hat(rng: np.random.Generator) -> np.ndarray:
    t = np.arange(int(0.06 * RATE_HZ)) / RATE_HZ
    sos = butter(2, 5000, "highpass", fs=RATE_HZ, output="sos")
    return sosfilt(sos, rng.standard_normal(len(t))) * np.exp(-t * 70)


Instrument = Callable[[np.random.Generator, int, float], np.ndarray]
_LEADS: tuple[Instrument, ...] = (pluck, keys, flute, strings, bell, organ)
_CHORDS: tuple[Instrument, ...] = (pluck, keys, strings, organ)


class _Piece(NamedTuple):
    """What stays the same through one clip."""

    beat_s: float
    tonic: int  # MIDI
    scale: tuple[int, ...]
    progression: tuple[int, ...]
    lead: Instrument
    chords: Instrument
    strum_beats: tuple[float, ...]  # onsets of the chord within a bar
    melody_density: float
    drums: bool
    bass: bool

    def note(self, degree: int, octave: int) -> int:
        return self.tonic + 12 * (octave + degree // 7) + self.scale[degree % 7]


def _draw_piece(rng: np.random.Generator) -> _Piece:
    strums = (
        (0.0,),
        (0.0, 2.0),
        (0.0, 1.0, 2.0, 3.0),
        (0.0, 1.5, 2.0, 3.5),
        (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5),
    )
    return _Piece(
        beat_s=60 / rng.uniform(70, 150),
        tonic=int(rng.integers(48, 60)),
        scale=_MODES[sorted(_MODES)[rng.integers(len(_MODES))]],
        progression=_PROGRESSIONS[rng.integers(len(_PROGRESSIONS))],
        lead=_LEADS[rng.integers(len(_LEADS))],
        chords=_CHORDS[rng.integers(len(_CHORDS))],
        strum_beats=strums[rng.integers(len(strums))],
        melody_density=rng.uniform(0.4, 0.9),
        drums=bool(rng.random() < 0.6),
        bass=bool(rng.random() < 0.8),
    )


class _Track:
    """Collects notes into one buffer."""

    def __init__(self, rng: np.random.Generator, seconds: float) -> None:
        self.samples = np.zeros(int(seconds * RATE_HZ))
        self._rng = rng
        self._notes: dict[tuple, np.ndarray] = {}

    def play(self, instrument: Instrument, midi: int, start_s: float, seconds: float, level: float) -> None:
        key = (instrument, midi, round(seconds, 4))
        if key not in self._notes:
            note = instrument(self._rng, midi, seconds)
            self._notes[key] = note / np.sqrt(np.mean(note[: RATE_HZ // 4] ** 2) + 1e-12)
        self.hit(self._notes[key], start_s, level)

    def hit(self, sound: np.ndarray, start_s: float, level: float) -> None:
        start = int(start_s * RATE_HZ)
        kept = sound[: max(0, len(self.samples) - start)]
        self.samples[start : start + len(kept)] += level * kept


def _play_chord(track: _Track, piece: _Piece, degree: int, bar_s: float, rng: np.random.Generator) -> None:
    held = np.diff([*piece.strum_beats, float(_BEATS_A_BAR)])
    for onset, beats in zip(piece.strum_beats, held):
        for i, step in enumerate((0, 2, 4)):
            start_s = bar_s + onset * piece.beat_s + 0.012 * i * (piece.chords is pluck)
            level = 0.35 * rng.uniform(0.8, 1)
            track.play(
                piece.chords, piece.note(degree + step, 0), start_s, max(beats, 1.0) * piece.beat_s, level
            )


def _play_melody(
    track: _Track, piece: _Piece, degree: int, bar_s: float, place: int, rng: np.random.Generator
) -> int:
    """One bar of a random walk over the scale that lands on chord tones; returns where it stands."""
    beat = 0.0
    while beat < _BEATS_A_BAR:
        length = float(rng.choice([0.5, 0.5, 1.0, 1.0, 1.5, 2.0]))
        length = min(length, _BEATS_A_BAR - beat)
        if rng.random() < piece.melody_density:
            if beat == 0.0:  # the nearest chord tone
                tones = np.array([degree + step + 7 * octave for octave in (-1, 0, 1) for step in (0, 2, 4)])
                place = int(tones[np.argmin(np.abs(tones - place))])
            else:
                place = int(np.clip(place + rng.integers(-2, 3), -3, 10))
            start_s, seconds = bar_s + beat * piece.beat_s, max(length * piece.beat_s, 0.15)
            track.play(piece.lead, piece.note(place, 1), start_s, seconds, rng.uniform(0.7, 1))
        beat += length
    return place


def _play_rhythm(track: _Track, piece: _Piece, degree: int, bar_s: float, rng: np.random.Generator) -> None:
    if piece.bass:
        for beat in (0, 2):
            track.play(bass, piece.note(degree, -1), bar_s + beat * piece.beat_s, 1.8 * piece.beat_s, 0.6)
    if piece.drums:
        kick, snare, hat = _kick(), _snare(rng), _hat(rng)
        for beat in range(_BEATS_A_BAR):
            start_s = bar_s + beat * piece.beat_s
            track.hit(kick if beat % 2 == 0 else snare, start_s, 1.2)
            track.hit(hat, start_s, 0.5)
            track.hit(hat, start_s + piece.beat_s / 2, 0.4 * rng.uniform(0.5, 1))


def render_music(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """One clip of music: float32 ``[L]``, L = 16000 * seconds, peak 1."""
    piece = _draw_piece(rng)
    track = _Track(rng, seconds)
    bar_length_s = _BEATS_A_BAR * piece.beat_s
    place = 0
    for bar in range(int(seconds / bar_length_s) + 1):
        degree = piece.progression[bar % len(piece.progression)]
        bar_s = bar * bar_length_s
        _play_chord(track, piece, degree, bar_s, rng)
        place = _play_melody(track, piece, degree, bar_s, place, rng)
        _play_rhythm(track, piece, degree, bar_s, rng)
    return (track.samples / np.abs(track.samples).max()).astype(np.float32)
