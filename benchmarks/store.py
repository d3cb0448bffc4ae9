#!/usr/bin/env python3
"""WAV tree against packed store: bytes, build time, random access cold and warm, and reading ahead.

    python benchmarks/store.py --json store.json

A scene of synthetic responses is written to a temporary folder. Access is to random pairs, one after the other;
cold means that the system's page cache was told to drop the files (a host below a virtual machine may still
have them). Building reads the WAV files from the page cache. Reading ahead is timed with some work on
each response between the reads, in batches as a simulator asks for them.
"""

from __future__ import annotations

import functools
import math
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, NamedTuple

import numpy as np
from harness import interleaved, parser, print_table, write_json
from scipy.fft import next_fast_len, rfft
from world import make_world, scene_name

from audio_separation.audio.packed_rirs import PackedRirStore, read_packed_metadata
from audio_separation.audio.packing import join_parts, pack_part, plan_scene, prepare
from audio_separation.audio.rir_store import RirKey, RirStore, WavRirStore
from audio_separation.audio.stft import RATE
from audio_separation.errors import UserError
from audio_separation.scenes.generate.parallel import run_tasks
from audio_separation.scenes.graph import ROTATIONS_DEG
from audio_separation.scenes.layout import DatasetPaths

SCENE = scene_name(0)


def build(root: Path, dtype: str, jobs: int) -> float:
    """Pack the scene anew; returns the seconds."""
    (root / f"{SCENE}.safetensors").unlink(missing_ok=True)
    begun = time.perf_counter()
    plan = plan_scene(root, SCENE, dtype)
    tasks = [(pack_part, root, SCENE, part, dtype, ()) for part in prepare(plan)]
    with run_tasks(tasks, jobs, "loky") as counts:
        list(counts)
    join_parts(plan, dtype)
    return time.perf_counter() - begun


def drop_page_cache(files: list[Path]) -> None:
    """Tell the system to forget the contents of files that lie on the disk and are mapped by nobody."""
    for path in files:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Access(NamedTuple):
    """One way to read the pairs.

    Attributes:
        open_store: opens the store anew.
        cold: drop the page cache first.
        again: read all pairs once before: the store has verified their checksums.
        batch: pairs that are announced together before they are read; 0 for no announcement.
        work: done on each response.
    """

    open_store: Callable[[], RirStore]
    cold: bool
    again: bool = False
    batch: int = 0
    work: Callable[[np.ndarray], object] = np.shape


def access_ms(way: Access, keys: list[RirKey], files: list[Path]) -> float:
    """Milliseconds a pair, the mean over ``keys``; opening the store and the scene is not counted."""
    if way.cold:
        drop_page_cache(files)
    store = way.open_store()
    for key in keys if way.again else keys[-1:]:
        store.load(*key)
    begun = time.perf_counter()
    step = way.batch or len(keys)
    for first in range(0, len(keys), step):
        if way.batch:
            store.prefetch(keys[first : first + step])
        for key in keys[first : first + step]:
            way.work(store.load(*key))
    return 1e3 * (time.perf_counter() - begun) / len(keys)


def best_ms(ways: dict[str, Access], keys: list[RirKey], files: list[Path], rounds: int) -> dict[str, float]:
    """The best of some rounds of every way, in turn."""
    found = [{name: access_ms(way, keys, files) for name, way in ways.items()} for _ in range(rounds)]
    return {name: min(one[name] for one in found) for name in ways}


def store_row(
    name: str, open_store: Callable[[], RirStore], files: list[Path], keys: list[RirKey], rounds: int
) -> dict[str, Any]:
    """Bytes and access times of one store."""
    ways = {
        "cold_ms": Access(open_store, cold=True),
        "warm_first_ms": Access(open_store, cold=False),
        "warm_ms": Access(open_store, cold=False, again=True),
    }
    return {
        "store": name,
        "mb": sum(path.stat().st_size for path in files) / 1e6,
        "mb_on_disk": sum(path.stat().st_blocks * 512 for path in files) / 1e6,
        **best_ms(ways, keys, files, rounds),
    }


def ahead_rows(root: Path, files: list[Path], keys: list[RirKey], args: Any) -> list[dict[str, Any]]:
    """Reading with work on each response, announced in batches and not."""
    size = next_fast_len(RATE + args.rir_samples - 1, real=True)

    def work(rir: np.ndarray) -> object:
        return rfft(rir, size)

    stores: dict[str, tuple[Callable[[], RirStore], int]] = {"wav tree": (lambda: WavRirStore(root), 0)}
    for threads in (1, 2, 4):
        opener = functools.partial(WavRirStore, root, prefetch_threads=threads)
        stores[f"wav tree, announced, threads: {threads}"] = (opener, args.batch)
    stores["packed"] = (lambda: PackedRirStore(root), 0)
    stores["packed, announced"] = (lambda: PackedRirStore(root), args.batch)
    ways = {
        (name, cold): Access(opener, cold, batch=batch, work=work)
        for name, (opener, batch) in stores.items()
        for cold in (True, False)
    }
    found = best_ms({f"{name} {cold}": way for (name, cold), way in ways.items()}, keys, files, args.rounds)
    alone = interleaved({"work": lambda: work(np.ones((2, args.rir_samples), np.float32))}, 50)["work"].min
    return [
        {
            "reading": name,
            "work_ms": 1e3 * alone,
            "cold_ms": found[f"{name} True"],
            "warm_ms": found[f"{name} False"],
        }
        for name in stores
    ]


def main() -> int:
    """Run and return the exit status."""
    options = parser(__doc__)
    options.add_argument(
        "--side", type=int, default=4, help="nodes along a side: side^4 * 4 responses (4: 1024)"
    )
    options.add_argument("--rir-samples", type=int, default=RATE, help="of each response (16,000 a second)")
    options.add_argument("--pairs", type=int, default=256, help="random accesses a round")
    options.add_argument("--rounds", type=int, default=3, help="the best is taken")
    options.add_argument("--batch", type=int, default=32, help="pairs announced together when reading ahead")
    options.add_argument("--folder", type=Path, help="where to write (the disk to be measured)")
    args = options.parse_args()
    if not hasattr(os, "posix_fadvise"):
        raise UserError(
            "this benchmark drops files from the page cache by posix_fadvise, which this system lacks"
        )
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        rows, ahead = measure(Path(folder), args)
    print_table(rows)
    print()
    print_table(ahead)
    settings = {name: value for name, value in vars(args).items() if name not in ("json", "folder")}
    write_json(args.json, "store", settings, [*rows, *ahead])
    return 0


def measure(folder: Path, args: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Write the scene, build it and read it in every way; returns the rows of both tables."""
    make_world(
        folder, side=args.side, rir_samples=args.rir_samples, episodes=1, image_size=8, stores=("wav",)
    )
    root = DatasetPaths(folder / "data", folder / "sound_spaces").rirs_root
    nodes = args.side**2
    all_keys = [(SCENE, a, r, s) for r in range(nodes) for s in range(nodes) for a in ROTATIONS_DEG]
    chosen = np.random.default_rng(0).choice(len(all_keys), min(args.pairs, len(all_keys)), replace=False)
    keys = [all_keys[i] for i in chosen]
    wavs = sorted((root / SCENE).rglob("*.wav"))
    build(root, "float16", 2)  # starts the processes, which is not the build's business
    os.sync()  # the page cache drops only what is on the disk
    tree = store_row("wav tree", lambda: WavRirStore(root), wavs, keys, args.rounds)
    rows = [{**tree, "bytes_ratio": 1.0, "build_1_s": None, "build_2_s": None, "error_db": None}]
    for dtype in ("float32", "float16"):
        seconds = {jobs: min(build(root, dtype, jobs) for _ in range(args.rounds)) for jobs in (1, 2)}
        os.sync()
        packed = root / f"{SCENE}.safetensors"
        row = store_row(f"packed {dtype}", lambda: PackedRirStore(root), [packed], keys, args.rounds)
        row["bytes_ratio"] = row["mb"] / tree["mb"]
        row["build_1_s"], row["build_2_s"] = seconds[1], seconds[2]
        error_db = float(read_packed_metadata(packed)["worst_error_db"])
        row["error_db"] = error_db if math.isfinite(error_db) else None  # None: exact
        rows.append(row)
    return rows, ahead_rows(root, [*wavs, packed], keys, args)


if __name__ == "__main__":
    sys.exit(main())
