"""Looking sounds up, forwards and backwards, against brute force and SciPy's interpolation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator
from synth_worlds import HOP, RATE, WINDOW, make_table, synth_config

from audio_separation.audio.descriptors import NAMES, describe
from audio_separation.audio.synths import make_synth
from audio_separation.envs.synth.instrument import Instrument, build_synth
from audio_separation.envs.synth.rewards import weighted_rmse
from audio_separation.envs.synth.space import SoundSpace
from audio_separation.envs.synth.table import LookupTable, grid_params
from audio_separation.errors import UserError

CONFIG = {
    "SYNTH__FEATURES": "['loudness','specshape']",
    "SYNTH__REWARD_FEATURES": "['loudness-dB','specshape-centroid','specshape-flatness']",
    "SYNTH__REWARD_WEIGHTS": "[3,1,0.5]",
    "SYNTH__CLIP": 2.0,
}


def random_table(params):
    """Rows whose descriptors are random, so that no two sound alike."""
    features = np.random.default_rng(len(params)).normal(size=(len(params), len(NAMES)))
    return LookupTable(params, features, NAMES, {})


def uneven_grid():
    return random_table(grid_params([np.array([0, 0.1, 0.5, 1]), np.linspace(0, 1, 5), np.array([0.2, 0.9])]))


def loose_rows():
    return random_table(np.random.default_rng(3).random((60, 3)))


def instrument_of(table, lookup="nearest"):
    return Instrument(table, SoundSpace(synth_config("nowhere", **CONFIG), table), lookup)


@pytest.mark.parametrize("make", [uneven_grid, loose_rows])
def test_the_nearest_row_by_brute_force(make):
    table = make()
    instrument = instrument_of(table)
    for params in np.random.default_rng(0).random((200, 3)):
        nearest = np.abs(table.params - params).__pow__(2).sum(1).argmin()
        np.testing.assert_array_equal(instrument.sound(params), instrument.rows[nearest])
    for row, params in enumerate(table.params):
        np.testing.assert_array_equal(instrument.sound(params), instrument.rows[row])


def test_rows_of_a_grid_in_another_order_are_found_too():
    grid = uneven_grid()
    order = np.random.default_rng(0).permutation(len(grid.params))
    table = LookupTable(grid.params[order], grid.features[order], NAMES, {})
    assert table.grid() is None
    one, other = instrument_of(grid), instrument_of(table)
    for params in np.random.default_rng(1).random((50, 3)):
        np.testing.assert_allclose(one.sound(params), other.sound(params), atol=1e-6)


def test_linear_lookup_is_scipys():
    table = uneven_grid()
    instrument, axes = instrument_of(table, "linear"), table.grid()
    values = instrument.rows.reshape(4, 5, 2, -1)
    # beyond the last values of the third axis, 0.2 and 0.9, the sound stays as there
    params = np.random.default_rng(0).random((200, 3))
    held = np.clip(params, [0, 0, 0.2], [1, 1, 0.9])
    expected = RegularGridInterpolator(axes, values.astype(float))(held)
    found = np.array([instrument.sound(p) for p in params])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    for row, at in enumerate(table.params):
        np.testing.assert_allclose(instrument.sound(at), instrument.rows[row], atol=1e-6)


def test_linear_lookup_along_an_axis_of_one_value():
    table = random_table(grid_params([np.array([0.5]), np.linspace(0, 1, 3)]))
    instrument = instrument_of(table, "linear")
    rows = instrument.rows.astype(float)
    for first in (0.0, 0.5, 1.0):
        np.testing.assert_allclose(instrument.sound(np.array([first, 0.25])), rows[:2].mean(0), atol=1e-6)
        np.testing.assert_allclose(instrument.sound(np.array([first, 1.0])), rows[2], atol=1e-6)


def test_linear_lookup_needs_a_grid():
    with pytest.raises(
        UserError, match="SYNTH.LOOKUP linear needs a lookup table whose rows are a full grid"
    ):
        instrument_of(loose_rows(), "linear")


@pytest.mark.parametrize("make", [uneven_grid, loose_rows])
def test_the_row_most_like_a_target_by_brute_force(make):
    table = make()
    instrument = instrument_of(table)
    weights = SoundSpace(synth_config("nowhere", **CONFIG), table).weights
    for target in np.random.default_rng(0).normal(size=(100, instrument.rows.shape[1])).astype(np.float32):
        distances = weighted_rmse(instrument.rows, target, weights)
        params, sound = instrument.nearest_params(target)
        np.testing.assert_array_equal(params, table.params[distances.argmin()])
        assert weighted_rmse(sound, target, weights) == pytest.approx(distances.min())


def test_a_rendered_sound_is_that_of_the_sound_itself(tmp_path):
    """Frames of the table's window and hop after the onset, averaged, as descriptors in the table's space."""
    table = make_table(tmp_path, subdivisions=3)
    config = synth_config("nowhere", **CONFIG)
    space, synth = SoundSpace(config, table), make_synth("sine", RATE)
    instrument = Instrument(table, space, synth=synth, frames=3)
    assert (instrument.window, instrument.hop) == (WINDOW, HOP)
    for params in np.random.default_rng(0).random((3, 2)):
        wave = synth.render(params, 1.0)[WINDOW:]
        frames = describe(wave, RATE, WINDOW, HOP)[:3]
        np.testing.assert_allclose(instrument.sound(params), space.place(frames.mean(0)), atol=1e-5)


def test_the_synthesizer_of_the_section(tmp_path):
    synth = build_synth(synth_config("nowhere", SYNTH__NAME="fm4", SYNTH__RATE=8000), 4)
    assert (synth.name, synth.num_params, synth.rate_hz) == ("fm4", 4, 8000)
    with pytest.raises(
        UserError, match=r"SYNTH.PATCH is my\.pd, which only Pure Data can play; set SYNTH.BACKEND pd"
    ):
        build_synth(synth_config("nowhere", SYNTH__PATCH="my.pd"), 2)
    with pytest.raises(UserError, match="no closed form of synthesizer 'piano'"):
        build_synth(synth_config("nowhere", SYNTH__NAME="piano"), 2)
