"""Train or evaluate: python main.py --run-type train --exp-config configs/... --model-dir runs/... [KEY VALUE ...]"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter

EPILOG = """
examples
  pretrain the separators
    python main.py --run-type train --exp-config configs/pretrain_passive.yaml --model-dir runs/passive
  train the agent with two processes
    torchrun --standalone --nproc_per_node 2 main.py --run-type train --exp-config configs/train/near_target.yaml \\
      --model-dir runs/near TRAIN.PASSIVE_CHECKPOINT runs/passive
  validate all checkpoints
    python main.py --run-type eval --exp-config configs/val/near_target_unheard.yaml --model-dir runs/near
  test the best one
    python main.py --run-type eval --exp-config configs/test/near_target_unheard.yaml --model-dir runs/near

KEY VALUE pairs override the config; all keys with their meaning: audio_separation/config/default.py.
Run a stopped training again with the same command and it goes on. Finding sources by ear: docs/audition.md.
"""


def parse_args(argv: list[str]) -> Namespace:
    """Parse the command line; the rest are KEY VALUE overrides."""
    about = "Active audio-visual separation: train or evaluate."
    parser = ArgumentParser(description=about, epilog=EPILOG, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--run-type", required=True, choices=["train", "eval"])
    parser.add_argument("--exp-config", required=True, metavar="YAML", help="experiment file in configs/")
    parser.add_argument("--model-dir", required=True, metavar="DIR", help="checkpoints, metrics, results")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="config overrides such as SEED 3")
    return parser.parse_intermixed_args(argv)


def main(argv: list[str]) -> int:
    """Run and return the exit status; a user's mistake is one sentence and status 2."""
    from audio_separation.errors import UserError

    args = parse_args(argv)
    try:
        return _run(args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except SystemExit as left:  # a rank that leaves because another has told the mistake
        return int(left.code or 0)
    except KeyboardInterrupt:  # while importing; later on StopRequest takes the signal
        return 130


def _run(args: Namespace) -> int:
    # heavy imports come after the arguments are known to be good, so that --help is instant
    from audio_separation.config import get_config
    from audio_separation.training.allocator import keep_freed_memory
    from audio_separation.training.distributed import join_world
    from audio_separation.training.run_dir import StopRequest

    config = get_config(args.exp_config, args.overrides)
    keep_freed_memory()
    stop = StopRequest()
    with join_world(config.DEVICE, config.THREADS) as world:
        if args.run_type == "eval":
            from audio_separation.evaluation.run import evaluate

            return evaluate(config, args.model_dir, world, stop)
        from audio_separation.training.build import build_trainer

        return build_trainer(config, args.model_dir, world).run(stop)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    if "WORLD_SIZE" in os.environ:
        from audio_separation.training.distributed import leave

        leave(status)
    sys.exit(status)
