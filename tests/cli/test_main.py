"""Every kind of bad data as a user of the command line would meet it."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Callable

import numpy as np
import pytest
import torch
from cli_command import CONFIGS, command, error_of
from scipy.io import wavfile
from small_config import REPO
from tiny import RATE, scene_rirs, write_wav_tree

import main
from audio_separation.audio.packed_writer import write_packed
from audio_separation.scenes.layout import DatasetPaths


@pytest.fixture(scope="module")
def passive_dir(tiny, tmp_path_factory) -> Path:
    """Separators after one step."""
    folder = tmp_path_factory.mktemp("cli") / "passive"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPO)
        assert main.main(command("passive", tiny, folder)) == 0
    return folder


@pytest.fixture
def broken(tiny, tmp_path) -> DatasetPaths:
    """A copy of the tiny dataset to damage: hard links, so a damaged file must be replaced, not written into."""
    for root in (tiny.data_root, tiny.sound_spaces_root):
        shutil.copytree(root, tmp_path / root.name, copy_function=os.link)
    return replace(tiny, data_root=tmp_path / "data", sound_spaces_root=tmp_path / "sound_spaces")


def put(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


# ---- help ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("trainer", ["passive", "active"])
@pytest.mark.parametrize("folder", ["data", "sound_spaces", "data/audio_data", "data/{}_datasets"])
def test_a_missing_folder_names_the_command_that_makes_it(
    broken, tmp_path, passive_dir, capsys, trainer, folder
):
    shutil.rmtree(tmp_path / folder.format(trainer))
    line = error_of(command(trainer, broken, tmp_path / "run", TRAIN__PASSIVE_CHECKPOINT=passive_dir), capsys)
    assert "generate_homes.py" in line and str(tmp_path) in line
    assert not (tmp_path / "run").exists()


# ---- data that is damaged ------------------------------------------------------------------------------
def train_clips(paths: DatasetPaths) -> list[Path]:
    return sorted((paths.corpus_root / "min20s_clips" / "train_preprocessed").iterdir())


def for_clips(content: Callable[[Path], bytes]) -> Callable[[DatasetPaths], str]:
    def damage(paths: DatasetPaths) -> str:
        for clip in train_clips(paths):
            put(clip, content(clip))
        return r"train_preprocessed/\w+_train\d\.wav"

    return damage


def wrong_rate(paths: DatasetPaths) -> str:
    for clip in train_clips(paths):
        samples = wavfile.read(clip)[1]
        clip.unlink()
        wavfile.write(clip, 44100, samples)
    return r"_train\d\.wav has a rate of 44100 Hz, expected 16000 Hz"


def absent_pair(paths: DatasetPaths) -> str:
    # a listener at node 2 is missing for a source at node 0 and so on: every source that is not where one listens
    path = paths.rirs_root / "tiny_000.safetensors"
    path.unlink()
    kept = [(key, rir) for key, rir in scene_rirs("tiny_000") if key[1] == key[2]]
    write_packed(path, kept, RATE, "float32", {"engine": "tiny"})
    return r"tiny_000"


def wav_tree_without_a_pair(paths: DatasetPaths) -> str:
    for scene in ("tiny_000", "tiny_001"):
        (paths.rirs_root / f"{scene}.safetensors").unlink()
        write_wav_tree(paths.rirs_root, scene)
    for path in (paths.rirs_root / "tiny_000").rglob("*_[0-4].wav"):
        path.unlink()
    return r"tiny_000/\d+/\d_\d\.wav"


def rir_at_the_wrong_rate(paths: DatasetPaths) -> str:
    (paths.rirs_root / "tiny_000.safetensors").unlink()
    write_wav_tree(paths.rirs_root, "tiny_000")
    for path in (paths.rirs_root / "tiny_000").rglob("*.wav"):
        wavfile.write(path, 8000, wavfile.read(path)[1])
    return r"tiny_000/\d+/\d_\d\.wav"


def empty_rirs(paths: DatasetPaths) -> str:
    (paths.rirs_root / "tiny_000.safetensors").unlink()
    write_wav_tree(paths.rirs_root, "tiny_000")
    for path in (paths.rirs_root / "tiny_000").rglob("*.wav"):
        path.write_bytes(b"")
    return r"tiny_000/\d+/\d_\d\.wav"


def truncated_pack(paths: DatasetPaths) -> str:
    path = paths.rirs_root / "tiny_000.safetensors"
    put(path, path.read_bytes()[:-1000])
    return r"tiny_000\.safetensors"


def no_json_classes(paths: DatasetPaths) -> str:
    put(paths.corpus_root / "classes.json", b'{"classes": ["music"')
    return r"classes\.json is malformed"


DAMAGE_OF_BOTH = [
    wrong_rate,
    for_clips(lambda clip: b""),
    for_clips(lambda clip: clip.read_bytes()[:5000]),
    for_clips(lambda clip: b"This is no WAV file, it is text.\n" * 100),
    absent_pair,
    wav_tree_without_a_pair,
    rir_at_the_wrong_rate,
    empty_rirs,
    truncated_pack,
    no_json_classes,
]


def edit_episodes(paths: DatasetPaths, change: Callable[[dict], None]) -> Path:
    path = paths.active_root / "train" / "content" / "tiny_000.json.gz"
    tree = json.loads(gzip.decompress(path.read_bytes()))
    change(tree["episodes"][5])
    put(path, gzip.compress(json.dumps(tree).encode()))
    return path


def off_the_graph(paths: DatasetPaths) -> str:
    edit_episodes(paths, lambda e: e.update(start_position=[0.5, 0.0, 7.0]))
    return r"episode '5' of scene tiny_000: position \[0\.5, 0\.0, 7\.0\] is off .*tiny_000"


def source_off_the_graph(paths: DatasetPaths) -> str:
    edit_episodes(paths, lambda e: e["goals"][1].update(position=[99.0, 0.0, 0.0]))
    return r"episode '5' of scene tiny_000: position \[99\.0"


def unknown_sound(paths: DatasetPaths) -> str:
    edit_episodes(paths, lambda e: e["info"][0].update(sound="whale_0.wav"))
    return r"episode '5' of scene tiny_000 plays the sound 'whale_0'"


def wrong_label(paths: DatasetPaths) -> str:
    edit_episodes(paths, lambda e: e["info"][0].update(target_label=3))
    return r"labels the sound .* 3"


def unknown_scene(paths: DatasetPaths) -> str:
    edit_episodes(paths, lambda e: e.update(scene_id="castle/castle.glb"))
    return r"metadata/homes/castle"


def missing_key(paths: DatasetPaths) -> str:
    edit_episodes(paths, lambda e: e.pop("goals"))
    return r"content/tiny_000\.json\.gz: episode '5' lacks the key 'goals'"


def truncated_json(paths: DatasetPaths) -> str:
    path = paths.active_root / "train" / "content" / "tiny_000.json.gz"
    put(path, path.read_bytes()[:300])
    return r"content/tiny_000\.json\.gz is not a readable \.json\.gz"


class Hostile:
    def __init__(self, mark: str):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def hostile(place: Callable[[DatasetPaths], Path]) -> Callable[[DatasetPaths], str]:
    def damage(paths: DatasetPaths) -> str:
        put(place(paths), pickle.dumps({"tiny_000": Hostile(str(paths.data_root / "executed"))}))
        return place(paths).name.replace(".", r"\.")

    return damage


hostile_graph = hostile(lambda paths: paths.metadata("tiny_000") / "graph.pkl")
hostile_images = hostile(lambda paths: paths.observations("tiny_000"))
hostile_points = hostile(lambda paths: paths.passive("train") / "tiny_000.pkl")


def truncated_images(paths: DatasetPaths) -> str:
    put(paths.observations("tiny_000"), paths.observations("tiny_000").read_bytes()[:4000])
    return r"tiny_000\.pkl"


CASES = [
    *[(trainer, damage) for trainer in CONFIGS for damage in DAMAGE_OF_BOTH],
    ("passive", hostile_points),
    *[("active", damage) for damage in (off_the_graph, source_off_the_graph, unknown_sound, wrong_label)],
    *[("active", damage) for damage in (unknown_scene, missing_key, truncated_json)],
    *[("active", damage) for damage in (hostile_graph, hostile_images, truncated_images)],
]


@pytest.mark.parametrize(
    ("trainer", "damage"), CASES, ids=[f"{t}-{d.__name__}-{i}" for i, (t, d) in enumerate(CASES)]
)
def test_damaged_data_is_named_and_spoils_nothing(
    tiny, broken, tmp_path, passive_dir, capsys, trainer, damage
):
    expected = damage(broken)
    changes = {"TRAIN__PASSIVE_CHECKPOINT": passive_dir}
    line = error_of(command(trainer, broken, tmp_path / "run", **changes), capsys)
    assert re.search(expected, line), line
    assert str(tmp_path) in line  # with its folder
    assert not (broken.data_root / "executed").exists()
    # with the data mended the same model dir works
    assert main.main(command(trainer, tiny, tmp_path / "run", **changes)) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())
    assert metrics["step"] == 1 and np.isfinite(list(metrics.values())).all()


def test_a_split_without_clips_of_a_class_still_serves(broken, tmp_path, capsys):
    for clip in (broken.corpus_root / "min20s_clips" / "valUnheard_preprocessed").glob("spk00_*"):
        clip.unlink()
    assert main.main(command("passive", broken, tmp_path / "run")) == 0
    for clip in (broken.corpus_root / "min20s_clips" / "valUnheard_preprocessed").glob("[ms]*"):
        clip.unlink()
    line = error_of(command("passive", broken, tmp_path / "other"), capsys)
    assert "valUnheard_preprocessed has 1 (0 of them may be targets)" in line
    assert not (tmp_path / "other").exists()


# ---- checkpoints and model dirs ------------------------------------------------------------------------
def test_separators_of_other_sizes(tiny, tmp_path, passive_dir, capsys):
    changes = {"TRAIN__PASSIVE_CHECKPOINT": passive_dir, "SEPARATOR__CHANNELS": "[4,8,8,8,8]"}
    line = error_of(command("active", tiny, tmp_path / "run", **changes), capsys)
    assert "best.pth" in line and "SEPARATOR.CHANNELS [8, 8, 8, 8, 8], this run has [4, 8, 8, 8, 8]" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("trainer", ["passive", "active"])
def test_a_model_dir_of_another_experiment(tiny, tmp_path, passive_dir, capsys, trainer):
    before = {p: p.read_bytes() for p in passive_dir.rglob("*") if p.is_file()}
    changes = {"SEED": 8, "TRAIN__PASSIVE_CHECKPOINT": passive_dir}
    line = error_of(command(trainer, tiny, passive_dir, **changes), capsys)
    assert "holds another experiment" in line and "SEED is 0 there, 8 now" in line
    assert {p: p.read_bytes() for p in passive_dir.rglob("*") if p.is_file()} == before


def test_model_dir_that_cannot_be(tiny, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in error_of(command("passive", tiny, tmp_path / "file"), capsys)
    assert "/proc/run" in error_of(command("passive", tiny, Path("/proc/run")), capsys)


def test_damaged_state_is_named(tiny, tmp_path, capsys):
    run = tmp_path / "run"
    assert main.main(command("passive", tiny, run)) == 0
    put(run / "state.pth", (run / "state.pth").read_bytes()[:1000])
    assert "state.pth is damaged" in error_of(command("passive", tiny, run), capsys)


def test_a_full_disk_while_saving_keeps_the_last_state(tiny, tmp_path, capsys, monkeypatch):
    run = tmp_path / "run"
    changes = {"PASSIVE__NUM_STEPS": 4, "PASSIVE__VAL_EVERY": 2}
    real, calls = os.fsync, []

    def full(file):
        calls.append(file)
        if len(calls) > 2:  # best.pth and state.pth of step 2 succeed
            raise OSError(28, "No space left on device")
        real(file)

    monkeypatch.setattr(os, "fsync", full)
    line = error_of(command("passive", tiny, run, **changes), capsys)
    assert "No space left on device" in line and "the last good one stays" in line
    monkeypatch.undo()
    monkeypatch.chdir(REPO)
    assert torch.load(run / "state.pth", weights_only=True)["step"] == 2
    assert main.main(command("passive", tiny, run, **changes)) == 0
    assert [json.loads(x)["step"] for x in (run / "metrics.jsonl").read_text().splitlines()] == [2, 4]


def test_ctrl_c_before_the_loop_leaves_at_once(tiny, tmp_path, monkeypatch):
    from audio_separation.training.passive import PassiveTrainer

    steps = []
    monkeypatch.setattr(PassiveTrainer, "_train_step", lambda self: steps.append(1))
    load = PassiveTrainer._load_points

    def interrupted(self, split):
        os.kill(os.getpid(), signal.SIGINT)
        return load(self, split)

    monkeypatch.setattr(PassiveTrainer, "_load_points", interrupted)
    assert main.main(command("passive", tiny, tmp_path / "run")) == 130
    assert steps == []


def test_interrupted_import_is_no_traceback(tiny, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "_run", interrupt)
    assert main.main(command("passive", tiny, tmp_path / "run")) == 130
