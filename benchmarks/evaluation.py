"""Evaluation: episodes per second for several batch sizes, against one environment at a time.

Runs the real command, ``main.py --run-type eval``, on a synthetic dataset and freshly initialised networks, all
checkpoints of a model dir in one command as validation does. The first checkpoint also pays for Python's imports,
opening the data and cold caches (``first_s``); the later ones, of which a validation has hundreds, are what
``episodes_per_s`` counts, the fastest of them, from one result file to the next. ``score_difference`` is the largest
one, over all seconds, methods and metrics, to E = 1 of the same checkout (dB for ratios). A batch holds as many
episodes as it can, so a run plays at least as many as its largest batch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple, Optional, Sequence

import harness
import torch
import world
from yacs.config import CfgNode

from audio_separation.config import get_config
from audio_separation.training.active import build_agent
from audio_separation.training.checkpoint import save_checkpoint
from audio_separation.training.run_dir import plain_config

REPO = Path(__file__).resolve().parents[1]
EXPERIMENTS = {"paper": "configs/train/near_target.yaml", "small": "configs/train/near_target_small.yaml"}
EVAL_CONFIG = "configs/val/near_target.yaml"


class Run(NamedTuple):
    """What one command took and found."""

    first_s: float  # from the command to the first checkpoint's result
    checkpoint_s: list[float]  # of every later one
    episodes: int
    scores: dict[str, dict[str, Any]]  # "checkpoint/scene/id" -> method -> metric -> seconds


def main(argv: Optional[Sequence[str]] = None) -> list[dict[str, Any]]:
    """Measure, print and write; returns the rows."""
    args = _parse(argv)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        episodes = max(args.episodes, *args.envs)
        # the WAV tree is what every version reads alike
        overrides = world.make_world(
            root, side=args.side, rir_samples=args.rir_samples, episodes=episodes, stores=("wav",)
        )
        for size in args.sizes:
            model_dir = root / size
            config = get_config(str(REPO / EXPERIMENTS[size]), [*overrides, *args.set])
            for number in range(1, args.checkpoints + 1):
                write_checkpoint(model_dir / f"ckpt/ckpt.{number}.pth", config, number)
            rows += _measure(args, size, model_dir, overrides)
    harness.print_table(rows)
    settings = {key: value for key, value in vars(args).items() if key != "json"}
    harness.write_json(args.json, "evaluation", json.loads(json.dumps(settings, default=str)), rows)
    return rows


def _parse(argv: Optional[Sequence[str]]) -> Any:
    parser = harness.parser(__doc__)
    parser.add_argument("--envs", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--sizes", nargs="+", choices=list(EXPERIMENTS), default=list(EXPERIMENTS))
    parser.add_argument("--episodes", type=int, default=16, help="least episodes a checkpoint is judged by")
    parser.add_argument("--checkpoints", type=int, default=3, help="at least 2: the first one warms up")
    parser.add_argument("--threads", type=int, default=2, help="torch threads")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument(
        "--rounds", type=int, default=1, help="repeat all commands in turn; the fastest count"
    )
    parser.add_argument("--against", type=Path, metavar="OLD_CHECKOUT", help="measure that one in turn, too")
    parser.add_argument("--side", type=int, default=4, help="nodes of the scene's grid along a side")
    parser.add_argument("--rir-samples", type=int, default=world.RATE)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY VALUE", help="config overrides")
    args = parser.parse_args(argv)
    if args.checkpoints < 2:
        parser.error("--checkpoints: expected at least 2, as the first one warms up")
    if 1 not in args.envs:
        args.envs.insert(0, 1)
    return args


def write_checkpoint(path: Path, config: CfgNode, seed: int) -> None:
    """Save freshly initialised networks as the active training does, with no weight at its neutral start."""
    agent = build_agent(config, list(world.CLASSES), torch.device("cpu"))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))
    content = {
        "kind": "active",
        "agent": agent.state_dict(),
        "update": seed,
        "classes": list(world.CLASSES),
        "config": plain_config(config),
    }
    save_checkpoint(path, content)


def _measure(args: Any, size: str, model_dir: Path, overrides: Sequence[str]) -> list[dict[str, Any]]:
    checkouts = {"this": REPO, **({"against": args.against.resolve()} if args.against else {})}
    best: dict[tuple[str, int], Run] = {}
    for round_number in range(args.rounds):
        for envs in args.envs:
            for name, checkout in checkouts.items():
                made = _run(args, checkout, model_dir, overrides, envs, f"{name}_{envs}_{round_number}")
                before = best.get((name, envs))
                if before is None or min(made.checkpoint_s) < min(before.checkpoint_s):
                    best[name, envs] = made
    rows = []
    for (name, envs), run in best.items():
        one, old = best[name, 1], best.get(("against", envs))
        rows.append(
            {
                "size": size,
                "checkout": name,
                "envs": envs,
                "episodes": run.episodes,
                "first_s": run.first_s,
                "checkpoint_s": min(run.checkpoint_s),
                "episodes_per_s": _rate(run),
                "ratio_to_one": _rate(run) / _rate(one),
                "ratio_to_against": _rate(run) / _rate(old) if old else None,
                "score_difference": largest_difference(one.scores, run.scores),
                "difference_to_against": largest_difference(old.scores, run.scores) if old else None,
            }
        )
    return rows


def _rate(run: Run) -> float:
    return run.episodes / min(run.checkpoint_s)


def _run(args: Any, checkout: Path, model_dir: Path, overrides: Sequence[str], envs: int, name: str) -> Run:
    """Evaluate all checkpoints with ``checkout``; the times are those at which results were written."""
    episodes = max(args.episodes, envs)
    words = [
        "DATA.SPLIT", world.SPLIT, "DATA.SOUNDS", world.SPLIT, "DATA.MAX_EPISODES", episodes, "NUM_PROCESSES", envs,
        "EVAL.NAME", name, "EVAL.CHECKPOINT", "all", "THREADS", args.threads, "DEVICE", args.device, "VERBOSE", False,
    ]  # fmt: skip
    command = [sys.executable, str(checkout / "main.py"), "--run-type", "eval", "--exp-config", EVAL_CONFIG]
    command += ["--model-dir", str(model_dir), *overrides, *map(str, words), *args.set]
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    begun = time.time_ns()
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed in {checkout}:\n{done.stderr}")
    folders = [model_dir / f"eval/{name}/ckpt.{number}" for number in range(1, args.checkpoints + 1)]
    written = [begun, *((folder / "summary.json").stat().st_mtime_ns for folder in folders)]
    took = [(after - before) * 1e-9 for before, after in zip(written, written[1:])]
    scores = {}
    for folder in folders:
        for record in json.loads((folder / "episodes.json").read_text())["episodes"]:
            scores[f"{folder.name}/{record['scene']}/{record['episode_id']}"] = record["scores"]
    return Run(took[0], took[1:], episodes, scores)


def largest_difference(first: dict[str, dict[str, Any]], second: dict[str, dict[str, Any]]) -> float:
    """Largest difference of any score of the episodes that both runs played; infinite where one lacks a score."""
    largest = 0.0
    common = first.keys() & second.keys()
    assert common, "the runs have no episode in common"
    for episode in common:
        for method, metrics in first[episode].items():
            for metric, values in metrics.items():
                for a, b in zip(values, second[episode][method][metric]):
                    if (a is None) != (b is None):
                        return float("inf")
                    largest = max(largest, abs(a - b) if a is not None else 0.0)
    return largest


if __name__ == "__main__":
    main()
