"""Structured configs in Hydra's store, and what a wrong config says."""

from __future__ import annotations

import pytest
from habitat_setup import WHERE, habitat_config

pytest.importorskip("habitat", reason=WHERE)

import habitat

from audio_separation.envs.habitat import register
from audio_separation.envs.habitat.dataset import AudioSeparationDataset
from audio_separation.envs.habitat.settings import task_config
from audio_separation.errors import UserError

BARE = """
defaults:
  - /habitat: habitat_config_base
  - /habitat/dataset: audio_separation
  - /habitat/simulator: audio_separation
  - /habitat/task: audio_separation_base
  - _self_
"""


def test_registering_twice_changes_nothing():
    register()
    from habitat.core.registry import registry

    before = {kind: dict(found) for kind, found in registry.mapping.items()}
    register()
    assert {kind: dict(found) for kind, found in registry.mapping.items()} == before


def test_sensors_and_measures_are_added_through_hydra_s_store(tiny, tmp_path):
    yaml = tmp_path / "bare.yaml"
    yaml.write_text(BARE)
    config = habitat_config(
        tiny,
        "+habitat/task/actions=[turn_right]",
        "+habitat/task/lab_sensors=mix_logmag",
        "+habitat/task/measurements=distance_to_target",
        "habitat.dataset.images=false",
        yaml=yaml,
    )
    with habitat.Env(config) as env:
        assert env.reset().keys() == {"mix_logmag"}
        assert env.step("turn_right").keys() == {"mix_logmag"} and env.get_metrics().keys() == {
            "distance_to_target"
        }
        with pytest.raises(RuntimeError, match="images"):
            env.render()


def test_sensors_that_need_pictures_say_so(tiny):
    config = habitat_config(tiny, "habitat.dataset.images=false")
    with pytest.raises(UserError, match=r"sensor rgb needs pictures.*~habitat\.task\.lab_sensors\.rgb"):
        habitat.Env(config)
    drop = [f"~habitat.task.lab_sensors.{name}" for name in ("rgb", "depth", "target_mono_mag")]
    with habitat.Env(habitat_config(tiny, "habitat.dataset.images=false", *drop)) as env:
        assert env.reset().keys() == {"mix_logmag", "target_class", "pose"}


@pytest.mark.parametrize(
    ("split", "sounds"), [("valHeard", "train"), ("valUnheard", "valUnheard"), ("testUnheard", "testUnheard")]
)
def test_split_chooses_episodes_and_their_sounds(tiny, split, sounds):
    config = habitat_config(tiny, f"habitat.dataset.split={split}")
    data = task_config(config.habitat.simulator).DATA
    assert (split, sounds) == (data.SPLIT, data.SOUNDS)
    assert len(AudioSeparationDataset(config.habitat.dataset).episodes) == 8


def test_our_yaml_is_read_and_overrides_have_the_last_word(tiny, tmp_path):
    ours = tmp_path / "ours.yaml"
    ours.write_text("DATA: {MAX_EPISODES: 5}\nTASK: {EPISODE_STEPS: 9}\n")
    config = habitat_config(tiny, f"habitat.dataset.exp_config={ours}")
    assert task_config(config.habitat.simulator).TASK.EPISODE_STEPS == 4
    assert len(AudioSeparationDataset(config.habitat.dataset).episodes) == 5


@pytest.mark.parametrize(
    ("more", "words", "message"),
    [
        (
            [],
            ["TASK.EPISODE_STEP", "3"],
            r"habitat\.dataset.*unknown config key TASK.EPISODE_STEP.*EPISODE_STEPS",
        ),
        ([], ["TASK.EPISODE_STEPS", "0"], "EPISODE_STEPS must be at least 1"),
        (["habitat.dataset.exp_config=no.yaml"], [], r"no\.yaml not found"),
        (["habitat.dataset.split=valNone"], [], "episodes of split 'valNone' not found"),
        (["habitat.dataset.content_scenes=[moon]"], [], r"names moon, but .* play in tiny_000"),
        ([], ["DATA.SOUNDS", "valUnheard"], "which is not among"),
        ([], ["DATASET", "replica"], r"tiny_000: .*metadata.replica.tiny_000"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(tiny, more, words, message):
    with pytest.raises(UserError, match=message):
        habitat.Env(habitat_config(tiny, *more, words=words))
