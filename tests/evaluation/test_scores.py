"""Scores of single seconds against closed forms and against slow, separate computation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from eval_fakes import CPU, REFINE, STEPS, eval_config, tiny_agent
from plain_spectra import plain_spectra
from tiny import RATE

from audio_separation.audio.metrics import MAX_DB, si_sdr, si_sdr_from_mag
from audio_separation.audio.render import Rendered
from audio_separation.audio.stft import istft
from audio_separation.envs.build import build_simulator, load_task_episodes, open_clips
from audio_separation.envs.rewards import mixture_estimate
from audio_separation.envs.simulator import Observation
from audio_separation.evaluation.episodes import Player
from audio_separation.evaluation.recording import Recorder
from audio_separation.evaluation.scores import CHUNK, ScoreKeeper, Step, dry_sources
from audio_separation.models.separator import SeparatorOutput


def make_observation(mix: torch.Tensor, target_bin: torch.Tensor, mono: torch.Tensor) -> Observation:
    """What the simulator would say of these waveforms, [E, C, L], [E, C, L], [E, 1, L]."""
    spectra = plain_spectra(Rendered(mix, target_bin, mono))
    none = torch.zeros(len(mix))
    return Observation(rgb=None, depth=None, target_class=none.long(), pose=none, **spectra._asdict())


def noise(*shape: int, seed: int) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def second() -> Observation:
    """Two environments; the target of the second one is silent."""
    sounding = torch.tensor([1.0, 0.0])[:, None, None]
    target_bin, mono = noise(2, 2, RATE, seed=0) * sounding, noise(2, 1, RATE, seed=1) * sounding
    return make_observation((target_bin + noise(2, 2, RATE, seed=2)) / 2, target_bin, mono)


def score(observation: Observation, mono_mag: torch.Tensor, mask: torch.Tensor) -> dict:
    keeper = ScoreKeeper(1.2)
    keeper.add(Step(0, observation, SeparatorOutput(mask, mono_mag, mask), mono_mag, {0: mono_mag}))
    return keeper.finish()


def test_silence_scores_072_and_silent_seconds_have_no_ratio(second):
    scores = score(second, second.target_mono_mag + 0.1, torch.ones_like(second.mix_logmag))
    assert scores["silence"]["stft_l2"][:, 0] == pytest.approx([0.72, 0.0], abs=1e-6)
    assert set(scores["silence"]) == {"stft_l2"}
    for method in ("mixture", "passive", "refined", "refined_causal"):
        for metric, values in scores[method].items():
            assert np.isfinite(values[0, 0])
            assert np.isfinite(values[1, 0]) == (metric == "stft_l2"), (method, metric)


def test_perfect_estimate_scores_zero_error_and_large_ratio(second):
    ideal = second.target_bin_stft / second.mix_stft
    # a real mask cannot be perfect on this mixture, so the mixture is the target alone
    alone = second._replace(mix_stft=second.target_bin_stft / 2, mix_logmag=second.mix_logmag)
    scores = score(alone, second.target_mono_mag, torch.full_like(ideal.real, 0.7))
    assert scores["refined"]["stft_l2"][0, 0] == 0
    assert scores["refined"]["si_sdr_db"][0, 0] > 60
    assert scores["passive"]["bin_si_sdr_db"][0, 0] == pytest.approx(MAX_DB)


def test_scores_equal_the_single_computations(second):
    estimate = second.target_mono_mag + noise(2, 1, 512, 32, seed=3).abs()
    mask = noise(2, 2, 512, 32, seed=4).abs()
    scores = score(second, estimate, mask)
    one = second.target_mono_stft[0, 0]
    mixture = mixture_estimate(second.mix_stft.abs())
    for method, mag in (("passive", estimate), ("refined", estimate), ("mixture", mixture)):
        error = 0.5 * (mag - second.target_mono_mag).square().mean((1, 2, 3))
        assert scores[method]["stft_l2"][:, 0] == pytest.approx(error.numpy(), rel=1e-5)
        expected = si_sdr_from_mag(mag[0, 0], one)
        assert scores[method]["si_sdr_db"][0, 0] == pytest.approx(float(expected), abs=1e-3)
    ears = [
        si_sdr(istft(x), istft(second.target_bin_stft[0])).mean()
        for x in (mask[0] * second.mix_stft[0], second.mix_stft[0])
    ]
    for method in ("passive", "refined", "refined_causal"):
        assert scores[method]["bin_si_sdr_db"][0, 0] == pytest.approx(float(ears[0]), abs=1e-6)
        assert scores[method]["bin_si_sdr_improvement_db"][0, 0] == pytest.approx(
            float(ears[0] - ears[1]), abs=1e-6
        )
    assert scores["mixture"]["bin_si_sdr_db"][0, 0] == pytest.approx(float(ears[1]), abs=1e-6)
    assert scores["mixture"]["bin_si_sdr_improvement_db"][0, 0] == 0


@pytest.mark.parametrize("threads", [1, 2])
def test_scores_in_parts_equal_those_of_each_alone(threads):
    """More environments than are scored together, of which the last part is a short one."""
    envs = CHUNK + 1
    many = make_observation(*(noise(envs, c, RATE, seed=10 + i) for i, c in enumerate((2, 2, 1))))
    estimate = many.target_mono_mag + noise(envs, 1, 512, 32, seed=3).abs()
    mask = noise(envs, 2, 512, 32, seed=4).abs()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    together = score(many, estimate, mask)
    torch.set_num_threads(before)
    for e in range(envs):
        one = Observation(*(None if value is None else value[e : e + 1] for value in many))
        for method, metrics in score(one, estimate[e : e + 1], mask[e : e + 1]).items():
            for metric, values in metrics.items():
                np.testing.assert_allclose(
                    together[method][metric][e], values[0], rtol=1e-6, atol=1e-6, err_msg=f"{method} {metric}"
                )


def test_a_second_without_a_final_estimate_is_an_error(second):
    keeper, mask = ScoreKeeper(1.2), torch.ones_like(second.mix_logmag)
    heard = SeparatorOutput(mask, second.target_mono_mag, mask)
    keeper.add(Step(0, second, heard, second.target_mono_mag, {}))
    with pytest.raises(AssertionError, match=r"seconds \[0\]"):
        keeper.finish()


def test_refined_estimates_follow_the_published_protocol(tiny):
    """Each second by the memory's look from REFINE steps later, or from the episode's end."""
    config = eval_config(tiny, NUM_PROCESSES=2)
    agent = tiny_agent(config, 3)
    episodes = load_task_episodes(config)[:2]
    simulator = build_simulator(config, episodes, 2, CPU, target_bin=True)

    class Keep:
        def __init__(self):
            self.mono, self.causal, self.final = [], [], {}

        def add(self, step):
            assert all(second >= step.second - REFINE for second in step.final)
            self.final.update(step.final)
            self.mono.append(step.heard.mono_mag)
            self.causal.append(step.refined)

    keep = Keep()
    Player(agent, simulator, config).play(episodes, [keep])
    assert list(keep.final) == list(range(STEPS))
    size = config.MEMORY.SIZE
    for s in range(STEPS):
        for seen_from, found in ((min(s + REFINE, STEPS - 1), keep.final[s]), (s, keep.causal[s])):
            first = max(0, seen_from - size + 1)
            window = torch.stack(keep.mono[first : seen_from + 1], 1)
            steps = torch.arange(first, seen_from + 1).expand(2, -1)
            with torch.no_grad():
                refined = agent.memory(window, steps, torch.ones_like(steps, dtype=torch.bool))
            torch.testing.assert_close(found, refined[:, s - first], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(keep.final[0], keep.causal[0], rtol=1e-4)  # later steps do matter


def test_dry_sources_and_recording_are_what_was_played(tiny):
    config = eval_config(tiny)
    episodes = load_task_episodes(config)[:1]
    simulator = build_simulator(config, episodes, 1, CPU, target_bin=True)
    sources = dry_sources(open_clips(config), episodes, CPU)
    recorder, waves = Recorder(sources), []

    class Note:
        def add(self, step):
            waves.append(simulator.waveforms())

    Player(tiny_agent(config, 3), simulator, config).play(episodes, [recorder, Note()])
    recording = recorder.recording(0)
    for name, field in (("mixture", "mix_bin"), ("target_bin", "target_bin"), ("target_mono", "target_mono")):
        expected = np.concatenate([getattr(wave, field)[0].numpy() for wave in waves], -1)
        assert np.abs(getattr(recording, name) - expected).max() < 1e-5, name
    # the true phase and level are given back: the estimate's level is of the target's order
    ratio = recording.refined_mono.std() / recording.target_mono.std()
    assert 0.2 < ratio < 5
    assert recording.mags["mixture"].shape == (2, 512, 32 * STEPS)


def test_recording_puts_the_true_level_back(second):
    """A perfect estimate, recorded, is the target's own dry sound."""
    dry = istft(second.target_mono_stft) * 0.37
    recorder = Recorder(lambda index: dry)
    mask = torch.ones_like(second.mix_logmag)
    perfect = second.target_mono_mag
    recorder.add(Step(0, second, SeparatorOutput(mask, perfect, mask), perfect, {0: perfect}))
    recording = recorder.recording(0)
    assert np.abs(recording.passive_mono - dry[0].numpy()).max() < 1e-5
    assert np.abs(recording.separated_bin - recording.mixture).max() < 1e-6
