"""Collecting rollouts and learning from them."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from small_config import NoStop, small_config, train

from audio_separation.errors import UserError
from audio_separation.models.agent import EpisodeMemory, shrink_images
from audio_separation.models.build import build_memory
from audio_separation.models.memory_loss import make_targets
from audio_separation.rl.ppo import log_prob
from audio_separation.training.active import ActiveTrainer
from audio_separation.training.checkpoint import load_checkpoint
from audio_separation.training.distributed import World
from audio_separation.training.rollout import Rollout, RolloutBuffer, episode_order

CPU = torch.device("cpu")
ONE = World(rank=0, size=1, local_rank=0, local_size=1, device=CPU)


@pytest.fixture(scope="module")
def trainer(active_config, tmp_path_factory) -> ActiveTrainer:
    trainer = ActiveTrainer(active_config, tmp_path_factory.mktemp("unused"), ONE)
    trainer._load_pretrained()
    # a memory that has learnt something, so that refined and passive estimates differ
    with torch.no_grad():
        for parameter in trainer.agent.memory.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.05)
    return trainer


@pytest.fixture(scope="module")
def rollout(trainer) -> Rollout:
    return trainer.collect()[0]


# ---- order of the episodes -----------------------------------------------------------------------------
@pytest.mark.parametrize(("episodes", "envs"), [(24, 4), (10, 4), (3, 8), (1, 2)])
def test_every_episode_comes_once_a_pass(episodes, envs):
    played = [i for update in range(30) for i in episode_order(episodes, update, envs, seed=5)]
    for start in range(0, len(played) - episodes + 1, episodes):
        assert sorted(played[start : start + episodes]) == list(range(episodes))


def test_order_is_drawn_anew_each_pass_and_by_the_seed():
    passes = [tuple(episode_order(24, update, 24, seed)) for seed in (0, 1) for update in (0, 1)]
    assert len(set(passes)) == 4
    assert passes[0] == tuple(episode_order(24, 0, 24, 0))


def test_order_does_not_depend_on_how_many_play_at_once():
    together = [i for u in range(6) for i in episode_order(10, u, 4, 0)]
    assert together == [i for u in range(3) for i in episode_order(10, u, 8, 0)]


# ---- rollout -------------------------------------------------------------------------------------------
def test_rollout_envs_selects_environments_and_keeps_steps():
    field = torch.arange(12.0).view(3, 4)
    whole = Rollout(None, None, *[field + i for i in range(8)])
    part = whole.envs(torch.tensor([3, 1]))
    assert part.rgb is None and part.depth is None
    assert part.bin_mag.tolist() == [[3, 1], [7, 5], [11, 9]]
    assert torch.equal(part.rewards, (field + 7)[:, [3, 1]])


def test_rollout_buffer_holds_the_steps_in_order():
    buffer = RolloutBuffer(3)
    names = [name for name in Rollout._fields if name not in ("rgb", "depth", "rewards")]
    for t in range(3):
        buffer.write(t, rgb=torch.full((2, 1), t, dtype=torch.uint8), depth=None)
        buffer.write(t, **{name: torch.tensor([t + 0.5, -t]) for name in names})
    rollout = buffer.rollout(torch.ones(3, 2))
    assert rollout.rgb.dtype == torch.uint8 and rollout.rgb.tolist() == [[[0], [0]], [[1], [1]], [[2], [2]]]
    assert rollout.depth is None and torch.equal(rollout.rewards, torch.ones(3, 2))
    for name in names:
        assert getattr(rollout, name).tolist() == [[0.5, 0], [1.5, -1], [2.5, -2]]


def test_reward_of_an_action_is_the_quality_of_the_next_second(trainer, rollout):
    steps, envs = rollout.actions.shape
    assert (steps, envs) == (4, 4)
    for t in range(steps):
        for e in range(envs):
            if t + 1 == steps:
                assert rollout.rewards[t, e] == 0
                continue
            error = (rollout.refined[t + 1, e].double() - rollout.target_mono_mag[t + 1, e].double()) ** 2
            assert rollout.rewards[t, e].item() == pytest.approx(-error.mean().item() / 1.44, rel=1e-5)
    assert (rollout.rewards[:-1] < 0).all()


def test_rollout_is_what_the_simulator_plays_for_these_actions(trainer, rollout):
    # the actions of the rollout, played again step by step, with the separators applied afresh
    order = episode_order(len(trainer.episodes), 0, 4, 0)
    observation = trainer.simulator.reset([trainer.episodes[i] for i in order])
    for t in range(4):
        heard = trainer.agent.listen(observation.mix_logmag, observation.target_class)
        assert torch.equal(heard.mono_mag, rollout.mono_mag[t])
        assert torch.equal(heard.bin_mag, rollout.bin_mag[t])
        assert torch.equal(observation.target_mono_mag, rollout.target_mono_mag[t])
        if t < 3:
            observation = trainer.simulator.step(rollout.actions[t].numpy())


def test_collecting_again_gives_the_same(trainer, rollout):
    for a, b in zip(trainer.collect()[0], rollout):
        assert (a is None and b is None) or torch.equal(a, b)


def test_the_policy_seen_again_has_the_probabilities_it_acted_with(trainer, rollout):
    hidden = trainer.agent.policy.initial_hidden(4)
    with torch.no_grad():
        logits, values = trainer.agent.policy.evaluate_sequence(
            rollout.rgb,
            rollout.depth,
            rollout.bin_mag,
            rollout.refined,
            hidden,
            torch.ones_like(rollout.rewards),
        )
    torch.testing.assert_close(log_prob(logits, rollout.actions), rollout.log_prob, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(values, rollout.values, atol=1e-5, rtol=1e-5)


def test_first_epoch_starts_where_the_rollout_was_collected(active_config, tmp_path):
    config = active_config.clone()
    config.defrost()
    config.PPO.EPOCHS = 1
    trainer = ActiveTrainer(config, tmp_path, ONE)
    trainer._load_pretrained()
    metrics = trainer.update_policy(trainer.collect()[0])
    assert abs(metrics["policy/approx_kl"]) < 1e-6 and metrics["policy/clip_fraction"] == 0
    # advantages have mean 0, so the surrogate of an unchanged policy is 0
    assert abs(metrics["policy/action"]) < 1e-5


def test_images_are_shrunk_for_the_rollout(rollout):
    assert (
        rollout.rgb.shape == (4, 4, 32, 32, 3) and rollout.rgb.dtype == torch.uint8 and rollout.depth is None
    )
    rgb = torch.arange(2 * 4 * 4 * 3, dtype=torch.uint8).view(2, 4, 4, 3)
    small, none = shrink_images(rgb, torch.zeros(2, 4, 4, 1), "rgb", 2)
    assert none is None
    expected = rgb.view(2, 2, 2, 2, 2, 3).double().mean((2, 4))  # of blocks of 2 x 2 pixels
    assert (small.double() - expected).abs().max() <= 0.5
    _, depth = shrink_images(rgb, torch.full((2, 4, 4, 1), 0.25), "depth", 2)
    torch.testing.assert_close(depth, torch.full((2, 2, 2, 1), 0.25))


# ---- frozen and learning parts -------------------------------------------------------------------------
def test_separators_stay_what_they_were_and_the_rest_learns(trainer, passive_run, active_run):
    pretrained = load_checkpoint(passive_run / "best.pth")["separator"]
    learnt = load_checkpoint(active_run / "state.pth")["agent"]
    assert any("running_var" in name for name in pretrained) and any(
        "num_batches" in name for name in pretrained
    )
    for name, tensor in pretrained.items():  # BatchNorm's statistics and counters too
        assert torch.equal(learnt[f"separator.{name}"], tensor), name
    fresh = ActiveTrainer(trainer.config, active_run, ONE).agent.state_dict()
    for part in ("memory", "policy"):
        changed = [n for n in fresh if n.startswith(part + ".") and not torch.equal(fresh[n], learnt[n])]
        assert len(changed) > 5, part
    assert not trainer.agent.train().separator.training
    assert not any(p.requires_grad for p in trainer.agent.separator.parameters())


def test_the_memory_learns_by_its_own_loss_alone_and_the_policy_by_ppo(active_config, tmp_path):
    trainer = ActiveTrainer(active_config, tmp_path, ONE)
    trainer._load_pretrained()
    rollout, _ = trainer.collect()
    before = {k: v.clone() for k, v in trainer.agent.state_dict().items()}

    def changed():
        return {
            k.split(".")[0] for k, v in trainer.agent.state_dict().items() if not torch.equal(v, before[k])
        }

    trainer.update_policy(rollout)
    assert changed() == {"policy"}
    before.update({k: v.clone() for k, v in trainer.agent.state_dict().items()})
    metrics = trainer.update_separator(rollout)
    assert changed() == {"memory"}
    assert metrics["separator/memory_loss_last_epoch"] < metrics["separator/memory_loss"]


# ---- memory --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("size", "last"), [(4, 1), (4, 3), (10, 10)])
def test_memory_step_by_step_equals_one_pass_per_step(trainer, size, last):
    mono = torch.rand(3, 7, 1, 512, 32, generator=torch.Generator().manual_seed(3))
    net = trainer.agent.memory
    memory = EpisodeMemory(net, size)
    for t in range(7):
        stepwise = memory.add(mono[:, t], last)
        held = list(range(max(0, t - size + 1), t + 1))
        steps = torch.tensor(held).expand(3, -1)
        with torch.no_grad():
            plain = net(mono[:, held], steps, torch.ones_like(steps, dtype=torch.bool))
        torch.testing.assert_close(stepwise, plain[:, -last:], atol=1e-5, rtol=1e-5)


def test_chunks_of_environments_give_the_same_memory_gradients(trainer, rollout):
    mono, target = rollout.mono_mag.transpose(0, 1), rollout.target_mono_mag.transpose(0, 1)
    found = []
    config = trainer.config
    for chunk in (1, 3, 4):
        trainer.config = config.clone()
        trainer.config.defrost()
        trainer.config.MEMORY_UPDATE.CHUNK = chunk
        targets = make_targets(trainer.agent.memory, mono, target)
        loss = trainer._memory_gradients(targets, [0, 1, 2, 3])
        found.append((loss, [p.grad.clone() for p in trainer.agent.memory.parameters()]))
    trainer.config = config
    for loss, gradients in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-5)
        for a, b in zip(gradients, found[0][1]):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-7)


def test_drawn_windows_differ_by_epoch_and_are_drawn_again_alike(trainer):
    config = trainer.config
    trainer.config = config.clone()
    trainer.config.defrost()
    trainer.config.MEMORY_UPDATE.WINDOWS = 5
    drawn = [trainer._memory_steps(epoch, 20) for epoch in range(4)]
    assert all(len(set(d)) == 5 and d == sorted(d) and d[0] >= 0 and d[-1] < 20 for d in drawn)
    assert len(set(map(tuple, drawn))) > 1 and trainer._memory_steps(2, 20) == drawn[2]
    trainer.config = config
    assert trainer._memory_steps(0, 20) == list(range(20))


# ---- settings that cannot work -------------------------------------------------------------------------
def test_a_rollout_is_one_episode(tiny, tmp_path):
    with pytest.raises(UserError, match="PPO.NUM_STEPS is 4 and TASK.EPISODE_STEPS 5"):
        ActiveTrainer(small_config(tiny, TASK__EPISODE_STEPS=5), tmp_path, ONE)


@pytest.mark.parametrize("given", ["", "nowhere", "empty"])
def test_without_pretrained_separators_nothing_is_left_behind(tiny, active_config, tmp_path, given):
    (tmp_path / "empty").mkdir()
    config = active_config.clone()
    config.defrost()
    config.TRAIN.PASSIVE_CHECKPOINT = given and str(tmp_path / given)
    expected = (
        "best.pth not found"
        if given == "empty"
        else "nowhere not found"
        if given
        else "PASSIVE_CHECKPOINT is empty"
    )
    with pytest.raises(UserError, match=expected):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert (
        train(active_config, tmp_path / "run", stop_after=0) == 143
    )  # the right one then works in the same model dir


def test_separators_of_other_settings_or_classes_are_refused(active_config, passive_run, tmp_path):
    def attempt(change, message):
        content = torch.load(passive_run / "best.pth", weights_only=True)
        change(content)
        torch.save(content, tmp_path / "other.pth")
        config = active_config.clone()
        config.defrost()
        config.TRAIN.PASSIVE_CHECKPOINT = str(tmp_path / "other.pth")
        with pytest.raises(UserError, match=message):
            train(config, tmp_path / "run")
        assert not (tmp_path / "run").exists()

    attempt(lambda c: c.update(classes=["a", "b"]), "2 classes that are not the corpus' 4")
    attempt(
        lambda c: c["config"].update({"SEPARATOR.MASK_MAX": 3.0}), r"SEPARATOR.MASK_MAX 3.0, this run has 2.0"
    )
    attempt(lambda c: c.pop("separator"), "has no 'separator'")
    attempt(lambda c: c["separator"].popitem(), "1 tensors are missing")


def test_resuming_with_another_number_of_environments_is_refused(active_config, active_run):
    config = active_config.clone()
    config.defrost()
    config.NUM_PROCESSES = 3
    with pytest.raises(UserError, match="with 4 environments over all processes, now there are 3"):
        train(config, active_run)


def test_more_environments_than_episodes(tiny, active_config, tmp_path):
    config = active_config.clone()
    config.defrost()
    config.DATA.MAX_EPISODES, config.NUM_PROCESSES, config.NUM_UPDATES = 2, 5, 1
    assert train(config, tmp_path / "run") == 0
    assert json.loads((tmp_path / "run" / "metrics.jsonl").read_text())["step"] == 1


def test_several_minibatches_and_every_kind_of_vision(active_config, tmp_path):
    for vision, parts in (("none", 1), ("rgbd", 3), ("depth", 4)):
        config = active_config.clone()
        config.defrost()
        config.POLICY.VISION, config.PPO.MINIBATCHES, config.NUM_UPDATES = vision, parts, 1
        assert train(config, tmp_path / vision) == 0
        metrics = json.loads((tmp_path / vision / "metrics.jsonl").read_text())
        assert np.isfinite(list(metrics.values())).all()


def test_numbered_checkpoints_and_the_state(active_run):
    assert sorted(p.name for p in (active_run / "ckpt").iterdir()) == [f"ckpt.{n}.pth" for n in (2, 4, 6, 8)]
    content = torch.load(active_run / "ckpt" / "ckpt.4.pth", weights_only=True)
    assert content["update"] == 4 and content["kind"] == "active" and "policy_optimizer" not in content
    assert content["config"]["MEMORY.CHANNELS"] == 2 and content["classes"] == [
        "music",
        "spk00",
        "spk01",
        "esc",
    ]
    assert torch.load(active_run / "state.pth", weights_only=True)["update"] == 8
    lines = [json.loads(line) for line in (active_run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert not any(key.startswith("time/") for line in lines for key in line)


def test_gain_memory_changes_nothing_before_training(active_config, active_run):
    memory = build_memory(active_config)
    mono = torch.rand(1, 1, 512, 32)
    torch.testing.assert_close(EpisodeMemory(memory, 4).add(mono)[:, -1], mono)
    first = json.loads((active_run / "metrics.jsonl").read_text().splitlines()[0])
    assert first["rollout/refined_stft_l2"] == pytest.approx(first["rollout/passive_stft_l2"], rel=1e-6)
    assert NoStop().signal is None


def test_a_numbered_checkpoint_is_no_state_to_resume_from(active_config, active_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(active_run, run)
    shutil.copy(run / "ckpt" / "ckpt.4.pth", run / "state.pth")
    with pytest.raises(UserError, match=r"state\.pth lacks num_envs, policy_optimizer, memory_optimizer"):
        train(active_config, run)
