"""What the evaluation has to know of each task: its scripted agents, its scores, its report."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Mapping, NamedTuple, Sequence

import gymnasium
import numpy as np
from yacs.config import CfgNode

from audio_separation.evaluation.control.trajectory import Trajectory

ScriptedAgent = Callable[[Any, np.random.Generator], Any]  # (environment, generator) -> action


class Kit(NamedTuple):
    """Of one task.

    Attributes:
        sections: of keys that a checkpoint's own values are taken for.
        own: those among them that the evaluation keeps.
        agents: scripted ones.
        record: (environment, trajectory, agent's name) -> what is kept of an episode, with its ``scores``.
        report: (folder, environment, records, config, summary, model dir) writes a report.
        shown: metrics in the table on the screen.
    """

    sections: tuple[str, ...]
    own: tuple[str, ...]
    agents: Mapping[str, ScriptedAgent]
    record: Callable[[Any, Trajectory, str], dict[str, Any]]
    report: Callable[[Path, gymnasium.Env, Sequence[dict[str, Any]], CfgNode, dict[str, Any], Path], None]
    shown: tuple[str, ...]


def kit_of(task: str) -> Kit:
    """The kit of ``TASK.NAME``, imported when asked for."""
    if task == "synth":
        from audio_separation.evaluation.synth.kit import SYNTH_KIT

        return SYNTH_KIT
    from audio_separation.evaluation.step_signal.kit import STEP_SIGNAL_KIT

    return STEP_SIGNAL_KIT
