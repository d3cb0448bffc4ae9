"""RGB-D by ray casting: milliseconds a view on a generated home, on its .glb and on large meshes; opening caches.

    python benchmarks/views.py
    python benchmarks/views.py --triangles 100000 1000000 --resolution 128 256

One thread. The large meshes are a bumpy box of 8 m x 3 m x 6 m, once with one colour a triangle and once under a
texture of 2048 x 2048; ``build_s`` is what comes before the first view. ``open`` rows are a scene's cache of 100 nodes
in each of its forms, from the file to the first batch of 16 views.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Callable, Optional, Sequence

import harness
import numpy as np

from audio_separation.scenes.generate.home import make_home
from audio_separation.scenes.generate.mesh import build_mesh, write_glb
from audio_separation.scenes.generate.plan import PRESETS
from audio_separation.scenes.generate.views import ViewRenderer
from audio_separation.scenes.graph import build_graph
from audio_separation.scenes.meshes import SceneMesh, load_scene_mesh
from audio_separation.scenes.observations import (
    load_observations,
    mapped_path,
    write_mapped,
    write_observations,
)
from audio_separation.scenes.raycast import RayCaster, RayTriangles

CAMERA = np.array([2.0, 1.25, 1.5])  # in the room of every mesh
TEXTURE = 2048
CACHED_NODES = 100
LOOKED_AT = 16


def bumpy_box(triangles: int, textured: bool) -> SceneMesh:
    """A box of at least ``triangles`` triangles, its surface moved at random by 2 cm."""
    side = int(np.ceil(np.sqrt(triangles / 12)))
    u, v = np.meshgrid(np.linspace(0, 1, side + 1), np.linspace(0, 1, side + 1))
    rng = np.random.default_rng(0)
    first = (np.arange(side)[:, None] * (side + 1) + np.arange(side)).reshape(-1)
    quads = np.stack([first, first + 1, first + side + 2, first + side + 1], 1)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    vertices, uv = [], []
    for axis in range(3):
        for at in (0.0, 1.0):
            unit = np.insert(np.stack([u.ravel(), v.ravel()], 1), axis, at, axis=1)
            vertices.append(unit * [8, 3, 6] + rng.normal(0, 0.02, unit.shape))
            uv.append(np.stack([u.ravel(), v.ravel()], 1))
    corners = np.concatenate([faces + k * len(vertices[0]) for k in range(6)])
    count = len(corners)
    colours = rng.integers(0, 256, (count, 3), np.uint8)
    mesh = SceneMesh(
        np.concatenate(vertices), corners, ("wall",), np.zeros(count, np.int64), colours, textured
    )
    if not textured:
        return mesh
    image = rng.integers(0, 256, (TEXTURE, TEXTURE, 3), np.uint8)
    at_corners = np.concatenate(uv).astype(np.float32)[corners]
    return SceneMesh(
        mesh.vertices,
        corners,
        mesh.categories,
        mesh.category,
        colours,
        True,
        at_corners,
        mesh.category,
        (image,),
    )


def casters(triangles: Sequence[int], folder: Path) -> dict[str, Callable[[], RayTriangles]]:
    """What builds each ray caster."""
    home = make_home(0, PRESETS["mini"])
    write_glb(build_mesh(home), folder / "home.glb")
    made: dict[str, Callable[[], RayTriangles]] = {
        "home": lambda: ViewRenderer(home, build_mesh(home)),
        "home .glb": lambda: RayCaster(load_scene_mesh(folder / "home.glb")),
    }
    for count in triangles:
        for kind in ("colours", "texture"):
            mesh = bumpy_box(count, kind == "texture")
            made[f"{kind}, {len(mesh.faces)} triangles"] = partial(RayCaster, mesh)
    return made


def look_round(caster: RayTriangles, camera: np.ndarray, resolution: int) -> None:
    """Four views."""
    for rotation in (0, 90, 180, 270):
        caster.picture(camera, rotation, resolution, 90.0)


def time_views(resolutions: Sequence[int], triangles: Sequence[int], rounds: int, folder: Path) -> list[dict]:
    """A row for each mesh and resolution."""
    rows = []
    home = make_home(0, PRESETS["mini"])
    for name, build in casters(triangles, folder).items():
        begun = time.perf_counter()
        caster = build()
        camera = home.positions[0] + [0, 1.25, 0] if "home" in name else CAMERA
        caster.picture(camera, 0, resolutions[0], 90.0)
        build_s = time.perf_counter() - begun
        for resolution in resolutions:
            took = harness.interleaved({"look": partial(look_round, caster, camera, resolution)}, rounds)[
                "look"
            ]
            rows.append(
                {
                    "what": name,
                    "resolution": resolution,
                    "build_s": build_s,
                    "ms_per_view": 1e3 * took.median / 4,
                    "ms_min": 1e3 * took.min / 4,
                    "ms_max": 1e3 * took.max / 4,
                }
            )
    return rows


def time_opening(rounds: int, nodes: int, folder: Path) -> list[dict]:
    """A row for each form of a cache: milliseconds from the file to a batch of views."""
    rng = np.random.default_rng(0)
    graph = build_graph(np.stack([np.arange(nodes), np.zeros(nodes), np.zeros(nodes)], 1).astype(float), [])
    rgb = rng.integers(0, 256, (nodes, 4, 128, 128, 3), np.uint8)
    depth = rng.random((nodes, 4, 128, 128, 1), np.float32)
    (folder / "pickle").mkdir()
    write_observations(folder / "pickle" / "scene.pkl", graph, rgb, depth)
    write_mapped(mapped_path(folder / "mapped" / "scene.pkl"), graph, rgb, depth)
    looked_at = rng.integers(nodes, size=LOOKED_AT)

    def open_and_look(form: str) -> None:
        views = load_observations(folder / form / "scene.pkl", graph)
        views.rgb[looked_at, 0], views.depth[looked_at, 0]

    took = harness.interleaved({form: partial(open_and_look, form) for form in ("pickle", "mapped")}, rounds)
    return [
        {"what": f"open {form}", "resolution": 128, "build_s": None, "ms_per_view": 1e3 * t.median / LOOKED_AT,
         "ms_min": 1e3 * t.min / LOOKED_AT, "ms_max": 1e3 * t.max / LOOKED_AT}
        for form, t in took.items()
    ]  # fmt: skip


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Measure, print, write."""
    parser: argparse.ArgumentParser = harness.parser(__doc__)
    parser.add_argument("--triangles", type=int, nargs="*", default=[1_000_000], help="of the large meshes")
    parser.add_argument("--resolution", type=int, nargs="+", default=[128], help="width and height of a view")
    parser.add_argument("--nodes", type=int, default=CACHED_NODES, help="of the cache that is opened")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        rows = time_views(options.resolution, options.triangles, options.rounds, Path(folder))
        rows += time_opening(options.rounds, options.nodes, Path(folder))
    harness.print_table(rows)
    settings = {"nodes": options.nodes, "rounds": options.rounds, "texture": TEXTURE}
    harness.write_json(options.json, "views", settings, rows)


if __name__ == "__main__":
    main()
