"""Colours of points on textured triangles, at the sharpness that a pixel can show."""

from __future__ import annotations

import numpy as np

from audio_separation.scenes.meshes import SceneMesh


class Texturing:
    """The textures of a mesh as pyramids of halved images: a far point takes the mean of what its pixel covers.

    Without them, a view of 128 x 128 pixels would pick single texels of a 2048 x 2048 photograph.
    """

    def __init__(self, mesh: SceneMesh, uv: np.ndarray, texture: np.ndarray) -> None:
        self._mesh, self._uv, self._texture = mesh, uv, texture
        self._pyramids: dict[int, list[np.ndarray]] = {}
        corners = mesh.vertices[mesh.faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        one, two = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
        flat = np.abs(one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0])
        texels = np.array([image.shape[0] * image.shape[1] for image in mesh.textures])[texture]
        self._texels_per_m = np.sqrt(flat * texels / np.linalg.norm(normals, axis=1))  # [T]

    def paint(self, colour: np.ndarray, points: np.ndarray, hit: np.ndarray, pixel_m: np.ndarray) -> None:
        """Put the texture's colour, 0..1, into ``colour`` [P, 3] wherever the triangle hit [P] has one.

        Args:
            points: on the triangles, [P, 3].
            pixel_m: width of a pixel at each point, metres [P].
        """
        number = self._texture[hit]
        level = np.log2(np.maximum(pixel_m * self._texels_per_m[hit], 1.0)).round().astype(int)
        for k in np.unique(number[number >= 0]).tolist():
            pyramid = self._pyramid(k)
            mine = np.flatnonzero(number == k)
            corners = self._mesh.vertices[self._mesh.faces[hit[mine]]]
            uv = (barycentric(points[mine], corners)[:, :, None] * self._uv[hit[mine]]).sum(1)
            depth = np.minimum(level[mine], len(pyramid) - 1)
            for d in np.unique(depth).tolist():
                colour[mine[depth == d]] = sample_texture(pyramid[d], uv[depth == d]) / 255.0

    def _pyramid(self, k: int) -> list[np.ndarray]:
        if k not in self._pyramids:
            self._pyramids[k] = [self._mesh.textures[k]]
            while min(self._pyramids[k][-1].shape[:2]) >= 2:
                self._pyramids[k].append(halved(self._pyramids[k][-1]))
        return self._pyramids[k]


def halved(image: np.ndarray) -> np.ndarray:
    """The image uint8 [h, w, 3] at half its size: means of 2 x 2 pixels (an odd last row or column is dropped)."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    blocks = image[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3)
    return ((blocks.sum(axis=(1, 3), dtype=np.uint16) + 2) // 4).astype(np.uint8)


def barycentric(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
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
