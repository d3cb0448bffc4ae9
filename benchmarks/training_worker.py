"""One training loop of one checkout, an update at a time: what ``training.py`` starts and steers.

Reads ``CHECKOUT CONFIG THREADS SEED [KEY VALUE ...]`` and then, from its standard input, one line an update; answers
each with a line of JSON. It uses only what the first landed version has too, so that one can be compared with it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any


def rollout_bytes(rollout: Any, trainer: Any) -> int:
    """Bytes of the rollout, which holds the external memory's past estimates, and of its rows for the decoder."""
    total = sum(field.nbytes for field in rollout if field is not None)
    if hasattr(trainer, "stages"):
        from audio_separation.models.memory_loss import make_targets

        mono, target = (x.transpose(0, 1) for x in (rollout.mono_mag, rollout.target_mono_mag))
        targets = make_targets(trainer.agent.memory, mono, target)
        total += targets.mono_rows.nbytes + targets.target_rows.nbytes
    return total


def main() -> None:
    """Build the trainer, then play and learn whenever a line comes in."""
    checkout, exp_config, threads = Path(sys.argv[1]).resolve(), sys.argv[2], int(sys.argv[3])
    sys.path.insert(0, str(checkout))
    os.chdir(checkout)
    from audio_separation.config import get_config
    from audio_separation.training.active import ActiveTrainer
    from audio_separation.training.allocator import keep_freed_memory
    from audio_separation.training.distributed import init_world

    keep_freed_memory()
    config = get_config(exp_config, sys.argv[4:])
    world = init_world(config.DEVICE, threads)
    trainer = ActiveTrainer(config, Path("unused"), world)
    trainer._load_pretrained()
    if hasattr(trainer, "stages"):
        from audio_separation.training.stages import Stages

        trainer.stages = Stages(world.device, wait=True)
    print(json.dumps({"frames": config.NUM_PROCESSES * config.PPO.NUM_STEPS}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(update(trainer)), flush=True)


def update(trainer: Any) -> dict[str, Any]:
    """One update, timed."""
    begun, cpu_begun = time.perf_counter(), time.process_time()
    rollout, metrics = trainer.collect()
    collected = time.perf_counter()
    staged = trainer.stages if hasattr(trainer, "stages") else None
    if staged:
        with staged("ppo_update"):
            metrics.update(trainer.update_policy(rollout))
        with staged("memory_update"):
            metrics.update(trainer.update_separator(rollout))
    else:
        metrics.update(trainer.update_policy(rollout))
        learnt = time.perf_counter()
        metrics.update(trainer.update_separator(rollout))
    ended = time.perf_counter()
    trainer.update += 1
    if staged:
        stages = {key.split("/")[1]: value for key, value in staged.take().items()}
    else:
        stages = {
            "collect_s": collected - begun,
            "ppo_update_s": learnt - collected,
            "memory_update_s": ended - learnt,
        }
    return {
        "seconds": ended - begun,
        "cpu_seconds": time.process_time() - cpu_begun,
        "stages": stages,
        "metrics": metrics,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,  # of Linux: in KiB
        "rollout_mb": rollout_bytes(rollout, trainer) / 1e6,
    }


if __name__ == "__main__":
    main()
