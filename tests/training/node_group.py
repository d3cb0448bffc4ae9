"""Run by torchrun in test_cluster.py, as one node group of two: command lines of main.py, one after the other.

    node_group.py PLANS ROOT [die]

ROOT stands for a disk of this node alone; ``{root}`` in the words of the plans becomes it. With ``die`` rank 1
kills itself in the middle of its fifth update of the active training, once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import main
from audio_separation.training import distributed
from audio_separation.training.active import ActiveTrainer
from audio_separation.training.rollout import Rollout

DIES_AFTER = 4  # updates; the last state before it is that of update 3


def die_once_in_the_middle() -> None:
    """Have rank 1 end as ``kill -9`` would end it, between the policy's update and the memory's."""
    ordinary = ActiveTrainer.update_separator

    def update_separator(trainer: ActiveTrainer, rollout: Rollout) -> dict[str, float]:
        if trainer.update == DIES_AFTER and trainer.world.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return ordinary(trainer, rollout)

    if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        ActiveTrainer.update_separator = update_separator  # type: ignore[method-assign]


def run_plans() -> None:
    distributed.close_world = lambda: (
        None
    )  # one group for all command lines: torchrun's store serves one only
    plans, root = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2]
    if "die" in sys.argv[3:]:
        die_once_in_the_middle()
    for words in plans:
        status = main.main([word.replace("{root}", root) for word in words])
        if status:
            distributed.leave(status)
    distributed.leave(0)


if __name__ == "__main__":
    run_plans()
