"""Sources that walk: a position a step along the edges of the navigation graph, so never through a wall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, shortest_path

from audio_separation.errors import UserError
from audio_separation.scenes.graph import NavGraph

MOVERS = ("target", "distractors", "all")


@dataclass(frozen=True)
class Motion:
    """How sources walk: to a place drawn at random by the shortest way, there a rest, then on to the next.

    Attributes:
        who: which sources do, one of ``MOVERS``.
        steps: positions of a path; step 0 is the first. A source stays where its path ends.
        speed: nodes a step (a step lasts a second); below 1 it stands still in between, above 1 it passes by
            nodes.
        pause: fewest and most steps of a rest, drawn evenly; (0, 0) for none.

    Raises:
        UserError: a value out of its range.
    """

    who: str = "all"
    steps: int = 20
    speed: float = 1.0
    pause: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.who not in MOVERS:
            raise UserError(f"{self.who!r} sources should move; expected one of {', '.join(MOVERS)}")
        if self.steps < 2:
            raise UserError(f"a moving source needs a path of 2 steps or more, found {self.steps}")
        if not 0 < self.speed <= 10:
            raise UserError(f"the speed should be above 0 and at most 10 nodes a step, found {self.speed}")
        if not 0 <= self.pause[0] <= self.pause[1]:
            raise UserError(f"a pause should be the fewest and the most steps, found {tuple(self.pause)}")

    def moves(self, source: int) -> bool:
        """Whether source number ``source`` walks; 0 is the target."""
        return self.who == "all" or (self.who == "target") == (source == 0)


class Walker:
    """Draws paths over some nodes of a graph.

    Args:
        graph: the scene's graph.
        nodes: node indices where a source may be; it walks edges between two of them only.
        motion: how.

    Attributes:
        nodes: those from which there is a way to another one.
    """

    def __init__(self, graph: NavGraph, nodes: np.ndarray, motion: Motion) -> None:
        self.motion = motion
        allowed = np.zeros(len(graph), bool)
        allowed[nodes] = True
        rows = np.repeat(np.arange(len(graph)), [len(n) for n in graph.neighbours])
        columns = np.concatenate([*graph.neighbours, np.zeros(0, int)]).astype(int)
        keep = allowed[rows] & allowed[columns]
        rows, columns = rows[keep], columns[keep]
        lengths = np.linalg.norm(graph.positions[rows] - graph.positions[columns], axis=1)
        ways = coo_matrix(
            (np.maximum(lengths, 1e-9), (rows, columns)), shape=(len(graph), len(graph))
        ).tocsr()
        _, self._part = connected_components(ways, directed=False)
        # _before[a, b]: the node before b on the shortest way from a
        _, self._before = shortest_path(ways, method="D", directed=False, return_predecessors=True)
        self.nodes = np.array([v for v in nodes if len(self._others(int(v)))], dtype=np.int64)

    def path(self, start: int, rng: np.random.Generator) -> list[int]:
        """Return the node index at each of ``motion.steps`` steps; the first is ``start``, one of ``nodes``."""
        motion = self.motion
        path: list[int] = [start]
        route: list[int] = []
        rest, progress = 0, 0.0
        while len(path) < motion.steps:
            here = path[-1]
            if rest:
                rest -= 1
                path.append(here)
                continue
            progress += motion.speed
            while progress > 1 - 1e-9:
                route = route or self._route(here, rng)
                here = route.pop()
                progress -= 1
                if not route and motion.pause[1]:
                    rest, progress = int(rng.integers(motion.pause[0], motion.pause[1] + 1)), 0.0
            path.append(here)
        return path

    def _others(self, node: int) -> np.ndarray:
        """Nodes that can be walked to from ``node``, itself left out."""
        others = np.flatnonzero(self._part == self._part[node])
        return others[others != node]

    def _route(self, start: int, rng: np.random.Generator) -> list[int]:
        """The nodes to a place drawn at random, the next one last."""
        others = self._others(start)
        node = int(others[rng.integers(len(others))])
        route = []
        while node != start:
            route.append(node)
            node = int(self._before[start, node])
        return route
