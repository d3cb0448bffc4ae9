"""Making the data set: files, resuming, refusing to mix, episodes, the command line."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import wave
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from distributed import LocalCluster

from audio_separation.audio.clips import ClipLibrary
from audio_separation.audio.packed_rirs import read_packed_metadata
from audio_separation.audio.rir_store import open_rir_store
from audio_separation.errors import UserError
from audio_separation.scenes.episodes import load_episodes, validate_episodes
from audio_separation.scenes.generate import dataset, parallel
from audio_separation.scenes.generate.home import make_home
from audio_separation.scenes.generate.parallel import BACKENDS, connected, run_tasks
from audio_separation.scenes.generate.plan import PRESETS, Preset
from audio_separation.scenes.generate.scene import Scene, SceneWriter, Settings, home_record, source_nodes
from audio_separation.scenes.graph import load_graph
from audio_separation.scenes.layout import DatasetPaths
from audio_separation.scenes.observations import load_observations
from audio_separation.scenes.passive import load_passive
from audio_separation.scenes.splits import read_splits

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "generate_homes.py"
TINY = replace(
    PRESETS["mini"],
    lattices=((4, 3),),
    rooms=(2, 2),
    nodes=(4, 9),
    scenes=(1, 1, 1),
    episodes=(6, 3),
    passive_points=(8, 4),
)
SETTINGS = Settings("tiny", seed=0, engine="pyroomacoustics", engine_version="test", rays=1, sources=3)


@pytest.fixture(scope="module", autouse=True)
def tiny_preset() -> Iterator[Preset]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", TINY)
        yield TINY


def write_corpus(paths: DatasetPaths) -> None:
    """Three classes, one clip a split, of 20 s noise."""
    rng = np.random.default_rng(0)
    for number, split in enumerate(("train", "valUnheard", "testUnheard")):
        folder = paths.corpus_root / "min20s_clips" / f"{split}_preprocessed"
        folder.mkdir(parents=True)
        for name in ("anna", "music", "esc"):
            with wave.open(str(folder / f"{name}_{number}.wav"), "wb") as file:
                file.setparams((1, 2, 16000, 0, "NONE", "not compressed"))
                file.writeframes(rng.integers(-3000, 3000, 320000).astype("<i2").tobytes())


def hashes(root: Path) -> dict[str, str]:
    files = (p for p in sorted(root.rglob("*")) if p.is_file())
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_preset: Preset) -> DatasetPaths:
    paths = dataset.dataset_paths(tmp_path_factory.mktemp("homes"))
    write_corpus(paths)
    scenes = dataset.make_scenes(paths, SETTINGS, jobs=1)
    assert [scene.name for scene in scenes] == ["home_000", "home_001", "home_002"]
    dataset.make_datasets(paths, SETTINGS)
    return paths


def test_every_pair_of_the_stated_sources_has_a_response(made: DatasetPaths) -> None:
    store = open_rir_store(made.rirs_root)
    for name in ("home_000", "home_001", "home_002"):
        graph = load_graph(made.metadata(name))
        record = json.loads(home_record(made, name).read_text())
        assert len(record["source_nodes"]) == 3
        for receiver in graph.node_ids:
            for source in record["source_nodes"]:
                for azimuth in (0, 90, 180, 270):
                    response = store.load(name, azimuth, int(receiver), source)
                    assert response.shape[0] == 2 and np.abs(response).max() > 1e-4


def test_engine_and_settings_are_recorded(made: DatasetPaths) -> None:
    record = json.loads(home_record(made, "home_001").read_text())
    assert record["engine"]["name"] == record["settings"]["engine"] == "pyroomacoustics"
    assert record["split"] == "val" and 0.15 < record["rt60_s"] < 0.9
    metadata = read_packed_metadata(made.rirs_root / "home_001.safetensors")
    assert metadata["engine"] == "pyroomacoustics" and metadata["rate"] == "16000"


def test_readers_take_graph_and_views_of_the_home(made: DatasetPaths) -> None:
    scene = Scene("home_002", "test", 2)
    home = make_home(scene.seed(SETTINGS), TINY)
    graph = load_graph(made.metadata("home_002"))
    assert np.allclose(graph.positions, home.positions)
    assert {tuple(sorted((v, int(n)))) for v in range(len(graph)) for n in graph.neighbours[v]} == set(
        home.edges
    )
    views = load_observations(made.observations("home_002"), graph)
    assert views.rgb.shape == (len(graph), 4, 128, 128, 3) and views.depth.shape[-1] == 1
    # facing +x (rotation 270) from the westernmost node looks farther than facing -x (90)
    west = int(np.argmin(graph.positions[:, 0]))
    assert views.depth[west, 3, 64, 64] > views.depth[west, 1, 64, 64]


def test_episodes_and_points_use_the_sources_of_their_scenes(made: DatasetPaths) -> None:
    splits = read_splits(made.metadata_root)
    assert splits == {"train": ["home_000"], "val": ["home_001"], "test": ["home_002"]}
    graphs = {name: load_graph(made.metadata(name)) for names in splits.values() for name in names}
    sources = {n: json.loads(home_record(made, n).read_text())["source_nodes"] for n in graphs}
    for split, (kind, sounds) in dataset.ACTIVE_SPLITS.items():
        episodes = load_episodes(made.active_root, split)
        assert len(episodes) == TINY.episodes[0 if kind == "train" else 1]
        assert {e.scene for e in episodes} == set(splits[kind])
        validate_episodes(episodes, ClipLibrary(made.corpus_root, sounds), graphs)
        for e in episodes:
            graph = graphs[e.scene]
            assert set(graph.node_ids[e.source_nodes(graph)[:, 0]]) <= set(sources[e.scene])
            start = graph.nearest(e.start_position)
            target = graph.nearest(e.source_paths[0][0])
            assert 1 - 1e-3 <= graph.geodesic[start, target] <= 3 + 1e-3
    for kind, count in (("train", 8), ("val", 4), ("test", 4)):
        points = load_passive(made.passive_root, kind)
        assert len(points) == count
        assert set(points.sources.ravel()) <= set(sources[splits[kind][0]])


def test_finished_scenes_are_skipped_and_a_broken_one_is_healed(made: DatasetPaths) -> None:
    before = hashes(made.data_root.parent)
    assert dataset.make_scenes(made, SETTINGS, jobs=1) == []
    made.observations("home_001").unlink()
    assert [s.name for s in dataset.make_scenes(made, SETTINGS, jobs=1)] == ["home_001"]
    assert hashes(made.data_root.parent) == before


def test_an_interrupted_run_goes_on_and_ends_as_an_uninterrupted_one(
    made: DatasetPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = dataset.dataset_paths(tmp_path)
    write = SceneWriter.write_views

    def stop_at_the_second(writer: SceneWriter, parts: object) -> None:
        if writer.scene.index == 1:
            raise KeyboardInterrupt
        write(writer, parts)

    monkeypatch.setattr(SceneWriter, "write_views", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        dataset.make_scenes(paths, SETTINGS, jobs=1)
    assert home_record(paths, "home_000").is_file() and not home_record(paths, "home_001").exists()
    monkeypatch.undo()
    leftover = paths.rirs_root / ".home_001.safetensors.999999999.tmp"
    leftover.write_bytes(b"half")
    first = (paths.rirs_root / "home_000.safetensors").stat().st_mtime_ns
    assert [s.name for s in dataset.make_scenes(paths, SETTINGS, jobs=1)] == ["home_001", "home_002"]
    assert (paths.rirs_root / "home_000.safetensors").stat().st_mtime_ns == first
    assert not leftover.exists()
    whole = hashes(made.sound_spaces_root)
    assert {k: v for k, v in whole.items() if "splits" not in k} == hashes(paths.sound_spaces_root)


def test_nothing_half_written_appears_under_a_final_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = dataset.dataset_paths(tmp_path)
    for storage in ("packed", "wav"):
        settings = replace(SETTINGS, storage=storage)
        writer = SceneWriter(paths, Scene("home_000", "train", 0), settings)

        def broken() -> Iterator[list]:
            yield [((0, 0, 0), np.ones((2, 5), np.float32))]
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            writer.write_rirs(broken())
        assert not writer.rir_path.exists() and not writer.finished()


def test_episodes_over_another_corpus_are_announced(
    made: DatasetPaths, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree(made.data_root.parent, tmp_path / "copy")
    other = dataset.dataset_paths(tmp_path / "copy", "recordings")
    (other.corpus_root.parent / "synthetic").rename(other.corpus_root)
    dataset.make_datasets(other, SETTINGS)
    assert "now plays the corpus recordings, not synthetic" in capsys.readouterr().err
    dataset.make_datasets(other, SETTINGS)
    assert capsys.readouterr().err == ""


def test_other_settings_are_refused_with_the_difference(made: DatasetPaths) -> None:
    for key, value in (("seed", 7), ("rays", 99), ("sources", 0), ("engine", "rlr"), ("storage", "wav")):
        with pytest.raises(UserError, match=rf"made with {key} .*, not {value}; give another --out"):
            dataset.make_scenes(made, replace(SETTINGS, **{key: value}), jobs=1)


def test_wav_tree_holds_the_same_responses(made: DatasetPaths, tmp_path: Path) -> None:
    paths = dataset.dataset_paths(tmp_path)
    settings = replace(SETTINGS, storage="wav")
    writer = SceneWriter(paths, Scene("home_000", "train", 0), settings)
    packed = open_rir_store(made.rirs_root)
    wanted = [(0, 1), (90, 2)]
    record = json.loads(home_record(made, "home_000").read_text())
    source = record["source_nodes"][0]
    rirs = [((az, r, source), packed.load("home_000", az, r, source)) for az, r in wanted]
    writer.write_rirs([rirs])
    tree = open_rir_store(paths.rirs_root, "wav")
    for (azimuth, receiver, _), response in rirs:
        assert np.array_equal(tree.load("home_000", azimuth, receiver, source), response)


def test_source_nodes_are_spread_over_the_home() -> None:
    home = make_home(1, PRESETS["mini"])
    assert source_nodes(home, 0) == source_nodes(home, 999) == list(range(len(home.positions)))
    some = source_nodes(home, 5)
    assert len(set(some)) == 5 and some == sorted(some) == source_nodes(home, 5)
    apart = np.linalg.norm(home.positions[some][:, None] - home.positions[some], axis=-1)
    assert apart[~np.eye(5, dtype=bool)].min() >= 1.9


def test_mistakes_on_the_command_line_are_one_line_and_status_2(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(SCRIPT),
        "--out",
        str(tmp_path),
        "--corpus",
        "nowhere",
        "--engine",
        "pyroomacoustics",
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1 and "prepare_audio.py" in result.stderr
    assert not (tmp_path / "sound_spaces").exists()


def test_a_cluster_backend_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    missing = r"--backend dask: .*pip install 'dask\[distributed\]'"
    with pytest.raises(UserError, match=missing), connected("dask", 1):
        pass


def test_a_cluster_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "CONNECT_S", 0.5)
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:9")
    silent = r"--backend dask: cannot connect .*tcp://127\.0\.0\.1:9"
    with pytest.raises(UserError, match=silent), connected("dask", 1):
        pass


@pytest.mark.parametrize("backend", BACKENDS)
def test_tasks_give_their_results_in_order_from_other_processes(backend: str) -> None:
    tasks = [(divmod, number, 3) for number in range(6)] + [(os.getpid,)]
    with run_tasks(tasks, jobs=2, backend=backend) as results:
        *numbers, process = results
    assert numbers == [divmod(number, 3) for number in range(6)]
    assert process != os.getpid()


def test_homes_made_on_a_cluster_elsewhere_are_those_made_here(
    made: DatasetPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = dataset.dataset_paths(tmp_path)
    # threads of this process, which know the preset `tiny`, but reached through the address as others would be
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    ) as cluster:
        monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.scheduler_address)
        scenes = dataset.make_scenes(paths, SETTINGS, jobs=-1, backend="dask")
    assert [scene.name for scene in scenes] == ["home_000", "home_001", "home_002"]
    whole = hashes(made.sound_spaces_root)
    assert {k: v for k, v in whole.items() if "splits" not in k} == hashes(paths.sound_spaces_root)
