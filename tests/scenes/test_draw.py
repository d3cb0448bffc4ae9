"""Drawing: what is drawn keeps the rules, by brute force over small graphs."""

from __future__ import annotations

from collections import Counter

import networkx
import numpy as np
import pytest

from audio_separation.audio.clips import ClipLibrary
from audio_separation.errors import UserError
from audio_separation.scenes.draw import balanced_targets, make_active_episodes, make_passive_points
from audio_separation.scenes.episodes import Episode
from audio_separation.scenes.graph import NavGraph, build_graph, load_graph
from audio_separation.scenes.layout import DatasetPaths
from audio_separation.scenes.passive import PassivePoint
from audio_separation.scenes.walks import Motion, Walker


@pytest.fixture
def graph(tiny: DatasetPaths) -> NavGraph:
    return load_graph(tiny.metadata("tiny_000"))


@pytest.fixture
def clips(tiny: DatasetPaths) -> ClipLibrary:
    return ClipLibrary(tiny.corpus_root, "train")


def two_rooms(width: int = 12, depth: int = 6) -> NavGraph:
    """Two rooms of ``width x depth`` nodes with a wall between the rows, open at the last column."""
    points = [(x, 0.0, z) for z in range(2 * depth) for x in range(width)]
    edges = []
    for z in range(2 * depth):
        for x in range(width):
            v = z * width + x
            edges += [(v, v + 1)] if x + 1 < width else []
            through = z + 1 != depth or x == width - 1
            edges += [(v, v + width)] if z + 1 < 2 * depth and through else []
    return build_graph(np.array(points), edges, node_ids=range(500, 500 + len(points)))


def as_networkx(graph: NavGraph, nodes: list[int] | None = None) -> networkx.Graph:
    """Node indices, edges weighted by their length: the distances to compare with."""
    plain = networkx.Graph()
    plain.add_nodes_from(range(len(graph)))
    for v, others in enumerate(graph.neighbours):
        for other in others:
            plain.add_edge(
                v, int(other), weight=float(np.linalg.norm(graph.positions[v] - graph.positions[other]))
            )
    return plain if nodes is None else plain.subgraph(nodes)


def start_distances(graph: NavGraph, episodes: list[Episode]) -> list[float]:
    plain, found = as_networkx(graph), []
    for e in episodes:
        ends = (e.start_node(graph), int(e.source_nodes(graph)[0, 0]))
        found.append(networkx.shortest_path_length(plain, *ends, weight="weight"))
    return found


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


# ---- far targets ----------------------------------------------------------------------------------------
def test_every_distance_of_the_range_is_as_frequent(clips: ClipLibrary) -> None:
    graph = two_rooms()
    options = {"start_distance": (4, 12), "even_distances": True}
    episodes = make_active_episodes(graph, clips, None, 83, np.random.default_rng(0), "x", **options)
    distances = start_distances(graph, episodes)
    assert min(distances) >= 4 and max(distances) <= 12
    # 8 bins of a metre; the graph's distances are whole metres, so 12 shares the last bin with 11
    count = Counter(min(int(d), 11) for d in distances)
    assert sorted(count) == list(range(4, 12)) and set(count.values()) == {10, 11}
    # node by node it is uneven
    plain = make_active_episodes(
        graph, clips, None, 400, np.random.default_rng(0), "x", start_distance=(4, 12)
    )
    count = Counter(min(int(d), 11) for d in start_distances(graph, plain))
    assert max(count.values()) > 1.5 * min(count.values())


def test_the_farthest_of_a_small_scene_bounds_the_range(clips: ClipLibrary, graph: NavGraph) -> None:
    options = {"start_distance": (3, float("inf")), "even_distances": True}
    episodes = make_active_episodes(graph, clips, None, 60, np.random.default_rng(0), "x", **options)
    count = Counter(start_distances(graph, episodes))
    # the L is 5 m from end to end: bins of 3 to 4 and of 4 to 5 m
    assert count[3] == 30 and count[4] + count[5] == 30 and count[5] > 0
    with pytest.raises(UserError, match=r"scene x: no node lies 6 to inf m from a source node"):
        make_active_episodes(
            graph,
            clips,
            None,
            1,
            np.random.default_rng(0),
            "x",
            start_distance=(6, float("inf")),
            even_distances=True,
        )


def test_even_distances_of_nothing_start_at_the_target(clips: ClipLibrary, graph: NavGraph) -> None:
    options = {"start_distance": (0, 0), "even_distances": True}
    for e in make_active_episodes(graph, clips, None, 20, np.random.default_rng(0), "x", **options):
        assert e.start_position == e.source_positions[0]


# ---- sources --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("num_sources", [1, 2, 3, 4])
def test_any_number_of_sources(clips: ClipLibrary, num_sources: int) -> None:
    graph = two_rooms(6, 3)
    for e in make_active_episodes(
        graph, clips, None, 40, np.random.default_rng(0), "x", num_sources, min_source_distance=1.5
    ):
        assert e.num_sources == len(set(e.labels)) == num_sources
        nodes = e.source_nodes(graph)[:, 0]
        for i, a in enumerate(nodes):
            for b in nodes[:i]:
                assert np.linalg.norm(graph.positions[a] - graph.positions[b]) >= 1.5
    with pytest.raises(UserError, match="an episode needs one source or more, found 0"):
        make_active_episodes(graph, clips, None, 1, np.random.default_rng(0), "x", 0)


def test_all_of_an_episode_is_in_one_part_of_the_graph(clips: ClipLibrary) -> None:
    # a corridor of 6, another of 3 apart from it, and a lone node
    points = np.array([[float(x), 0, 0] for x in (0, 1, 2, 3, 4, 5, 20, 21, 22, 40)])
    graph = build_graph(points, [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (6, 7), (7, 8)])
    rng = np.random.default_rng(0)
    for even in (False, True):
        seen = set()
        options = {"start_distance": (0, float("inf")), "even_distances": even}
        for e in make_active_episodes(graph, clips, None, 100, rng, "x", 3, **options):
            nodes = {e.start_node(graph), *e.source_nodes(graph)[:, 0].tolist()}
            assert nodes <= {0, 1, 2, 3, 4, 5} or nodes <= {6, 7, 8}
            seen |= nodes
        assert seen == set(range(9))
    points_of_four = make_passive_points(graph, None, 50, rng, "x", 4, near_fraction=0)
    assert set(points_of_four.sources.ravel()) | set(points_of_four.receiver) == set(range(6))
    with pytest.raises(UserError, match="7 sources need as many .* in one connected part .* 6 at most"):
        make_passive_points(graph, None, 1, rng, "x", 7)


def test_target_classes_balance(clips: ClipLibrary, graph: NavGraph) -> None:
    names = balanced_targets(clips, 50, np.random.default_rng(1))
    assert sorted(Counter(names).values()) == [16, 17, 17]
    assert "esc" not in names and names != sorted(names)
    options = {"target_classes": names}
    episodes = make_active_episodes(graph, clips, None, 50, np.random.default_rng(0), "x", **options)
    assert [clips.class_of(e.sounds[0]) for e in episodes] == names
    assert all(e.labels[1] != e.labels[0] for e in episodes)
    assert balanced_targets(clips, 0, np.random.default_rng(1)) == []


# ---- walking --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "speed, pause, path",
    [
        (1, (0, 0), [0, 1, 0, 1, 0, 1, 0, 1]),
        (0.5, (0, 0), [0, 0, 1, 1, 0, 0, 1, 1]),
        (2, (0, 0), [0, 0, 0, 0, 0, 0, 0, 0]),
        (1, (2, 2), [0, 1, 1, 1, 0, 0, 0, 1]),
        (0.1, (0, 0), [0] * 8),
        (2, (1, 1), [0, 1, 1, 0, 0, 1, 1, 0]),
        (3, (1, 1), [0, 1, 1, 0, 0, 1, 1, 0]),
    ],
)
def test_speed_and_pause_between_two_nodes(speed: float, pause: tuple, path: list) -> None:
    graph = build_graph(np.array([[0.0, 0, 0], [1, 0, 0]]), [(0, 1)])
    walker = Walker(graph, np.arange(2), Motion("all", 8, speed, pause))
    assert walker.path(0, np.random.default_rng(0)) == path


def test_a_tenth_of_a_node_a_step_is_a_node_every_ten_steps() -> None:
    graph = build_graph(np.array([[0.0, 0, 0], [1, 0, 0]]), [(0, 1)])
    path = Walker(graph, np.arange(2), Motion("all", 41, 0.1)).path(0, np.random.default_rng(0))
    assert path == [0] * 10 + [1] * 10 + [0] * 10 + [1] * 10 + [0]


@pytest.mark.parametrize("speed", [0.4, 1, 2.5])
def test_walks_follow_edges_between_nodes_where_sources_may_be(clips: ClipLibrary, speed: float) -> None:
    graph = two_rooms(6, 3)
    allowed = [
        v for v in range(len(graph)) if v % 6 != 2
    ]  # a column is taken out: two parts remain, or the door
    plain = as_networkx(graph, allowed)
    rng, motion = np.random.default_rng(0), Motion("all", 60, speed, (0, 2))
    ids = graph.node_ids[allowed].tolist()
    moved = 0
    for e in make_active_episodes(graph, clips, ids, 10, rng, "x", 2, (1, 3), motion=motion):
        assert [len(path) for path in e.source_paths] == [60, 60]
        for nodes in e.source_nodes(graph, 60).tolist():
            assert set(nodes) <= set(allowed)
            hops = [networkx.shortest_path_length(plain, a, b) for a, b in zip(nodes, nodes[1:])]
            assert max(hops) <= np.ceil(speed)
            moved += sum(h > 0 for h in hops)
            assert len(set(nodes)) > 3
    assert moved > 200 * min(speed, 1)


@pytest.mark.parametrize(
    "who, lengths", [("target", [5, 1, 1]), ("distractors", [1, 5, 5]), ("all", [5] * 3)]
)
def test_those_move_that_should(clips: ClipLibrary, graph: NavGraph, who: str, lengths: list) -> None:
    rng = np.random.default_rng(0)
    for e in make_active_episodes(graph, clips, None, 5, rng, "x", 3, motion=Motion(who, 5)):
        assert [len(path) for path in e.source_paths] == lengths
        assert e.moving
    assert not Motion("distractors").moves(0)


def test_sources_that_cannot_move_are_an_error(clips: ClipLibrary, graph: NavGraph) -> None:
    with pytest.raises(UserError, match=r"scene x: sources cannot move, as no two of the 3 nodes"):
        make_active_episodes(graph, clips, [2, 3, 0], 1, np.random.default_rng(0), "x", motion=Motion("all"))


def test_nodes_without_a_way_hold_no_source_where_sources_move(clips: ClipLibrary, graph: NavGraph) -> None:
    rng = np.random.default_rng(0)
    # from node 4 there is no way to another one of these
    for e in make_active_episodes(graph, clips, [0, 1, 2, 4], 20, rng, "x", motion=Motion("target", 5)):
        assert set(e.source_nodes(graph, 5).ravel().tolist()) <= {0, 1, 2}


@pytest.mark.parametrize(
    "options, message",
    [
        ({"who": "nobody"}, "expected one of target, distractors, all"),
        ({"steps": 1}, "a path of 2 steps or more, found 1"),
        ({"speed": 0.0}, "above 0 and at most 10 nodes a step, found 0"),
        ({"pause": (3, 1)}, r"the fewest and the most steps, found \(3, 1\)"),
    ],
)
def test_impossible_motions(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Motion(**options)
