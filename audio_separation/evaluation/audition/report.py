"""The report of an audition evaluation: scores, curves of the training, and episodes to look at and listen to.

Beside the results, in ``report/``: ``report.html``, its pictures, and a folder of sounds for each episode.
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any, Iterator, Mapping, NamedTuple, Optional, Sequence

import numpy as np
from matplotlib.figure import Figure
from yacs.config import CfgNode

from audio_separation.evaluation.audition import plots
from audio_separation.evaluation.audition.playback import (
    SCRIPT,
    STYLE,
    playback_section,
    write_waves,
)
from audio_separation.evaluation.audition.recording import AuditionRecording
from audio_separation.evaluation.figures import save_png
from audio_separation.evaluation.report_parts import (
    html_page,
    html_pictures,
    html_record,
    html_table,
    whole_folder,
)
from audio_separation.evaluation.tables import format_estimate
from audio_separation.training.logging import read_metrics

RATE_KEY = "time/steps_per_s"  # of timing.jsonl
TABLES = {  # title -> metric -> title of its column and digits
    "Finding the sources": {
        "success": ("success", 2),
        "found_fraction": ("found", 2),
        "steps": ("steps", 1),
        "spl": ("SPL", 3),
        "reward": ("reward", 1),
        "path_m": ("path (m)", 1),
    },
    "Separation (dB)": {
        "first_si_sdr_improvement_db": ("first SI-SDR improvement", 2),
        "si_sdr_improvement_db": ("SI-SDR improvement", 2),
        "si_sdr_db": ("SI-SDR", 2),
        "si_sir_db": ("SI-SIR", 2),
    },
}


class Training(NamedTuple):
    """What a model dir tells of its training; empty where there are no records.

    Attributes:
        metrics, timing: lines of ``metrics.jsonl`` and ``timing.jsonl``.
        episodes: lines of ``episodes.jsonl``, a finished training episode each.
    """

    metrics: Sequence[Mapping[str, float]]
    episodes: Sequence[Mapping[str, Any]]
    timing: Sequence[Mapping[str, float]]


def read_training(model_dir: Path) -> Training:
    """Read the records of a training."""
    paths = [model_dir / f"{name}.jsonl" for name in ("metrics", "episodes", "timing")]
    return Training(*(read_metrics(path) if path.is_file() else [] for path in paths))


def write_audition_report(
    folder: Path,
    recordings: Sequence[AuditionRecording],
    config: CfgNode,
    summary: Mapping[str, Any],
    model_dir: Path,
) -> None:
    """Write the page of an evaluation with the recorded episodes.

    The folder appears when it is whole; an older one is replaced.

    Args:
        config: of the evaluation.
        summary: content of ``summary.json``.
        model_dir: whose training is shown.

    Raises:
        UserError: where it cannot be written.
    """
    training = read_training(model_dir)
    with whole_folder(folder) as temporary:
        sections = [_write_episode(temporary, recording) for recording in recordings]
        curves = write_training_plots(temporary, training, config.AUDITION.SOURCES)
        page = _page(summary, curves, throughput_line(training.timing), sections)
        (temporary / "report.html").write_text(page, encoding="utf-8")


# ---- training -----------------------------------------------------------------------------------------
def write_training_plots(folder: Path, training: Training, num_sources: int) -> str:
    """Draw what the records of a training allow.

    Returns:
        HTML that shows the pictures, and says in words which records were missing.
    """
    parts = []
    for name, title, figure, missing in _training_figures(training, num_sources):
        parts.append(f"<h3>{title}</h3>")
        if figure is None:
            parts.append(f"<p>Not drawn: the model dir has no {missing}.</p>")
        else:
            save_png(figure, folder / f"{name}.png")
            parts.append(html_pictures([f"{name}.png"]))
    return "\n".join(parts)


def _training_figures(
    training: Training, num_sources: int
) -> Iterator[tuple[str, str, Optional[Figure], str]]:
    """Name of the file, title, figure, and what is missing where there is no figure."""
    metrics, episodes = training.metrics, training.episodes
    played = "finished training episodes (episodes.jsonl)"
    yield (
        "rewards",
        "Rewards and steps of the training's episodes",
        plots.rewards_figure(episodes) if episodes else None,
        played,
    )
    yield (
        "distance",
        "Distance at the start and steps to reach the sources",
        plots.distance_figure(episodes) if episodes else None,
        played,
    )
    yield (
        "found",
        "Sources found over training",
        plots.found_figure(episodes, metrics, num_sources) if episodes else None,
        played,
    )
    yield (
        "separation",
        "Separation over training",
        plots.separation_figure(metrics),
        "SI-SDR of the separator (metrics.jsonl)",
    )
    yield (
        "learning",
        "Q-learning",
        plots.learning_figure(metrics),
        "record of Q-learning (policy/... in metrics.jsonl)",
    )


def throughput_line(timing: Sequence[Mapping[str, float]]) -> str:
    """How fast the training ran, in words."""
    rates = [line[RATE_KEY] for line in timing if RATE_KEY in line]
    if not rates:
        return f"Throughput is not known: the model dir has no {RATE_KEY} (timing.jsonl)."
    return (
        f"Throughput: {np.median(rates):.1f} steps per second of all environments together, learning included, "
        f"without plotting (median of {len(rates)} records)."
    )


# ---- the page -----------------------------------------------------------------------------------------
def _write_episode(folder: Path, recording: AuditionRecording) -> str:
    """Write an episode's sounds and pictures; returns its section of the page."""
    name = f"episode_{recording.number:04d}"
    sounds = write_waves(folder / name, recording)
    title = f"Episode {recording.number}"
    save_png(plots.path_figure(recording, title), folder / name / "path.png")
    save_png(plots.steps_figure(recording, title), folder / name / "steps.png")
    found = [step for step in recording.found_at if step is not None]
    total = sum(sum(terms.values()) for terms in recording.rewards)
    after = f" (after steps {', '.join(str(step) for step in sorted(found))})" if found else ""
    return (
        f"<h2>{title}</h2>\n<p>{len(found)} of {len(recording.sources)} sources found{after} in "
        f"{len(recording.actions)} steps, reward {total:.1f}.</p>\n"
        f"{playback_section(name, recording, sounds)}\n"
        f"{html_pictures(f'{name}/{file}.png' for file in ('path', 'steps'))}"
    )


def _score_tables(methods: Mapping[str, Mapping[str, Any]]) -> str:
    parts = []
    for title, columns in TABLES.items():
        given = {name: scores for name, scores in methods.items() if columns.keys() & scores.keys()}
        rows = [["method", *(heading for heading, _ in columns.values())]]
        rows += [
            [name, *(format_estimate(scores.get(metric), digits) for metric, (_, digits) in columns.items())]
            for name, scores in given.items()
        ]
        parts += [f"<h3>{title}</h3>", html_table(rows)]
    return "\n".join(parts)


def _page(summary: Mapping[str, Any], curves: str, throughput: str, sections: Sequence[str]) -> str:
    title = f"{summary['agent']}, {summary['checkpoint']}, {summary['split']}"
    body = f"""<p>{summary["episodes"]} episodes; means with half widths of 95 % confidence intervals over episodes.
Steps count in full where not all sources were found. SI-SDR and SI-SIR are those of the separated sources against
their sounds at the ears (mean of both), in the best order; "first" is the first observation of an episode.</p>
{_score_tables(summary["methods"])}
{_players(sections)}
<h2>Training</h2>
<p>{html.escape(throughput)}</p>
{curves}
{html_record(summary["record"])}"""
    return html_page(title, body, STYLE)


def _players(sections: Sequence[str]) -> str:
    if not sections:
        return "<p>No episode was recorded (EVAL.REPORT_EPISODES is 0).</p>"
    about = (
        "<p>A step lasts as long as the agent listens; then it acts at once. Each step is rendered, and separated, by "
        "itself at its own place, so joins may click, and separated outputs may change places from step to step. "
        "All files of an episode share one gain.</p>"
    )
    script = SCRIPT.read_text(encoding="utf-8")
    return "\n".join([about, *sections, f"<script>\n{script}</script>"])
