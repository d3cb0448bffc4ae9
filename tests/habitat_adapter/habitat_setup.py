"""Configs over the tiny dataset, and a comparison with our own environment, for the tests of the adapter."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Iterable

import numpy as np

from audio_separation.scenes.layout import DatasetPaths

WHERE = "habitat-lab is not installed here; scripts/test_habitat.sh runs these tests in an environment of their own"
YAML = Path(__file__).resolve().parents[2] / "configs" / "habitat" / "near_target.yaml"
STEPS = 4


def has_habitat_lab() -> bool:
    """Whether habitat-lab is installed."""
    try:
        return bool(version("habitat-lab"))
    except PackageNotFoundError:
        return False


def overrides(paths: DatasetPaths, *more: str, words: Iterable[str] = ()) -> list[str]:
    """Overrides that put the example YAML on the dataset at ``paths``; ``words`` are KEY VALUE of our tree."""
    ours = {
        "DATASET": paths.dataset,
        "DATA.ROOT": paths.data_root,
        "DATA.SOUND_SPACES": paths.sound_spaces_root,
        "TASK.EPISODE_STEPS": STEPS,
    }
    listed = ",".join(str(word) for pair in ours.items() for word in pair)
    return [
        "habitat.dataset.exp_config=''",
        f"habitat.dataset.overrides=[{','.join([listed, *words])}]",
        *more,
    ]


def habitat_config(paths: DatasetPaths, *more: str, words: Iterable[str] = (), yaml: Path = YAML) -> Any:
    import habitat

    from audio_separation.envs.habitat import register

    register()
    return habitat.get_config(str(yaml), overrides(paths, *more, words=words))


def assert_same_observation(theirs: dict, ours: dict) -> None:
    """The same keys, dtypes, shapes and values, to the bit."""
    assert theirs.keys() == ours.keys()
    for key, value in ours.items():
        assert np.asarray(theirs[key]).dtype == np.asarray(value).dtype, key
        np.testing.assert_array_equal(theirs[key], value, err_msg=key)


class Twin:
    """Our own single environment, led through the episodes and actions of habitat-lab's."""

    def __init__(self, config: Any):
        from audio_separation.envs.habitat.settings import task_config
        from audio_separation.envs.near_target import NearTargetEnv

        self.env = NearTargetEnv(config=task_config(config.habitat.dataset))
        episodes = self.env._batch.episodes
        self._episodes = {(episode.scene, episode.episode_id): episode for episode in episodes}

    def reset(self, episode: Any) -> dict:
        """Begin the episode that has the scene and id of ``episode``."""
        scene = episode.scene_id.split("/")[0]
        return self.env.reset(options={"episodes": [self._episodes[scene, episode.episode_id]]})[0]

    def step(self, action: int) -> tuple[dict, float, bool, float]:
        """Observation, reward, done and distance to the target."""
        observation, reward, done, _, info = self.env.step(action)
        return observation, reward, done, float(info["target_distance_m"])
