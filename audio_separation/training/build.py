"""The trainer that a config names."""

from __future__ import annotations

from pathlib import Path
from typing import Union

from yacs.config import CfgNode

from audio_separation.errors import UserError
from audio_separation.training.active import ActiveTrainer
from audio_separation.training.distributed import World
from audio_separation.training.passive import PassiveTrainer


def build_trainer(config: CfgNode, model_dir: str, world: World) -> Union[PassiveTrainer, ActiveTrainer]:
    """Make the trainer named by ``TRAINER``.

    Raises:
        UserError: for an unknown name or bad data.
    """
    trainers: dict[str, Union[type[PassiveTrainer], type[ActiveTrainer]]] = {
        "passive": PassiveTrainer,
        "active": ActiveTrainer,
    }
    if config.TRAINER not in trainers:
        raise UserError(f"TRAINER is {config.TRAINER!r}; expected one of {', '.join(trainers)}")
    return trainers[config.TRAINER](config, Path(model_dir), world)
