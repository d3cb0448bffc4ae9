"""Binaural responses at any pose in any mesh, from rlr-audio-propagation, the ray tracer of SoundSpaces 2.0.

Measured with the package of PyPI (0.0.1, 16 kHz), and relied on here:

- Orientation quaternions are [w, x, y, z], local to world; the listener faces -Z, so rotation r about +Y is
  what Habitat calls r. Channel 0 is the left ear.
- The built-in HRTF delays every response by about 11 samples (0.7 ms); they are cut off. Its interaural time
  difference (0.7 ms to the side) is carried below 1 kHz only; above, the ears differ in level.
- Energy of the direct sound falls as 1/r^2 down to 0.2 m; nearer sources are held at the listener's radius.
- Reverberant to direct energy agrees with theory (16 pi r^2 / A) in a rectangular room.
- A new context draws the same random numbers as any other; simulating goes on with them. So with one thread a
  fresh context gives the same samples for the same listeners and sources, whatever was simulated before, and a
  kept one repeats only the direct sound exactly: its reflections are drawn anew (:class:`SceneAcoustics`).
- What the numbers are spent on depends on the number of listeners and sources, so one pair alone has other
  reflections than the same pair among others.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from audio_separation.audio.stft import RATE
from audio_separation.errors import UserError
from audio_separation.scenes.acoustic_materials import MaterialDatabase, Surfaces

HRTF_DELAY_SAMPLES = 11


class Pose(NamedTuple):
    """Where the middle of a head is (Habitat frame [3], metres) and where it looks (degrees about +Y, 0: -Z)."""

    position: np.ndarray
    rotation_deg: float


@dataclass(frozen=True)
class EngineSettings:
    """What decides quality and time of a response.

    Attributes:
        rays: indirect rays of a listener.
        depth: reflections that a ray is followed for (``acoustic_materials.reflections_needed``).
        bands: frequency bands; the engine recommends 4 or 8.
        threads: with more than one, the same pose need not give the same samples.
    """

    rays: int
    depth: int
    bands: int = 4
    threads: int = 1


class SceneAcoustics:
    """A mesh with its materials, in which anything can be listened to from anywhere.

    Args:
        mesh: triangles in the Habitat frame, each of a category.
        materials: what the categories are made of.
        keep_context: upload the mesh once. For large meshes this saves most of the time, but what a listener
            hears then also depends on all that was simulated before: the random rays go on, so that the
            reflections of the same pose differ from call to call as they do between two engines (the direct
            sound does not). Without, a response depends on nothing but the poses of one call.

    Raises:
        UserError: the engine is not installed.
    """

    def __init__(
        self,
        mesh: Surfaces,
        materials: MaterialDatabase,
        settings: EngineSettings,
        keep_context: bool = False,
    ) -> None:
        self._rlr = load_engine()
        self.mesh, self.materials, self.settings = mesh, materials, settings
        self._keep = keep_context
        self._kept: Any = None

    def responses(self, listeners: Sequence[Pose], sources: np.ndarray) -> list[list[np.ndarray]]:
        """Simulate all pairs at once.

        Args:
            listeners: G poses.
            sources: positions [S, 3], Habitat frame, metres.

        Returns:
            ``[G][S]`` responses float [2, L] (left, right) at 16 kHz. Sample n is heard n / 16000 s after it was
            emitted; a source 1 m straight to one side has a direct peak of about 0.7 at that ear.
        """
        with _quiet():
            context = self._context()
            for i, (position, rotation_deg) in enumerate(listeners):
                while context.get_listener_count() <= i:
                    context.add_listener(self._rlr.ChannelLayout(self._rlr.ChannelLayoutType.Binaural, 2))
                context.set_listener_position(i, _floats(position))
                context.set_listener_orientation_quaternion(i, _about_y(rotation_deg))
            for j, position in enumerate(sources):
                while context.get_source_count() <= j:
                    context.add_source()
                context.set_source_position(j, _floats(position))
            context.simulate()
        return [[_response(context, i, j) for j in range(len(sources))] for i in range(len(listeners))]

    def _context(self) -> Any:
        """A context with the mesh and without listeners and sources."""
        if self._kept is not None:
            self._kept.clear_listeners()
            self._kept.clear_sources()
            return self._kept
        context = self._rlr.Context(self._config())
        with tempfile.TemporaryDirectory() as folder:
            database = Path(folder) / "materials.json"
            database.write_text(self.materials.text, encoding="utf-8")
            context.set_material_database_json(str(database))
        context.add_object()
        context.add_mesh_vertices(self.mesh.vertices.astype(np.float32).ravel().tolist())
        for name in sorted(set(self.mesh.categories)):
            mine = [k for k, other in enumerate(self.mesh.categories) if other == name]
            faces = self.mesh.faces[np.isin(self.mesh.category, mine)]
            if len(faces):
                context.add_mesh_indices(faces.ravel().tolist(), 3, name)
        context.finalize_object_mesh(0)
        if self._keep:
            self._kept = context
        return context

    def _config(self) -> Any:
        config = self._rlr.Config()
        config.sample_rate = RATE
        config.frequency_bands = self.settings.bands
        config.indirect_ray_count = self.settings.rays
        config.indirect_ray_depth = self.settings.depth
        config.thread_count = self.settings.threads
        config.transmission = 0
        return config


def load_engine() -> Any:
    """The module ``rlr_audio_propagation``.

    Raises:
        UserError: it cannot be imported.
    """
    import torch  # noqa: F401 - before the engine: the other way round the process aborts

    try:
        import rlr_audio_propagation
    except ImportError as error:
        raise UserError(
            f"rlr-audio-propagation, the acoustic engine, cannot be imported ({error}); pip install -r "
            "requirements-rlr.txt (it needs a C++ compiler)"
        ) from error
    return rlr_audio_propagation


def _response(context: Any, listener: int, source: int) -> np.ndarray:
    ears = [np.asarray(context.get_ir_channel(listener, source, ear)) for ear in (0, 1)]
    return np.stack(ears)[:, HRTF_DELAY_SAMPLES:]


def _floats(vector: np.ndarray) -> list[float]:
    return [float(v) for v in vector]


def _about_y(rotation_deg: float) -> list[float]:
    half = np.radians(rotation_deg) / 2
    return [float(np.cos(half)), 0.0, float(np.sin(half)), 0.0]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the engine's C++, which prints a line for every context and every category without material."""
    kept = []
    with open(os.devnull, "wb") as nothing:
        for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
            stream.flush()
            kept.append((os.dup(number), number))
            os.dup2(nothing.fileno(), number)
    try:
        yield
    finally:
        for copy, number in kept:
            os.dup2(copy, number)
            os.close(copy)
