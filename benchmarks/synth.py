#!/usr/bin/env python3
"""Speed of the descriptors and of lookup tables.

    python benchmarks/synth.py [--blocks 1 4 18 400] [--subdivisions 15] [--processes 1 2] [--json OUT]

First descriptors: sound of so many hops at a time, as live playing (4), a row of a table (18) and the analysis of a
recording (hundreds) ask for them. `frames_per_s` counts rows of 57 descriptors, `times_real_time` the sound that they
cover, `ratio` is to the first line. Then tables of fm3 by the closed form, from rendering to the finished file, with
one process or several; `ratio` is to the first line.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import harness  # first of ours: it puts the package on the path
import numpy as np

from audio_separation.audio.descriptors import HOP, WINDOW, describe
from audio_separation.audio.synths import RATE
from audio_separation.envs.synth.table_jobs import TableJob, TableRun

FRAMES = 400  # described in a round, at least


def measure_descriptors(blocks: list[int], rounds: int) -> list[dict[str, Any]]:
    """One row for each number of hops at a time."""
    noise = 0.1 * np.random.default_rng(0).normal(size=WINDOW + max(blocks) * HOP)
    repeats = {hops: max(1, FRAMES // hops) for hops in blocks}

    def describe_blocks(hops: int) -> None:
        wave = noise[: WINDOW + (hops - 1) * HOP]
        for _ in range(repeats[hops]):
            describe(wave, RATE)

    timed = harness.interleaved(
        {str(hops): lambda hops=hops: describe_blocks(hops) for hops in blocks},  # type: ignore[misc]
        rounds=rounds,
    )
    rates = {hops: hops * repeats[hops] / timed[str(hops)].median for hops in blocks}
    return [
        {
            "hops": hops,
            "ms": 1e3 * timed[str(hops)].median / repeats[hops],
            "ms_max": 1e3 * timed[str(hops)].max / repeats[hops],
            "frames_per_s": rates[hops],
            "times_real_time": rates[hops] * HOP / RATE,
            "ratio": rates[hops] / rates[blocks[0]],
        }
        for hops in blocks
    ]


def compute_table(job: TableJob, processes: int) -> str:
    """Compute a table in a folder that does not stay; returns its hash."""
    with tempfile.TemporaryDirectory() as folder:
        run = TableRun(job, Path(folder))
        for _ in run.compute(processes):
            pass
        return run.finish().hash


def measure_tables(subdivisions: int, processes: list[int], rounds: int) -> list[dict[str, Any]]:
    """One row for each number of processes."""
    job = TableJob("fm3", subdivisions=subdivisions)
    hashes = {compute_table(job, count) for count in processes}
    if len(hashes) != 1:
        raise SystemExit("error: the table depends on the number of processes")
    timed = harness.interleaved(
        {str(count): lambda count=count: compute_table(job, count) for count in processes},  # type: ignore[misc]
        rounds=rounds,
        warmup=0,  # computing the hashes was one
    )
    rows = subdivisions**3
    rates = {count: rows / timed[str(count)].median for count in processes}
    return [
        {
            "processes": count,
            "rows": rows,
            "seconds": timed[str(count)].median,
            "rows_per_s": rates[count],
            "ratio": rates[count] / rates[processes[0]],
        }
        for count in processes
    ]


def main(argv: list[str]) -> int:
    """Run and return the exit status."""
    options = harness.parser(__doc__)
    text = "sounds of so many hops (%(default)s)"
    options.add_argument("--blocks", type=int, nargs="+", default=[1, 4, 18, 400], metavar="N", help=text)
    text = "values of each of the three parameters (%(default)s)"
    options.add_argument("--subdivisions", type=int, default=15, metavar="N", help=text)
    options.add_argument("--processes", type=int, nargs="+", default=[1, 2], metavar="N")
    options.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    args = options.parse_args(argv)
    described = measure_descriptors(args.blocks, args.rounds)
    harness.print_table(described)
    print()
    tables = measure_tables(args.subdivisions, args.processes, args.rounds)
    harness.print_table(tables)
    settings = {k: v for k, v in vars(args).items() if k != "json"}
    harness.write_json(args.json, "synth", settings, [*described, *tables])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
