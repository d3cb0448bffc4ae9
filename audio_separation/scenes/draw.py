"""Drawing episodes and passive points over a scene; the same generator state gives the same ones."""

from __future__ import annotations

from typing import Iterator, Mapping, Optional, Protocol, Sequence

import numpy as np

from audio_separation.errors import UserError
from audio_separation.scenes.episode_format import Episode, Point
from audio_separation.scenes.graph import ROTATIONS_DEG, NavGraph
from audio_separation.scenes.passive import PassivePoints
from audio_separation.scenes.walks import Motion, Walker

DISTANCE_BIN_M = 1.0  # of evenly spread start distances
FARTHEST_M = float(np.finfo(np.float32).max)  # any finite distance


class ClipPool(Protocol):
    """The part of ``audio.clips.ClipLibrary`` that drawing needs."""

    @property
    def classes(self) -> list[str]: ...
    @property
    def distractor_only(self) -> set[str]: ...
    def by_class(self, name: str) -> list[str]: ...
    def label_of(self, name: str) -> int: ...
    def num_seconds(self, name: str) -> int: ...


# ---- where --------------------------------------------------------------------------------------------
def _parts(graph: NavGraph) -> np.ndarray:
    """int [V]: nodes of one connected part of the graph have one number."""
    return np.isfinite(graph.geodesic).argmax(axis=1)


def _usable_sources(
    graph: NavGraph, source_nodes: Optional[Sequence[int]], num_sources: int, scene: str
) -> np.ndarray:
    """Indices of the source nodes in parts of the graph that have enough of them."""
    if num_sources < 1:
        raise UserError(f"an episode needs one source or more, found {num_sources}")
    sources = graph.indices(source_nodes)
    if len(sources) < num_sources:
        raise UserError(
            f"scene {scene}: {num_sources} sources need as many source nodes, it has {len(sources)}"
        )
    parts = _parts(graph)[sources]
    count = np.bincount(parts)
    if count.max() < num_sources:
        raise UserError(
            f"scene {scene}: {num_sources} sources need as many source nodes in one connected part of the graph, "
            f"its parts have {count.max()} at most"
        )
    return sources[count[parts] >= num_sources]


def _near_starts(
    graph: NavGraph, sources: np.ndarray, bounds_m: tuple[float, float], rng: np.random.Generator
) -> Iterator[tuple[int, np.ndarray]]:
    """Targets, each as likely as the others, and the nodes to start from."""
    starts = {int(v): graph.within(int(v), bounds_m) for v in sources}
    targets = [v for v, near in starts.items() if len(near)]
    while targets:
        target = targets[rng.integers(len(targets))]
        yield target, starts[target]


def _even_starts(
    graph: NavGraph, sources: np.ndarray, bounds_m: tuple[float, float], rng: np.random.Generator
) -> Iterator[tuple[int, np.ndarray]]:
    """The same with every distance as often as the others, by bins of about a metre.

    Each run through the bins that the scene has is in an order of its own, so any number of episodes is even to
    within one of a bin. The bins lie between the bounds, not between the scene's least and most: a big
    scene gives no more of the far ones than a small scene that has them.
    """
    distance = graph.geodesic[sources]
    low, high = bounds_m[0], min(bounds_m[1], float(distance[np.isfinite(distance)].max(initial=0.0)))
    count = max(1, round((high - low) / DISTANCE_BIN_M))
    edges = np.linspace(low, max(high, low), count + 1)
    edges[0], edges[-1] = edges[0] - 1e-3, edges[-1] + 2e-3  # the slack of NavGraph.within
    bins = []
    for a, b in zip(edges[:-1], edges[1:]):
        inside = (distance >= a) & (distance < b)
        starts = {int(v): np.flatnonzero(row) for v, row in zip(sources, inside) if row.any()}
        if starts:
            bins.append((list(starts), starts))
    while bins:
        for b in rng.permutation(len(bins)):
            targets, starts = bins[b]
            target = targets[rng.integers(len(targets))]
            yield target, starts[target]


def _draw_distractors(
    graph: NavGraph,
    sources: np.ndarray,
    target: int,
    count: int,
    min_distance: float,
    rng: np.random.Generator,
) -> list[int]:
    chosen = [target]
    for _ in range(count):
        free = np.setdiff1d(sources, chosen)
        offsets = graph.positions[free][:, None] - graph.positions[chosen][None]
        nearest = np.linalg.norm(offsets, axis=-1).min(axis=1)
        far = free[nearest >= min_distance - 1e-3]
        # where the scene is too small for the distance, as far apart as it goes
        chosen.append(int(rng.choice(far)) if len(far) else int(free[np.argmax(nearest)]))
    return chosen[1:]


def _position(graph: NavGraph, v: int) -> Point:
    x, y, z = (float(value) for value in graph.positions[v])
    return x, y, z


def _walker(graph: NavGraph, sources: np.ndarray, motion: Motion, scene: str) -> Walker:
    walker = Walker(graph, sources, motion)
    if len(walker.nodes) == 0:
        raise UserError(
            f"scene {scene}: sources cannot move, as no two of the {len(sources)} nodes where one may stand are "
            "neighbours; make impulse responses for more source nodes"
        )
    return walker


def _paths(
    graph: NavGraph, nodes: Sequence[int], walker: Optional[Walker], rng: np.random.Generator
) -> tuple[tuple[Point, ...], ...]:
    walks = [walker.path(v, rng) if walker and walker.motion.moves(s) else [v] for s, v in enumerate(nodes)]
    return tuple(tuple(_position(graph, v) for v in walk) for walk in walks)


# ---- what ---------------------------------------------------------------------------------------------
def _clips_of(clips: ClipPool, num_sources: int) -> tuple[dict[str, list[str]], list[str]]:
    """The clips of each class that has any, and the classes that may be targets."""
    pool = {name: found for name in clips.classes for found in [clips.by_class(name)] if found}
    targets = [name for name in pool if name not in clips.distractor_only]
    if not targets or len(pool) < num_sources:
        raise UserError(
            f"{num_sources} sources need clips of {num_sources} classes, one of them no distractor; this split of "
            f"the corpus has {len(pool)} ({len(targets)} of them may be targets)"
        )
    return pool, targets


def balanced_targets(clips: ClipPool, num: int, rng: np.random.Generator) -> list[str]:
    """Return ``num`` target classes, each as often as the others (to within one), in a random order.

    Raises:
        UserError: no class may be a target.
    """
    _, targets = _clips_of(clips, 1)
    blocks = (rng.permutation(len(targets)) for _ in range(-(-num // len(targets))))
    return [targets[k] for block in blocks for k in block][:num]


def _draw_sounds(
    pool: Mapping[str, list[str]], target: str, count: int, rng: np.random.Generator
) -> list[str]:
    others = [name for name in pool if name != target]
    drawn = [target, *(others[i] for i in rng.permutation(len(others))[: count - 1])]
    return [pool[name][rng.integers(len(pool[name]))] for name in drawn]


# ---- episodes and points ------------------------------------------------------------------------------
def make_active_episodes(
    graph: NavGraph,
    clips: ClipPool,
    source_nodes: Optional[Sequence[int]],
    num: int,
    rng: np.random.Generator,
    scene: str,
    num_sources: int = 2,
    start_distance: tuple[float, float] = (1.0, 3.0),
    min_source_distance: float = 2.0,
    *,
    even_distances: bool = False,
    target_classes: Optional[Sequence[str]] = None,
    motion: Optional[Motion] = None,
) -> list[Episode]:
    """Draw ``num`` episodes of a scene; the same generator state gives the same episodes.

    All sources stand on different nodes and play different classes; the target (source 0) is never of a
    distractor-only class. The agent starts with a random rotation, and can walk to every source.

    Args:
        graph: the scene's graph.
        clips: sounds to draw from.
        source_nodes: ids of the nodes where sources may stand (those with RIRs); None for all.
        num: number of episodes.
        rng: consumed.
        scene: scene name for the episodes.
        num_sources: target and distractors.
        start_distance: geodesic distance of the start to the target, metres; (0, 0) starts at the target.
        min_source_distance: sources begin at least this far apart, metres in a straight line, where the scene
            allows it.
        even_distances: every start distance of the range as often as the others; otherwise every node in the
            range is as likely, which favours the distances at which a scene has most nodes.
        target_classes: class of the target of each episode (:func:`balanced_targets`); None draws it.
        motion: how sources walk; None: they stand still.

    Raises:
        UserError: if the scene has too few source nodes or no start in the range, the corpus too few
            classes, or moving sources no way.
    """
    sources = _usable_sources(graph, source_nodes, num_sources, scene)
    walker = None
    if motion is not None:
        walker = _walker(graph, sources, motion, scene)
        sources = _usable_sources(graph, graph.node_ids[walker.nodes].tolist(), num_sources, scene)
    parts = _parts(graph)
    pool, targets = _clips_of(clips, num_sources)
    bounds_m = (start_distance[0], min(start_distance[1], FARTHEST_M))
    starts_of = (_even_starts if even_distances else _near_starts)(graph, sources, bounds_m, rng)
    episodes = []
    for i in range(num):
        found = next(starts_of, None)
        if found is None:
            raise UserError(
                f"scene {scene}: no node lies {start_distance[0]} to {start_distance[1]} m from a source node"
            )
        target, starts = found
        within_reach = sources[parts[sources] == parts[target]]
        others = _draw_distractors(graph, within_reach, target, num_sources - 1, min_source_distance, rng)
        name = targets[rng.integers(len(targets))] if target_classes is None else target_classes[i]
        sounds = _draw_sounds(pool, name, num_sources, rng)
        episodes.append(
            Episode(
                episode_id=str(i),
                scene=scene,
                start_position=_position(graph, int(rng.choice(starts))),
                start_rotation=ROTATIONS_DEG[rng.integers(4)],
                sounds=tuple(sounds),
                start_seconds=tuple(int(rng.integers(clips.num_seconds(sound))) for sound in sounds),
                labels=tuple(clips.label_of(sound) for sound in sounds),
                source_paths=_paths(graph, [target, *others], walker, rng),
            )
        )
    return episodes


def make_passive_points(
    graph: NavGraph,
    source_nodes: Optional[Sequence[int]],
    num: int,
    rng: np.random.Generator,
    scene: str,
    num_sources: int = 2,
    near: tuple[float, float] = (0.0, 4.0),
    near_fraction: float = 0.7,
) -> PassivePoints:
    """Draw ``num`` places of a receiver and sources for the pretraining of the separators.

    The receiver stands within ``near`` metres (geodesic) of the first source in ``near_fraction`` of the
    points, anywhere that can be reached from it in the rest. Sources stand on different nodes of one connected
    part of the graph.

    Raises:
        UserError: if the scene has fewer source nodes than sources.
    """
    sources = _usable_sources(graph, source_nodes, num_sources, scene)
    parts = _parts(graph)
    receivers, placed = np.zeros(num, dtype=np.int64), np.zeros((num, num_sources), dtype=np.int64)
    around: dict[int, tuple[np.ndarray, np.ndarray]] = {
        int(v): (graph.within(int(v), near), graph.within(int(v), (0.0, FARTHEST_M))) for v in sources
    }
    for i in range(num):
        order = rng.permutation(sources)
        placed[i] = order[parts[order] == parts[order[0]]][:num_sources]
        close, reachable = around[int(order[0])]
        choice = close if rng.random() < near_fraction and len(close) else reachable
        receivers[i] = choice[rng.integers(len(choice))]
    azimuths = rng.choice(np.array(ROTATIONS_DEG), size=num)
    return PassivePoints(
        (scene,), np.zeros(num, dtype=np.int64), graph.node_ids[receivers], azimuths, graph.node_ids[placed]
    )
