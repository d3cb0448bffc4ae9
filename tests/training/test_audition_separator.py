"""The supervised separator trainer: what it hears, that it learns, and that a stopped run ends as if it never was."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from audition_config import audition_config
from small_config import train

from audio_separation.envs.audition.acoustics import filter_delay
from audio_separation.envs.audition.build import build_env
from audio_separation.errors import UserError
from audio_separation.training import separator
from audio_separation.training.distributed import World
from audio_separation.training.separator import SeparatorTrainer
from audio_separation.training.separator_data import Places, convolve, draw_examples

CPU = World(rank=0, size=1, local_rank=0, local_size=1, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def config(tiny):
    return audition_config(tiny, TRAINER="separator")


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    """Model dir of an uninterrupted training; read only."""
    folder = tmp_path_factory.mktemp("separator") / "run"
    assert train(config, folder) == 0
    return folder


def metrics_of(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_convolution_is_that_of_the_whole_signal():
    rng = np.random.default_rng(0)
    whole, responses = rng.standard_normal((2, 3, 70)), rng.standard_normal((2, 3, 2, 21))
    images = convolve(torch.from_numpy(whole), torch.from_numpy(responses))
    assert images.shape == (2, 3, 2, 50)
    for b, s, c in np.ndindex(2, 3, 2):
        assert np.allclose(images[b, s, c], np.convolve(whole[b, s], responses[b, s, c])[20:70])


def test_examples_are_what_the_environment_would_sound_like(config):
    places = Places(config, "train", "train", 5)
    examples = draw_examples(places, 3, (0, 1), in_order=True)
    images = examples.images(torch.device("cpu"))
    env = build_env(config, "train")
    past = examples.dry.shape[-1] - images.shape[-1]
    for number in range(3):
        episode = env.episode(number)
        env.reset(options={"episode": episode})
        responses = places.responses(number)
        rendered = env.world.source_images()
        for s, (clip, start) in enumerate(zip(episode.clips, episode.starts)):
            first = start + filter_delay()
            dry = places.sounds.window(clip, first - past, past + images.shape[-1])
            padded = np.zeros((2, past + 1), np.float32)
            padded[:, : responses[s].shape[1]] = responses[s]
            heard = convolve(torch.from_numpy(dry.copy())[None, None], torch.from_numpy(padded)[None, None])
            assert np.allclose(heard[0, 0], rendered[s], atol=1e-5 * np.abs(rendered).max())


def test_sounds_are_drawn_anew_at_the_same_places(config):
    places = Places(config, "train", "train", 5)
    one, again, other = (draw_examples(places, 4, (0, step), in_order=True) for step in (1, 1, 2))
    assert np.array_equal(one.dry, again.dry)
    assert np.array_equal(one.responses, other.responses) and not np.array_equal(one.dry, other.dry)
    drawn = draw_examples(places, 64, (0, 3))
    distinct = {response.tobytes() for response in drawn.responses}
    assert len(distinct) == len(places) == 5


def test_metrics_and_checkpoints(run, config):
    lines = metrics_of(run)
    assert [line["step"] for line in lines] == [3, 6, 9, 10, 12]
    assert "separator/loss" in lines[3] and "val_unheard/si_sdr_db" not in lines[3]
    last = lines[-1]
    for name in ("heard", "unheard"):
        gained = last[f"val_{name}/si_sdr_db"] - last[f"val_{name}/si_sdr_mixture_db"]
        assert last[f"val_{name}/si_sdr_improvement_db"] == pytest.approx(gained, abs=1e-6)
        # band-limited sounds hardly overlap, so a ratio mask separates them well
        assert last[f"val_{name}/ideal_mask_si_sdr_improvement_db"] > 10
    assert last["val_heard/si_sdr_mixture_db"] != last["val_unheard/si_sdr_mixture_db"]
    best = torch.load(run / "best.pth", weights_only=True)
    assert best["kind"] == "separator" and "optimizer" not in best
    scores = {line["step"]: line.get("val_unheard/si_sdr_improvement_db", -np.inf) for line in lines}
    assert best["best"] == max(scores.values()) == scores[best["step"]]
    assert best["config"]["AUDITION.SEPARATOR.HIDDEN"] == 4
    fresh = SeparatorTrainer(config, run, CPU).separator
    fresh.load_state_dict(best["separator"])


@pytest.mark.parametrize("loss", ["si_sdr", "l1"])
def test_a_little_training_separates_sounds_of_other_bands(tiny, tmp_path, loss):
    changes = {"LOSS": loss, "NUM_STEPS": 60, "VAL_EVERY": 60, "LR": 0.02, "BATCH": 8}
    config = audition_config(
        tiny,
        TRAINER="separator",
        AUDITION__SEPARATOR__HIDDEN=16,
        **{f"AUDITION__PRETRAIN__{k}": v for k, v in changes.items()},
    )
    assert train(config, tmp_path / "run") == 0
    assert metrics_of(tmp_path / "run")[-1]["val_unheard/si_sdr_improvement_db"] > 4


def assert_same(one, two):
    assert (one / "metrics.jsonl").read_bytes() == (two / "metrics.jsonl").read_bytes()
    for name in ("state.pth", "best.pth"):
        a, b = (torch.load(folder / name, weights_only=True) for folder in (one, two))
        assert (a["step"], a["best"]) == (b["step"], b["best"])
        assert all(torch.equal(a["separator"][key], b["separator"][key]) for key in b["separator"])


@pytest.mark.parametrize("stop_after", [0, 4, 6])
def test_a_stopped_run_ends_as_if_it_never_was(config, run, tmp_path, stop_after):
    other = tmp_path / "run"
    assert train(config, other, stop_after) == 143
    assert torch.load(other / "state.pth", weights_only=True)["step"] == stop_after
    assert train(config, other) == 0
    assert_same(other, run)


def test_a_killed_run_goes_on_from_its_last_validation(config, run, tmp_path, monkeypatch):
    other, step = tmp_path / "run", SeparatorTrainer._train_step

    def killed(self):
        if self.step == 7:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(SeparatorTrainer, "_train_step", killed)
    with pytest.raises(KeyboardInterrupt):
        train(config, other)
    monkeypatch.undo()
    assert torch.load(other / "state.pth", weights_only=True)["step"] == 6
    assert train(config, other) == 0
    assert_same(other, run)


def test_a_resumed_run_knows_what_was_best(config, tmp_path):
    assert train(config, tmp_path, 4) == 143
    state = torch.load(tmp_path / "state.pth", weights_only=True)
    torch.save({**state, "best": 99.0}, tmp_path / "state.pth")
    (tmp_path / "best.pth").write_bytes(b"better than all that comes")
    assert train(config, tmp_path) == 0
    assert (tmp_path / "best.pth").read_bytes() == b"better than all that comes"


def test_every_step_hears_other_examples(config, tmp_path, monkeypatch):
    heard, draw = [], separator.draw_examples

    def listen(*args, **kwargs):
        heard.append(draw(*args, **kwargs))
        return heard[-1]

    monkeypatch.setattr(separator, "draw_examples", listen)
    trainer = SeparatorTrainer(config, tmp_path, CPU)
    for step in range(3):
        trainer.step = step
        trainer._train_step()
    played = [
        window[-100:].tobytes()
        for examples in heard
        for window in examples.dry.reshape(-1, examples.dry.shape[-1])
    ]
    assert len(played) == 3 * 4 * 2 and len(set(played)) > 20


def test_a_finished_run_started_again_changes_nothing(config, run, tmp_path):
    other = tmp_path / "run"
    shutil.copytree(run, other)
    before = {path: path.read_bytes() for path in other.rglob("*") if path.is_file()}
    assert train(config, other) == 0
    assert {path: path.read_bytes() for path in before} == before


def test_what_cannot_be_trained_is_said(tiny, config, tmp_path):
    with pytest.raises(UserError, match="TASK.NAME"):
        SeparatorTrainer(audition_config(tiny, TASK__NAME="near_target"), tmp_path, CPU)
    with pytest.raises(UserError, match=r"AUDITION\.SOURCES is 1"):
        SeparatorTrainer(audition_config(tiny, AUDITION__SOURCES=1), tmp_path, CPU)
    two = World(rank=0, size=2, local_rank=0, local_size=2, device=torch.device("cpu"))
    with pytest.raises(UserError, match="one process"):
        SeparatorTrainer(config, tmp_path, two)
