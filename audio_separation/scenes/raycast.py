"""Ray casting (embree through trimesh): pinhole RGB-D views of a mesh, depth along rays, free lines of sight."""

from __future__ import annotations

from typing import Optional

import numpy as np
import trimesh
from trimesh.ray.ray_pyembree import RayMeshIntersector

from audio_separation.scenes.meshes import SceneMesh
from audio_separation.scenes.observations import MAX_DEPTH_M

RESOLUTION = 128
FOV_DEG = 90.0
# how bright a surface is that faces the +X, +Y or +Z axis either way: tells walls and floor of one colour apart
FACING_LIGHT = (0.80, 1.00, 0.90)


def camera_rays(rotation_deg: float, resolution: int = RESOLUTION, fov_deg: float = FOV_DEG) -> np.ndarray:
    """Ray directions [H*W, 3] of a pinhole camera, row by row from the top left.

    Rotation 0 looks along -Z, 90 along -X (counter-clockwise about +Y). The component along the optical axis
    is 1, so the ray parameter of a hit is its perpendicular depth, which is what Habitat's depth sensor gives.
    """
    reach = np.tan(np.radians(fov_deg) / 2)
    steps = (np.arange(resolution) + 0.5) / resolution * 2 - 1
    right, up = np.meshgrid(steps * reach, -steps * reach)
    angle = np.radians(rotation_deg)
    forward = np.array([-np.sin(angle), 0.0, -np.cos(angle)])
    sideways = np.array([np.cos(angle), 0.0, -np.sin(angle)])
    return forward + right.reshape(-1, 1) * sideways + up.reshape(-1, 1) * np.array([0.0, 1.0, 0.0])


class RayTriangles:
    """Triangles to cast rays at; build it once, it holds the ray-casting structure.

    Args:
        vertices: float [V, 3], metres.
        faces: int [T, 3]; none of them without area.
    """

    def __init__(self, vertices: np.ndarray, faces: np.ndarray) -> None:
        self._caster = RayMeshIntersector(trimesh.Trimesh(vertices, faces, process=False))
        corners = vertices[faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        self.normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)  # [T, 3]
        self._anchors = corners[:, 0]

    def depth_along(self, origin: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ray parameters [P] (inf where nothing is hit) and triangle numbers [P] (-1) from one origin [3].

        Args:
            rays: directions [P, 3]; their length is the unit of the parameter.
        """
        starts = np.broadcast_to(origin, rays.shape)
        hit = self._caster.intersects_first(starts, rays)
        found = hit >= 0
        normal = self.normals[hit[found]]
        along = ((self._anchors[hit[found]] - origin) * normal).sum(1) / (rays[found] * normal).sum(1)
        depth = np.full(len(rays), np.inf)
        depth[found] = along
        return depth, hit

    def blocked(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Whether a triangle stands between each start [P, 3] and its end [P, 3] -> bool [P]."""
        return self.blocked_path(starts, ends - starts)

    def blocked_path(self, starts: np.ndarray, path: np.ndarray) -> np.ndarray:
        """:meth:`blocked` where the ends are given as ``starts + path``."""
        hit = self._caster.intersects_first(starts, path)
        normal, anchor = self.normals[hit], self._anchors[hit]
        across = (path * normal).sum(1)
        along = ((anchor - starts) * normal).sum(1) / np.where(np.abs(across) < 1e-12, 1.0, across)
        return (hit >= 0) & (along < 1.0)

    def picture(
        self, camera: np.ndarray, rotation_deg: float, resolution: int, fov_deg: float
    ) -> dict[str, np.ndarray]:
        """The RGB-D view from ``camera`` [3], coloured by :meth:`colours`; black and 10 m where nothing is hit.

        Returns:
            {"rgb": uint8 [H, W, 3], "depth": float32 [H, W, 1]}, depth clipped to 0-10 m and divided by 10.
        """
        rays = camera_rays(rotation_deg, resolution, fov_deg)
        depth, hit = self.depth_along(camera, rays)
        found = hit >= 0
        colour = np.zeros((len(rays), 3))
        colour[found] = self.colours(camera + depth[found, None] * rays[found], hit[found])
        rgb = np.clip(np.round(255 * colour), 0, 255).astype(np.uint8)
        clipped = (np.clip(depth, 0.0, MAX_DEPTH_M) / MAX_DEPTH_M).astype(np.float32)
        return {
            "rgb": rgb.reshape(resolution, resolution, 3),
            "depth": clipped.reshape(resolution, resolution, 1),
        }

    def colours(self, points: np.ndarray, hit: np.ndarray) -> np.ndarray:
        """Colours [P, 3], 0..1, of the points [P, 3] on the triangles ``hit`` [P]."""
        raise NotImplementedError(f"{type(self).__name__} has no colours")


class RayCaster(RayTriangles):
    """RGB-D views of any mesh.

    Colours of scans (textures, vertex colours) hold the light of the day they were taken and are shown as they
    are; surfaces of one plain colour are shaded by the direction that they face.
    """

    def __init__(self, mesh: SceneMesh) -> None:
        super().__init__(mesh.vertices, mesh.faces)
        self.mesh = mesh
        light = (
            np.ones(len(mesh.faces)) if mesh.light_in_colours else (self.normals**2) @ np.array(FACING_LIGHT)
        )
        self._flat = mesh.colours / 255.0 * light[:, None]

    def view(
        self,
        camera_position: np.ndarray,
        rotation_deg: float,
        resolution: int = RESOLUTION,
        fov_deg: float = FOV_DEG,
    ) -> dict[str, np.ndarray]:
        """What a camera sees.

        Args:
            camera_position: of the camera itself (already raised above the floor), Habitat frame [3].
            rotation_deg: counter-clockwise about +Y; 0 looks along -Z.

        Returns:
            {"rgb": uint8 [H, W, 3], "depth": float32 [H, W, 1]}, depth clipped to 0-10 m and divided by 10.
        """
        return self.picture(np.asarray(camera_position, float), rotation_deg, resolution, fov_deg)

    def colours(self, points: np.ndarray, hit: np.ndarray) -> np.ndarray:
        colour = self._flat[hit]
        texture: Optional[np.ndarray] = self.mesh.texture
        if texture is None or self.mesh.uv is None:
            return colour
        number = texture[hit]
        for k in np.unique(number[number >= 0]):
            mine = number == k
            weights = _barycentric(points[mine], self.mesh.vertices[self.mesh.faces[hit[mine]]])
            uv = (weights[:, :, None] * self.mesh.uv[hit[mine]]).sum(1)
            colour[mine] = sample_texture(self.mesh.textures[k], uv) / 255.0
        return colour


def _barycentric(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Weights [P, 3] of the corners [P, 3, 3] that give points [P, 3] in the planes of their triangles."""
    one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    away = points - corners[:, 0]
    a, b, c = (one * one).sum(1), (one * two).sum(1), (two * two).sum(1)
    d, e = (away * one).sum(1), (away * two).sum(1)
    area = np.maximum(a * c - b * b, np.finfo(float).tiny)
    second, third = (c * d - b * e) / area, (a * e - b * d) / area
    return np.stack([1 - second - third, second, third], 1)


def sample_texture(image: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Bilinear colours float [P, 3] of an image uint8 [h, w, 3] at uv [P, 2]; it repeats beyond 0..1.

    (0, 0) is the lower left corner of the image, whose row 0 is the top.
    """
    height, width = image.shape[:2]
    x, y = uv[:, 0] * width - 0.5, (1 - uv[:, 1]) * height - 0.5
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = (x - left)[:, None], (y - top)[:, None]
    columns, rows = (left % width, (left + 1) % width), (top % height, (top + 1) % height)
    upper = image[rows[0], columns[0]] * (1 - fx) + image[rows[0], columns[1]] * fx
    lower = image[rows[1], columns[0]] * (1 - fx) + image[rows[1], columns[1]] * fx
    return upper * (1 - fy) + lower * fy
