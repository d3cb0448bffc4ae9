"""A run that is stopped or killed goes on to the same curve as one that never was."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from small_config import REPO, small_config, small_overrides, train

PASSIVE = {"TRAINER": "passive", "PASSIVE__NUM_STEPS": 12, "PASSIVE__VAL_EVERY": 3}


def assert_same_run(one: Path, two: Path, apart_from: str = "") -> None:
    """The same metrics file to the byte, the same final state to the bit (but for an entry that may differ)."""
    assert (one / "metrics.jsonl").read_bytes() == (two / "metrics.jsonl").read_bytes()
    states = [torch.load(run / "state.pth", weights_only=True) for run in (one, two)]
    for a, b in zip(*(flatten(state) for state in states)):
        assert a[0] == b[0]
        if a[0] == apart_from:
            continue
        assert torch.equal(a[1], b[1]) if isinstance(a[1], torch.Tensor) else a[1] == b[1], a[0]


def flatten(tree, name=""):
    if isinstance(tree, (dict, list, tuple)):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return [leaf for key, value in items for leaf in flatten(value, f"{name}/{key}")]
    return [(name, tree)]


def start(model_dir: Path, words: list[str], exp_config: str) -> subprocess.Popen:
    command = [
        sys.executable,
        "main.py",
        "--run-type",
        "train",
        "--exp-config",
        exp_config,
        "--model-dir",
        str(model_dir),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, *words],
        cwd=REPO,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def signal_at(process: subprocess.Popen, metrics: Path, step: int, number: int) -> str:
    """Send ``number`` when ``step`` appears in the metrics; returns what the process wrote to stderr."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        if metrics.exists() and f'{{"step": {step},' in metrics.read_text():
            process.send_signal(number)
            break
        time.sleep(0.002)
    return process.communicate(timeout=60)[1]


def last_step(metrics: Path) -> int:
    return json.loads(metrics.read_text().splitlines()[-1])["step"]


def test_pretraining_stopped_and_killed_ends_as_if_it_never_was(tiny, passive_run, tmp_path):
    run, words = tmp_path / "run", small_overrides(tiny, **PASSIVE)
    process = start(run, words, "configs/pretrain_passive.yaml")
    errors = signal_at(process, run / "metrics.jsonl", 3, signal.SIGTERM)
    assert process.returncode == 143 and errors == "", errors
    stopped_at = torch.load(run / "state.pth", weights_only=True)["step"]
    assert 3 <= stopped_at < 12 and last_step(run / "metrics.jsonl") <= stopped_at
    process = start(run, words, "configs/pretrain_passive.yaml")
    signal_at(process, run / "metrics.jsonl", 9, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert train(small_config(tiny, **PASSIVE), run) == 0
    assert_same_run(run, passive_run)
    best = [torch.load(folder / "best.pth", weights_only=True) for folder in (run, passive_run)]
    assert best[0]["step"] == best[1]["step"] and best[0]["best"] == best[1]["best"]


def test_active_training_stopped_and_killed_ends_as_if_it_never_was(
    tiny, passive_run, active_run, active_config, tmp_path
):
    run = tmp_path / "run"
    words = small_overrides(
        tiny, NUM_PROCESSES=4, NUM_UPDATES=8, TRAIN__SAVE_EVERY=3, TRAIN__PASSIVE_CHECKPOINT=passive_run
    )
    process = start(run, words, "configs/train/near_target.yaml")
    errors = signal_at(process, run / "metrics.jsonl", 1, signal.SIGINT)
    assert process.returncode == 130 and errors == "", errors
    assert torch.load(run / "state.pth", weights_only=True)["update"] == last_step(run / "metrics.jsonl") < 8
    process = start(run, words, "configs/train/near_target.yaml")
    signal_at(process, run / "metrics.jsonl", 5, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert train(active_config, run) == 0
    assert_same_run(run, active_run)


@pytest.mark.parametrize("stop_after", [0, 1, 4, 7])
def test_pretraining_resumes_after_any_step(tiny, passive_run, tmp_path, stop_after):
    config = small_config(tiny, **PASSIVE)
    assert train(config, tmp_path / "run", stop_after) == 143
    assert torch.load(tmp_path / "run" / "state.pth", weights_only=True)["step"] == stop_after
    assert train(config, tmp_path / "run") == 0
    assert_same_run(tmp_path / "run", passive_run)


def test_active_training_resumes_after_any_update_and_again(active_config, active_run, tmp_path):
    for stop_after in (0, 2, 3, 1):
        assert train(active_config, tmp_path / "run", stop_after) == 143
    assert train(active_config, tmp_path / "run") == 0
    assert_same_run(tmp_path / "run", active_run)


def test_a_finished_run_started_again_changes_nothing(active_config, active_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(active_run, run)
    files = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    assert train(active_config, run) == 0
    assert all(p.read_bytes() == content for p, content in files.items())


def test_stopping_on_the_last_step_is_finishing(tiny, tmp_path):
    config = small_config(tiny, TRAINER="passive", PASSIVE__NUM_STEPS=2)
    assert train(config, tmp_path / "run", stop_after=2) == 0


def test_other_seeds_learn_otherwise(tiny, tmp_path):
    for seed in (0, 1):
        assert (
            train(
                small_config(tiny, TRAINER="passive", PASSIVE__NUM_STEPS=2, SEED=seed), tmp_path / str(seed)
            )
            == 0
        )
    assert (tmp_path / "0" / "metrics.jsonl").read_text() != (tmp_path / "1" / "metrics.jsonl").read_text()
