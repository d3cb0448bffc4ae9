"""What all figures share: how they become PNG files, and curves over training."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def png_bytes(figure: Figure) -> bytes:
    """Draw a figure as PNG (in a notebook: ``IPython.display.Image(png_bytes(figure))``)."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(
        buffer, format="png", dpi=110, bbox_inches="tight", facecolor="white"
    )
    return buffer.getvalue()


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_bytes(figure))


def series(lines: Sequence[Mapping[str, float]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of those lines of metrics that have ``key``."""
    rows = [(line["step"], line[key]) for line in lines if key in line]
    return (np.array([r[0] for r in rows]), np.array([r[1] for r in rows], dtype=float))


def smooth(values: np.ndarray) -> np.ndarray:
    """Centred moving mean over a twentieth of the curve."""
    width = max(1, len(values) // 20) | 1
    kernel = np.ones(width)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")


def draw_curve(axes: Axes, x: np.ndarray, values: np.ndarray, label: str, colour: str) -> None:
    """A curve, pale, and its moving mean."""
    if len(x):
        axes.plot(x, values, color=colour, alpha=0.25, linewidth=0.8)
        axes.plot(x, smooth(values), color=colour, label=label)


def finish(figure: Figure, rows: Sequence[Axes], unit: str) -> Figure:
    """Give panels a grid, the label of their x axis and, where something is labelled, a legend."""
    for axes in rows:
        axes.grid(alpha=0.3)
        axes.set_xlabel(unit)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=9)
    return figure
