"""Near-minimal ways to all sources, by breadth-first search over the agent's exact dynamics.

Positions that an agent reaches in steps of half a metre and turns of 30 degrees are dense in the plane, so an exact
search has no end. Here a state keeps its exact position, but of all states of one cell (``CELL`` of a step wide), one
heading and one set of sources found only the first is followed. So a plan can always be carried out as it is; it is
the shortest one among those that the search kept, which need not be the shortest of all.
"""

from __future__ import annotations

import math
from typing import Callable, NamedTuple, Optional, Sequence

import numpy as np
from numpy.typing import ArrayLike

CELL = 0.25  # of a step, and of the radius where that is smaller
FINEST = 1 / 16  # of CELL, that the search goes down to where it has found no way
DECIMALS = 6  # of positions in metres, as in the world
MARGIN_M = 1e-6  # a source counts as reached this far within the radius, whatever rounding does

# (from [N, 2], to [N, 2]) -> bool [N]: which of these straight moves stay within the room
Allowed = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Motion(NamedTuple):
    """How an agent moves; H headings, the first one being that of the start.

    Attributes:
        moves_m: ``[A, H, 2]``, where each action leads at each heading, metres.
        turns: ``[A]``, by how many headings each action turns, anticlockwise.
        step_m: length of a move.
    """

    moves_m: np.ndarray
    turns: np.ndarray
    step_m: float


def motion_of(
    actions: Sequence[tuple[str, str, int]], step_m: float, turn_deg: float, heading_deg: float
) -> Motion:
    """The motion of a kind of ``AUDITION.ACTIONS`` (see ``envs/audition/world.py``) from a heading on."""
    count = round(360 / turn_deg)
    moves_m = np.zeros((len(actions), count, 2))
    for a, (_, kind, number) in enumerate(actions):
        for h in range(count if kind != "turn" else 0):
            angle = math.radians(number + (heading_deg + h * turn_deg if kind == "ahead" else 0))
            moves_m[a, h] = step_m * math.cos(angle), step_m * math.sin(angle)
    turns = np.array([number if kind == "turn" else 0 for _, kind, number in actions])
    if not any(kind == "ahead" for _, kind, _ in actions):  # then headings lead nowhere else: one is enough
        return Motion(moves_m[:, :1], np.zeros_like(turns), step_m)
    return Motion(moves_m, turns, step_m)


class _Layer(NamedTuple):
    """The states first reached by as many actions, N of them."""

    positions: np.ndarray  # [N, 2]
    headings: np.ndarray  # [N] numbers
    found: np.ndarray  # [N] bits
    path_m: np.ndarray  # [N]
    parents: np.ndarray  # [N] rows of the layer before
    actions: np.ndarray  # [N]


def plan_actions(
    start: ArrayLike,
    sources: np.ndarray,
    radius_m: float,
    motion: Motion,
    allowed: Allowed,
) -> Optional[list[int]]:
    """Few actions that bring the agent within ``radius_m`` of every source; None where none are found.

    Of the plans with as few actions that the search kept, it is the one with the shortest path.

    Args:
        start: ``[2]`` metres.
        sources: ``[S, 2]`` metres, those still to be found.
        allowed: see above; a move that is not leaves the agent where it is.
    """
    cell = CELL * min(motion.step_m, radius_m)
    finest = cell * FINEST
    while cell >= finest:
        search = _Search(sources, radius_m, motion, allowed, cell)
        plan = search.run(np.asarray(start, dtype=float))
        if plan is not None:
            return plan
        cell /= 2
    return None


class _Search:
    def __init__(self, sources: np.ndarray, radius_m: float, motion: Motion, allowed: Allowed, cell_m: float):
        self._motion, self._allowed, self._cell_m = motion, allowed, cell_m
        self._sources, self._radius_m = np.asarray(sources, dtype=float), radius_m
        self._all = (1 << len(sources)) - 1
        self._seen = np.empty(0, dtype=np.int64)  # sorted keys

    def run(self, start: np.ndarray) -> Optional[list[int]]:
        zero = np.zeros(1, dtype=int)
        first = _Layer(start[None], zero, zero, np.zeros(1), zero, zero)
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
        parts = [self._after(layer, action) for action in range(len(self._motion.turns))]
        every = _Layer(*(np.concatenate(arrays) for arrays in zip(*parts)))
        every = _take(every, np.argsort(every.path_m, kind="stable"))  # of equal keys the shortest path
        keys, rows = np.unique(self._keys(every), return_index=True)
        new = ~np.isin(keys, self._seen, assume_unique=True)
        self._seen = np.union1d(self._seen, keys[new])
        return _take(every, rows[new])

    def _after(self, layer: _Layer, action: int) -> _Layer:
        step = self._motion.moves_m[action][layer.headings]
        # rounded as the world does, so that plans end where they say
        moved = (layer.positions + step).round(DECIMALS)
        goes = step.any(1) & self._allowed(layer.positions, moved)
        positions = np.where(goes[:, None], moved, layer.positions)
        path_m = layer.path_m + np.where(goes, self._motion.step_m, 0.0)
        headings = (layer.headings + self._motion.turns[action]) % self._motion.moves_m.shape[1]
        distances = np.linalg.norm(positions[:, None] - self._sources, axis=-1)  # [N, S]
        near = (distances <= self._radius_m - MARGIN_M) @ (1 << np.arange(len(self._sources)))
        parents, actions = np.arange(len(near)), np.full(len(near), action)
        return _Layer(positions, headings, layer.found | near, path_m, parents, actions)

    def _keys(self, layer: _Layer) -> np.ndarray:
        cells = np.floor(layer.positions / self._cell_m).astype(np.int64) + (1 << 20)
        key = (cells[:, 0] << 21) + cells[:, 1]
        return ((key << 10) + layer.headings << len(self._sources)) + layer.found


def _take(layer: _Layer, rows: np.ndarray) -> _Layer:
    return _Layer(*(array[rows] for array in layer))


def _trace(layers: list[_Layer], row: int) -> list[int]:
    actions: list[int] = []
    for layer in layers[:0:-1]:
        actions.append(int(layer.actions[row]))
        row = int(layer.parents[row])
    return actions[::-1]
