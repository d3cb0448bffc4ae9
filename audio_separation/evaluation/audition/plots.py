"""Figures of the audition report: an episode from above and step by step, and what happened over training."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from audio_separation.evaluation.audition.playback import EAR_COLOURS, SOURCE_COLOUR, label_side
from audio_separation.evaluation.audition.recording import AuditionRecording
from audio_separation.evaluation.figures import draw_curve, finish, series, smooth

TIME_MAP = "viridis"
BLUE, ORANGE, GREY = "#0077bb", "#ee7733", "#777777"
TERMS = {  # told apart by colour-blind readers too
    "step": ("#777777", "o"),
    "turn": ("#33bbee", "v"),
    "found": ("#ee7733", "*"),
    "closest": ("#0077bb", "s"),
    "progress": ("#009988", "D"),
}


# ---- one episode --------------------------------------------------------------------------------------
def path_figure(recording: AuditionRecording, title: str) -> Figure:
    """The room from above with the agent's path, an arrow for each heading, and when each source was turned off."""
    corners = recording.corners
    width, height = np.ptp(corners, axis=0)
    scale = 6.0 / max(width, height)
    figure = Figure(figsize=(width * scale + 1.8, height * scale + 1.6), layout="constrained")
    axes = figure.subplots()
    axes.add_patch(Polygon(corners, closed=True, facecolor="#f7f7f7", edgecolor="black", linewidth=2.5))
    _draw_sources(axes, recording)
    _draw_path(figure, axes, recording)
    axes.set_aspect("equal")
    axes.set_xlim(corners[:, 0].min() - 0.2, corners[:, 0].max() + 0.2)
    axes.set_ylim(corners[:, 1].min() - 0.2, corners[:, 1].max() + 0.2)
    axes.set_xlabel("x (m)")
    axes.set_ylabel("y (m)")
    axes.set_title(title, fontsize=11)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def _draw_sources(axes: Axes, recording: AuditionRecording) -> None:
    labelled = set()
    for s, (place, step) in enumerate(zip(recording.sources, recording.found_at)):
        label = "source, never turned off" if step is None else "source, turned off"
        face = SOURCE_COLOUR if step is None else "white"
        axes.add_patch(
            Circle(place, recording.radius_m, fill=False, edgecolor=SOURCE_COLOUR, linestyle="--", zorder=2)
        )
        axes.scatter(
            place[0], place[1], 110, face, edgecolors=SOURCE_COLOUR, linewidths=2, zorder=7,
            label=None if label in labelled else label,
        )  # fmt: skip
        labelled.add(label)
        words = f"{s + 1}: {recording.clips[s]}" + ("" if step is None else f"\noff after step {step}")
        side = label_side(recording, s)
        axes.annotate(
            words, (place[0], place[1] + side * (recording.radius_m + 0.08)), ha="center",
            va="bottom" if side > 0 else "top", fontsize=9, zorder=9,
            path_effects=[withStroke(linewidth=3, foreground="white", alpha=0.8)],
        )  # fmt: skip


def _draw_path(figure: Figure, axes: Axes, recording: AuditionRecording) -> None:
    places, last = recording.positions, max(len(recording.actions), 1)
    steps = np.arange(len(places))
    links = LineCollection(
        list(zip(places[:-1], places[1:])), array=steps[:-1], cmap=TIME_MAP, linewidths=2, zorder=4
    )
    links.set_clim(0, last)
    axes.add_collection(links)
    angles = np.deg2rad(recording.headings_deg)
    arrows = axes.quiver(
        *places.T, 0.28 * np.cos(angles), 0.28 * np.sin(angles), steps, cmap=TIME_MAP, angles="xy",
        scale_units="xy", scale=1, width=0.006, clim=(0, last), zorder=5,
    )  # fmt: skip
    axes.plot(
        *places[0], "s", color="black", markerfacecolor="none", markersize=11, zorder=8, label="start",
        linestyle="none",
    )  # fmt: skip
    turn = angles[-1]
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    for ear, colour, name in zip(recording.ears, EAR_COLOURS, recording.ear_names):
        x, y = places[-1] + spin @ ear
        axes.scatter(x, y, 26, colour, zorder=8, label=f"{name} ear at the end")
    figure.colorbar(
        arrows, ax=axes, label="step; arrows show the heading", shrink=0.8, ticks=MaxNLocator(integer=True)
    )


def steps_figure(recording: AuditionRecording, title: str) -> Figure:
    """Reward of every step by term, the sum so far, and the distance to the nearest source that sounds."""
    figure = Figure(figsize=(9, 7), layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, sharex=True)
    steps = np.arange(1, len(recording.actions) + 1)
    totals = np.array([sum(terms.values()) for terms in recording.rewards])
    top.bar(steps, totals, color="#dddddd", label="total")
    for name, (colour, marker) in TERMS.items():
        values = np.array([terms[name] for terms in recording.rewards])
        given = values != 0
        if given.any():
            top.scatter(steps[given], values[given], 16, colour, marker=marker, label=name, zorder=3)
    top.set_yscale("symlog", linthresh=1)
    top.yaxis.set_major_formatter(ScalarFormatter())
    top.set_ylabel("reward of a step\n(linear within ±1)")
    middle.plot(np.cumsum([0.0, *totals]), color=BLUE)
    middle.set_ylabel("reward so far")
    gaps = np.hypot(*(recording.positions[:, None] - recording.sources).transpose(2, 0, 1))  # [T + 1, S]
    nearest = np.where(recording.active, gaps, np.inf).min(1)
    bottom.plot(np.where(np.isfinite(nearest), nearest, np.nan), color="black", label="nearest source")
    bottom.axhline(recording.radius_m, color=SOURCE_COLOUR, linestyle="--", label="turned off within")
    for s, step in enumerate(recording.found_at):
        if step is not None:
            bottom.axvline(step, color=TERMS["found"][0], linewidth=1, zorder=1)
            bottom.annotate(
                f" {s + 1} off", (step, 0.03), xycoords=("data", "axes fraction"), fontsize=9,
                ha="right" if 2 * step > len(steps) else "left",
            )  # fmt: skip
    bottom.set_ylabel("distance (m)")
    bottom.set_ylim(bottom=0)
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    bottom.set_xlabel("step")
    for axes in (top, bottom):
        _legend_above(axes)
    for axes in (top, middle, bottom):
        axes.grid(alpha=0.3)
    figure.suptitle(title, fontsize=11)
    return figure


def _legend_above(axes: Axes) -> None:
    axes.legend(ncols=6, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), fontsize=9)


# ---- training -----------------------------------------------------------------------------------------
def _column(episodes: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    return np.array([episode[key] for episode in episodes], dtype=float)


def rewards_figure(episodes: Sequence[Mapping[str, Any]]) -> Figure:
    """Rewards and steps of the training's episodes (lines of ``episodes.jsonl``), raw and smoothed."""
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True).ravel()
    reward, mean, terms, length = panels
    number = np.arange(1, len(episodes) + 1)
    steps, rewards = _column(episodes, "steps"), _column(episodes, "reward")
    draw_curve(reward, number, rewards, "moving mean", BLUE)
    reward.set_ylabel("reward of an episode")
    draw_curve(mean, number, rewards / steps, "moving mean", BLUE)
    mean.set_ylabel("reward per step")
    for name, (colour, _) in TERMS.items():
        values = np.array([episode["reward_terms"][name] for episode in episodes], dtype=float)
        if values.any():
            terms.plot(number, smooth(values), color=colour, label=name)
    terms.set_ylabel("terms of an episode's reward,\nmoving mean")
    draw_curve(length, number, steps, "moving mean", BLUE)
    length.set_ylabel("steps of an episode")
    length.set_ylim(bottom=0)
    finish(figure, panels.tolist(), "training episode")
    _legend_above(terms)
    return figure


def distance_figure(episodes: Sequence[Mapping[str, Any]]) -> Figure:
    """Distance at the start against steps to all sources; episodes that did not reach all are told apart."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    distance, steps = _column(episodes, "initial_distance_m"), _column(episodes, "steps")
    success = _column(episodes, "success") > 0
    axes.scatter(
        distance[~success], steps[~success], 22, ORANGE, marker="x", linewidths=1, alpha=0.7,
        label=f"not all reached ({(~success).sum()})",
    )  # fmt: skip
    axes.scatter(
        distance[success], steps[success], 22, BLUE, alpha=0.6, edgecolors="none",
        label=f"all sources reached ({success.sum()})",
    )  # fmt: skip
    axes.set_ylabel("steps")
    axes.set_ylim(bottom=0)
    finish(figure, [axes], "distance to the nearest source at the start (m)")
    _legend_above(axes)
    return figure


def found_figure(
    episodes: Sequence[Mapping[str, Any]], metrics: Sequence[Mapping[str, float]], num_sources: int
) -> Figure:
    """Sources found in each training episode, and the rate of successes, there and in validation."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    found, success = panels
    steps = _column(episodes, "env_step")
    values = _column(episodes, "found")
    found.plot(steps, values, ".", color=BLUE, alpha=0.25, markersize=4, label="an episode")
    found.plot(steps, smooth(values), color=BLUE, label="moving mean")
    found.set_ylabel(f"sources found, of {num_sources}")
    found.set_ylim(-0.1, num_sources + 0.1)
    found.yaxis.set_major_locator(MaxNLocator(integer=True))
    success.plot(steps, 100 * smooth(_column(episodes, "success")), color=BLUE, label="training, moving mean")
    validated, rate = series(metrics, "val/success")
    if len(validated):
        success.plot(validated, 100 * rate, "o-", color=ORANGE, markersize=4, label="validation")
    success.set_ylabel("episodes with all sources found (%)")
    success.set_ylim(-3, 103)
    finish(figure, panels.tolist(), "environment steps")
    for axes in panels:
        _legend_above(axes)
    return figure


def separation_figure(metrics: Sequence[Mapping[str, float]]) -> Optional[Figure]:
    """Scores of the separator at each validation; None where there are none."""
    curves = {
        "separator/si_sdr_improvement_db": ("SI-SDR above the mixture's", BLUE, "o"),
        "separator/si_sdr_db": ("SI-SDR", ORANGE, "s"),
        "separator/si_sir_db": ("SI-SIR", "#009988", "D"),
    }
    drawn = {key: series(metrics, key) for key in curves}
    if not any(len(steps) for steps, _ in drawn.values()):
        return None
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for key, (label, colour, marker) in curves.items():
        if len(drawn[key][0]):
            axes.plot(*drawn[key], marker=marker, markersize=4, color=colour, label=label)
    axes.axhline(0, color="black", linewidth=0.8, linestyle=":")
    axes.set_ylabel("first sounds of validation (dB)")
    return finish(figure, [axes], "environment steps")


def learning_figure(metrics: Sequence[Mapping[str, float]]) -> Optional[Figure]:
    """Loss, values and epsilon of the Q-learning; None where there are none."""
    kept = {
        "policy/loss": "loss",
        "policy/q_mean": "mean Q-value\n(of scaled rewards)",
        "policy/epsilon": "epsilon",
    }
    kept = {key: label for key, label in kept.items() if len(series(metrics, key)[0])}
    if not kept:
        return None
    figure = Figure(figsize=(3.7 * len(kept), 3.4), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(kept)))
    for axes, (key, label) in zip(panels, kept.items()):
        if key == "policy/epsilon":
            axes.plot(*series(metrics, key), color=BLUE)
            axes.set_ylim(0, 1)
        else:
            draw_curve(axes, *series(metrics, key), "moving mean", BLUE)
        axes.set_ylabel(label)
    return finish(figure, panels.tolist(), "environment steps")
