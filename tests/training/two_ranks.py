"""Run by torchrun in test_ranks.py: trains both ways on two ranks and tries what only several ranks can show."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.distributed as dist

from audio_separation.config import get_config
from audio_separation.errors import UserError
from audio_separation.training import distributed
from audio_separation.training.build import build_trainer

RUNNING = SimpleNamespace(signal=None, exit_code=0)


def collectives(rank: int) -> dict[str, object]:
    """What this rank gets from the helpers; the inputs differ by rank."""
    mine = torch.arange(6.0).view(3, 2) + 6 * rank
    parameter = torch.nn.Parameter(torch.zeros(3))
    parameter.grad = torch.full((3,), float(rank))
    distributed.average_gradients([parameter, torch.nn.Parameter(torch.zeros(2))])
    try:
        distributed.on_main(_fail)
        told = ""
    except UserError as error:
        told = str(error)
    return {
        "gather_envs": distributed.gather_envs(mine).tolist(),
        "standardise": distributed.standardise(mine).tolist(),
        "mean_metrics": distributed.mean_metrics({"a": float(rank), "b": 2.0}, torch.device("cpu")),
        "gradient": parameter.grad.tolist(),
        "any": [
            distributed.any_rank(rank == 1, torch.device("cpu")),
            distributed.any_rank(False, torch.device("cpu")),
        ],
        "told": told,
    }


def leave_by_a_mistake_of_rank_1() -> str:
    """How this rank leaves when rank 1 alone meets a mistake while rank 0 waits for it."""
    try:
        with distributed.join_world("cpu", 1) as world:
            if world.rank == 1:
                raise UserError("seen by rank 1")
            dist.barrier()
    except (UserError, SystemExit) as error:
        return repr(error)
    return "stayed"


def _fail() -> None:
    raise UserError("only rank 0 looked")


def main() -> None:
    out, plans = Path(sys.argv[1]), json.loads(Path(sys.argv[1], "plans.json").read_text())
    world = distributed.init_world("cpu", 1)
    for name, overrides in plans.items():
        code = build_trainer(get_config(None, overrides), str(out / name), world).run(RUNNING)  # type: ignore[arg-type]
        assert code == 0
    found = {**collectives(world.rank), "left": leave_by_a_mistake_of_rank_1()}
    (out / f"rank{world.rank}.json").write_text(json.dumps(found))
    distributed.leave(0)


if __name__ == "__main__":
    main()
