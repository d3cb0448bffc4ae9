"""Rates and sample formats of responses: what is converted, once and the same everywhere, and what is refused."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
from published import (
    NODES,
    RIR_RATE_HZ,
    SCENES,
    make_published_tree,
    point_positions,
    published_rir,
    rir_path,
)
from script_module import load_script

from audio_separation.audio.rir_store import WavRirStore, open_rir_store, resample_rir
from audio_separation.errors import UserError
from audio_separation.scenes.layout import DatasetPaths

PAIRS = [(azimuth, r, s) for azimuth in (0, 270) for r in NODES[:3] for s in NODES]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("pack_rirs")


@pytest.fixture(scope="module", params=[("mp3d", "_"), ("replica", "-")], ids=["mp3d", "replica"])
def published(request, tmp_path_factory) -> DatasetPaths:
    dataset, separator = request.param
    return make_published_tree(tmp_path_factory.mktemp(dataset), dataset, separator, image_size=8)


def expected(paths: DatasetPaths, split: str, key: tuple[int, int, int]) -> np.ndarray:
    """The response at 16 kHz; val is int16 on disk."""
    rate = RIR_RATE_HZ[paths.dataset]
    rir = published_rir(point_positions(paths.dataset, split), *key, rate)
    if split == "val":
        rir = (np.round(rir * 32768) / 32768).astype(np.float32)
    return resample_rir(rir, rate, 16000) if rate != 16000 else rir


def converted(paths: DatasetPaths) -> WavRirStore:
    return WavRirStore(paths.rirs_root, convert=(RIR_RATE_HZ[paths.dataset],))


def test_published_trees_are_read_at_16_khz(published: DatasetPaths) -> None:
    store = converted(published)
    for split, scene in SCENES[published.dataset].items():
        for key in PAIRS:
            np.testing.assert_array_equal(store.load(scene, *key), expected(published, split, key))
        every = [expected(published, split, (0, r, s)).shape[1] for r in NODES for s in NODES]
        assert store.max_samples(scene) == max(every) and min(every) < max(every)


def test_int16_responses_are_the_float32_ones_within_half_a_step(published: DatasetPaths) -> None:
    store, scene = converted(published), SCENES[published.dataset]["val"]
    rate = RIR_RATE_HZ[published.dataset]
    for key in PAIRS:
        exact = published_rir(point_positions(published.dataset, "val"), *key, rate)
        exact = resample_rir(exact, rate, 16000) if rate != 16000 else exact
        # resampling sums over the taps of a unit-gain filter, so the error of a step may grow a little
        limit = 0.5 / 32768 * (1.0 if rate == 16000 else 2 * rate / 16000)
        error = np.abs(store.load(scene, *key) - exact).max()
        assert 0 < error <= limit * (1 + 1e-3)


def test_packed_files_hold_the_samples_of_reading_on_demand(published, script, capsys) -> None:
    root = published.rirs_root
    assert script.main([str(root), "--dtype", "float32", "--jobs", "1"]) == 0
    packed, tree = open_rir_store(root, "packed"), converted(published)
    for scene in SCENES[published.dataset].values():
        for key in PAIRS:
            np.testing.assert_array_equal(packed.load(scene, *key), tree.load(scene, *key))
        assert packed.max_samples(scene) == tree.max_samples(scene)
    assert script.main([str(root), "--verify", "--jobs", "1"]) == 0
    for file in root.glob("*.safetensors"):
        file.unlink()


@pytest.mark.parametrize(
    ("dataset", "wrong_hz", "words"),
    [("mp3d", 44100, "expected 16000 Hz"), ("replica", 22050, "expected 16000 or 44100 Hz")],
)
def test_responses_of_another_dataset_are_not_packed(
    tmp_path: Path, script, capsys, dataset, wrong_hz, words
) -> None:
    path = tmp_path / dataset / "scene" / "0" / "1_2.wav"
    path.parent.mkdir(parents=True)
    soundfile.write(path, np.zeros((50, 2), np.float32), wrong_hz, subtype="FLOAT")
    assert script.main([str(tmp_path / dataset), "--jobs", "1"]) == 2
    error = capsys.readouterr().err
    assert f"{path} has a rate of {wrong_hz} Hz, {words}" in error and error.count("\n") == 1
    # a dataset that nobody published may have any rate
    (tmp_path / dataset).rename(tmp_path / "mine")
    assert script.main([str(tmp_path / "mine"), "--jobs", "1"]) == 0
    assert open_rir_store(tmp_path / "mine").load("scene", 0, 1, 2).shape[1] == -(-50 * 16000 // wrong_hz)


def test_int16_files_are_scaled_to_one(tmp_path: Path) -> None:
    rir = np.array([[0.5, -0.25], [0.125, 0]], np.float32)
    path = tmp_path / "home" / "0" / "1_2.wav"
    path.parent.mkdir(parents=True)
    soundfile.write(path, rir.T, 16000, subtype="PCM_16")
    assert (WavRirStore(tmp_path).load("home", 0, 1, 2) == rir).all()


def test_resampling_keeps_delay_and_gain(tmp_path: Path) -> None:
    # a delay of 20 ms and a gain of 0.5 must be the same filter at any rate
    rir = np.zeros((2, 4410), np.float32)
    rir[0, 882] = 0.5
    path = tmp_path / "home" / "0" / "1_2.wav"
    path.parent.mkdir(parents=True)
    soundfile.write(path, rir.T, 44100, subtype="FLOAT")
    store = WavRirStore(tmp_path, convert=None)
    found = store.load("home", 0, 1, 2)
    assert found.shape == (2, 1600) and np.abs(found[0]).argmax() == 320
    frequency_hz = 1000
    response = (found[0] * np.exp(-2j * np.pi * frequency_hz / 16000 * np.arange(1600))).sum()
    assert abs(abs(response) - 0.5) < 2e-3
    assert store.max_samples("home") == 1600
    assert resample_rir(rir, 44100, 44100).shape == rir.shape


def test_another_rate_is_an_error_even_when_skipping(tmp_path: Path) -> None:
    paths = make_published_tree(tmp_path, "replica", image_size=8)
    scene = SCENES["replica"]["train"]
    for on_missing in ("error", "skip"):
        with pytest.raises(UserError, match="44100 Hz, expected 16000 Hz") as caught:
            WavRirStore(paths.rirs_root, on_missing=on_missing).load(scene, 0, 0, 2)
        assert str(rir_path(paths, scene, 0, 0, 2)) in str(caught.value)
