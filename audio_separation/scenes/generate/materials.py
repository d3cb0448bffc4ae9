"""What surfaces are made of: acoustic properties, colours and textures.

Absorption is written as textbooks give it, a fraction of incident energy per octave band. rlr-audio-propagation
documents its numbers as fractions of pressure; measured in empty boxes, its decay follows Eyring's formula with
the same numbers taken as fractions of *energy* (6 x 5 x 2.7 m, 0.1, 0.2, 0.3: 0.95, 0.49, 0.30 s; Eyring 1.04,
0.49, 0.31 s), so they are handed over as they are. Large hard surfaces absorb a little more here than in the
textbooks: they stand for clothes, towels, lampshades and the other small things that the furniture leaves out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

BANDS_HZ = (125, 250, 500, 1000, 2000, 4000)


@dataclass(frozen=True)
class Material:
    """Energy absorption per band of BANDS_HZ and the fraction of sound scattered diffusely."""

    absorption: tuple[float, ...]
    scattering: float


MATERIALS = {
    "plaster": Material((0.04, 0.05, 0.06, 0.07, 0.07, 0.08), 0.15),
    "drywall": Material((0.20, 0.14, 0.10, 0.08, 0.08, 0.09), 0.15),
    "wallpaper": Material((0.06, 0.07, 0.08, 0.10, 0.11, 0.12), 0.15),
    "brick": Material((0.04, 0.04, 0.05, 0.06, 0.07, 0.08), 0.30),
    "panelling": Material((0.28, 0.22, 0.17, 0.10, 0.10, 0.11), 0.25),
    "concrete": Material((0.03, 0.03, 0.04, 0.05, 0.05, 0.06), 0.15),
    "ceiling": Material((0.15, 0.14, 0.13, 0.12, 0.12, 0.12), 0.20),
    "soft_ceiling": Material((0.20, 0.28, 0.35, 0.38, 0.38, 0.35), 0.25),
    "parquet": Material((0.10, 0.09, 0.08, 0.07, 0.07, 0.07), 0.15),
    "tile": Material((0.05, 0.05, 0.06, 0.07, 0.07, 0.07), 0.15),
    "linoleum": Material((0.05, 0.06, 0.06, 0.07, 0.07, 0.07), 0.15),
    "carpet": Material((0.05, 0.08, 0.20, 0.35, 0.50, 0.55), 0.30),
    "rug": Material((0.04, 0.06, 0.15, 0.30, 0.45, 0.50), 0.30),
    "glass": Material((0.30, 0.22, 0.15, 0.10, 0.07, 0.05), 0.05),
    "curtain": Material((0.15, 0.30, 0.50, 0.65, 0.70, 0.65), 0.40),
    "upholstery": Material((0.30, 0.40, 0.55, 0.65, 0.65, 0.65), 0.50),
    "bedding": Material((0.30, 0.45, 0.60, 0.70, 0.75, 0.75), 0.50),
    "wood": Material((0.15, 0.11, 0.10, 0.08, 0.08, 0.08), 0.35),
    "books": Material((0.25, 0.30, 0.35, 0.38, 0.40, 0.40), 0.70),
    "metal": Material((0.06, 0.05, 0.05, 0.05, 0.05, 0.05), 0.15),
    "ceramic": Material((0.03, 0.03, 0.04, 0.04, 0.05, 0.05), 0.20),
    "stone": Material((0.03, 0.03, 0.04, 0.04, 0.05, 0.05), 0.15),
    "foliage": Material((0.08, 0.12, 0.18, 0.24, 0.28, 0.32), 0.70),
    "plastic": Material((0.06, 0.06, 0.06, 0.06, 0.07, 0.07), 0.20),
}


@dataclass(frozen=True)
class Surface:
    """A named surface of one home: material (key of MATERIALS), colour (RGB 0..1), texture (see textures.py)."""

    name: str
    material: str
    rgb: tuple[float, float, float]
    texture: str = "plain"
    seed: int = 0


def engine_database() -> str:
    """MATERIALS as the JSON database of rlr-audio-propagation (see scenes/acoustic_materials.py).

    The engine picks the material with the most labels that are substrings of a category name; names in
    brackets contain no other name, so each category finds exactly its own. Nothing is transmitted: walls here
    are thick, and every room is reached through open doors. `damping`, `density` and `speed` describe
    transmission and are only there because the engine refuses entries without them.
    """
    entries = []
    for name, material in MATERIALS.items():
        entries.append(
            {
                "name": name,
                "labels": [f"[{name}]"],
                "absorption": _interleave(material.absorption),
                "scattering": _interleave([material.scattering] * len(BANDS_HZ)),
                "transmission": _interleave([0.0] * len(BANDS_HZ)),
                "damping": _interleave([1.0] * len(BANDS_HZ)),
                "density": 1.2,
                "speed": 343.0,
            }
        )
    return json.dumps({"materials": entries})


def _interleave(values: object) -> list[float]:
    return [float(v) for pair in zip(BANDS_HZ, np.asarray(values, float)) for v in pair]


# Wall colours that go together, one set a home: living, sleeping, wet rooms, hall
_WALLS = (
    ((0.87, 0.83, 0.74), (0.72, 0.78, 0.82), (0.86, 0.90, 0.90), (0.90, 0.88, 0.84)),
    ((0.82, 0.86, 0.78), (0.88, 0.80, 0.74), (0.80, 0.87, 0.91), (0.86, 0.86, 0.83)),
    ((0.90, 0.86, 0.80), (0.80, 0.76, 0.85), (0.90, 0.89, 0.83), (0.78, 0.82, 0.82)),
    ((0.76, 0.80, 0.84), (0.90, 0.86, 0.76), (0.82, 0.90, 0.86), (0.88, 0.84, 0.82)),
)
_FABRICS = (
    (0.55, 0.25, 0.22),
    (0.25, 0.35, 0.50),
    (0.35, 0.42, 0.30),
    (0.60, 0.52, 0.40),
    (0.42, 0.38, 0.45),
)
_WOODS = ((0.55, 0.38, 0.22), (0.70, 0.53, 0.34), (0.40, 0.27, 0.17), (0.78, 0.66, 0.48))

# What a home's rooms are clad with: character -> (walls, dry floors, ceilings); soft homes are the driest
CHARACTERS = {
    "soft": (
        ("wallpaper", "panelling", "drywall"),
        ("carpet", "carpet", "parquet"),
        ("ceiling", "soft_ceiling", "soft_ceiling"),
    ),
    "normal": (("wallpaper", "drywall", "plaster"), ("parquet", "carpet", "parquet"), ("ceiling",)),
    "bare": (("plaster", "brick", "concrete"), ("parquet", "linoleum", "tile"), ("ceiling", "plaster")),
}

_WALL_TEXTURE = {"wallpaper": "stripes", "panelling": "panels", "brick": "brick"}
_FLOOR_TEXTURE = {"parquet": "planks", "tile": "tiles", "linoleum": "checker", "carpet": "noise"}
_FLOOR_RGB = {"tile": (0.80, 0.80, 0.78), "linoleum": (0.62, 0.66, 0.62)}


def make_palette(rng: np.random.Generator, kinds: list[str], character: str) -> dict[str, Surface]:
    """Surfaces of one home: wall_k, floor_k, ceiling_k for room k, and the furniture's shared ones.

    Args:
        kinds: kind of each room.
        character: key of CHARACTERS.
    """
    walls, floors, ceilings = CHARACTERS[character]
    colours = _WALLS[rng.integers(len(_WALLS))]
    woods = [_WOODS[k] for k in rng.permutation(len(_WOODS))]
    fabrics = [_FABRICS[k] for k in rng.permutation(len(_FABRICS))]
    home_wall, home_floor, ceiling = (str(rng.choice(c)) for c in (walls, floors, ceilings))
    surfaces = []
    for k, kind in enumerate(kinds):
        wet = kind in ("bathroom", "kitchen")
        wall = home_wall if rng.random() < 0.6 else str(rng.choice(walls))
        wall = ("tile" if kind == "bathroom" else "plaster") if wet else wall
        floor = (
            ("tile" if kind == "bathroom" else str(rng.choice(["tile", "linoleum"]))) if wet else home_floor
        )
        rgb = colours[{"bathroom": 2, "kitchen": 2, "hall": 3, "living": 0, "dining": 0}.get(kind, 1)]
        rgb = {"brick": (0.66, 0.40, 0.32), "panelling": woods[1], "concrete": (0.70, 0.70, 0.68)}.get(
            wall, rgb
        )
        floor_rgb = _FLOOR_RGB.get(floor) or (
            woods[0] if floor == "parquet" else _tinted(rng, fabrics[2], 0.35)
        )
        texture = "tiles" if wall == "tile" else _WALL_TEXTURE.get(wall, "plain")
        surfaces += [
            Surface(f"wall_{k}", wall, _tinted(rng, rgb), texture, k),
            Surface(f"floor_{k}", floor, _tinted(rng, floor_rgb), _FLOOR_TEXTURE[floor], k),
            Surface(f"ceiling_{k}", ceiling, (0.93, 0.93, 0.91), "plain", k),
        ]
    surfaces += [
        Surface("trim", "wood", _tinted(rng, woods[3]), "planks"),
        Surface("window", "glass", (0.66, 0.80, 0.93), "window"),
        Surface("sofa", "upholstery", _tinted(rng, fabrics[0]), "weave", 1),
        Surface("armchair", "upholstery", _tinted(rng, fabrics[1]), "weave", 2),
        Surface("bedding", "bedding", _tinted(rng, fabrics[3], 0.3), "stripes", 3),
        Surface("pillow", "bedding", (0.92, 0.91, 0.88), "noise", 4),
        Surface("curtain", "curtain", _tinted(rng, fabrics[4], 0.25), "folds", 5),
        Surface("rug", "rug", _tinted(rng, fabrics[1], 0.15), "rug", 6),
        Surface("wood", "wood", _tinted(rng, woods[2]), "planks", 7),
        Surface("wardrobe", "wood", _tinted(rng, woods[1], 0.2), "doors", 8),
        Surface("table", "wood", _tinted(rng, woods[0]), "planks", 9),
        Surface("books", "books", (0.5, 0.4, 0.35), "books", 10),
        Surface("cupboard", "wood", (0.85, 0.85, 0.82), "doors", 11),
        Surface("counter", "stone", (0.33, 0.33, 0.36), "noise", 12),
        Surface("appliance", "metal", (0.80, 0.82, 0.84), "doors", 13),
        Surface("screen", "plastic", (0.06, 0.06, 0.08), "plain", 14),
        Surface("ceramic", "ceramic", (0.94, 0.95, 0.96), "plain", 15),
        Surface("pot", "ceramic", (0.62, 0.36, 0.24), "plain", 16),
        Surface("plant", "foliage", (0.22, 0.45, 0.20), "noise", 17),
        Surface("lamp", "curtain", (0.96, 0.90, 0.72), "plain", 18),
    ]
    return {surface.name: surface for surface in surfaces}


def _tinted(
    rng: np.random.Generator, rgb: tuple[float, ...], whiten: float = 0.0
) -> tuple[float, float, float]:
    """The colour moved a little at random and `whiten` of the way to white."""
    c = np.asarray(rgb) * (1 - whiten) + whiten
    r, g, b = np.clip(c + rng.uniform(-0.03, 0.03, 3), 0.02, 0.98)
    return round(float(r), 3), round(float(g), 3), round(float(b), 3)
