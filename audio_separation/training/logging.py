"""One writer for JSON lines and TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Optional

from torch.utils.tensorboard import SummaryWriter

from audio_separation.scenes.layout import write_atomic
from audio_separation.training.run_dir import writing


class MetricWriter:
    """Writes metrics on the main process; elsewhere it does nothing.

    ``metrics.jsonl`` holds what is learnt, a line per step, and is the same for a resumed as for an
    uninterrupted run; ``timing.jsonl`` holds what depends on the machine. Both go to TensorBoard.

    Args:
        folder: the model dir.
        step: the step that the run resumes from; later lines of a killed run are dropped.
    """

    def __init__(self, folder: Path, step: int, enabled: bool):
        self._folder = folder
        self._board: Optional[SummaryWriter] = None
        if enabled:
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
                for name in ("metrics.jsonl", "timing.jsonl"):
                    drop_after(folder / name, step)
                self._board = SummaryWriter(str(folder / "tb"), purge_step=step + 1)

    def write(self, step: int, metrics: dict[str, float], timing: Optional[dict[str, float]] = None) -> None:
        """Append one line for ``step``; keys carry their group, such as ``policy/entropy`` or ``time/frames_per_s``."""
        if self._board is None:
            return
        with writing(self._folder):
            for name, values in (("metrics.jsonl", metrics), ("timing.jsonl", timing or {})):
                if values:
                    with open(self._folder / name, "a") as file:
                        file.write(json.dumps({"step": step, **values}) + "\n")
                for key, value in values.items():
                    self._board.add_scalar(key, value, step)

    def close(self) -> None:
        """Flush TensorBoard."""
        if self._board is not None:
            self._board.close()


def drop_after(path: Path, step: int, key: str = "step") -> None:
    """Drop the JSON lines of ``path`` whose ``key`` lies after ``step``, which a killed run has left."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)[key] <= step:
                kept.append(line)
        except ValueError:  # the half line of a killed run
            continue
    write_atomic(path, "".join(line + "\n" for line in kept).encode())


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Read a JSON-lines file of metrics, without the half line at its end that a run leaves when it is killed."""
    whole, _, _ = path.read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]
