"""RGB-D views of a home by ray casting (embree through trimesh)."""

from __future__ import annotations

import numpy as np
from trimesh.ray.ray_pyembree import RayMeshIntersector

from audio_separation.scenes.generate.home import CAMERA_HEIGHT_M, Home
from audio_separation.scenes.generate.mesh import HomeMesh
from audio_separation.scenes.generate.textures import shade

RESOLUTION = 128
FOV_DEG = 90.0
DEPTH_LIMIT_M = 10.0
ROTATIONS = (0, 90, 180, 270)
AMBIENT = 0.50
LAMP = 0.75


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


class ViewRenderer:
    """Renders one home; build it once, it holds the ray-casting structure."""

    def __init__(self, home: Home, mesh: HomeMesh) -> None:
        self.mesh = mesh
        body = mesh.trimesh()
        self.caster = RayMeshIntersector(body)
        corners = mesh.vertices[mesh.faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        self.normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)
        self.anchors = corners[:, 0]
        self.axis = np.abs(self.normals).argmax(axis=1)
        height = home.plan.height
        self.floors = [room.floor for room in home.plan.rooms]
        self.lamps = np.array([[f.centre[0], height - 0.25, f.centre[1]] for f in self.floors])

    def depth_along(self, origin: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ray parameters [P] (inf where nothing is hit) and triangle numbers [P] (-1) from one origin [3]."""
        starts = np.broadcast_to(origin, rays.shape)
        hit = self.caster.intersects_first(starts, rays)
        found = hit >= 0
        normal = self.normals[hit[found]]
        along = ((self.anchors[hit[found]] - origin) * normal).sum(1) / (rays[found] * normal).sum(1)
        depth = np.full(len(rays), np.inf)
        depth[found] = along
        return depth, hit

    def view(
        self, position: np.ndarray, rotation_deg: int, resolution: int = RESOLUTION
    ) -> dict[str, np.ndarray]:
        """What a camera CAMERA_HEIGHT_M above a node sees.

        Args:
            position: node, Habitat frame [3].

        Returns:
            {"rgb": uint8 [H, W, 3], "depth": float32 [H, W, 1]}, depth clipped to 0-10 m and divided by 10.
        """
        origin = np.asarray(position, float) + np.array([0.0, CAMERA_HEIGHT_M, 0.0])
        rays = camera_rays(rotation_deg, resolution)
        depth, hit = self.depth_along(origin, rays)
        found = hit >= 0
        colour = np.zeros((len(rays), 3))
        colour[found] = self._colours(origin + depth[found, None] * rays[found], hit[found])
        rgb = np.clip(np.round(255 * colour), 0, 255).astype(np.uint8)
        clipped = (np.clip(depth, 0.0, DEPTH_LIMIT_M) / DEPTH_LIMIT_M).astype(np.float32)
        return {
            "rgb": rgb.reshape(resolution, resolution, 3),
            "depth": clipped.reshape(resolution, resolution, 1),
        }

    def _colours(self, points: np.ndarray, hit: np.ndarray) -> np.ndarray:
        """Texture times light of hit points [P, 3] on triangles [P] -> [P, 3]."""
        surface = self.mesh.surface[hit]
        axis = self.axis[hit]
        # u, v on the surface: x, z on level ones; z, y on those facing x; x, y on those facing z
        u = np.where(axis == 0, points[:, 2], points[:, 0])
        v = np.where(axis == 1, points[:, 2], points[:, 1])
        colour = np.empty((len(points), 3))
        for k in np.unique(surface):
            mine = surface == k
            s = self.mesh.surfaces[k]
            colour[mine] = shade(s.texture, u[mine], v[mine], s.rgb, s.seed)
        glowing = np.array([s.name in ("window", "lamp") for s in self.mesh.surfaces])[surface]
        light = self._light(points, self.normals[hit])
        light[glowing] = 1.05
        return colour * light[:, None]

    def _light(self, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """Ambient light plus the lamp under the ceiling of the point's room, with shadows -> [P]."""
        away = [
            np.hypot(
                *(_outside(points[:, a], low, high) for a, low, high in ((0, f.x0, f.x1), (2, f.z0, f.z1)))
            )
            for f in self.floors
        ]
        room = np.argmin(away, axis=0)
        path = self.lamps[room] - points
        length = np.linalg.norm(path, axis=1)
        cosine = np.abs((path * normals).sum(1)) / np.maximum(length, 1e-6)
        starts = points + 1e-3 * np.sign((path * normals).sum(1))[:, None] * normals
        blocked = self._blocked(starts, path)
        direct = LAMP * cosine / (1 + 0.06 * length**2) * np.where(blocked, 0.25, 1.0)
        tilt = 0.04 * normals[:, 0] + 0.06 * normals[:, 1]  # tells the faces of a box apart in shadow
        return AMBIENT + tilt + direct

    def _blocked(self, starts: np.ndarray, path: np.ndarray) -> np.ndarray:
        """Whether something stands between each start and its lamp (start + path)."""
        hit = self.caster.intersects_first(starts, path)
        normal, anchor = self.normals[hit], self.anchors[hit]
        across = (path * normal).sum(1)
        along = ((anchor - starts) * normal).sum(1) / np.where(np.abs(across) < 1e-12, 1.0, across)
        return (hit >= 0) & (along < 1.0)


def _outside(x: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.maximum(np.maximum(low - x, x - high), 0.0)
