"""The triangles of a home: a shell that is closed by construction, and furniture boxes.

The shell is the border between air (rooms and door passages) and solid on one rectilinear grid whose lines are
all the walls, door and window edges; so faces meet vertex to vertex and nothing can leak.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh

from audio_separation.scenes.generate.home import Home
from audio_separation.scenes.generate.materials import Surface
from audio_separation.scenes.generate.plan import DOOR_HEIGHT_M, WINDOW_SILL_M, WINDOW_TOP_M, Plan

FURNITURE_LIFT_M = 0.002  # keeps the underside of boxes off the floor: no two surfaces coincide


@dataclass(frozen=True)
class HomeMesh:
    """Triangles in the Habitat frame (y up, metres), wound so that normals point into the air.

    vertices: float64 [V, 3]; faces: int64 [T, 3]; surface: int64 [T], index into `surfaces`; shell: number of
    leading triangles that belong to walls, floors and ceilings (the rest is furniture).
    """

    vertices: np.ndarray
    faces: np.ndarray
    surface: np.ndarray
    surfaces: tuple[Surface, ...]
    shell: int


class _Builder:
    """Collects quads and joins equal vertices within one closed body."""

    def __init__(self) -> None:
        self.vertices: list[tuple[float, float, float]] = []
        self.faces: list[tuple[int, int, int]] = []
        self.names: list[str] = []
        self.index: dict[tuple[float, float, float], int] = {}

    def next_body(self) -> None:
        self.index = {}

    def quad(self, corners: list[tuple[float, float, float]], name: str) -> None:
        """Corners counter-clockwise as seen from the air."""
        ids = []
        for corner in corners:
            if corner not in self.index:
                self.index[corner] = len(self.vertices)
                self.vertices.append(corner)
            ids.append(self.index[corner])
        self.faces += [(ids[0], ids[1], ids[2]), (ids[0], ids[2], ids[3])]
        self.names += [name, name]


def build_mesh(home: Home) -> HomeMesh:
    """Shell and furniture of a home as one mesh."""
    builder = _Builder()
    _add_shell(builder, home.plan)
    shell = len(builder.faces)
    for placed in home.furniture:
        for box in placed.boxes:
            low = np.array(box.low)
            low[1] = max(low[1], FURNITURE_LIFT_M)
            builder.next_body()
            _add_box(builder, low, np.array(box.high), box.surface)
    names = list(home.palette)
    index = np.array([names.index(n) for n in builder.names])
    return HomeMesh(
        np.array(builder.vertices), np.array(builder.faces), index, tuple(home.palette.values()), shell
    )


_AXES = ((1, 2), (2, 0), (0, 1))  # for a face normal to axis k: the two others in right-handed order


def _face(
    axis: int, sign: int, at: float, low: np.ndarray, high: np.ndarray
) -> list[tuple[float, float, float]]:
    """Corners of the rectangle at coordinate `at` of `axis`, counter-clockwise seen from the `sign` side."""
    a, b = _AXES[axis]
    corners = []
    for u, v in ((0, 0), (1, 0), (1, 1), (0, 1)):
        point = [0.0, 0.0, 0.0]
        point[axis] = float(at)
        point[a] = float((low, high)[u][a])
        point[b] = float((low, high)[v][b])
        corners.append((point[0], point[1], point[2]))
    return corners if sign > 0 else corners[::-1]


def _add_box(builder: _Builder, low: np.ndarray, high: np.ndarray, name: str) -> None:
    for axis in range(3):
        builder.quad(_face(axis, -1, low[axis], low, high), name)
        builder.quad(_face(axis, 1, high[axis], low, high), name)


def _grid_lines(plan: Plan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates x, y, z at which the shell may have an edge, with one solid layer all round."""
    air = plan.air()
    xs = [v for r in air for v in (r.x0, r.x1)] + [
        v for w in plan.windows if w.side in ("north", "south") for v in (w.low, w.high)
    ]
    zs = [v for r in air for v in (r.z0, r.z1)] + [
        v for w in plan.windows if w.side in ("west", "east") for v in (w.low, w.high)
    ]
    ys = [0.0, plan.height]
    if plan.doors:
        ys.append(DOOR_HEIGHT_M)
    if plan.windows:
        ys += [WINDOW_SILL_M, WINDOW_TOP_M]

    def padded(values: list[float]) -> np.ndarray:
        v = np.unique(np.round(values, 6))
        return np.concatenate([[v[0] - 1], v, [v[-1] + 1]])

    return padded(xs), padded(ys), padded(zs)


def _add_shell(builder: _Builder, plan: Plan) -> None:
    lines = _grid_lines(plan)
    mid = [(v[:-1] + v[1:]) / 2 for v in lines]
    # space[i, j, k]: -1 solid, else index into plan.air()
    space = np.full([len(m) for m in mid], -1)
    for index, rect in enumerate(plan.air()):
        top = plan.height if index < len(plan.rooms) else DOOR_HEIGHT_M
        i = (mid[0] > rect.x0) & (mid[0] < rect.x1)
        j = (mid[1] > 0) & (mid[1] < top)
        k = (mid[2] > rect.z0) & (mid[2] < rect.z1)
        space[np.ix_(i, j, k)] = index
    for cell in np.argwhere(space >= 0):
        low = np.array([lines[a][cell[a]] for a in range(3)])
        high = np.array([lines[a][cell[a] + 1] for a in range(3)])
        for axis in range(3):
            for sign in (-1, 1):
                other = cell.copy()
                other[axis] += sign
                if space[tuple(other)] >= 0:
                    continue
                at = high[axis] if sign > 0 else low[axis]
                name = _shell_surface(plan, int(space[tuple(cell)]), axis, sign, (low + high) / 2)
                builder.quad(_face(axis, -sign, at, low, high), name)


def _shell_surface(plan: Plan, air: int, axis: int, sign: int, middle: np.ndarray) -> str:
    """Surface of the wall piece on the `sign` side of an air cell along `axis`."""
    if air >= len(plan.rooms):
        return "trim"
    if axis == 1:
        return f"{'ceiling' if sign > 0 else 'floor'}_{air}"
    side = {(0, -1): "west", (0, 1): "east", (2, -1): "north", (2, 1): "south"}[(axis, sign)]
    along = middle[2] if axis == 0 else middle[0]
    for w in plan.windows:
        if (
            w.room == air
            and w.side == side
            and w.low < along < w.high
            and WINDOW_SILL_M < middle[1] < WINDOW_TOP_M
        ):
            return "window"
    return f"wall_{air}"


def write_glb(mesh: HomeMesh, path: Path) -> None:
    """Writes the mesh as glTF binary, one named geometry a surface, and Habitat's stage description beside it.

    glTF is y up, as our frame is; Habitat takes a bare .glb for z up, and the `.stage_config.json` corrects it.
    Geometries are called ``<surface>:<acoustic material>``.
    """
    scene = trimesh.Scene()
    for k, surface in enumerate(mesh.surfaces):
        faces = mesh.faces[mesh.surface == k]
        if not len(faces):
            continue
        used, inverse = np.unique(faces, return_inverse=True)
        material = trimesh.visual.material.PBRMaterial(
            name=f"{surface.name}:{surface.material}",
            baseColorFactor=[*surface.rgb, 1.0],
            metallicFactor=0.0,
            roughnessFactor=0.9,
        )
        part = trimesh.Trimesh(mesh.vertices[used], inverse.reshape(-1, 3), process=False)
        part.visual = trimesh.visual.TextureVisuals(material=material)
        name = f"{surface.name}:{surface.material}"
        scene.add_geometry(part, geom_name=name, node_name=name)
    path.write_bytes(scene.export(file_type="glb"))
    stage = {"render_asset": path.name, "up": [0, 1, 0], "front": [0, 0, -1], "units_to_meters": 1.0}
    path.with_name(f"{path.stem}.stage_config.json").write_text(json.dumps(stage, indent=1))
