"""The acoustic engine's database of materials: what the surfaces of a mesh absorb and scatter.

The format is that of rlr-audio-propagation and SoundSpaces 2.0 (its ``mp3d_material_config.json``)::

    {"materials": [{"name": "...", "labels": ["floor", ...], "absorption": [Hz, value, Hz, value, ...],
                    "scattering": [...], "transmission": [...], "damping": [...], "density": ..., "speed": ...}]}

A face is of some category (``wall``, ``floor``); it is made of the material that has the most labels that occur
in the category's lower-case name. What matches nothing gets the engine's default material.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Protocol, Sequence

import numpy as np

from audio_separation.errors import UserError

SPECTRA = ("absorption", "scattering", "transmission", "damping")
SCALARS = ("density", "speed")
FRACTIONS = ("absorption", "scattering", "transmission")  # 0 to 1
DEFAULT_ABSORPTION = 0.1  # of the engine's material for what matches nothing
REFLECTION_LOSS_DB = 60.0
REVERBERANT_BANDS_HZ = (250.0, 500.0, 1000.0, 2000.0)


class Surfaces(Protocol):
    """Triangles of named categories, in the Habitat frame (y up, metres), as ``scenes.meshes.SceneMesh`` has them.

    vertices: float [V, 3]; faces: int [T, 3]; categories: names; category: int [T], index into them.
    """

    @property
    def vertices(self) -> np.ndarray: ...
    @property
    def faces(self) -> np.ndarray: ...
    @property
    def categories(self) -> tuple[str, ...]: ...
    @property
    def category(self) -> np.ndarray: ...


@dataclass(frozen=True)
class AcousticMaterial:
    """One entry: ``absorption`` is ``(Hz, value)`` pairs, ascending."""

    name: str
    labels: tuple[str, ...]
    absorption: tuple[tuple[float, float], ...]

    def absorbed(self, hz: Sequence[float]) -> np.ndarray:
        """Absorption at frequencies ``[P]``, interpolated over their logarithm."""
        known = np.array(self.absorption)
        return np.interp(np.log(hz), np.log(known[:, 0]), known[:, 1])


@dataclass(frozen=True)
class MaterialDatabase:
    """What the engine will read, known to be good: the JSON itself and what we need of it."""

    text: str
    materials: tuple[AcousticMaterial, ...]

    def material_of(self, category: str) -> Optional[AcousticMaterial]:
        """The material of a category; None where no label matches."""
        name = category.lower()
        hits = [sum(label in name for label in material.labels) for material in self.materials]
        best = int(np.argmax(hits)) if hits else 0
        return self.materials[best] if hits and hits[best] else None

    def unmatched(self, mesh: Surfaces) -> dict[str, float]:
        """Categories of the mesh that no material matches, each with its share of the mesh's area, largest first."""
        areas = face_areas(mesh)
        shares = np.bincount(mesh.category, areas, len(mesh.categories)) / max(float(areas.sum()), 1e-12)
        lacking = [
            k for k, name in enumerate(mesh.categories) if shares[k] > 0 and not self.material_of(name)
        ]
        return {mesh.categories[k]: float(shares[k]) for k in sorted(lacking, key=lambda k: -shares[k])}


def face_areas(mesh: Surfaces) -> np.ndarray:
    """Area of each triangle, m² ``[T]``."""
    corners = mesh.vertices[mesh.faces]
    return np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2


def reflections_needed(mesh: Surfaces, database: MaterialDatabase) -> int:
    """After how many reflections a ray in this mesh has lost 60 dB: what the engine must follow, 30 to 200.

    The time a response takes is proportional to it (the engine's default, 200, is twice too many for most).
    """
    kept = []
    for name in mesh.categories:
        material = database.material_of(name)
        # of the bands 250 Hz to 2 kHz the one that rings longest
        least = material.absorbed(REVERBERANT_BANDS_HZ).min() if material else DEFAULT_ABSORPTION
        kept.append(1 - least)
    areas = face_areas(mesh)
    share = float((areas * np.array(kept)[mesh.category]).sum() / areas.sum())
    loss_db = -10 * np.log10(min(max(share, 1e-6), 1 - 1e-6))
    return int(np.clip(np.ceil(REFLECTION_LOSS_DB / loss_db), 30, 200))


def read_materials(path: Path) -> MaterialDatabase:
    """Read and check the database in a file.

    Raises:
        UserError: for a missing or malformed file, naming the material and the key.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"material database {path} cannot be read ({error.strerror or error}); give a JSON file such as "
            "SoundSpaces' mp3d_material_config.json"
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"material database {path} is not JSON ({error})") from None
    return parse_materials(text, f"material database {path}")


def parse_materials(text: str, where: str) -> MaterialDatabase:
    """Check a database; the engine itself only says that it failed, or takes nonsense as it is.

    Args:
        text: the JSON.
        where: what errors call it.

    Raises:
        UserError: naming the material and the key.
    """
    try:
        tree = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{where} is not JSON ({error})") from None
    entries = tree.get("materials") if isinstance(tree, dict) else None
    if not isinstance(entries, list) or not entries:
        raise UserError(f'{where} should hold {{"materials": [...]}} with at least one material')
    return MaterialDatabase(text, tuple(_material(entry, k, where) for k, entry in enumerate(entries)))


def _material(entry: Any, number: int, where: str) -> AcousticMaterial:
    name = entry.get("name") if isinstance(entry, dict) else None
    if not isinstance(name, str):
        raise UserError(f"{where}: material number {number} lacks its 'name'")
    where = f"{where}: material '{name}'"
    labels = entry.get("labels")
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise UserError(f"{where} should list its 'labels', words that occur in names of categories")
    for label in labels:
        if label != label.lower() or not label:
            raise UserError(
                f"{where} has the label {label!r}, which no lower-case name of a category contains"
            )
    for key in SCALARS:
        if not _is_number(entry.get(key)):
            raise UserError(f"{where} should give its '{key}' as a number, found {entry.get(key)!r}")
    spectra = {key: _spectrum(entry.get(key), f"{where}: '{key}'", key in FRACTIONS) for key in SPECTRA}
    return AcousticMaterial(name, tuple(labels), spectra["absorption"])


def _spectrum(values: Any, where: str, fraction: bool) -> tuple[tuple[float, float], ...]:
    good = isinstance(values, list) and len(values) >= 2 and all(map(_is_number, values))
    if not good or len(values) % 2:
        raise UserError(f"{where} should be a list [Hz, value, Hz, value, ...], found {values!r}")
    pairs = tuple((float(hz), float(value)) for hz, value in zip(values[::2], values[1::2]))
    frequencies = [hz for hz, _ in pairs]
    if frequencies[0] <= 0 or any(a >= b for a, b in zip(frequencies, frequencies[1:])):
        raise UserError(f"{where} should give ascending frequencies above 0, found {frequencies}")
    worst = min(value for _, value in pairs), max(value for _, value in pairs)
    if worst[0] < 0 or (fraction and worst[1] > 1):
        raise UserError(
            f"{where} should lie {'between 0 and 1' if fraction else 'above 0'}, found {list(worst)}"
        )
    return pairs


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(value))
