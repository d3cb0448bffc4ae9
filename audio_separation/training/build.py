"""The trainer that a config names."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Protocol

from yacs.config import CfgNode

from audio_separation.errors import UserError
from audio_separation.training.active import ActiveTrainer
from audio_separation.training.distributed import World
from audio_separation.training.passive import PassiveTrainer
from audio_separation.training.run_dir import StopRequest


class Trainer(Protocol):
    """What trains to the end, or until it is asked to stop."""

    def run(self, stop: StopRequest) -> int:
        """Train; returns the exit status (0, or that of the signal that stopped it)."""
        ...


def _separator_trainer(config: CfgNode, model_dir: Path, world: World) -> Trainer:
    # imported here: it needs pyroomacoustics, which the near-target task does not
    from audio_separation.training.separator import SeparatorTrainer

    return SeparatorTrainer(config, model_dir, world)


TRAINERS: dict[str, Callable[[CfgNode, Path, World], Trainer]] = {
    "passive": PassiveTrainer,
    "active": ActiveTrainer,
    "separator": _separator_trainer,
}


def build_trainer(config: CfgNode, model_dir: str, world: World) -> Trainer:
    """Make the trainer named by ``TRAINER``.

    Raises:
        UserError: for an unknown name or bad data.
    """
    if config.TRAINER not in TRAINERS:
        raise UserError(f"TRAINER is {config.TRAINER!r}; expected one of {', '.join(TRAINERS)}")
    return TRAINERS[config.TRAINER](config, Path(model_dir), world)
