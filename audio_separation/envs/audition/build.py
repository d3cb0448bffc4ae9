"""From a config to an audition environment."""

from __future__ import annotations

from typing import Optional

from yacs.config import CfgNode

from audio_separation.envs.audition.checks import check_audition
from audio_separation.envs.audition.env import AuditionEnv

__all__ = ["build_env", "build_envs", "check_audition"]


def build_env(config: CfgNode, split: Optional[str] = None) -> AuditionEnv:
    """Make the environment of ``config``; the corpus split is DATA.SOUNDS.

    Args:
        split: that episodes are counted in; default DATA.SPLIT.

    Raises:
        UserError: as :func:`check_audition`, or the corpus is missing.
    """
    return AuditionEnv(config, split=split)


def build_envs(config: CfgNode, count: int, split: Optional[str] = None) -> list[AuditionEnv]:
    """``count`` environments that share their caches of sounds and responses; see :func:`build_env`."""
    envs = [build_env(config, split) for _ in range(count)]
    for env in envs[1:]:
        env.world.sounds, env.world.responses = envs[0].world.sounds, envs[0].world.responses
    return envs
