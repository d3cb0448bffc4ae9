"""Pictures of a generated home for people: the furnished plan with its graph, and a sheet of views."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from audio_separation.scenes.generate.home import Home
from audio_separation.scenes.generate.mesh import HomeMesh
from audio_separation.scenes.generate.views import ROTATIONS, ViewRenderer


def draw_plan(home: Home, path: Path, title: str = "") -> None:
    """Writes the floor plan seen from above (x right, z down) as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    outer = home.plan.outer.inset(-home.plan.wall / 2)
    figure = Figure(figsize=(outer.x1 - outer.x0, outer.z1 - outer.z0))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.02, 0.02, 0.96, 0.92))

    def fill(x0: float, x1: float, z0: float, z1: float, colour: Any, **more: Any) -> None:
        axes.add_patch(Rectangle((x0, z0), x1 - x0, z1 - z0, facecolor=colour, **more))

    fill(outer.x0, outer.x1, outer.z0, outer.z1, "0.25")
    for room in home.plan.rooms:
        f = room.floor
        fill(f.x0, f.x1, f.z0, f.z1, home.palette[f"floor_{room.index}"].rgb)
        axes.text(*f.centre, f"{room.kind}\n{f.area:.0f} m²", ha="center", va="center", fontsize=11)
    for door in home.plan.doors:
        p = door.passage
        fill(p.x0, p.x1, p.z0, p.z1, home.palette["trim"].rgb)
    for w in home.plan.windows:
        f, t = home.plan.rooms[w.room].floor, home.plan.wall
        at = {
            "west": (f.x0 - t, f.x0),
            "east": (f.x1, f.x1 + t),
            "north": (f.z0 - t, f.z0),
            "south": (f.z1, f.z1 + t),
        }
        span = at[w.side]
        fill(
            *((*span, w.low, w.high) if w.side in ("west", "east") else (w.low, w.high, *span)),
            "lightskyblue",
        )
    for placed in sorted(home.furniture, key=lambda p: max(b.high[1] for b in p.boxes)):
        for box in placed.boxes:
            rgb = home.palette[box.surface].rgb
            fill(box.low[0], box.high[0], box.low[2], box.high[2], rgb, edgecolor="0.3", linewidth=0.4)
    points = home.positions
    for a, b in home.edges:
        axes.plot(points[[a, b], 0], points[[a, b], 2], color="crimson", linewidth=1, alpha=0.6)
    axes.plot(points[:, 0], points[:, 2], "o", color="crimson", markersize=4)
    axes.set(xlim=(outer.x0 - 0.1, outer.x1 + 0.1), ylim=(outer.z1 + 0.1, outer.z0 - 0.1), aspect="equal")
    axes.axis("off")
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=80)


def draw_views(home: Home, mesh: HomeMesh, path: Path, nodes: int = 6) -> None:
    """Writes a sheet: one row a node, for the four rotations RGB and depth side by side, as PNG."""
    from PIL import Image

    renderer = ViewRenderer(home, mesh)
    chosen = np.unique(np.linspace(0, len(home.positions) - 1, nodes).round().astype(int))
    rows = []
    for node in chosen:
        row = []
        for rotation in ROTATIONS:
            view = renderer.view(home.positions[node], rotation)
            depth = np.repeat((255 * view["depth"]).astype(np.uint8), 3, axis=2)
            row += [view["rgb"], depth]
        rows.append(np.concatenate(row, axis=1))
    Image.fromarray(np.concatenate(rows, axis=0)).save(path)
