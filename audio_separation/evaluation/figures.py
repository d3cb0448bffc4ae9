"""What all figures share: how they become PNG files, and curves over training."""

from __future__ import annotations

import io
from itertools import cycle
from pathlib import Path
from typing import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# told apart by colour-blind readers too
METHOD_STYLES = (
    ("#777777", "o"), ("#33bbee", "v"), ("#ee7733", "*"), ("#0077bb", "s"), ("#009988", "D"), ("#cc3311", "^"),
    ("#aa4499", "P"), ("#ddaa33", "X"), ("#332288", "d"), ("#000000", "h"),
)  # fmt: skip


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


def methods_figure(
    methods: Mapping[str, Sequence[Sequence[Mapping[str, float]]]], panels: Mapping[str, tuple[int, str]]
) -> Figure:
    """Validations over training of several methods: a pale line for each seed, a strong one for their mean.

    Args:
        methods: name -> the lines of metrics of each seed.
        panels: metric -> factor and label of its axis; those that no method has are left out.
    """
    shown = {
        key: panel
        for key, panel in panels.items()
        if any(key in line for seeds in methods.values() for lines in seeds for line in lines)
    }
    figure = Figure(figsize=(5.5 * len(shown), 4), layout="constrained")
    rows = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, (key, (factor, label)) in zip(rows, shown.items()):
        for (name, seeds), (colour, marker) in zip(methods.items(), cycle(METHOD_STYLES)):
            curves = [series(lines, key) for lines in seeds]
            for steps, values in curves:
                axes.plot(steps, factor * values, color=colour, alpha=0.3, linewidth=0.8)
            count = min(len(steps) for steps, _ in curves)
            mean = np.mean([values[:count] for _, values in curves], 0)
            axes.plot(
                curves[0][0][:count], factor * mean, color=colour, marker=marker, markersize=4, label=name
            )
        axes.set_ylabel(label)
    return finish(figure, list(rows), "environment steps")


def finish(figure: Figure, rows: Sequence[Axes], unit: str) -> Figure:
    """Give panels a grid, the label of their x axis and, where something is labelled, a legend."""
    for axes in rows:
        axes.grid(alpha=0.3)
        axes.set_xlabel(unit)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=9)
    return figure
