"""Rendering the RGB-D cache of a scene, node by node: a stopped run goes on, and the result is the same.

Each node's four views lie in a file of the hidden folder ``.<scene>.caching`` until all are there. The file's name
carries a digest of everything that decides the views, so those of other settings are not mixed in.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from audio_separation.envs.habitat.sim_views import SOFTWARE, SimViews, installed, require_habitat_sim
from audio_separation.errors import UserError
from audio_separation.scenes.datasets import CAMERA_HEIGHT_M
from audio_separation.scenes.generate.mesh import build_mesh
from audio_separation.scenes.generate.recorded import home_of_record, home_record
from audio_separation.scenes.generate.views import ViewRenderer
from audio_separation.scenes.graph import ROTATIONS_DEG, NavGraph, load_graph
from audio_separation.scenes.layout import DatasetPaths, write_atomic
from audio_separation.scenes.mapped_observations import open_mapped
from audio_separation.scenes.meshes import load_scene_mesh
from audio_separation.scenes.observations import (
    MAX_DEPTH_M,
    load_observations,
    load_pickled,
    mapped_path,
    write_mapped,
    write_observations,
)
from audio_separation.scenes.raycast import FOV_DEG, RESOLUTION, RayCaster, RayTriangles

VERSION = 1  # of what a renderer draws; raise it when the same settings give other views
FORMS = ("pickle", "mapped")
AGREE_M = 0.05  # depths that are closer than this agree
View = Callable[[np.ndarray, int], dict[str, np.ndarray]]


@dataclass(frozen=True)
class ViewSettings:
    """How views are made.

    ``renderer`` is ``habitat``, ``raycast`` or ``homes`` (the ray caster with the textures and lamps of generated
    homes), never auto; ``gpu`` is that of habitat-sim.
    """

    renderer: str
    resolution: int = RESOLUTION
    fov_deg: float = FOV_DEG
    camera_height_m: float = CAMERA_HEIGHT_M
    gpu: int = SOFTWARE

    def described(self) -> dict[str, str]:
        """The metadata of a mapped file."""
        name = self.renderer
        if name == "habitat":
            name = f"habitat-sim {require_habitat_sim().__version__}"
        return {
            "renderer": name,
            "fov_deg": repr(self.fov_deg),
            "camera_height_m": repr(self.camera_height_m),
        }


class Plan(NamedTuple):
    """What there is to do for a scene.

    Attributes:
        target: the pickle; the mapped form lies beside it.
        folder: where the parts lie until they are joined.
        parts: the file of each node's views, by node index.
    """

    scene: str
    settings: ViewSettings
    graph: NavGraph
    target: Path
    folder: Path
    parts: list[Path]

    def missing(self) -> list[int]:
        """Node indices whose views are not there yet."""
        return [v for v, part in enumerate(self.parts) if not part.is_file()]


def choose_renderer(requested: str, paths: DatasetPaths, scene: str) -> str:
    """The renderer of a scene: ``homes`` for generated homes, unless habitat-sim was asked for by name.

    auto takes habitat-sim for other scenes where it is installed, else the ray caster.
    """
    if requested == "habitat":
        return "habitat"
    if home_record(paths, scene).is_file():
        return "homes"
    return "habitat" if requested == "auto" and installed() else "raycast"


def plan_scene(paths: DatasetPaths, scene: str, settings: ViewSettings, target: Path) -> Plan:
    """Which files the views of a scene come to lie in, and from what they are made.

    Raises:
        UserError: the scene's graph or mesh is not there.
    """
    graph = load_graph(paths.require(paths.metadata(scene), f"metadata of scene {scene}"))
    digest = hashlib.sha256(repr((VERSION, {**asdict(settings), "gpu": None})).encode())
    if settings.renderer == "homes":
        digest.update(home_record(paths, scene).read_bytes())
    else:
        mesh = paths.require(paths.mesh(scene), f"mesh of scene {scene}")
        for path in (mesh, mesh.with_name(f"{mesh.stem}.stage_config.json")):
            if path.is_file():
                digest.update(repr((path.stat().st_size, path.stat().st_mtime_ns)).encode())
    folder = target.with_name(f".{scene}.caching")
    parts = []
    for node, position in zip(graph.node_ids.tolist(), graph.positions):
        one = digest.copy()
        one.update(repr((node, position.tolist())).encode())
        parts.append(folder / f"{node}-{one.hexdigest()[:24]}.safetensors")
    return Plan(scene, settings, graph, target, folder, parts)


def render_nodes(
    paths: DatasetPaths, scene: str, settings: ViewSettings, nodes: list[tuple[Path, np.ndarray]]
) -> int:
    """Write the views of some nodes, (file, position [3]) each; returns how many. Runs in any process.

    Raises:
        UserError: the mesh cannot be read, or the renderer is not there.
    """
    view = opened(paths, scene, settings)
    for part, position in nodes:
        views = [view(position, rotation) for rotation in ROTATIONS_DEG]
        write_atomic(part, save({name: np.stack([v[name] for v in views]) for name in ("rgb", "depth")}))
    return len(nodes)


@lru_cache(maxsize=1)
def opened(paths: DatasetPaths, scene: str, settings: ViewSettings) -> View:
    """The view at (position of a node [3], rotation in degrees) of a scene, kept for the next call.

    Raises:
        UserError: as :func:`render_nodes`.
    """
    if settings.renderer == "habitat":
        mesh = paths.mesh(scene)
        return SimViews(
            mesh, settings.resolution, settings.fov_deg, settings.camera_height_m, settings.gpu
        ).view
    up = np.array([0.0, settings.camera_height_m, 0.0])
    caster: RayTriangles
    if settings.renderer == "homes":
        home = home_of_record(home_record(paths, scene), load_graph(paths.metadata(scene)))
        caster = ViewRenderer(home, build_mesh(home))
    else:
        caster = RayCaster(load_scene_mesh(paths.mesh(scene)))
    return lambda position, rotation: caster.picture(
        position + up, rotation, settings.resolution, settings.fov_deg
    )


def forms_there(target: Path) -> set[str]:
    """Which of FORMS a scene's cache has."""
    files = {"pickle": target, "mapped": mapped_path(target)}
    return {form for form, path in files.items() if path.is_file()}


def check_same_settings(target: Path, settings: ViewSettings) -> None:
    """Refuse to keep a mapped cache that says it was made otherwise; what a pickle was made with is not known.

    Raises:
        UserError: naming both values and the cure.
    """
    if not mapped_path(target).is_file():
        return
    mapped = open_mapped(mapped_path(target))
    found = {**mapped.metadata, "resolution": str(mapped.rgb.shape[3])}
    wanted = {**settings.described(), "resolution": str(settings.resolution)}
    for name in ("resolution", "fov_deg", "camera_height_m"):
        if found.get(name, wanted[name]) != wanted[name]:
            raise UserError(
                f"{mapped_path(target)} has {name} {found[name]}, not {wanted[name]}; --overwrite makes it anew, "
                "another --out keeps it"
            )


def join_parts(plan: Plan, forms: set[str]) -> None:
    """Write the cache in ``forms`` from its parts, which are deleted then; the files appear whole."""
    views = []
    for part in plan.parts:
        try:
            views.append(load_file(part))
        except (SafetensorError, OSError) as error:
            part.unlink(missing_ok=True)
            raise UserError(
                f"{part} was not readable ({error}) and is gone: run again to render it anew"
            ) from None
    rgb, depth = (np.stack([one[name] for one in views]) for name in ("rgb", "depth"))
    _write_forms(plan.target, plan.graph, rgb, depth, forms, plan.folder, plan.settings.described())
    shutil.rmtree(plan.folder, ignore_errors=True)


def _write_forms(
    target: Path,
    graph: NavGraph,
    rgb: np.ndarray,
    depth: np.ndarray,
    forms: set[str],
    folder: Path,
    metadata: dict[str, str],
) -> None:
    # in the hidden folder first, so that a killed run leaves nothing beside the caches
    for form in sorted(forms):
        path = target if form == "pickle" else mapped_path(target)
        draft = folder / path.name
        if form == "pickle":
            write_observations(draft, graph, rgb, depth)
        else:
            write_mapped(draft, graph, rgb, depth, metadata)
        os.replace(draft, path)


def convert(paths: DatasetPaths, scene: str, target: Path, form: str, overwrite: bool) -> None:
    """Write the other form of a scene's cache; the one that it is made from stays.

    Args:
        form: what is written, one of FORMS.

    Raises:
        UserError: there is nothing to convert, it cannot be read, or the result is there already.
    """
    there = forms_there(target)
    source = next(iter(set(FORMS) - {form}))
    result = target if form == "pickle" else mapped_path(target)
    if form in there and not overwrite:
        raise UserError(f"{result} is there already; give --overwrite to write it anew")
    if source not in there:
        given = mapped_path(target) if form == "pickle" else target
        raise UserError(f"{given} is not there to be converted; make it without --convert")
    graph = load_graph(paths.require(paths.metadata(scene), f"metadata of scene {scene}"))
    metadata: dict[str, str] = {}
    if form == "pickle":
        rgb, depth = load_observations(target, graph)
    else:
        rgb, depth = load_pickled(target, graph)
    folder = target.with_name(f".{scene}.converting")
    try:
        folder.mkdir(exist_ok=True)
        _write_forms(target, graph, rgb, depth, {form}, folder, metadata)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def depth_agreement(one: np.ndarray, other: np.ndarray, tolerance_m: float = AGREE_M) -> float:
    """The part of all pixels whose depths (0..1 of 10 m, equal shapes) differ by at most ``tolerance_m``."""
    if one.shape != other.shape:
        raise ValueError(
            f"depths of equal shape are compared, found {list(one.shape)} and {list(other.shape)}"
        )
    return float((np.abs(one - other) * MAX_DEPTH_M <= tolerance_m).mean())


def compare(
    paths: DatasetPaths, scene: str, settings: ViewSettings, target: Path, num_nodes: int
) -> tuple[float, int]:
    """Render nodes spread over a scene anew: the agreement of their depths with the cache's, and how many nodes.

    The size of the views is the cache's.

    Raises:
        UserError: there is no cache, or the mesh cannot be read.
    """
    graph = load_graph(paths.require(paths.metadata(scene), f"metadata of scene {scene}"))
    cached = load_observations(target, graph)
    view = opened(paths, scene, replace(settings, resolution=cached.depth.shape[2]))
    nodes = np.unique(np.linspace(0, len(graph) - 1, num_nodes).round().astype(int))
    anew = [[view(graph.positions[v], rotation)["depth"] for rotation in ROTATIONS_DEG] for v in nodes]
    return depth_agreement(np.array(anew), cached.depth[nodes]), len(nodes)
