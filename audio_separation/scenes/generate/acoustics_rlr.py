"""Responses from rlr-audio-propagation, the ray tracer of SoundSpaces 2.0.

Measured with the package of PyPI (0.0.1, 16 kHz), and relied on here:

- Orientation quaternions are [w, x, y, z], local to world; the listener faces -Z, so rotation r about +Y is
  what Habitat calls r. Channel 0 is the left ear.
- The built-in HRTF delays every response by about 11 samples (0.7 ms); they are cut off. Its interaural time
  difference (0.7 ms to the side) is carried below 1 kHz only; above, the ears differ in level.
- Energy of the direct sound falls as 1/r^2 down to 0.2 m; nearer sources are held at the listener's radius.
- Reverberant to direct energy agrees with theory (16 pi r^2 / A) in a rectangular room.
- Same inputs, same numbers, with one thread.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rlr_audio_propagation as rlr

from audio_separation.scenes.generate.acoustics import (
    AZIMUTHS,
    RATE_HZ,
    ear_position,
    source_position,
)
from audio_separation.scenes.generate.home import Home
from audio_separation.scenes.generate.materials import MATERIALS, write_engine_database
from audio_separation.scenes.generate.mesh import HomeMesh

HRTF_DELAY_SAMPLES = 11
REFLECTION_LOSS_DB = 60.0


class RlrEngine:
    """One context a receiver: its four headings are four listeners, the sources of the home its sources."""

    name = "rlr"

    def __init__(self, home: Home, mesh: HomeMesh, rays: int) -> None:
        self.home = home
        self.mesh = mesh
        config = rlr.Config()
        config.sample_rate = RATE_HZ
        config.frequency_bands = 4
        config.indirect_ray_count = rays
        config.indirect_ray_depth = reflections_needed(mesh)
        config.thread_count = 1  # results are reproducible; processes share the work
        config.transmission = 0
        self.config = config
        self.settings: dict[str, object] = {
            "indirect_rays": rays,
            "ray_depth": config.indirect_ray_depth,
            "bands": 4,
            "hrtf": "built in",
        }

    def responses(self, receiver: int, sources: list[int]) -> dict[tuple[int, int], np.ndarray]:
        """(azimuth, source) -> float64 [2, L], see Engine."""
        with _quiet():
            context = self._context()
            for azimuth in AZIMUTHS:
                context.add_listener(rlr.ChannelLayout(rlr.ChannelLayoutType.Binaural, 2))
                index = context.get_listener_count() - 1
                context.set_listener_position(index, _floats(ear_position(self.home, receiver)))
                context.set_listener_orientation_quaternion(index, _about_y(-azimuth % 360))
            for source in sources:
                context.add_source()
                position = source_position(self.home, source, receiver)
                context.set_source_position(context.get_source_count() - 1, _floats(position))
            context.simulate()
        out = {}
        for i, azimuth in enumerate(AZIMUTHS):
            for j, source in enumerate(sources):
                ears = [np.asarray(context.get_ir_channel(i, j, ear)) for ear in (0, 1)]
                out[azimuth, source] = np.stack(ears)[:, HRTF_DELAY_SAMPLES:]
        return out

    def _context(self) -> rlr.Context:
        context = rlr.Context(self.config)
        with tempfile.TemporaryDirectory() as folder:
            database = Path(folder) / "materials.json"
            write_engine_database(database)
            context.set_material_database_json(str(database))
        context.add_object()
        context.add_mesh_vertices(self.mesh.vertices.astype(np.float32).ravel().tolist())
        materials = np.array([s.material for s in self.mesh.surfaces])[self.mesh.surface]
        for material in sorted(set(materials)):
            faces = self.mesh.faces[materials == material]
            context.add_mesh_indices(faces.ravel().tolist(), 3, f"[{material}]")
        context.finalize_object_mesh(0)
        return context


def reflections_needed(mesh: HomeMesh) -> int:
    """After how many reflections a ray of this home has lost REFLECTION_LOSS_DB: what the engine must follow.

    The time a response takes is proportional to it (the engine's default, 200, is twice too many for most).
    """
    corners = mesh.vertices[mesh.faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    # of the bands 250 Hz to 2 kHz the one that rings longest
    kept = np.array([1 - min(MATERIALS[s.material].absorption[1:5]) for s in mesh.surfaces])[mesh.surface]
    loss_db = -10 * np.log10(float((areas * kept).sum() / areas.sum()))
    return int(np.clip(np.ceil(REFLECTION_LOSS_DB / loss_db), 30, 200))


def _floats(vector: np.ndarray) -> list[float]:
    return [float(v) for v in vector]


def _about_y(rotation_deg: float) -> list[float]:
    half = np.radians(rotation_deg) / 2
    return [float(np.cos(half)), 0.0, float(np.sin(half)), 0.0]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences what the engine's C++ prints on standard output (a line for every context)."""
    sys.stdout.flush()
    kept = os.dup(1)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
