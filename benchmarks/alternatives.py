#!/usr/bin/env python3
"""One step of the simulator in its pieces, and what was tried beside what is done: the small figures of the docs.

    python benchmarks/alternatives.py [--envs 64] [--json OUT]

Milliseconds a step of one environment for the simulator's rows, milliseconds a call for the networks'. The fastest
of the rounds counts; `kept` marks what the package does.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Callable

import numpy as np
import scipy.fft
import torch
from harness import interleaved, parser, print_table, write_json
from torch import nn
from world import make_world

from audio_separation.audio.stft import N_FFT, NUM_FRAMES, RATE, irfft, magnitude, stft
from audio_separation.config import get_config
from audio_separation.envs.build import build_simulator, load_task_episodes
from audio_separation.envs.simulator import BatchSimulator
from audio_separation.models.dense import Dense
from audio_separation.training.allocator import keep_freed_memory

Calls = dict[str, Callable[[], object]]
BATCH = 8  # steps that are transformed together in the rows of single FFTs


def pieces(simulator: BatchSimulator) -> Calls:
    """The pieces of one observation, on its own data."""
    renderer, listeners = simulator.renderer, simulator._listeners()
    clips = renderer._clip_seconds(listeners)
    parts = list(renderer._parts(listeners, clips))
    signals = [renderer._convolve(part, False)[0] for part in parts]
    spectra = [stft(signal) for signal in signals]
    targets = [row[0] for row in clips]
    return {
        "whole observation": simulator.observe,
        "look-ups of keys and caches": lambda: list(
            renderer._parts(listeners, renderer._clip_seconds(listeners))
        ),
        "products, sums, inverse FFT": lambda: [renderer._convolve(part, False) for part in parts],
        "windows and STFT": lambda: [stft(signal) for signal in signals],
        "magnitude, log1p": lambda: [magnitude(x).log1p_() for x in spectra],
        "target's magnitude from the cache": lambda: renderer._gather(
            renderer.dry_spectra.magnitudes(targets), targets
        ),
        "pictures": simulator._images,
        "pose": simulator.relative_pose,
    }


def part_sizes(simulator: BatchSimulator) -> Calls:
    """The whole observation with other numbers of environments a part."""

    def observe(size: int) -> None:
        kept, simulator.renderer._chunk = simulator.renderer._chunk, size
        simulator.observe()
        simulator.renderer._chunk = kept

    return {f"parts of {size}": partial(observe, size) for size in (1, 2, 4, 8, 16)}


def transforms(rng: np.random.Generator) -> Calls:
    """The FFTs of ``BATCH`` steps in several ways."""
    frames = rng.standard_normal((BATCH * 2 * NUM_FRAMES, N_FFT), np.float32)
    both = frames[::2] + 1j * frames[1::2]
    calls: Calls = {
        "STFT, SciPy": lambda: scipy.fft.rfft(frames),
        "STFT, torch": lambda: torch.fft.rfft(torch.from_numpy(frames)),
        "STFT, both ears in one complex FFT": lambda: scipy.fft.fft(both),
    }
    for n in (2 * RATE, 1 << 15):
        bins = (BATCH * 2, n // 2 + 1)
        spectrum = torch.from_numpy((rng.standard_normal(bins) + 1j * rng.standard_normal(bins)).astype("c8"))
        calls[f"inverse FFT of {n}, SciPy"] = partial(irfft, spectrum, n)
        calls[f"inverse FFT of {n}, torch"] = partial(torch.fft.irfft, spectrum, n)
    return calls


def networks() -> Calls:
    """Linear layers of the memory, and Adam on its parameters."""
    plain, dense = nn.Linear(1024, 1024), Dense(1024, 1024)
    x = torch.randn(2940, 1024)

    def both_ways(layer: nn.Module) -> None:
        layer(x).sum().backward()

    calls: Calls = {
        "linear layer, torch": partial(both_ways, plain),
        "linear layer, oneDNN": partial(both_ways, dense),
    }
    for name in ("for-loop", "foreach", "fused"):
        weights = [nn.Parameter(torch.randn(1024, 1024)) for _ in range(12)]
        for weight in weights:
            weight.grad = torch.ones_like(weight)
        options = {} if name == "for-loop" else {name: True}
        calls[f"Adam, {name}"] = torch.optim.Adam(weights, **options).step  # type: ignore[arg-type]
    return calls


KEPT = ("STFT, SciPy", "inverse FFT of 32000, SciPy", "parts of 4", "linear layer, oneDNN", "Adam, fused")


def main(argv: list[str]) -> int:
    """Run and return the exit status."""
    options = parser(__doc__)
    options.add_argument("--envs", type=int, default=64, help="of the simulator (%(default)s)")
    options.add_argument("--threads", type=int, default=1, help="torch threads (%(default)s)")
    options.add_argument("--rounds", type=int, default=15, help="(%(default)s)")
    args = options.parse_args(argv)
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    rows: list[dict[str, Any]] = []

    def measure(calls: Calls, per: int) -> None:
        for name, timing in interleaved(calls, args.rounds, warmup=2).items():
            rows.append({"what": name, "ms": 1e3 * timing.min / per, "kept": "yes" if name in KEPT else ""})

    with tempfile.TemporaryDirectory() as folder:
        config = get_config(None, [*make_world(Path(folder)), "AUDIO.CACHE_MB", "1024"])
        episodes = load_task_episodes(config)
        simulator = build_simulator(config, episodes, args.envs, torch.device("cpu"), target_bin=False)
        simulator.reset([episodes[i % len(episodes)] for i in range(args.envs)])
        measure(pieces(simulator), args.envs)
        measure(part_sizes(simulator), args.envs)
    measure(transforms(np.random.default_rng(0)), BATCH)
    measure(networks(), 1)
    print_table(rows)
    write_json(args.json, "alternatives", {"envs": args.envs, "threads": args.threads}, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
