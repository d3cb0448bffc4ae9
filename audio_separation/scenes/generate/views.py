"""RGB-D views of a home by ray casting, with procedural textures and lamps."""

from __future__ import annotations

import numpy as np

from audio_separation.scenes.datasets import CAMERA_HEIGHT_M
from audio_separation.scenes.generate.home import Home
from audio_separation.scenes.generate.mesh import HomeMesh
from audio_separation.scenes.generate.textures import shade
from audio_separation.scenes.raycast import FOV_DEG, RESOLUTION, RayTriangles

ROTATIONS = (0, 90, 180, 270)
AMBIENT = 0.50
LAMP = 0.75


class ViewRenderer(RayTriangles):
    """Renders one home."""

    def __init__(self, home: Home, mesh: HomeMesh) -> None:
        super().__init__(mesh.vertices, mesh.faces)
        self.mesh = mesh
        self.axis = np.abs(self.normals).argmax(axis=1)
        height = home.plan.height
        self.floors = [room.floor for room in home.plan.rooms]
        self.lamps = np.array([[f.centre[0], height - 0.25, f.centre[1]] for f in self.floors])

    def view(
        self, position: np.ndarray, rotation_deg: float, resolution: int = RESOLUTION
    ) -> dict[str, np.ndarray]:
        """What a camera CAMERA_HEIGHT_M above a node sees.

        Args:
            position: node, Habitat frame [3].

        Returns:
            {"rgb": uint8 [H, W, 3], "depth": float32 [H, W, 1]}, depth clipped to 0-10 m and divided by 10.
        """
        camera = np.asarray(position, float) + np.array([0.0, CAMERA_HEIGHT_M, 0.0])
        return self.picture(camera, rotation_deg, resolution, FOV_DEG)

    def colours(self, points: np.ndarray, hit: np.ndarray, pixel_m: np.ndarray) -> np.ndarray:
        """Texture times light; the patterns are sampled at the points, whatever the width of a pixel."""
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
        blocked = self.blocked_path(starts, path)
        direct = LAMP * cosine / (1 + 0.06 * length**2) * np.where(blocked, 0.25, 1.0)
        tilt = 0.04 * normals[:, 0] + 0.06 * normals[:, 1]  # tells the faces of a box apart in shadow
        return AMBIENT + tilt + direct


def _outside(x: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.maximum(np.maximum(low - x, x - high), 0.0)
