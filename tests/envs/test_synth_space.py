"""Which descriptors are observed and compared, how they are scaled, and what cannot be."""

from __future__ import annotations

import json

import numpy as np
import pytest
from synth_worlds import RATE, make_table, synth_config

from audio_separation.audio.descriptors import CATEGORIES, NAMES, PUBLISHED
from audio_separation.config import get_config
from audio_separation.envs.synth.space import Scaler, SoundSpace
from audio_separation.envs.synth.table import LookupTable
from audio_separation.errors import UserError


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return make_table(tmp_path_factory.mktemp("table"), subdivisions=4)


def space_of(table, **changes):
    return SoundSpace(synth_config("nowhere", **changes), table)


# ---- scaling --------------------------------------------------------------------------------------------
def test_scaled_rows_have_mean_0_and_deviation_1():
    values = np.random.default_rng(0).normal([5, -3], [0.1, 1000], (200, 2))
    scaled = Scaler.of(values, 100.0)(values)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(0), 1, rtol=1e-5)


def test_columns_that_never_vary_are_only_centred():
    """0.1 a thousand times has a standard deviation that is not quite 0."""
    values = np.stack([np.full(1000, 0.1), np.zeros(1000), np.full(1000, -7e6)], -1)
    assert values.std(0).max() > 0
    scaler = Scaler.of(values, 5.0)
    np.testing.assert_array_equal(scaler.scale, 1)
    np.testing.assert_allclose(scaler(values + 0.5), 0.5, atol=1e-6)


def test_a_small_true_variation_counts():
    values = 1000.0 + np.array([[0.0], [1e-3], [2e-3]])
    np.testing.assert_allclose(Scaler.of(values, 5.0)(values)[:, 0], [-1.224745, 0, 1.224745], atol=1e-4)


def test_clipping_bounds_both_sides():
    scaler = Scaler(np.array([1.0]), np.array([2.0]), 1.5)
    np.testing.assert_allclose(scaler(np.array([[-9.0], [0.0], [3.0], [9.0]]))[:, 0], [-1.5, -0.5, 1, 1.5])


def test_a_scaler_comes_back_from_text():
    values = np.random.default_rng(0).normal(size=(50, 3))
    scaler = Scaler.of(values, 2.5)
    again = Scaler.from_plain(json.loads(json.dumps(scaler.plain())))
    np.testing.assert_array_equal(again(values), scaler(values))
    assert again.clip == 2.5


# ---- choice and weights ---------------------------------------------------------------------------------
def test_categories_select_their_columns_and_weights(table):
    space = space_of(
        table,
        SYNTH__FEATURES="['specshape-centroid','mfcc']",
        SYNTH__REWARD_FEATURES="['mfcc','specshape-centroid','mfcc-3']",
        SYNTH__REWARD_WEIGHTS="[2,0.5,7.0]",
    )
    assert tuple(space.names) == (*CATEGORIES["mfcc"], "specshape-centroid") and space.size == 14
    expected = [2.0] * 13 + [0.5]
    expected[3] = 7.0
    np.testing.assert_array_equal(space.weights, expected)
    np.testing.assert_array_equal(space.rows[:, 13], table.features[:, NAMES.index("specshape-centroid")])


def test_what_is_observed_but_not_compared_has_no_weight(table):
    space = space_of(table)
    by_name = dict(zip(space.names, space.weights))
    assert by_name == {"loudness-dBFS": 0, "loudness-TP": 0, "loudness-dB": 1, "specshape-centroid": 1}


def test_place_and_rows_agree(table):
    space = space_of(table, SYNTH__CLIP=50)
    np.testing.assert_array_equal(space.place(table.features), space.scaler(space.rows))
    np.testing.assert_allclose(space.params_scaler(table.params).std(0), 1, rtol=1e-5)


def test_plain_says_all_that_scaling_takes(table):
    space = space_of(table)
    plain = json.loads(json.dumps(space.plain()))
    assert plain["names"] == list(space.names) and plain["weights"] == space.weights.tolist()
    scaled = Scaler.from_plain(plain["scaler"])(space.rows)
    np.testing.assert_array_equal(scaled, space.scaler(space.rows))
    params = np.array([[0.2, 0.9]])
    scaled = Scaler.from_plain(plain["params_scaler"])(params)
    np.testing.assert_array_equal(scaled, space.params_scaler(params))


# ---- bad input ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("key", ["FEATURES", "REWARD_FEATURES"])
def test_unknown_descriptors_with_the_near_ones_and_their_origin(table, tmp_path, key):
    with pytest.raises(
        UserError, match=rf"SYNTH.{key} \(set in the command line\) names the descriptor 'mfc'"
    ):
        space_of(table, **{f"SYNTH__{key}": "['loudness','mfc']"})
    path = tmp_path / "mine.yaml"
    path.write_text(f"SYNTH: {{{key}: [loudness, specshape-centriod]}}\n")
    with pytest.raises(
        UserError, match=r"mine\.yaml\).*'specshape-centriod'.*did you mean specshape-centroid"
    ):
        SoundSpace(get_config(str(path)), table)


def test_unknown_descriptors_of_a_published_file_name_it(table, tmp_path):
    path = tmp_path / "environment_settings.json"
    content = {"instrument_name": "sin", "features_keep": ["mfcc", "warmth"], "features_reward": ["mfcc"]}
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"environment_settings\.json\) names the descriptor 'warmth'"):
        SoundSpace(get_config(str(path)), table)


@pytest.mark.parametrize("word", ["[['mfcc']]", "[3]"])
def test_words_that_are_no_names(table, word):
    with pytest.raises(UserError, match="SYNTH.FEATURES"):
        space_of(table, SYNTH__FEATURES=word)


def test_compared_but_not_observed(table):
    with pytest.raises(
        UserError, match=r"compares mfcc-0, which SYNTH.FEATURES does not observe; add it there"
    ):
        space_of(table, SYNTH__REWARD_FEATURES="['loudness-dB','mfcc']")


def test_another_number_of_weights(table):
    with pytest.raises(
        UserError, match=r"has 1 numbers for 2 words of SYNTH.REWARD_FEATURES \(loudness-dB, "
    ):
        space_of(table, SYNTH__REWARD_WEIGHTS="[1]")


@pytest.mark.parametrize("weights", ["[1,-1]", "['a',1]", "[True,1]", "[1,1e999]"])
def test_weights_that_are_none(table, weights):
    with pytest.raises(UserError, match="SYNTH.REWARD_WEIGHTS must be finite numbers from 0 on"):
        space_of(table, SYNTH__REWARD_WEIGHTS=weights)


@pytest.mark.parametrize("changes", [{"SYNTH__REWARD_WEIGHTS": "[0,0.0]"}, {"SYNTH__REWARD_FEATURES": "[]"}])
def test_nothing_compared(table, changes):
    with pytest.raises(UserError, match="compares nothing; name at least one"):
        space_of(table, **changes)


def test_a_published_table_has_no_pitch(table):
    keep = [NAMES.index(name) for name in PUBLISHED]
    old = LookupTable(table.params.copy(), table.features[:, keep], PUBLISHED, {"rate_hz": RATE})
    with pytest.raises(
        UserError, match="asks for pitch-Hz, pitch-confidence, which the lookup table does not"
    ):
        space_of(old, SYNTH__FEATURES="['all']")
    assert space_of(old).size == 4
