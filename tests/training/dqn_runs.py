"""A DQN training that takes seconds."""

from __future__ import annotations

from pathlib import Path

import torch
from audition_config import audition_config
from yacs.config import CfgNode

from audio_separation.scenes.layout import DatasetPaths
from audio_separation.training.distributed import World
from audio_separation.training.dqn import DqnTrainer

CPU = World(rank=0, size=1, local_rank=0, local_size=1, device=torch.device("cpu"))
SMALL_DQN = {
    "TRAINER": "dqn",
    "AUDITION__MAX_STEPS": 9,
    "AUDITION__POSE": True,
    "DQN__NUM_STEPS": 120,
    "DQN__START_STEPS": 20,
    "DQN__UPDATE_EVERY": 4,
    "DQN__BATCH": 4,
    "DQN__TARGET_EVERY": 15,
    "DQN__EPSILON_STEPS": 60,
    "DQN__BUFFER": 40,
    "DQN__VAL_EVERY": 50,
    "DQN__VAL_EPISODES": 3,
}


def dqn_config(paths: DatasetPaths, **changes: object) -> CfgNode:
    """Config of a DQN training of 120 steps in two environments."""
    return audition_config(paths, **{**SMALL_DQN, **changes})


def dqn_trainer(config: CfgNode, model_dir: Path) -> DqnTrainer:
    """A trainer whose environments have begun, without a model dir on the disk yet."""
    model_dir.mkdir(parents=True, exist_ok=True)
    trainer = DqnTrainer(config, model_dir, CPU)
    trainer._begin(range(len(trainer.players)))
    return trainer
