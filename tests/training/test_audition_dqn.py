"""The DQN trainer: what it learns from, what it leaves alone, and what it writes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from dqn_runs import CPU, dqn_config, dqn_trainer
from small_config import NoStop, train

from audio_separation.errors import UserError
from audio_separation.rl.replay import Transitions
from audio_separation.training.dqn import DqnTrainer
from audio_separation.training.dqn_validation import Validation
from audio_separation.training.separator_weights import load_separator_weights


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    """Model dir of an uninterrupted training; read only."""
    folder = tmp_path_factory.mktemp("dqn") / "run"
    assert train(dqn_config(tiny), folder) == 0
    return folder


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_what_a_run_leaves(run):
    metrics, episodes = lines(run / "metrics.jsonl"), lines(run / "episodes.jsonl")
    assert [line["step"] for line in metrics] == [50, 100, 120]
    assert [path.name for path in sorted((run / "ckpt").iterdir())] == [
        f"ckpt.{n}.pth" for n in (100, 120, 50)
    ]
    # epsilon falls from 0.9 at step 20 to 0.1 at step 80
    assert [line["policy/epsilon"] for line in metrics] == pytest.approx([0.5, 0.1, 0.1])
    assert [e["episode"] for e in episodes] == sorted(e["episode"] for e in episodes)
    for episode in episodes:
        assert episode["reward"] == pytest.approx(sum(episode["reward_terms"].values()))
        assert episode["reward_terms"]["found"] == 100 * episode["found"]
        assert episode["success"] == (episode["found"] == 2)
        assert episode["success"] or episode["steps"] == 9
        assert episode["initial_distance_m"] > 0.5
    ended = [e["reward"] for e in episodes if e["env_step"] <= 50]
    assert metrics[0]["rollout/reward"] == pytest.approx(np.mean(ended))
    checkpoint = torch.load(run / "best.pth", weights_only=True)
    assert (checkpoint["kind"], checkpoint["num_actions"]) == ("dqn", 4)
    best = json.loads((run / "best.json").read_text())
    ranks = [(line["val/success"], line["val/reward"], -line["step"]) for line in metrics]
    assert best["checkpoint"] == f"ckpt/ckpt.{-max(ranks)[2]}.pth" and checkpoint["step"] == -max(ranks)[2]
    assert not list(run.glob("*replay*"))  # of no more use


def test_a_finished_run_stays_as_it_is(run, tiny):
    before = (run / "state.pth").read_bytes()
    assert train(dqn_config(tiny), run) == 0
    assert (run / "state.pth").read_bytes() == before


@pytest.mark.parametrize("double", [True, False])
def test_an_update_by_hand(tiny, tmp_path, double):
    """One row at a time, with the target network's weights apart from the online ones'."""
    config = dqn_config(tiny, DQN__DOUBLE=double, DQN__LOSS="mse", DQN__GAMMA=0.7, DQN__REWARD_SCALE=0.5)
    trainer = dqn_trainer(config, tmp_path)
    learner, rng = trainer.learner, np.random.default_rng(0)
    with torch.no_grad():
        for weight in learner.target.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))

    def heard():
        audio = rng.standard_normal((4, 2, 2000)).astype(np.float32)
        return {"audio": audio, "pose": rng.standard_normal((4, 4)).astype(np.float32)}

    reward, ends = rng.standard_normal(4).astype(np.float32), np.array([False, True, False, False])
    batch = Transitions(heard(), np.array([0, 3, 1, 3]), reward, ends, heard())
    errors, choices = [], []
    for b in range(4):
        before, after = (
            [torch.from_numpy(o[name][b : b + 1]) for name in ("audio", "pose")]
            for o in (batch.observation, batch.next_observation)
        )
        following = learner.target(*after)[0]
        by_online, by_target = learner.agent(*after)[0].argmax(), following.argmax()
        choices.append(bool(by_online != by_target) and not ends[b])
        chosen = by_online if double else by_target
        expected = 0.5 * reward[b] + (0.0 if ends[b] else 0.7 * following[chosen].item())
        errors.append((learner.agent(*before)[0, batch.action[b]].item() - expected) ** 2)
    assert any(choices)  # else double is not told from single
    assert learner.update(batch)["loss"] == pytest.approx(np.mean(errors), rel=1e-4)


def test_values_come_to_what_actions_earn(tiny, tmp_path):
    """Episodes of one step, whose reward is that of the action: values become the rewards, scaled."""
    config = dqn_config(tiny, AUDITION__SEPARATOR__FROZEN=True, AUDITION__POSE=False, DQN__LR=0.01)
    learner = dqn_trainer(config, tmp_path).learner
    rng = np.random.default_rng(0)
    cues = {
        "cues": rng.standard_normal((64, learner.agent.q_network.layers[0].in_features)).astype(np.float32)
    }
    earned = np.array([10.0, -20.0, 50.0, 0.0], np.float32)
    for _ in range(400):
        action = rng.integers(4, size=64)
        learner.update(Transitions(cues, action, earned[action], np.ones(64, bool), cues))
    values = learner.values(learner.agent, learner.to_device(cues)).detach()
    np.testing.assert_allclose(values, np.tile(earned * config.DQN.REWARD_SCALE, (64, 1)), atol=0.02)
    assert (learner.best_actions(cues) == 2).all()


def test_hard_targets_are_copied_by_environment_steps_and_soft_ones_at_updates(tiny, tmp_path):
    trainer = dqn_trainer(dqn_config(tiny), tmp_path / "hard")
    copied = []
    for _ in range(40):
        trainer._advance()
        same = all(
            torch.equal(a, b) for a, b in zip(trainer.learner.target.parameters(), trainer.agent.parameters())
        )
        if same:
            copied.append(trainer.step)
    # every 15 steps, two at a time; updates come every 4 steps from step 20 on, so equality lasts until the next one
    assert copied == [*range(2, 20, 2), 30, 46, 60, 62, 76, 78] and trainer.learner.updates == 16
    soft = dqn_trainer(dqn_config(tiny, DQN__TARGET="soft", DQN__TAU=0.5), tmp_path / "soft")
    while soft.step < 18:
        soft._advance()
    before = weights(soft.agent)
    soft._advance()  # the first update
    for name, value in soft.learner.target.state_dict().items():
        torch.testing.assert_close(value, (before[name] + soft.agent.state_dict()[name]) / 2)


def play(trainer, steps):
    while trainer.step < steps:
        trainer._advance()
    return trainer


def test_a_frozen_separator_stays_to_the_bit_and_cues_learn_as_sound_does(tiny, tmp_path):
    config = dqn_config(tiny, AUDITION__SEPARATOR__FROZEN=True, AUDITION__SEPARATOR__DROPOUT=0.5)
    cues, sound = (dqn_trainer(config, tmp_path / name) for name in ("cues", "sound"))
    sound._keeps_cues = False
    sound.buffer = type(sound.buffer)(40, 2, balanced=True)  # begun with cues
    sound.counters["episodes"] = 0
    sound._begin(range(2))
    before, head = weights(cues.agent.separator), weights(cues.agent.q_network)
    play(cues, 100)
    play(sound, 100)
    assert set(cues.buffer.current(np.arange(2))) == {"cues", "pose"}
    assert set(sound.buffer.current(np.arange(2))) == {"audio", "pose"}
    for name, value in cues.agent.separator.state_dict().items():
        assert torch.equal(value, before[name]) and torch.equal(
            value, sound.agent.separator.state_dict()[name]
        )
    for name, value in cues.agent.q_network.state_dict().items():
        torch.testing.assert_close(value, sound.agent.q_network.state_dict()[name], rtol=1e-4, atol=1e-5)
        assert not torch.equal(value, head[name]), name


def test_rewards_reach_the_separator_at_its_own_rate(tiny, tmp_path):
    trainer = dqn_trainer(dqn_config(tiny, DQN__SEPARATOR_LR=2e-5, DQN__LR=5e-3), tmp_path)
    separator, head = weights(trainer.agent.separator), weights(trainer.agent.q_network)
    play(trainer, 20)  # one update: Adam's first step is the rate, whatever the gradient
    assert trainer.learner.updates == 1
    for module, before, rate in (
        (trainer.agent.separator, separator, 2e-5),
        (trainer.agent.q_network, head, 5e-3),
    ):
        moved = max((value - before[name]).abs().max() for name, value in module.state_dict().items())
        assert moved.item() == pytest.approx(rate, rel=0.05)


def test_validation_is_greedy_play_of_the_first_episodes(tiny, tmp_path):
    trainer = dqn_trainer(dqn_config(tiny, DQN__VAL_EPISODES=5), tmp_path)
    validation = Validation(trainer.config, trainer.learner, 2)
    scores = validation.run(NoStop())
    rewards, found = [], []
    env = validation.players[0].env
    for number in range(5):
        observation, info = env.reset(options={"episode": env.episode(number)})
        rewards.append(0.0)
        over = False
        while not over:
            with torch.no_grad():
                values = trainer.agent.eval()(
                    *(torch.from_numpy(observation[k])[None] for k in ("audio", "pose"))
                )
            observation, reward, terminated, truncated, info = env.step(values.argmax().item())
            rewards[-1] += reward
            over = terminated or truncated
        found.append(info["found"])
    assert scores["val/reward"] == pytest.approx(np.mean(rewards))
    assert scores["val/found"] == np.mean(found)
    assert validation.run(NoStop()) == scores
    assert validation.run(NoStop(2)) is None
    improvement = scores["separator/si_sdr_db"] - scores["separator/si_sdr_mixture_db"]
    assert scores["separator/si_sdr_improvement_db"] == pytest.approx(improvement)


def test_a_separator_begins_with_given_weights(run, tiny, tmp_path):
    config = dqn_config(tiny, AUDITION__SEPARATOR__CHECKPOINT=run)
    agent = DqnTrainer(config, tmp_path / "new", CPU).agent
    load_separator_weights(agent.separator, run, config)
    best = torch.load(run / "best.pth", weights_only=True)["agent"]
    for name, value in agent.separator.state_dict().items():
        assert torch.equal(value, best[f"separator.{name}"])
    assert (
        train(dqn_config(tiny, AUDITION__SEPARATOR__CHECKPOINT=run, DQN__NUM_STEPS=2), tmp_path / "new") == 0
    )
    begun = torch.load(tmp_path / "new" / "state.pth", weights_only=True)
    for part in (begun["agent"], begun["learner"]["target"]):
        assert all(
            torch.equal(part[name], value) for name, value in best.items() if name.startswith("separator")
        )


def test_weights_of_another_kind_or_meaning_are_refused(run, tiny, tmp_path):
    def refused(match, path, **changes):
        changes["AUDITION__SEPARATOR__CHECKPOINT"] = path
        with pytest.raises(UserError, match=match):
            train(dqn_config(tiny, **changes), tmp_path / "new")
        assert not (tmp_path / "new").exists()

    refused("not found", tmp_path / "nowhere.pth")
    refused(r"INPUT 'logmag', this run has 'spatial'", run, AUDITION__SEPARATOR__INPUT="spatial")
    refused("does not fit the configured separator", run, AUDITION__SEPARATOR__HIDDEN=5)
    torch.save({"kind": "passive", "separator": {}}, tmp_path / "other.pth")
    refused("is of kind 'passive', expected separator or dqn", tmp_path / "other.pth")


def test_what_cannot_be_trained_is_refused(run, tiny, tmp_path):
    config = dqn_config(tiny)
    with pytest.raises(UserError, match="one process, found 2"):
        DqnTrainer(config, tmp_path, replace(CPU, size=2))
    with pytest.raises(
        UserError, match="TASK.NAME audition, found 'near_target'; use configs/audition/otoworld"
    ):
        DqnTrainer(dqn_config(tiny, TASK__NAME="near_target"), tmp_path, CPU)
    copy = tmp_path / "copy"
    shutil.copytree(run, copy, symlinks=True)
    with pytest.raises(UserError, match="trained with NUM_PROCESSES 2, now it is 3"):
        train(dqn_config(tiny, NUM_PROCESSES=3), copy)


def test_a_gradient_that_is_not_finite_ends_the_run(tiny, tmp_path):
    learner = dqn_trainer(dqn_config(tiny), tmp_path).learner
    heard = {"audio": np.zeros((2, 2, 2000), np.float32), "pose": np.zeros((2, 4), np.float32)}
    before = weights(learner.agent)
    with pytest.raises(UserError, match="gradient of update 1 is not finite; lower DQN.LR"):
        reward = np.array([np.nan, 0], np.float32)
        learner.update(Transitions(heard, np.zeros(2, np.int64), reward, np.ones(2, bool), heard))
    assert all(torch.equal(value, before[name]) for name, value in learner.agent.state_dict().items())
