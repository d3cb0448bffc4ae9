from __future__ import annotations

import numpy as np
import pytest

from audio_separation.audio.clips import ClipLibrary
from audio_separation.errors import UserError
from audio_separation.scenes.draw import make_active_episodes, make_passive_points
from audio_separation.scenes.episodes import Episode
from audio_separation.scenes.graph import NavGraph, build_graph, load_graph
from audio_separation.scenes.layout import DatasetPaths
from audio_separation.scenes.passive import PassivePoint


@pytest.fixture
def graph(tiny: DatasetPaths) -> NavGraph:
    return load_graph(tiny.metadata("tiny_000"))


@pytest.fixture
def clips(tiny: DatasetPaths) -> ClipLibrary:
    return ClipLibrary(tiny.corpus_root, "train")


def test_drawn_episodes_keep_the_rules(graph: NavGraph, clips: ClipLibrary) -> None:
    episodes = make_active_episodes(graph, clips, None, 300, np.random.default_rng(0), "tiny_000")
    for episode in episodes:
        classes = [clips.class_of(sound) for sound in episode.sounds]
        assert classes[0] not in clips.distractor_only
        assert classes[0] != classes[1]
        assert list(episode.labels) == [clips.classes.index(name) for name in classes]
        target, other = episode.source_nodes(graph)[:, 0]
        assert np.linalg.norm(graph.positions[target] - graph.positions[other]) >= 2 - 1e-6
        assert 1 <= graph.geodesic[episode.start_node(graph), target] <= 3
        for sound, second in zip(episode.sounds, episode.start_seconds):
            assert 0 <= second < clips.num_seconds(sound)
    # everything that may occur does
    assert {e.start_rotation for e in episodes} == {0, 90, 180, 270}
    assert {e.labels[0] for e in episodes} == {0, 1, 2}
    assert {e.labels[1] for e in episodes} == {0, 1, 2, 3}
    assert {int(e.source_nodes(graph)[0, 0]) for e in episodes} == set(range(6))
    assert {
        d for e in episodes for d in [graph.geodesic[e.start_node(graph), e.source_nodes(graph)[0, 0]]]
    } == {1, 2, 3}
    assert len({e.episode_id for e in episodes}) == 300


def test_drawing_is_deterministic(graph: NavGraph, clips: ClipLibrary) -> None:
    def draw(seed: int) -> list[Episode]:
        return make_active_episodes(graph, clips, None, 10, np.random.default_rng(seed), "tiny_000")

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_start_at_the_target_and_sources_at_some_nodes(graph: NavGraph, clips: ClipLibrary) -> None:
    rng = np.random.default_rng(0)
    episodes = make_active_episodes(graph, clips, [2, 4], 40, rng, "tiny_000", start_distance=(0, 0))
    assert {int(v) for e in episodes for v in e.source_nodes(graph)[:, 0]} == {2, 4}
    assert all(e.start_position == e.source_positions[0] for e in episodes)


def test_three_sources_as_far_apart_as_the_scene_allows(graph: NavGraph, clips: ClipLibrary) -> None:
    rng = np.random.default_rng(0)
    for episode in make_active_episodes(
        graph, clips, [0, 1, 2], 20, rng, "tiny_000", num_sources=3, min_source_distance=9
    ):
        assert sorted(episode.source_nodes(graph)[:, 0]) == [0, 1, 2]
        assert len(set(episode.labels)) == 3
        target, first = episode.source_nodes(graph)[:2, 0]
        assert target == 1 or abs(target - first) == 2  # nothing is 9 m away: the farthest node is taken


@pytest.mark.parametrize(
    "nodes, options, message",
    [
        ([1], {}, r"scene tiny_000: 2 sources need as many source nodes, it has 1"),
        ([0, 99], {}, r"node 99 is not in"),
        (None, {"start_distance": (20, 30)}, r"no node lies 20 to 30 m from a source node"),
        (None, {"num_sources": 5}, r"5 sources need clips of 5 classes"),
    ],
)
def test_impossible_draws(
    graph: NavGraph, clips: ClipLibrary, nodes: list, options: dict, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make_active_episodes(graph, clips, nodes, 1, np.random.default_rng(0), "tiny_000", **options)


def test_start_is_never_where_the_target_cannot_be_reached(clips: ClipLibrary) -> None:
    points = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [1, 0, 5], [2, 0, 5]], dtype=float)
    graph = build_graph(points, [(0, 1), (1, 2), (3, 4)])
    rng = np.random.default_rng(0)
    for episode in make_active_episodes(graph, clips, None, 60, rng, "x", start_distance=(0, 100)):
        assert np.isfinite(graph.geodesic[episode.start_node(graph), episode.source_nodes(graph)[0, 0]])


def test_drawn_points_keep_the_rules() -> None:
    # a corridor of 20 nodes, ids 100 to 119
    positions = np.stack([np.arange(20.0), np.zeros(20), np.zeros(20)], axis=1)
    graph = build_graph(positions, [(i, i + 1) for i in range(19)], node_ids=range(100, 120))
    points = make_passive_points(graph, [100, 105, 119], 3000, np.random.default_rng(0), "x", near=(1, 4))
    assert set(points.sources.ravel()) == {100, 105, 119}
    assert (points.sources[:, 0] != points.sources[:, 1]).all()
    assert {int(a) for a in points.azimuth} == {0, 90, 180, 270}
    distance = np.abs(points.receiver - points.sources[:, 0])
    assert distance.max() == 19  # the rest is anywhere
    # 70 % are near; of the rest, from 105 8 of 20 nodes are too, from the ends 4 of 20
    expected = 0.7 + 0.3 * np.mean([4 / 20, 8 / 20, 4 / 20])
    assert np.mean((distance >= 1) & (distance <= 4)) == pytest.approx(expected, abs=0.03)
    always = make_passive_points(
        graph, None, 500, np.random.default_rng(0), "x", near=(1, 4), near_fraction=1
    )
    assert set(np.abs(always.receiver - always.sources[:, 0])) == {1, 2, 3, 4}


def test_drawing_points_is_deterministic(graph: NavGraph) -> None:
    def draw(seed: int) -> list[PassivePoint]:
        return list(make_passive_points(graph, None, 20, np.random.default_rng(seed), "x", num_sources=3))

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert all(len(set(p.sources)) == 3 for p in draw(1))


def test_receiver_can_reach_the_target() -> None:
    positions = np.array([[0, 0, 0], [1, 0, 0], [50, 0, 0], [51, 0, 0]], dtype=float)
    graph = build_graph(positions, [(0, 1), (2, 3)])
    for point in make_passive_points(graph, None, 100, np.random.default_rng(0), "x", near_fraction=0):
        assert np.isfinite(graph.geodesic[point.receiver, point.sources[0]])


def test_too_few_source_nodes_for_points(graph: NavGraph) -> None:
    with pytest.raises(UserError, match="scene x: 2 sources need as many source nodes, it has 1"):
        make_passive_points(graph, [3], 1, np.random.default_rng(0), "x")
