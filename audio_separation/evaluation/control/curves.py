"""The learning curves of a training by Stable-Baselines3."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from matplotlib.figure import Figure

from audio_separation.evaluation.figures import draw_curve, finish, series
from audio_separation.training.logging import read_metrics

PANELS = {
    "rollout/ep_rew_mean": ("reward of a training episode", "#777777"),
    "eval/mean_reward": ("reward of a validation episode", "#0077bb"),
    "eval/success_rate": ("share of validation episodes with success", "#ee7733"),
}


def training_figure(model_dir: Path) -> Optional[Figure]:
    """Curves of ``metrics.jsonl``; None where the model dir has none, as of a scripted agent."""
    path = model_dir / "metrics.jsonl"
    if not path.exists():
        return None
    lines = read_metrics(path)
    shown = {key: panel for key, panel in PANELS.items() if any(key in line for line in lines)}
    if not shown:
        return None
    figure = Figure(figsize=(4.5 * len(shown), 3.5), layout="constrained")
    rows = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, (key, (label, colour)) in zip(rows, shown.items()):
        steps, values = series(lines, key)
        draw_curve(axes, steps, values, "", colour)
        axes.set_ylabel(label)
    return finish(figure, list(rows), "environment steps")
