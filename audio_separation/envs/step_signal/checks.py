"""What the keys of the section STEP_SIGNAL may be, where that follows from several of them."""

from __future__ import annotations

import math
from typing import Sequence

from yacs.config import CfgNode

from audio_separation.envs.step_signal.episodes import num_samples
from audio_separation.envs.step_signal.signals import least_length, low_pass, make_step
from audio_separation.errors import UserError


def offset_range(settings: CfgNode) -> tuple[float, float]:
    """The offsets that may be needed: from the lowest level under the highest goal to the reverse."""
    return settings.LEVELS[0] - settings.GOALS[1], settings.LEVELS[1] - settings.GOALS[0]


def check_step_signal(config: CfgNode) -> None:
    """Refuse values of the section ``STEP_SIGNAL`` that no episode can be played, or none be solved, with.

    Raises:
        UserError: that names the keys.
    """
    s = config.STEP_SIGNAL
    nyquist_hz = s.RATE / 2
    _check_range("CUTOFF_HZ", s.CUTOFF_HZ, 0, nyquist_hz, f"STEP_SIGNAL.RATE / 2 ({nyquist_hz:g})")
    _check_range("STEP_TIME", s.STEP_TIME, 0, 1, "1")
    for key in ("LEVELS", "GOALS"):
        _check_range(key, s[key], -math.inf, math.inf, "infinity")
    length, least = num_samples(s), least_length(s.ORDER)
    if length <= least:
        raise UserError(
            f"config keys STEP_SIGNAL.RATE {s.RATE} and SECONDS {s.SECONDS} make {length} samples, expected more than "
            f"{least} to filter with ORDER {s.ORDER}: raise SECONDS"
        )
    if length < s.POINTS:
        raise UserError(
            f"config key STEP_SIGNAL.POINTS is {s.POINTS}, expected at most the {length} samples of a signal"
        )
    _check_solvable(s, length)


def _check_range(key: str, found: Sequence[float], least: float, most: float, name: str) -> None:
    numbers = isinstance(found, (list, tuple)) and all(type(value) in (int, float) for value in found)
    if not numbers or len(found) != 2 or not least < found[0] < found[1] < most:
        above = "" if math.isinf(least) else f" above {least:g} and below {name}"
        raise UserError(f"config key STEP_SIGNAL.{key} must be two rising numbers{above}, found {found!r}")


def _check_solvable(s: CfgNode, length: int) -> None:
    """The lowest cutoff must flatten the highest step, and an episode must be long enough to get there."""
    low_hz, high_hz = s.CUTOFF_HZ
    height = s.LEVELS[1] - s.LEVELS[0]
    left = max(
        height * float(low_pass(make_step(length, at, 0, 1), low_hz, s.RATE, s.ORDER).std())
        for at in s.STEP_TIME
    )
    if left >= s.TOLERANCE:
        raise UserError(
            f"config key STEP_SIGNAL.TOLERANCE is {s.TOLERANCE}, but the lowest cutoff of CUTOFF_HZ ({low_hz:g} Hz) "
            f"leaves a step of {height:g} an RMS of {left:.3g} around its mean: lower it or raise TOLERANCE"
        )
    low, high = offset_range(s)
    ways = {
        "LOG_CUTOFF_STEP": math.log(high_hz / low_hz),
        "OFFSET_STEP": max(-low, high),
    }
    for key, way in ways.items():
        if s.MAX_STEPS * s[key] < way:
            raise UserError(
                f"config key STEP_SIGNAL.{key} is {s[key]}, so STEP_SIGNAL.MAX_STEPS ({s.MAX_STEPS}) cannot cover the "
                f"{way:.3g} that an episode may need: expected at least {way / s.MAX_STEPS:.3g}"
            )
