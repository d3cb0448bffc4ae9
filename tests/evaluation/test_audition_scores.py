"""Scores of an audition episode by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from audition_config import audition_config

from audio_separation.audio.ideal_mask import ideal_mask_waves
from audio_separation.audio.separation_scores import separation_scores
from audio_separation.audio.transform import Stft
from audio_separation.envs.audition.build import build_env
from audio_separation.evaluation.audition.agents import Turn
from audio_separation.evaluation.audition.scores import METRICS, SeparationKeeper, Way, navigation_scores, spl

CPU = torch.device("cpu")
TERMS = [{"step": -0.5, "found": 0.0}, {"step": -0.5, "found": 100.0}]


def way(**changes):
    plain = Way(True, 2, 2, 9, 40, 5.0, 4.0, 3.0, TERMS)
    return plain._replace(**changes)


def test_spl_is_that_of_its_paper():
    assert spl(True, 4.0, 5.0) == pytest.approx(0.8)
    assert spl(True, 4.0, 3.0) == 1.0  # a bound on the way may exceed it by rounding
    assert spl(False, 4.0, 4.0) == 0.0
    assert spl(True, 0.0, 0.0) == 1.0


def test_scores_of_the_way():
    found = navigation_scores(way())
    assert found == {
        "success": 1.0,
        "found_fraction": 1.0,
        "steps": 9.0,
        "spl": pytest.approx(0.8),
        "path_m": 5.0,
        "initial_distance_m": 3.0,
        "reward": 99.0,
        "reward_step": -1.0,
        "reward_found": 100.0,
    }
    failed = navigation_scores(way(success=False, found=1))
    assert (failed["success"], failed["found_fraction"], failed["steps"], failed["spl"]) == (0, 0.5, 40, 0)


def test_the_ideal_mask_of_sounds_apart_is_perfect_and_its_parts_sum_to_the_mixture():
    stft = Stft(256, 64)
    time = torch.arange(4000) / 8000
    images = torch.stack([torch.sin(2 * np.pi * hz * time) for hz in (400.0, 2500.0)])[None, :, None].repeat(
        1, 1, 2, 1
    )
    waves = ideal_mask_waves(images, stft)
    assert separation_scores(waves, images)["si_sdr_db"].item() > 30
    noise = torch.randn(3, 2, 2, 4000, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(ideal_mask_waves(noise, stft).sum(1), noise.mean(2).sum(1), atol=1e-5)


class PerfectSeparator:
    """Knows the answer: the images of the environment, the sources swapped."""

    def __init__(self, env):
        self.env = env

    def waves(self, mix):
        images = torch.tensor(self.env.world.source_images()).mean(1).flip(0)
        return images[None].repeat(len(mix), 1, 1)


def test_separation_is_scored_while_all_sources_sound(tiny):
    # of three sources two still make a mixture that could be scored, but not with the others
    config = audition_config(tiny, AUDITION__SOURCES=3)
    env = build_env(config, "val")
    env.reset(options={"episode": env.episode(3)})
    keeper = SeparationKeeper(config, PerfectSeparator(env), CPU)
    expected = []
    for step in range(4):
        if step == 3:
            env.world.active = np.array([True, False, True])
            env.world._images = None
        turn = Turn([7], [env.world], torch.from_numpy(env.world.source_images().sum(0))[None], None)
        keeper.hear(turn)
        images = torch.tensor(env.world.source_images())[None]
        mixture = images.sum(1).mean(1, keepdim=True).repeat(1, 3, 1)
        expected.append(separation_scores(mixture, images))
        env.step(step % 2)
    scores = keeper.take(7, {"success": 1.0})
    assert list(scores) == ["policy", "mixture", "ideal_mask"]
    assert scores["policy"]["success"] == 1.0 and scores["policy"]["si_sdr_db"] > 60
    for metric in METRICS:
        values = [float(e[metric]) for e in expected[:3]]
        assert scores["mixture"][f"first_{metric}"] == pytest.approx(values[0], abs=1e-5)
        assert scores["mixture"][metric] == pytest.approx(np.mean(values), abs=1e-5)
    assert scores["mixture"]["si_sdr_improvement_db"] == pytest.approx(0, abs=1e-6)
    assert scores["ideal_mask"]["si_sdr_db"] > 10
    with pytest.raises(KeyError):
        keeper.take(7, {})
