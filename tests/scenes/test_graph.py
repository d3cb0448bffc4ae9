from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import networkx
import numpy as np
import pytest
from tiny import EDGES, LAYOUT_XZ, scene_positions

from audio_separation.errors import UserError
from audio_separation.scenes.graph import (
    build_graph,
    load_graph,
    quaternion_to_rotation,
    rotation_to_quaternion,
    write_metadata,
)
from audio_separation.scenes.layout import DatasetPaths

GRAPHS = Path(__file__).parent / "graphs"
# x, z; the agent of rotation 0 faces -z, of 90 -x
CROSS = np.array([[0, 0, 0], [0, 0, -1], [-1, 0, 0], [0, 0, 1], [1, 0, 0]], dtype=float)


def test_forward_of_the_four_rotations() -> None:
    graph = build_graph(CROSS, [(0, 4), (0, 3), (0, 2), (0, 1)])
    assert graph.forward[0].tolist() == [1, 2, 3, 4]  # -z, -x, +z, +x
    assert graph.forward[1].tolist() == [1, 1, 0, 1]  # from -z only +z leads anywhere
    np.testing.assert_array_equal(graph.published_forward, graph.forward)


def test_forward_on_the_l_by_hand(tiny: DatasetPaths) -> None:
    graph = load_graph(tiny.metadata("tiny_000"))
    table = [[5, 0, 0, 1], [1, 0, 1, 2], [2, 1, 2, 2], [4, 3, 5, 3], [4, 4, 3, 4], [3, 5, 0, 5]]
    assert graph.forward.tolist() == table
    mirrored = load_graph(tiny.metadata("tiny_001"))  # x changes sign: rotations 90 and 270 trade places
    assert mirrored.forward[:, [0, 3, 2, 1]].tolist() == table


def test_no_edge_no_move() -> None:
    graph = build_graph(CROSS, [(0, 3)])
    assert graph.forward[0].tolist() == [0, 0, 3, 0]


def test_diagonal_only_where_nothing_is_straight() -> None:
    # node 1 diagonal (ahead, right), node 2 straight ahead, listed after it
    points = np.array([[0, 0, 0], [1, 0, -1], [0, 0, -1]], dtype=float)
    straight = build_graph(points, [(0, 1), (0, 2)])
    assert straight.forward[0].tolist() == [2, 0, 0, 1]
    diagonal = build_graph(points[:2], [(0, 1)])
    assert diagonal.forward[0].tolist() == [1, 0, 0, 1]  # within 45 degrees of -z and of +x
    # published: the first in graph order, so the diagonal wins over the straight one
    assert straight.published_forward[0, 0] == 1


def test_published_rule_does_not_wrap_at_360() -> None:
    # direction of (+x, -z) is 315 degrees from +x: 45 from 360, but the published difference to 0 is 315
    graph = build_graph(np.array([[0, 0, 0], [1, 0, -1]], dtype=float), [(0, 1)])
    assert graph.forward[0, 3] == 1
    assert graph.published_forward[0].tolist() == [1, 0, 0, 0]


def test_published_rule_wants_exactly_45_degrees() -> None:
    graph = build_graph(np.array([[0, 0, 0], [0.5, 0, -1]], dtype=float), [(0, 1)])
    assert graph.forward[0].tolist() == [1, 0, 0, 0]
    assert graph.published_forward[0].tolist() == [0, 0, 0, 0]


def test_forward_follows_stairs_and_ignores_a_shaft() -> None:
    points = np.array([[0, 0, 0], [0, 0.7, -1], [0, 3, 0]], dtype=float)
    graph = build_graph(points, [(0, 2), (0, 1)])
    assert graph.forward[0].tolist() == [1, 0, 0, 0]


def test_geodesic_against_networkx(tiny: DatasetPaths) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 10, (30, 3))
    edges = [(int(a), int(b)) for a, b in rng.integers(0, 28, (45, 2)) if a != b]  # nodes 28, 29 stay alone
    graph = build_graph(points, edges)
    reference = networkx.Graph()
    reference.add_nodes_from(range(30))
    for a, b in edges:
        reference.add_edge(a, b, weight=float(np.linalg.norm(points[a] - points[b])))
    wanted = np.full((30, 30), np.inf)
    for a, lengths in networkx.all_pairs_dijkstra_path_length(reference):
        for b, length in lengths.items():
            wanted[a, b] = length
    assert np.isinf(wanted).any()
    assert graph.geodesic.dtype == np.float32
    np.testing.assert_allclose(graph.geodesic, wanted, rtol=1e-6)
    assert load_graph(tiny.metadata("tiny_000")).geodesic[2, 4] == 5


def test_within() -> None:
    graph = build_graph(CROSS, [(0, 1), (0, 2), (0, 3)])
    assert graph.within(1, (0, 0)).tolist() == [1]
    assert graph.within(1, (1, 2)).tolist() == [0, 2, 3]  # 4 cannot be reached


def test_metadata_round_trip_and_published_form(tmp_path: Path) -> None:
    positions = scene_positions("tiny_002") + 0.1234567
    write_metadata(tmp_path, positions, EDGES)
    row = (tmp_path / "points.txt").read_text().splitlines()[3].split("\t")
    x, y, z = positions[3]
    np.testing.assert_allclose([float(v) for v in row], [3, x, -z, y + 1.5], atol=1e-6)  # mesh frame, z up
    published = pickle.loads((tmp_path / "graph.pkl").read_bytes())
    assert isinstance(published, networkx.Graph)
    assert {frozenset(edge) for edge in published.edges} == {frozenset(edge) for edge in EDGES}
    graph = load_graph(tmp_path)
    np.testing.assert_allclose(graph.positions, positions, atol=1e-6)
    assert graph.node_ids.tolist() == list(range(len(LAYOUT_XZ)))
    assert not list(tmp_path.glob(".*"))  # no temporary file stays


def test_replica_points_lie_higher(tmp_path: Path) -> None:
    folder = tmp_path / "replica" / "room_0"
    write_metadata(folder, CROSS + np.array([0, 2.0, 0]), [(0, 1)], mic_height=1.5528907)
    np.testing.assert_allclose(load_graph(folder).positions[:, 1], 2.0, atol=1e-6)
    text = (folder / "points.txt").read_text()
    assert text.splitlines()[0] == "0\t0.000000\t0.000000\t3.552891"


@pytest.mark.parametrize("name", ["networkx_2.4_protocol3", "networkx_2.8.8_protocol4"])
def test_published_graph_holds_some_of_the_points(tmp_path: Path, name: str) -> None:
    shutil.copy(GRAPHS / f"{name}.pkl", tmp_path / "graph.pkl")
    rows = [(1.5, -3, 1.25), (9, 9, 9), (2.5, -3, 1.25), (2.5, -4, 1.25)]  # node 1 is not in the graph
    (tmp_path / "points.txt").write_text("".join(f"{i}\t{x}\t{y}\t{z}\n" for i, (x, y, z) in enumerate(rows)))
    graph = load_graph(tmp_path)
    assert graph.node_ids.tolist() == [0, 2, 3]
    assert graph.index_of == {0: 0, 2: 1, 3: 2}
    assert graph.forward.tolist() == [[0, 0, 0, 1], [1, 0, 2, 1], [1, 2, 2, 2]]
    assert graph.indices([3, 0]).tolist() == [2, 0]
    assert graph.indices(None).tolist() == [0, 1, 2]
    with pytest.raises(UserError, match=r"node 1 is not in .*graph\.pkl, which has 3 nodes"):
        graph.index(1)


def test_nearest_and_positions_off_the_graph() -> None:
    graph = build_graph(CROSS, [(0, 1)])
    assert graph.nearest([0.05, 0.2, -1.05]) == 1
    with pytest.raises(UserError, match=r"position \[0\.5, 0\.0, 0\.0\] is off the graph.*0\.50 m away"):
        graph.nearest([0.5, 0, 0])
    with pytest.raises(UserError, match=r"3\.00 m above or below"):
        graph.nearest([0, 3, 0])  # another storey
    for bad in ([0, 0], [0, 0, float("nan")]):
        with pytest.raises(UserError, match="three finite numbers"):
            graph.nearest(bad)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_quaternion_round_trip(rotation: int) -> None:
    q = np.array(rotation_to_quaternion(rotation))
    assert quaternion_to_rotation(q) == rotation
    assert quaternion_to_rotation(-q) == rotation  # the same turn
    # rotating the forward vector -z about +y: 90 must face -x
    x, y, z, w = q
    v = np.array([0.0, 0.0, -1.0])
    u = np.array([x, y, z])
    turned = v + 2 * w * np.cross(u, v) + 2 * np.cross(u, np.cross(u, v))
    wanted = {0: [0, 0, -1], 90: [-1, 0, 0], 180: [0, 0, 1], 270: [1, 0, 0]}[rotation]
    np.testing.assert_allclose(turned, wanted, atol=1e-12)


def test_quaternion_of_a_negative_quarter_turn() -> None:
    # the published code reads its angle, 90, and forgets that the axis is -y
    assert quaternion_to_rotation([0, -np.sqrt(0.5), 0, np.sqrt(0.5)]) == 270


@pytest.mark.parametrize(
    "q", [[0, 0.38268343, 0, 0.92387953], [0.70710678, 0, 0, 0.70710678], [0, 0, 0, 0], [0, 1, 0]]
)
def test_other_rotations_are_refused(q: list) -> None:
    with pytest.raises(UserError, match=r"a rotation should be"):
        quaternion_to_rotation(q)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_metadata(tmp_path / "scene", CROSS, [(0, 1), (0, 2)])
    return tmp_path / "scene"


def rewrite(folder: Path, change: object) -> None:
    graph = pickle.loads((folder / "graph.pkl").read_bytes())
    (folder / "graph.pkl").write_bytes(pickle.dumps(change(graph)))  # type: ignore[operator]


def test_points_and_graph_of_different_scenes(folder: Path) -> None:
    lines = (folder / "points.txt").read_text().replace("4\t1.000000", "4\t1.500000")
    (folder / "points.txt").write_text(lines)
    with pytest.raises(
        UserError, match=r"puts node 4 at \[1\.0, 0\.0, 0\.0\], points\.txt .* different scenes"
    ):
        load_graph(folder)


def test_graph_with_more_nodes_than_points(folder: Path) -> None:
    lines = (folder / "points.txt").read_text().splitlines(keepends=True)
    (folder / "points.txt").write_text("".join(lines[:3]))
    with pytest.raises(UserError, match=r"has node 3, but points\.txt beside it has rows 0 to 2"):
        load_graph(folder)


@pytest.mark.parametrize(
    "text, message",
    [
        ("0\t1\t2\n", "index x y z"),
        ("1\t1\t2\t3\n", "index x y z"),
        ("0\ta\tb\tc\n", "index x y z"),
    ],
)
def test_bad_points(folder: Path, text: str, message: str) -> None:
    (folder / "points.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        load_graph(folder)


def test_missing_files_of_a_scene(folder: Path) -> None:
    (folder / "graph.pkl").unlink()
    with pytest.raises(UserError, match=r"cannot read .*graph\.pkl"):
        load_graph(folder)
    (folder / "points.txt").unlink()
    with pytest.raises(UserError, match=r"points\.txt not found"):
        load_graph(folder)


def test_graphs_of_another_kind(folder: Path) -> None:
    rewrite(folder, lambda graph: {"nodes": list(graph)})
    with pytest.raises(UserError, match=r"should hold a networkx\.Graph, found a dict"):
        load_graph(folder)
    rewrite(folder, lambda graph: networkx.path_graph(3))
    with pytest.raises(UserError, match="each with its position 'point'"):
        load_graph(folder)
    rewrite(folder, lambda graph: networkx.Graph())
    with pytest.raises(UserError, match="graph without nodes"):
        load_graph(folder)


def test_edge_to_nowhere(folder: Path) -> None:
    def break_edge(_: object) -> networkx.Graph:
        graph = networkx.Graph()
        graph.add_node(0, point=(0.0, 0.0, 0.0))
        graph._adj[0][7] = {}
        return graph

    (folder / "points.txt").write_text("0\t0\t0\t1.5\n")
    rewrite(folder, break_edge)
    with pytest.raises(UserError, match="has an edge to 7"):
        load_graph(folder)


def test_a_position_asked_for_twice_is_found_the_same() -> None:
    graph = build_graph(CROSS, [(0, 1)])
    assert [graph.nearest((0.05, 0.2, -1.05)) for _ in range(2)] == [1, 1]
    rng = np.random.default_rng(0)
    for _ in range(200):  # more than are remembered
        v = int(rng.integers(len(CROSS)))
        x, y, z = (float(c) for c in CROSS[v] + rng.uniform(-0.05, 0.05, 3))
        assert graph.nearest((x, y, z)) == graph.nearest([x, y, z]) == v
    for _ in range(2):  # what is refused is not remembered
        with pytest.raises(UserError, match="is off the graph"):
            graph.nearest((0.5, 0.0, 0.0))
