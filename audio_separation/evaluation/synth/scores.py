"""Scores of an episode of the listening synthesizer agent.

All distances are weighted RMSE of standardised descriptors (``envs/synth/rewards.py``), over the steps after the first
action: ``rmse`` their mean, ``late_rmse`` that of the second half, ``reward`` the mean reward of a step, ``near`` the
share of steps at most ``NEAR`` farther from the target than the nearest sound of the lookup table. The method
``nearest`` has the distance of that sound: what no agent can be much better than.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from audio_separation.envs.synth.env import SynthEnv
from audio_separation.envs.synth.rewards import weighted_rmse
from audio_separation.evaluation.control.trajectory import Trajectory

NEAR = 0.1


def episode_scores(rmse: np.ndarray, nearest: np.ndarray, rewards: np.ndarray) -> dict[str, float]:
    """Scores from the distances of the agent and of the nearest sound, and the rewards, ``[T]`` each."""
    return {
        "rmse": float(rmse.mean()),
        "late_rmse": float(rmse[len(rmse) // 2 :].mean()),
        "near": float((rmse <= nearest + NEAR).mean()),
        "reward": float(rewards.mean()),
    }


def nearest_distances(env: SynthEnv, infos: list[dict[str, Any]]) -> np.ndarray:
    """Distance of the table's nearest sound to the target of each step, ``[T]``."""
    distances: list[float] = []
    before = None
    for info in infos:
        target = info["target_sound"]
        # targets often stay, and the search takes a millisecond
        if before is None or not np.array_equal(target, before):
            _, sound = env.world.instrument.nearest_params(target)
            distances.append(float(weighted_rmse(sound, target, env.world.space.weights)))
        else:
            distances.append(distances[-1])
        before = target
    return np.array(distances)


def episode_record(env: SynthEnv, trajectory: Trajectory, agent: str) -> dict[str, Any]:
    """What is kept of an episode: plain data, lists over the observations."""
    infos = trajectory.infos
    rmse = np.array([info["rmse"] for info in infos])
    nearest = nearest_distances(env, infos)
    scores = episode_scores(rmse[1:], nearest[1:], np.array(trajectory.rewards))
    last = infos[0]
    return {
        "episode": trajectory.number,
        "mode": last["mode"],
        "piece": last["piece"],
        "start": last["start"],
        "actions": trajectory.actions,
        "params": [info["params"].round(4).tolist() for info in infos],
        "target_params": [
            None if info["target_params"] is None else info["target_params"].round(4).tolist()
            for info in infos
        ],
        "rmse": rmse.round(4).tolist(),
        "nearest_rmse": nearest.round(4).tolist(),
        "scores": {agent: scores, "nearest": {"rmse": float(nearest[1:].mean())}},
    }
