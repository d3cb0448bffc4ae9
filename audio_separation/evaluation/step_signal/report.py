"""The report of an evaluation of the step signal: scores, the training's curves, and episodes to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Sequence

import gymnasium
from yacs.config import CfgNode

from audio_separation.envs.step_signal.env import StepSignalEnv
from audio_separation.evaluation.control.curves import training_figure
from audio_separation.evaluation.families import STEP_SIGNAL
from audio_separation.evaluation.figures import save_png
from audio_separation.evaluation.report_parts import (
    html_page,
    html_pictures,
    html_record,
    html_table,
    whole_folder,
)
from audio_separation.evaluation.step_signal.figures import episode_figure
from audio_separation.evaluation.tables import format_estimate


def write_step_signal_report(
    folder: Path,
    env: gymnasium.Env,
    records: Sequence[dict[str, Any]],
    config: CfgNode,
    summary: dict[str, Any],
    model_dir: Path,
) -> None:
    """Write ``report.html`` and its pictures; the folder appears when it is whole.

    Args:
        env: a StepSignalEnv of the config, which plays the records again.
        records: of ``episodes.json``, those to be shown.
        model_dir: whose training is shown.

    Raises:
        UserError: where it cannot be written.
    """
    assert isinstance(env, StepSignalEnv)
    with whole_folder(folder) as temporary:
        sections = []
        for record in records:
            name = f"episode_{record['episode']:04d}.png"
            save_png(episode_figure(env, record), temporary / name)
            sections.append(_episode_section(record, name))
        curves = _training_curves(temporary, model_dir)
        (temporary / "report.html").write_text(_page(summary, curves, sections), encoding="utf-8")


def _episode_section(record: Mapping[str, Any], picture: str) -> str:
    (scores,) = record["scores"].values()
    first = scores["first_success"]
    outcome = "success" if scores["success"] else "no success"
    when = (
        "never within the tolerance"
        if first is None
        else f"within the tolerance first after {first:.0f} actions"
    )
    return (
        f"<h2>Episode {record['episode']}</h2>\n<p>A step from {record['before']:.2f} to {record['after']:.2f}, goal "
        f"{record['goal']:.2f}: {outcome}, RMS distance {scores['final_rms']:.3f} at the end; {when}.</p>\n"
        f"{html_pictures([picture])}"
    )


def _training_curves(folder: Path, model_dir: Path) -> str:
    figure = training_figure(model_dir)
    if figure is None:
        return "<p>Not drawn: the model dir has no records of a training (metrics.jsonl).</p>"
    save_png(figure, folder / "training.png")
    return html_pictures(["training.png"])


def _page(summary: Mapping[str, Any], curves: str, sections: Sequence[str]) -> str:
    title = f"{summary['agent']}, {summary['checkpoint']}, {summary['split']}"
    tables = []
    for columns in STEP_SIGNAL.tables.values():
        rows = [["method", *columns]]
        for method, scores in summary["methods"].items():
            cells = [_cell(scores.get(metric), digits, factor) for metric, digits, factor in columns.values()]
            rows.append([method, *cells])
        tables.append(html_table(rows))
    body = f"""<p>{summary["episodes"]} episodes; means with half widths of 95 % confidence intervals over episodes.
Success and RMS distance are those of an episode's last step; the steps to the first success are those of the episodes
that have one.</p>
{"".join(tables)}
{"".join(sections) or "<p>No episode is shown (EVAL.REPORT_EPISODES is 0).</p>"}
<h2>Training</h2>
{curves}
{html_record(summary["record"])}"""
    return html_page(title, body)


def _cell(score: Any, digits: int, factor: int) -> str:
    if score is None or score["mean"] is None:
        return format_estimate(score, digits)
    scaled = {key: None if score[key] is None else factor * score[key] for key in ("mean", "ci95")}
    return format_estimate(scaled, digits)
