"""The published system's environment_settings.json becomes our keys, one by one, and what is wrong in it is told."""

from __future__ import annotations

import json

import pytest

from audio_separation.audio.descriptors import PUBLISHED, expand
from audio_separation.config import get_config
from audio_separation.config.published_synth import ALL, WITHOUT, translate
from audio_separation.errors import UserError

SETTINGS = {
    "instrument_name": "FM3",
    "corpus_name": "strings",
    "N_synth_params": 3,
    "features_keep": ["loudness-dB", "mfcc", "chroma-A#"],
    "features_reward": ["mfcc"],
    "reward_noise": 0.1,
    "training_mode": "dynamic_random",
    "reward_type": "cubic+prize",
    "step_size": 0.02,
    "max_episode_duration": 3000,
    "ip_send": "127.0.0.1",
    "port_send": 6667,
    "port_send_optimal": 6668,
    "verbose": "False",
    "live": "True",
    "seed": "None",
}


def write(folder, content=None, drop=(), **changes):
    path = folder / "environment_settings.json"
    merged = {k: v for k, v in {**SETTINGS, **changes}.items() if k not in drop}
    path.write_text(json.dumps(merged) if content is None else content)
    return path


def test_every_key_is_translated(tmp_path):
    config = get_config(str(write(tmp_path)))
    s = config.SYNTH
    assert (config.TASK.NAME, config.TRAINER, config.SB3.ALGORITHM) == ("synth", "sb3", "PPO")
    assert (s.NAME, s.CORPUS, s.REWARD, s.TARGETS) == ("fm3", "strings", "cubic+prize", "dynamic_random")
    assert s.FEATURES == ["loudness-dB", "mfcc", "chroma-A#"] and s.REWARD_FEATURES == ["mfcc"]
    assert (s.REWARD_NOISE, s.STEP_SIZE, s.MAX_STEPS, config.SEED) == (0.1, 0.02, 3000, 0)
    assert (s.ACTIONS, s.LOOKUP) == ("joint", "nearest")


@pytest.mark.parametrize(
    "key", ["corpus_name", "reward_noise", "training_mode", "reward_type", "step_size", "seed"]
)
def test_what_is_left_out_keeps_its_default(tmp_path, key):
    default, read = get_config(), get_config(str(write(tmp_path, drop=(key,))))
    names = {
        "corpus_name": "CORPUS",
        "reward_noise": "REWARD_NOISE",
        "training_mode": "TARGETS",
        "reward_type": "REWARD",
        "step_size": "STEP_SIZE",
    }
    if key == "seed":
        assert read.SEED == default.SEED
    else:
        assert read.SYNTH[names[key]] == default.SYNTH[names[key]]


@pytest.mark.parametrize("key", WITHOUT)
def test_what_has_no_counterpart_changes_nothing(tmp_path, key):
    assert translate(write(tmp_path, drop=(key,))) == translate(write(tmp_path))


@pytest.mark.parametrize(("seed", "expected"), [("None", 0), (None, 0), (7, 7), ("7", 7)])
def test_seeds(tmp_path, seed, expected):
    found = get_config(str(write(tmp_path, seed=seed))).SEED
    assert found == expected


@pytest.mark.parametrize(
    ("name", "count", "ours"),
    [
        ("sine_wave", 2, "sine"),
        ("sin", 2, "sine"),
        ("FM4", 4, "fm4"),
        ("granular", 4, "granular"),
        ("mine", 9, "mine"),
    ],
)
def test_synthesizers_by_their_published_names(tmp_path, name, count, ours):
    found = get_config(str(write(tmp_path, instrument_name=name, N_synth_params=count))).SYNTH.NAME
    assert found == ours


@pytest.mark.parametrize("word", ["all", ["all"], ["mfcc", "all"]])
def test_all_are_the_published_descriptors(tmp_path, word):
    config = get_config(str(write(tmp_path, features_keep=word)))
    assert config.SYNTH.FEATURES == ALL
    assert expand(ALL, "") == list(PUBLISHED)
    assert not [name for name in expand(config.SYNTH.FEATURES, "") if name.startswith("pitch")]


def test_one_word_is_a_list_of_one(tmp_path):
    assert get_config(str(write(tmp_path, features_reward="chroma"))).SYNTH.REWARD_FEATURES == ["chroma"]


def test_the_command_line_has_the_last_word(tmp_path):
    config = get_config(str(write(tmp_path)), ["SYNTH.ACTIONS", "delta", "SB3.ALGORITHM", "SAC", "SEED", "5"])
    assert (config.SYNTH.ACTIONS, config.SB3.ALGORITHM, config.SEED) == ("delta", "SAC", 5)


# ---- bad input ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("content", ["{not json", "", "\udcff"])
def test_no_json(tmp_path, content):
    path = write(tmp_path, content="x")
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=r"environment_settings\.json is not readable JSON"):
        get_config(str(path))


@pytest.mark.parametrize("content", ["[]", "{}", "3", '"instrument_name"'])
def test_json_that_is_no_settings(tmp_path, content):
    with pytest.raises(UserError, match=r"it lacks instrument_name, features_keep, features_reward"):
        get_config(str(write(tmp_path, content=content)))


def test_a_missing_key_is_named(tmp_path):
    with pytest.raises(UserError, match=r"it lacks features_reward$"):
        get_config(str(write(tmp_path, drop=("features_reward",))))


def test_an_unknown_key_is_named(tmp_path):
    with pytest.raises(UserError, match=r"settings\.json has reward_colour, which is no setting"):
        get_config(str(write(tmp_path, reward_colour="red")))


def test_a_number_of_parameters_that_does_not_fit(tmp_path):
    with pytest.raises(UserError, match=r"settings\.json says N_synth_params 4, but synthesizer fm3 has 3"):
        get_config(str(write(tmp_path, N_synth_params=4)))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"instrument_name": ["FM3"]}, "SYNTH.NAME"),
        ({"reward_noise": "much"}, "SYNTH.REWARD_NOISE"),
        ({"max_episode_duration": 2.5}, "SYNTH.MAX_STEPS"),
        ({"seed": "tuesday"}, "SEED"),
    ],
)
def test_values_of_another_type_name_the_file(tmp_path, changes, key):
    with pytest.raises(UserError, match=rf"config key {key} in .*environment_settings\.json expects"):
        get_config(str(write(tmp_path, **changes)))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"training_mode": "guesses"}, "SYNTH.TARGETS"),
        ({"reward_type": "quartic"}, "SYNTH.REWARD"),
        ({"step_size": 7}, "SYNTH.STEP_SIZE"),
    ],
)
def test_values_outside_their_choices_name_the_key(tmp_path, changes, key):
    with pytest.raises(UserError, match=key):
        get_config(str(write(tmp_path, **changes)))
