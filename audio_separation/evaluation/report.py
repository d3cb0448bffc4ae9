"""A report that one can look at and listen to: pictures, WAV files and a page that shows them.

Beside the results of an evaluation, in ``report/``: ``report.html``, learning curves, and for each of a few
episodes its map, its scores over time, its spectrograms and its sounds.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, Iterable, Optional, Sequence

import numpy as np
import soundfile
from yacs.config import CfgNode

from audio_separation.audio.stft import RATE
from audio_separation.envs.simulator import BatchSimulator
from audio_separation.evaluation import plots
from audio_separation.evaluation.episodes import Player, episode_record
from audio_separation.evaluation.recording import Recorder, Recording
from audio_separation.evaluation.scores import ScoreKeeper, dry_sources
from audio_separation.evaluation.tables import score_rows
from audio_separation.models.agent import Agent
from audio_separation.scenes.episodes import Episode
from audio_separation.training.logging import read_metrics
from audio_separation.training.run_dir import writing

PEAK = 0.9  # of full scale, of the loudest of the files that share a gain

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
    count = min(config.EVAL.REPORT_EPISODES, len(episodes))
    chosen = [episodes[i * len(episodes) // count] for i in range(count)]
    small = simulator.resized(count)
    sources = dry_sources(simulator.clips, chosen, simulator.device)
    recorder, keeper = Recorder(sources), ScoreKeeper(config.AUDIO.TARGET_MONO_RMS)
    motion = Player(agent, small, config).play(chosen, [recorder, keeper])
    scores = keeper.finish()

    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    with writing(folder):
        temporary.mkdir(parents=True)
        sections = []
        for e, episode in enumerate(chosen):
            record = episode_record(episode, e, motion, scores, small)
            name = f"episode_{e + 1:02d}_" + re.sub(r"[^\w-]+", "-", f"{episode.scene}_{episode.episode_id}")
            _draw_episode(temporary / name, episode, record, recorder.recording(e), small)
            sections.append(_episode_section(name, record))
        curves = write_learning_curves(temporary, model_dir)
        (temporary / "report.html").write_text(_page(summary, curves, sections), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(temporary, folder)


def _draw_episode(
    folder: Path, episode: Episode, record: dict[str, Any], recording: Recording, simulator: BatchSimulator
) -> None:
    graph = simulator.scenes[episode.scene].graph
    title = f"{episode.scene}, episode {episode.episode_id}: target {record['target_class']}"
    way = np.array(record["positions_m"])[:, [0, 2]]
    sources = np.stack([graph.indices(row) for row in simulator.source_nodes(episode, len(way))])
    plan = plots.map_figure(graph, way, np.array(record["rotations_deg"]), sources, title)
    plots.save_png(plan, folder / "map.png")
    plots.save_png(plots.steps_figure(record, title), folder / "steps.png")
    mags = recording.mags
    rows = {
        "mixture at the left ear": mags["mixture"][0],
        "mixture at the right ear": mags["mixture"][1],
        "mono: the target (dry)": mags["target"][0],
        "mono: passive estimate": mags["passive"][0],
        "mono: refined estimate": mags["refined"][0],
    }
    plots.save_png(plots.spectrogram_figure(rows, title), folder / "spectrograms.png")
    write_sounds(folder, recording)


def write_sounds(folder: Path, recording: Recording) -> None:
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
        peak = max(float(np.abs(wave).max()) for wave in group.values())
        for name, wave in group.items():
            # soundfile wants [L, C]
            soundfile.write(folder / name, wave.T * (PEAK / max(peak, 1e-6)), RATE, subtype="PCM_16")


def write_learning_curves(folder: Path, model_dir: Path) -> list[str]:
    """Draw the curves of a model dir and of the pretraining that it names, as far as the records are there.

    Returns:
        Names of the pictures made: ``learning.png``, ``pretraining.png``.
    """
    made = []
    metrics = _metrics(model_dir)
    if any("rollout/reward" in line for line in metrics):
        best = _read_json(model_dir / "best.json")
        plots.save_png(plots.learning_figure(metrics, best), folder / "learning.png")
        made.append("learning.png")
    run = _read_json(model_dir / "run.json") or {}
    passive = run.get("config", {}).get("TRAIN.PASSIVE_CHECKPOINT", "")
    # the folder itself, or that of the .pth file; or this model dir is the pretraining
    places = [model_dir, *([Path(passive), Path(passive).parent] if passive else [])]
    for place in places:
        metrics = _metrics(place)
        if any("separator/mono_loss" in line for line in metrics):
            plots.save_png(plots.pretraining_figure(metrics), folder / "pretraining.png")
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
    pictures = "\n".join(
        f'<img src="{name}/{file}.png" alt="{file}">' for file in ("map", "steps", "spectrograms")
    )
    return (
        f"<h2>{html.escape(record['scene'])}, episode {html.escape(record['episode_id'])}</h2>\n"
        f"<p>Target: {html.escape(record['target_class'])}. Sources: {html.escape(heard)} (target first).</p>\n"
        f"{pictures}\n<table>{sounds}</table>"
    )


def _page(summary: dict[str, Any], curves: Iterable[str], sections: Iterable[str]) -> str:
    rows = score_rows(summary["methods"])
    cells = "\n".join(
        "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>"
        for tag, row in zip(["th"] + ["td"] * len(rows), rows)
    )
    record, skipped = summary["record"], summary["skipped"]
    title = f"{summary['agent']}, {summary['checkpoint']}, {summary['split']}"
    pictures = "\n".join(f'<img src="{name}" alt="{name}">' for name in curves)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>
<style>
body {{ font-family: sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; }}
table {{ border-collapse: collapse; margin: 1rem 0; }}
td, th {{ padding: .3rem .8rem; border-bottom: 1px solid #ddd; text-align: left; }}
img {{ max-width: 100%; display: block; margin: 1rem 0; }}
code {{ background: #f3f3f3; padding: .1rem .3rem; }}
</style></head><body>
<h1>{html.escape(title)}</h1>
<p>{summary["episodes"]} episodes; means with half widths of 95 % confidence intervals over episodes.
{skipped["silent_seconds"]} of {skipped["seconds"]} seconds have a silent target and no score in dB;
{skipped["rirs"]} impulse responses are missing.</p>
<table>{cells}</table>
<p>STFT-L2 and SI-SDR judge mono magnitudes with the target's true phase. The binaural SI-SDR is free of any
oracle: the masked mixture against the target's own sound at each ear.</p>
{pictures}
{chr(10).join(sections)}
<h2>Record</h2>
<p>Commit <code>{html.escape(record["commit"])}</code>, seed {record["seed"]},
command <code>{html.escape(" ".join(record["command"]))}</code></p>
</body></html>
"""
