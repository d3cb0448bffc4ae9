"""What all benchmarks share: describing the machine, timing candidates side by side, tables and JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any, Callable, Mapping, NamedTuple, Optional, Sequence

# as a user runs it, `python benchmarks/X.py`, the package lies one folder up
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import scipy
import torch

from audio_separation.training.run_dir import commit_id

Row = Mapping[str, Any]


class Timing(NamedTuple):
    """Seconds of one candidate over the rounds."""

    min: float
    median: float
    max: float


def machine() -> dict[str, Any]:
    """Processor, cores, GPU, versions and commit: what a figure means nothing without."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": _cpu_name(),
        "cores": cores,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "commit": commit_id(),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def interleaved(
    candidates: Mapping[str, Callable[[], object]], rounds: int = 5, warmup: int = 1
) -> dict[str, Timing]:
    """Time the candidates in turn, round by round, so that a slow minute of the machine hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for round_number in range(-warmup, rounds):
        for name, run in candidates.items():
            begun = time.perf_counter()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if round_number >= 0:
                seconds[name].append(time.perf_counter() - begun)
    return {name: Timing(min(s), float(np.median(s)), max(s)) for name, s in seconds.items()}


def parser(description: Optional[str]) -> argparse.ArgumentParser:
    """An argument parser with the options of every benchmark."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--json", type=Path, metavar="OUT", help="also write the rows to this file")
    return made


def print_table(rows: Sequence[Row]) -> None:
    """Print rows with the same keys as a Markdown table."""
    columns = list(rows[0])
    print("| " + " | ".join(columns) + " |")
    print("|" + "|".join("---:" if _is_number(rows[0][c]) else "---" for c in columns) + "|")
    for row in rows:
        print("| " + " | ".join(_shown(row[column]) for column in columns) + " |")


def write_json(path: Optional[Path], benchmark: str, settings: Row, rows: Sequence[Row]) -> None:
    """Write ``{"benchmark", "machine", "settings", "rows"}``; nothing where ``path`` is None."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "benchmark": benchmark,
        "machine": machine(),
        "settings": dict(settings),
        "rows": list(map(dict, rows)),
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
