"""The step signal through the training and evaluation of main.py: scores, records, report, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from small_config import REPO, NoStop, train

from audio_separation.config import get_config
from audio_separation.envs.step_signal.env import StepSignalEnv
from audio_separation.errors import UserError
from audio_separation.evaluation.control.trajectory import Trajectory
from audio_separation.evaluation.run import evaluate
from audio_separation.evaluation.step_signal.scores import episode_scores
from audio_separation.training.distributed import World

CPU = World(rank=0, size=1, local_rank=0, local_size=1, device=torch.device("cpu"))
SMALL = {
    "DEVICE": "cpu",
    "THREADS": 1,
    "VERBOSE": False,
    "EVAL.EPISODES": 6,
    "EVAL.REPORT_EPISODES": 1,
    "SB3.HIDDEN": "[8]",
    "SB3.NUM_STEPS": 100,
    "SB3.START_STEPS": 30,
    "SB3.BATCH": 8,
    "SB3.EVAL_EVERY": 50,
    "SB3.EVAL_EPISODES": 2,
}


def config(name, **changes):
    words = {**SMALL, **{key.replace("__", "."): value for key, value in changes.items()}}
    return get_config(
        str(REPO / f"configs/step_signal/{name}.yaml"), [str(word) for pair in words.items() for word in pair]
    )


def run(folder, **changes):
    assert evaluate(config("test", **changes), str(folder), CPU, NoStop()) == 0


def read(folder, name, checkpoint, file):
    return json.loads((folder / "eval" / name / checkpoint / f"{file}.json").read_text())


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A model dir where DDPG has hardly learnt, and all agents were judged."""
    folder = tmp_path_factory.mktemp("judged") / "run"
    assert train(config("ddpg"), folder) == 0
    for agent in ("policy", "hold", "random", "oracle"):
        run(folder, EVAL__AGENT=agent)
    return folder


# ---- scores


def info(success, rms):
    return {"is_success": success, "rms": rms}


def test_scores_are_those_of_the_last_step():
    passed = Trajectory(0, [info(False, 4.0), info(True, 0.1), info(False, 0.9)], [0, 0], [-0.25, -0.5])
    assert episode_scores(passed) == {"success": 0.0, "final_rms": 0.9, "first_success": 1.0, "return": -0.75}
    stayed = Trajectory(0, [info(False, 4.0), info(False, 0.5), info(True, 0.2)], [0, 0], [-1.0, 0.0])
    assert episode_scores(stayed) == {"success": 1.0, "final_rms": 0.2, "first_success": 2.0, "return": -1.0}
    never = Trajectory(0, [info(False, 4.0), info(False, 5.0)], [0], [-1.0])
    assert episode_scores(never)["first_success"] is None


# ---- main.py's way


def test_scripted_agents_and_an_untrained_policy(judged):
    found = {}
    for agent in ("hold", "random", "oracle"):
        summary = read(judged, f"test_{agent}", agent, "summary")
        assert (summary["task"], summary["split"], summary["episodes"]) == ("step_signal", "test", 6)
        found[agent] = summary["methods"][agent]
    assert found["oracle"]["success"]["mean"] == 1 and found["oracle"]["final_rms"]["mean"] < 0.05
    assert found["hold"]["success"]["mean"] == 0 == found["random"]["success"]["mean"]
    assert found["hold"]["first_success"] == {"mean": None, "ci95": None, "n": 0}
    checkpoint = json.loads((judged / "best.json").read_text())["checkpoint"].split("/")[1][:-4]
    policy = read(judged, "test_policy", checkpoint, "summary")["methods"]["policy"]
    assert set(policy) == {"success", "final_rms", "first_success", "return"}


def test_records_can_be_played_again(judged):
    env = StepSignalEnv(config("test"), split="test")
    for agent in ("random", "oracle"):
        for record in read(judged, f"test_{agent}", agent, "episodes")["episodes"]:
            _, info = env.reset(options={"episode": record["episode"]})
            assert env.playing == tuple(record[key] for key in ("before", "after", "at", "goal"))
            assert info["rms"] == pytest.approx(record["rms"][0], abs=1e-5)
            total = 0.0
            for t, action in enumerate(record["actions"], start=1):
                _, reward, _, _, info = env.step(np.array(action))
                total += reward
                for key in ("rms", "cutoff_hz", "offset"):
                    assert info[key] == pytest.approx(record[key][t], rel=1e-4, abs=1e-5)
            assert record["scores"][agent]["return"] == pytest.approx(total, abs=1e-4)
            assert record["scores"][agent]["success"] == float(info["is_success"])


def test_the_report_says_and_shows_what_happened(judged):
    folder = judged / "eval/test_oracle/oracle/report"
    page = (folder / "report.html").read_text()
    assert "<h2>Episode 0</h2>" in page and ": success, RMS distance 0.0" in page
    assert "<td>100.0 ± 0.0</td>" in page
    assert (folder / "episode_0000.png").stat().st_size > 10000
    assert (folder / "training.png").exists()  # the model dir has a training
    page = (judged / "eval/test_hold/hold/report/report.html").read_text()
    assert "no success" in page and "never within the tolerance" in page


def test_a_report_without_a_training(tmp_path):
    run(tmp_path / "run", EVAL__AGENT="hold", EVAL__REPORT_EPISODES=1)
    assert "Not drawn" in (tmp_path / "run/eval/test_hold/hold/report/report.html").read_text()


@pytest.mark.parametrize("name", ["ddpg_her", "ddpg_sparse_her", "td3", "td3_her", "sac", "sac_her"])
def test_every_config_trains_and_resumes(name, tmp_path):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert train(config(name, SB3__SAVE_EVERY=50), whole) == 0
    assert train(config(name, SB3__SAVE_EVERY=50), halves, stop_after=60) == 143
    assert train(config(name, SB3__SAVE_EVERY=50), halves) == 0
    one, other = (
        torch.load(folder / "ckpt/ckpt.100.pth", weights_only=True)["policy"] for folder in (whole, halves)
    )
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


# ---- mistakes


def test_mistakes_are_told(judged, tmp_path):
    with pytest.raises(
        UserError, match=r"EVAL.AGENT is 'greedy'; expected one of policy, hold, random, oracle"
    ):
        run(judged, EVAL__AGENT="greedy")
    with pytest.raises(UserError, match=r"configs/step_signal/ddpg.yaml"):
        run(tmp_path)
    with pytest.raises(UserError, match="CUTOFF_HZ must be two rising numbers"):
        train(config("ddpg", STEP_SIGNAL__CUTOFF_HZ="[0.01,20.0]"), tmp_path / "bad")
    with pytest.raises(UserError, match="DQN needs actions in a Discrete space"):
        train(config("ddpg", SB3__ALGORITHM="DQN"), tmp_path / "dqn")
    with pytest.raises(UserError, match=r"SB3.HER relabels goals for off-policy"):
        train(config("ddpg_her", SB3__ALGORITHM="PPO"), tmp_path / "ppo")
