"""Agents by Stable-Baselines3: a training that was stopped or killed goes on to the same curves and weights."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from small_config import REPO, NoStop, override_words, train
from synth_worlds import SMALL_SYNTH, make_synth_data, make_table, synth_config

from audio_separation.config import get_config
from audio_separation.envs.control import build_control_env
from audio_separation.envs.synth import world as world_module
from audio_separation.envs.synth.space import Scaler
from audio_separation.envs.synth.world import open_world
from audio_separation.errors import UserError
from audio_separation.evaluation.run import evaluate
from audio_separation.training.build import build_trainer
from audio_separation.training.checkpoint import load_checkpoint
from audio_separation.training.distributed import World
from audio_separation.training.logging import read_metrics
from audio_separation.training.sb3.bundle import load_policy
from audio_separation.training.sb3.state import capture

ONE = World(rank=0, size=1, local_rank=0, local_size=1, device=torch.device("cpu"))
STEP_SIGNAL = {
    "TASK.NAME": "step_signal",
    "STEP_SIGNAL.MAX_STEPS": "10",
    "STEP_SIGNAL.SECONDS": "5",
    "STEP_SIGNAL.LOG_CUTOFF_STEP": "1",
    "STEP_SIGNAL.OFFSET_STEP": "2",
}
OFF_POLICY = {"SB3__NUM_STEPS": 100, "SB3__SAVE_EVERY": 20, "SB3__EVAL_EVERY": 50, "SB3__BATCH": 8}
KINDS = {
    "PPO": {"SB3__LR_DECAY": True},
    "A2C": {"SYNTH__REWARD_NOISE": 0.3},
    "DQN": {"SYNTH__ACTIONS": "joint", "SB3__TARGET_EVERY": 30, "SB3__EPSILON_FRACTION": 0.9, **OFF_POLICY},
    "SAC": {"SYNTH__ACTIONS": "delta", "SB3__TRAIN_FREQ": 6, **OFF_POLICY},
    "TD3": {"SYNTH__ACTIONS": "delta", "SB3__BUFFER": 60, **OFF_POLICY},
    "DDPG": {"SYNTH__ACTIONS": "delta", "NUM_PROCESSES": 1, **OFF_POLICY},
    "DDPG+HER": {"SB3__HER": True, "SB3__BUFFER": 80, **OFF_POLICY},
}


def config_of(root, kind):
    algorithm, _, her = kind.partition("+")
    changes = {"SB3__ALGORITHM": algorithm, "VERBOSE": False, **KINDS[kind]}
    if not her:
        return synth_config(root, **changes)
    return get_config(None, override_words({**SMALL_SYNTH, **STEP_SIGNAL}, changes))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_synth_data(tmp_path_factory.mktemp("synth"))


@pytest.fixture(scope="module")
def finished(root, tmp_path_factory):
    """A finished PPO run; read it, never change it."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert train(config_of(root, "PPO"), folder) == 0
    return folder


def flatten(tree, name=""):
    if isinstance(tree, (dict, list, tuple)):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return [leaf for key, value in items for leaf in flatten(value, f"{name}/{key}")]
    return [(name, tree)]


def assert_same_run(one, two):
    for name in ("metrics.jsonl", "best.json"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    names = sorted(path.name for path in (one / "ckpt").iterdir())
    assert names == sorted(path.name for path in (two / "ckpt").iterdir()) and len(names) >= 2
    for name in names:
        leaves = [flatten(torch.load(run / "ckpt" / name, weights_only=True)) for run in (one, two)]
        assert len(leaves[0]) == len(leaves[1]) > 10
        for (key, a), (other, b) in zip(*leaves):
            assert key == other
            assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b, key


# ---- resuming -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", list(KINDS))
def test_stopped_anywhere_it_ends_as_if_it_never_was(root, tmp_path, kind):
    """Before anything was learnt, amid it, and more than once; a look is before a rollout."""
    config, whole, run = config_of(root, kind), tmp_path / "whole", tmp_path / "stopped"
    assert train(config, whole) == 0
    metrics = read_metrics(whole / "metrics.jsonl")
    assert any("eval/mean_reward" in line for line in metrics)
    assert any(key.startswith("train/") for line in metrics for key in line)
    assert any("rollout/ep_rew_mean" in line for line in metrics)
    looks = (1, 1, 1) if kind in ("PPO", "A2C") else (2, 5, 4)
    assert [train(config, run, stop_after=count) for count in looks] == [143] * 3
    stopped = torch.load(run / "state.pth", weights_only=True)
    assert 0 < stopped["step"] < config.SB3.NUM_STEPS and stopped["training"] is not None
    assert train(config, run) == 0
    assert_same_run(whole, run)
    # what was learnt can be judged
    assert evaluate(config, str(run), ONE, NoStop()) == 0
    (summary,) = run.glob("eval/*/ckpt.*/summary.json")
    assert json.loads(summary.read_text())["episodes"] == 4


@pytest.mark.parametrize("kind", ["PPO", "SAC"])
def test_killed_long_after_a_save(root, tmp_path, monkeypatch, kind):
    """What came after the state is dropped and comes again, the half line of a killed run too."""
    from audio_separation.training.sb3 import trainer

    config, whole, run = config_of(root, kind), tmp_path / "whole", tmp_path / "killed"
    assert train(config, whole) == 0
    keep = trainer.Sb3Trainer._keep

    def die_after_the_first(self, step, reward, success):
        keep(self, step, reward, success)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Sb3Trainer, "_keep", die_after_the_first)
        with pytest.raises(KeyboardInterrupt):
            train(config, run)
    state = torch.load(run / "state.pth", weights_only=True)
    with open(run / "metrics.jsonl", "a") as file:
        file.write(json.dumps({"step": state["step"] + 1, "rollout/ep_rew_mean": 99.0}) + "\n")
        file.write('{"step": 4')
    assert train(config, run) == 0
    assert_same_run(whole, run)


def test_a_finished_run_stays_finished(root, finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run, symlinks=True)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert train(config_of(root, "PPO"), run) == 0
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    with pytest.raises(UserError, match=r"holds another experiment \(SB3.NUM_STEPS is 128 there, 256 now\)"):
        train(synth_config(root, SB3__NUM_STEPS=256, SB3__LR_DECAY=True, VERBOSE=False), run)


def test_another_number_of_environments_is_refused(root, tmp_path):
    run = tmp_path / "run"
    assert train(config_of(root, "A2C"), run, stop_after=2) == 143
    with pytest.raises(
        UserError, match=r"state.pth was trained with NUM_PROCESSES 2, now it is 3; resume with the"
    ):
        train(synth_config(root, SB3__ALGORITHM="A2C", SYNTH__REWARD_NOISE=0.3, NUM_PROCESSES=3), run)


def test_a_table_that_was_computed_anew_is_refused(root, tmp_path):
    """The same place, other sounds: what was learnt so far would hear other numbers."""
    run, table = tmp_path / "run", tmp_path / "table"
    make_table(table, subdivisions=4)
    config = synth_config(root, SYNTH__TABLE=table, VERBOSE=False)
    assert train(config, run, stop_after=1) == 143
    make_table(table, subdivisions=5)
    world_module._load_table.cache_clear()  # as in a new process
    with pytest.raises(UserError, match=r"state\.pth was trained with the lookup table \w{12}, found \w{12}"):
        train(config, run)
    make_table(table, subdivisions=4)
    world_module._load_table.cache_clear()
    assert train(config, run) == 0


def test_a_damaged_state_is_told(root, tmp_path):
    run = tmp_path / "run"
    assert train(config_of(root, "PPO"), run, stop_after=1) == 143
    whole = (run / "state.pth").read_bytes()
    (run / "state.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"state\.pth is damaged"):
        train(config_of(root, "PPO"), run)


# ---- what is kept ---------------------------------------------------------------------------------------
def test_checkpoints_are_tensors_and_plain_data(root, finished):
    paths = sorted(finished.rglob("*.pth"))
    assert {p.name for p in paths} == {"ckpt.64.pth", "ckpt.128.pth", "best.pth", "state.pth"}
    for path in paths:
        torch.load(path, weights_only=True)
    content = torch.load(finished / "ckpt/ckpt.128.pth", weights_only=True)
    assert (content["kind"], content["task"], content["algorithm"], content["step"]) == (
        "sb3",
        "synth",
        "PPO",
        128,
    )
    assert content["config"]["SYNTH.NAME"] == "sine"
    world = open_world(config_of(root, "PPO"), "val")
    assert content["sounds"]["table_hash"] == world.table.hash
    scaled = Scaler.from_plain(content["sounds"]["scaler"])(world.space.rows)
    assert (scaled == world.instrument.rows).all()


def test_the_best_by_its_record(finished):
    record = json.loads((finished / "best.json").read_text())
    assert [c["checkpoint"] for c in record["candidates"]] == ["ckpt/ckpt.64.pth", "ckpt/ckpt.128.pth"]
    judged = {line["step"]: line["eval/mean_reward"] for line in read_metrics(finished / "metrics.jsonl")
              if "eval/mean_reward" in line}  # fmt: skip
    assert judged.keys() == {64, 128}
    for candidate, reward in zip(record["candidates"], judged.values()):
        assert candidate["value"] == pytest.approx(reward)
    best = max(judged, key=judged.__getitem__)
    assert record["checkpoint"] == f"ckpt/ckpt.{best}.pth"
    assert torch.load(finished / "best.pth", weights_only=True)["step"] == best


def test_success_comes_before_reward(root, tmp_path):
    """Of validations with success, that with the most is the best, whatever its reward."""
    trainer = build_trainer(config_of(root, "PPO"), str(tmp_path), ONE)
    trainer.run(NoStop(0))
    trainer.validations = []
    for step, reward, success in ((1, 5.0, 0.2), (2, -3.0, 0.6), (3, -2.0, 0.6), (4, 9.0, 0.0)):
        trainer._keep(step, reward, success)
    assert json.loads((tmp_path / "best.json").read_text())["checkpoint"] == "ckpt/ckpt.3.pth"
    assert len(capture(trainer.model, trainer.envs)["episodes"]) == 2


def test_validation_plays_the_first_episodes_of_its_split(root, finished):
    """Three episodes by two environments are 0, 1 and 2, whichever environment plays two of them."""
    config = config_of(root, "PPO")
    env = build_control_env(config, "val")
    for number, line in ((64, 0), (128, 1)):
        path = finished / f"ckpt/ckpt.{number}.pth"
        content = load_checkpoint(path)
        policy = load_policy(
            config, content, path, env.observation_space, env.action_space, torch.device("cpu")
        )
        returns = []
        for episode in range(3):
            (observation, _), over, rewards = env.reset(options={"episode": episode}), False, []
            while not over:
                action, _ = policy.predict(observation, deterministic=True)
                observation, reward, _, over, _ = env.step(action)
                rewards.append(reward)
            returns.append(sum(rewards))
        assert len(set(returns)) == 3
        judged = [m for m in read_metrics(finished / "metrics.jsonl") if "eval/mean_reward" in m][line]
        assert judged["step"] == number
        assert judged["eval/mean_reward"] == pytest.approx(sum(returns) / 3, abs=1e-5)


# ---- what is refused ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("algorithm", "actions", "message"),
    [
        (
            "DQN",
            "steps",
            r"SB3.ALGORITHM DQN needs actions in a Discrete space, found MultiDiscrete; set SYNTH.ACTIONS jo",
        ),
        ("DQN", "delta", r"DQN needs actions in a Discrete space, found Box"),
        ("SAC", "steps", r"SAC needs actions in a Box space, found MultiDiscrete; set SYNTH.ACTIONS delta"),
        ("TD3", "joint", r"TD3 needs actions in a Box space, found Discrete"),
        ("DDPG", "joint", r"DDPG needs actions in a Box space"),
    ],
)
def test_algorithms_that_do_not_fit_the_actions(root, tmp_path, algorithm, actions, message):
    run = tmp_path / "run"
    with pytest.raises(UserError, match=message):
        train(synth_config(root, SB3__ALGORITHM=algorithm, SYNTH__ACTIONS=actions), run)
    assert not run.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"SB3__HER": True},
            "SB3.HER relabels goals for off-policy algorithms, found SB3.ALGORITHM PPO on TASK.NAME syn",
        ),
        (
            {"SB3__HER": True, "SB3__ALGORITHM": "SAC", "SYNTH__ACTIONS": "delta"},
            "found SB3.ALGORITHM SAC on TASK.NAME s",
        ),
        ({"SB3__HIDDEN": "[]"}, r"SB3.HIDDEN must list widths of layers, found \[\]"),
        ({"SB3__HIDDEN": "[8,0]"}, r"SB3.HIDDEN must list widths"),
        ({"SB3__BATCH": 1}, "SB3.BATCH must be 2 or more for PPO, found 1"),
        (
            {"SB3__ROLLOUT": 1, "NUM_PROCESSES": 1},
            "SB3.ROLLOUT times NUM_PROCESSES must be 2 or more for PPO",
        ),
    ],
)
def test_settings_that_no_training_can_have(root, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        train(synth_config(root, **changes), tmp_path / "run")


@pytest.mark.parametrize(("key", "value"), [("START_STEPS", 19), ("BUFFER", 39)])
def test_hindsight_needs_a_whole_episode(tmp_path, key, value):
    """Two environments have played one of 10 steps each after 20."""
    changes = {"SB3__ALGORITHM": "DDPG", **KINDS["DDPG+HER"], f"SB3__{key}": value}
    config = get_config(None, override_words({**SMALL_SYNTH, **STEP_SIGNAL}, changes))
    with pytest.raises(
        UserError, match=rf"SB3.HER needs .* SB3.{key} must be {value + 1} or more, found {value}"
    ):
        train(config, tmp_path / "run")


def test_torchrun_and_other_tasks_are_refused(root, tmp_path):
    two = World(rank=0, size=2, local_rank=0, local_size=2, device=torch.device("cpu"))
    with pytest.raises(
        UserError, match="TRAINER sb3 runs in one process, found 2; start it without torchrun"
    ):
        build_trainer(config_of(root, "PPO"), str(tmp_path / "run"), two)
    with pytest.raises(
        UserError, match="TRAINER sb3 learns TASK.NAME synth or step_signal, found 'near_target'"
    ):
        train(synth_config(root, TASK__NAME="near_target"), tmp_path / "run")
    assert (REPO / "configs/synth/sine.yaml").exists() and not (tmp_path / "run").exists()
