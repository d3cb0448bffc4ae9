"""scripts/compare_live.py over a home with a few stored responses."""

from __future__ import annotations

import json
import shutil

import pytest
from live_worlds import RAYS
from script_module import load_script

from audio_separation.audio.packed_writer import write_packed
from audio_separation.scenes.generate import acoustics
from audio_separation.scenes.generate.mesh import build_mesh
from audio_separation.scenes.layout import DatasetPaths

pytest.importorskip(
    "rlr_audio_propagation", reason="rlr-audio-propagation, the acoustic engine, is not installed"
)
SOURCES = [1, 6]


@pytest.fixture(scope="module")
def script():
    return load_script("compare_live")


@pytest.fixture(scope="module")
def stored_world(home_world, tmp_path_factory):
    """A copy of the home's metadata, with responses of two source nodes."""
    paths, home = home_world
    root = tmp_path_factory.mktemp("stored") / "sound_spaces"
    shutil.copytree(paths.sound_spaces_root, root)
    copy = DatasetPaths(paths.data_root, root)
    record = copy.metadata("home_000") / "home.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "source_nodes": SOURCES}))
    engine = acoustics.make_engine("rlr", home, build_mesh(home), RAYS)
    receivers = range(len(home.positions))
    stream = (item for r in receivers for item in acoustics.simulate_receiver(engine, r, SOURCES))
    copy.rirs_root.mkdir(parents=True)
    write_packed(copy.rirs_root / "home_000.safetensors", stream, acoustics.RATE_HZ)
    return copy


def options(paths: DatasetPaths, *more: str) -> list[str]:
    return ["--data", str(paths.data_root), "--sound-spaces", str(paths.sound_spaces_root), *more]


def test_tables_on_the_screen_and_in_json(script, stored_world, tmp_path, capsys):
    out = tmp_path / "deep" / "tables.json"
    assert script.main(options(stored_world, "--pairs", "12", "--json", str(out), "home_000")) == 0
    shown, tables = capsys.readouterr().out, json.loads(out.read_text())["home_000"]
    assert shown.startswith("home_000") and shown.count("RT60, ratio") == 2
    against = tables["live - stored"]
    assert against["level, dB"]["pairs"] == 12 and against["delay, samples"]["largest_deviation"] == 0
    # half floats are stored
    assert against["direct level, dB"]["median_deviation"] < 0.05


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--pairs", "0", "home_000"], "--pairs 0: expected at least 1"),
        (["nowhere"], "metadata of scene nowhere not found"),
    ],
)
def test_mistakes_are_one_sentence(script, stored_world, capsys, words, told):
    assert script.main(options(stored_world, *words)) == 2
    assert f"compare_live: {told}" in capsys.readouterr().err
