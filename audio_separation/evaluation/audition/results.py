"""What an evaluation of an audition task leaves: ``episodes.json``, ``summary.json``, and knowing them again.

``summary.json`` holds ``methods -> method -> metric -> {mean, ci95, n}``, over episodes. The methods are the agent
that moved (``policy``, ``random``, ``oracle``), and along its way ``mixture`` and ``ideal_mask``; the metrics are
those of :mod:`audio_separation.evaluation.audition.scores`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional, Sequence

from yacs.config import CfgNode

from audio_separation.evaluation.records import summarise_methods
from audio_separation.evaluation.results import (
    CONTROL_SECTIONS,
    FREE_EVAL_SECTIONS,
    Checkpoint,
    find_finished,
)
from audio_separation.training.run_dir import run_record

TASK = "audition"
# what changes no score of a greedy agent whose weights are given, or belongs to other tasks
FREE_SECTIONS = (
    *FREE_EVAL_SECTIONS, "DQN.", "AUDITION.PRETRAIN.", "AUDITION.CACHE_MB", "AUDITION.SEPARATOR.CHECKPOINT",
    "AUDITION.SEPARATOR.FROZEN", "AUDIO.", "SEPARATOR.", "MEMORY.", "POLICY.", "SIMULATOR.", "LIVE.", *CONTROL_SECTIONS,
)  # fmt: skip


def build_summary(
    records: Sequence[dict[str, Any]],
    config: CfgNode,
    checkpoint: Checkpoint,
    trained: Optional[dict[str, Any]],
) -> dict[str, Any]:
    """Means over episodes with the half widths of their 95 % intervals, and the record of the run.

    Args:
        trained: the plain config that the agent was trained with; None for a scripted one.
    """
    return {
        "task": TASK,
        "split": config.DATA.SPLIT,
        "sounds": config.DATA.SOUNDS,
        "agent": config.EVAL.AGENT,
        "checkpoint": checkpoint.name,
        "checkpoint_sha256": checkpoint.sha256,
        "episodes": len(records),
        "methods": summarise_methods(records),
        "record": run_record(config),
        "trained_config": trained,
    }


def find_result(folder: Path, config: CfgNode, checkpoint: Checkpoint) -> Optional[dict[str, Any]]:
    """The summary in ``folder`` if it is of this very evaluation; None where there is none yet.

    Raises:
        UserError: when the folder holds the result of another config or of another checkpoint.
    """
    # an action that is drawn depends on the last epsilon
    held = () if config.EVAL.DETERMINISTIC else ("DQN.EPSILON_END",)
    return find_finished(folder, config, checkpoint, FREE_SECTIONS, held)
