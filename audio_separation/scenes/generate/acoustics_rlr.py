"""Responses of a home from rlr-audio-propagation, the ray tracer of SoundSpaces 2.0 (see scenes/acoustics.py)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from audio_separation.scenes.acoustic_materials import MaterialDatabase, parse_materials, reflections_needed
from audio_separation.scenes.acoustics import EngineSettings, Pose, SceneAcoustics
from audio_separation.scenes.generate.acoustics import AZIMUTHS, ear_position, source_position
from audio_separation.scenes.generate.home import Home
from audio_separation.scenes.generate.materials import engine_database
from audio_separation.scenes.generate.mesh import HomeMesh


class HomeSurfaces(NamedTuple):
    """A home's mesh by acoustic material: what the engine takes (``scenes.acoustic_materials.Surfaces``)."""

    vertices: np.ndarray
    faces: np.ndarray
    categories: tuple[str, ...]
    category: np.ndarray


def home_surfaces(mesh: HomeMesh) -> HomeSurfaces:
    """The mesh with a category for each material, named so that it finds exactly its own: ``[plaster]``."""
    materials = tuple(sorted({surface.material for surface in mesh.surfaces}))
    index = np.array([materials.index(surface.material) for surface in mesh.surfaces])
    return HomeSurfaces(
        mesh.vertices, mesh.faces, tuple(f"[{material}]" for material in materials), index[mesh.surface]
    )


def home_materials() -> MaterialDatabase:
    """What the homes' materials absorb and scatter."""
    return parse_materials(engine_database(), "the homes' materials")


class RlrEngine:
    """One context a receiver: its four headings are four listeners, the sources of the home its sources."""

    name = "rlr"

    def __init__(self, home: Home, mesh: HomeMesh, rays: int) -> None:
        self.home = home
        surfaces, materials = home_surfaces(mesh), home_materials()
        settings = EngineSettings(rays, reflections_needed(surfaces, materials))
        self._acoustics = SceneAcoustics(surfaces, materials, settings)
        self.settings: dict[str, object] = {
            "indirect_rays": settings.rays,
            "ray_depth": settings.depth,
            "bands": settings.bands,
            "hrtf": "built in",
        }

    def responses(self, receiver: int, sources: list[int]) -> dict[tuple[int, int], np.ndarray]:
        """(azimuth, source) -> float64 [2, L], see Engine."""
        ears = ear_position(self.home, receiver)
        found = self._acoustics.responses(
            [Pose(ears, -azimuth % 360) for azimuth in AZIMUTHS],
            np.array([source_position(self.home, source, receiver) for source in sources]),
        )
        return {
            (azimuth, source): found[i][j]
            for i, azimuth in enumerate(AZIMUTHS)
            for j, source in enumerate(sources)
        }
