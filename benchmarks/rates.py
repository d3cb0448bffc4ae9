#!/usr/bin/env python3
"""What this machine does at best: the rates that the floors in docs/performance.md are computed from.

    python benchmarks/rates.py [--threads 1 2] [--json OUT]

Matrix products of the memory's linear layers, the renderer's FFTs in both libraries (operations counted as
2.5 n log2 n), and copying memory that no cache holds. One row a rate; the fastest of the rounds counts.
"""

from __future__ import annotations

import math
import sys
from functools import partial
from typing import Callable

import numpy as np
import scipy.fft
import torch
from harness import interleaved, machine, parser, print_table, write_json

from audio_separation.audio.stft import N_FFT, RATE
from audio_separation.training.allocator import keep_freed_memory

TOKENS, WIDTH = 2940, 1024  # 14 episodes of 210 (window, step) pairs
BATCH = 16  # signals of a second, or spectrograms' worth of frames


def candidates(device: torch.device) -> dict[tuple[str, str], tuple[float, Callable[[], object]]]:
    """(what, unit) -> amount in units of 1e9, and the call that takes it."""
    tokens, weights = torch.randn(TOKENS, WIDTH, device=device), torch.randn(WIDTH, WIDTH, device=device)
    halves = tokens.bfloat16(), weights.bfloat16()
    product = 2 * TOKENS * WIDTH * WIDTH / 1e9
    large = torch.zeros(1 << 26, device=device)  # 268 MB
    target = torch.empty_like(large)
    second, frames = (
        torch.randn(BATCH, 2 * RATE, device=device),
        torch.randn(32 * BATCH, N_FFT, device=device),
    )
    work: dict[tuple[str, str], tuple[float, Callable[[], object]]] = {
        ("matrix product fp32", "GFLOP/s"): (product, lambda: tokens @ weights),
        ("matrix product bf16", "GFLOP/s"): (product, lambda: halves[0] @ halves[1]),
        ("copy, read and written", "GB/s"): (2 * large.nbytes / 1e9, lambda: target.copy_(large)),
    }
    for name, signals in (("32,000 points", second), ("1,023 points", frames)):
        count = signals.numel() * 2.5 * math.log2(signals.shape[1]) / 1e9
        work[f"FFT of {name}, torch", "GFLOP/s"] = (count, partial(torch.fft.rfft, signals))
        if device.type == "cpu":
            array: np.ndarray = signals.numpy()
            work[f"FFT of {name}, SciPy", "GFLOP/s"] = (count, partial(scipy.fft.rfft, array))
    return work


def main(argv: list[str]) -> int:
    """Run and return the exit status."""
    options = parser(__doc__)
    options.add_argument("--threads", type=int, nargs="+", default=sorted({1, machine()["cores"]}))
    options.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options.add_argument("--rounds", type=int, default=20)
    args = options.parse_args(argv)
    keep_freed_memory()
    rows = []
    for threads in args.threads:
        torch.set_num_threads(threads)
        work = candidates(torch.device(args.device))
        timed = interleaved({what: call for (what, _), (_, call) in work.items()}, args.rounds, warmup=2)
        for (what, unit), (amount, _) in work.items():
            rows.append({"what": what, "threads": threads, "rate": amount / timed[what].min, "unit": unit})
    print_table(rows)
    write_json(args.json, "rates", {"device": args.device, "rounds": args.rounds}, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
