"""The simulator over Move2Hear's files, as they are published."""

from __future__ import annotations

import pytest
import torch
from published import LABELS, make_published_tree
from small_config import small_config

from audio_separation.envs.build import build_simulator, load_task_episodes
from audio_separation.envs.simulator import HOLD
from audio_separation.scenes.layout import DatasetPaths


@pytest.fixture(scope="module")
def move2hear(tmp_path_factory) -> DatasetPaths:
    return make_published_tree(tmp_path_factory.mktemp("move2hear"), family="move2hear", image_size=8)


@pytest.mark.parametrize(
    ("split", "sounds"),
    [
        ("train_nearTarget_24scenes_112009episodes", "train"),
        ("train_farTarget_24scenes_112009episodes", "train"),
        ("testUnheard_farTarget_15scenes_1000episodes", "testUnheard"),
    ],
)
def test_clips_of_one_second_play_over_and_over(move2hear: DatasetPaths, split: str, sounds: str) -> None:
    changes = {"DATA__SPLIT": split, "DATA__SOUNDS": sounds, "AUDIO__MODE": "paper"}
    config = small_config(move2hear, "configs/tasks/move2hear.yaml", **changes)
    episodes = load_task_episodes(config)
    simulator = build_simulator(config, episodes, len(episodes), torch.device("cpu"), target_bin=False)
    first = simulator.reset(episodes)
    assert set(first.target_class.tolist()) <= set(LABELS["move2hear"].values()) - {
        LABELS["move2hear"]["esc"]
    }
    distance = simulator.target_distance()
    assert (distance > 0).all() if "farTarget" in split else (distance == 0).all()
    assert (first.mix_logmag.amax(dim=(1, 2, 3)) > 0.01).all()
    again = simulator.step([HOLD] * len(episodes))
    torch.testing.assert_close(again.mix_logmag, first.mix_logmag, rtol=0, atol=0)
    torch.testing.assert_close(again.target_mono_mag, first.target_mono_mag, rtol=0, atol=0)
