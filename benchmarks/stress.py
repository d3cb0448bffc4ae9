"""Does a long run keep its memory? Trains at `small` sizes for many updates and watches the process.

    python benchmarks/stress.py [--updates 1000] [--json OUT] [KEY VALUE ...]

Without overrides it runs on a synthetic dataset with freshly initialised separators; with DATA.ROOT and the like on
that data (then TRAIN.PASSIVE_CHECKPOINT must be among them). Memory is what all processes of the run hold
themselves; pages of mapped files (packed responses, of which a run touches ever more) are listed beside it. The
exit status is 0 where the straight line through the second half of the run grows by less than ``--allowed``, or by
no more than twice its standard error above that.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import harness
import numpy as np
import psutil
import training
import world


class Sample(NamedTuple):
    """Memory at a time of the run."""

    seconds: float
    update: int
    memory_mb: float  # anonymous: what the processes hold themselves
    mapped_mb: float  # pages of files, which the system may drop at any time


def tree_memory_mb(process: psutil.Process) -> tuple[float, float]:
    """Anonymous memory and pages of mapped files of a process and its children, in MB, shared pages in proportion.

    Elsewhere than on Linux the resident set size, and 0.
    """
    own = mapped = 0.0
    for one in [process, *process.children(recursive=True)]:
        try:
            lines = Path(f"/proc/{one.pid}/smaps_rollup").read_text().splitlines()
            kb = {line.split(":")[0]: float(line.split()[1]) for line in lines if line.endswith("kB")}
            own, mapped = own + kb["Pss_Anon"] * 1024, mapped + kb["Pss_File"] * 1024
        except (FileNotFoundError, ProcessLookupError, PermissionError, KeyError):
            with suppress(psutil.NoSuchProcess):
                own += one.memory_info().rss
    return own / 1e6, mapped / 1e6


def watch(command: list[str], timing: Path, every_s: float) -> list[Sample]:
    """Run a training and sample its memory.

    Raises:
        SystemExit: the training failed.
    """
    samples: list[Sample] = []
    begun = time.perf_counter()
    with subprocess.Popen(command, cwd=training.CHECKOUT, stdout=subprocess.DEVNULL) as run:
        process = psutil.Process(run.pid)
        while run.poll() is None:
            update = _last_update(timing)
            if update:
                try:
                    memory_mb, mapped_mb = tree_memory_mb(process)
                except psutil.NoSuchProcess:
                    break
                samples.append(Sample(time.perf_counter() - begun, update, memory_mb, mapped_mb))
            time.sleep(every_s)
    if run.returncode:
        raise SystemExit(f"the training ended with status {run.returncode}: {' '.join(command)}")
    return samples


def _last_update(timing: Path) -> int:
    """Update of the last whole line; 0 where there is none yet."""
    if not timing.exists():
        return 0
    lines = timing.read_text().split("\n")[:-1]
    return int(json.loads(lines[-1])["step"]) if lines else 0


def slope(samples: list[Sample]) -> tuple[float, float]:
    """Growth in MB per 100 updates and its standard error: least squares over the second half of the updates."""
    late = np.array([(s.update, s.memory_mb) for s in samples if s.update >= samples[-1].update / 2])
    if len(late) < 4 or len(set(late[:, 0])) < 2:
        raise SystemExit(
            f"{len(late)} late samples are too few for a slope; use more --updates or a smaller --every"
        )
    (line, _), covariance = np.polyfit(late[:, 0], late[:, 1], 1, cov=True)
    return 100 * float(line), 100 * float(np.sqrt(covariance[0, 0]))


def main() -> int:
    """Run, print, write; the exit status says whether memory stayed."""
    parser = harness.parser(__doc__)
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--every", type=float, default=2.0, help="seconds between samples")
    parser.add_argument("--allowed", type=float, default=1.0, help="MB per 100 updates that count as flat")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        overrides = args.overrides
        if not overrides:
            overrides = world.make_world(Path(folder) / "world")
            checkpoint = training.pretrained(Path(folder) / "passive", training.CONFIGS["small"], overrides)
            overrides += ["TRAIN.PASSIVE_CHECKPOINT", str(checkpoint)]
        run = Path(folder) / "run"
        command = [
            sys.executable, "main.py", "--run-type", "train", "--exp-config", training.CONFIGS["small"],
            "--model-dir", str(run), *overrides, "NUM_UPDATES", str(args.updates), "VERBOSE", "False",
        ]  # fmt: skip
        samples = watch(command, run / "timing.jsonl", args.every)
    if not samples:
        raise SystemExit("the run ended before its first sample; use more --updates or a smaller --every")
    grown, error = slope(samples)
    flat = grown - 2 * error < args.allowed
    row = {
        "updates": args.updates,
        "minutes": samples[-1].seconds / 60,
        "start_mb": samples[0].memory_mb,
        "half_mb": next(s.memory_mb for s in samples if s.update >= samples[-1].update / 2),
        "end_mb": samples[-1].memory_mb,
        "peak_mb": max(s.memory_mb for s in samples),
        "slope_mb_per_100_updates": grown,
        "standard_error": error,
        "mapped_end_mb": samples[-1].mapped_mb,
        "flat": str(flat),
    }
    harness.print_table([row])
    settings = {
        "updates": args.updates,
        "every_s": args.every,
        "allowed": args.allowed,
        "overrides": args.overrides,
    }
    harness.write_json(args.json, "stress", {**settings, "samples": [list(s) for s in samples]}, [row])
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
