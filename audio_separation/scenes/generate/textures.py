"""Procedural textures: colours from positions on a surface (metres), so that no image files are needed."""

from __future__ import annotations

from typing import Callable

import numpy as np

Pattern = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def shade(
    texture: str, u: np.ndarray, v: np.ndarray, rgb: tuple[float, float, float], seed: int
) -> np.ndarray:
    """Colours of points on a surface.

    Args:
        texture: key of PATTERNS.
        u, v: [P] coordinates on the surface, metres; v is the height on upright surfaces.
        rgb: base colour, 0..1.
        seed: shifts the pattern.

    Returns:
        float [P, 3], 0..1.
    """
    factor = PATTERNS[texture](u, v, seed)
    if factor.ndim == 1:
        factor = factor[:, None]
    return np.clip(np.asarray(rgb) * factor, 0.0, 1.0)


def _hash(a: np.ndarray, b: np.ndarray, seed: int) -> np.ndarray:
    """A reproducible pseudo-random number in [0, 1) for each pair of whole numbers."""
    x = a.astype(np.int64) * 374761393 + b.astype(np.int64) * 668265263 + seed * 974634777
    x = (x ^ (x >> 13)) * 1274126177
    return ((x ^ (x >> 16)) & 0xFFFF) / 65536.0


def _noise(u: np.ndarray, v: np.ndarray, scale_m: float, seed: int) -> np.ndarray:
    """Smooth noise in [0, 1] with features of `scale_m`."""
    x, y = u / scale_m, v / scale_m
    i, j = np.floor(x), np.floor(y)
    fx, fy = x - i, y - j
    low = _hash(i, j, seed) * (1 - fx) + _hash(i + 1, j, seed) * fx
    high = _hash(i, j + 1, seed) * (1 - fx) + _hash(i + 1, j + 1, seed) * fx
    return low * (1 - fy) + high * fy


def _lines(x: np.ndarray, period: float, width: float) -> np.ndarray:
    """True on lines `width` wide every `period`."""
    return np.mod(x, period) < width


def _plain(u: np.ndarray, v: np.ndarray, seed: int) -> np.ndarray:
    return 0.985 + 0.03 * _noise(u, v, 0.4, seed)


def _rough(u: np.ndarray, v: np.ndarray, seed: int) -> np.ndarray:
    return 0.88 + 0.12 * _noise(u, v, 0.03, seed) + 0.10 * _noise(u, v, 0.15, seed + 1)


def _planks(u: np.ndarray, v: np.ndarray, seed: int) -> np.ndarray:
    row = np.floor(v / 0.12)
    along = u + 0.9 * _hash(row, row, seed)
    tone = 0.84 + 0.24 * _hash(row, np.floor(along / 0.9), seed)
    grain = 1 - 0.10 * _noise(u * 0.15, v, 0.012, seed)
    seam = _lines(v, 0.12, 0.006) | _lines(along, 0.9, 0.006)
    return tone * grain * np.where(seam, 0.65, 1.0)


def _tiles(u: np.ndarray, v: np.ndarray, seed: int) -> np.ndarray:
    seam = _lines(u, 0.25, 0.012) | _lines(v, 0.25, 0.012)
    tone = 0.95 + 0.06 * _hash(np.floor(u / 0.25), np.floor(v / 0.25), seed)
    return np.where(seam, 0.72, tone)


def _checker(u: np.ndarray, v: np.ndarray, seed: int) -> np.ndarray:
    odd = (np.floor(u / 0.4) + np.floor(v / 0.4)) % 2
    return np.where(odd > 0, 1.15, 0.78) * _rough(u, v, seed)


def _brick(u: np.ndarray, v: np.ndarray, seed: int) -> np.ndarray:
    row = np.floor(v / 0.08)
    along = u + 0.12 * (row % 2)
    seam = _lines(v, 0.08, 0.012) | _lines(along, 0.24, 0.012)
    tone = 0.78 + 0.34 * _hash(row, np.floor(along / 0.24), seed)
    colour = np.repeat(tone[:, None], 3, axis=1)
    colour[seam] = (1.15, 1.55, 1.75)  # grey mortar on a red base
    return colour


def _stripes(u: np.ndarray, v: np.ndarray, seed: int) -> np.ndarray:
    return np.where(_lines(u, 0.16, 0.08), 1.04, 0.94)


def _panels(u: np.ndarray, v: np.ndarray, seed: int) -> np.ndarray:
    board = np.floor(u / 0.14)
    tone = 0.86 + 0.2 * _hash(board, board, seed)
    return tone * np.where(_lines(u, 0.14, 0.010), 0.6, 1.0) * (1 - 0.08 * _noise(u, v * 0.15, 0.015, seed))


def _weave(u: np.ndarray, v: np.ndarray, seed: int) -> np.ndarray:
    return 0.94 + 0.06 * np.sign(np.sin(u * 130) * np.sin(v * 130)) + 0.08 * (_noise(u, v, 0.2, seed) - 0.5)


def _folds(u: np.ndarray, v: np.ndarray, seed: int) -> np.ndarray:
    return 0.86 + 0.16 * np.sin(u * 2 * np.pi / 0.075)


def _rug(u: np.ndarray, v: np.ndarray, seed: int) -> np.ndarray:
    ring = (np.abs(np.mod(u, 0.4) - 0.2) + np.abs(np.mod(v, 0.4) - 0.2)) / 0.4
    colour = np.repeat(_rough(u, v, seed)[:, None], 3, axis=1)
    colour[ring > 0.62] *= (1.25, 1.12, 0.95)
    colour[ring < 0.25] *= (0.65, 0.72, 0.85)
    return colour


def _doors(u: np.ndarray, v: np.ndarray, seed: int) -> np.ndarray:
    """Cabinet fronts: gaps between leaves and dark handles."""
    x = np.mod(u, 0.5)
    handle = (np.abs(x - 0.44) < 0.012) & (np.mod(v, 1.0) > 0.40) & (np.mod(v, 1.0) < 0.56)
    seam = x < 0.012
    return np.where(handle, 0.3, np.where(seam, 0.6, 1.0)) * (0.97 + 0.03 * _noise(u, v, 0.05, seed))


def _books(u: np.ndarray, v: np.ndarray, seed: int) -> np.ndarray:
    book = np.floor(u / 0.045)
    shelf = np.floor(v / 0.33)
    colour = np.stack([0.5 + 1.1 * _hash(book, shelf, seed + k) for k in range(3)], axis=1)
    colour[_lines(u, 0.045, 0.006)] *= 0.4
    return colour


def _window(u: np.ndarray, v: np.ndarray, seed: int) -> np.ndarray:
    """A bright outside above a green one, behind glazing bars."""
    sky = np.clip((v - 1.15) / 0.12, 0.0, 1.0)[:, None]
    colour = sky * np.array([1.18, 1.12, 1.04]) + (1 - sky) * np.array([0.62, 0.80, 0.42])
    colour *= (0.94 + 0.10 * _noise(u, v, 0.25, seed))[:, None]
    colour[_lines(u, 0.5, 0.045) | _lines(v + 0.03, 0.6, 0.045)] = (1.40, 1.16, 1.0)
    return colour


PATTERNS: dict[str, Pattern] = {
    "plain": _plain,
    "noise": _rough,
    "planks": _planks,
    "tiles": _tiles,
    "checker": _checker,
    "brick": _brick,
    "stripes": _stripes,
    "panels": _panels,
    "weave": _weave,
    "folds": _folds,
    "rug": _rug,
    "doors": _doors,
    "books": _books,
    "window": _window,
}
