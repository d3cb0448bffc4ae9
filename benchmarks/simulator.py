#!/usr/bin/env python3
"""Steps per second of the batched simulator against the plain way and against the floor, in one run.

    python benchmarks/simulator.py [--envs 1 14 64 256] [--json OUT]

A step is a complete near-target training observation (RGB-D, mixture, target, pose) of one environment. `plain` is
benchmarks/plain.py. `floor_share` is the time of the FFTs that no version can skip, alone, in the faster of SciPy and
torch, over the time of a step: the inverse transform of each ear (in paper mode, which rounds every source, of each
source's ear) and the mixture's STFT. `hit_share` is the share of responses whose spectrum was in the cache: with
`--cache-mb 1` nothing is, and what is measured is a warm store.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import scipy.fft
import torch
from harness import interleaved, parser, print_table, write_json
from plain import PlainSimulator
from world import make_world

from audio_separation.audio.stft import N_FFT, NUM_FRAMES, RATE
from audio_separation.config import get_config
from audio_separation.envs.build import build_simulator, load_task_episodes
from audio_separation.envs.simulator import BatchSimulator
from audio_separation.scenes.episodes import Episode
from audio_separation.scenes.layout import paths_from_config
from audio_separation.training.allocator import keep_freed_memory

TOLERANCE = 2e-3  # of an array's largest value, as for the golden observations
PLAIN_ENVS = 4  # environments that the plain way steps in a round
FLOOR_STEPS = 8  # transformed together: as many as stay in the processor's cache


def endless_steps(simulator: BatchSimulator, episodes: list[Episode], seed: int) -> Iterator[None]:
    """Play episodes with random actions for ever, a step at a time."""
    rng = np.random.default_rng(seed)
    while True:
        simulator.reset([episodes[i] for i in rng.integers(len(episodes), size=simulator.num_envs)])
        yield
        for _ in range(simulator.episode_steps - 1):
            simulator.step(rng.integers(0, 3, simulator.num_envs))
            yield


def floor_ffts(mode: str, sources: int, rir_samples: int, device: torch.device) -> dict[str, Callable]:
    """The FFTs of ``FLOOR_STEPS`` steps, by kind and library."""
    n = scipy.fft.next_fast_len(RATE + rir_samples - 1, real=True)
    rng = np.random.default_rng(0)
    signals = FLOOR_STEPS * 2 * (1 if mode == "causal" else sources)
    spectra = rng.standard_normal((signals, n // 2 + 1)) + 1j * rng.standard_normal((signals, n // 2 + 1))
    spectra = spectra.astype(np.complex64)
    frames = rng.standard_normal((FLOOR_STEPS * 2 * NUM_FRAMES, N_FFT), np.float32)
    on_device = torch.from_numpy(spectra).to(device), torch.from_numpy(frames).to(device)
    ffts: dict[str, Callable] = {
        "inverse/torch": lambda: torch.fft.irfft(on_device[0], n),
        "stft/torch": lambda: torch.fft.rfft(on_device[1]),
    }
    if device.type == "cpu":
        ffts["inverse/scipy"] = lambda: scipy.fft.irfft(spectra, n)
        ffts["stft/scipy"] = lambda: scipy.fft.rfft(frames)
    return ffts


def check_equal(simulator: BatchSimulator, plain: PlainSimulator) -> float:
    """Largest difference between both ways, relative to an array's largest value; stops where it is too large."""
    seen, worst = simulator.observe(), 0.0
    for env in range(min(PLAIN_ENVS, simulator.num_envs)):
        for name, theirs in plain.observe(env)._asdict().items():
            ours = getattr(seen, name)[env].cpu().numpy().astype(float)
            worst = max(worst, np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-12))
    if worst > TOLERANCE:
        raise SystemExit(
            f"error: the two ways differ by {worst:.2g} of the largest value, more than {TOLERANCE}"
        )
    return worst


def measure(
    root: Path, overrides: list[str], mode: str, envs: int, args: Any, device: torch.device
) -> dict[str, Any]:
    """One row: steps per second of both ways and of the floor, round by round in turn."""
    config = get_config(None, [*overrides, "AUDIO.MODE", mode, "AUDIO.CACHE_MB", str(args.cache_mb)])
    episodes = load_task_episodes(config)
    simulator = build_simulator(config, episodes, envs, device, target_bin=False)
    plain = PlainSimulator(simulator, paths_from_config(config).rirs_root, mode)
    steps = endless_steps(simulator, episodes, seed=envs)
    for _ in range(args.warm_steps // envs + 1):
        next(steps)
    difference = check_equal(simulator, plain)
    cache = simulator.renderer.rir_spectra.cache
    cache.hits = cache.misses = 0
    repeats = max(1, args.steps // envs)
    timed = interleaved(
        {
            "ours": lambda: [next(steps) for _ in range(repeats)],
            "plain": lambda: [plain.observe(env % envs) for env in range(PLAIN_ENVS)],
            **floor_ffts(mode, len(episodes[0].sounds), args.rir_samples, device),
        },
        rounds=args.rounds,
    )
    seconds = {name: time.median for name, time in timed.items()}
    floor = sum(
        min(value for name, value in seconds.items() if name.startswith(kind)) for kind in ("inverse", "stft")
    )
    ours, plain_step = seconds["ours"] / (repeats * envs), seconds["plain"] / PLAIN_ENVS
    return {
        "mode": mode,
        "envs": envs,
        "threads": args.threads,
        "device": device.type,
        "steps_per_s": 1 / ours,
        "plain_steps_per_s": 1 / plain_step,
        "ratio": plain_step / ours,
        "floor_share": floor / FLOOR_STEPS / ours,
        "hit_share": cache.hits / max(cache.hits + cache.misses, 1),
        "max_difference": difference,
    }


def main(argv: list[str]) -> int:
    """Run and return the exit status."""
    options = parser(__doc__)
    options.add_argument("--envs", type=int, nargs="+", default=[1, 14, 64, 256], metavar="E")
    options.add_argument("--modes", nargs="+", default=["causal", "paper"], choices=["causal", "paper"])
    options.add_argument("--sources", type=int, default=2, help="S (%(default)s)")
    options.add_argument("--rir-samples", type=int, default=RATE, help="of every response (%(default)s)")
    options.add_argument("--threads", type=int, default=1, help="torch threads (%(default)s)")
    options.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options.add_argument("--cache-mb", type=int, default=1024, help="AUDIO.CACHE_MB (%(default)s)")
    options.add_argument("--steps", type=int, default=256, help="steps of ours a round (%(default)s)")
    options.add_argument("--rounds", type=int, default=9, help="(%(default)s)")
    options.add_argument("--warm-steps", type=int, default=8192, help="before the first round (%(default)s)")
    args = options.parse_args(argv)
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    device = torch.device(args.device)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        overrides = make_world(
            Path(folder), rir_samples=args.rir_samples, num_sources=args.sources, stores=["packed", "wav"]
        )
        for mode in args.modes:
            for envs in args.envs:
                rows.append(measure(Path(folder), overrides, mode, envs, args, device))
    print_table(rows)
    write_json(args.json, "simulator", {k: v for k, v in vars(args).items() if k != "json"}, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
