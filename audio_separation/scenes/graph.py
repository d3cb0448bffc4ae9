"""The navigation graph of a scene, as arrays (DESIGN sections 3 and 4).

Two numberings occur. A *node id* is the row of ``points.txt``; files (RIRs, RGB-D, passive points) use it,
and the graph may hold only some of them. A *node index* is the place of a node in our arrays; everything that
steps or looks up uses it. ``node_ids[index] == id`` and ``index_of[id] == index``.
"""

from __future__ import annotations

import pickle
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Iterable, Optional, Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import shortest_path

from audio_separation.errors import UserError
from audio_separation.scenes.datasets import DatasetFacts, facts_of
from audio_separation.scenes.layout import write_atomic
from audio_separation.scenes.unpickle import PickledGraph, load_pickle

ROTATIONS_DEG = (0, 90, 180, 270)  # counter-clockwise about +Y; 0 faces -Z, 90 faces -X
SNAP_M = 0.1  # a position this near to a node (horizontally) is that node
SNAP_HEIGHT_M = 0.5  # and no further above or below: another storey is another node


def rotation_to_quaternion(rotation_deg: float) -> list[float]:
    """Return ``[x, y, z, w]`` of a turn by ``rotation_deg`` counter-clockwise about +Y."""
    half = np.deg2rad(rotation_deg % 360) / 2
    return [0.0, float(np.sin(half)), 0.0, float(np.cos(half))]


def quaternion_to_heading(quaternion: Sequence[float]) -> float:
    """Return the rotation in [0, 360) degrees, to a millionth, of ``[x, y, z, w]``.

    Raises:
        UserError: if it is not a turn about +Y.
    """
    try:
        q = np.asarray(quaternion, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):  # of a file: anything
        q = np.zeros(0)
    if q.shape != (4,) or not np.isfinite(q).all() or abs(np.linalg.norm(q) - 1) > 1e-2:
        raise UserError(f"a rotation should be a unit quaternion [x, y, z, w], found {quaternion}")
    if max(abs(q[0]), abs(q[2])) > 1e-2:
        raise UserError(
            f"a rotation should be a turn of some degrees about +Y, found quaternion {list(quaternion)}"
        )
    return round(float(np.rad2deg(2 * np.arctan2(q[1], q[3]))), 6) % 360


def quaternion_to_rotation(quaternion: Sequence[float]) -> int:
    """Return the rotation in {0, 90, 180, 270} degrees of ``[x, y, z, w]``.

    Raises:
        UserError: if it is not a quarter turn about +Y (within 1 degree).
    """
    degrees = quaternion_to_heading(quaternion)
    nearest = round(degrees / 90) * 90
    if abs(degrees - nearest) > 1:
        raise UserError(
            f"a rotation should be 0, 90, 180 or 270 degrees about +Y, found quaternion {list(quaternion)}"
        )
    return nearest % 360


def _headings_deg(edges_xz: np.ndarray) -> np.ndarray:
    # horizontal direction as a rotation: -Z is 0, -X is 90
    return np.rad2deg(np.arctan2(-edges_xz[:, 0], -edges_xz[:, 1])) % 360


def _forward_table(positions: np.ndarray, neighbours: Sequence[np.ndarray]) -> np.ndarray:
    table = np.repeat(np.arange(len(positions))[:, None], 4, axis=1)
    for v, others in enumerate(neighbours):
        offsets = (positions[others] - positions[v])[:, [0, 2]]
        sideways = np.linalg.norm(offsets, axis=1) > 1e-6
        others, headings = others[sideways], _headings_deg(offsets[sideways])
        for k, rotation in enumerate(ROTATIONS_DEG):
            # signed difference in (-180, 180], to the whole degree as the grids are only nearly regular
            turn = np.abs(np.rint((headings - rotation + 180) % 360 - 180))
            if len(turn) and turn.min() <= 45:
                table[v, k] = others[np.argmin(turn)]  # argmin: the first in graph order among equals
    return table


def _published_forward_table(positions: np.ndarray, neighbours: Sequence[np.ndarray]) -> np.ndarray:
    table = np.repeat(np.arange(len(positions))[:, None], 4, axis=1)
    for v, others in enumerate(neighbours):
        offsets = positions[others] - positions[v]
        directions = np.rint(np.rad2deg(np.arctan2(offsets[:, 2], offsets[:, 0]))).astype(int) % 360
        for k, rotation in enumerate(ROTATIONS_DEG):
            orientation = (270 - rotation) % 360  # the published angle runs from +X to +Z
            straight = directions == orientation
            diagonal = (directions % 90 != 0) & (np.abs(directions - orientation) == 45)
            if (straight | diagonal).any():
                table[v, k] = others[np.argmax(straight | diagonal)]
    return table


@dataclass(frozen=True, eq=False)
class NavGraph:
    """Nodes, positions and moves of one scene.

    Attributes:
        node_ids: int [V], the row of points.txt of each node, in graph order.
        positions: float64 [V, 3], Habitat frame (y up), metres, at floor level.
        neighbours: V int arrays of node indices, in graph order.
        source: the file or scene that errors name.
    """

    node_ids: np.ndarray
    positions: np.ndarray
    neighbours: tuple[np.ndarray, ...]
    source: str = "the graph"

    def __len__(self) -> int:
        return len(self.node_ids)

    @cached_property
    def index_of(self) -> dict[int, int]:
        """Node id -> node index."""
        return {int(node): v for v, node in enumerate(self.node_ids)}

    @cached_property
    def forward(self) -> np.ndarray:
        """int [V, 4]: node index after MOVE_FORWARD at rotation 90 * k; the node itself if none lies ahead.

        The straight neighbour first, else the least turned one within 45 degrees.
        """
        return _forward_table(self.positions, self.neighbours)

    @cached_property
    def published_forward(self) -> np.ndarray:
        """int [V, 4] by the published rule: in graph order, the first straight or exact 45 degree neighbour.

        Angles do not wrap at 360 there, so facing +X (rotation 270) the diagonal towards -Z is never taken.
        """
        return _published_forward_table(self.positions, self.neighbours)

    @cached_property
    def geodesic(self) -> np.ndarray:
        """float32 [V, V]: length in metres of the shortest path over the edges, inf where there is none."""
        rows = np.repeat(np.arange(len(self)), [len(n) for n in self.neighbours])
        columns = np.concatenate([*self.neighbours, np.zeros(0, dtype=int)]).astype(int)
        lengths = np.linalg.norm(self.positions[rows] - self.positions[columns], axis=1)
        weights = coo_matrix((np.maximum(lengths, 1e-9), (rows, columns)), shape=(len(self), len(self)))
        return shortest_path(weights.tocsr(), method="D", directed=False).astype(np.float32)

    @cached_property
    def _snapped(self) -> dict[tuple[float, ...], int]:
        # what nearest() found; the published training set names the same nodes two million times
        return {}

    def index(self, node_id: int) -> int:
        """Node index of a node id.

        Raises:
            UserError: if the graph has no such node.
        """
        try:
            return self.index_of[int(node_id)]
        except KeyError:
            raise UserError(f"node {node_id} is not in {self.source}, which has {len(self)} nodes") from None

    def indices(self, node_ids: Optional[Sequence[int]]) -> np.ndarray:
        """Node indices of ``node_ids``; of all nodes for None.

        Raises:
            UserError: if the graph lacks one of them.
        """
        if node_ids is None:
            return np.arange(len(self))
        return np.array([self.index(node) for node in node_ids], dtype=np.int64)

    def within(self, node: int, bounds_m: tuple[float, float]) -> np.ndarray:
        """Node indices at a geodesic distance within ``bounds_m`` of node index ``node`` (1 mm of slack)."""
        distance = self.geodesic[node]
        return np.flatnonzero((distance >= bounds_m[0] - 1e-3) & (distance <= bounds_m[1] + 1e-3))

    def nearest(self, position: Sequence[float]) -> int:
        """Node index of the node at ``position`` [3] (Habitat frame, metres).

        Raises:
            UserError: if no node lies within 0.1 m of it horizontally (and 0.5 m vertically).
        """
        if isinstance(position, tuple) and position in self._snapped:
            return self._snapped[position]
        p = np.asarray(position, dtype=np.float64)
        if p.shape != (3,) or not np.isfinite(p).all():
            raise UserError(f"a position should be three finite numbers [x, y, z], found {position}")
        offsets = self.positions - p
        v = int(np.argmin((offsets**2).sum(axis=1)))
        away, above = np.hypot(offsets[v, 0], offsets[v, 2]), abs(offsets[v, 1])
        if away > SNAP_M or above > SNAP_HEIGHT_M:
            raise UserError(
                f"position {[round(float(x), 3) for x in p]} is off {self.source}: the nearest node "
                f"({int(self.node_ids[v])}) is {away:.2f} m away and {above:.2f} m above or below "
                f"(at most {SNAP_M} m and {SNAP_HEIGHT_M} m)"
            )
        if isinstance(position, tuple) and len(self._snapped) < 16 * len(self):
            self._snapped[position] = v
        return v


def build_graph(
    positions: np.ndarray,
    edges: Iterable[Sequence[int]],
    node_ids: Optional[Sequence[int]] = None,
    source: str = "the graph",
) -> NavGraph:
    """Make a graph of ``positions`` [V, 3] and ``edges``, pairs of indices; neighbours keep edge order."""
    positions = np.asarray(positions, dtype=np.float64).reshape(-1, 3)
    lists: list[list[int]] = [[] for _ in range(len(positions))]
    for a, b in edges:
        if a != b:
            lists[a].append(int(b))
            lists[b].append(int(a))
    ids = np.arange(len(positions)) if node_ids is None else np.asarray(node_ids, dtype=np.int64)
    # dict.fromkeys drops an edge given twice and keeps the order
    neighbours = tuple(np.array(list(dict.fromkeys(n)), dtype=np.int64) for n in lists)
    return NavGraph(ids, positions, neighbours, source)


def read_points(path: Path, mic_height: float = DatasetFacts.mic_height_m) -> np.ndarray:
    """Read points.txt and return Habitat positions float64 [P, 3] on the floor below the points.

    Raises:
        UserError: for a missing or malformed file.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # numpy's, of an empty file: the error below says it
            rows = np.loadtxt(path, ndmin=2)
    except OSError:
        raise UserError(f"{path} not found: the metadata of a scene holds points.txt and graph.pkl") from None
    except ValueError as error:
        raise UserError(f"{path} should hold lines of 'index x y z', found: {error}") from None
    if rows.ndim != 2 or rows.shape[1] != 4 or not np.array_equal(rows[:, 0], np.arange(len(rows))):
        raise UserError(
            f"{path} should hold lines of 'index x y z' with index = row number, found shape {rows.shape}"
        )
    # mesh frame, z up -> Habitat frame, y up
    return np.stack([rows[:, 1], rows[:, 3] - mic_height, -rows[:, 2]], axis=1)


def _graph_points(graph: PickledGraph, path: Path) -> tuple[list[int], np.ndarray]:
    try:
        ids = [int(node) for node in graph.nodes]
        points = np.array([graph.nodes[node]["point"] for node in graph.nodes], dtype=np.float64)
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{path} should hold nodes numbered by points.txt, each with its position 'point'"
        ) from None
    if not ids:
        raise UserError(f"{path} holds a graph without nodes")
    if points.shape != (len(ids), 3):
        raise UserError(f"{path} should give each node a 'point' of 3 numbers, found shape {points.shape}")
    return ids, points


def load_graph(folder: Path | str) -> NavGraph:
    """Read ``points.txt`` and ``graph.pkl`` of a scene's metadata folder.

    Raises:
        UserError: for missing, corrupt or hostile files, and where the two disagree.
    """
    folder = Path(folder)
    path = folder / "graph.pkl"
    points = read_points(folder / "points.txt", facts_of(folder.parent.name).mic_height_m)
    graph = load_pickle(path)
    if not isinstance(graph, PickledGraph):
        raise UserError(f"{path} should hold a networkx.Graph, found a {type(graph).__name__}")
    ids, positions = _graph_points(graph, path)
    outside = [i for i in ids if not 0 <= i < len(points)]
    if outside:
        raise UserError(
            f"{path} has node {outside[0]}, but points.txt beside it has rows 0 to {len(points) - 1}"
        )
    offsets = np.abs(positions - points[ids])
    wrong = (np.hypot(offsets[:, 0], offsets[:, 2]) > SNAP_M) | (offsets[:, 1] > SNAP_HEIGHT_M)
    if wrong.any():
        v = int(np.argmax(wrong))
        raise UserError(
            f"{path} puts node {ids[v]} at {positions[v].round(3).tolist()}, points.txt beside it at "
            f"{points[ids[v]].round(3).tolist()}: the two files belong to different scenes"
        )
    index_of = {node: v for v, node in enumerate(ids)}
    try:
        neighbours = tuple(
            np.array([index_of[int(n)] for n in graph.adj[node] if n != node], dtype=np.int64)
            for node in graph.nodes
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} has an edge to {error}, which is not one of its nodes") from None
    return NavGraph(np.array(ids, dtype=np.int64), positions, neighbours, str(path))


def write_metadata(
    folder: Path | str,
    positions: np.ndarray,
    edges: Iterable[Sequence[int]],
    mic_height: float = DatasetFacts.mic_height_m,
) -> None:
    """Write ``points.txt`` and ``graph.pkl`` as SoundSpaces publishes them.

    Args:
        folder: ``metadata/<dataset>/<scene>``; made where missing.
        positions: float [P, 3], Habitat frame, metres, floor level; row = node id.
        edges: pairs of node ids.
        mic_height: height of microphones and sources above the floor, metres.
    """
    import networkx  # only the writer needs it: users of other tools expect a real networkx.Graph

    folder = Path(folder)
    # to the digits of the text file, so that both files give the very same points
    floor = np.round(np.asarray(positions, dtype=np.float64), 6)
    lines = [f"{i}\t{x:.6f}\t{0.0 - z:.6f}\t{y + mic_height:.6f}\n" for i, (x, y, z) in enumerate(floor)]
    graph = networkx.Graph()
    graph.add_nodes_from((i, {"point": tuple(map(float, p))}) for i, p in enumerate(floor))
    graph.add_edges_from((int(a), int(b)) for a, b in edges)
    if len(graph) != len(floor):
        raise ValueError(f"edges name nodes outside 0..{len(floor) - 1}")
    write_atomic(folder / "points.txt", "".join(lines).encode())
    write_atomic(folder / "graph.pkl", pickle.dumps(graph, protocol=4))
