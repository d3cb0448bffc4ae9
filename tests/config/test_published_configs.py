"""The configs of the paper's runs name what AAViDSS's own configs name."""

from __future__ import annotations

import pytest
from published import CORPUS, EPISODE_SPLITS, SOUND_SPLITS, VERSIONS
from small_config import REPO

from audio_separation.config import get_config

RUNS = {  # ours -> split of the episodes and of the sounds
    "train/near_target_mp3d": ("train_731243episodes", "train"),
    "val/near_target_mp3d": ("val_100episodes", "train"),
    "val/near_target_unheard_mp3d": ("valUnheard_100episodes", "valUnheard"),
    "test/near_target_mp3d": ("test_1000episodes", "train"),
    "test/near_target_unheard_mp3d": ("testUnheard_1000episodes", "testUnheard"),
    "train/near_target_replica": ("train", "train"),
    "val/near_target_unheard_replica": ("valUnheard", "valUnheard"),
    "test/near_target_unheard_replica": ("testUnheard", "testUnheard"),
    "pretrain_passive_mp3d": ("train", "train"),
    "pretrain_passive_replica": ("train", "train"),
}


@pytest.mark.parametrize("name", RUNS)
def test_names_networks_and_rendering(name: str) -> None:
    config = get_config(str(REPO / "configs" / f"{name}.yaml"))
    split, sounds = RUNS[name]
    dataset = name.rsplit("_", 1)[1]
    data = config.DATA
    found = [config.DATASET, data.SPLIT, data.SOUNDS, data.CORPUS, data.PASSIVE_VERSION, data.ACTIVE_VERSION]
    assert found == [dataset, split, sounds, CORPUS["aavidss"], *VERSIONS[dataset]]
    assert (config.AUDIO.MODE, config.SEPARATOR.VARIANT, config.MEMORY.OUTPUT) == ("paper", "paper", "direct")
    assert config.TASK.FORWARD_RULE == "published" and not config.EVAL.DETERMINISTIC
    assert config.NUM_PROCESSES == 14 and config.PPO.NUM_STEPS == config.TASK.EPISODE_STEPS == 20


def test_every_published_split_has_its_config() -> None:
    named = {split: sounds for name, (split, sounds) in RUNS.items() if name.endswith("mp3d")}
    del named["train"]  # of the datapoints
    published = EPISODE_SPLITS["aavidss", "mp3d"]
    assert named == {split: SOUND_SPLITS["aavidss"][number] for split, (_, number) in published.items()}
