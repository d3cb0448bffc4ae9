"""Near-minimal ways to all sources, by breadth-first search over the agent's exact dynamics.

Positions that an agent reaches in steps of half a metre and turns of 30 degrees are dense in the plane, so an exact
search has no end. Here a state keeps its exact position, but of all states of one cell (``CELL`` of a step wide), one
heading and one set of sources found only the first is followed. So a plan can always be carried out as it is; it is
the shortest one among those that the search kept, which need not be the shortest of all.
"""

from __future__ import annotations

from typing import Callable, NamedTuple, Optional, Sequence

import numpy as np

CELL = 0.25  # of a step, and of the radius where that is smaller
FINEST = 1 / 16  # of CELL, that the search goes down to where it has found no way
MARGIN_M = 1e-6  # a source counts as reached this far within the radius, whatever rounding does

# (from [N, 2], to [N, 2]) -> bool [N]: which of these moves stay within the room
Allowed = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Motion(NamedTuple):
    """How an agent moves.

    Attributes:
        advances_m: of each action: metres along the heading; None where it goes in a direction of the room.
        directions: of each action: the step in the room ``[2]`` in metres; None where it goes along the heading.
        turns_deg: of each action, counter-clockwise.
        turn_deg: that headings are multiples of, from the first one on.
        step_m: the longest step.
    """

    advances_m: tuple[float, ...]
    directions: tuple[Optional[tuple[float, float]], ...]
    turns_deg: tuple[float, ...]
    turn_deg: float
    step_m: float


def motion_of(actions: str, step_m: float, turn_deg: float) -> Motion:
    """The motion of ``AUDITION.ACTIONS``: turn (forward, backward, left, right) or compass (up, down, left, right)."""
    if actions == "turn":
        turns = (0.0, 0.0, turn_deg, -turn_deg)
        return Motion((step_m, -step_m, 0.0, 0.0), (None,) * 4, turns, turn_deg, step_m)
    steps = ((0.0, step_m), (0.0, -step_m), (-step_m, 0.0), (step_m, 0.0))
    # turns lead nowhere there, so none is planned
    return Motion((0.0,) * 4, steps, (0.0,) * 4, 360.0, step_m)


class _Layer(NamedTuple):
    """The states first reached by as many actions, N of them."""

    positions: np.ndarray  # [N, 2]
    headings_deg: np.ndarray  # [N], relative to the first one
    found: np.ndarray  # [N] bits
    path_m: np.ndarray  # [N]
    parents: np.ndarray  # [N] rows of the layer before
    actions: np.ndarray  # [N]


def plan_actions(
    start: Sequence[float],
    heading_deg: float,
    sources: np.ndarray,
    radius_m: float,
    motion: Motion,
    allowed: Allowed,
) -> Optional[list[int]]:
    """Few actions that bring the agent within ``radius_m`` of every source; None where none are found.

    Of plans with as few actions, the one with the shortest path is taken.

    Args:
        start: ``[2]`` metres.
        sources: ``[S, 2]`` metres, those still to be found.
        allowed: see above; a move that is not leaves the agent where it is.
    """
    cell = CELL * min(motion.step_m, radius_m)
    finest = cell * FINEST
    while cell >= finest:
        search = _Search(heading_deg, sources, radius_m, motion, allowed, cell)
        plan = search.run(np.asarray(start, dtype=float))
        if plan is not None:
            return plan
        cell /= 2
    return None


class _Search:
    def __init__(
        self,
        heading_deg: float,
        sources: np.ndarray,
        radius_m: float,
        motion: Motion,
        allowed: Allowed,
        cell_m: float,
    ):
        self._heading_deg, self._motion, self._allowed, self._cell_m = heading_deg, motion, allowed, cell_m
        self._sources, self._radius_m = np.asarray(sources, dtype=float), radius_m
        self._all = (1 << len(sources)) - 1
        self._seen = np.empty(0, dtype=np.int64)  # sorted keys

    def run(self, start: np.ndarray) -> Optional[list[int]]:
        zero = np.zeros(1, dtype=int)
        first = _Layer(start[None], np.zeros(1), zero, np.zeros(1), zero, zero)
        self._seen = self._keys(first)
        layers = [first]
        while len(layers[-1].found):
            layers.append(self._next(layers[-1]))
            ends = np.flatnonzero(layers[-1].found == self._all)
            if len(ends):
                best = ends[layers[-1].path_m[ends].argmin()]
                return _trace(layers, int(best))
        return None

    def _next(self, layer: _Layer) -> _Layer:
        parts = [self._after(layer, action) for action in range(len(self._motion.turns_deg))]
        every = _Layer(*(np.concatenate(arrays) for arrays in zip(*parts)))
        every = _take(every, np.argsort(every.path_m, kind="stable"))  # of equal keys the shortest path
        keys, rows = np.unique(self._keys(every), return_index=True)
        new = ~np.isin(keys, self._seen, assume_unique=True)
        self._seen = np.union1d(self._seen, keys[new])
        return _take(every, rows[new])

    def _after(self, layer: _Layer, action: int) -> _Layer:
        motion = self._motion
        direction = motion.directions[action]
        if direction is None:
            angle = np.deg2rad(self._heading_deg + layer.headings_deg)
            step = motion.advances_m[action] * np.stack([np.cos(angle), np.sin(angle)], 1)
        else:
            step = np.broadcast_to(direction, layer.positions.shape)
        moved = layer.positions + step
        goes = np.abs(step).any(1) & self._allowed(layer.positions, moved)
        positions = np.where(goes[:, None], moved, layer.positions)
        path_m = layer.path_m + np.where(goes, np.hypot(*step.T), 0.0)
        headings_deg = (layer.headings_deg + motion.turns_deg[action]) % 360
        distances = np.linalg.norm(positions[:, None] - self._sources, axis=-1)  # [N, S]
        near = (distances <= self._radius_m - MARGIN_M) @ (1 << np.arange(len(self._sources)))
        count = len(layer.found)
        return _Layer(
            positions, headings_deg, layer.found | near, path_m, np.arange(count), np.full(count, action)
        )

    def _keys(self, layer: _Layer) -> np.ndarray:
        cells = np.floor(layer.positions / self._cell_m).astype(np.int64) + (1 << 20)
        headings = np.round(layer.headings_deg / self._motion.turn_deg).astype(np.int64)
        headings %= max(1, round(360 / self._motion.turn_deg))
        key = (cells[:, 0] << 21) + cells[:, 1]
        return ((key << 10) + headings << len(self._sources)) + layer.found


def _take(layer: _Layer, rows: np.ndarray) -> _Layer:
    return _Layer(*(array[rows] for array in layer))


def _trace(layers: list[_Layer], row: int) -> list[int]:
    actions: list[int] = []
    for layer in layers[:0:-1]:
        actions.append(int(layer.actions[row]))
        row = int(layer.parents[row])
    return actions[::-1]
