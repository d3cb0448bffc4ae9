"""The report: pictures that show something, sounds that can be heard."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import soundfile
from eval_fakes import STEPS, TEST, eval_config, load, run
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread

from audio_separation.evaluation import plots
from audio_separation.evaluation.report import SOUNDS, write_learning_curves
from audio_separation.scenes.graph import load_graph


@pytest.fixture(scope="module")
def report(tiny, trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    (folder / "ckpt").symlink_to(trained / "ckpt")
    lines = [{"step": i, "rollout/reward": -i / 10, "rollout/passive_stft_l2": 0.3} for i in range(1, 30)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = eval_config(tiny, TEST, EVAL__CHECKPOINT="latest", EVAL__REPORT_EPISODES=1, EVAL__AGENT="random")
    assert run(config, folder) == 0
    return folder / "eval/testUnheard_random/ckpt.10"


def is_drawn(path) -> bool:
    image = imread(path)[..., :3]
    return min(image.shape[:2]) > 200 and (image.std((0, 1)) > 0.02).any()


def test_pictures_and_page_exist(report):
    episodes = sorted((report / "report").glob("episode_*"))
    assert len(episodes) == 1
    for folder in episodes:
        assert all(is_drawn(folder / f"{name}.png") for name in ("map", "steps", "spectrograms"))
    assert is_drawn(report / "report/learning.png")
    page = (report / "report/report.html").read_text()
    linked = re.findall(r'src="([^"]+)"', page)
    assert len(linked) == 1 + 3 + len(SOUNDS) and all((report / "report" / name).is_file() for name in linked)
    assert (
        "testUnheard" in page
        and f"{load(report / 'summary.json')['methods']['passive']['stft_l2']['mean']:.3f}" in page
    )


def test_sounds_have_the_right_length_and_can_be_heard(report):
    folder = sorted((report / "report").glob("episode_*"))[0]
    waves = {}
    for name in SOUNDS:
        wave, rate = soundfile.read(folder / name, always_2d=True)
        assert rate == 16000 and wave.shape == (STEPS * 16000, 1 if "mono" in name else 2), name
        assert wave.std(0).min() > 1e-3 and np.abs(wave).max() <= 0.91, name
        waves[name] = wave
    # one gain for all that is compared, so nothing is louder than the loudest
    assert max(np.abs(w).max() for n, w in waves.items() if "mono" not in n) == pytest.approx(0.9, abs=1e-3)
    # the mixture is the mean of two sources: half of the target's image is in it
    mixture, target = waves["mixture_stereo.wav"].ravel(), waves["target_binaural.wav"].ravel()
    assert (mixture @ target) / (target @ target) == pytest.approx(0.5, abs=0.1)


def test_a_missing_report_is_made_without_playing_all_again(tiny, report, capsys):
    model_dir = report.parents[2]
    before = (report / "summary.json").stat().st_mtime_ns
    page = report / "report/report.html"
    page.unlink()
    config = eval_config(tiny, TEST, EVAL__CHECKPOINT="latest", EVAL__REPORT_EPISODES=1, EVAL__AGENT="random")
    assert run(config, model_dir) == 0
    assert page.exists() and (report / "summary.json").stat().st_mtime_ns == before
    assert not list(report.glob(".report*"))


def test_pretraining_curves_are_found_through_the_record(tmp_path):
    passive, active = tmp_path / "passive", tmp_path / "active"
    for folder in (passive, active, tmp_path / "out"):
        folder.mkdir()
    lines = [{"step": i, "separator/bin_loss": 1 / i, "separator/mono_loss": 1 / i} for i in range(1, 20)]
    lines[-1].update(
        {f"val_{k}/{m}": 0.3 for k in ("heard", "unheard") for m in ("stft_l2", "mixture_stft_l2")}
    )
    (passive / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (active / "run.json").write_text(
        json.dumps({"config": {"TRAIN.PASSIVE_CHECKPOINT": str(passive / "best.pth")}})
    )
    assert write_learning_curves(tmp_path / "out", active) == ["pretraining.png"]
    assert is_drawn(tmp_path / "out/pretraining.png")
    assert write_learning_curves(tmp_path / "out", tmp_path / "nothing") == []


def find(image: np.ndarray, colour: str) -> np.ndarray:
    """Mean pixel position (row, column) of a colour."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.argwhere(np.abs(image - wanted).max(-1) < 0.02).mean(0)


def test_map_puts_sources_where_they_are(tiny):
    """Target at node 4 (far ahead, -z: up), distractor at node 2 (to the right)."""
    graph = load_graph(tiny.metadata("tiny_000"))
    way, sources = graph.positions[[0] * 4][:, [0, 2]], np.array([[4] * 4, [2] * 4])
    figure: Figure = plots.map_figure(graph, way, np.array([0, 90, 180, 270]), sources, "map")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())[..., :3] / 255.0
    image = image[: int(0.85 * len(image))]  # above the legend
    target, distractor = find(image, "#ddaa33"), find(image, "#994455")
    assert target[0] < distractor[0] - 100 and target[1] < distractor[1] - 100
