"""From a config to an algorithm or a policy of Stable-Baselines3."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3, HerReplayBuffer
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv
from yacs.config import CfgNode

from audio_separation.errors import UserError

ALGORITHMS: dict[str, type[BaseAlgorithm]] = {
    "PPO": PPO, "A2C": A2C, "DQN": DQN, "SAC": SAC, "DDPG": DDPG, "TD3": TD3,
}  # fmt: skip
ON_POLICY = ("PPO", "A2C")
CONTINUOUS = ("SAC", "DDPG", "TD3")


def check_algorithm(config: CfgNode, observation_space: spaces.Space, action_space: spaces.Space) -> None:
    """Refuse an algorithm that cannot learn with these spaces.

    Raises:
        UserError: that names the keys.
    """
    name, synth = config.SB3.ALGORITHM, config.TASK.NAME == "synth"
    wanted = spaces.Discrete if name == "DQN" else spaces.Box if name in CONTINUOUS else spaces.Space
    if not isinstance(action_space, wanted):
        cure = f"set SYNTH.ACTIONS {'joint' if name == 'DQN' else 'delta'}" if synth else "choose another"
        raise UserError(
            f"SB3.ALGORITHM {name} needs actions in a {wanted.__name__} space, found {type(action_space).__name__}; "
            f"{cure}"
        )
    if config.SB3.HER and (name in ON_POLICY or not isinstance(observation_space, spaces.Dict)):
        raise UserError(
            f"SB3.HER relabels goals for off-policy algorithms, found SB3.ALGORITHM {name} on TASK.NAME "
            f"{config.TASK.NAME}; set it to False"
        )
    if not config.SB3.HIDDEN or any(type(width) is not int or width < 1 for width in config.SB3.HIDDEN):
        raise UserError(f"config key SB3.HIDDEN must list widths of layers, found {config.SB3.HIDDEN}")


def check_training(config: CfgNode) -> None:
    """Refuse settings that a training would fail with, once it is under way.

    Raises:
        UserError: that names the keys.
    """
    sb3, count = config.SB3, config.NUM_PROCESSES
    if not sb3.LR > 0:
        raise UserError(f"config key SB3.LR must be above 0, found {sb3.LR}; 0.0003 is a usual one")
    if sb3.ALGORITHM == "PPO":  # its advantages are divided by their standard deviation over a batch
        for what, value in (
            ("SB3.BATCH", sb3.BATCH),
            ("SB3.ROLLOUT times NUM_PROCESSES", sb3.ROLLOUT * count),
        ):
            if value < 2:
                raise UserError(f"{what} must be 2 or more for PPO, found {value}; raise it")
    if sb3.HER:
        # goals are taken from whole episodes: one must have ended before the first update, and one must stay in the
        # buffer while the next is written over older ones
        steps = config.STEP_SIGNAL.MAX_STEPS * count
        for key, least in (("START_STEPS", steps), ("BUFFER", 2 * steps)):
            if sb3[key] < least:
                raise UserError(
                    f"SB3.HER needs whole episodes of STEP_SIGNAL.MAX_STEPS in NUM_PROCESSES {count} environments, so "
                    f"SB3.{key} must be {least} or more, found {sb3[key]}; raise it"
                )


def schedule(config: CfgNode) -> Any:
    """The learning rate: a number, or a function of the part of the training that is left."""
    rate = config.SB3.LR
    return (lambda left: left * rate) if config.SB3.LR_DECAY else rate


def policy_arguments(config: CfgNode) -> dict[str, Any]:
    """Sizes of the networks; DDPG is TD3 with one critic."""
    sizes: dict[str, Any] = {"net_arch": list(config.SB3.HIDDEN)}
    return {**sizes, "n_critics": 1} if config.SB3.ALGORITHM == "DDPG" else sizes


def build_algorithm(config: CfgNode, envs: VecEnv, device: torch.device) -> BaseAlgorithm:
    """The algorithm of the section SB3 with untrained networks, and every random generator seeded.

    Raises:
        UserError: as :func:`check_algorithm`.
    """
    check_algorithm(config, envs.observation_space, envs.action_space)
    sb3 = config.SB3
    arguments: dict[str, Any] = {
        "learning_rate": schedule(config),
        "gamma": sb3.GAMMA,
        "seed": config.SEED,
        "device": device,
        "policy_kwargs": policy_arguments(config),
        "verbose": 0,
    }
    special = _on_policy(sb3) if sb3.ALGORITHM in ON_POLICY else _off_policy(sb3, envs)
    return ALGORITHMS[sb3.ALGORITHM](_policy_name(envs.observation_space), envs, **arguments, **special)


def build_networks(
    config: CfgNode, observation_space: spaces.Space, action_space: spaces.Space, device: torch.device
) -> BasePolicy:
    """The policy of the section SB3 alone, untrained, for acting.

    Raises:
        UserError: as :func:`check_algorithm`.
    """
    check_algorithm(config, observation_space, action_space)
    aliases = ALGORITHMS[config.SB3.ALGORITHM].policy_aliases
    constant: Callable[[float], float] = lambda left: config.SB3.LR  # noqa: E731 - a schedule that nobody follows
    policy = aliases[_policy_name(observation_space)](
        observation_space, action_space, constant, **policy_arguments(config)
    )
    return policy.to(device)


def _policy_name(observation_space: spaces.Space) -> str:
    return "MultiInputPolicy" if isinstance(observation_space, spaces.Dict) else "MlpPolicy"


def _on_policy(sb3: CfgNode) -> dict[str, Any]:
    shared = {
        "n_steps": sb3.ROLLOUT,
        "gae_lambda": sb3.GAE_LAMBDA,
        "ent_coef": sb3.ENTROPY_COEF,
        "vf_coef": sb3.VALUE_COEF,
        "max_grad_norm": sb3.MAX_GRAD_NORM,
    }
    if sb3.ALGORITHM == "A2C":
        return shared
    return {**shared, "batch_size": sb3.BATCH, "n_epochs": sb3.EPOCHS, "clip_range": sb3.CLIP}


def _off_policy(sb3: CfgNode, envs: VecEnv) -> dict[str, Any]:
    shared = {
        "buffer_size": sb3.BUFFER,
        "learning_starts": sb3.START_STEPS,
        "batch_size": sb3.BATCH,
        "train_freq": max(1, sb3.TRAIN_FREQ // envs.num_envs),
        "gradient_steps": sb3.GRADIENT_STEPS,
    }
    if sb3.HER:
        # copies of infos would only serve rewards that read them
        replay = {
            "n_sampled_goal": sb3.HER_GOALS,
            "goal_selection_strategy": "future",
            "copy_info_dict": False,
        }
        shared.update(replay_buffer_class=HerReplayBuffer, replay_buffer_kwargs=replay)
    if sb3.ALGORITHM == "DQN":
        return {
            **shared,
            "target_update_interval": sb3.TARGET_EVERY,
            "exploration_fraction": sb3.EPSILON_FRACTION,
            "exploration_final_eps": sb3.EPSILON_END,
            "max_grad_norm": sb3.MAX_GRAD_NORM,
        }
    if sb3.ALGORITHM == "SAC":
        return {**shared, "tau": sb3.TAU}
    still = np.zeros(envs.action_space.shape or ())
    noise = NormalActionNoise(still, still + sb3.ACTION_NOISE)
    return {**shared, "tau": sb3.TAU, "action_noise": noise}
