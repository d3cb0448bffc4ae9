#!/usr/bin/env python3
"""Observations per second of the live simulator in a generated home: acoustics, pictures and the rest.

    python benchmarks/live.py [--rays 100 500 2000] [--processes 1 2] [--json OUT]

An observation is a complete second of an agent that moves at random: the responses of its two sources at each new
pose, the faded sound and its spectrograms, a picture with depth. Each process steps one environment by itself, as
ranks of torchrun do; `observations_per_s` is what they make together. Milliseconds are those of one observation in
one process; `acoustics_ms` is the simulation of the responses, `sight_ms` the ray casting.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, NamedTuple

import harness  # first: it puts the package on the path
import numpy as np
import torch
from world import SPLIT, write_clips

from audio_separation.audio.clips import ClipLibrary
from audio_separation.config import get_config
from audio_separation.envs.build import build_simulator, load_task_episodes
from audio_separation.envs.live.simulator import LiveSimulator
from audio_separation.scenes.draw import make_active_episodes
from audio_separation.scenes.episodes import save_episodes
from audio_separation.scenes.generate.home import make_home
from audio_separation.scenes.generate.plan import preset_named
from audio_separation.scenes.generate.scene import FORMAT_VERSION
from audio_separation.scenes.graph import load_graph, write_metadata
from audio_separation.scenes.layout import DatasetPaths

HOME = "home_000"


class Task(NamedTuple):
    """What one process measures."""

    overrides: list[str]
    rays: int
    seed: int
    steps: int


class Rates(NamedTuple):
    """Of one process, an observation each."""

    seconds: float
    acoustics_s: float
    sight_s: float
    simulated: float
    triangles: int


def make_home_world(root: Path, preset: str, seed: int) -> list[str]:
    """Write points, graph, home.json, sounds and episodes of one home; returns the overrides that name them."""
    paths = DatasetPaths(root / "data", root / "sound_spaces")
    write_clips(paths.corpus_root, seed)
    home = make_home(seed, preset_named(preset))
    folder = paths.metadata(HOME)
    write_metadata(folder, home.positions, home.edges)
    settings = {"preset": preset, "grid_m": 1.0, "rays": preset_named(preset).rays, "format": FORMAT_VERSION}
    record = {"settings": settings, "seed": seed, "source_nodes": list(range(len(home.positions)))}
    (folder / "home.json").write_text(json.dumps(record))
    graph, clips = load_graph(folder), ClipLibrary(paths.corpus_root, SPLIT)
    rng = np.random.default_rng(seed)
    save_episodes(paths.active_root, SPLIT, make_active_episodes(graph, clips, None, 64, rng, HOME))
    return ["DATA.ROOT", str(paths.data_root), "DATA.SOUND_SPACES", str(paths.sound_spaces_root)]


def stopwatch(run: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    """``run``, with the seconds of each call added to ``spent``."""

    def timed(*args: Any) -> Any:
        begun = time.perf_counter()
        try:
            return run(*args)
        finally:
            spent.append(time.perf_counter() - begun)

    return timed


def measure(task: Task) -> Rates:
    """Play episodes with random actions."""
    torch.set_num_threads(1)
    config = get_config(None, [*task.overrides, "LIVE.RAYS", str(task.rays)])
    episodes = load_task_episodes(config)
    simulator = build_simulator(config, episodes, 1, torch.device("cpu"), target_bin=False)
    assert isinstance(simulator, LiveSimulator)
    scene = simulator.live_scenes[HOME]
    acoustics: list[float] = []
    sight: list[float] = []
    rng = np.random.default_rng(task.seed)
    simulator.reset([episodes[rng.integers(len(episodes))]])  # builds what is built on first use
    simulator.rirs._simulate = stopwatch(simulator.rirs._simulate, acoustics)  # type: ignore[method-assign]
    scene.sight.view = stopwatch(scene.sight.view, sight)  # type: ignore[method-assign]
    begun, made = time.perf_counter(), 0
    while made < task.steps:
        simulator.reset([episodes[rng.integers(len(episodes))]])
        made += 1
        for _ in range(min(simulator.episode_steps - 1, task.steps - made)):
            simulator.step(rng.integers(0, 3, 1))
            made += 1
    seconds = time.perf_counter() - begun
    return Rates(
        seconds / made,
        sum(acoustics) / made,
        sum(sight) / made,
        len(acoustics) / made,
        len(scene.surfaces.faces),
    )


def row(overrides: list[str], rays: int, processes: int, args: Any) -> dict[str, Any]:
    """One row: ``processes`` at the same time."""
    tasks = [Task(overrides, rays, seed, args.steps) for seed in range(processes)]
    if processes == 1:
        rates = [measure(tasks[0])]
    else:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            rates = pool.map(measure, tasks, chunksize=1)
    mean = Rates(*np.mean(rates, axis=0).tolist())
    return {
        "rays": rays,
        "processes": processes,
        "observations_per_s": sum(1 / rate.seconds for rate in rates),
        "observation_ms": 1e3 * mean.seconds,
        "acoustics_ms": 1e3 * mean.acoustics_s,
        "sight_ms": 1e3 * mean.sight_s,
        "rest_ms": 1e3 * (mean.seconds - mean.acoustics_s - mean.sight_s),
        "poses_simulated": mean.simulated,
        "triangles": int(mean.triangles),
    }


def main(argv: list[str]) -> int:
    """Run and return the exit status."""
    options = harness.parser(__doc__)
    options.add_argument("--rays", type=int, nargs="+", default=[100, 500, 2000], metavar="R")
    options.add_argument("--processes", type=int, nargs="+", default=[1, 2], metavar="P")
    options.add_argument("--preset", default="mini", help="of the home: mini or small (%(default)s)")
    options.add_argument("--seed", type=int, default=0, help="of the home (%(default)s)")
    options.add_argument("--moves", type=int, default=1, help="LIVE.STEPS_PER_SECOND (%(default)s)")
    options.add_argument("--resolution", type=int, default=128, help="of the pictures (%(default)s)")
    options.add_argument("--context", default="fresh", choices=["fresh", "kept"], help="(%(default)s)")
    options.add_argument("--steps", type=int, default=100, help="observations of a process (%(default)s)")
    args = options.parse_args(argv)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        overrides = [
            *make_home_world(Path(folder), args.preset, args.seed),
            "SIMULATOR.TYPE", "live", "LIVE.STEPS_PER_SECOND", str(args.moves),
            "LIVE.RESOLUTION", str(args.resolution), "LIVE.CONTEXT", args.context,
        ]  # fmt: skip
        rows = [row(overrides, rays, processes, args) for rays in args.rays for processes in args.processes]
    harness.print_table(rows)
    harness.write_json(args.json, "live", {k: v for k, v in vars(args).items() if k != "json"}, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
