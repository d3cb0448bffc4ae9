"""The same numbers for any batch size and rank count; agents that move as they say."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from eval_fakes import CPU, ONE, STEPS, VAL, NoStop, eval_config, load, run, tiny_agent
from small_config import REPO

from audio_separation.envs.build import build_simulator, load_task_episodes
from audio_separation.errors import UserError
from audio_separation.evaluation.episodes import check_settings, episode_draws, plan_rounds, play_episodes


def play(config, num_envs: int) -> list[dict]:
    episodes = load_task_episodes(config)
    plan = plan_rounds(len(episodes), num_envs, 0, 1)
    simulator = build_simulator(config, episodes, plan.num_envs, CPU, target_bin=True)
    return play_episodes(tiny_agent(config, 7), simulator, episodes, plan, config, ONE, NoStop(), "test")


def assert_same(first: list[dict], second: list[dict]) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second):
        assert {k: v for k, v in a.items() if k != "scores"} == {k: v for k, v in b.items() if k != "scores"}
        for method, metrics in a["scores"].items():
            for metric, values in metrics.items():
                found = np.array(b["scores"][method][metric], float)
                np.testing.assert_allclose(
                    np.array(values, float), found, rtol=1e-5, atol=1e-4 if "db" in metric else 1e-5
                )


@pytest.mark.parametrize("deterministic", [True, False])
def test_batch_size_changes_nothing(tiny, deterministic):
    # 5 episodes in batches of 3 leave one place to fill
    config = eval_config(
        tiny, DATA__MAX_EPISODES=5, EVAL__DETERMINISTIC=deterministic, EVAL__EXTRA_METRICS=True
    )
    one, three = play(config, 1), play(config, 3)
    assert_same(one, three)
    assert len({tuple(record["actions"]) for record in one}) > 1 or deterministic
    assert {"si_sir_db", "snr_db"} <= one[0]["scores"]["passive"].keys()


@pytest.mark.parametrize("num", [1, 2, 5, 13])
@pytest.mark.parametrize("most", [1, 3, 20])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_every_episode_is_planned_once_and_ranks_stay_in_step(num, most, size):
    plans = [plan_rounds(num, most, rank, size) for rank in range(size)]
    assert sorted(i for plan in plans for part in plan.rounds for i in part) == list(range(num))
    assert len({(plan.num_envs, len(plan.rounds)) for plan in plans}) == 1
    assert all(len(part) <= plan.num_envs <= most for plan in plans for part in plan.rounds)


def test_two_ranks_equal_one(tiny, trained, tmp_path):
    """Through the command line and torchrun."""
    (tmp_path / "ckpt").symlink_to(trained / "ckpt")
    config = eval_config(tiny, EVAL__CHECKPOINT="latest")
    assert run(config, tmp_path) == 0
    folder = tmp_path / "eval/valUnheard_policy/ckpt.10"
    one = load(folder / "episodes.json")["episodes"]
    words = [
        "DATA.ROOT", tiny.data_root, "DATA.SOUND_SPACES", tiny.sound_spaces_root, "DEVICE", "cpu", "THREADS", 1,
        "TASK.EPISODE_STEPS", STEPS, "EVAL.REFINE_STEPS", config.EVAL.REFINE_STEPS, "NUM_PROCESSES", 2,
        "DATA.MAX_EPISODES", 3, "EVAL.CHECKPOINT", "latest", "EVAL.NAME", "two",
    ]  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        str(REPO / "main.py"),
    ]
    command += ["--run-type", "eval", "--exp-config", str(REPO / VAL), "--model-dir", str(tmp_path)]
    done = subprocess.run(
        [*command, *map(str, words)], cwd=REPO, capture_output=True, text=True, timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert_same(one, load(tmp_path / "eval/two/ckpt.10/episodes.json")["episodes"])
    assert done.stdout.count("3 episodes of valUnheard") == 1  # only one rank talks


def test_scripted_agents_move_as_they_say(tiny):
    for agent in ("stand", "rotate", "random"):
        config = eval_config(tiny, EVAL__AGENT=agent)
        episodes = load_task_episodes(config)
        for record, episode in zip(play(config, 4), episodes):
            turned = (episode.start_rotation - np.array(record["rotations_deg"])) % 360
            if agent == "stand":
                assert record["actions"] == [-1] * (STEPS - 1)
                assert len(set(record["nodes"])) == 1 and not turned.any()
            elif agent == "rotate":
                assert record["actions"] == [2] * (STEPS - 1)
                assert len(set(record["nodes"])) == 1 and turned.tolist() == [
                    90 * t % 360 for t in range(STEPS)
                ]
            else:
                draws = episode_draws(episode, STEPS, config.SEED)[:-1]
                assert record["actions"] == (draws * 3).astype(int).tolist()


def test_draws_belong_to_the_episode(tiny):
    first, second = load_task_episodes(eval_config(tiny))[:2]
    assert not np.array_equal(episode_draws(first, 8, 0), episode_draws(second, 8, 0))
    assert not np.array_equal(episode_draws(first, 8, 0), episode_draws(first, 8, 1))
    assert np.array_equal(episode_draws(first, 8, 0)[:4], episode_draws(first, 4, 0))


def test_bad_settings_are_named(tiny):
    with pytest.raises(UserError, match=r"EVAL\.AGENT is 'walk'; expected one of policy, stand"):
        check_settings(eval_config(tiny, EVAL__AGENT="walk"))
    with pytest.raises(UserError, match=r"EVAL\.REFINE_STEPS is 4.*0 to 3"):
        check_settings(eval_config(tiny, EVAL__REFINE_STEPS=4))
