"""Floor plans: rooms, doors and windows of a home, drawn from a seed.

Frame: Habitat's. x right, y up, z towards the viewer, metres; the floor is y = 0. A plan is laid out on a
lattice of 1 m cells whose centres are the navigation nodes: a room covers a rectangle of cells, walls run near
the cell borders (moved by up to 0.1 m, so that no two homes share their dimensions), and every door lies on a
line of nodes, so that an agent on the 1 m grid can always walk through it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audio_separation.errors import UserError

WALL_JITTER_M = 0.1
DOOR_HEIGHT_M = 2.0
WINDOW_SILL_M = 0.9
WINDOW_TOP_M = 2.1
AGENT_RADIUS_M = 0.2
CORNER_GAP_M = 0.04  # least wall left between a door and a corner of the room


@dataclass(frozen=True)
class Preset:
    """What the homes of a preset look like: lattice sizes (cells in x, z), numbers of rooms, nodes, scenes."""

    lattices: tuple[tuple[int, int], ...]
    rooms: tuple[int, int]
    nodes: tuple[int, int]
    scenes: tuple[int, int, int]  # train, val, test
    episodes: tuple[int, int]  # per train home; per val or test home of each split
    passive_points: tuple[int, int]  # per train home; per val or test home
    sources: int  # source nodes of a home; 0 means every node
    rays: int  # indirect rays of the acoustic engine


PRESETS = {
    "mini": Preset(
        lattices=((6, 5), (7, 4), (7, 5), (6, 6), (8, 4)),
        rooms=(2, 4),
        nodes=(15, 30),
        scenes=(4, 1, 2),
        episodes=(300, 32),
        passive_points=(1200, 300),
        sources=0,
        rays=100,
    ),
    "small": Preset(
        lattices=((9, 7), (10, 7), (9, 8), (8, 8), (10, 8)),
        rooms=(4, 5),
        nodes=(40, 64),
        scenes=(16, 4, 6),
        episodes=(1000, 60),
        passive_points=(2000, 500),
        sources=16,
        rays=200,
    ),
}


def preset_named(name: str) -> Preset:
    """The preset of that name; UserError for an unknown one."""
    if name not in PRESETS:
        raise UserError(f"--preset {name}: expected one of {', '.join(PRESETS)}.")
    return PRESETS[name]


@dataclass(frozen=True)
class Rect:
    """An axis-aligned rectangle of the floor, metres."""

    x0: float
    x1: float
    z0: float
    z1: float

    @property
    def area(self) -> float:
        return (self.x1 - self.x0) * (self.z1 - self.z0)

    @property
    def centre(self) -> tuple[float, float]:
        return (self.x0 + self.x1) / 2, (self.z0 + self.z1) / 2

    def inset(self, margin: float) -> Rect:
        """The rectangle moved inwards by `margin` on each side (outwards when negative)."""
        return Rect(self.x0 + margin, self.x1 - margin, self.z0 + margin, self.z1 - margin)

    def overlaps(self, other: Rect) -> bool:
        return self.x0 < other.x1 and other.x0 < self.x1 and self.z0 < other.z1 and other.z0 < self.z1

    def contains(self, other: Rect) -> bool:
        return self.x0 <= other.x0 and other.x1 <= self.x1 and self.z0 <= other.z0 and other.z1 <= self.z1

    def distance(self, x: float, z: float) -> float:
        """Distance of a point from the rectangle; 0 inside."""
        return float(np.hypot(max(self.x0 - x, 0.0, x - self.x1), max(self.z0 - z, 0.0, z - self.z1)))

    def gap(self, other: Rect) -> float:
        """Distance between two rectangles; 0 where they meet or overlap."""
        dx = max(self.x0 - other.x1, other.x0 - self.x1, 0.0)
        dz = max(self.z0 - other.z1, other.z0 - self.z1, 0.0)
        return float(np.hypot(dx, dz))


@dataclass(frozen=True)
class Cells:
    """A rectangle of lattice cells, half open: columns i0..i1-1, rows j0..j1-1."""

    i0: int
    i1: int
    j0: int
    j1: int

    @property
    def size(self) -> tuple[int, int]:
        return self.i1 - self.i0, self.j1 - self.j0

    @property
    def count(self) -> int:
        return self.size[0] * self.size[1]


@dataclass(frozen=True)
class Room:
    """One room: its kind (living, bedroom, ...), lattice cells and inner floor rectangle."""

    index: int
    kind: str
    cells: Cells
    floor: Rect


@dataclass(frozen=True)
class Door:
    """An opening through a wall: the rooms it joins and the floor rectangle of the passage.

    axis 0: the passage runs along x (the wall stands at constant x); axis 2: along z.
    """

    rooms: tuple[int, int]
    axis: int
    passage: Rect

    @property
    def centre(self) -> tuple[float, float]:
        return self.passage.centre


@dataclass(frozen=True)
class Window:
    """A pane in an outer wall: side is one of west (-x), east (+x), north (-z), south (+z)."""

    room: int
    side: str
    low: float  # extent along the wall, metres
    high: float


@dataclass(frozen=True)
class Plan:
    """A floor plan; `outer` is the rectangle of the outer walls' centre lines, `offset` the lattice origin."""

    rooms: tuple[Room, ...]
    doors: tuple[Door, ...]
    windows: tuple[Window, ...]
    outer: Rect
    lattice: tuple[int, int]
    offset: tuple[float, float]
    height: float
    wall: float

    def room_at(self, x: float, z: float) -> int:
        """Index of the room whose floor is nearest to the point (0 distance inside)."""
        return int(np.argmin([room.floor.distance(x, z) for room in self.rooms]))

    def air(self) -> list[Rect]:
        """Floor rectangles of everything that is not wall: rooms, then door passages."""
        return [room.floor for room in self.rooms] + [door.passage for door in self.doors]


@dataclass
class _Region:
    """A rectangle under division: cells and the centre lines of its walls."""

    cells: Cells
    lines: Rect


def make_plan(rng: np.random.Generator, preset: Preset) -> Plan | None:
    """A random plan, or None when the drawn division cannot be given doors (draw again).

    Rooms come from dividing the outer rectangle again and again, the largest room first; homes of four and
    more rooms often get a corridor through the middle instead, with the rooms on both sides.
    """
    nx, nz = preset.lattices[rng.integers(len(preset.lattices))]
    if rng.random() < 0.5:
        nx, nz = nz, nx
    offset = tuple(rng.uniform(-0.5, 0.5, 2))
    height = float(np.round(rng.uniform(2.5, 2.8), 2))
    wall = float(np.round(rng.uniform(0.10, 0.15), 3))
    num_rooms = int(rng.integers(preset.rooms[0], preset.rooms[1] + 1))
    ends = rng.uniform(-WALL_JITTER_M, WALL_JITTER_M, 4)
    lines = Rect(offset[0] + ends[0], offset[0] + nx + ends[1], offset[1] + ends[2], offset[1] + nz + ends[3])
    whole = _Region(Cells(0, nx, 0, nz), lines)
    corridor = num_rooms >= 4 and min(nx, nz) >= 7 and rng.random() < 0.6
    divided = (
        _with_corridor(rng, whole, num_rooms, offset)
        if corridor
        else _divide(rng, [whole], num_rooms, offset)
    )
    if divided is None:
        return None
    regions, hall = divided
    kinds = _room_kinds(rng, regions, hall)
    rooms = tuple(
        Room(k, kinds[k], region.cells, region.lines.inset(wall / 2)) for k, region in enumerate(regions)
    )
    doors = _make_doors(rng, rooms, hall, offset)
    if doors is None:
        return None
    windows = _make_windows(rng, rooms, lines.inset(wall / 2))
    return Plan(rooms, doors, windows, lines, (nx, nz), (offset[0], offset[1]), height, wall)


def _cut(region: _Region, axis: int, at: int, line: float) -> tuple[_Region, _Region]:
    """Divides a region at cell border `at`, with the wall's centre line at `line` metres."""
    c, r = region.cells, region.lines
    if axis == 0:
        return (
            _Region(Cells(c.i0, at, c.j0, c.j1), Rect(r.x0, line, r.z0, r.z1)),
            _Region(Cells(at, c.i1, c.j0, c.j1), Rect(line, r.x1, r.z0, r.z1)),
        )
    return (
        _Region(Cells(c.i0, c.i1, c.j0, at), Rect(r.x0, r.x1, r.z0, line)),
        _Region(Cells(c.i0, c.i1, at, c.j1), Rect(r.x0, r.x1, line, r.z1)),
    )


def _divide(
    rng: np.random.Generator, regions: list[_Region], count: int, offset: tuple[float, ...]
) -> tuple[list[_Region], int] | None:
    """Divides the largest region across its longer side until there are `count`; sides stay >= 2 cells."""
    regions = list(regions)
    while len(regions) < count:
        region = max(regions, key=lambda r: r.cells.count)
        axis = 0 if region.cells.size[0] >= region.cells.size[1] else 2
        low, high = (region.cells.i0, region.cells.i1) if axis == 0 else (region.cells.j0, region.cells.j1)
        least = max(2, round(0.35 * (high - low)))
        if high - low < 2 * least:
            return None
        at = int(rng.integers(low + least, high - least + 1))
        line = offset[0 if axis == 0 else 1] + at + rng.uniform(-WALL_JITTER_M, WALL_JITTER_M)
        regions.remove(region)
        regions.extend(_cut(region, axis, at, line))
    return regions, -1


def _with_corridor(
    rng: np.random.Generator, whole: _Region, count: int, offset: tuple[float, ...]
) -> tuple[list[_Region], int] | None:
    """A corridor one cell wide across the middle, `count` - 1 rooms on its two sides; corridor comes first."""
    nx, nz = whole.cells.size
    axis = 2 if nx >= nz else 0  # the corridor's walls stand at constant z (2) or x (0)
    across = nz if axis == 2 else nx
    at = int(rng.integers(3, across - 3))
    origin = offset[1 if axis == 2 else 0]
    # 0.1 m wider than its cell on both sides: about 1.1 m clear
    first, rest = _cut(whole, axis, at, origin + at - WALL_JITTER_M)
    corridor, second = _cut(rest, axis, at + 1, origin + at + 1 + WALL_JITTER_M)
    sides = sorted((first, second), key=lambda r: -r.cells.count)
    rooms = count - 1
    shares = (rooms - rooms // 2, rooms // 2)
    parts = []
    for side, share in zip(sides, shares):
        done = _divide(rng, [side], share, offset)
        if done is None:
            return None
        parts.extend(done[0])
    return [corridor, *parts], 0


def _room_kinds(rng: np.random.Generator, regions: list[_Region], hall: int) -> list[str]:
    """Largest room: living. Smallest: bathroom (from three rooms on). Then kitchen, bedrooms, study, dining."""
    kinds = [""] * len(regions)
    if hall >= 0:
        kinds[hall] = "hall"
    order = sorted((k for k in range(len(regions)) if k != hall), key=lambda k: -regions[k].cells.count)
    kinds[order.pop(0)] = "living"
    if len(order) >= 2:
        kinds[order.pop()] = "bathroom"
    wanted = ["bedroom", "kitchen", str(rng.choice(["study", "bedroom", "dining"]))]
    if len(order) == 1 and rng.random() < 0.4:
        wanted = ["kitchen"]
    for k, kind in zip(order, wanted):
        kinds[k] = kind
    return kinds


def _shared_wall(a: Room, b: Room) -> tuple[int, float, list[int]] | None:
    """Where two rooms meet: (axis, sign of b relative to a, lattice lines common to both), or None."""
    for axis in (0, 2):
        if axis == 0:
            touch = {a.cells.i1 == b.cells.i0: 1.0, b.cells.i1 == a.cells.i0: -1.0}.get(True)
            low, high = max(a.cells.j0, b.cells.j0), min(a.cells.j1, b.cells.j1)
        else:
            touch = {a.cells.j1 == b.cells.j0: 1.0, b.cells.j1 == a.cells.j0: -1.0}.get(True)
            low, high = max(a.cells.i0, b.cells.i0), min(a.cells.i1, b.cells.i1)
        if touch is not None and high > low:
            return axis, touch, list(range(low, high))
    return None


def _make_door(rng: np.random.Generator, a: Room, b: Room, offset: tuple[float, ...]) -> Door | None:
    """A door 0.8-1.0 m wide between two rooms, on a line of nodes, clear of the corners; None if none fits."""
    shared = _shared_wall(a, b)
    if shared is None:
        return None
    axis, sign, node_lines = shared
    first, second = (a, b) if sign > 0 else (b, a)
    if axis == 0:
        low, high = max(a.floor.z0, b.floor.z0), min(a.floor.z1, b.floor.z1)
    else:
        low, high = max(a.floor.x0, b.floor.x0), min(a.floor.x1, b.floor.x1)
    half = rng.uniform(0.8, 1.0) / 2
    for line in rng.permutation(node_lines):
        node = offset[1 if axis == 0 else 0] + float(line) + 0.5
        slack = half - AGENT_RADIUS_M - 0.05
        least, most = (
            max(low + CORNER_GAP_M + half, node - slack),
            min(high - CORNER_GAP_M - half, node + slack),
        )
        if least > most:
            continue
        centre = rng.uniform(least, most)
        if axis == 0:
            passage = Rect(first.floor.x1, second.floor.x0, centre - half, centre + half)
        else:
            passage = Rect(centre - half, centre + half, first.floor.z1, second.floor.z0)
        return Door((a.index, b.index), axis, passage)
    return None


def _make_doors(
    rng: np.random.Generator, rooms: tuple[Room, ...], hall: int, offset: tuple[float, ...]
) -> tuple[Door, ...] | None:
    """Doors such that every room can be reached: through the hall where it touches, else a random tree."""
    pairs = [(a, b) for a in range(len(rooms)) for b in range(a + 1, len(rooms))]
    rng.shuffle(pairs)
    pairs.sort(key=lambda p: hall not in p)  # stable: the hall's walls are tried first
    group = list(range(len(rooms)))
    doors = []
    for a, b in pairs:
        joined = group[a] == group[b]
        if joined and rng.random() > 0.25:
            continue
        if joined and "bathroom" in (rooms[a].kind, rooms[b].kind):
            continue
        door = _make_door(rng, rooms[a], rooms[b], offset)
        if door is None:
            continue
        doors.append(door)
        old = group[b]
        group = [group[a] if g == old else g for g in group]
    return tuple(doors) if len(set(group)) == 1 else None


def _make_windows(rng: np.random.Generator, rooms: tuple[Room, ...], inner: Rect) -> tuple[Window, ...]:
    """One or two windows in the outer walls of every room but the hall."""
    windows = []
    for room in rooms:
        if room.kind == "hall":
            continue
        f = room.floor
        outside = [
            (side, span)
            for side, at, edge, span in (
                ("west", f.x0, inner.x0, (f.z0, f.z1)),
                ("east", f.x1, inner.x1, (f.z0, f.z1)),
                ("north", f.z0, inner.z0, (f.x0, f.x1)),
                ("south", f.z1, inner.z1, (f.x0, f.x1)),
            )
            if abs(at - edge) < 1e-6
        ]
        wanted = 1 if room.kind == "bathroom" else int(rng.integers(1, 3))
        for k in rng.permutation(len(outside))[:wanted]:
            side, (low, high) = outside[k]
            width = float(rng.uniform(0.5, 0.7) if room.kind == "bathroom" else rng.uniform(1.0, 1.6))
            width = min(width, high - low - 0.6)
            centre = rng.uniform(low + width / 2 + 0.25, high - width / 2 - 0.25)
            windows.append(Window(room.index, side, centre - width / 2, centre + width / 2))
    return tuple(windows)
