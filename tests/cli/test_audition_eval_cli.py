"""Audition tasks through main.py: a separator and an agent are trained, agents evaluated, and their rows made."""

from __future__ import annotations

import json

import pytest
from audition_config import audition_overrides
from cli_command import error_of
from script_module import load_script

import main

TINY_DQN = {
    "TRAINER": "dqn",
    "DQN__NUM_STEPS": 24,
    "DQN__START_STEPS": 8,
    "DQN__BATCH": 4,
    "DQN__VAL_EVERY": 24,
    "DQN__VAL_EPISODES": 2,
    "AUDITION__MAX_STEPS": 12,
}
TEST = {"DATA__SPLIT": "test", "DATA__SOUNDS": "testUnheard", "EVAL__EPISODES": 3}


@pytest.fixture
def task(tmp_path):
    """An experiment file of an audition task."""
    path = tmp_path / "hunt.yaml"
    path.write_text("TASK: {NAME: audition}\n")
    return path


def words(run_type, task, folder, paths, **changes):
    head = ["--run-type", run_type, "--exp-config", str(task), "--model-dir", str(folder)]
    return [*head, *audition_overrides(paths, **changes)]


def test_from_training_to_a_table(tiny, task, tmp_path, capsys, monkeypatch):
    separator, run = tmp_path / "separator", tmp_path / "run"
    few = {"AUDITION__PRETRAIN__NUM_STEPS": 2, "AUDITION__PRETRAIN__VAL_SAMPLES": 2}
    assert main.main(words("train", task, separator, tiny, TRAINER="separator", **few)) == 0
    given = {"AUDITION__SEPARATOR__CHECKPOINT": separator, "AUDITION__SEPARATOR__FROZEN": True}
    assert main.main(words("train", task, run, tiny, **TINY_DQN, **given)) == 0
    folders = {"policy": run, "random": tmp_path / "random", "oracle": tmp_path / "oracle"}
    for agent, folder in folders.items():
        command = words("eval", task, folder, tiny, EVAL__AGENT=agent, AUDITION__MAX_STEPS=12, **TEST)
        monkeypatch.setattr("sys.argv", ["main.py", *command])
        assert main.main(command) == 0
    shown = capsys.readouterr().out
    assert "policy, ckpt/ckpt.24.pth, 3 episodes of test" in shown and "oracle, oracle, 3 episodes" in shown
    out = tmp_path / "rows.json"
    methods = [f"{agent}={folder}" for agent, folder in folders.items()]
    assert load_script("results_table").main([str(out), "--collect", *methods]) == 0
    rows = {(row["method"], row["metric"]): row for row in json.loads(out.read_text())}
    assert rows["oracle", "success"]["mean"] >= rows["policy", "success"]["mean"]
    assert {row["task"] for row in rows.values()} == {"hunt"}
    assert ("policy", "si_sdr_db") in rows and ("random", "si_sdr_db") not in rows
    command = rows["policy", "success"]["command"]
    assert command.startswith("python main.py --run-type eval --exp-config") and "DATA.ROOT" not in command


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "has no best.pth; train first: python main.py --run-type train"),
        ({"EVAL__AGENT": "stand"}, "EVAL.AGENT is 'stand'; expected one of policy, random, oracle"),
        ({"EVAL__CHECKPOINT": "all"}, "has no checkpoints (ckpt/ckpt.<n>.pth); train first"),
        ({"EVAL__AGENT": "oracle", "DATA__SOUNDS": "nowhere"}, "nowhere"),
        ({"EVAL__AGENT": "oracle", "EVAL__NAME": "../up"}, "EVAL.NAME is '../up'"),
    ],
)
def test_one_line_and_nothing_written(tiny, task, tmp_path, capsys, changes, message):
    folder = tmp_path / "run"
    assert message in error_of(words("eval", task, folder, tiny, **{**TEST, **changes}), capsys)
    assert not folder.exists()


def test_a_separator_is_no_agent(tiny, task, tmp_path, capsys):
    few = {"AUDITION__PRETRAIN__NUM_STEPS": 1, "AUDITION__PRETRAIN__VAL_SAMPLES": 2}
    assert main.main(words("train", task, tmp_path / "run", tiny, TRAINER="separator", **few)) == 0
    written = error_of(words("eval", task, tmp_path / "run", tiny, **TEST), capsys)
    assert "best.pth is of kind 'separator', expected one of TRAINER dqn" in written
