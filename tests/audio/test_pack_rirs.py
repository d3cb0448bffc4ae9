"""scripts/pack_rirs.py: what it packs, what it refuses, how it goes on after a kill, and how it verifies."""

from __future__ import annotations

import json
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.io import wavfile
from script_module import load_script

from audio_separation.audio import packing
from audio_separation.audio.packed_rirs import PackedRirStore, read_packed_metadata
from audio_separation.audio.packed_writer import MISSING
from audio_separation.audio.rir_store import WavRirStore

REPOSITORY = Path(__file__).resolve().parents[2]
NODES = 9  # 9 * 9 pairs * 4 azimuths = 324 responses: two parts
AZIMUTHS = (0, 90, 180, 270)
KEYS = [(a, r, s) for r in range(NODES) for s in range(NODES) for a in AZIMUTHS]

# packs with one process, and dies without warning at the Nth call of a method
KILLED = """
import os, runpy, signal, sys
from audio_separation.audio import packed_writer, packing
method, calls = sys.argv[1], int(sys.argv[2])
owner = {"add": packed_writer.PackedWriter, "copy": packed_writer.PackedWriter, "fsync": packing.os}[method]
plain = getattr(owner, method)
def counting(*args):
    global calls
    calls -= 1
    if calls == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(*args)
setattr(owner, method, counting)
sys.argv = ["pack_rirs.py", sys.argv[3], "--jobs", "1"]
runpy.run_path("scripts/pack_rirs.py", run_name="__main__")
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("pack_rirs")


def wav_path(root: Path, scene: str, azimuth: int, receiver: int, source: int) -> Path:
    return root / scene / str(azimuth) / f"{receiver}{'-' if source % 2 else '_'}{source}.wav"


def write_tree(root: Path, scene: str = "home", length: int = 40) -> None:
    rng = np.random.default_rng(len(scene))
    for key in KEYS:
        path = wav_path(root, scene, *key)
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = rng.standard_normal((int(rng.integers(1, length)), 2)).astype(np.float32)
        wavfile.write(path, 16000, samples)


@pytest.fixture(scope="module")
def made_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    write_tree(root)
    return root


@pytest.fixture
def tree(made_tree: Path, tmp_path: Path) -> Path:
    # copy2 keeps the times, by which parts know their files
    return Path(shutil.copytree(made_tree, tmp_path / "tree"))


def files(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_a_tree_is_packed_the_same_by_any_number_of_processes(
    tree: Path, script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tree(tree, "second")
    other = Path(shutil.copytree(tree, tmp_path / "other"))
    assert script.main([str(tree), "--jobs", "1"]) == 0
    text = capsys.readouterr().out
    assert "2 scenes, 0 packed already" in text and "packed 648 responses" in text
    assert "home: 324 responses" in text and "0 unreadable, 0 missing" in text
    assert script.main([str(other), "--jobs", "2"]) == 0
    for scene in ("home", "second"):
        name = f"{scene}.safetensors"
        assert (tree / name).read_bytes() == (other / name).read_bytes()
    assert files(tree) == ["home", "home.safetensors", "second", "second.safetensors"]
    packed, wav = PackedRirStore(tree), WavRirStore(tree)
    for key in KEYS:
        exact = wav.load("home", *key)
        assert np.square(packed.load("home", *key) - exact).sum() <= 10**-6.6 * np.square(exact).sum()
    assert float(read_packed_metadata(tree / "home.safetensors")["worst_error_db"]) <= -66
    capsys.readouterr()
    assert script.main([str(tree)]) == 0
    assert "2 scenes, 2 packed already" in capsys.readouterr().out


def test_float32_is_exact_and_float16_at_most_half_the_bytes(tmp_path: Path, script: ModuleType) -> None:
    write_tree(tmp_path, length=4000)
    tree_bytes = sum(path.stat().st_size for path in tmp_path.rglob("*.wav"))
    target = tmp_path / "home.safetensors"
    assert script.main([str(tmp_path), "--jobs", "1"]) == 0
    assert target.stat().st_size <= tree_bytes / 2
    assert script.main([str(tmp_path), "--jobs", "1", "--dtype", "float32", "--overwrite"]) == 0
    packed, wav = PackedRirStore(tmp_path), WavRirStore(tmp_path)
    assert all((packed.load("home", *key) == wav.load("home", *key)).all() for key in KEYS)
    assert read_packed_metadata(target)["worst_error_db"] == "-inf"


@pytest.mark.parametrize("method, calls", [("add", 300), ("copy", 2), ("fsync", 1)])
def test_a_killed_run_goes_on_and_ends_the_same(
    tree: Path, script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, calls: int
) -> None:
    undisturbed = Path(shutil.copytree(tree, tmp_path / "undisturbed"))
    assert script.main([str(undisturbed), "--jobs", "1"]) == 0
    command = [sys.executable, "-c", KILLED, method, str(calls), str(tree)]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert files(tree) == [".home.packing", "home"]  # nothing that anyone would take for the scene
    expected_parts = 1 if method == "add" else 2
    assert len(list((tree / ".home.packing").glob("0*.safetensors"))) == expected_parts
    made = []

    def pack_part(root: Path, scene: str, part: packing.Part, *settings: object) -> int:
        made.append(part)
        return packing.pack_part(root, scene, part, *settings)

    monkeypatch.setattr(script, "pack_part", pack_part)
    assert script.main([str(tree), "--jobs", "1"]) == 0
    assert len(made) == 2 - expected_parts  # what was there is not made twice
    name = "home.safetensors"
    assert (tree / name).read_bytes() == (undisturbed / name).read_bytes()
    assert files(tree) == ["home", name]


def test_parts_left_behind_by_a_stop_at_the_very_end_are_removed(
    tree: Path, script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(packing.shutil, "rmtree", stop)
        assert script.main([str(tree), "--jobs", "1"]) == 130
    assert files(tree) == [".home.packing", "home", "home.safetensors"]
    assert script.main([str(tree), "--jobs", "1"]) == 0
    assert files(tree) == ["home", "home.safetensors"]


def test_only_the_parts_whose_files_changed_are_made_again(tree: Path) -> None:
    plan = packing.plan_scene(tree, "home", "float16")
    for part in packing.prepare(plan):
        packing.pack_part(tree, "home", part, "float16", ())
    assert packing.prepare(plan) == []
    wavfile.write(wav_path(tree, "home", *KEYS[-1]), 16000, np.ones((99, 2), np.float32))
    assert len(packing.prepare(packing.plan_scene(tree, "home", "float16"))) == 1
    assert len(list(plan.folder.iterdir())) == 1  # the outdated one is gone
    assert len(packing.prepare(packing.plan_scene(tree, "home", "float32"))) == 2


def test_unreadable_responses_are_named_and_only_on_request_left_out(
    tree: Path, script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tree(tree, "second")
    broken = [KEYS[number] for number in (5, 50, 100, 300)]
    for key in broken:
        wav_path(tree, "home", *key).write_bytes(b"")
    absent = KEYS[200]
    wav_path(tree, "home", *absent).unlink()
    assert script.main([str(tree), "--jobs", "1"]) == 2
    error = capsys.readouterr().err
    assert f"4 responses under {tree} cannot be read" in error and "and 1 more" in error
    assert "home azimuth 90, receiver 0, source 1: in the tree that was packed, its file is empty" in error
    assert "--skip-broken" in error
    assert not (tree / "home.safetensors").exists() and (tree / "second.safetensors").exists()
    assert script.main([str(tree), "--jobs", "1", "--skip-broken"]) == 0
    text = capsys.readouterr().out
    assert "home: 319 responses" in text and "4 unreadable, 1 missing" in text
    assert text.count("in the tree that was packed, its file is empty (0 bytes)") == 4
    store = PackedRirStore(tree)
    listed = store.broken_pairs("home")
    assert set(listed) == {*broken, absent} and listed[absent] == MISSING
    with pytest.raises(Exception, match=r"packed, its file is empty \(0 bytes\).*AUDIO\.MISSING_RIR skip"):
        store.load("home", *broken[0])
    # restored: packed again only when asked to, and only this scene
    for key in (*broken, absent):
        wavfile.write(wav_path(tree, "home", *key), 16000, np.ones((3, 2), np.float32))
    assert script.main([str(tree), "--jobs", "1"]) == 0
    assert "2 scenes, 2 packed already" in capsys.readouterr().out
    assert script.main([str(tree), "--jobs", "1", "--overwrite"]) == 0
    assert "2 scenes, 1 packed already" in capsys.readouterr().out
    assert PackedRirStore(tree).load("home", *broken[0]).shape == (2, 3)
    assert not PackedRirStore(tree).broken_pairs("home")


def test_a_scene_of_which_nothing_can_be_read(
    tmp_path: Path, script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home" / "0").mkdir(parents=True)
    (tmp_path / "home" / "0" / "1_2.wav").write_bytes(b"")
    assert script.main([str(tmp_path), "--jobs", "1", "--skip-broken"]) == 2
    assert "no RIRs for" in capsys.readouterr().err
    assert not (tmp_path / "home.safetensors").exists()


def test_a_damaged_part_is_made_anew(
    tree: Path, script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = packing.plan_scene(tree, "home", "float16")
    for part in packing.prepare(plan):
        packing.pack_part(tree, "home", part, "float16", ())
    data = bytearray(plan.parts[1].path.read_bytes())
    data[8 + struct.unpack("<Q", data[:8])[0] + 100] ^= 4
    plan.parts[1].path.write_bytes(bytes(data))
    assert script.main([str(tree), "--jobs", "1"]) == 2
    assert f"{plan.parts[1].path} was damaged" in capsys.readouterr().err
    assert not (tree / "home.safetensors").exists()
    assert script.main([str(tree), "--jobs", "1"]) == 0
    assert script.main([str(tree), "--jobs", "1", "--verify"]) == 0


def test_other_versions_and_dtypes_are_kept_unless_told(
    tree: Path, script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tree / "home.safetensors"
    assert script.main([str(tree), "--jobs", "1"]) == 0
    whole = target.read_bytes()
    old = whole.replace(b'"version": "2"', b'"version": "1"')
    for content, options, words in (
        (whole, ["--dtype", "float32"], "home.safetensors is of dtype float16, not float32"),
        (old, [], "home.safetensors is of version 1, not 2"),
        (whole[:-9], [], "home.safetensors is truncated or corrupt"),
    ):
        target.write_bytes(content)
        assert script.main([str(tree), "--jobs", "1", *options]) == 2
        error = capsys.readouterr().err
        assert words in error and "--overwrite" in error
        assert target.read_bytes() == content
        assert script.main([str(tree), "--jobs", "1", "--overwrite", *options]) == 0
        assert (target.read_bytes() == whole) == (not options)


@pytest.mark.parametrize(
    "name, words",
    [("0/1_2_3.wav", "is not named"), ("left/1_2.wav", "is not named"), ("90/4_4.wav", None), (None, None)],
)
def test_misplaced_files(tree: Path, script: ModuleType, capsys, name, words) -> None:
    if name is None:
        shutil.rmtree(tree / "home")
        words = "has no scene folders"
    else:
        path = tree / "home" / name
        path.parent.mkdir(exist_ok=True)
        shutil.copy(wav_path(tree, "home", 0, 0, 0), path)
        if words is None:  # beside 4_4.wav, 4-4.wav
            shutil.copy(path, path.with_name("4-4.wav"))
            words = "are the same pair"
    assert script.main([str(tree), "--jobs", "1"]) == 2
    assert words in capsys.readouterr().err
    assert script.main([str(tree / "nowhere")]) == 2
    assert "nowhere is missing" in capsys.readouterr().err


def test_verify_names_each_corrupt_response(
    tree: Path, script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "VERIFY_ROWS", 100)
    assert script.main([str(tree), "--verify"]) == 2
    assert "has no packed files" in capsys.readouterr().err
    assert script.main([str(tree), "--jobs", "1"]) == 0
    assert script.main([str(tree), "--jobs", "2", "--verify"]) == 0
    assert "324 responses in 1 files, 0 faults" in capsys.readouterr().out
    target = tree / "home.safetensors"
    whole = target.read_bytes()
    start = 8 + struct.unpack("<Q", whole[:8])[0]
    end = json.loads(whole[8:start])["data"]["data_offsets"][1]
    data = bytearray(whole)
    data[start + 1] ^= 1  # the first response, in the order of receivers, sources, azimuths
    data[start + end - 9] ^= 1  # the last
    target.write_bytes(bytes(data))
    (tree / "cut.safetensors").write_bytes(whole[:-9])
    assert script.main([str(tree), "--jobs", "1", "--verify"]) == 1
    lines = capsys.readouterr().out.splitlines()
    faults = [line for line in lines if line.startswith(str(tree))]
    assert len(faults) == 3 and lines[-1] == "324 responses in 2 files, 3 faults"
    assert "cut.safetensors is truncated" in faults[0]
    assert "home.safetensors, azimuth 0, receiver 0, source 0: its samples do not match" in faults[1]
    assert "home.safetensors, azimuth 270, receiver 8, source 8: its samples do not match" in faults[2]
