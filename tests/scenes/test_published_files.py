"""Files of SoundSpaces, AAViDSS and Move2Hear, read as they are published."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from published import (
    AZIMUTHS,
    EPISODE_SPLITS,
    EPISODES,
    GRID_M,
    ISLAND,
    LABELS,
    NODES,
    PASSIVE_POINTS,
    SCENES,
    SOUND_SPLITS,
    broken_rirs,
    make_published_tree,
    point_positions,
    scene_id,
)

from audio_separation.audio.clips import ClipLibrary
from audio_separation.audio.rir_store import WavRirStore
from audio_separation.errors import UserError
from audio_separation.scenes.check.rir_tree import wanted_pairs
from audio_separation.scenes.episode_format import scene_of
from audio_separation.scenes.episodes import load_episodes, validate_episodes
from audio_separation.scenes.graph import load_graph
from audio_separation.scenes.layout import DatasetPaths
from audio_separation.scenes.observations import load_observations
from audio_separation.scenes.passive import load_passive

KINDS = [("aavidss", "mp3d"), ("move2hear", "mp3d"), ("aavidss", "replica")]


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def published(request, tmp_path_factory) -> tuple[str, DatasetPaths]:
    family, dataset = request.param
    root = tmp_path_factory.mktemp("published")
    return family, make_published_tree(root, dataset, family=family, image_size=16)


def test_metadata_and_views(published: tuple[str, DatasetPaths]) -> None:
    _, paths = published
    for split, scene in SCENES[paths.dataset].items():
        graph = load_graph(paths.metadata(scene))
        assert graph.node_ids.tolist() == list(NODES)
        positions = point_positions(paths.dataset, split)
        np.testing.assert_allclose(graph.positions, positions[list(NODES)], atol=1e-6)
        assert graph.geodesic[0, 1] == pytest.approx(GRID_M[paths.dataset])
        views = load_observations(paths.observations(scene), graph)
        assert views.rgb.shape == (6, 4, 16, 16, 3) and views.depth.shape == (6, 4, 16, 16, 1)
        assert views.rgb[2, 3, 0, 5].tolist() == [60, 180, 5]
        # val is in metres, up to 11.7: clipped at 10 m
        high, scale = (1.0, 1.3) if split == "val" else (0.9, 1.0)
        assert views.depth.max() == pytest.approx(high)
        assert np.asarray(views.depth[0, 0, 0, 0, 0]) == pytest.approx(0.05 * scale, rel=1e-6)


def test_episodes_of_every_split(published: tuple[str, DatasetPaths]) -> None:
    family, paths = published
    graphs = {s: load_graph(paths.metadata(s)) for s in SCENES[paths.dataset].values()}
    for split, (kind, number) in EPISODE_SPLITS[family, paths.dataset].items():
        episodes = load_episodes(paths.active_root, split)
        assert [e.episode_id for e in episodes] == [str(i) for i in range(EPISODES)]
        assert {e.scene for e in episodes} == {SCENES[paths.dataset][kind]}
        assert [e.start_rotation for e in episodes] == [0, 90, 180, 270, 0, 90]
        expected = (0, 0) if family == "move2hear" else (3, 18)
        assert episodes[1].start_seconds == expected
        # a distractor of Move2Hear may go without label
        assert {e.labels[0] for e in episodes} <= {*LABELS[family].values()} - {LABELS[family]["esc"]}
        assert (episodes[1].labels[1] == -1) == (family == "move2hear")
        near = [e.start_position == e.source_positions[0] for e in episodes]
        assert not any(near) if "farTarget" in split else all(near)
        clips = ClipLibrary(paths.corpus_root, SOUND_SPLITS[family][number])
        validate_episodes(episodes, clips, graphs)


def test_labels_are_the_published_ones(published: tuple[str, DatasetPaths]) -> None:
    family, paths = published
    for split in SOUND_SPLITS[family]:
        clips = ClipLibrary(paths.corpus_root, split)
        assert len(clips.classes) == {"aavidss": 102, "move2hear": 12}[family]
        assert clips.distractor_only == {"esc"}
        assert {name: clips.classes.index(name) for name in LABELS[family]} == LABELS[family]


def test_datapoints(published: tuple[str, DatasetPaths]) -> None:
    _, paths = published
    for split in ("train", "val"):
        points = load_passive(paths.passive_root, split)
        assert points.scenes == (SCENES[paths.dataset][split],) and points.sources.shape == (
            PASSIVE_POINTS,
            2,
        )
        assert np.isin(points.receiver, NODES).all() and np.isin(points.sources, NODES).all()
        assert np.isin(points.azimuth, AZIMUTHS).all()
        assert len(load_passive(paths.passive_root, split, limit_per_scene=5)) == 5


def test_unheard_sounds_by_the_names_of_either_family(tmp_path: Path) -> None:
    paths = make_published_tree(tmp_path, family="move2hear", image_size=8)
    for ours, theirs in (("valUnheard", "val"), ("testUnheard", "test"), ("train", "train")):
        library = ClipLibrary(paths.corpus_root, ours)
        assert library.folder == paths.corpus_root / f"{theirs}_preprocessed"
        assert library.names() == ClipLibrary(paths.corpus_root, theirs).names()
        assert library.num_seconds(library.names()[0]) == 1


def test_a_list_of_ones_own_counts_more_than_the_published_one(tmp_path: Path) -> None:
    paths = make_published_tree(tmp_path, image_size=8)
    tree = {"classes": sorted(LABELS["aavidss"]), "distractor_only": ["esc"]}
    (paths.corpus_root / "classes.json").write_text(json.dumps(tree))
    clips = ClipLibrary(paths.corpus_root, "train")
    assert clips.classes == ["4057", "8474", "esc", "music"]
    episodes = load_episodes(paths.active_root, "train_731243episodes")
    graphs = {s: load_graph(paths.metadata(s)) for s in SCENES["mp3d"].values()}
    with pytest.raises(
        UserError, match=r"labels the sound '8474_train_0000' 0, .* 1: .*configs/aavidss_classes"
    ):
        validate_episodes(episodes, clips, graphs)


@pytest.mark.parametrize("prefix", ["", "data/scene_datasets/mp3d/", "/abs/scene_datasets/replica/"])
@pytest.mark.parametrize("dataset", ["mp3d", "replica"])
def test_scene_ids_with_and_without_folders(prefix: str, dataset: str) -> None:
    assert scene_of(prefix + scene_id(dataset, "apartment_0")) == "apartment_0"


def test_an_episode_without_its_second_is_refused_where_it_is_not_move2hears(tmp_path: Path) -> None:
    paths = make_published_tree(tmp_path, image_size=8)
    file = paths.active("val_100episodes") / "content" / "x8F5xyUWy9e.json.gz"
    tree = json.loads(gzip.decompress(file.read_bytes()))
    for source in tree["episodes"][2]["info"]:
        del source["start_idx"]
    file.write_bytes(gzip.compress(json.dumps(tree).encode()))
    with pytest.raises(
        UserError, match=r"x8F5xyUWy9e.json.gz: episode '2', info 0, lacks the key 'start_idx'"
    ):
        load_episodes(paths.active_root, "val_100episodes")


def test_broken_responses_are_told_apart(tmp_path: Path) -> None:
    paths = make_published_tree(tmp_path, separator="-", broken=True, image_size=8)
    store = WavRirStore(paths.rirs_root)
    faults = ["is empty", "is truncated", "is empty, it holds no sample"] * 3
    assert len(broken_rirs(paths, "-")) == 9
    for file, fault in zip(broken_rirs(paths, "-"), faults):
        scene, azimuth, pair = file.relative_to(paths.rirs_root).with_suffix("").parts
        with pytest.raises(UserError, match=fault) as caught:
            store.load(scene, int(azimuth), *map(int, pair.split("-")))
        assert str(file) in str(caught.value)
    assert all(store.max_samples(scene) > 0 for scene in SCENES["mp3d"].values())


def test_regions_apart_have_no_responses_to_one_another_and_that_is_no_fault(tmp_path: Path) -> None:
    paths = make_published_tree(tmp_path, island=True, image_size=8)
    scene = SCENES["mp3d"]["train"]
    graph = load_graph(paths.metadata(scene))
    assert graph.node_ids.tolist() == [*NODES, *ISLAND]
    store = WavRirStore(paths.rirs_root)
    for v, receiver in enumerate(graph.node_ids.tolist()):
        for w, source in enumerate(graph.node_ids.tolist()):
            if np.isfinite(graph.geodesic[v, w]):
                assert store.load(scene, 0, receiver, source).shape[0] == 2
            else:
                with pytest.raises(UserError, match=rf"{receiver}_{source}\.wav is missing"):
                    store.load(scene, 0, receiver, source)
    assert load_observations(paths.observations(scene), graph).rgb.shape[0] == 8
    # nor does the check of data miss them
    pairs = [[r, s] for region in (NODES, ISLAND) for r in region for s in region]
    assert wanted_pairs(graph, None, graph.node_ids).tolist() == pairs
    assert wanted_pairs(graph, np.array([2, 9, 5]), graph.node_ids).tolist() == [
        p for p in pairs if p[1] in (2, 9)
    ]
