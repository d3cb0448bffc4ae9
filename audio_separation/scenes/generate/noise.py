"""Environmental noise by synthesis: the class that only ever disturbs (``esc``).

Each kind is a function ``(rng, seconds) -> float64 [L]`` at 16 kHz of any level; what it draws from ``rng``
(speeds, pitches, densities) makes each recording another one of its kind.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Callable

import numpy as np
from scipy.signal import butter, oaconvolve, sosfilt

from audio_separation.scenes.generate.corpus_layout import RATE_HZ


def _time(seconds: float) -> np.ndarray:
    return np.arange(int(seconds * RATE_HZ)) / RATE_HZ


@lru_cache(maxsize=256)
def _bandpass(low_hz: float, high_hz: float) -> np.ndarray:
    return butter(2, [low_hz, high_hz], "bandpass", fs=RATE_HZ, output="sos")


def _band(rng: np.random.Generator, length: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Band-limited Gaussian noise of unit RMS."""
    noise = sosfilt(_bandpass(low_hz, min(high_hz, 7800.0)), rng.standard_normal(length))
    return noise / noise.std()


def _slow(rng: np.random.Generator, length: int, rate_hz: float) -> np.ndarray:
    """A smooth random curve in [0, 1] that turns about ``rate_hz`` times a second."""
    knots = rng.random(int(length / RATE_HZ * rate_hz) + 3)
    position = np.linspace(0, len(knots) - 1.001, length)
    left = position.astype(int)
    blend = 0.5 - 0.5 * np.cos(np.pi * (position - left))
    return knots[left] * (1 - blend) + knots[left + 1] * blend


def _scatter(out: np.ndarray, starts_s: np.ndarray, make: Callable[[], np.ndarray]) -> np.ndarray:
    """Add one event of ``make()`` at each start; an event cut by the end goes on at the beginning."""
    for start_s in starts_s:
        event = make()[: len(out)]
        start = int(start_s * RATE_HZ) % len(out)
        head = min(len(event), len(out) - start)
        out[start : start + head] += event[:head]
        out[: len(event) - head] += event[head:]
    return out


def _poisson(rng: np.random.Generator, seconds: float, rate_hz: float) -> np.ndarray:
    return np.sort(rng.uniform(0, seconds, max(1, rng.poisson(rate_hz * seconds))))


def _regular(rng: np.random.Generator, seconds: float, period_s: float, jitter: float) -> np.ndarray:
    starts = np.arange(0, seconds, period_s)
    return np.clip(starts + rng.normal(0, jitter * period_s, len(starts)), 0, seconds - 1e-3)


def _burst(rng: np.random.Generator, low_hz: float, high_hz: float, decay_s: float) -> np.ndarray:
    """A noise burst with exponential decay."""
    t = _time(6 * decay_s)
    return _band(rng, len(t), low_hz, high_hz) * np.exp(-t / decay_s)


def _ring(rng: np.random.Generator, partials_hz: np.ndarray, decay_s: float) -> np.ndarray:
    """A struck object: decaying partials, the higher the faster."""
    t = _time(5 * decay_s)
    rates = partials_hz / partials_hz[0]
    waves = np.sin(2 * np.pi * np.outer(partials_hz, t) + rng.uniform(0, 6.28, (len(partials_hz), 1)))
    return (waves * np.exp(-np.outer(rates, t) / decay_s) / rates[:, None]).sum(0)


def _harmonics(frequency_hz: np.ndarray, amplitudes: np.ndarray) -> np.ndarray:
    """A tone with a given course of its frequency; partials above 7.6 kHz are left out."""
    phase = 2 * np.pi * np.cumsum(frequency_hz) / RATE_HZ
    top = 7600.0 / frequency_hz.max()
    return np.sum([a * np.sin((k + 1) * phase) for k, a in enumerate(amplitudes) if k + 1 <= top], axis=0)


def rain(rng: np.random.Generator, seconds: float) -> np.ndarray:
    length = len(_time(seconds))
    low = rng.uniform(600, 1800)
    hiss = _band(rng, length, low, low * rng.uniform(3, 5)) * (0.6 + 0.4 * _slow(rng, length, 0.5))
    drops = np.zeros(length)
    _scatter(
        drops,
        _poisson(rng, seconds, rng.uniform(20, 60)),
        lambda: rng.uniform(0.5, 4) * _burst(rng, 1500, 6500, rng.uniform(0.001, 0.004)),
    )
    return hiss + drops


def wind(rng: np.random.Generator, seconds: float) -> np.ndarray:
    length = len(_time(seconds))
    gust = _slow(rng, length, rng.uniform(0.3, 0.8)) ** 2
    howl_hz = rng.uniform(250, 500) * (1 + 0.5 * gust)
    howl = _harmonics(howl_hz, np.array([1.0])) * _band(rng, length, 1, 20)
    return _band(rng, length, 40, rng.uniform(200, 500)) * (0.2 + gust) + 0.25 * howl * gust


def engine(rng: np.random.Generator, seconds: float) -> np.ndarray:
    length = len(_time(seconds))
    firing_hz = rng.uniform(22, 60) * (1 + rng.uniform(0.05, 0.5) * _slow(rng, length, 0.3))
    amplitudes = rng.uniform(0.2, 1, 40) / np.arange(1, 41) ** rng.uniform(0.4, 0.9)
    tone = _harmonics(firing_hz, amplitudes)
    pulse = 1 + np.sin(2 * np.pi * np.cumsum(firing_hz) / RATE_HZ)
    return tone + 0.3 * pulse * _band(rng, length, 200, 2500)


def helicopter(rng: np.random.Generator, seconds: float) -> np.ndarray:
    length = len(_time(seconds))
    rotor_hz = rng.uniform(9, 16) * np.ones(length)
    cycle = np.cumsum(rotor_hz) / RATE_HZ % 1.0
    chop = np.exp(-cycle * rng.uniform(4, 9))
    whine = _harmonics(rng.uniform(400, 900) * np.ones(length), np.array([0.1, 0.05, 0.03]))
    return chop * _band(rng, length, 60, rng.uniform(700, 1500)) + whine


def vacuum_cleaner(rng: np.random.Generator, seconds: float) -> np.ndarray:
    length = len(_time(seconds))
    motor_hz = rng.uniform(180, 320) * (1 + 0.03 * _slow(rng, length, 1))
    tone = _harmonics(motor_hz, rng.uniform(0.1, 0.5, 20) / np.sqrt(np.arange(1, 21)))
    return tone + _band(rng, length, rng.uniform(300, 900), rng.uniform(3000, 6500))


def mains_hum(rng: np.random.Generator, seconds: float) -> np.ndarray:
    length = len(_time(seconds))
    base_hz = rng.choice([50.0, 60.0]) * np.ones(length)
    amplitudes = rng.uniform(0, 1, 24) * (1 + np.arange(24) % 2) / np.sqrt(np.arange(1, 25))
    return _harmonics(base_hz, amplitudes) + 0.15 * _band(rng, length, 500, 5000)


def typing(rng: np.random.Generator, seconds: float) -> np.ndarray:
    out = 0.01 * rng.standard_normal(len(_time(seconds)))
    body_hz = rng.uniform(700, 1600)

    def key() -> np.ndarray:
        click = _burst(rng, 1500, 7500, rng.uniform(0.002, 0.005))
        thud = _burst(rng, body_hz * rng.uniform(0.8, 1), body_hz * 1.6, 0.012)
        event = np.zeros(max(len(click), len(thud)) + 1600)
        event[: len(thud)] += 0.6 * thud
        event[: len(click)] += click
        release = rng.integers(800, 1500)  # the key comes up 50 to 90 ms later, softer
        event[release : release + 200] += 0.3 * click[:1].repeat(200) * rng.standard_normal(200)
        return event * rng.uniform(0.5, 1)

    starts = np.cumsum(rng.gamma(2.0, 0.5 / rng.uniform(4, 9), int(seconds * 10)))
    return _scatter(out, starts[starts < seconds], key)


def footsteps(rng: np.random.Generator, seconds: float) -> np.ndarray:
    out = 0.005 * rng.standard_normal(len(_time(seconds)))
    heel_hz, sole_hz = rng.uniform(80, 250), rng.uniform(600, 2500)

    def step() -> np.ndarray:
        heel = _burst(rng, heel_hz, 3 * heel_hz, rng.uniform(0.02, 0.04))
        scrape = _burst(rng, sole_hz, 3 * sole_hz, rng.uniform(0.02, 0.05))
        event = np.zeros(max(len(heel), len(scrape) + 1000))
        event[: len(heel)] += heel
        event[1000 : 1000 + len(scrape)] += 0.4 * scrape
        return event * rng.uniform(0.7, 1)

    return _scatter(out, _regular(rng, seconds, rng.uniform(0.4, 0.7), 0.04), step)


def clock_tick(rng: np.random.Generator, seconds: float) -> np.ndarray:
    out = 0.002 * rng.standard_normal(len(_time(seconds)))
    partials_hz = np.sort(rng.uniform(1200, 6500, 6))
    sides = [1.0, rng.uniform(0.4, 0.9)]
    state = {"ticks": 0}

    def tick() -> np.ndarray:
        state["ticks"] += 1
        return sides[state["ticks"] % 2] * _ring(rng, partials_hz, rng.uniform(0.008, 0.012))

    return _scatter(out, _regular(rng, seconds, rng.choice([0.25, 0.5]), 0.0), tick)


def alarm(rng: np.random.Generator, seconds: float) -> np.ndarray:
    t = _time(seconds)
    pitch_hz = rng.uniform(700, 2400)
    period_s, beeps = rng.uniform(0.6, 1.2), rng.integers(1, 5)
    phase = t % period_s / period_s * (beeps + 1.5)
    gate = ((phase % 1.0) < 0.55) & (phase < beeps)
    envelope = np.convolve(gate.astype(float), np.ones(80) / 80, "same")
    return envelope * _harmonics(pitch_hz * np.ones(len(t)), np.array([1, 0.1, 0.4, 0.05, 0.2]))


def siren(rng: np.random.Generator, seconds: float) -> np.ndarray:
    t = _time(seconds)
    low_hz, ratio = rng.uniform(400, 700), rng.uniform(1.5, 2.2)
    sweep = 0.5 - 0.5 * np.cos(2 * np.pi * t * rng.uniform(0.2, 1.5))
    return _harmonics(low_hz * ratio**sweep, np.array([1, 0.4, 0.5, 0.2, 0.2]))


def telephone(rng: np.random.Generator, seconds: float) -> np.ndarray:
    t = _time(seconds)
    pair_hz = rng.uniform(900, 1500) * np.array([1.0, rng.uniform(1.1, 1.3)])
    trill = np.sin(2 * np.pi * rng.uniform(16, 25) * t) > 0
    ringing = (t % rng.uniform(2.0, 3.5)) < rng.uniform(1.0, 1.8)
    bell = np.where(trill, np.sin(2 * np.pi * pair_hz[0] * t), np.sin(2 * np.pi * pair_hz[1] * t))
    envelope = np.convolve(ringing.astype(float), np.ones(400) / 400, "same")
    return envelope * (bell + 0.3 * bell**3) + 0.002 * rng.standard_normal(len(t))


def _bird_song(rng: np.random.Generator) -> Callable[[], np.ndarray]:
    """The song of one bird: always the same notes at the same pace, a little sharper or flatter."""
    base_hz, notes, level = rng.uniform(2200, 5200), int(rng.integers(2, 8)), rng.uniform(0.3, 1)
    t = _time(rng.uniform(0.04, 0.15))
    bend = 1 + rng.uniform(-0.35, 0.35) * np.linspace(0, 1, len(t))
    bend += 0.05 * np.sin(2 * np.pi * rng.uniform(10, 40) * t)

    def sing() -> np.ndarray:
        pieces = []
        for _ in range(notes):
            tone = _harmonics(base_hz * rng.uniform(0.93, 1.07) * bend, np.array([1, 0.15]))
            pieces += [tone * np.hanning(len(t)), np.zeros(len(t) // 2)]
        return level * np.concatenate(pieces)

    return sing


def birds(rng: np.random.Generator, seconds: float) -> np.ndarray:
    out = 0.02 * _band(rng, len(_time(seconds)), 500, 4000)
    for _ in range(rng.integers(2, 5)):
        _scatter(out, _poisson(rng, seconds, rng.uniform(0.4, 0.9)), _bird_song(rng))
    return out


def crickets(rng: np.random.Generator, seconds: float) -> np.ndarray:
    t = _time(seconds)
    out = 0.02 * _band(rng, len(t), 300, 3000)
    for _ in range(rng.integers(2, 5)):
        chirp = (t * rng.uniform(1.2, 2.8) + rng.random()) % 1.0 < rng.uniform(0.3, 0.6)
        pulses = np.maximum(0, np.sin(2 * np.pi * rng.uniform(25, 45) * t))
        out += rng.uniform(0.3, 1) * chirp * pulses * np.sin(2 * np.pi * rng.uniform(3500, 5500) * t)
    return out


def stream(rng: np.random.Generator, seconds: float) -> np.ndarray:
    out = 0.15 * _band(rng, len(_time(seconds)), 400, 3500)

    def bubble() -> np.ndarray:  # a rising, decaying sine, as an air bubble sounds
        pitch_hz, decay_s = rng.uniform(350, 2200), rng.uniform(0.008, 0.03)
        t = _time(5 * decay_s)
        course_hz = pitch_hz * (1 + rng.uniform(0, 0.5) * t / t[-1])
        return rng.uniform(0.2, 1) * _harmonics(course_hz, np.array([1.0])) * np.exp(-t / decay_s)

    return _scatter(out, _poisson(rng, seconds, rng.uniform(30, 90)), bubble)


def sea_waves(rng: np.random.Generator, seconds: float) -> np.ndarray:
    length = len(_time(seconds))
    swell = _slow(rng, length, rng.uniform(0.2, 0.4)) ** 2
    return (0.1 + swell) * _band(rng, length, 100, 1200) + 0.6 * swell**2 * _band(rng, length, 1200, 6000)


def thunder(rng: np.random.Generator, seconds: float) -> np.ndarray:
    out = 0.15 * _band(rng, len(_time(seconds)), 800, 5000)  # the rain under it

    def clap() -> np.ndarray:
        t = _time(rng.uniform(3, 6))
        rumble = _band(rng, len(t), 30, rng.uniform(150, 300)) * _slow(rng, len(t), 4) * np.exp(-t / 1.8)
        crack = _burst(rng, 300, 4000, rng.uniform(0.05, 0.2))
        rumble[: len(crack)] += 0.7 * crack[: len(rumble)]
        return 2 * rumble

    return _scatter(out, _regular(rng, seconds, rng.uniform(3, 5), 0.2), clap)


def fire(rng: np.random.Generator, seconds: float) -> np.ndarray:
    length = len(_time(seconds))
    out = 0.1 * _band(rng, length, 60, 500) * (0.5 + _slow(rng, length, 3))
    return _scatter(
        out,
        _poisson(rng, seconds, rng.uniform(10, 35)),
        lambda: rng.exponential(0.6) * _burst(rng, rng.uniform(500, 2500), 7500, rng.uniform(0.0008, 0.006)),
    )


def applause(rng: np.random.Generator, seconds: float) -> np.ndarray:
    out = np.zeros(len(_time(seconds)))
    hall = _burst(rng, 300, 4000, 0.05)
    for _ in range(rng.integers(10, 25)):  # people, each with hands and a rhythm of their own
        low_hz = rng.uniform(500, 1500)
        clap = rng.uniform(0.3, 1) * _burst(rng, low_hz, rng.uniform(2.5, 4) * low_hz, 0.006)
        starts_s = _regular(rng, seconds, rng.uniform(0.2, 0.35), 0.08)
        _scatter(out, starts_s, partial(np.copy, clap))
    return out + 0.02 * oaconvolve(out, hall)[: len(out)]


def hammering(rng: np.random.Generator, seconds: float) -> np.ndarray:
    out = 0.004 * rng.standard_normal(len(_time(seconds)))
    partials_hz = rng.uniform(200, 900) * np.sort(rng.uniform(1, 7, 7))

    def blow() -> np.ndarray:
        event = 0.5 * _ring(rng, np.sort(partials_hz), rng.uniform(0.04, 0.08))
        knock = _burst(rng, 300, 5000, 0.006)
        event[: len(knock)] += knock[: len(event)]
        return rng.uniform(0.6, 1) * event

    return _scatter(out, _regular(rng, seconds, rng.uniform(0.3, 0.8), 0.08), blow)


def drill(rng: np.random.Generator, seconds: float) -> np.ndarray:
    length = len(_time(seconds))
    load = _slow(rng, length, 0.6)
    spin_hz = rng.uniform(90, 160) * (1 - 0.25 * load)
    teeth = 1 + 0.8 * np.sign(np.sin(2 * np.pi * np.cumsum(spin_hz) / RATE_HZ))
    motor = _harmonics(spin_hz * 6, rng.uniform(0.2, 0.8, 8) / np.arange(1, 9))
    return motor + load * teeth * _band(rng, length, 1000, 6000)


KINDS: dict[str, Callable[[np.random.Generator, float], np.ndarray]] = {
    kind.__name__: kind
    for kind in (
        rain, wind, engine, helicopter, vacuum_cleaner, mains_hum, typing, footsteps, clock_tick, alarm,
        siren, telephone, birds, crickets, stream, sea_waves, thunder, fire, applause, hammering, drill,
    )
}  # fmt: skip


def render_noise(kind: str, rng: np.random.Generator, seconds: float) -> np.ndarray:
    """One recording of environmental noise of the named ``kind`` (of ``KINDS``): float32 ``[L]``, peak 1."""
    noise = KINDS[kind](rng, seconds)
    return (noise / np.abs(noise).max()).astype(np.float32)
