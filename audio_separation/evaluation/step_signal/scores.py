"""Scores of an episode of the step signal.

``success`` and ``final_rms`` are those of the last step: an agent that passes the goal has not solved it.
``first_success`` counts the actions until the first success and is None where there was none.
"""

from __future__ import annotations

from typing import Any, Optional

from audio_separation.envs.step_signal.env import StepSignalEnv
from audio_separation.evaluation.control.trajectory import Trajectory


def episode_scores(trajectory: Trajectory) -> dict[str, Optional[float]]:
    """Scores from the infos and rewards of a whole episode."""
    reached = [info["is_success"] for info in trajectory.infos]
    last = trajectory.infos[-1]
    return {
        "success": float(last["is_success"]),
        "final_rms": last["rms"],
        "first_success": float(reached.index(True)) if any(reached) else None,
        "return": float(sum(trajectory.rewards)),
    }


def episode_record(env: StepSignalEnv, trajectory: Trajectory, agent: str) -> dict[str, Any]:
    """What is kept of an episode: plain data, lists over the observations."""
    assert env.playing is not None
    return {
        "episode": trajectory.number,
        **env.playing._asdict(),
        "actions": trajectory.actions,
        "cutoff_hz": [float(f"{info['cutoff_hz']:.6g}") for info in trajectory.infos],
        "offset": [round(info["offset"], 6) for info in trajectory.infos],
        "rms": [round(info["rms"], 6) for info in trajectory.infos],
        "scores": {agent: episode_scores(trajectory)},
    }
