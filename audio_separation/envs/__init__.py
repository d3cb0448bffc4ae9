"""Simulators and Gymnasium environments.

``from audio_separation.envs import register_envs; register_envs()`` makes the ids known to Gymnasium.
"""

from audio_separation.envs.near_target import LIVE_SPEC_ID, SPEC_ID, register_envs

__all__ = ["LIVE_SPEC_ID", "SPEC_ID", "register_envs"]
