"""What the tests of scripts/make_episodes.py share: calling it, and what it left."""

from __future__ import annotations

import hashlib
from pathlib import Path

from script_module import load_script

from audio_separation.scenes.layout import DatasetPaths

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "make_episodes.py"
SCENES = {"train": "tiny_000", "val": "tiny_001", "test": "tiny_002"}


script = load_script("make_episodes")


def run(paths: DatasetPaths, *options: object) -> int:
    """Make episodes or points in this process; the exit status."""
    where = ["--data", paths.data_root, "--sound-spaces", paths.sound_spaces_root, "--dataset", paths.dataset]
    return script.main([str(o) for o in (*where, "--jobs", 1, *options)])


def active(paths: DatasetPaths, *options: object) -> int:
    """Make version mine_v1 of the kind that the options begin with."""
    return run(paths, "--name", "mine_v1", "--kind", *options)


def hashes(root: Path) -> dict[str, str]:
    """Of the bytes of every file below ``root``."""
    files = (p for p in sorted(root.rglob("*")) if p.is_file())
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
