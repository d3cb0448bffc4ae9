"""The map of a lookup table: one page that shows which parameters sound alike, and plays them.

The page needs nothing but itself: points, colours and sounds are in it, and ``lookup_map.js`` draws them.
"""

from __future__ import annotations

import base64
import html
import io
import json
from pathlib import Path
from typing import Any, NamedTuple, Optional, Sequence

import numpy as np
import soundfile
from scipy.spatial import cKDTree

from audio_separation.audio.descriptors import expand
from audio_separation.audio.synths import Synth
from audio_separation.envs.synth.table import LookupTable
from audio_separation.errors import UserError
from audio_separation.evaluation.report_parts import PEAK, html_page

SCRIPT = Path(__file__).with_name("lookup_map.js")
METHODS = ("pca", "tsne")
TSNE_ROWS = 1500  # more take minutes and crowd the map
LEAST_ROWS = 5
FADE_S = 0.005  # at both ends of a sound, which would click
RAMP = 32  # colours
SEED = 0
STYLE = """
.lookup canvas { width: 100%; border: 1px solid #ccc; cursor: crosshair; }
.lookup .facts { min-height: 4.2em; }
.lookup .ramp { display: inline-block; width: 12rem; height: .8em; vertical-align: middle; }
"""


class Layout(NamedTuple):
    """Where the rows of a table lie on the map.

    Attributes:
        rows: that are shown, in order, ``[M]``.
        points: in [0, 1], ``[M, 2]``.
        space: standardised features that sounds are compared in, ``[M, D]``.
        told: how the map came about, a sentence.
    """

    rows: np.ndarray
    points: np.ndarray
    space: np.ndarray
    told: str


def spread_rows(count: int, most: int) -> np.ndarray:
    """``most`` of ``count`` rows, sorted, evenly spread; no regular step, which would miss values of a grid."""
    if most >= count:
        return np.arange(count)
    return np.sort(np.argsort(np.arange(count) * 0.5 * (5**0.5 - 1) % 1, kind="stable")[:most])


def lay_out(table: LookupTable, method: str, features: Sequence[str]) -> Layout:
    """Place the rows of a table by what they sound like.

    Args:
        table: of at least ``LEAST_ROWS`` rows.
        method: ``pca``: the two directions in which the features vary most; ``tsne``: neighbours stay neighbours, of at
            most ``TSNE_ROWS`` rows.
        features: columns and categories that count, standardised.

    Raises:
        UserError: unknown features or none that varies, or too few rows.
    """
    names = expand(features, "--features")
    lacking = [name for name in names if name not in table.names]
    if lacking:
        raise UserError(
            f"--features names {', '.join(lacking[:3])}, which this table does not have; leave it out"
        )
    if len(table.params) < LEAST_ROWS:
        raise UserError(
            f"a map needs {LEAST_ROWS} rows or more, the table has {len(table.params)}; compute more"
        )
    rows = spread_rows(len(table.params), TSNE_ROWS if method == "tsne" else len(table.params))
    places = np.array([table.names.index(name) for name in names])
    values = table.features[rows][:, places]
    scale = values.std(0)
    varies = scale > 1e-9 * np.abs(values).max(0)
    if not varies.any():
        raise UserError(
            f"none of the features {', '.join(names[:3])} ... varies in this table; name others by --features"
        )
    space = (values[:, varies] - values[:, varies].mean(0)) / scale[varies]
    flat, told = _pca(space) if method == "pca" else _tsne(space)
    if len(rows) < len(table.params):
        told += f" {len(rows)} of the {len(table.params)} rows are shown, evenly spread."
    span = np.ptp(flat, axis=0)
    points = (flat - flat.min(0)) / np.where(span > 0, span, 1)
    return Layout(rows, points, space, told)


def _pca(space: np.ndarray) -> tuple[np.ndarray, str]:
    from sklearn.decomposition import PCA

    pca = PCA(min(2, space.shape[1]), svd_solver="full")
    places = pca.fit_transform(space)
    if places.shape[1] == 1:
        places = np.concatenate([places, np.zeros((len(places), 1))], 1)
    share = pca.explained_variance_ratio_.sum()
    return (
        places,
        f"Principal components of the standardised features; both hold {share:.0%} of their variance.",
    )


def _tsne(space: np.ndarray) -> tuple[np.ndarray, str]:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(space) - 1) / 3)
    places = TSNE(2, perplexity=perplexity, init="pca", random_state=SEED).fit_transform(space)
    told = f"t-SNE of the standardised features (perplexity {perplexity:.3g}): near points sound alike."
    return places.astype(np.float64), told


# ---- sounds ---------------------------------------------------------------------------------------------
class Sounds(NamedTuple):
    """Sounds of some rows of a layout.

    Attributes:
        places: in the layout, sorted, ``[S]``.
        uris: of a WAV file each.
        nearest: of each row of the layout, the place in ``places`` of what sounds most like it, ``[M]``.
    """

    places: np.ndarray
    uris: list[str]
    nearest: np.ndarray


def render_sounds(table: LookupTable, layout: Layout, synth: Synth, count: int, seconds: float) -> Sounds:
    """Render ``count`` rows of a layout, evenly spread; one gain keeps all of them below full scale.

    Args:
        synth: the table's own.
        seconds: of each sound.
    """
    places = spread_rows(len(layout.rows), count)
    params = table.params[layout.rows[places]]
    render_rows = getattr(synth, "render_rows", None)
    waves = (
        np.asarray(render_rows(params, seconds))
        if render_rows is not None
        else np.stack([synth.render(row, seconds) for row in params])
    )
    fade = max(1, round(FADE_S * synth.rate_hz))
    ramp = np.minimum(1.0, np.arange(waves.shape[1]) / fade)
    waves = waves * ramp * ramp[::-1]
    gain = min(1.0, PEAK / max(float(np.abs(waves).max()), 1e-6))
    nearest = cKDTree(layout.space[places]).query(layout.space)[1]
    # of rows that sound the same, each plays itself
    nearest[places] = np.arange(len(places))
    return Sounds(places, [wav_uri(gain * wave, synth.rate_hz) for wave in waves], nearest)


def wav_uri(wave: np.ndarray, rate_hz: int) -> str:
    """A 16-bit WAV file of ``wave`` ``[L]`` as a data URI."""
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate_hz, subtype="PCM_16", format="WAV")
    return "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode()


# ---- the page -------------------------------------------------------------------------------------------
def map_data(
    table: LookupTable,
    layout: Layout,
    colours: Sequence[str],
    sounds: Optional[Sounds],
    labels: Sequence[str],
) -> dict[str, Any]:
    """What the script of the page needs, as plain data.

    Args:
        colours: descriptors that points can be coloured by; parameters can always.
        sounds: None: none.
        labels: names of the parameters, ``[P]``.

    Raises:
        UserError: for a colour that the table does not have.
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    params = table.params[layout.rows]
    choices = [_colour(name, table.features[layout.rows], table) for name in expand(colours, "--colour")]
    # the order that was asked for, not that of the columns
    choices.sort(key=lambda one: list(colours).index(one["name"]) if one["name"] in colours else len(colours))
    choices += [_scale(label, params[:, i]) for i, label in enumerate(labels)]
    return {
        "rows": layout.rows.tolist(),
        "points": np.round(layout.points, 5).tolist(),
        "params": np.round(params, 6).tolist(),
        "param_names": list(labels),
        "colours": choices,
        "ramp": [to_hex(colormaps["viridis"](i / (RAMP - 1))) for i in range(RAMP)],
        "sound_rows": [] if sounds is None else sounds.places.tolist(),
        "sound_of": [] if sounds is None else sounds.nearest.tolist(),
        "sounds": [] if sounds is None else sounds.uris,
    }


def _colour(name: str, features: np.ndarray, table: LookupTable) -> dict[str, Any]:
    if name not in table.names:
        raise UserError(f"--colour names {name}, which this table does not have; name another")
    return _scale(name, features[:, table.names.index(name)])


def _scale(name: str, values: np.ndarray) -> dict[str, Any]:
    low, high = np.percentile(values, [1, 99])
    digits = [float(f"{value:.5g}") for value in values]
    return {"name": name, "values": digits, "low": float(low), "high": float(high)}


def map_page(title: str, data: dict[str, Any], told: str) -> str:
    """The page; ``told`` says how the map came about."""
    # a "<" cannot end the script element early when it is written as an escape
    text = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    options = "".join(f"<option>{html.escape(colour['name'])}</option>" for colour in data["colours"])
    stops = ", ".join(data["ramp"])
    sounds = (
        f"{len(data['sounds'])} of {len(data['rows'])} rows have a sound in this page, the larger points; the others "
        "play the most similar one of them (circled in red)."
        if data["sounds"]
        else "This page holds no sounds."
    )
    body = f"""<div class="lookup">
<script type="application/json">{text}</script>
<p>{html.escape(told)} {sounds}</p>
<p><label>Colour <select data-part="colour">{options}</select></label>
<span data-part="low"></span> <span class="ramp" style="background:linear-gradient(to right, {stops})" role="img"
aria-label="scale of colours from low, dark blue, to high, yellow"></span> <span data-part="high"></span></p>
<canvas data-part="map" width="1000" height="700" tabindex="0" role="img"
aria-label="Map of {len(data["rows"])} sounds: those that lie near each other sound alike. The arrow keys go from point
to point, Enter plays; what is chosen is told in the text below."></canvas>
<p class="facts" data-part="facts" aria-live="polite"></p>
<audio controls data-part="audio" aria-label="the sound that was chosen last"></audio>
<noscript><p>A script draws the map, and this browser runs none; the rows are in lookup_table.csv.</p></noscript>
</div>"""
    script = SCRIPT.read_text(encoding="utf-8")
    return html_page(title, f"{body}\n<script>\n{script}</script>", STYLE)
