"""The report of the listening synthesizer agent: scores, curves of the training, and episodes to look at and hear.

Beside the results, in ``report/``: ``report.html``, its pictures, and a folder of sounds for each episode.
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

import gymnasium
import numpy as np
from matplotlib.figure import Figure
from yacs.config import CfgNode

from audio_separation.audio.soundfiles import read_mono, resample
from audio_separation.envs.synth.corpus import read_corpus_json
from audio_separation.envs.synth.env import SynthEnv
from audio_separation.envs.synth.instrument import build_synth
from audio_separation.envs.synth.world import corpus_folder
from audio_separation.errors import UserError
from audio_separation.evaluation.control.curves import training_figure
from audio_separation.evaluation.figures import METHOD_STYLES, finish, save_png
from audio_separation.evaluation.report_parts import (
    html_page,
    html_pictures,
    html_record,
    html_table,
    whole_folder,
    write_sounds,
)
from audio_separation.evaluation.tables import format_estimate

COLUMNS = {
    "rmse": "RMSE",
    "late_rmse": "RMSE of the second half",
    "near": "steps within 0.1 of the nearest",
    "reward": "reward of a step",
}


def write_synth_report(
    folder: Path,
    env: gymnasium.Env,
    records: Sequence[Mapping[str, Any]],
    config: CfgNode,
    summary: dict[str, Any],
    model_dir: Path,
) -> None:
    """Write ``folder`` whole, for the episodes in ``records``.

    Raises:
        UserError: where it cannot be written, or a recording is not where SYNTH.CORPUS_AUDIO says.
    """
    assert isinstance(env, SynthEnv)
    with whole_folder(folder) as place:
        parts = [_scores(summary)]
        curves = training_figure(model_dir)
        if curves is not None:
            save_png(curves, place / "training.png")
            parts.append("<h2>Training</h2>\n" + html_pictures(["training.png"]))
        parts += [_episode(place, env, record, config) for record in records]
        parts.append(html_record(summary["record"]))
        title = f"{config.SYNTH.NAME}: {summary['agent']}, {summary['checkpoint']}, {summary['split']}"
        (place / "report.html").write_text(html_page(title, "\n".join(parts)), encoding="utf-8")


def _scores(summary: Mapping[str, Any]) -> str:
    rows = [["method", *COLUMNS.values()]]
    for method, scores in summary["methods"].items():
        rows.append([method, *(format_estimate(scores.get(metric), 3) for metric in COLUMNS)])
    count = f"{summary['episodes']} episodes, mean ± half width of the 95 % interval over them."
    return (
        f"<p>{count} Distances are weighted RMSE of standardised descriptors; <i>nearest</i> is the sound of the "
        f"lookup table that is most like the target.</p>\n{html_table(rows)}"
    )


def _episode(place: Path, env: SynthEnv, record: Mapping[str, Any], config: CfgNode) -> str:
    name = f"episode_{record['episode']}"
    save_png(episode_figure(env, record), place / f"{name}.png")
    (place / name).mkdir()
    agent, target = episode_sounds(env, record, config)
    waves = {"agent.wav": agent[None]}
    if target is not None:
        length = min(len(agent), len(target))
        waves["target.wav"] = target[None]
        waves["both.wav"] = np.stack([target[:length], agent[:length]])
    write_sounds(place / name, waves, env.world.synth_rate_hz)
    players = "\n".join(
        f'<p>{label}<br><audio controls preload="none" src="{name}/{file}"></audio></p>'
        for file, label in (
            ("target.wav", "the target"),
            ("agent.wav", "the agent"),
            ("both.wav", "the target left, the agent right"),
        )
        if file in waves
    )
    what = html.escape(f"{record['mode']} {record['piece']}".strip())
    missing = "" if target is not None else "<p>SYNTH.CORPUS_AUDIO does not say where the recordings are.</p>"
    return (
        f"<h2>Episode {record['episode']}: {what}</h2>\n{html_pictures([f'{name}.png'])}\n{players}{missing}"
    )


def episode_figure(env: SynthEnv, record: Mapping[str, Any]) -> Figure:
    """Distances to the target, and the parameters, step by step."""
    seconds = np.arange(len(record["rmse"])) * env.world.period / env.world.synth_rate_hz
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    top.plot(seconds, record["rmse"], color="#0077bb", label="agent")
    top.plot(seconds, record["nearest_rmse"], color="#777777", linestyle="--", label="nearest sound")
    top.set_ylabel("RMSE to the target")
    top.set_ylim(bottom=0)
    path = np.array(record["params"])
    for column, (values, (colour, _)) in enumerate(zip(path.T, METHOD_STYLES)):
        bottom.plot(seconds, values, color=colour, label=f"parameter {column}")
        if record["target_params"][0] is not None:
            wanted = np.array(record["target_params"])[:, column]
            bottom.plot(seconds, wanted, color=colour, linestyle=":", linewidth=1)
    bottom.set_ylim(-0.02, 1.02)
    bottom.set_ylabel("parameters (dotted: the target's)")
    return finish(figure, [top, bottom], "seconds")


def episode_sounds(
    env: SynthEnv, record: Mapping[str, Any], config: CfgNode
) -> tuple[np.ndarray, Optional[np.ndarray]]:
    """What the agent and its target sounded like, float32 ``[L]`` each; None for a recording that is not at hand."""
    synth, period = build_synth(config, env.world.num_params), env.world.period
    agent = synth.render_path(np.array(record["params"]), period)
    if record["target_params"][0] is not None:
        return agent, synth.render_path(np.array(record["target_params"]), period)
    if not config.SYNTH.CORPUS_AUDIO:
        return agent, None
    recording = _recording(config, record["piece"], synth.rate_hz)
    begin = record["start"] * period
    return agent, recording[begin : begin + len(agent)].astype(np.float32)


def _recording(config: CfgNode, piece: str, rate_hz: int) -> np.ndarray:
    content = read_corpus_json(corpus_folder(config)) or {"files": {}}
    name = content["files"].get(piece, {}).get("file", f"{piece}.wav")
    path = Path(config.SYNTH.CORPUS_AUDIO) / name
    if not path.is_file():
        raise UserError(
            f"the recording {path} is not there, which the report plays; set SYNTH.CORPUS_AUDIO to the folder that "
            "analyze_corpus.py was given, or leave it empty"
        )
    wave, found_hz = read_mono(path)
    return resample(wave, found_hz, rate_hz)
