"""Ray casting (embree through trimesh): pinhole RGB-D views of a mesh, depth along rays, free lines of sight."""

from __future__ import annotations

from typing import Optional

import numpy as np
import trimesh
from trimesh.ray.ray_pyembree import RayMeshIntersector

from audio_separation.scenes.meshes import SceneMesh
from audio_separation.scenes.observations import MAX_DEPTH_M
from audio_separation.scenes.texturing import Texturing

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
        """The RGB-D view from ``camera`` [3], coloured by :meth:`colours`.

        Returns:
            {"rgb": uint8 [H, W, 3], "depth": float32 [H, W, 1]}, depth clipped to 0-10 m and divided by 10. Where
            nothing is hit (holes of a scan), rgb is black and depth 0, as habitat-sim has it.
        """
        rays = camera_rays(rotation_deg, resolution, fov_deg)
        depth, hit = self.depth_along(camera, rays)
        found = hit >= 0
        colour = np.zeros((len(rays), 3))
        pixel_m = depth[found] * 2 * np.tan(np.radians(fov_deg) / 2) / resolution
        colour[found] = self.colours(camera + depth[found, None] * rays[found], hit[found], pixel_m)
        rgb = np.clip(np.round(255 * colour), 0, 255).astype(np.uint8)
        depth[~found] = 0.0
        clipped = (np.clip(depth, 0.0, MAX_DEPTH_M) / MAX_DEPTH_M).astype(np.float32)
        return {
            "rgb": rgb.reshape(resolution, resolution, 3),
            "depth": clipped.reshape(resolution, resolution, 1),
        }

    def colours(self, points: np.ndarray, hit: np.ndarray, pixel_m: np.ndarray) -> np.ndarray:
        """Colours [P, 3], 0..1, of points [P, 3] on the triangles ``hit`` [P], where a pixel is ``pixel_m`` wide."""
        raise NotImplementedError(f"{type(self).__name__} has no colours")


class RayCaster(RayTriangles):
    """RGB-D views of any mesh.

    Colours of scans (textures, vertex colours) hold the light of the day they were taken and are shown as they
    are; surfaces of one plain colour are shaded by the direction that they face.
    """

    def __init__(self, mesh: SceneMesh) -> None:
        super().__init__(mesh.vertices, mesh.faces)
        self.mesh = mesh
        light = np.ones(len(mesh.faces))
        if not mesh.light_in_colours:
            light = self.normals**2 @ np.array(FACING_LIGHT)
        self._flat = mesh.colours / 255.0 * light[:, None]
        self._texturing: Optional[Texturing] = None
        if mesh.uv is not None and mesh.texture is not None:
            self._texturing = Texturing(mesh, mesh.uv, mesh.texture)

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
            As :meth:`picture`.
        """
        return self.picture(np.asarray(camera_position, float), rotation_deg, resolution, fov_deg)

    def colours(self, points: np.ndarray, hit: np.ndarray, pixel_m: np.ndarray) -> np.ndarray:
        colour = self._flat[hit]
        if self._texturing is not None:
            self._texturing.paint(colour, points, hit, pixel_m)
        return colour
