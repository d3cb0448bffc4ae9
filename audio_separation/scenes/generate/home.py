"""A home: plan, furniture, surfaces, navigation graph; drawn deterministically from a seed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import networkx as nx
import numpy as np

from audio_separation.errors import UserError
from audio_separation.scenes.generate import furniture
from audio_separation.scenes.generate.furniture import SIDES, Piece, Placed
from audio_separation.scenes.generate.grid import navigation_graph, wall_rects
from audio_separation.scenes.generate.materials import CHARACTERS, Surface, make_palette
from audio_separation.scenes.generate.plan import WINDOW_SILL_M, Plan, Preset, Rect, make_plan

EAR_HEIGHT_M = 1.5  # microphones and sources
ATTEMPTS = 200


@dataclass(frozen=True)
class Home:
    """Everything that is drawn at random about a home.

    positions: float [V, 3], Habitat frame, on the floor; edges: pairs of node numbers; node_rooms: room of
    each node.
    """

    seed: int
    character: str
    plan: Plan
    furniture: tuple[Placed, ...]
    palette: dict[str, Surface]
    positions: np.ndarray
    edges: tuple[tuple[int, int], ...]
    node_rooms: tuple[int, ...]


def make_home(seed: int, preset: Preset, spacing_m: float = 1.0, character: str | None = None) -> Home:
    """The home of a seed: plans are drawn until one meets the preset's rooms and node range.

    Args:
        spacing_m: spacing of the navigation grid; the node range is that of the 1 m grid and grows with it.
        character: key of CHARACTERS (how absorbing the home is); drawn when None.

    Raises:
        UserError: no home met the preset in ATTEMPTS draws.
    """
    rng = np.random.default_rng([seed, 0x40E5])
    for _ in range(ATTEMPTS):
        home = _draw_home(rng, seed, preset, spacing_m, character)
        if home is not None:
            return home
    raise UserError(
        f"--seed {seed}: no home of {preset.nodes} nodes in {ATTEMPTS} draws; choose another seed."
    )


def _draw_home(
    rng: np.random.Generator, seed: int, preset: Preset, spacing_m: float, character: str | None
) -> Home | None:
    plan = make_plan(rng, preset)
    if plan is None:
        return None
    character = character or str(rng.choice(list(CHARACTERS)))
    walls = wall_rects(plan)
    placed = _furnish(rng, plan, character, walls, preset.nodes[0])
    coarse = navigation_graph(plan, obstacles(placed), 1.0, walls)
    if not preset.nodes[0] <= len(coarse) <= preset.nodes[1]:
        return None
    graph = coarse if spacing_m == 1.0 else navigation_graph(plan, obstacles(placed), spacing_m, walls)
    # to the digits of points.txt, so that mesh, responses and files agree exactly
    positions = np.round([graph.nodes[k]["point"] for k in sorted(graph)], 6)
    node_rooms = tuple(plan.room_at(p[0], p[2]) for p in positions)
    if set(node_rooms) != set(range(len(plan.rooms))):
        return None
    palette = make_palette(rng, [room.kind for room in plan.rooms], character)
    edges = tuple(sorted((min(e), max(e)) for e in graph.edges))
    return Home(seed, character, plan, tuple(placed), palette, positions, edges, node_rooms)


def obstacles(placed: Iterable[Placed]) -> list[Rect]:
    """Footprints that the agent cannot enter: everything but rugs and what hangs flat on the walls."""
    return [p.footprint for p in placed if not (p.piece.flat or p.piece.raised)]


def _furnish(
    rng: np.random.Generator, plan: Plan, character: str, walls: list[Rect], least_nodes: int
) -> list[Placed]:
    """Furnishes all rooms; a piece that would cut the home apart or leave too few nodes is left out."""
    clearance = [_swing(plan, k) for k in range(len(plan.doors))]
    placed: list[Placed] = []
    whole = len(navigation_graph(plan, [], 1.0, walls))
    budget = max(least_nodes, round(0.55 * whole))
    wishes = []
    for room in plan.rooms:
        of_room = furniture.wishes(rng, room.kind, room.floor, character)
        wishes += [(rank, room.index, piece, where) for rank, (piece, where) in enumerate(of_room)]
    # the most important piece of every room comes first: no bedroom without a bed
    for _, index, piece, where in sorted(wishes, key=lambda wish: wish[:2]):
        for _ in range(40):
            spot = _try_spot(rng, plan, index, piece, where)
            if spot is None or not _fits(spot, placed, plan, clearance):
                continue
            graph = navigation_graph(plan, obstacles([*placed, spot]), 1.0, walls)
            if _still_whole(graph, plan, budget):
                placed.append(spot)
                break
    for room in plan.rooms:
        for curtain in _curtains(plan, room.index, character):
            if not any(curtain.footprint.overlaps(p.footprint) for p in placed):
                placed.append(curtain)
    return placed


def _still_whole(graph: nx.Graph, plan: Plan, budget: int) -> bool:
    """Enough nodes, and at least two (a third of the cells in larger rooms) in every room."""
    if len(graph) < budget:
        return False
    rooms = [plan.room_at(graph.nodes[k]["point"][0], graph.nodes[k]["point"][2]) for k in graph]
    return all(rooms.count(r.index) >= max(2, r.cells.count // 3) for r in plan.rooms)


def _swing(plan: Plan, k: int) -> Rect:
    """The floor before and behind a door that stays free: the passage lengthened by 0.7 m both ways."""
    door = plan.doors[k]
    p = door.passage
    if door.axis == 0:
        return Rect(p.x0 - 0.7, p.x1 + 0.7, p.z0 - 0.05, p.z1 + 0.05)
    return Rect(p.x0 - 0.05, p.x1 + 0.05, p.z0 - 0.7, p.z1 + 0.7)


def _curtains(plan: Plan, room: int, character: str) -> list[Placed]:
    if character == "bare" or plan.rooms[room].kind in ("bathroom", "kitchen"):
        return []
    floor = plan.rooms[room].floor
    out = []
    for window in plan.windows:
        if window.room == room:
            piece, aside = furniture.curtains(window.high - window.low, plan.height)
            middle = (window.low + window.high) / 2
            out += [furniture.place(piece, room, window.side, floor, middle + s * aside) for s in (-1, 1)]
    return [c for c in out if floor.contains(c.footprint)]


def _try_spot(rng: np.random.Generator, plan: Plan, room: int, piece: Piece, where: str) -> Placed | None:
    """A random place for the piece in its room, or None when it does not fit along the drawn wall."""
    floor = plan.rooms[room].floor
    side = str(rng.choice(SIDES))
    low, high = (floor.z0, floor.z1) if side in ("west", "east") else (floor.x0, floor.x1)
    across = floor.x1 - floor.x0 if side in ("west", "east") else floor.z1 - floor.z0
    slack = high - low - piece.width - 0.04
    if slack < 0 or piece.depth > across:
        return None
    along = low + 0.02 + piece.width / 2
    if where == "wall":  # half of the pieces stand in a corner
        along += slack * (float(rng.integers(2)) if rng.random() < 0.5 else float(rng.random()))
        return furniture.place(piece, room, side, floor, along, 0.0 if piece.raised else 0.01)
    room_left = across - piece.depth
    along += slack * float(rng.uniform(0.2, 0.8))
    return furniture.place(piece, room, side, floor, along, room_left * float(rng.uniform(0.2, 0.8)))


def _fits(spot: Placed, placed: list[Placed], plan: Plan, clearance: list[Rect]) -> bool:
    """Inside the room, before no door, clear of other pieces, and no tall piece before a window."""
    if not plan.rooms[spot.room].floor.contains(spot.footprint):
        return False
    if not spot.piece.flat and any(spot.footprint.overlaps(c) for c in clearance):
        return False
    top = max(b.high[1] for b in spot.boxes)
    for other in placed:
        if spot.piece.flat or other.piece.flat:
            if spot.piece.flat and other.piece.flat and spot.footprint.overlaps(other.footprint):
                return False
            continue
        hung = other.piece if other.piece.raised else spot.piece if spot.piece.raised else None
        if hung is not None and min(top, _top(other)) < 1.2:
            continue  # a low piece stands below a picture
        if spot.footprint.gap(other.footprint) < 0.03:
            return False
    return not (spot.piece.tall or top > WINDOW_SILL_M + 0.25) or not _before_window(spot, plan)


def _top(placed: Placed) -> float:
    return max(b.high[1] for b in placed.boxes)


def _before_window(spot: Placed, plan: Plan) -> bool:
    floor = plan.rooms[spot.room].floor
    f = spot.footprint
    for w in plan.windows:
        if w.room != spot.room:
            continue
        pane = {
            "west": Rect(floor.x0, floor.x0 + 0.4, w.low, w.high),
            "east": Rect(floor.x1 - 0.4, floor.x1, w.low, w.high),
            "north": Rect(w.low, w.high, floor.z0, floor.z0 + 0.4),
            "south": Rect(w.low, w.high, floor.z1 - 0.4, floor.z1),
        }[w.side]
        if f.overlaps(pane):
            return True
    return False
