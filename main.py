"""Train, evaluate, play live: python main.py --run-type train --exp-config YAML --model-dir DIR [KEY VALUE ...]"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter

EPILOG = """
examples
  pretrain the separators, then train the agent with two processes
    python main.py --run-type train --exp-config configs/pretrain_passive.yaml --model-dir runs/passive
    torchrun --standalone --nproc_per_node 2 main.py --run-type train --exp-config configs/train/near_target.yaml \\
      --model-dir runs/near TRAIN.PASSIVE_CHECKPOINT runs/passive
  validate all checkpoints, then test the best one
    python main.py --run-type eval --exp-config configs/val/near_target_unheard.yaml --model-dir runs/near
    python main.py --run-type eval --exp-config configs/test/near_target_unheard.yaml --model-dir runs/near

KEY VALUE pairs override the config; all keys: audio_separation/config/default.py. A stopped training goes on when the
same command runs again. Other tasks: docs/audition.md, docs/synth.md (also played live), docs/step_signal.md.
"""


def parse_args(argv: list[str]) -> Namespace:
    """Parse the command line; the rest are KEY VALUE overrides."""
    parser = ArgumentParser(description=__doc__, epilog=EPILOG, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--run-type", required=True, choices=["train", "eval", "live"])
    parser.add_argument("--exp-config", required=True, metavar="YAML", help="experiment file in configs/")
    parser.add_argument("--model-dir", required=True, metavar="DIR", help="checkpoints, metrics, results")
    text = "with live: play to this sound file instead of the sound card, and write what was played"
    parser.add_argument("--dry-run", metavar="WAV", default="", help=text)
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
        if args.run_type == "train":
            from audio_separation.training.build import build_trainer

            return build_trainer(config, args.model_dir, world).run(stop)
        if args.run_type == "eval":
            from audio_separation.evaluation.run import evaluate

            return evaluate(config, args.model_dir, world, stop)
        from audio_separation.live.run import live

        return live(config, args.model_dir, args.dry_run, world, stop)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    from audio_separation.training.distributed import leave

    leave(status)
