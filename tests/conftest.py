"""What all tests share: the package on the path, one thread, and the tiny dataset, made once a session."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

# `import audio_separation` and `import tiny`, whatever folder pytest is started from
for folder in (Path(__file__).parent, Path(__file__).parent.parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

torch.set_num_threads(1)

from tiny import make_tiny_dataset  # noqa: E402

from audio_separation.scenes.layout import DatasetPaths  # noqa: E402


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> DatasetPaths:
    """The tiny dataset of ``tests/tiny.py``; read it, never change it (copy it to a tmp_path first)."""
    return make_tiny_dataset(tmp_path_factory.mktemp("tiny"))
