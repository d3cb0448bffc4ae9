"""The tiny dataset is what other tests stand on: its responses, files and reproducibility."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny import (
    CLASSES,
    EAR_DELAY,
    FIRST_DELAY,
    NUM_NODES,
    make_tiny_dataset,
    scene_positions,
    scene_rirs,
    tiny_rir,
    write_wav_tree,
)

from audio_separation.audio.clips import ClipLibrary
from audio_separation.audio.rir_store import open_rir_store
from audio_separation.scenes.layout import DatasetPaths


@pytest.mark.parametrize(
    # from node 0 at the origin: node 1 lies at +x, node 5 at -z
    "source, rotation, nearer",
    [
        (1, 0, 1),
        (1, 180, 0),
        (1, 270, None),
        (1, 90, None),
        (5, 0, None),
        (5, 270, 0),
        (5, 90, 1),
        (0, 90, None),
    ],
)
def test_nearer_ear_is_earlier_and_louder(source: int, rotation: int, nearer: object) -> None:
    rir = tiny_rir(scene_positions("tiny_000"), -rotation % 360, 0, source)
    first, peak = np.argmax(np.abs(rir), axis=1), np.abs(rir).max(axis=1)
    travel = FIRST_DELAY + (round(16000 / 343) if source else 0)
    if nearer is None:
        assert first.tolist() == [travel, travel] and peak[0] == pytest.approx(peak[1], rel=1e-6)
    else:
        assert first[nearer] == travel - EAR_DELAY and first[1 - nearer] == travel + EAR_DELAY
        assert peak[nearer] / peak[1 - nearer] == pytest.approx(1.6 / 0.4, rel=1e-6)


def test_packed_file_and_wav_tree_hold_the_formula(tiny: DatasetPaths, tmp_path: Path) -> None:
    write_wav_tree(tmp_path, "tiny_001")
    write_wav_tree(tmp_path / "archive", "tiny_001", separator="-")
    stores = [open_rir_store(root) for root in (tiny.rirs_root, tmp_path, tmp_path / "archive")]
    lengths = set()
    for (azimuth, receiver, source), rir in scene_rirs("tiny_001"):
        lengths.add(rir.shape[1])
        for store in stores:
            np.testing.assert_allclose(store.load("tiny_001", azimuth, receiver, source), rir, atol=1e-6)
    assert len(lengths) > 5  # as in the published archive, lengths differ
    assert stores[0].max_samples("tiny_001") == max(lengths)


def test_clips_and_classes(tiny: DatasetPaths) -> None:
    for split, count in (("train", 3), ("valUnheard", 2), ("testUnheard", 2)):
        clips = ClipLibrary(tiny.corpus_root, split)
        assert clips.classes == CLASSES and clips.distractor_only == {"esc"}
        assert [len(clips.by_class(name)) for name in CLASSES] == [count] * 4
        assert all(clips.num_seconds(name) == 20 for name in clips.names())


def test_same_seed_same_bytes(tiny: DatasetPaths, tmp_path: Path) -> None:
    again = make_tiny_dataset(tmp_path)
    root = tiny.data_root.parent
    files = sorted(p.relative_to(root) for p in root.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    assert len(files) == 4 * 7 + 1 + 1 + 3 * 4 + 5 * 2 + 3
    for file in files:
        assert (root / file).read_bytes() == (tmp_path / file).read_bytes(), file
    assert NUM_NODES == 6 and again.dataset == "homes"
    shutil.rmtree(tmp_path)
