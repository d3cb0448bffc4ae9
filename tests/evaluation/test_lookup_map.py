"""The map of a lookup table: where points lie, what the page holds, that it plays, and what its script does."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile

from audio_separation.audio.descriptors import NAMES
from audio_separation.audio.synths import make_synth
from audio_separation.envs.synth.table import LookupTable, grid_params
from audio_separation.errors import UserError
from audio_separation.evaluation.synth import lookup_map
from audio_separation.evaluation.synth.lookup_map import (
    SCRIPT,
    lay_out,
    map_data,
    map_page,
    render_sounds,
    spread_rows,
)


def line_table(rows=30):
    """One parameter; mfcc-3 and mfcc-4 follow it, chroma is noise, all others are constant."""
    params = np.linspace(0, 1, rows)[:, None]
    features = np.ones((rows, len(NAMES)))
    features[:, NAMES.index("mfcc-3")] = 5 * params[:, 0] ** 2
    features[:, NAMES.index("mfcc-4")] = -3 * params[:, 0]
    features[:, NAMES.index("chroma-A")] = np.random.default_rng(0).normal(size=rows)
    return LookupTable(params, features, NAMES)


def sine_table(steps=6):
    params = grid_params([np.linspace(0, 1, steps)] * 2)
    features = np.random.default_rng(0).normal(size=(len(params), len(NAMES)))
    return LookupTable(params, features, NAMES)


class Page(HTMLParser):
    """Elements with their attributes, and the data of the map."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.data, self._json = [], None, False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._json = tag == "script" and ("type", "application/json") in attrs

    def handle_data(self, text):
        if self._json:
            self.data = json.loads(text)

    def handle_endtag(self, tag):
        self._json = False


def page_of(table, method="pca", sounds=4, title="Sounds", labels=("frequency", "amplitude")):
    layout = lay_out(table, method, ["mfcc", "chroma"])
    made = render_sounds(table, layout, make_synth("sine"), sounds, 0.1) if sounds else None
    return map_page(title, map_data(table, layout, ["loudness-dBFS"], made, labels), layout.told)


# ---- layout ---------------------------------------------------------------------------------------------
def test_a_line_of_sounds_is_a_line_on_the_map():
    layout = lay_out(line_table(), "pca", ["mfcc"])
    steps = np.diff(layout.points[:, 0])
    assert (steps > 0).all() or (steps < 0).all()
    assert layout.points.min() == 0 and layout.points.max() == 1 and layout.space.shape == (30, 2)
    np.testing.assert_allclose(layout.space.std(0), 1)
    share = int(re.search(r"hold (\d+)%", layout.told)[1])
    assert share == 100


def test_features_decide_the_places():
    alone = lay_out(line_table(), "pca", ["mfcc-4"])
    assert (alone.points[:, 1] == 0).all()
    np.testing.assert_allclose(np.abs(np.diff(alone.points[:, 0])), 1 / 29)
    assert not np.allclose(
        lay_out(line_table(), "pca", ["all"]).points, lay_out(line_table(), "pca", ["mfcc"]).points
    )


def test_tsne_takes_a_bounded_number_of_rows_and_says_so(monkeypatch):
    monkeypatch.setattr(lookup_map, "TSNE_ROWS", 40)
    table = sine_table(10)
    layout = lay_out(table, "tsne", ["mfcc"])
    assert len(layout.rows) == 40 and "40 of the 100 rows are shown" in layout.told and "t-SNE" in layout.told
    assert np.isfinite(layout.points).all() and len(np.unique(layout.points, axis=0)) == 40
    np.testing.assert_array_equal(lay_out(table, "tsne", ["mfcc"]).points, layout.points)


def test_tsne_keeps_clusters_together():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, len(NAMES))) + np.repeat([[0.0], [50.0], [-50.0]], 20, 0)
    table = LookupTable(np.linspace(0, 1, 60)[:, None], features, NAMES)
    points = lay_out(table, "tsne", ["mfcc"]).points.reshape(3, 20, 2)
    for cluster in range(3):
        inside = np.linalg.norm(points[cluster] - points[cluster].mean(0), axis=-1).max()
        others = np.delete(points, cluster, 0).reshape(-1, 2)
        assert inside < np.linalg.norm(others - points[cluster].mean(0), axis=-1).min()


def test_rows_are_spread_evenly_over_every_axis_of_a_grid():
    rows = spread_rows(9261, 400)
    assert len(rows) == 400 and len(set(rows)) == 400 and (np.diff(rows) > 0).all()
    for divisor in (1, 21, 441):
        counts = np.bincount(rows // divisor % 21, minlength=21)
        assert counts.min() > 10 and counts.max() < 30, (divisor, counts)
    assert spread_rows(5, 9).tolist() == [0, 1, 2, 3, 4]


def test_what_is_refused():
    with pytest.raises(UserError, match="--features names the descriptor 'timbre'"):
        lay_out(line_table(), "pca", ["timbre"])
    with pytest.raises(UserError, match="none of the features specshape-centroid"):
        lay_out(line_table(), "pca", ["specshape"])
    with pytest.raises(UserError, match="needs 5 rows or more, the table has 4"):
        lay_out(line_table(4), "pca", ["mfcc"])
    published = LookupTable(line_table().params, line_table().features[:, :55].copy(), NAMES[:55])
    with pytest.raises(UserError, match="--features names pitch-Hz"):
        lay_out(published, "pca", ["mfcc", "pitch"])
    with pytest.raises(UserError, match="--colour names pitch-Hz"):
        map_data(published, lay_out(published, "pca", ["mfcc"]), ["pitch-Hz"], None, ["a"])


# ---- page -----------------------------------------------------------------------------------------------
def test_all_rows_are_there_and_sounds_decode():
    table = sine_table()
    page = Page(page_of(table))
    data = page.data
    assert data["rows"] == list(range(36)) and len(data["points"]) == 36
    np.testing.assert_allclose(data["params"], table.params, atol=1e-6)
    assert [colour["name"] for colour in data["colours"]] == ["loudness-dBFS", "frequency", "amplitude"]
    np.testing.assert_allclose(data["colours"][0]["values"], table.features[:, 0], rtol=1e-4)
    assert len(data["sounds"]) == len(data["sound_rows"]) == 4 and set(data["sound_of"]) == {0, 1, 2, 3}
    for row, uri in zip(data["sound_rows"], data["sounds"]):
        kind, _, text = uri.partition(",")
        assert kind == "data:audio/wav;base64"
        wave, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(text)))
        assert (rate_hz, wave.shape) == (44100, (4410,))
        expected = make_synth("sine").render(table.params[row], 0.1)
        assert np.abs(wave[0]) < 1e-4 and np.abs(wave[-1]) < 1e-4  # no clicks
        peak = np.abs(expected).max()
        if peak > 0.1:  # one gain, below full scale, for all
            assert np.corrcoef(wave[500:-500], expected[500:-500])[0, 1] > 0.999
            assert 0.85 * peak < np.abs(wave).max() < peak + 1e-4


def test_a_row_without_sound_plays_the_most_similar_one():
    table = sine_table()
    layout = lay_out(table, "pca", ["mfcc", "chroma"])
    sounds = render_sounds(table, layout, make_synth("sine"), 5, 0.1)
    for row in range(36):
        distances = np.linalg.norm(layout.space[sounds.places] - layout.space[row], axis=-1)
        assert sounds.nearest[row] == distances.argmin()
    every = render_sounds(table, layout, make_synth("sine"), 400, 0.02)
    assert every.nearest.tolist() == list(range(36))


def test_page_needs_no_network_and_has_words_for_everything():
    text = page_of(sine_table(), title="<b>mine</b>", labels=("</script><i>", 'a"b'))
    page = Page(text)
    assert "<b>mine" not in text and "<i>" not in text and page.data["param_names"] == ["</script><i>", 'a"b']
    assert not re.search(r"https?://|src=|@import|url\(", text.replace("data-part", ""))
    for tag, attributes in page.elements:
        if tag in ("canvas", "audio"):
            assert len(attributes["aria-label"]) > 10
    assert "4 of 36 rows have a sound in this page" in text and "<noscript>" in text
    assert "This page holds no sounds." in page_of(sine_table(), sounds=0)


PROBE = """
const data = DATA;
const made = {};
const element = (name) => made[name] ??= {
  listeners: {}, selectedIndex: 0, width: 128, height: 128, played: [],
  addEventListener(event, f) { this.listeners[event] = f; },
  getContext: () => pen,
  getBoundingClientRect: () => ({left: 10, top: 20, width: 256, height: 256}),
  play() { this.played.push(this.src); },
};
let dots = [];
const pen = {clearRect() { dots = []; }, beginPath() {}, arc(x, y, r) { this.at = [x, y, r]; },
  fill() { dots.push([...this.at, this.fillStyle]); }, stroke() {}};
const root = {querySelector: (q) => q === "script" ? {textContent: JSON.stringify(data)} : element(q.slice(12, -2))};
globalThis.document = {querySelectorAll: () => [root]};
eval(CODE);
const out = {start: made.facts.textContent, dots};
const at = (x, y) => ({clientX: 10 + 2 * (14 + 100 * x), clientY: 20 + 2 * (14 + 100 * (1 - y))});
made.map.listeners.mousemove(at(0.95, 0.1));
out.hover = made.facts.textContent;
made.map.listeners.click(at(0.02, 0.9));
out.click = [made.facts.textContent, made.audio.played[0]];
const press = (key) => made.map.listeners.keydown({key, preventDefault() { out.kept = key; }});
press("ArrowRight");
out.arrow = made.facts.textContent;
press("Enter");
out.enter = made.audio.played[1];
press("Tab");
made.colour.selectedIndex = 1;
made.colour.listeners.change();
out.recoloured = [dots, made.low.textContent, made.high.textContent];
console.log(JSON.stringify(out));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="runs the page's script with node")
def test_script_chooses_plays_and_colours(tmp_path):
    """Four corners; the two on the left have sounds, the right ones play them."""
    data = {
        "rows": [0, 4, 8, 9], "points": [[0, 0], [0, 1], [1, 0], [1, 1]], "param_names": ["p"],
        "params": [[0], [0.25], [0.5], [1]], "ramp": ["black", "grey", "white"],
        "colours": [{"name": "loudness-dBFS", "values": [-9, -6, -3, 0], "low": -6, "high": 0},
                    {"name": "p", "values": [0, 0.25, 0.5, 1], "low": 0, "high": 1}],
        "sound_rows": [0, 1], "sound_of": [0, 1, 0, 1], "sounds": ["A", "B"],
    }  # fmt: skip
    probe = PROBE.replace("DATA", json.dumps(data), 1).replace("CODE", json.dumps(SCRIPT.read_text()), 1)
    (tmp_path / "probe.js").write_text(probe)
    done = subprocess.run(["node", "probe.js"], cwd=tmp_path, capture_output=True, text=True, check=True)
    out = json.loads(done.stdout)
    assert out["start"] == "Row 1: p 0; loudness-dBFS -9. Click, or press Enter, to hear it."
    assert out["dots"] == [
        [14, 114, 4, "black"],
        [14, 14, 4, "black"],
        [114, 114, 2.5, "grey"],
        [114, 14, 2.5, "white"],
    ]
    assert (
        out["hover"].startswith("Row 9: p 0.5;")
        and "most similar row that has one, row 1 (0)" in out["hover"]
    )
    assert out["click"][0].startswith("Row 5: p 0.25;") and out["click"][1] == "B"
    assert out["arrow"].startswith("Row 10: p 1;") and out["enter"] == "B" and out["kept"] == "Enter"
    assert [dot[3] for dot in out["recoloured"][0]] == ["black", "grey", "grey", "white"]
    assert out["recoloured"][1:] == ["0", "1"]
