"""Playback of an audition episode: its sound files and its part of the report's page.

The page needs nothing but itself and the WAV files beside it. It shows the floor as SVG; ``playback.js``, which is
written into it, moves the agent in step with the sound.
"""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any, Mapping

import numpy as np

from audio_separation.evaluation.audition.recording import AuditionRecording
from audio_separation.evaluation.report_parts import write_sounds

SCRIPT = Path(__file__).with_name("playback.js")
MIXTURE = "mixture.wav"
LABEL_M = (1.6, 0.6)  # of a source's name, about
AGENT_SCALE = 1.8  # a head of natural size is hard to see in a room
EAR_COLOURS = ("#0077bb", "#cc3311")
SOURCE_COLOUR = "#ee7733"
STYLE = f"""
.playback {{ display: flex; flex-wrap: wrap; gap: 1.5rem; align-items: flex-start; margin: 1rem 0; }}
.playback > div {{ flex: 1 1 24rem; }}
.playback svg {{ width: 100%; max-height: 34rem; }}
.playback input[type=range] {{ width: 100%; }}
.playback audio {{ width: 100%; }}
.playback .facts {{ min-height: 4.2em; }}
.playback td, .playback th {{ padding: .15rem .6rem; }}
.playback td:nth-child(n+2) {{ font-variant-numeric: tabular-nums; }}
.playback tr.taken td {{ font-weight: bold; }}
.floor {{ fill: #f7f7f7; stroke: #222; stroke-width: .06; stroke-linejoin: miter; }}
.whole {{ fill: none; stroke: #bbb; stroke-width: .03; }}
.gone {{ fill: none; stroke: #222; stroke-width: .06; stroke-linejoin: round; }}
.reach {{ fill: none; stroke: {SOURCE_COLOUR}; stroke-width: .03; stroke-dasharray: .1 .08; }}
.source {{ fill: {SOURCE_COLOUR}; stroke: #222; stroke-width: .03; }}
.off .source {{ fill: #fff; stroke: #888; }}
.off .reach {{ stroke: #bbb; }}
.cross {{ stroke: #888; stroke-width: .05; visibility: hidden; }}
.off .cross {{ visibility: visible; }}
.head {{ fill: #fff; stroke: #222; stroke-width: .035; }}
.nose {{ fill: #222; }}
.playback text {{ font-size: .26px; fill: #222; stroke: #fff; stroke-width: .06; paint-order: stroke; }}
"""


# ---- sound --------------------------------------------------------------------------------------------
def write_waves(folder: Path, recording: AuditionRecording) -> dict[str, str]:
    """Write the steps joined, ``(T + 1) * L`` samples a file, all with one gain.

    Returns:
        file -> what it is, the mixture first.
    """
    waves = {MIXTURE: np.concatenate(list(recording.audio), axis=-1)}
    meanings = {MIXTURE: "mixture: what the two ears heard"}
    if recording.separated is not None:
        for s, wave in enumerate(np.concatenate(list(recording.separated), axis=-1)):
            waves[f"separated_{s + 1}.wav"] = wave[None]
            meanings[f"separated_{s + 1}.wav"] = f"separated output {s + 1} (both ears' mean)"
    folder.mkdir(parents=True, exist_ok=True)
    write_sounds(folder, waves, recording.rate_hz)
    return meanings


# ---- the page -----------------------------------------------------------------------------------------
def playback_data(recording: AuditionRecording) -> dict[str, Any]:
    """What the script of the page needs: the recording without its sounds, as plain data."""
    r = recording
    return {
        "positions_m": r.positions.tolist(),
        "headings_deg": r.headings_deg.tolist(),
        "active": r.active.tolist(),
        "actions": list(r.actions),
        "action_names": list(r.action_names),
        "rewards": r.rewards,
        "q_values": None if r.q_values is None else r.q_values.tolist(),
        "distances_m": np.hypot(*(r.positions[:, None] - r.sources[None]).transpose(2, 0, 1)).tolist(),
        "step_seconds": r.step_seconds,
    }


def playback_section(folder: str, recording: AuditionRecording, sounds: Mapping[str, str]) -> str:
    """The player of an episode.

    Args:
        folder: of its sound files, relative to the page.
        sounds: file -> what it is, see :func:`write_waves`.
    """
    # a "<" cannot end the script element early when it is written as an escape
    data = json.dumps(playback_data(recording), allow_nan=False).replace("<", "\\u003c")
    where = html.escape(folder)
    options = "".join(
        f'<option value="{where}/{html.escape(file)}">{html.escape(meaning)}</option>'
        for file, meaning in sounds.items()
    )
    last = len(recording.actions)
    values = "" if recording.q_values is None else '<table data-part="values"></table>'
    return f"""<div class="playback">
<script type="application/json">{data}</script>
<div>{floor_svg(recording)}
<p>{_legend(recording)}</p></div>
<div>
<p><button type="button" data-part="play">Play</button>
<label>Sound <select data-part="sound">{options}</select></label>
<label>Speed <select data-part="speed"><option value="1">1×</option><option value="2">2×</option>
<option value="4">4×</option></select></label></p>
<input type="range" min="0" max="{last}" value="0" step="1" data-part="slider" aria-label="observation">
<audio controls preload="metadata" src="{where}/{MIXTURE}" data-part="audio"></audio>
<p class="facts" data-part="facts"></p>
<table data-part="terms"></table>
{values}
</div></div>"""


def _legend(recording: AuditionRecording) -> str:
    ears = ", ".join(
        f'<span style="color:{colour}">&#9679;</span> {name} ear'
        for colour, name in zip(EAR_COLOURS, recording.ear_names)
    )
    return (
        f'<span style="color:{SOURCE_COLOUR}">&#9679;</span> source that sounds; &#8855; turned off; dashed: '
        f"turned off from within {recording.radius_m:g} m; agent, drawn larger than it is, with nose, {ears}; "
        "black: the way so far"
    )


def floor_svg(recording: AuditionRecording, observation: int = 0) -> str:
    """The room from above as SVG in metres, with the agent as it is at ``observation``; it needs no script."""
    r = recording
    (left, low), (right, high) = r.corners.min(0), r.corners.max(0)
    margin = 0.4
    view = (left - margin, -high - margin, right - left + 2 * margin, high - low + 2 * margin + 0.5)
    x, y = r.positions[observation]
    sources = "".join(
        f'<g data-source="{s}" class="{"on" if r.active[observation, s] else "off"}" '
        f'transform="translate({place[0]:.3f} {place[1]:.3f})"><circle class="reach" r="{r.radius_m:g}"/>'
        '<circle class="source" r=".15"/><path class="cross" d="M-.1 -.1L.1 .1M-.1 .1L.1 -.1"/></g>'
        for s, place in enumerate(r.sources)
    )
    names = "".join(_name(r, s) for s in range(len(r.sources)))
    ears = "".join(
        f'<circle r=".06" cx="{ear[0]:.3f}" cy="{ear[1]:.3f}" fill="{colour}"/>'
        for ear, colour in zip(r.ears, EAR_COLOURS)
    )
    return f"""<svg viewBox="{" ".join(f"{v:.3f}" for v in view)}" role="img" aria-label="the room from above">
<g transform="scale(1 -1)">
<polygon class="floor" points="{_points(r.corners)}"/>
<polyline class="whole" points="{_points(r.positions)}"/>
<polyline class="gone" data-part="way" points="{_points(r.positions[: observation + 1])}"/>
{sources}
<g data-part="agent" transform="translate({x:.3f} {y:.3f}) rotate({r.headings_deg[observation]:g})">
<g transform="scale({AGENT_SCALE})">
<path class="nose" d="M.1 .09L.3 0L.1 -.09Z"/><circle class="head" r="{np.hypot(*r.ears[0]):.3f}"/>{ears}</g></g>
</g>
{names}
<path d="M{left:.3f} {-low + 0.4:.3f}h1m0 -.06v.12m-1 0v-.12" stroke="#222" stroke-width=".03"/>
<text x="{left + 1.1:.3f}" y="{-low + 0.48:.3f}">1 m</text>
</svg>"""


def _name(recording: AuditionRecording, source: int) -> str:
    x, y = recording.sources[source]
    side = label_side(recording, source)
    # y of a text is that of its foot, downwards
    foot = -y - side * (recording.radius_m + 0.1) + (0.0 if side > 0 else 0.2)
    words = html.escape(f"{source + 1}: {recording.clips[source]}")
    return f'<text x="{x:.3f}" y="{foot:.3f}" text-anchor="middle">{words}</text>'


def label_side(recording: AuditionRecording, source: int) -> int:
    """Where a source's name hides least: 1 above its circle, -1 below."""
    r, place = recording, recording.sources[source]
    others = np.delete(r.sources, source, 0)
    halfway = (r.positions[:-1] + r.positions[1:]) / 2
    ends = np.roll(r.corners, -1, 0)
    walls = (r.corners[:, None] + np.linspace(0, 1, 20)[:, None] * (ends - r.corners)[:, None]).reshape(-1, 2)
    middle_y = (r.corners[:, 1].min() + r.corners[:, 1].max()) / 2

    def hidden(side: int) -> float:
        box = place + np.array([0.0, side * (r.radius_m + LABEL_M[1] / 2)])
        crossed = sum(
            (np.abs(points - box) < np.array(LABEL_M) / 2 + rim).all(1).sum()
            for points, rim in ((r.positions, 0.1), (halfway, 0.1), (others, r.radius_m), (walls, 0.0))
        )
        # of two free places, the one towards the middle of the room
        return float(crossed) + abs(box[1] - middle_y) / 1000

    return min((1, -1), key=hidden)


def _points(places: np.ndarray) -> str:
    return " ".join(f"{x:.3f},{y:.3f}" for x, y in places)
