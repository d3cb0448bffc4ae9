"""What a live session leaves: sounds, steps, statistics."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import soundfile

from audio_separation.errors import UserError
from audio_separation.live.server import LiveStep
from audio_separation.scenes.layout import write_atomic

NAMES = ("input.wav", "played.wav", "both.wav", "steps.csv", "live.json")


def check_free(folder: Path, overwrite: bool = False) -> None:
    """Refuse to write over an earlier session.

    Raises:
        UserError: that names the first of its files.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file, expected a folder for what is played; name another")
    there = [name for name in NAMES if (folder / name).exists()]
    if there and not overwrite:
        raise UserError(
            f"{folder / there[0]} is there already; move or delete the folder {folder}, or name another"
        )


def wav_bytes(wave: np.ndarray, rate_hz: int) -> bytes:
    """A float WAV file of ``[L]`` or ``[L, channels]``."""
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate_hz, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


def steps_bytes(steps: Sequence[LiveStep], param_names: Sequence[str]) -> bytes:
    """The CSV: time_s, one column a parameter, distance (empty where the player has none)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["time_s", *param_names, "distance"])
    for step in steps:
        distance = "" if step.distance is None else f"{step.distance:.6g}"
        writer.writerow([f"{step.time_s:.4f}", *(f"{value:.6g}" for value in step.params), distance])
    return text.getvalue().encode()


def write_session(
    folder: Path,
    both: np.ndarray,
    rate_hz: int,
    steps: Sequence[LiveStep],
    param_names: Sequence[str],
    statistics: dict[str, Any],
) -> None:
    """Write all files.

    Args:
        both: what was heard and what was played, ``[L, 2]``.
    """
    write_atomic(folder / "input.wav", wav_bytes(both[:, 0], rate_hz))
    write_atomic(folder / "played.wav", wav_bytes(both[:, 1], rate_hz))
    write_atomic(folder / "both.wav", wav_bytes(both, rate_hz))
    write_atomic(folder / "steps.csv", steps_bytes(steps, param_names))
    write_atomic(folder / "live.json", (json.dumps(statistics, indent=1) + "\n").encode())
