"""A config of the audition tasks that a test plays or learns in seconds: short sounds, few echoes, tiny networks."""

from __future__ import annotations

from typing import Optional

from small_config import REPO, override_words
from yacs.config import CfgNode

from audio_separation.config import get_config
from audio_separation.scenes.layout import DatasetPaths

SMALL_AUDITION = {
    "TASK.NAME": "audition",
    "DEVICE": "cpu",
    "THREADS": "1",
    "NUM_PROCESSES": "2",
    "AUDITION.SECONDS": "0.25",
    "AUDITION.ROOM.MAX_ORDER": "1",
    "AUDITION.MAX_STEPS": "24",
    "AUDITION.SEPARATOR.HIDDEN": "4",
    "AUDITION.QNET.HIDDEN": "[8]",
    "AUDITION.PRETRAIN.BATCH": "4",
    "AUDITION.PRETRAIN.NUM_STEPS": "12",
    "AUDITION.PRETRAIN.PLACES": "5",
    "AUDITION.PRETRAIN.VAL_EVERY": "3",
    "AUDITION.PRETRAIN.VAL_SAMPLES": "6",
    "EVAL.EPISODES": "4",
    "EVAL.REPORT_EPISODES": "0",
    "DATA.SPLIT": "train",
}


def audition_overrides(paths: DatasetPaths, **changes: object) -> list[str]:
    """KEY VALUE words; a dot in a key of ``changes`` is written as two underscores."""
    return override_words({**SMALL_AUDITION, "DATA.ROOT": paths.data_root}, changes)


def audition_config(paths: DatasetPaths, exp_config: Optional[str] = None, **changes: object) -> CfgNode:
    """The frozen config of a small audition task with the corpus at ``paths``."""
    return get_config(exp_config and str(REPO / exp_config), audition_overrides(paths, **changes))
