"""Figures of the step signal: an episode, and the causes of ``docs/step_signal.md``."""

from __future__ import annotations

from typing import Any, Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from audio_separation.envs.step_signal.env import StepSignalEnv
from audio_separation.envs.step_signal.episodes import StepEpisode
from audio_separation.envs.step_signal.published import (
    GOAL,
    HIGH,
    LENGTH,
    LOW,
    RATE_HZ,
    THRESHOLD,
    published_rescale,
    published_signal,
)
from audio_separation.envs.step_signal.signals import rms_distance
from audio_separation.evaluation.figures import finish
from audio_separation.evaluation.step_signal import causes

BLUE, ORANGE, GREY, GREEN, RED = "#0077bb", "#ee7733", "#777777", "#009988", "#cc3311"
TIME_MAP = "viridis"


# ---- an episode --------------------------------------------------------------------------------------
def episode_figure(env: StepSignalEnv, record: Mapping[str, Any]) -> Figure:
    """The signals of every step of a recorded episode, and where the knobs stood.

    Args:
        env: plays the record's actions again.
        record: of ``episodes.json``.
    """
    played = StepEpisode(record["before"], record["after"], record["at"], record["goal"])
    env.reset(options={"episode": played})
    signals = [env.achieved]
    for action in record["actions"]:
        env.step(np.asarray(action))
        signals.append(env.achieved)
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    colours = Normalize(0, len(signals) - 1)
    seconds = np.arange(env.length) / env.settings.RATE
    for step, signal in enumerate(signals):
        left.plot(seconds, signal, color=colormaps[TIME_MAP](colours(step)), linewidth=1)
    left.axhline(played.goal, color=RED, linestyle="--", label="goal")
    left.set_ylabel("achieved signal")
    figure.colorbar(ScalarMappable(colours, TIME_MAP), ax=left, label="actions so far")
    middle.semilogy(record["cutoff_hz"], color=BLUE, label="cutoff (Hz)")
    middle.set_ylabel("cutoff (Hz)", color=BLUE)
    other = middle.twinx()
    other.plot(record["offset"], color=ORANGE)
    other.set_ylabel("offset", color=ORANGE)
    right.semilogy(np.maximum(record["rms"], 1e-4), color=GREY, label="RMS distance to the goal")
    right.axhline(env.settings.TOLERANCE, color=GREEN, linestyle="--", label="tolerance")
    finish(figure, [left], "time (s)")
    middle.set_xlabel("actions")
    middle.grid(alpha=0.3)
    finish(figure, [right], "actions")
    return figure


# ---- the causes --------------------------------------------------------------------------------------
def actions_figure(actors: np.ndarray) -> Figure:
    """What becomes of actions: causes 2, 3 and 4.

    Args:
        actors: outputs of untrained linear actors, ``[actors, episodes, 5, 2]``.
    """
    figure, (left, middle, right) = _panels()
    _draw_actors(left, actors)
    _draw_rescaling(middle)
    _draw_repeats(right)
    return figure


def filters_figure() -> Figure:
    """What the filter does at low cutoffs, and with time: causes 5, 6 and 8."""
    figure, (left, middle, right) = _panels()
    _draw_region(left)
    _draw_coefficients(middle)
    _draw_no_end(right)
    return figure


def _panels() -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(11.5, 3.6), layout="constrained")
    axes = figure.subplots(1, 3)
    for panel in axes:
        panel.grid(alpha=0.3)
    return figure, axes


def _draw_actors(axes: Axes, actors: np.ndarray) -> None:
    """Knobs of actors, a colour each; their episodes lie over each other."""
    knobs = published_rescale(actors)
    for number, one in enumerate(knobs):
        cutoff, offset = one.reshape(-1, 2).T
        axes.plot(cutoff, offset, "o", color=colormaps["tab10"](number), alpha=0.35, markersize=6)
    axes.set_xlabel("cutoff (Hz)")
    axes.set_ylabel("offset")
    axes.set_title(
        "2: ten untrained linear actors (a colour each),\nfive episodes over each other", fontsize=10
    )


def _draw_rescaling(axes: Axes) -> None:
    actions = np.linspace(-2, 2, 401)
    offsets = published_rescale(np.stack([actions, actions], -1))[:, 1]
    right = np.clip(LOW[1] + (HIGH[1] - LOW[1]) / 2 * (actions + 1), LOW[1], HIGH[1])
    axes.plot(actions, right, color=GREEN, label="low + range / 2 · (action + 1)")
    axes.plot(actions, offsets, color=RED, label="as posted")
    axes.axvspan(-1, 1, color=GREY, alpha=0.12, label="actions in [-1, 1]")
    axes.set_xlabel("action")
    axes.set_ylabel("offset")
    axes.set_title("3: without the lower end, half of the actions\nare one and the same", fontsize=10)
    axes.legend(frameon=False, fontsize=8)


def _draw_repeats(axes: Axes) -> None:
    seconds = np.arange(LENGTH) / RATE_HZ
    axes.plot(seconds, published_signal(), color=GREY, label="original")
    signals = causes.filtered_again(0.05, 0.5, 5)
    for times, signal in enumerate(signals, start=1):
        colour = GREEN if times == 1 else RED
        label = {1: "filtered once", 2: "filtered 2, 3, 4, 5 times"}.get(times)
        axes.plot(seconds, signal, color=colour, alpha=1.2 - 0.2 * times, label=label)
    axes.axhline(GOAL, color="black", linestyle="--", linewidth=0.8, label="goal")
    axes.set_xlabel("time (s)")
    axes.set_ylim(1.6, 6.4)  # room for the legend
    axes.set_title("4: the same action five times\n(0.05 Hz, offset 0.5)", fontsize=10)
    axes.legend(frameon=False, fontsize=8)


def _draw_region(axes: Axes) -> None:
    cutoffs = np.geomspace(LOW[0], HIGH[0], 200)
    region = causes.success_region()
    axes.loglog(cutoffs, np.maximum(causes.residual_norms(cutoffs), 1e-4), color=BLUE)
    axes.axhline(THRESHOLD, color=GREY, linestyle="--", label="threshold of success")
    shares = [100 * region[key] for key in ("of_zero", "logarithmic")]
    label = "success: {:.3f} % of a linear scale,\n{:.0f} % of this one".format(*shares)
    axes.axvspan(LOW[0], region["highest_hz"], color=GREEN, alpha=0.2, label=label)
    axes.set_xlabel("cutoff (Hz)")
    axes.set_ylabel("L2 norm that the best offset leaves")
    axes.set_title("5: the region of success", fontsize=10)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    axes.set_ylim(1e-4, 1e3)


def _draw_coefficients(axes: Axes) -> None:
    cutoffs = np.geomspace(LOW[0], HIGH[0], 100)
    axes.loglog(cutoffs, causes.coefficient_errors(cutoffs), color=RED, label="(b, a) against sections")
    axes.axhline(1, color=GREY, linestyle="--", label="height of the step")
    axes.set_xlabel("cutoff (Hz)")
    axes.set_ylabel("RMS error")
    axes.set_title("6: coefficients of whole polynomials\nlose their digits where success lies", fontsize=10)
    axes.legend(frameon=False, fontsize=8)


def _draw_no_end(axes: Axes) -> None:
    for cutoff, output, colour in (("lowest cutoff", -1.0, RED), ("7.4 Hz", 0.0, BLUE)):
        _, observations = causes.play_on(causes.PublishedStepSignalEnv(), np.array([output, -0.75]), 100)
        distance = [rms_distance(o["achieved_goal"], o["desired_goal"]) for o in observations]
        axes.semilogy(np.arange(1, 101), distance, color=colour, label=f"{cutoff}, offset 0.5")
    axes.set_xlabel("steps of the same action")
    axes.set_ylabel("RMS distance to the goal")
    axes.set_title("8: no episode ends, and the signal of the last\nstep is never put back", fontsize=10)
    axes.legend(frameon=False, fontsize=8)
