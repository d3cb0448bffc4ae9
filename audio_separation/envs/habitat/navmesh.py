"""Walking on habitat-sim's navigation mesh, in the form that live motion takes it (``envs/live/motion.py``)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from audio_separation.errors import UserError

REACHED_M = 0.05  # a way that ends this near to where it should is free


class NavmeshSpace:
    """A ``.navmesh`` file, made by habitat-sim for an agent of some radius and height.

    Args:
        path: the file, beside the scene's mesh.
        slide: along walls; else a step stops at them.

    Raises:
        UserError: habitat-sim is not installed, or the file is missing or cannot be read.
    """

    def __init__(self, path: Path, slide: bool) -> None:
        try:
            import habitat_sim
        except ImportError as error:
            raise UserError(
                f"LIVE.COLLISIONS navmesh needs habitat-sim, which cannot be imported ({error}); install it with "
                "conda (environment.yml), or set LIVE.COLLISIONS freespace"
            ) from None
        self._finder = habitat_sim.PathFinder()
        if not path.is_file() or not self._finder.load_nav_mesh(str(path)):
            raise UserError(
                f"{path} is {'no navigation mesh' if path.is_file() else 'missing'}; fetch it with the scene's mesh "
                "or let habitat-sim make it, or set LIVE.COLLISIONS freespace"
            )
        self._slide = slide

    def try_step(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Where an agent ends that walks straight from ``start`` towards ``end`` ([3] each)."""
        step = self._finder.try_step if self._slide else self._finder.try_step_no_sliding
        return np.array(step(start.astype(np.float32), end.astype(np.float32)), float)

    def clear(self, start: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Whether the straight way from ``start`` [3] to each of ``ends`` [P, 3] can be walked -> bool [P]."""
        begin = start.astype(np.float32)
        reached = [
            np.array(self._finder.try_step_no_sliding(begin, end.astype(np.float32)), float) for end in ends
        ]
        gaps = [np.hypot(*(there - end)[[0, 2]]) for there, end in zip(reached, ends)]
        return np.array(gaps) < REACHED_M
