"""A model dir with two checkpoints, made once; and one where the four agents were evaluated."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from eval_fakes import TEST, eval_config, run, write_checkpoint

from audio_separation.scenes.layout import DatasetPaths


@pytest.fixture(scope="session")
def trained(tiny: DatasetPaths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model dir with ckpt.2 and ckpt.10; copy it before evaluating."""
    folder = tmp_path_factory.mktemp("trained")
    for number in (2, 10):
        write_checkpoint(folder / f"ckpt/ckpt.{number}.pth", eval_config(tiny), number)
    return folder


@pytest.fixture(scope="session")
def judged(tiny: DatasetPaths, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model dir after validation and after the test of all agents on heard and unheard sounds."""
    folder = tmp_path_factory.mktemp("judged")
    (folder / "ckpt").symlink_to(trained / "ckpt")
    run(eval_config(tiny), folder)
    for agent in ("policy", "stand", "rotate", "random"):
        for config in (TEST, "configs/test/near_target.yaml"):
            run(eval_config(tiny, config, EVAL__AGENT=agent, EVAL__REPORT_EPISODES=0), folder)
    return folder
