"""Scores of unordered estimates, against closed forms and against every order by hand."""

from __future__ import annotations

import itertools

import pytest
import torch

from audio_separation.audio.metrics import si_bss_eval, si_sdr
from audio_separation.audio.separation_scores import separation_scores


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_every_order_by_hand():
    images, waves = noise(5, 3, 2, 400), noise(5, 3, 400, seed=1)
    refs = images.mean(2)
    waves = waves + refs[:, [2, 0, 1]] * torch.linspace(0.5, 3, 5)[:, None, None]
    scores = separation_scores(waves, images)
    mixture = refs.sum(1)
    for b in range(5):
        by_order = {
            order: torch.stack([si_sdr(waves[b, e], refs[b, s]) for s, e in enumerate(order)]).mean()
            for order in itertools.permutations(range(3))
        }
        best = max(by_order, key=lambda order: by_order[order].item())
        plain = torch.stack([si_sdr(mixture[b], refs[b, s]) for s in range(3)]).mean()
        sir = [si_bss_eval(waves[b, e], refs[b], s)["si_sir"] for s, e in enumerate(best)]
        expected = [by_order[best], plain, by_order[best] - plain, torch.stack(sir).mean()]
        found = [
            scores[f"{name}_db"][b] for name in ("si_sdr", "si_sdr_mixture", "si_sdr_improvement", "si_sir")
        ]
        torch.testing.assert_close(torch.stack(found), torch.stack(expected))


def test_the_mixture_improves_by_nothing_and_the_order_does_not_matter():
    images = noise(2, 2, 2, 300)
    mixture = images.mean(2).sum(1, keepdim=True).expand(-1, 2, -1)
    torch.testing.assert_close(
        separation_scores(mixture, images)["si_sdr_improvement_db"], torch.zeros(2).double()
    )
    waves = images.mean(2) + 0.1 * noise(2, 2, 300, seed=3)
    there, back = separation_scores(waves, images), separation_scores(waves.flip(1), images)
    for name, score in there.items():
        torch.testing.assert_close(score, back[name])


def test_a_known_level_of_noise():
    """Orthogonal references and 20 dB of orthogonal interference: SI-SDR and SI-SIR are 20 dB."""
    t = torch.arange(800).double() / 800 * 2 * torch.pi
    tones = torch.stack([torch.sin(10 * t), torch.sin(23 * t)])
    images = tones[None, :, None].expand(1, 2, 2, -1)
    waves = (tones + 0.1 * tones.flip(0))[None]
    scores = separation_scores(waves, images)
    assert scores["si_sdr_db"].item() == pytest.approx(20, abs=1e-6)
    assert scores["si_sir_db"].item() == pytest.approx(20, abs=1e-6)
    assert scores["si_sdr_mixture_db"].item() == pytest.approx(0, abs=1e-6)


def test_silent_sources_are_left_out_and_one_alone_is_no_number():
    images, waves = noise(2, 3, 2, 300), noise(2, 3, 300, seed=1)
    images[0, 1] = 0
    images[1, :2] = 0
    scores = separation_scores(waves, images)
    refs = images.mean(2)
    best = max(
        (si_sdr(waves[0, a], refs[0, 0]) + si_sdr(waves[0, b], refs[0, 2])).item() / 2
        for a, b in itertools.permutations(range(3), 2)
    )
    assert scores["si_sdr_db"][0].item() == pytest.approx(best)
    assert all(score[1].isnan() for score in scores.values())
    with pytest.raises(ValueError, match="expects waves"):
        separation_scores(waves[:, :2], images)
