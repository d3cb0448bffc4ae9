"""Figures of the report. They are drawn without pyplot: nothing global changes, no display is needed."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from audio_separation.audio.stft import HOP, RATE
from audio_separation.envs.rewards import REWARD_SCALE
from audio_separation.envs.simulator import heading_vectors
from audio_separation.evaluation.figures import draw_curve, finish, series
from audio_separation.evaluation.results import episode_mean
from audio_separation.scenes.graph import NavGraph

COLOURS = {  # told apart by colour-blind readers too
    "silence": "#bbbbbb",
    "mixture": "#777777",
    "passive": "#0077bb",
    "refined": "#cc3311",
    "refined_causal": "#ee7733",
}
TIME_MAP = "viridis"
DYNAMIC_RANGE_DB = 60.0  # of the spectrograms


# ---- one episode ------------------------------------------------------------------------------------------
def map_figure(
    graph: NavGraph, way: np.ndarray, rotations: np.ndarray, sources: np.ndarray, title: str
) -> Figure:
    """The scene from above with the agent's way.

    Args:
        way: positions ``[T, 2]``, x and z in metres.
        rotations: degrees ``[T]``.
        sources: node indices ``[S, T]``; source 0 is the target.
    """
    plane = graph.positions[:, [0, 2]]
    edges = [(plane[v], plane[w]) for v, others in enumerate(graph.neighbours) for w in others if v < w]
    spacing = float(np.median([np.hypot(*(a - b)) for a, b in edges])) if edges else 1.0
    width, height = np.clip(1.1 * np.ptp(plane, axis=0) / spacing, 4, 12)
    figure = Figure(figsize=(width + 2, height + 1.5), layout="constrained")
    axes = figure.subplots()
    axes.add_collection(LineCollection(edges, colors="#dddddd", linewidths=1, zorder=1))
    axes.scatter(plane[:, 0], plane[:, 1], 14, "#bbbbbb", zorder=2, label="nodes")
    _draw_sources(axes, plane, sources)
    _draw_way(figure, axes, way, rotations, spacing)
    axes.set_aspect("equal")
    axes.margins(0.08)
    axes.invert_yaxis()  # rotation 0 faces -z: up
    axes.set_xlabel("x (m)")
    axes.set_ylabel("z (m)")
    axes.set_title(title)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


def _draw_sources(axes: Axes, plane: np.ndarray, sources: np.ndarray) -> None:
    for s, way in enumerate(sources):
        target = s == 0
        marker, size, colour = ("*", 420, "#ddaa33") if target else ("X", 150, "#994455")
        label = "target" if target else ("distractor" if s == 1 else None)
        x, z = plane[way].T
        axes.scatter(x[:1], z[:1], size, colour, marker=marker, edgecolors="black", zorder=4, label=label)
        if len(set(way.tolist())) > 1:
            axes.plot(x, z, linestyle=":", color=colour, zorder=3)


def _draw_way(figure: Figure, axes: Axes, points: np.ndarray, rotations: np.ndarray, spacing: float) -> None:
    num_steps = len(points)
    # each second a little aside, clockwise round the node, so that turns and second visits stay visible
    angle = 2 * np.pi * np.arange(num_steps) / max(num_steps, 1)
    points = points + 0.25 * spacing * np.stack([np.sin(angle), -np.cos(angle)], 1)
    time = np.arange(num_steps)
    links = LineCollection(
        list(zip(points[:-1], points[1:])), array=time[:-1], cmap=TIME_MAP, linewidths=1.5, zorder=5
    )
    links.set_clim(0, max(num_steps - 1, 1))
    axes.add_collection(links)
    forward, _ = heading_vectors(rotations)
    arrows = axes.quiver(
        *points.T, *(0.25 * spacing * forward).T, time, cmap=TIME_MAP, angles="xy", scale_units="xy", scale=1,
        units="inches", width=0.025, zorder=6, clim=(0, max(num_steps - 1, 1)),
    )  # fmt: skip
    axes.plot(*points[0], "s", color="black", markerfacecolor="none", markersize=9, zorder=7, label="start")
    label = "time (s); arrows show the heading"
    figure.colorbar(arrows, ax=axes, label=label, shrink=0.8, ticks=MaxNLocator(integer=True))


def steps_figure(record: Mapping[str, Any], title: str) -> Figure:
    """Error of each method and reward of each action over an episode, of a record of ``episode_record``."""
    figure = Figure(figsize=(8, 6.5), layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, sharex=True)
    # an untrained memory changes nothing: thin on wide and dashes last keep equal lines apart
    looks = {
        "mixture": ("-", 1.5),
        "passive": ("-", 3.5),
        "refined": ("-", 1.5),
        "refined_causal": ("--", 1.5),
    }
    for axes, metric, label in (
        (top, "stft_l2", "STFT-L2 (lower is better)"),
        (middle, "si_sdr_db", "SI-SDR (dB)"),
    ):
        for method, (line, width) in looks.items():
            values = [np.nan if v is None else v for v in record["scores"][method][metric]]
            axes.plot(values, line, linewidth=width, color=COLOURS[method], marker=".", label=method)
        axes.set_ylabel(label)
    causal = np.array(record["scores"]["refined_causal"]["stft_l2"], dtype=float)
    reward = -2 * causal[1:] / REWARD_SCALE  # of the action that led to that second
    bottom.bar(
        np.arange(len(reward)), reward, color=COLOURS["refined_causal"], label="reward of the action at t"
    )
    bottom.set_ylabel("reward")
    distance = bottom.twinx()
    distance.plot(record["target_distance_m"], color="black", linewidth=1, label="distance to the target")
    distance.set_ylabel("distance (m)")
    distance.set_ylim(bottom=0)
    bottom.set_xlabel("time (s)")
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle(title)
    top.legend(ncols=4, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), fontsize=9)
    both = [axes.get_legend_handles_labels() for axes in (bottom, distance)]
    bottom.legend(
        both[0][0] + both[1][0], both[0][1] + both[1][1], ncols=2, frameon=False, loc="lower left",
        bbox_to_anchor=(0, 1), fontsize=9,
    )  # fmt: skip
    for axes in (top, middle, bottom):
        axes.grid(alpha=0.3)
    return figure


def spectrogram_figure(spectrograms: Mapping[str, np.ndarray], title: str) -> Figure:
    """Spectrograms under each other, in dB below their group's loudest point.

    Args:
        spectrograms: name -> magnitudes ``[F, T * N]``. Those whose name begins with the same word share
            one colour scale.
    """
    figure = Figure(figsize=(10, 1.9 * len(spectrograms) + 0.6), layout="constrained")
    rows = np.atleast_1d(figure.subplots(len(spectrograms), 1, sharex=True))
    peaks: dict[str, float] = {}
    for name, mag in spectrograms.items():
        peaks[name.split()[0]] = max(peaks.get(name.split()[0], 1e-12), float(mag.max()))
    image = None
    for axes, (name, mag) in zip(rows, spectrograms.items()):
        level_db = 20 * np.log10(np.maximum(mag, 1e-12) / peaks[name.split()[0]])
        seconds = mag.shape[1] / (RATE // HOP + 1)  # 32 frames a second
        image = axes.imshow(
            level_db, origin="lower", aspect="auto", extent=(0, seconds, 0, RATE / 2000), cmap="magma",
            vmin=-DYNAMIC_RANGE_DB, vmax=0, interpolation="nearest",
        )  # fmt: skip
        axes.set_title(name, fontsize=9, loc="left", pad=3)
        axes.set_ylabel("kHz")
    rows[-1].set_xlabel("time (s)")
    figure.suptitle(title)
    if image is not None:
        figure.colorbar(image, ax=list(rows), label="dB below the peak", shrink=0.6)
    return figure


def spread_figure(episodes: Mapping[str, Sequence[Mapping[str, Any]]], metric: str) -> Figure:
    """How a metric spreads over episodes: one panel a split, one box a method.

    Args:
        episodes: title -> records of ``episodes.json``.
    """
    figure = Figure(figsize=(5 * len(episodes), 4), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(episodes), sharey=True))
    methods = ("mixture", "passive", "refined_causal", "refined")
    for axes, (title, records) in zip(panels, episodes.items()):
        columns = [
            [episode_mean(record["scores"][method][metric]) for record in records] for method in methods
        ]
        axes.boxplot([[v for v in column if v is not None] for column in columns], showmeans=True)
        axes.set_xticks(range(1, len(methods) + 1), methods, rotation=15)
        axes.set_title(f"{title}: {len(records)} episodes", fontsize=10)
        axes.grid(alpha=0.3, axis="y")
    panels[0].set_ylabel(f"{metric}, mean of an episode")
    return figure


# ---- training ---------------------------------------------------------------------------------------------
def learning_figure(
    metrics: Sequence[Mapping[str, float]], choice: Optional[Mapping[str, Any]] = None
) -> Figure:
    """Learning curves of the active training (``metrics.jsonl``), with the validation where there is one.

    Args:
        choice: the content of ``best.json``.
    """
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    panels = figure.subplots(2, 2)
    reward, error, policy, validation = panels.ravel()
    draw_curve(reward, *series(metrics, "rollout/reward"), "reward of an episode", COLOURS["refined"])
    reward.set_title("training: reward", fontsize=10)
    draw_curve(error, *series(metrics, "rollout/passive_stft_l2"), "passive", COLOURS["passive"])
    draw_curve(
        error, *series(metrics, "rollout/refined_stft_l2"), "refined, causal", COLOURS["refined_causal"]
    )
    error.set_title("training: STFT-L2 (lower is better)", fontsize=10)
    draw_curve(policy, *series(metrics, "policy/entropy"), "entropy (nats)", "#009988")
    draw_curve(
        policy, *series(metrics, "policy/explained_variance"), "explained variance of the critic", "#aa3377"
    )
    policy.set_title("policy", fontsize=10)
    if choice is not None:
        _draw_validation(validation, choice)
    else:
        validation.set_axis_off()
        validation.text(0.5, 0.5, "not validated yet", ha="center", va="center", color="#777777")
    return finish(figure, panels.ravel().tolist(), "updates")


def _draw_validation(axes: Axes, choice: Mapping[str, Any]) -> None:
    candidates = choice["candidates"]
    number = [int(c["checkpoint"].rsplit("/", 1)[-1].split(".")[1]) for c in candidates]
    spread = [c["ci95"] or 0.0 for c in candidates]
    axes.errorbar(
        number, [c["value"] for c in candidates], spread, color=COLOURS["refined"], marker="o", capsize=3,
        linewidth=1, label="refined, 95 % interval",
    )  # fmt: skip
    best = [c["checkpoint"] for c in candidates].index(choice["checkpoint"])
    axes.plot(
        number[best], candidates[best]["value"], "*", color="#ddaa33", markersize=16, label="best", zorder=5
    )
    axes.set_title(f"validation on {choice['split']}: {choice['metric']}", fontsize=10)


def validation_figure(choice: Mapping[str, Any]) -> Figure:
    """Scores of all checkpoints on the validation split, the best one starred (content of ``best.json``)."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    _draw_validation(axes, choice)
    return finish(figure, [axes], "updates")


def pretraining_figure(metrics: Sequence[Mapping[str, float]]) -> Figure:
    """Losses and validation of the passive separators (``metrics.jsonl`` of their model dir)."""
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    panels = figure.subplots(1, 2)
    losses, validation = panels
    draw_curve(losses, *series(metrics, "separator/bin_loss"), "binaural separator", COLOURS["passive"])
    draw_curve(losses, *series(metrics, "separator/mono_loss"), "binaural to mono", COLOURS["refined_causal"])
    losses.set_title("pretraining: loss", fontsize=10)
    for name, colour in (("heard", COLOURS["passive"]), ("unheard", COLOURS["refined"])):
        for key, style, what in (("stft_l2", "-", "passive"), ("mixture_stft_l2", ":", "mixture")):
            steps, values = series(metrics, f"val_{name}/{key}")
            validation.plot(steps, values, style, color=colour, marker=".", label=f"{what}, {name}")
    validation.set_title("validation: STFT-L2 (lower is better)", fontsize=10)
    validation.set_ylim(bottom=0)
    return finish(figure, panels.ravel().tolist(), "steps")
