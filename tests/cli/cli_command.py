"""Commands and their errors, for the tests of the command line."""

from __future__ import annotations

from pathlib import Path

from small_config import small_overrides

import main
from audio_separation.scenes.layout import DatasetPaths

ONE = {"passive": {"TRAINER": "passive", "PASSIVE__NUM_STEPS": 1}, "active": {"NUM_UPDATES": 1}}
CONFIGS = {"passive": "configs/pretrain_passive.yaml", "active": "configs/train/near_target.yaml"}


def command(trainer: str, paths: DatasetPaths, model_dir: Path, **changes: object) -> list[str]:
    words = small_overrides(paths, **{**ONE[trainer], **changes})
    return ["--run-type", "train", "--exp-config", CONFIGS[trainer], "--model-dir", str(model_dir), *words]


def error_of(arguments: list[str], capsys) -> str:
    """Run, expect status 2 and one line of error, and return it."""
    capsys.readouterr()
    assert main.main(arguments) == 2
    written = capsys.readouterr().err
    assert written.startswith("error: ") and written.count("\n") == 1 and written.endswith("\n"), written
    return written
