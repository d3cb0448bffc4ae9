"""Furniture as closed boxes: what each kind of room holds and how the pieces look.

A piece is described in its own frame (u along the wall, v away from it, y up; metres) and then stood against a
wall or in the open. Sizes are ordinary ones; each piece is scaled by a few per cent at random.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audio_separation.scenes.generate.plan import Rect

SIDES = ("west", "east", "north", "south")


@dataclass(frozen=True)
class Box:
    """A box in its piece's frame: (u0, u1, v0, v1, y0, y1) and the surface that covers it."""

    surface: str
    span: tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Piece:
    """A piece of furniture in its own frame.

    `flat` pieces (rugs, mats) can be walked on; `tall` ones may not stand before a window; `raised` ones hang
    on the wall, and other pieces may stand below them.
    """

    name: str
    width: float
    depth: float
    boxes: tuple[Box, ...]
    flat: bool = False
    tall: bool = False
    raised: bool = False


@dataclass(frozen=True)
class PlacedBox:
    """A box in the home's frame (Habitat: y up), metres."""

    surface: str
    low: tuple[float, float, float]
    high: tuple[float, float, float]


@dataclass(frozen=True)
class Placed:
    """A piece that stands in a home: its footprint and boxes."""

    piece: Piece
    room: int
    footprint: Rect
    boxes: tuple[PlacedBox, ...]


def place(piece: Piece, room: int, side: str, floor: Rect, along: float, away: float = 0.0) -> Placed:
    """Stands a piece with its back to a side of `floor`, centred at coordinate `along` on that wall.

    Args:
        side: west (-x), east (+x), north (-z) or south (+z).
        along: z of the piece's centre for west and east, x for north and south, metres.
        away: gap between the wall and the piece's back, metres.
    """

    def rect(u0: float, u1: float, v0: float, v1: float) -> Rect:
        v0, v1 = v0 + away, v1 + away
        if side == "west":
            return Rect(floor.x0 + v0, floor.x0 + v1, along + u0, along + u1)
        if side == "east":
            return Rect(floor.x1 - v1, floor.x1 - v0, along - u1, along - u0)
        if side == "north":
            return Rect(along - u1, along - u0, floor.z0 + v0, floor.z0 + v1)
        return Rect(along + u0, along + u1, floor.z1 - v1, floor.z1 - v0)

    boxes = []
    for box in piece.boxes:
        u0, u1, v0, v1, y0, y1 = box.span
        r = rect(u0, u1, v0, v1)
        boxes.append(PlacedBox(box.surface, (r.x0, y0, r.z0), (r.x1, y1, r.z1)))
    footprint = rect(-piece.width / 2, piece.width / 2, 0.0, piece.depth)
    return Placed(piece, room, footprint, tuple(boxes))


def _legs(surface: str, w: float, d: float, top: float, thick: float = 0.05, v0: float = 0.0) -> list[Box]:
    """Four legs under a top of w x d."""
    h = w / 2
    return [
        Box(surface, (u, u + thick, v, v + thick, 0.0, top))
        for u in (-h, h - thick)
        for v in (v0, v0 + d - thick)
    ]


def _sofa(rng: np.random.Generator, surface: str = "sofa", seats: int = 0) -> Piece:
    seats = seats or int(rng.integers(2, 4))
    w, d = 0.6 * seats + 0.4, float(rng.uniform(0.82, 0.92))
    h = w / 2
    boxes = [
        Box(surface, (-h + 0.16, h - 0.16, 0.0, d, 0.08, 0.42)),
        Box(surface, (-h + 0.16, h - 0.16, 0.0, 0.22, 0.42, 0.82)),
        Box(surface, (-h, -h + 0.16, 0.0, d, 0.05, 0.60)),
        Box(surface, (h - 0.16, h, 0.0, d, 0.05, 0.60)),
    ]
    step = (w - 0.32) / seats
    for k in range(seats):
        u = -h + 0.16 + k * step
        boxes.append(Box(surface, (u + 0.02, u + step - 0.02, 0.22, d - 0.02, 0.42, 0.50)))
    return Piece("sofa" if seats > 1 else "armchair", w, d, tuple(boxes))


def _bed(rng: np.random.Generator, single: bool) -> Piece:
    w, d = 0.95 if single else float(rng.choice([1.45, 1.65])), 2.05
    h = w / 2
    boxes = [
        Box("wood", (-h, h, 0.0, 0.06, 0.0, 1.0)),
        Box("wood", (-h, h, 0.06, d, 0.10, 0.32)),
        Box("bedding", (-h + 0.02, h - 0.02, 0.06, d - 0.02, 0.32, 0.52)),
    ]
    pillows = 1 if w < 1.2 else 2
    for k in range(pillows):
        u = -h + w * (k + 0.5) / pillows
        boxes.append(Box("pillow", (u - 0.30, u + 0.30, 0.12, 0.50, 0.52, 0.64)))
    return Piece("bed", w, d, tuple(boxes))


def _table(rng: np.random.Generator, w: float, d: float, height: float, name: str) -> Piece:
    top = Box("table", (-w / 2, w / 2, 0.0, d, height - 0.04, height))
    return Piece(name, w, d, (top, *_legs("table", w - 0.1, d - 0.1, height - 0.04, v0=0.05)))


def _chair(v0: float, u: float, backwards: bool) -> list[Box]:
    """A dining chair of 0.4 x 0.4 whose near edge is at v0."""
    back = (v0, v0 + 0.05) if not backwards else (v0 + 0.35, v0 + 0.40)
    legs = [
        Box("wood", (u + a, u + a + 0.04, v0 + b, v0 + b + 0.04, 0.0, 0.44))
        for a in (-0.2, 0.16)
        for b in (0, 0.36)
    ]
    return [
        Box("wood", (u - 0.2, u + 0.2, v0, v0 + 0.40, 0.44, 0.48)),
        Box("wood", (u - 0.2, u + 0.2, back[0], back[1], 0.48, 0.92)),
        *legs,
    ]


def _dining(rng: np.random.Generator) -> Piece:
    w = float(rng.choice([0.8, 1.3]))
    boxes = [Box("table", (-w / 2, w / 2, 0.3, 1.1, 0.70, 0.74))]
    boxes += _legs("table", w - 0.06, 0.74, 0.70, 0.06, v0=0.33)
    places = (0.0,) if w < 1 else (-0.32, 0.32)
    for u in places:
        boxes += _chair(0.0, u, False) + _chair(1.0, u, True)
    return Piece("dining table", w, 1.4, tuple(boxes))


def _desk(rng: np.random.Generator) -> Piece:
    w = float(rng.uniform(1.1, 1.4))
    boxes = [
        Box("table", (-w / 2, w / 2, 0.0, 0.60, 0.70, 0.74)),
        Box("wood", (-w / 2, -w / 2 + 0.4, 0.02, 0.55, 0.0, 0.70)),
        *_legs("wood", w, 0.60, 0.70)[2:],
        Box("screen", (-0.05, 0.5, 0.12, 0.16, 0.84, 1.18)),
        *_chair(0.45, 0.2, True),
    ]
    return Piece("desk", w, 0.85, tuple(boxes))


def _shelf(rng: np.random.Generator) -> Piece:
    w, d, y1 = float(rng.uniform(0.8, 1.4)), 0.28, float(rng.uniform(1.6, 2.1))
    h = w / 2
    boxes = [
        Box("wood", (-h, -h + 0.03, 0.0, d, 0.0, y1)),
        Box("wood", (h - 0.03, h, 0.0, d, 0.0, y1)),
        Box("wood", (-h, h, 0.0, 0.02, 0.0, y1)),
    ]
    levels = int(y1 / 0.36)
    for k in range(levels + 1):
        y = k * (y1 - 0.03) / levels
        boxes.append(Box("wood", (-h + 0.03, h - 0.03, 0.02, d, y, y + 0.03)))
        if k < levels:
            full = float(rng.uniform(0.5, 1.0)) * (w - 0.08)
            boxes.append(Box("books", (-h + 0.04, -h + 0.04 + full, 0.03, d - 0.05, y + 0.03, y + 0.27)))
    return Piece("bookshelf", w, d, tuple(boxes), tall=True)


def _block(name: str, surface: str, w: float, d: float, y1: float, y0: float = 0.0, **kinds: bool) -> Piece:
    return Piece(name, w, d, (Box(surface, (-w / 2, w / 2, 0.0, d, y0, y1)),), **kinds)


def _tv(rng: np.random.Generator) -> Piece:
    boxes = (
        Box("wood", (-0.75, 0.75, 0.0, 0.38, 0.05, 0.50)),
        Box("screen", (-0.55, 0.55, 0.14, 0.18, 0.58, 1.22)),
        Box("screen", (-0.15, 0.15, 0.08, 0.24, 0.50, 0.58)),
    )
    return Piece("television", 1.5, 0.38, boxes)


def _counter(rng: np.random.Generator) -> Piece:
    w = float(rng.uniform(1.5, 2.2))
    h = w / 2
    boxes = (
        Box("cupboard", (-h, h, 0.0, 0.56, 0.08, 0.86)),
        Box("counter", (-h, h, 0.0, 0.60, 0.86, 0.90)),
        Box("appliance", (-h + 0.15, -h + 0.65, 0.08, 0.50, 0.90, 0.91)),
        Box("cupboard", (-h, h, 0.0, 0.34, 1.42, 2.08)),
    )
    return Piece("kitchen counter", w, 0.6, boxes, tall=True)


def _plant(rng: np.random.Generator) -> Piece:
    top = float(rng.uniform(0.9, 1.4))
    boxes = (
        Box("pot", (-0.14, 0.14, 0.04, 0.32, 0.0, 0.30)),
        Box("wood", (-0.02, 0.02, 0.16, 0.20, 0.30, top - 0.3)),
        Box("plant", (-0.20, 0.12, 0.02, 0.30, top - 0.45, top - 0.05)),
        Box("plant", (-0.08, 0.20, 0.08, 0.36, top - 0.30, top)),
    )
    return Piece("plant", 0.4, 0.38, boxes)


def _floor_lamp(rng: np.random.Generator) -> Piece:
    boxes = (
        Box("screen", (-0.12, 0.12, 0.05, 0.29, 0.0, 0.03)),
        Box("screen", (-0.015, 0.015, 0.155, 0.185, 0.03, 1.30)),
        Box("lamp", (-0.16, 0.16, 0.01, 0.33, 1.30, 1.58)),
    )
    return Piece("lamp", 0.32, 0.34, boxes)


def _rug(rng: np.random.Generator) -> Piece:
    w, d = float(rng.uniform(1.4, 2.2)), float(rng.uniform(1.2, 1.6))
    return _block("rug", "rug", w, d, 0.012, 0.0, flat=True)


def _bathtub(rng: np.random.Generator) -> Piece:
    boxes = (
        Box("ceramic", (-0.85, 0.85, 0.0, 0.10, 0.0, 0.58)),
        Box("ceramic", (-0.85, 0.85, 0.65, 0.75, 0.0, 0.58)),
        Box("ceramic", (-0.85, -0.75, 0.10, 0.65, 0.0, 0.58)),
        Box("ceramic", (0.75, 0.85, 0.10, 0.65, 0.0, 0.58)),
        Box("ceramic", (-0.75, 0.75, 0.10, 0.65, 0.0, 0.15)),
    )
    return Piece("bathtub", 1.7, 0.75, boxes)


def _toilet(rng: np.random.Generator) -> Piece:
    boxes = (
        Box("ceramic", (-0.19, 0.19, 0.0, 0.18, 0.0, 0.82)),
        Box("ceramic", (-0.18, 0.18, 0.18, 0.62, 0.10, 0.42)),
    )
    return Piece("toilet", 0.4, 0.62, boxes)


def _basin(rng: np.random.Generator) -> Piece:
    boxes = (
        Box("cupboard", (-0.28, 0.28, 0.0, 0.36, 0.2, 0.78)),
        Box("ceramic", (-0.32, 0.32, 0.0, 0.42, 0.78, 0.88)),
        Box("window", (-0.28, 0.28, 0.0, 0.02, 1.2, 1.8)),
    )
    return Piece("basin", 0.64, 0.42, boxes)


def _picture(rng: np.random.Generator) -> Piece:
    w, h = float(rng.uniform(0.5, 0.9)), float(rng.uniform(0.4, 0.6))
    boxes = (
        Box("wood", (-w / 2, w / 2, 0.0, 0.02, 1.5 - h / 2, 1.5 + h / 2)),
        Box("rug", (-w / 2 + 0.04, w / 2 - 0.04, 0.02, 0.025, 1.54 - h / 2, 1.46 + h / 2)),
    )
    return Piece("picture", w, 0.03, boxes, tall=True, raised=True)


def curtains(window_width: float, height: float) -> tuple[Piece, float]:
    """One curtain for either side of a window: the piece, and how far its centre is from the window's."""
    w = 0.32
    boxes = (Box("curtain", (-w / 2, w / 2, 0.02, 0.10, 0.04, min(2.35, height - 0.1))),)
    return Piece("curtain", w, 0.1, boxes, raised=True), window_width / 2 + w / 2 - 0.08


def wishes(rng: np.random.Generator, kind: str, floor: Rect, character: str) -> list[tuple[Piece, str]]:
    """What a room of this kind would like to hold, most important first: (piece, "wall" or "open").

    Args:
        floor: small rooms ask for less.
        character: soft, normal or bare (materials.CHARACTERS); bare homes have few textiles.
    """
    area, narrow = floor.area, min(floor.x1 - floor.x0, floor.z1 - floor.z0) < 2.6
    big, textiles = area > 9.0, character != "bare"
    wall, hall = "wall", kind == "hall"
    out: list[tuple[Piece, str]] = []
    if kind == "living":
        out = [(_sofa(rng), wall), (_tv(rng), wall), (_shelf(rng), wall)]
        if big and textiles:
            out.append((_sofa(rng, "armchair", 1), wall))
        if area > 13:
            out.append((_dining(rng), "open"))
        if big:
            out.append((_table(rng, 0.9, 0.5, 0.42, "coffee table"), "open"))
        out += [(_plant(rng), wall), (_floor_lamp(rng), wall)]
    elif kind == "bedroom":
        wardrobe = _block("wardrobe", "wardrobe", float(rng.uniform(1.0, 1.8)), 0.58, 2.0, tall=True)
        out = [
            (_bed(rng, narrow), wall),
            (wardrobe, wall),
            (_block("nightstand", "wood", 0.42, 0.38, 0.5), wall),
        ]
        out += [(_desk(rng), wall)] if big else [(_block("chest", "wood", 0.9, 0.28, 0.8), wall)]
        out.append((_floor_lamp(rng), wall))
    elif kind == "kitchen":
        fridge = _block("fridge", "appliance", 0.6, 0.62, 1.8, tall=True)
        out = [(_counter(rng), wall), (fridge, wall), (_dining(rng), "open")]
        out.append((_block("sideboard", "cupboard", 1.0, 0.28, 0.9), wall))
    elif kind == "bathroom":
        out = [(_bathtub(rng), wall), (_basin(rng), wall), (_toilet(rng), wall)]
        out.append((_block("cabinet", "cupboard", 0.4, 0.28, 1.6, tall=True), wall))
    elif kind == "study":
        out = [
            (_desk(rng), wall),
            (_shelf(rng), wall),
            (_shelf(rng), wall),
            (_sofa(rng, "armchair", 1), wall),
        ]
    elif kind == "dining":
        sideboard = _block("sideboard", "wood", 1.4, 0.4, 0.9)
        out = [(_dining(rng), "open"), (sideboard, wall), (_plant(rng), wall)]
    elif hall:
        out = [(_block("shoe cabinet", "wardrobe", 0.8, 0.25, 1.0), wall)]
    if textiles and kind in ("living", "bedroom", "study", "dining"):
        out.append((_rug(rng), "open"))
    pictures = 0 if kind in ("bathroom", "kitchen") else int(rng.integers(1, 3))
    return out + [(_picture(rng), wall) for _ in range(pictures)]
