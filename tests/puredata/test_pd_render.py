"""What Pure Data renders is what the closed forms say, row by row."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from pd_setup import write_patch

from audio_separation.audio.puredata import render
from audio_separation.audio.puredata.render import PdSynth
from audio_separation.audio.synths import RATE, fm_frequencies, make_synth

pytestmark = pytest.mark.usefixtures("pd")
SECONDS = 0.2


def rows_of(count: int, num_params: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, num_params))


def closed_form(name: str, rows: np.ndarray, seconds: float = SECONDS, rate_hz: int = RATE) -> np.ndarray:
    synth = make_synth(name, rate_hz)
    return np.stack([synth.render(row, seconds) for row in rows])


@pytest.mark.parametrize("rate_hz", [RATE, 16000])
def test_the_sine_is_the_closed_form(rate_hz):
    """``osc~`` interpolates in a table of 512 points (2e-5) and counts its phase in 32-bit steps (2e-4 after 0.2 s)."""
    rows = np.vstack([rows_of(20, 2), [[0, 0], [1, 1], [0, 1]]])
    found = PdSynth("sine", 2, rate_hz=rate_hz).render_rows(rows, SECONDS)
    expected = closed_form("sine", rows, rate_hz=rate_hz)
    assert found.dtype == np.float32 and found.shape == expected.shape == (23, round(SECONDS * rate_hz))
    assert np.abs(found - expected).max() < 4e-4
    assert np.abs(expected).max() > 0.9 and not found[20].any()


@pytest.mark.parametrize("name", ["fm3", "fm4"])
def test_fm_is_the_closed_form_but_for_the_mean_of_the_cosine_table(name):
    """Pure Data 0.53 makes its table with 3.14159 for pi: the mean is 2.65e-6, and moves the carrier by that share of
    the deviation. The bound grows with it, as 3e-6 turns a Hz of deviation and second; beside it 0.004 remain."""
    rows = rows_of(20, 3 if name == "fm3" else 4)
    found = PdSynth(name, rows.shape[1]).render_rows(rows, SECONDS)
    deviation_hz = np.array([fm_frequencies(row)[2] for row in rows])[:, None]
    bound = 0.004 + 2 * np.pi * 3e-6 * deviation_hz * np.arange(found.shape[1]) / RATE
    assert (np.abs(found - closed_form(name, rows)) < bound).all()
    # the bound is a tight one: other parameters are far beyond it
    assert not (np.abs(found - closed_form(name, np.clip(rows + 0.001, 0, 1))) < bound).all()


def test_grains_are_the_closed_form_but_for_a_sample():
    """A grain may begin or end a sample earlier where 32-bit floats round otherwise; none is lost."""
    rows = rows_of(25, 4, seed=1)
    differences = PdSynth("granular", 4).render_rows(rows, 0.6) - closed_form("granular", rows, 0.6)
    errors = np.abs(differences).max(1)
    assert np.median(errors) < 1e-3 and errors.max() < 0.03


def test_grains_of_a_sound_file(tmp_path):
    path = tmp_path / "a ramp, and; more.wav"
    soundfile.write(path, np.linspace(-0.5, 0.5, 7000), 16000, subtype="FLOAT")
    rows = np.array([[0.5, 0.9, 0.6, 1.0]])  # reads on over the end
    found = PdSynth("granular", 4, rate_hz=16000, source=path).render_rows(rows, 0.5)[0]
    expected = make_synth("granular", 16000, path).render(rows[0], 0.5)
    assert np.abs(found - expected).max() < 0.01 and np.abs(expected).max() > 0.1


@pytest.mark.parametrize(("name", "bound"), [("sine", 1e-4), ("fm3", 0.05), ("granular", 0.01)])
def test_moving_parameters_glide_as_in_the_closed_form(name, bound):
    synth = make_synth(name)
    path = rows_of(6, synth.num_params, seed=2)
    found = PdSynth(name, synth.num_params).render_path(path, 2048)
    assert found.shape == (6 * 2048,)
    assert np.abs(found - synth.render_path(path, 2048)).max() < bound
    # a period that is no multiple of Pure Data's block
    found = PdSynth(name, synth.num_params).render_path(path, 1001)
    assert np.abs(found - synth.render_path(path, 1001)).max() < bound


@pytest.mark.parametrize("name", ["sine", "fm3", "fm4", "granular"])
def test_a_row_does_not_depend_on_its_neighbours(name):
    synth = PdSynth(name, make_synth(name).num_params)
    rows = rows_of(5, synth.num_params, seed=3)
    together = synth.render_rows(rows, 0.1)
    for row, wave in zip(rows, together):
        # places in grains follow from the time since the start, in floating point
        assert np.abs(synth.render(row, 0.1) - wave).max() < (1e-4 if name == "granular" else 1e-6)


def test_many_rows_in_several_files(monkeypatch):
    monkeypatch.setattr(render, "CHUNK", 4096)  # rows lie across the borders
    rows = rows_of(9, 2)
    assert np.abs(PdSynth("sine", 2).render_rows(rows, 0.07) - closed_form("sine", rows, 0.07)).max() < 4e-4
    path = PdSynth("sine", 2).render_path(rows, 1500)
    assert np.abs(path - make_synth("sine").render_path(rows, 1500)).max() < 4e-4


def test_a_patch_of_ones_own_in_any_folder(tmp_path):
    folder = tmp_path / "my; patches, 100 $1 \\ o:o {x}"
    patch = write_patch(folder / "a_synth.pd", extra=("helper", "lib/thing"))
    write_patch(folder / "helper.pd")  # found beside it, and in a folder beside it
    write_patch(folder / "lib" / "thing.pd")
    rows = rows_of(4, 2)
    synth = PdSynth("mine", 2, patch=patch)
    assert synth.param_names == ("p0", "p1")
    assert np.abs(synth.render_rows(rows, 0.1) - closed_form("sine", rows, 0.1)).max() < 4e-4


def test_a_name_that_pure_data_has_already_is_still_the_patch(tmp_path):
    rows = rows_of(2, 2)
    found = PdSynth("mine", 2, patch=write_patch(tmp_path / "noise~.pd")).render_rows(rows, 0.1)
    assert np.abs(found - closed_form("sine", rows, 0.1)).max() < 4e-4


def test_silence_is_believed_where_the_patch_can_sound(tmp_path):
    for synth in (PdSynth("sine", 2), PdSynth("mine", 2, patch=write_patch(tmp_path / "mine.pd"))):
        assert not synth.render(np.array([0.5, 0.0]), 0.05).any()
    assert PdSynth("sine", 2).render_rows(np.zeros((0, 2)), 0.1).shape == (0, 4410)


def test_the_description_tells_patches_and_sources_apart(tmp_path):
    one, two = (write_patch(tmp_path / f"{word}.pd", count) for word, count in (("one", 2), ("two", 3)))
    descriptions = [
        PdSynth("sine", 2).describe(),
        PdSynth("fm3", 3).describe(),
        PdSynth("sine", 2, rate_hz=16000).describe(),
        PdSynth("sine", 2, patch=one).describe(),
        PdSynth("sine", 2, patch=two).describe(),
    ]
    assert all(a != b for i, a in enumerate(descriptions) for b in descriptions[:i])
    assert descriptions[0] == PdSynth("sine", 2).describe() and descriptions[0]["backend"] == "pd"
