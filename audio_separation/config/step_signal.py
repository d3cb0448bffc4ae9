"""Default keys of the step signal: a signal to be flattened by a low-pass filter and an offset."""

from __future__ import annotations

from yacs.config import CfgNode as CN

LEAST = {
    "STEP_SIGNAL.RATE": 1,
    "STEP_SIGNAL.SECONDS": 1,
    "STEP_SIGNAL.MAX_STEPS": 1,
    "STEP_SIGNAL.ORDER": 1,
    "STEP_SIGNAL.LOG_CUTOFF_STEP": 0.001,
    "STEP_SIGNAL.OFFSET_STEP": 0.001,
    "STEP_SIGNAL.TOLERANCE": 0.000001,
    "STEP_SIGNAL.POINTS": 2,
}
CHOICES = {"STEP_SIGNAL.REWARD": ("dense", "sparse")}


def add_step_signal(c: CN) -> None:
    """Add the section ``STEP_SIGNAL`` to the default tree ``c``."""
    s = c.STEP_SIGNAL = CN()
    s.RATE = 30  # Hz
    s.SECONDS = 20.0
    s.MAX_STEPS = 25  # then the episode is truncated
    s.CUTOFF_HZ = [0.01, 14.9]  # range of the low-pass cutoff
    s.ORDER = 4
    s.LEVELS = [0.0, 10.0]  # range of the two levels of a step
    s.STEP_TIME = [0.2, 0.8]  # range of the time of the step, as a fraction of SECONDS
    s.GOALS = [0.0, 10.0]  # range of the flat goal
    s.LOG_CUTOFF_STEP = 0.5  # largest change of the natural logarithm of the cutoff by one action
    s.OFFSET_STEP = 1.0  # largest change of the offset by one action
    s.REWARD = "dense"  # dense: minus the distance | sparse: -1 until it is below TOLERANCE
    s.TOLERANCE = 0.25  # RMS distance to the goal that counts as success
    s.POINTS = 40  # that signals are observed at
