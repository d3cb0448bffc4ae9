"""Environment frames a second of the whole training loop, where the time goes, and the memory it takes.

    python benchmarks/training.py [--sizes paper small] [--precision fp32 bf16] [--updates N] [--json OUT]
    git worktree add ../first dfa1178 && python benchmarks/training.py --against ../first

With ``--against`` another checkout does the same updates on the same data, in turn with this one, and their losses
are compared (relative differences; with bf16 another action is drawn now and then, after which rollouts differ).
On a machine with other work, one thread and the ratio of CPU seconds are what to trust.

The separators are freshly initialised: what they say does not change how long it takes.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Optional

import harness
import torch
import world

from audio_separation.config import get_config
from audio_separation.models.build import build_separator
from audio_separation.training.checkpoint import save_checkpoint
from audio_separation.training.run_dir import plain_config

CHECKOUT = Path(__file__).resolve().parents[1]
CONFIGS = {"paper": "configs/train/near_target.yaml", "small": "configs/train/near_target_small.yaml"}
COMPARED = (
    "separator/memory_loss",
    "separator/memory_loss_last_epoch",
    "rollout/refined_stft_l2",
    "policy/value",
)


class Loop:
    """A training loop in a process of its own."""

    def __init__(self, name: str, checkout: Path, exp_config: str, threads: int, overrides: list[str]):
        self.name, self.updates = name, []  # type: ignore[var-annotated]
        command = [
            sys.executable,
            str(CHECKOUT / "benchmarks" / "training_worker.py"),
            str(checkout),
            exp_config,
        ]
        self._process = subprocess.Popen(
            [*command, str(threads), *overrides], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.frames = self._answer()["frames"]

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the loop of {self.name} ended with status {self._process.wait()}")
        return json.loads(line)

    def update(self) -> None:
        """Play and learn once."""
        assert self._process.stdin is not None
        self._process.stdin.write("update\n")
        self._process.stdin.flush()
        self.updates.append(self._answer())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def row(self, size: str, threads: int) -> dict[str, Any]:
        """Medians over all updates but the first, which warms up."""
        measured = self.updates[1:]
        seconds = statistics.median(update["seconds"] for update in measured)
        stages = {
            key: statistics.median(update["stages"].get(key, 0.0) for update in measured)
            for key in sorted({key for update in measured for key in update["stages"]})
        }
        return {
            "size": size,
            "loop": self.name,
            "threads": threads,
            "frames_per_s": self.frames / seconds,
            "update_s": seconds,
            "fastest_s": min(update["seconds"] for update in measured),
            "least_cpu_s": min(update["cpu_seconds"] for update in measured),
            **stages,
            "peak_rss_mb": measured[-1]["peak_rss_mb"],
            "rollout_mb": measured[-1]["rollout_mb"],
        }


def _difference(a: dict[str, float], b: dict[str, float]) -> float:
    return max(abs(a[key] / b[key] - 1) for key in COMPARED)


def pretrained(folder: Path, exp_config: str, overrides: list[str]) -> Path:
    """Write freshly initialised separators as a pretraining would."""
    config = get_config(str(CHECKOUT / exp_config), overrides)
    torch.manual_seed(0)
    classes = list(world.CLASSES)
    content = {
        "kind": "passive",
        "separator": build_separator(config, len(classes)).state_dict(),
        "classes": classes,
        "config": plain_config(config),
    }
    folder.mkdir(parents=True)
    save_checkpoint(folder / "best.pth", content)
    return folder


def measure(
    size: str,
    precisions: list[str],
    against: Optional[Path],
    updates: int,
    threads: int,
    root: Path,
    data: list[str],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the loops of one size, and of their comparison with ``against``."""
    exp_config = CONFIGS[size]
    data = [*data, "TRAIN.PASSIVE_CHECKPOINT", str(pretrained(root / size, exp_config, data))]
    loops = [
        Loop(precision, CHECKOUT, exp_config, threads, [*data, "TRAIN.PRECISION", precision])
        for precision in precisions
    ]
    if against is not None:
        loops.append(Loop("against", against, exp_config, threads, data))
    for _ in range(updates + 1):
        for loop in loops:
            loop.update()
    for loop in loops:
        loop.close()
    rows = [loop.row(size, threads) for loop in loops]
    if against is None:
        return rows, []
    compared = []
    for loop, row in zip(loops[:-1], rows):
        first, *others = (
            _difference(a["metrics"], b["metrics"]) for a, b in zip(loop.updates, loops[-1].updates)
        )
        largest = max(first, *others)
        compared.append({
            "size": size, "loop": loop.name, "ratio": rows[-1]["update_s"] / row["update_s"],
            "ratio_of_fastest": rows[-1]["fastest_s"] / row["fastest_s"],
            "ratio_of_least_cpu": rows[-1]["least_cpu_s"] / row["least_cpu_s"],
            "first_update_difference": first, "largest_difference": largest,
        })  # fmt: skip
    return rows, compared


def main() -> None:
    """Parse, measure, print, write."""
    parser = harness.parser(__doc__)
    parser.add_argument("--sizes", nargs="+", choices=sorted(CONFIGS), default=["paper", "small"])
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    parser.add_argument("--updates", type=int, default=3, help="after one that warms up")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout to compare with")
    args = parser.parse_args()
    threads = args.threads or harness.machine()["cores"]
    every_row, every_comparison = [], []
    with tempfile.TemporaryDirectory() as folder:
        # the WAV tree is what every version reads alike
        data = world.make_world(Path(folder), stores=("wav",))
        for size in args.sizes:
            against = args.against and args.against.resolve()
            rows, compared = measure(size, args.precision, against, args.updates, threads, Path(folder), data)
            for row in rows:  # one table each: not all have the same stages
                harness.print_table([row])
            every_row += rows
            every_comparison += compared
    if every_comparison:
        harness.print_table(every_comparison)
    settings = {**vars(args), "json": None, "against": str(args.against), "comparison": every_comparison}
    harness.write_json(args.json, "training", settings, every_row)


if __name__ == "__main__":
    main()
