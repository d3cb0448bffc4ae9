"""A config whose networks are tiny, for the tiny dataset of ``tests/tiny.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Mapping, Optional

import torch
from yacs.config import CfgNode

from audio_separation.config import get_config
from audio_separation.scenes.layout import DatasetPaths
from audio_separation.training.build import build_trainer
from audio_separation.training.distributed import World

REPO = Path(__file__).resolve().parents[1]
SMALL = {
    "DEVICE": "cpu",
    "THREADS": "1",
    "NUM_PROCESSES": "2",
    "TASK.EPISODE_STEPS": "4",
    "SEPARATOR.CHANNELS": "[8,8,8,8,8]",
    "SEPARATOR.CLASS_EMBEDDING": "4",
    "MEMORY.SIZE": "4",
    "MEMORY.CHANNELS": "2",
    "MEMORY.HEADS": "2",
    "MEMORY.FEEDFORWARD": "32",
    "MEMORY.LOSS_STEPS": "3",
    "POLICY.IMAGE_SIZE": "32",
    "POLICY.VISUAL_CHANNELS": "[4,4,4]",
    "POLICY.AUDIO_CHANNELS": "[4,4,4]",
    "POLICY.HIDDEN": "16",
    "PASSIVE.BATCH": "8",
    "PASSIVE.VAL_SAMPLES": "8",
    "PASSIVE.VAL_EVERY": "2",
    "PASSIVE.NUM_STEPS": "4",
    "PPO.NUM_STEPS": "4",
    "PPO.EPOCHS": "2",
    "MEMORY_UPDATE.EPOCHS": "2",
    "NUM_UPDATES": "4",
    "EVAL.REFINE_STEPS": "2",
    "TRAIN.SAVE_EVERY": "2",
    "TRAIN.CHECKPOINT_EVERY": "2",
}


def small_overrides(paths: DatasetPaths, **changes: object) -> list[str]:
    """KEY VALUE words for the command line; a dot in a key of ``changes`` is written as two underscores."""
    roots = {"DATA.ROOT": paths.data_root, "DATA.SOUND_SPACES": paths.sound_spaces_root}
    return override_words({**SMALL, **roots}, changes)


def override_words(values: Mapping[str, object], changes: Mapping[str, object]) -> list[str]:
    """KEY VALUE words of ``values``, with ``changes``, in whose keys two underscores stand for a dot."""
    merged = {**values, **{key.replace("__", "."): value for key, value in changes.items()}}
    return [str(word) for pair in merged.items() for word in pair]


def small_config(paths: DatasetPaths, exp_config: Optional[str] = None, **changes: object) -> CfgNode:
    """The frozen config of tiny networks on the dataset at ``paths``."""
    return get_config(exp_config and str(REPO / exp_config), small_overrides(paths, **changes))


class NoStop:
    """Stands for StopRequest in a run within the test process: no signal handlers; stops after ``checks`` looks."""

    exit_code = 143

    def __init__(self, checks: float = float("inf")):
        self._left = checks

    @property
    def signal(self) -> Optional[int]:
        self._left -= 1
        return None if self._left >= 0 else 15


def train(config: CfgNode, model_dir: Path, stop_after: float = float("inf")) -> int:
    """Train in this process as ``main.py`` does; ``stop_after`` steps or updates a signal arrives."""
    world = World(rank=0, size=1, local_rank=0, local_size=1, device=torch.device("cpu"))
    return build_trainer(config, str(model_dir), world).run(NoStop(stop_after))  # type: ignore[arg-type]
