"""Trainings of the audition tasks from the command line: signals, going on, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from audition_config import audition_overrides
from cli_command import error_of
from small_config import REPO

import main

TINY = {
    "DQN__NUM_STEPS": 2000,
    "DQN__START_STEPS": 8,
    "DQN__BATCH": 4,
    "DQN__VAL_EVERY": 100,
    "DQN__VAL_EPISODES": 2,
    "DQN__BUFFER": 60,
    "AUDITION__MAX_STEPS": 12,
}


def words(folder, paths, exp_config="configs/audition/otoworld.yaml", **changes):
    head = ["--run-type", "train", "--exp-config", exp_config, "--model-dir", str(folder)]
    return [*head, *audition_overrides(paths, **{**TINY, **changes})]


def test_a_terminated_training_leaves_what_it_goes_on_from(tiny, tmp_path, capsys):
    run, command = tmp_path / "run", words(tmp_path / "run", tiny)
    process = subprocess.Popen(
        [sys.executable, "main.py", *command],
        cwd=REPO,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 90
    while not (run / "metrics.jsonl").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 143 and errors == "", errors
    (buffer,) = run.glob("replay.*.npz")
    stopped = int(buffer.name.split(".")[1])
    assert 100 <= stopped < 2000
    line = error_of(words(run, tiny, DQN__GAMMA=0.5), capsys)
    assert "holds another experiment (DQN.GAMMA is 0.95 there, 0.5 now)" in line


def test_both_experiments_train(tiny, tmp_path, capsys):
    for name in ("otoworld", "auralnav"):
        run = tmp_path / name
        changes = {"DQN__NUM_STEPS": 16, "DQN__VAL_EVERY": 16}
        assert main.main(words(run, tiny, f"configs/audition/{name}.yaml", **changes)) == 0
        last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
        assert last["step"] == 16 and (run / "best.pth").exists()
    assert "train 16/16 steps" in capsys.readouterr().out


@pytest.mark.parametrize("trainer", ["passive", "active"])
def test_trainers_of_other_tasks_refuse_it(tiny, tmp_path, capsys, trainer):
    line = error_of(words(tmp_path / "run", tiny, TRAINER=trainer), capsys)
    assert "TASK.NAME is 'audition'; expected near_target" in line
    assert not (tmp_path / "run").exists()


def test_mistakes_are_one_sentence(tiny, tmp_path, capsys):
    run = tmp_path / "run"
    assert "expected one of passive, active, dqn, separator" in error_of(
        words(run, tiny, TRAINER="dnq"), capsys
    )
    line = error_of(
        words(run, tiny, "configs/train/near_target.yaml", TASK__NAME="near_target", TRAINER="dqn"), capsys
    )
    assert "use configs/audition/otoworld.yaml" in line
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("mine")
    line = error_of(words(run, tiny, DQN__BUFFER_DIR=full), capsys)
    assert "thesis.txt" in line and "give another" in line
    assert (full / "thesis.txt").read_text() == "mine"
