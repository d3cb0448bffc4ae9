"""What a scene needs to be seen, heard and walked in at any pose: a generated home, or any mesh.

A home is drawn again from its ``home.json``, so that it looks and sounds as its stored pictures and responses do.
Any other scene is its mesh: categories of the surfaces come from ``<scene>_semantic.ply`` where there is one beside
it, and what they are made of from ``LIVE.MATERIALS``.

Nothing is built before it is used.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from yacs.config import CfgNode

from audio_separation.envs.live.motion import MeshSpace, PlanSpace, Space
from audio_separation.envs.simulator import Scene
from audio_separation.errors import UserError
from audio_separation.scenes.acoustic_materials import (
    MaterialDatabase,
    Surfaces,
    read_materials,
    reflections_needed,
)
from audio_separation.scenes.acoustics import EngineSettings, SceneAcoustics
from audio_separation.scenes.datasets import CAMERA_HEIGHT_M
from audio_separation.scenes.generate.acoustics_rlr import home_materials, home_surfaces
from audio_separation.scenes.generate.grid import wall_rects
from audio_separation.scenes.generate.home import Home, obstacles
from audio_separation.scenes.generate.mesh import HomeMesh, build_mesh
from audio_separation.scenes.generate.recorded import home_of_record, read_record
from audio_separation.scenes.generate.views import ViewRenderer
from audio_separation.scenes.meshes import SceneMesh, load_scene_mesh
from audio_separation.scenes.raycast import RayCaster

_EYES = np.array([0.0, CAMERA_HEIGHT_M, 0.0])
MESH_RAYS = 500  # of scenes whose stored responses do not say it


class Sight(Protocol):
    """What gives pictures from anywhere."""

    def view(self, position: np.ndarray, rotation_deg: float) -> dict[str, np.ndarray]:
        """``{"rgb": uint8 [H, W, 3], "depth": float32 [H, W, 1]}`` of an agent that stands at ``position`` [3]."""
        ...


@dataclass(frozen=True)
class LiveScene(Scene, ABC):
    """A scene that is rendered: no pictures are held (``images`` is None).

    Attributes:
        name: of the scene.
        mesh_path: its mesh file.
        mic_height_m: of ears and sources above the floor.
        live: the section LIVE of the config.
        sees: whether pictures are asked for.
    """

    name: str
    mesh_path: Path
    mic_height_m: float
    live: CfgNode
    sees: bool

    def check(self) -> None:
        """See early to what would go wrong at the first step: materials, and what must be installed.

        Raises:
            UserError: naming the config key or the file.
        """
        _ = self.materials
        if self.live.COLLISIONS == "navmesh":
            _ = self.space
        if self.sees and self.live.SIGHT == "habitat":
            _ = self.sight

    @cached_property
    def acoustics(self) -> SceneAcoustics:
        """What is heard in it.

        Raises:
            UserError: no acoustic engine, or a faulty material database.
        """
        surfaces, materials, live = self.surfaces, self.materials, self.live
        self._report_unmatched(surfaces, materials)
        depth = live.RAY_DEPTH or reflections_needed(surfaces, materials)
        settings = EngineSettings(live.RAYS or self.own_rays, depth, live.BANDS, live.THREADS)
        return SceneAcoustics(surfaces, materials, settings, keep_context=live.CONTEXT == "kept")

    @cached_property
    def space(self) -> Space:
        """Where an agent can go."""
        if self.live.COLLISIONS == "navmesh":
            from audio_separation.envs.habitat.navmesh import NavmeshSpace

            return NavmeshSpace(self.mesh_path.with_suffix(".navmesh"), self.live.SLIDE)
        return self.free_space

    @cached_property
    def sight(self) -> Sight:
        """What is seen in it."""
        if self.live.SIGHT == "habitat":
            from audio_separation.envs.habitat.sim_views import SimViews, installed

            if not installed():
                raise UserError(
                    "LIVE.SIGHT habitat needs habitat-sim, which is not installed; install it with conda "
                    "(environment.yml), or set LIVE.SIGHT raycast"
                )
            return SimViews(self.mesh_path, self.live.RESOLUTION, gpu=self.live.HABITAT_GPU)
        return self.ray_sight

    @property
    @abstractmethod
    def surfaces(self) -> Surfaces:
        """The triangles that sound meets."""

    @property
    @abstractmethod
    def materials(self) -> MaterialDatabase:
        """What they are made of."""

    @property
    @abstractmethod
    def own_rays(self) -> int:
        """Indirect rays where LIVE.RAYS does not say."""

    @property
    @abstractmethod
    def free_space(self) -> Space:
        """Where an agent can go, without habitat-sim."""

    @property
    @abstractmethod
    def ray_sight(self) -> Sight:
        """Pictures, without habitat-sim."""

    def _report_unmatched(self, surfaces: Surfaces, materials: MaterialDatabase) -> None:
        lacking = materials.unmatched(surfaces)
        if lacking:
            named = ", ".join(f"{name} ({100 * share:.0f} %)" for name, share in list(lacking.items())[:8])
            more = f" and {len(lacking) - 8} more" if len(lacking) > 8 else ""
            print(
                f"note: scene {self.name}: {self.live.MATERIALS} has no material for {named}{more} of its area; "
                "the engine's default is taken",
                file=sys.stderr,
            )


@dataclass(frozen=True)
class HomeScene(LiveScene):
    """A generated home; ``record_path`` is its home.json."""

    record_path: Path

    @cached_property
    def record(self) -> dict[str, Any]:
        """What home.json holds."""
        return read_record(self.record_path)

    @cached_property
    def home(self) -> Home:
        """The home, drawn again."""
        return home_of_record(self.record_path, self.graph)

    @cached_property
    def home_mesh(self) -> HomeMesh:
        return build_mesh(self.home)

    @cached_property
    def surfaces(self) -> Surfaces:
        return home_surfaces(self.home_mesh)

    @cached_property
    def materials(self) -> MaterialDatabase:
        return read_materials(Path(self.live.MATERIALS)) if self.live.MATERIALS else home_materials()

    @property
    def own_rays(self) -> int:
        return self.record["settings"]["rays"]

    @cached_property
    def free_space(self) -> Space:
        solids = wall_rects(self.home.plan) + obstacles(self.home.furniture)
        return PlanSpace(solids, self.live.RADIUS_M, self.live.SLIDE)

    @cached_property
    def ray_sight(self) -> Sight:
        return _HomeSight(ViewRenderer(self.home, self.home_mesh), self.live.RESOLUTION)


@dataclass(frozen=True)
class MeshScene(LiveScene):
    """Any mesh with a material database."""

    @cached_property
    def mesh(self) -> SceneMesh:
        return load_scene_mesh(self.mesh_path)

    @cached_property
    def surfaces(self) -> Surfaces:
        semantic = self.mesh_path.with_name(f"{self.name}_semantic.ply")
        return load_scene_mesh(semantic) if semantic.is_file() else self.mesh

    @cached_property
    def materials(self) -> MaterialDatabase:
        if not self.live.MATERIALS:
            raise UserError(
                f"LIVE.MATERIALS is empty, but scene {self.name} is no generated home: name a material database "
                "such as SoundSpaces' mp3d_material_config.json"
            )
        return read_materials(Path(self.live.MATERIALS))

    @property
    def own_rays(self) -> int:
        return MESH_RAYS

    @cached_property
    def caster(self) -> RayCaster:
        return RayCaster(self.mesh)

    @cached_property
    def free_space(self) -> Space:
        return MeshSpace(self.caster, self.live.RADIUS_M, self.live.SLIDE)

    @cached_property
    def ray_sight(self) -> Sight:
        return _MeshSight(self.caster, self.live.RESOLUTION)


class _HomeSight:
    def __init__(self, renderer: ViewRenderer, resolution: int) -> None:
        self._renderer, self._resolution = renderer, resolution

    def view(self, position: np.ndarray, rotation_deg: float) -> dict[str, np.ndarray]:
        return self._renderer.view(position, rotation_deg, self._resolution)


class _MeshSight:
    def __init__(self, caster: RayCaster, resolution: int) -> None:
        self._caster, self._resolution = caster, resolution

    def view(self, position: np.ndarray, rotation_deg: float) -> dict[str, np.ndarray]:
        return self._caster.view(position + _EYES, rotation_deg, self._resolution)
