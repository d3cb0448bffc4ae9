"""A report that one can look at and listen to: pictures, WAV files and a page that shows them.

Beside the results of an evaluation, in ``report/``: ``report.html``, learning curves, and for each of a few
episodes its map, its scores over time, its spectrograms and its sounds.
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any, Iterable, Optional, Sequence

import numpy as np
from yacs.config import CfgNode

from audio_separation.audio.stft import RATE
from audio_separation.envs.simulator import BatchSimulator
from audio_separation.evaluation import plots
from audio_separation.evaluation.episodes import Player, episode_record
from audio_separation.evaluation.figures import save_png
from audio_separation.evaluation.recording import Recorder, Recording
from audio_separation.evaluation.report_parts import (
    html_page,
    html_pictures,
    html_record,
    html_table,
    spread,
    whole_folder,
    write_sounds,
)
from audio_separation.evaluation.scores import ScoreKeeper, dry_sources
from audio_separation.evaluation.tables import score_rows
from audio_separation.models.agent import Agent
from audio_separation.scenes.episodes import Episode
from audio_separation.training.logging import read_metrics

SOUNDS = {  # file -> what it is
    "mixture_stereo.wav": "what the agent's two ears heard",
    "separated_stereo.wav": "the mixture with the separators' mask: no oracle, what a deployed agent could "
    "play (each second is separated by itself, so joins may click)",
    "target_binaural.wav": "the target alone at the agent's ears: what the file above should be",
    "target_mono.wav": "the target's dry sound: what the two files below should be",
    "passive_mono_true_phase.wav": "the separators' magnitude with the target's true phase and level, as "
    "SI-SDR scores it",
    "refined_mono_true_phase.wav": "the same after the memory, each second refined by later ones",
}


def write_report(
    folder: Path,
    agent: Agent,
    simulator: BatchSimulator,
    episodes: Sequence[Episode],
    config: CfgNode,
    summary: dict[str, Any],
    model_dir: Path,
) -> None:
    """Play ``EVAL.REPORT_EPISODES`` of the episodes again, spread over the split, and write the report.

    The folder appears when it is whole; an older one is replaced.

    Raises:
        UserError: where it cannot be written.
    """
    chosen = spread(episodes, config.EVAL.REPORT_EPISODES)
    small = simulator.resized(len(chosen))
    sources = dry_sources(simulator.clips, chosen, simulator.device)
    recorder, keeper = Recorder(sources), ScoreKeeper(config.AUDIO.TARGET_MONO_RMS)
    motion = Player(agent, small, config).play(chosen, [recorder, keeper])
    scores = keeper.finish()

    with whole_folder(folder) as temporary:
        sections = []
        for e, episode in enumerate(chosen):
            record = episode_record(episode, e, motion, scores, small)
            name = f"episode_{e + 1:02d}_" + re.sub(r"[^\w-]+", "-", f"{episode.scene}_{episode.episode_id}")
            _draw_episode(temporary / name, episode, record, recorder.recording(e), small)
            sections.append(_episode_section(name, record))
        curves = write_learning_curves(temporary, model_dir)
        (temporary / "report.html").write_text(_page(summary, curves, sections), encoding="utf-8")


def _draw_episode(
    folder: Path, episode: Episode, record: dict[str, Any], recording: Recording, simulator: BatchSimulator
) -> None:
    graph = simulator.scenes[episode.scene].graph
    title = f"{episode.scene}, episode {episode.episode_id}: target {record['target_class']}"
    way = np.array(record["positions_m"])[:, [0, 2]]
    sources = np.stack([graph.indices(row) for row in simulator.source_nodes(episode, len(way))])
    plan = plots.map_figure(graph, way, np.array(record["rotations_deg"]), sources, title)
    save_png(plan, folder / "map.png")
    save_png(plots.steps_figure(record, title), folder / "steps.png")
    mags = recording.mags
    rows = {
        "mixture at the left ear": mags["mixture"][0],
        "mixture at the right ear": mags["mixture"][1],
        "mono: the target (dry)": mags["target"][0],
        "mono: passive estimate": mags["passive"][0],
        "mono: refined estimate": mags["refined"][0],
    }
    save_png(plots.spectrogram_figure(rows, title), folder / "spectrograms.png")
    write_recording(folder, recording)


def write_recording(folder: Path, recording: Recording) -> None:
    """Write the files of :data:`SOUNDS`; the stereo files share one gain, the mono files another."""
    stereo = {
        "mixture_stereo.wav": recording.mixture,
        "separated_stereo.wav": recording.separated_bin,
        "target_binaural.wav": recording.target_bin,
    }
    mono = {
        "target_mono.wav": recording.target_mono,
        "passive_mono_true_phase.wav": recording.passive_mono,
        "refined_mono_true_phase.wav": recording.refined_mono,
    }
    for group in (stereo, mono):
        write_sounds(folder, group, RATE)


def write_learning_curves(folder: Path, model_dir: Path) -> list[str]:
    """Draw the curves of a model dir and of the pretraining that it names, as far as the records are there.

    Returns:
        Names of the pictures made: ``learning.png``, ``pretraining.png``.
    """
    made = []
    metrics = _metrics(model_dir)
    if any("rollout/reward" in line for line in metrics):
        best = _read_json(model_dir / "best.json")
        save_png(plots.learning_figure(metrics, best), folder / "learning.png")
        made.append("learning.png")
    run = _read_json(model_dir / "run.json") or {}
    passive = run.get("config", {}).get("TRAIN.PASSIVE_CHECKPOINT", "")
    # the folder itself, or that of the .pth file; or this model dir is the pretraining
    places = [model_dir, *([Path(passive), Path(passive).parent] if passive else [])]
    for place in places:
        metrics = _metrics(place)
        if any("separator/mono_loss" in line for line in metrics):
            save_png(plots.pretraining_figure(metrics), folder / "pretraining.png")
            made.append("pretraining.png")
            break
    return made


def _metrics(folder: Path) -> list[dict[str, float]]:
    path = folder / "metrics.jsonl"
    return read_metrics(path) if path.is_file() else []


def _read_json(path: Path) -> Optional[dict[str, Any]]:
    return json.loads(path.read_text()) if path.is_file() else None


# ---- the page ---------------------------------------------------------------------------------------------
def _episode_section(name: str, record: dict[str, Any]) -> str:
    sounds = "\n".join(
        f'<tr><td><audio controls preload="none" src="{name}/{file}"></audio></td>'
        f"<td><b>{file}</b><br>{html.escape(meaning)}</td></tr>"
        for file, meaning in SOUNDS.items()
    )
    heard = ", ".join(record["sounds"])
    pictures = html_pictures(f"{name}/{file}.png" for file in ("map", "steps", "spectrograms"))
    return (
        f"<h2>{html.escape(record['scene'])}, episode {html.escape(record['episode_id'])}</h2>\n"
        f"<p>Target: {html.escape(record['target_class'])}. Sources: {html.escape(heard)} (target first).</p>\n"
        f"{pictures}\n<table>{sounds}</table>"
    )


def _page(summary: dict[str, Any], curves: Iterable[str], sections: Iterable[str]) -> str:
    skipped = summary["skipped"]
    title = f"{summary['agent']}, {summary['checkpoint']}, {summary['split']}"
    body = f"""<p>{summary["episodes"]} episodes; means with half widths of 95 % confidence intervals over episodes.
{skipped["silent_seconds"]} of {skipped["seconds"]} seconds have a silent target and no score in dB;
{skipped["rirs"]} impulse responses are missing.</p>
{html_table(score_rows(summary["methods"]))}
<p>STFT-L2 and SI-SDR judge mono magnitudes with the target's true phase. The binaural SI-SDR is free of any
oracle: the masked mixture against the target's own sound at each ear.</p>
{html_pictures(curves)}
{chr(10).join(sections)}
{html_record(summary["record"])}"""
    return html_page(title, body)
