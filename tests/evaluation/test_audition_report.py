"""The report of an audition evaluation: its page, its player, its sounds and its pictures."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile
from audition_config import audition_config
from matplotlib.image import imread

from audio_separation.envs.audition.build import build_env
from audio_separation.evaluation.audition.playback import (
    SCRIPT,
    floor_svg,
    label_side,
    playback_data,
    playback_section,
    write_waves,
)
from audio_separation.evaluation.audition.recording import AuditionRecording, Recorder
from audio_separation.evaluation.audition.report import throughput_line, write_audition_report
from audio_separation.evaluation.report_parts import spread

STEPS, SOURCES, LENGTH, RATE = 5, 2, 100, 400
EVIL = '</script><b>"x"&'
TERMS = ("step", "turn", "found", "closest", "progress")


def make_recording(**changes) -> AuditionRecording:
    """Five steps along +x in a room of 4 by 3 m; source 0 is off after step 3, source 1 never."""
    rng = np.random.default_rng(0)
    active = np.ones((STEPS + 1, SOURCES), bool)
    active[3:, 0] = False
    recording = AuditionRecording(
        number=7,
        corners=np.array([[0.0, 0], [4, 0], [4, 3], [0, 3]]),
        sources=np.array([[2.4, 1.0], [0.8, 2.0]]),
        clips=("bark", EVIL),
        positions=np.stack([0.5 + 0.5 * np.arange(STEPS + 1), np.full(STEPS + 1, 1.0)], 1),
        headings_deg=np.arange(STEPS + 1) * 30.0,
        active=active,
        actions=(0, 0, 2, 1, 3),
        rewards=[dict(zip(TERMS, (-0.5, -0.1 * (a > 1), 100.0 * (t == 2), 0.0, 0.0)))
                 for t, a in enumerate((0, 0, 2, 1, 3))],
        audio=rng.standard_normal((STEPS + 1, 2, LENGTH)).astype(np.float32),
        separated=0.5 * rng.standard_normal((STEPS + 1, SOURCES, LENGTH)).astype(np.float32),
        q_values=rng.standard_normal((STEPS, 4)),
        action_names=("forward", "backward", "turn left", "turn right"),
        rate_hz=RATE,
        step_seconds=LENGTH / RATE,
        radius_m=0.5,
        ears=np.array([[0, 0.1], [0, -0.1]]),
        ear_names=("left", "right"),
    )  # fmt: skip
    return recording._replace(**changes)


SUMMARY = {
    "agent": "policy",
    "checkpoint": f"ckpt.{EVIL}",
    "split": "test",
    "episodes": 1,
    "methods": {
        "policy": {"success": {"mean": 0.8125, "ci95": 0.1, "n": 1}},
        "mixture": {"si_sdr_db": {"mean": -0.25, "ci95": None, "n": 1}},
    },
    "record": {"commit": "abc", "seed": 0, "command": ["main.py", EVIL]},
}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    """Records of a training of 60 episodes, the last line of which was cut."""
    folder = tmp_path_factory.mktemp("model")
    episodes, metrics = [], []
    for i in range(60):
        terms = {"step": -5.0, "turn": -1.0, "found": 100.0 * (i % 3), "closest": 0.0, "progress": 0.0}
        episodes.append(
            {
                "episode": i, "steps": 10 + i, "reward": sum(terms.values()), "reward_terms": terms,
                "found": i % 3, "success": i % 3 == 2, "initial_distance_m": 1 + i / 20, "env_step": 50 * i,
            }
        )  # fmt: skip
        metrics.append({"step": 50 * i, "policy/loss": 1 / (i + 1), "policy/epsilon": 0.5})
    metrics[-1].update({"separator/si_sdr_improvement_db": 0.5, "val/success": 0.5})
    timing = [{"step": i, "time/steps_per_s": float(i)} for i in range(1, 4)]
    for name, lines in (("episodes", episodes), ("metrics", metrics), ("timing", timing)):
        text = "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 3, "ti'
        (folder / f"{name}.jsonl").write_text(text)
    return folder


@pytest.fixture(scope="module")
def report(tiny, model_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("eval") / "report"
    folder.mkdir()
    (folder / "old.txt").write_text("of an older report")
    write_audition_report(folder, [make_recording()], audition_config(tiny), SUMMARY, model_dir)
    return folder


class Page(HTMLParser):
    """Addresses that a page names, and the text of its elements."""

    def __init__(self, text: str):
        super().__init__()
        self.files, self.tags, self.scripts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self.files += [attrs[key] for key in ("src", "href") if key in attrs]
        if tag == "option" and attrs["value"].endswith(".wav"):
            self.files.append(attrs["value"])
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.tags and self.tags[-1] == "script":
            self.scripts[-1] += data
        self.text = getattr(self, "text", "") + data

    def handle_endtag(self, tag):
        self.tags.append("/" + tag)


def test_page_names_only_files_beside_it_and_escapes_everything(report):
    text = (report / "report.html").read_text()
    page = Page(text)
    on_disk = {path.relative_to(report).as_posix() for path in report.rglob("*") if path.is_file()}
    assert set(page.files) == on_disk - {"report.html"}, "and the older report is gone"
    assert len([name for name in on_disk if name.endswith(".wav")]) == 1 + SOURCES
    assert "http" not in re.sub(r"startsWith\(\"http\"\)", "", text)
    assert "b" not in page.tags and f"2: {EVIL}" in page.text and f"ckpt.{EVIL}" in page.text
    assert "0.81 ± 0.10" in text and "-0.25" in text and "1 of 2 sources found (after steps 3)" in text
    assert not list(report.parent.glob(".report*"))


def test_embedded_data_is_the_recording(report):
    recording = make_recording()
    data = json.loads(Page((report / "report.html").read_text()).scripts[0])
    assert data == playback_data(recording)
    assert np.array_equal(data["positions_m"], recording.positions)
    assert data["headings_deg"] == recording.headings_deg.tolist()
    assert data["rewards"] == recording.rewards and data["actions"] == list(recording.actions)
    assert np.array_equal(data["q_values"], recording.q_values)
    assert data["distances_m"][1] == pytest.approx([1.4, math.hypot(0.2, 1.0)])
    evil = recording._replace(action_names=(EVIL, "b", "c", "d"))
    section = Page(playback_section("e", evil, {"mixture.wav": EVIL}))
    assert json.loads(section.scripts[0])["action_names"][0] == EVIL and "b" not in section.tags


def test_sounds_are_the_steps_joined_with_one_gain(tmp_path):
    recording = make_recording()
    files = write_waves(tmp_path, recording)
    waves = {name: soundfile.read(tmp_path / name, always_2d=True) for name in files}
    assert all(rate == RATE and len(wave) == (STEPS + 1) * LENGTH for wave, rate in waves.values())
    mixture = waves["mixture.wav"][0]
    gain = 0.9 / np.abs(recording.audio).max()  # the mixture is the loudest here
    assert mixture.shape[1] == 2 and np.abs(mixture).max() == pytest.approx(0.9, abs=1e-3)
    for t in (0, 3, STEPS):
        window = slice(t * LENGTH, (t + 1) * LENGTH)
        assert np.allclose(mixture[window], gain * recording.audio[t].T, atol=1e-4)
        assert np.allclose(
            waves["separated_2.wav"][0][window, 0], gain * recording.separated[t, 1], atol=1e-4
        )


def test_without_networks_there_are_no_values_and_one_sound(tmp_path):
    recording = make_recording(separated=None, q_values=None)
    files = write_waves(tmp_path / "e", recording)
    section = playback_section("e", recording, files)
    assert list(files) == ["mixture.wav"] and 'data-part="values"' not in section


def test_floor_closes_and_shows_sources_and_agent_at_any_step():
    svg = floor_svg(make_recording(), 3)
    corners = re.search(r'<polygon class="floor" points="([^"]+)"', svg)
    assert corners[1].split() == ["0.000,0.000", "4.000,0.000", "4.000,3.000", "0.000,3.000"]
    assert re.findall(r'data-source="(\d)" class="(\w+)"', svg) == [("0", "off"), ("1", "on")]
    assert "translate(2.000 1.000) rotate(90)" in svg and EVIL not in svg
    way = re.search(r'data-part="way" points="([^"]+)"', svg)
    assert len(way[1].split()) == 4


@pytest.mark.parametrize(("way_y", "room_m", "side"), [(5.8, 10, -1), (4.2, 10, 1), (9.0, 5.2, -1)])
def test_names_of_sources_keep_clear_of_the_way_and_of_walls(way_y, room_m, side):
    """The way passes above the source, below it, or far away with a wall above the source."""
    room = np.array([[0.0, 0], [10, 0], [10, room_m], [0, room_m]])
    way = np.stack([np.linspace(4, 6, STEPS + 1), np.full(STEPS + 1, way_y)], 1)
    recording = make_recording(corners=room, sources=np.array([[5.0, 5.0], [1.0, 1.0]]), positions=way)
    assert label_side(recording, 0) == side


PROBE = """
const made = {};
const element = () => ({
  attrs: {}, on: {}, value: "0", paused: true, currentTime: 0, textContent: "", children: [],
  setAttribute(k, v) { this.attrs[k] = v; }, addEventListener(e, f) { (this.on[e] ||= []).push(f); },
  replaceChildren(...c) { this.children = c; }, append(c) { this.children.push(c); },
  play() { this.paused = false; this.fire("play"); }, pause() { this.paused = true; this.fire("pause"); },
  fire(e) { (this.on[e] || []).forEach((f) => f({ target: this })); },
});
const root = { querySelector: (s) => (made[s] ||= element()) };
root.querySelector("script").textContent = DATA;
const part = (name) => root.querySelector(`[data-part="${name}"]`);
part("sound").value = "a.wav"; part("speed").value = "2";
globalThis.document = { createElement: element, querySelectorAll: () => [root] };
globalThis.location = { protocol: "file:" };
globalThis.requestAnimationFrame = () => {};
(0, eval)(CODE);
const cells = (name) => part(name).children.map((row) => row.children.map((cell) => cell.textContent));
const state = () => ({ slider: Number(part("slider").value), seconds: part("audio").currentTime,
  agent: part("agent").attrs.transform, way: part("way").attrs.points.split(" ").length,
  sources: [0, 1].map((s) => root.querySelector(`[data-source="${s}"]`).attrs.class),
  facts: part("facts").textContent, terms: cells("terms"), values: cells("values"),
  button: part("play").textContent });
const out = [state()];
part("slider").value = "3"; part("slider").fire("input"); out.push(state());
part("audio").currentTime = 1.3; part("audio").fire("timeupdate"); out.push(state());
part("play").fire("click"); out.push(state());
setTimeout(() => console.log(JSON.stringify([...out, part("audio").src, part("audio").playbackRate])), 10);
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="runs the page's script with node")
def test_script_moves_agent_sources_and_tables_with_the_sound(tmp_path):
    """Each observation lasts 0.25 s here."""
    recording = make_recording()
    probe = PROBE.replace("DATA", json.dumps(json.dumps(playback_data(recording))), 1)
    (tmp_path / "probe.js").write_text(probe.replace("CODE", json.dumps(SCRIPT.read_text()), 1))
    done = subprocess.run(["node", "probe.js"], cwd=tmp_path, capture_output=True, text=True, check=True)
    start, slid, heard, playing, source, speed = json.loads(done.stdout)
    assert (start["slider"], start["way"], start["sources"]) == (0, 1, ["on", "on"])
    assert (slid["seconds"], slid["agent"]) == (0.75, "translate(2 1) rotate(90)")
    assert slid["sources"] == ["off", "on"] and slid["way"] == 4
    assert slid["facts"].startswith('Step 3 of 5, 0.8 s to 1.0 s: after "turn left"; 1 of 2 sources sound')
    terms = {row[0]: row[1:] for row in slid["terms"]}
    assert terms["found"] == ["100.00", "100.00"] and terms["step"] == ["-0.50", "-1.50"]
    assert terms["total"] == ["99.40", "98.40"]
    assert [row[1] for row in slid["values"][1:]] == [f"{q:.2f}" for q in recording.q_values[3]]
    assert [row[2] for row in slid["values"][1:]] == ["", "taken", "", ""]
    assert heard["slider"] == 5 and heard["facts"].endswith("the episode is over.")
    assert heard["values"][1][1] == "-" and (playing["button"], source, speed) == ("Pause", "a.wav", "2")


def is_drawn(path) -> bool:
    image = imread(path)[..., :3]
    return min(image.shape[:2]) > 200 and bool((image.std((0, 1)) > 0.02).any())


def test_pictures_are_drawn(report):
    pictures = {path.stem for path in report.rglob("*.png") if is_drawn(path)}
    assert pictures == {"path", "steps", "rewards", "distance", "found", "separation", "learning"}
    assert "Not drawn" not in (report / "report.html").read_text()


def test_what_the_model_dir_lacks_is_said_in_words(tiny, tmp_path):
    write_audition_report(tmp_path / "report", [], audition_config(tiny), SUMMARY, tmp_path / "none")
    text = (tmp_path / "report/report.html").read_text()
    assert len(re.findall("Not drawn: the model dir has no", text)) == 5 and "Throughput is not known" in text
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["report.html"]
    assert "No episode was recorded" in text


def test_reported_episodes_are_spread_over_the_split():
    assert spread(range(100), 4) == [0, 25, 50, 75] and spread(range(3), 9) == [0, 1, 2]


def test_throughput_is_the_median_of_the_records(report):
    assert "Throughput: 2.0 steps per second" in (report / "report.html").read_text()
    assert "not known" in throughput_line([{"step": 1}])


def test_recorder_keeps_what_the_environment_said(tiny):
    env = build_env(audition_config(tiny, AUDITION__EARS="heading"))
    recorder, episode = Recorder(), env.episode(3)
    observation, info = env.reset(options={"episode": episode})
    recorder.begin(env, 3, observation, info)
    audio, totals = [observation["audio"]], []
    for action in (2, 0, 1):
        observation, reward, _, _, info = env.step(action)
        recorder.add(action, observation, info)
        audio.append(observation["audio"])
        totals.append(reward)
    recording = recorder.finish()
    assert np.array_equal(recording.audio, audio) and recording.audio.dtype == np.float32
    assert [sum(terms.values()) for terms in recording.rewards] == pytest.approx(totals)
    assert recording.actions == (2, 0, 1) and recording.number == 3 and recording.clips == episode.clips
    assert np.array_equal(recording.positions[-1], env.world.position)
    assert np.array_equal(recording.positions[0], episode.start) and len(recording.positions) == 4
    assert recording.headings_deg[1] == pytest.approx((episode.heading_deg + 30) % 360)
    assert recording.ear_names == ("back", "front") and np.allclose(recording.ears, [[-0.1, 0], [0.1, 0]])
    assert recording.separated is None and recording.q_values is None
    recorder.add(0, observation, info, np.zeros(4), np.zeros((2, 5)))
    with pytest.raises(ValueError, match="1 of 5 steps"):
        recorder.finish()
