"""Which settings an evaluation takes from the checkpoint, and which are its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from audio_separation.config import get_config
from audio_separation.evaluation.model import adopt_model_config
from audio_separation.evaluation.results import Checkpoint
from audio_separation.training.run_dir import plain_config

STORED = {"AUDIO.MODE": "paper", "AUDIO.RIR_STORE": "wav", "MEMORY.SIZE": 7, "DATA.SPLIT": "train"}


@pytest.mark.parametrize(
    ("overrides", "mode", "size"),
    [
        ([], "paper", 7),  # the checkpoint's own
        (["AUDIO.MODE", "causal"], "causal", 7),  # set, though to the default
        (["MEMORY.SIZE", "30", "AUDIO.MODE", "paper"], "paper", 30),
    ],
)
def test_what_the_evaluation_sets_stays_and_the_rest_is_the_checkpoints(overrides, mode, size):
    content = {"kind": "active", "config": STORED}
    config = get_config(None, ["DATA.SPLIT", "testHeard", *overrides])
    adopted = adopt_model_config(config, content, Checkpoint(Path("ckpt.1.pth"), "ckpt.1", "0"))
    settings = plain_config(adopted)
    assert settings["AUDIO.MODE"] == mode and settings["MEMORY.SIZE"] == size
    # of the machine and of the evaluation, whatever the checkpoint says
    assert settings["AUDIO.RIR_STORE"] == "auto" and settings["DATA.SPLIT"] == "testHeard"
