"""How cost grows: a step of the simulator with batch, sources, response length and scenes; training with processes.

One quantity changes at a time, the others stay at 16 environments, 2 sources, responses of 1 s and 1 scene. A step
is a complete observation of the near-target task (RGB-D, mixture, target, pose) in every environment. ``cold`` is
the first batch of episodes after the dataset is opened (the files themselves may be in the system's cache), ``warm``
the fastest repeat of the same episodes and actions. The sweep over scenes gives the cached spectra ``--cache-mb``
only, which the responses of a few scenes exceed.

Training runs the real command line, the same number of environments in one process and spread over two under
torchrun, with the same number of threads in total; ``communication_share`` is that stage's share of the update.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple, Optional, Sequence

import harness
import numpy as np
import torch
import world

from audio_separation.config import get_config
from audio_separation.envs.build import build_simulator, load_task_episodes
from audio_separation.envs.simulator import ACTIONS, BatchSimulator
from audio_separation.models.build import build_separator
from audio_separation.scenes.episodes import Episode
from audio_separation.training.checkpoint import save_checkpoint
from audio_separation.training.run_dir import plain_config

REPO = Path(__file__).resolve().parents[1]
CONFIGS = {"paper": "configs/train/near_target.yaml", "small": "configs/train/near_target_small.yaml"}
ENVS = {"cpu": (1, 4, 16, 64, 256), "cuda": (1, 16, 64, 256, 1024, 4096)}
AMPLE_CACHE_MB = 1024  # more than the spectra of any world here but those of the sweep over scenes


class Case(NamedTuple):
    """One point of a sweep."""

    envs: int = 16
    sources: int = 2
    rir_s: float = 1.0
    scenes: int = 1
    cache_mb: int = AMPLE_CACHE_MB


class Play(NamedTuple):
    """One batch of episodes and what the agents do in it."""

    episodes: list[Episode]
    actions: np.ndarray  # [T - 1, E]


def main(argv: Optional[Sequence[str]] = None) -> list[dict[str, Any]]:
    """Measure, print and write; returns the rows."""
    args = _parse(argv)
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        rows = simulator_rows(args, Path(folder))
        if rows:
            harness.print_table(rows)
        trained = training_rows(args, Path(folder)) if args.updates else []
        if trained:
            print()
            harness.print_table(trained)
    settings = {key: value for key, value in vars(args).items() if key != "json"}
    harness.write_json(args.json, "scaling", settings, [*rows, *trained])
    return [*rows, *trained]


def _parse(argv: Optional[Sequence[str]]) -> Any:
    parser = harness.parser(__doc__)
    parser.add_argument("--device", default="cpu", choices=list(ENVS))
    parser.add_argument("--envs", type=int, nargs="*", help="default: 1 to 256, on a GPU 1 to 4096")
    parser.add_argument("--sources", type=int, nargs="*", default=[1, 2, 3, 4])
    parser.add_argument("--rir-s", type=float, nargs="*", default=[0.25, 0.5, 1.0, 2.0])
    parser.add_argument("--scenes", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--cache-mb", type=int, default=128, help="bound in the sweep over scenes")
    parser.add_argument("--side", type=int, default=3, help="nodes of each scene's grid along a side")
    parser.add_argument("--steps", type=int, default=20, help="of an episode")
    parser.add_argument("--rounds", type=int, default=3, help="warm repeats")
    parser.add_argument("--threads", type=int, default=1, help="torch threads of the simulator")
    parser.add_argument(
        "--updates", type=int, default=3, help="of the training, after a first one; 0: no training"
    )
    parser.add_argument("--size", default="small", choices=list(CONFIGS), help="networks of the training")
    parser.add_argument("--train-envs", type=int, default=14, help="environments of all processes together")
    args = parser.parse_args(argv)
    if args.envs is None:
        args.envs = list(ENVS[args.device])
    return args


# ---- the simulator ----------------------------------------------------------------------------------
def simulator_rows(args: Any, root: Path) -> list[dict[str, Any]]:
    """One row for each point of each sweep."""
    sweeps = [
        ("envs", [Case(envs=value) for value in args.envs]),
        ("sources", [Case(sources=value) for value in args.sources]),
        ("rir_s", [Case(rir_s=value) for value in args.rir_s]),
        ("scenes", [Case(scenes=value, cache_mb=args.cache_mb) for value in args.scenes]),
    ]
    return [simulator_row(args, root, sweep, case) for sweep, cases in sweeps for case in cases]


def simulator_row(args: Any, root: Path, sweep: str, case: Case) -> dict[str, Any]:
    """Open the dataset anew, play a batch cold, then the same one warm."""
    data = _world(root, case, args.side)
    config = get_config(
        str(REPO / CONFIGS["paper"]),
        [*data, "TASK.EPISODE_STEPS", str(args.steps), "AUDIO.CACHE_MB", str(case.cache_mb)],
    )
    everything = load_task_episodes(config)
    # spread over the file, so that every scene takes part
    episodes = [everything[e * len(everything) // case.envs % len(everything)] for e in range(case.envs)]
    rng = np.random.default_rng(0)
    play = Play(episodes, rng.integers(0, len(ACTIONS), (args.steps - 1, case.envs)))
    simulator = build_simulator(config, everything, case.envs, torch.device(args.device), target_bin=False)
    cold = _seconds(simulator, play)
    warm = min(_seconds(simulator, play) for _ in range(args.rounds))
    return {
        "sweep": sweep,
        **case._asdict(),
        "device": args.device,
        "threads": args.threads,
        "cold_steps_per_s": case.envs * args.steps / cold,
        "warm_steps_per_s": case.envs * args.steps / warm,
        "warm_ms_per_batch": 1e3 * warm / args.steps,
        "warm_over_cold": cold / warm,
    }


def _world(root: Path, case: Case, side: int) -> list[str]:
    """The dataset of a case, written once."""
    folder = root / f"world_{case.sources}_{case.rir_s}_{case.scenes}"
    if folder.exists():
        return ["DATA.ROOT", str(folder / "data"), "DATA.SOUND_SPACES", str(folder / "sound_spaces")]
    samples = round(case.rir_s * world.RATE)
    return world.make_world(
        folder, scenes=case.scenes, side=side, rir_samples=samples, num_sources=case.sources
    )


def _seconds(simulator: BatchSimulator, play: Play) -> float:
    begun = time.perf_counter()
    simulator.reset(play.episodes)
    for actions in play.actions:
        simulator.step(actions)
    if simulator.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


# ---- training ---------------------------------------------------------------------------------------
def training_rows(args: Any, root: Path) -> list[dict[str, Any]]:
    """The same environments in one process with two threads, and in two processes."""
    data = _world(root, Case(), args.side)
    exp_config = str(REPO / CONFIGS[args.size])
    _write_separator(root / "passive", exp_config, data)
    data = [*data, "TRAIN.PASSIVE_CHECKPOINT", str(root / "passive"), "DEVICE", args.device]
    rows = [
        training_row(args, root, data, processes=processes, threads=2 // processes) for processes in (1, 2)
    ]
    for row in rows:
        row["ratio_to_one"] = row["frames_per_s"] / rows[0]["frames_per_s"]
    return rows


def training_row(args: Any, root: Path, data: Sequence[str], processes: int, threads: int) -> dict[str, Any]:
    """Median update of the real command, without the first one, which warms up."""
    model_dir, envs = root / f"train_{processes}", args.train_envs // processes
    words = ["NUM_PROCESSES", envs, "THREADS", threads, "NUM_UPDATES", args.updates + 1, "VERBOSE", False]
    words += ["TASK.EPISODE_STEPS", args.steps, "PPO.NUM_STEPS", args.steps]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command = [
        sys.executable,
        *(launch if processes > 1 else []),
        str(REPO / "main.py"),
        "--run-type",
        "train",
    ]
    command += ["--exp-config", CONFIGS[args.size], "--model-dir", str(model_dir), *data, *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    lines = [json.loads(line) for line in (model_dir / "timing.jsonl").read_text().splitlines()]
    stages = [
        {key: value for key, value in line.items() if key.startswith("time/") and key.endswith("_s")}
        for line in lines[1:]
    ]
    for line in stages:  # rates are no stages
        line.pop("time/updates_per_s"), line.pop("time/frames_per_s")
    update_s = statistics.median(sum(line.values()) for line in stages)
    waiting = statistics.median(line.get("time/communication_s", 0.0) for line in stages)
    frames = processes * envs * args.steps
    return {
        "sweep": "processes",
        "size": args.size,
        "processes": processes,
        "envs_each": envs,
        "threads_each": threads,
        "device": args.device,
        "frames_per_s": frames / update_s,
        "update_s": update_s,
        "communication_share": waiting / update_s,
    }


def _write_separator(folder: Path, exp_config: str, data: Sequence[str]) -> None:
    """Freshly initialised separators as a pretraining writes them: what they say does not change the time."""
    config = get_config(exp_config, data)
    content = {
        "kind": "passive",
        "separator": build_separator(config, len(world.CLASSES)).state_dict(),
        "classes": list(world.CLASSES),
        "config": plain_config(config),
    }
    folder.mkdir()
    save_checkpoint(folder / "best.pth", content)


if __name__ == "__main__":
    main()
