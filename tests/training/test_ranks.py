"""Two processes learn what one learns; signals and mistakes under torchrun."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from small_config import REPO, small_overrides, train

from audio_separation.config import get_config

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
PASSIVE = {"TRAINER": "passive", "PASSIVE__NUM_STEPS": 3, "PASSIVE__VAL_EVERY": 1}


def active(passive_run: Path, num_envs: int, updates: int = 3) -> dict[str, object]:
    # minibatches are drawn from the environments of all ranks, so one may lie on one rank alone
    return {
        "NUM_PROCESSES": num_envs,
        "NUM_UPDATES": updates,
        "TRAIN__PASSIVE_CHECKPOINT": passive_run,
        "PPO__MINIBATCHES": 2,
    }


@pytest.fixture(scope="module")
def two_ranks(tiny, passive_run, tmp_path_factory) -> Path:
    """A folder with the runs `passive` and `active` of two ranks and what the ranks said."""
    out = tmp_path_factory.mktemp("two")
    plans = {
        "passive": small_overrides(tiny, **PASSIVE),
        "active": small_overrides(tiny, **active(passive_run, 2)),
    }
    (out / "plans.json").write_text(json.dumps(plans))
    command = [*TORCHRUN, str(REPO / "tests" / "training" / "two_ranks.py"), str(out)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def assert_close_runs(one: Path, two: Path, weights: str, rtol: float = 1e-4, steps: int = 3) -> None:
    """Same metrics and same weights to rounding."""
    lines = [[json.loads(x) for x in (run / "metrics.jsonl").read_text().splitlines()] for run in (one, two)]
    assert len(lines[0]) == len(lines[1]) == steps
    for a, b in zip(*lines):
        assert a.keys() == b.keys()
        for key in a:
            assert a[key] == pytest.approx(b[key], rel=rtol, abs=1e-6), key
    states = [torch.load(run / "state.pth", weights_only=True)[weights] for run in (one, two)]
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        torch.testing.assert_close(
            states[1][name], tensor, rtol=1e-3, atol=2e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_pretraining_on_two_ranks_equals_one(tiny, two_ranks, tmp_path):
    assert train(get_config(None, small_overrides(tiny, **PASSIVE)), tmp_path / "one") == 0
    assert_close_runs(tmp_path / "one", two_ranks / "passive", "separator")


def test_active_training_on_two_ranks_equals_one(tiny, passive_run, two_ranks, tmp_path):
    config = get_config(None, small_overrides(tiny, **active(passive_run, 4)))
    assert train(config, tmp_path / "one") == 0
    assert_close_runs(tmp_path / "one", two_ranks / "active", "agent")


def test_collectives(two_ranks):
    zero, one = (json.loads((two_ranks / f"rank{r}.json").read_text()) for r in (0, 1))
    joined = np.hstack([np.arange(6.0).reshape(3, 2), np.arange(6.0).reshape(3, 2) + 6])
    assert zero["gather_envs"] == one["gather_envs"] == joined.tolist()
    both = np.hstack([zero["standardise"], one["standardise"]])
    np.testing.assert_allclose(both, (joined - joined.mean()) / joined.std(), atol=1e-4)
    for rank in (zero, one):
        assert rank["mean_metrics"] == {"a": 0.5, "b": 2.0}
        assert rank["gradient"] == [0.5] * 3
        assert rank["any"] == [True, False]
        assert rank["told"] == "only rank 0 looked"
    # a mistake that only rank 1 met: it tells, and rank 0 leaves quietly instead of with a lost connection
    assert (zero["left"], one["left"]) == ("SystemExit(2)", "UserError('seen by rank 1')")


def test_one_mistake_under_torchrun_is_told_once_and_without_tracebacks_of_ours(tiny, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "foreign").write_text("")
    words = small_overrides(tiny, TRAINER="passive")
    command = [*TORCHRUN, "main.py", "--run-type", "train", "--exp-config", "configs/pretrain_passive.yaml"]
    done = subprocess.run(
        [*command, "--model-dir", str(tmp_path / "run"), *words],
        cwd=REPO, env=ENVIRONMENT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode != 0
    assert [line for line in done.stderr.splitlines() if line.startswith("error:")] == [
        f"error: model dir {tmp_path / 'run'} holds files that are no run of ours (foreign); "
        "give an empty or new --model-dir"
    ]
    assert 'main.py", line' not in done.stderr  # torchrun adds a traceback of its own


def test_ctrl_c_on_torchrun_saves_and_the_run_goes_on(tiny, passive_run, tmp_path):
    run = tmp_path / "run"
    words = small_overrides(tiny, **active(passive_run, 2, updates=30))
    command = [*TORCHRUN, "main.py", "--run-type", "train", "--exp-config", "configs/train/near_target.yaml"]
    process = subprocess.Popen(
        [*command, "--model-dir", str(run), *words],
        cwd=REPO, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 90
    metrics = run / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_text().count("\n") >= 1) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does: to torchrun and to both processes
    _, errors = process.communicate(timeout=60)
    done = metrics.read_text().count("\n")
    assert 1 <= done < 30, errors[-2000:]
    # the state of the very last update was saved: nothing is lost
    assert torch.load(run / "state.pth", weights_only=True)["update"] == done
    # one process with as many environments goes on from there
    config = get_config(None, small_overrides(tiny, **active(passive_run, 4, updates=30)))
    assert train(config, run, stop_after=1) == 143
    assert metrics.read_text().count("\n") == done + 1
