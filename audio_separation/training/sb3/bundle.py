"""A checkpoint of an agent by Stable-Baselines3: weights and all that it takes to act, as tensors and plain data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from yacs.config import CfgNode

from audio_separation.errors import UserError
from audio_separation.training.checkpoint import restore
from audio_separation.training.run_dir import commit_id, plain_config
from audio_separation.training.sb3.algorithms import build_networks

KIND = "sb3"


def bundle(config: CfgNode, policy: BasePolicy, step: int) -> dict[str, Any]:
    """What ``ckpt/ckpt.<step>.pth`` holds.

    Of the synthesizer agent also its space of sounds: the observed columns, how they are scaled, and the hash of the
    lookup table that says so.
    """
    content: dict[str, Any] = {
        "kind": KIND,
        "task": config.TASK.NAME,
        "algorithm": config.SB3.ALGORITHM,
        "policy": policy.state_dict(),
        "step": step,
        "config": plain_config(config),
        "commit": commit_id(),
    }
    if config.TASK.NAME == "synth":
        # imported here: librosa takes seconds
        from audio_separation.envs.synth.world import open_world

        content["sounds"] = open_world(config, "val").plain()
    return content


def check_bundle(content: dict[str, Any], path: Path, task: str) -> None:
    """Refuse a checkpoint of another kind or task.

    Raises:
        UserError: that names what it is.
    """
    kind = content.get("kind")
    if kind != KIND or not isinstance(content.get("config"), dict):
        found = f"of kind {kind!r}" if kind else "of no known kind"
        raise UserError(f"checkpoint {path} is {found}, expected one of TRAINER sb3; give its model dir")
    if content.get("task") != task:
        raise UserError(
            f"checkpoint {path} was trained on TASK.NAME {content.get('task')!r}, this config is of {task!r}; give a "
            f"config or a model dir of the other one"
        )


def load_policy(
    config: CfgNode,
    content: dict[str, Any],
    path: Path,
    observation_space: spaces.Space,
    action_space: spaces.Space,
    device: torch.device,
) -> BasePolicy:
    """The policy of a bundle, ready to act (``predict``).

    Raises:
        UserError: where its weights do not fit the config and the spaces.
    """
    policy = build_networks(config, observation_space, action_space, device)
    restore(policy, content, "policy", path)
    policy.set_training_mode(False)
    return policy
