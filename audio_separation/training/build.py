"""The trainer that a config names."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Protocol

from yacs.config import CfgNode

from audio_separation.errors import UserError
from audio_separation.training.distributed import World
from audio_separation.training.run_dir import StopRequest

TRAINERS = ("passive", "active", "dqn", "separator", "sb3")


class Trainer(Protocol):
    """What every trainer does."""

    def run(self, stop: StopRequest) -> int:
        """Train to the end or to a signal; returns the exit status."""


def build_trainer(config: CfgNode, model_dir: str, world: World) -> Trainer:
    """Make the trainer named by ``TRAINER``.

    Raises:
        UserError: for an unknown name or bad data.
    """
    if config.TRAINER not in TRAINERS:
        raise UserError(f"TRAINER is {config.TRAINER!r}; expected one of {', '.join(TRAINERS)}")
    return _trainer_class(config.TRAINER)(config, Path(model_dir), world)


def _trainer_class(name: str) -> Callable[[CfgNode, Path, World], Trainer]:
    # imported when asked for: rooms and navigation graphs need different libraries
    if name == "passive":
        from audio_separation.training.passive import PassiveTrainer

        return PassiveTrainer
    if name == "active":
        from audio_separation.training.active import ActiveTrainer

        return ActiveTrainer
    if name == "dqn":
        from audio_separation.training.dqn import DqnTrainer

        return DqnTrainer
    if name == "sb3":
        from audio_separation.training.sb3.trainer import Sb3Trainer

        return Sb3Trainer
    from audio_separation.training.separator import SeparatorTrainer

    return SeparatorTrainer
