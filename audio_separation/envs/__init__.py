"""Simulators and Gymnasium environments.

``from audio_separation.envs import register_envs; register_envs()`` makes the ids known to Gymnasium.
"""

from audio_separation.envs.registration import (
    AUDITION_SPEC_ID,
    LIVE_SPEC_ID,
    SPEC_ID,
    STEP_SIGNAL_SPEC_ID,
    SYNTH_SPEC_ID,
    register_envs,
)

__all__ = [
    "AUDITION_SPEC_ID",
    "LIVE_SPEC_ID",
    "SPEC_ID",
    "STEP_SIGNAL_SPEC_ID",
    "SYNTH_SPEC_ID",
    "register_envs",
]
