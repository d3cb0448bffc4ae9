"""Which nodes can hold a source, by what lies on disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny import EDGES, scene_positions, write_wav_tree

from audio_separation.audio.packed_writer import write_packed
from audio_separation.errors import UserError
from audio_separation.scenes.graph import NavGraph, build_graph, load_graph, write_metadata
from audio_separation.scenes.layout import DatasetPaths
from audio_separation.scenes.source_nodes import source_nodes


def own_scene(tmp_path: Path) -> tuple[DatasetPaths, NavGraph]:
    paths = DatasetPaths(tmp_path / "data", tmp_path / "ss", "own")
    write_metadata(paths.metadata("s"), scene_positions("tiny_000"), EDGES)
    return paths, load_graph(paths.metadata("s"))


@pytest.mark.parametrize("separator", ["_", "-"])
def test_sources_of_a_wav_tree(tmp_path: Path, separator: str) -> None:
    paths, graph = own_scene(tmp_path)
    write_wav_tree(paths.rirs_root.parent / "all", "tiny_000", separator)
    folder = paths.rirs_root / "s"
    folder.parent.mkdir(parents=True)
    (paths.rirs_root.parent / "all" / "tiny_000").rename(folder)
    assert source_nodes(paths, "s", graph) == [0, 1, 2, 3, 4, 5]
    (folder / "0" / f"3{separator}4.wav").unlink()  # a receiver that does not hear source 4
    assert source_nodes(paths, "s", graph) == [0, 1, 2, 3, 5]
    for other in range(6):  # a receiver without any response does not count against the sources
        (folder / "0" / f"2{separator}{other}.wav").unlink()
    assert source_nodes(paths, "s", graph) == [0, 1, 2, 3, 5]
    for file in (folder / "0").glob(f"*{separator}[0135].wav"):
        file.unlink()
    assert source_nodes(paths, "s", graph) == [2]
    shutil.rmtree(folder / "0")  # the next heading is looked at
    assert source_nodes(paths, "s", graph) == [0, 1, 2, 3, 4, 5]


def test_sources_of_a_packed_scene(tmp_path: Path) -> None:
    paths, graph = own_scene(tmp_path)
    paths.rirs_root.mkdir(parents=True)
    rir = np.ones((2, 4), np.float32)
    # receivers 0 to 7, of which the graph has six; sources 1 and 4, and 4 lacks one heading of one receiver
    pairs = [(a, r, s) for r in range(8) for s in (1, 4, 7) for a in (0, 90, 180, 270)]
    pairs.remove((180, 5, 4))
    write_packed(paths.rirs_root / "s.safetensors", [(pair, rir) for pair in pairs], 16000, "float32", {})
    assert source_nodes(paths, "s", graph) == [1]


def test_sources_of_another_part_are_not_needed(tmp_path: Path) -> None:
    paths, _ = own_scene(tmp_path)
    graph = build_graph(np.array([[x, 0.0, 0.0] for x in (0, 1, 9, 10)]), [(0, 1), (2, 3)])
    folder = paths.rirs_root / "s" / "90"
    folder.mkdir(parents=True)
    for r, s in ((0, 0), (1, 0), (0, 1), (1, 1), (2, 3), (3, 3), (3, 2)):
        (folder / f"{r}_{s}.wav").touch()
    assert source_nodes(paths, "s", graph) == [0, 1, 3]


def test_scenes_without_responses_are_named(tmp_path: Path) -> None:
    paths, graph = own_scene(tmp_path)
    with pytest.raises(UserError, match=r"neither .*s\.safetensors nor .* --source-nodes all"):
        source_nodes(paths, "s", graph)
    (paths.rirs_root / "s").mkdir(parents=True)
    with pytest.raises(UserError, match="has none of the folders 0, 90, 180 and 270"):
        source_nodes(paths, "s", graph)
    (paths.rirs_root / "s" / "0").mkdir()
    with pytest.raises(UserError, match=r"scene s: no node of .* has impulse responses to all receivers"):
        source_nodes(paths, "s", graph)
    (paths.metadata("s") / "home.json").write_text('{"source_nodes": [2, 4]}')
    assert source_nodes(paths, "s", graph) == [2, 4]
    (paths.metadata("s") / "home.json").write_text("{}")
    with pytest.raises(UserError, match=r"home\.json should list \"source_nodes\""):
        source_nodes(paths, "s", graph)
