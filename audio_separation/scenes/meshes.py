"""Scene meshes of any origin as plain arrays: .glb, .gltf, .obj and .ply, with the categories of their surfaces.

Habitat's frame is x right, y up, -z forward. A file says its own by ``<stem>.stage_config.json`` beside it
(``up`` and ``front``, as habitat-sim reads them); without one, habitat-sim's rule holds: .glb and .ply are
z up with +y in front (so is Matterport3D), .gltf and .obj are y up.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np
import trimesh

from audio_separation.errors import UserError
from audio_separation.scenes.mesh_files import check_mesh_file
from audio_separation.scenes.semantics import UNLABELED, object_categories

SUFFIXES = (".glb", ".gltf", ".obj", ".ply")
Z_UP_SUFFIXES = (".glb", ".ply")
GREY = (128, 128, 128)  # of a surface whose file gives it no colour


@dataclass(frozen=True, eq=False)
class SceneMesh:
    """Triangles in the Habitat frame (y up, metres), and what their surfaces are.

    Attributes:
        vertices: float64 [V, 3].
        faces: int64 [T, 3]; none of them without area.
        categories: names of the kinds of surface.
        category: int64 [T], index into ``categories``.
        colours: uint8 [T, 3], one flat colour a triangle (of a textured one, the colour in its middle).
        light_in_colours: the colours are photographs (textures, vertex colours), which hold light and shadow.
        uv: float32 [T, 3, 2], texture coordinates of the corners, (0, 0) the lower left; None without textures.
        texture: int64 [T], index into ``textures``, -1 where a triangle has none; None without textures.
        textures: images, uint8 [h, w, 3], row 0 the top.
    """

    vertices: np.ndarray
    faces: np.ndarray
    categories: tuple[str, ...]
    category: np.ndarray
    colours: np.ndarray
    light_in_colours: bool = False
    uv: Optional[np.ndarray] = None
    texture: Optional[np.ndarray] = None
    textures: tuple[np.ndarray, ...] = ()


class _Part(NamedTuple):
    """One geometry of a file, in the file's own frame."""

    vertices: np.ndarray  # [V, 3]
    faces: np.ndarray  # [T, 3]
    names: tuple[str, ...]
    name: np.ndarray  # [T], index into names
    colours: np.ndarray  # uint8 [T, 3]
    photographed: bool  # textured or with vertex colours
    uv: Optional[np.ndarray]  # [T, 3, 2]
    image: Optional[np.ndarray]  # uint8 [h, w, 3]


def load_scene_mesh(path: Path | str) -> SceneMesh:
    """Read a mesh file.

    Categories: geometries (or materials) called ``<surface>:<acoustic material>``, as generated homes have
    them, give what follows the colon; else it is the material's name or, without one, the geometry's. A .ply
    with an ``object_id`` a face takes the names of the objects from ``<scene>.house`` (Matterport3D, beside
    ``<scene>_semantic.ply``) or ``info_semantic.json`` (Replica).

    Raises:
        UserError: the file is missing, of another kind, damaged, without triangles or without its textures; its
            stage_config.json or annotations are faulty.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path} is not a mesh: expected {', '.join(SUFFIXES)}, found {path.suffix!r}")
    if not path.is_file():
        raise UserError(f"mesh not found at {path}; data/README.md says where the scenes are obtained")
    turn = frame_of(path)
    try:
        check_mesh_file(path)
        scene = trimesh.load_scene(path, process=False)
        parts = _parts(scene, path)
    except UserError:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise UserError(
            f"{path} is not a readable mesh ({type(error).__name__}: {error}): truncated or corrupt? "
            "fetch or export it again"
        ) from None
    return _joined(parts, turn, path)


def frame_of(path: Path) -> np.ndarray:
    """The rotation [3, 3] from the frame of a mesh file to Habitat's: ``turned = vertices @ rotation.T``."""
    z_up = path.suffix.lower() in Z_UP_SUFFIXES
    up = np.array([0.0, 0.0, 1.0] if z_up else [0.0, 1.0, 0.0])
    front = np.array([0.0, 1.0, 0.0] if z_up else [0.0, 0.0, -1.0])
    config = path.with_name(f"{path.stem}.stage_config.json")
    if config.is_file():
        try:
            stage: Any = json.loads(config.read_text())
            up = np.asarray(stage.get("up", up), float).reshape(3)
            front = np.asarray(stage.get("front", front), float).reshape(3)
            factors = np.append(stage.get("scale", 1.0), stage.get("units_to_meters", 1.0)).astype(float)
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(
                f"{config} is no stage description ({error}): expected up and front, 3 numbers each"
            ) from None
        if (factors != 1).any():
            raise UserError(
                f"{config} scales its mesh by {factors.tolist()}, expected 1: export the mesh in metres instead"
            )
    rotation = np.stack([np.cross(front, up), up, -front])
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-4):
        raise UserError(
            f"{config}: up {up.tolist()} and front {front.tolist()} should be two perpendicular unit vectors"
        )
    return rotation


def _parts(scene: trimesh.Scene, path: Path) -> list[_Part]:
    """The triangle geometries of a scene, each put in its place."""
    parts = []
    for node in sorted(scene.graph.nodes_geometry, key=str):
        transform, name = scene.graph[node]
        geometry = scene.geometry[name]
        if not isinstance(geometry, trimesh.Trimesh) or not len(geometry.faces):
            continue  # points and lines
        part = _part(geometry, str(name), path)
        placed = part.vertices @ transform[:3, :3].T + transform[:3, 3]
        parts.append(part._replace(vertices=placed))
    return parts


def _part(geometry: trimesh.Trimesh, name: str, path: Path) -> _Part:
    faces = np.asarray(geometry.faces, np.int64)
    vertices = np.asarray(geometry.vertices, float)
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise UserError(f"{path}: triangles of {name} name vertices that are not there; export it again")
    if not np.isfinite(vertices).all():
        raise UserError(f"{path}: vertices of {name} are not finite numbers; export it again")
    names, number = _categories(geometry, name, path)
    colours, uv, image = _colours(geometry)
    visual: Any = geometry.visual
    photographed = image is not None or visual.kind == "vertex"
    return _Part(vertices, faces, names, number, colours, photographed, uv, image)


def _categories(geometry: trimesh.Trimesh, name: str, path: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """Category names and, a triangle, the index of its own [T]."""
    ids = _face_objects(geometry, path)
    if ids is not None:
        by_object = object_categories(path)
        known, inverse = np.unique(ids, return_inverse=True)
        return tuple(by_object.get(int(k), UNLABELED) for k in known), inverse.reshape(-1)
    material = getattr(getattr(geometry.visual, "material", None), "name", None)
    for candidate in (name, material):
        if candidate and ":" in candidate:
            return (candidate.rpartition(":")[2],), np.zeros(len(geometry.faces), np.int64)
    return (material or name,), np.zeros(len(geometry.faces), np.int64)


def _face_objects(geometry: trimesh.Trimesh, path: Path) -> Optional[np.ndarray]:
    """The ``object_id`` of each triangle [T] where a .ply has them, None where not."""
    raw = geometry.metadata.get("_ply_raw", {}).get("face", {})  # the file's own table of faces
    if "object_id" not in raw.get("properties", {}):
        return None
    ids = np.asarray(raw["data"]["object_id"]).reshape(-1).astype(np.int64)
    if len(ids) == len(geometry.faces):
        return ids
    if 2 * len(ids) == len(geometry.faces):
        # trimesh cuts quads (Replica) into two blocks of triangles
        return np.concatenate([ids, ids])
    raise UserError(
        f"{path} mixes faces of different numbers of corners; expected triangles or quads only: triangulate it"
    )


def _colours(
    geometry: trimesh.Trimesh,
) -> tuple[np.ndarray, Optional[np.ndarray], Optional[np.ndarray]]:
    """Flat colours [T, 3], and texture coordinates [T, 3, 2] with their image where there is one."""
    visual: Any = geometry.visual
    count = len(geometry.faces)
    if visual.kind in ("vertex", "face"):
        return np.asarray(visual.face_colors[:, :3], np.uint8), None, None
    material = getattr(visual, "material", None)
    factor, image = _material(material)
    if image is None or visual.uv is None:
        return np.tile(factor, (count, 1)), None, None
    uv = np.asarray(visual.uv, np.float32)[geometry.faces]
    middle = uv.mean(axis=1) % 1.0
    height, width = image.shape[:2]
    column = np.minimum((middle[:, 0] * width).astype(int), width - 1)
    row = np.minimum(((1 - middle[:, 1]) * height).astype(int), height - 1)
    return image[row, column], uv, image


def _material(material: Any) -> tuple[np.ndarray, Optional[np.ndarray]]:
    """Base colour uint8 [3] of a material and its image uint8 [h, w, 3], which is already multiplied by it."""
    if material is None:
        return np.array(GREY, np.uint8), None
    physical = isinstance(material, trimesh.visual.material.PBRMaterial)
    image = material.baseColorTexture if physical else getattr(material, "image", None)
    factor = material.baseColorFactor if physical else getattr(material, "diffuse", None)
    if factor is None:  # glTF says white
        factor = (255, 255, 255) if physical or image is not None else GREY
    factor = np.asarray(factor)[:3]
    if factor.dtype.kind == "f":
        factor = np.round(255 * np.clip(factor, 0, 1))
    factor = factor.astype(np.uint8)
    if image is None:
        return factor, None
    pixels = np.asarray(image.convert("RGB"))
    if (factor != 255).any():
        pixels = np.round(pixels * (factor / 255.0)).astype(np.uint8)
    return factor, pixels


def _joined(parts: list[_Part], turn: np.ndarray, path: Path) -> SceneMesh:
    """All parts as one mesh in the Habitat frame, without triangles that have no area."""
    if not parts:
        raise UserError(f"{path} holds no triangles; expected a mesh: export it again")
    firsts = np.cumsum([0] + [len(part.vertices) for part in parts])
    vertices = np.concatenate([part.vertices for part in parts]) @ turn.T
    faces = np.concatenate([part.faces + first for part, first in zip(parts, firsts)])
    categories = tuple(sorted({name for part in parts for name in part.names}))
    number = {name: k for k, name in enumerate(categories)}
    category = np.concatenate([np.array([number[n] for n in part.names])[part.name] for part in parts])
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    solid = np.linalg.norm(normals, axis=1) > 0
    if not solid.any():
        raise UserError(f"{path} holds no triangle that has an area; export it again")
    images = [part.image for part in parts if part.image is not None]
    uv = texture = None
    if images:
        numbers = np.cumsum([part.image is not None for part in parts]) - 1
        texture = np.concatenate(
            [
                np.full(len(part.faces), -1 if part.image is None else k, np.int64)
                for part, k in zip(parts, numbers)
            ]
        )[solid]
        uv = np.concatenate(
            [np.zeros((len(part.faces), 3, 2), np.float32) if part.uv is None else part.uv for part in parts]
        )[solid]
    return SceneMesh(
        vertices,
        faces[solid],
        categories,
        category[solid],
        np.concatenate([part.colours for part in parts])[solid],
        any(part.photographed for part in parts),
        uv,
        texture,
        tuple(images),
    )
