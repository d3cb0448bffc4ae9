"""Several nodes: two node groups on this machine, each with a disk of its own, and the Slurm scripts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from small_config import REPO, NoStop, small_config, small_overrides, train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_ranks import assert_close_runs
from test_resume import assert_same_run

from audio_separation.errors import UserError
from audio_separation.evaluation.run import evaluate
from audio_separation.training.distributed import World, check_own_gpus

# with the agents' own store, restarted workers could read what dead ones left there (docs/cluster.md)
ENVIRONMENT = {
    **os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"
}  # fmt: skip
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
SCRIPTS = sorted((REPO / "scripts" / "slurm").glob("*.sbatch"))
UPDATES = 6
PASSIVE = {"TRAINER": "passive", "PASSIVE__NUM_STEPS": 3, "PASSIVE__VAL_EVERY": 1}
ACTIVE = {"NUM_UPDATES": UPDATES, "TRAIN__SAVE_EVERY": 3, "TRAIN__CHECKPOINT_EVERY": 3}
VAL = "configs/val/near_target_unheard.yaml"
EVAL = {"EVAL__CHECKPOINT": "latest", "DATA__MAX_EPISODES": 3, "EVAL__REPORT_EPISODES": 0}


class Groups(NamedTuple):
    """What two node groups left: the disk of each node and what it wrote to stderr."""

    disks: list[Path]
    errors: list[str]

    @property
    def main_disk(self) -> Path:
        """The disk of the node of rank 0: the only one that was written to."""
        [disk] = [disk for disk in self.disks if disk.exists()]
        return disk


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def command(kind: str, exp_config: str, model_dir: str, overrides: list[str]) -> list[str]:
    return ["--run-type", kind, "--exp-config", exp_config, "--model-dir", model_dir, *overrides]


def run_groups(folder: Path, plans: list[list[str]], *extra: str) -> Groups:
    """Run the command lines on two nodes of one process each."""
    (folder / "plans.json").write_text(json.dumps(plans))
    disks, endpoint = [folder / "disk0", folder / "disk1"], f"localhost:{free_port()}"
    launch = [
        *TORCHRUN,
        "--nnodes",
        "2",
        "--nproc_per_node",
        "1",
        "--max_restarts",
        "1",
        "--rdzv_backend",
        "c10d",
    ]
    launch += [
        "--rdzv_endpoint",
        endpoint,
        "--rdzv_id",
        "test",
        str(REPO / "tests" / "training" / "node_group.py"),
    ]
    nodes, logs = [], [folder / "stderr0", folder / "stderr1"]
    for disk, log in zip(disks, logs):
        words = [*launch, str(folder / "plans.json"), str(disk), *extra]
        with open(log, "w") as stderr:  # a file: workers that outlive torchrun would keep a pipe open
            nodes.append(
                subprocess.Popen(words, cwd=REPO, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=stderr)
            )
    wait_for(nodes, timeout_s=180)
    errors = [log.read_text() for log in logs]
    assert [node.returncode for node in nodes] == [0, 0], "\n".join(error[:3000] for error in errors)
    return Groups(disks, errors)


def wait_for(nodes: list[subprocess.Popen], timeout_s: float) -> None:
    """Wait for all; when one fails or time is up, the others are ended, as Slurm would end them."""
    deadline = time.monotonic() + timeout_s
    while any(node.poll() is None for node in nodes):
        if any(node.poll() for node in nodes) or time.monotonic() > deadline:
            for node in nodes:
                node.terminate()
        time.sleep(0.05)


def training_plans(tiny) -> list[list[str]]:
    active = small_overrides(tiny, **ACTIVE, NUM_PROCESSES=2, TRAIN__PASSIVE_CHECKPOINT="{root}/passive")
    return [
        command("train", "configs/pretrain_passive.yaml", "{root}/passive", small_overrides(tiny, **PASSIVE)),
        command("train", "configs/train/near_target.yaml", "{root}/active", active),
    ]


@pytest.fixture(scope="module")
def groups(tiny, tmp_path_factory) -> Groups:
    """Pretraining, training and evaluation on two nodes, undisturbed."""
    evaluation = command("eval", VAL, "{root}/active", small_overrides(tiny, **EVAL))
    return run_groups(tmp_path_factory.mktemp("groups"), [*training_plans(tiny), evaluation])


def test_two_nodes_learn_what_one_process_learns(tiny, groups, tmp_path):
    one = tmp_path / "one"
    assert train(small_config(tiny, "configs/pretrain_passive.yaml", **PASSIVE), one / "passive") == 0
    assert_close_runs(one / "passive", groups.main_disk / "passive", "separator")
    # separators that differ by rounding are not the matter of the second comparison
    config = small_config(
        tiny, "configs/train/near_target.yaml", **ACTIVE, NUM_PROCESSES=4,
        TRAIN__PASSIVE_CHECKPOINT=groups.main_disk / "passive",
    )  # fmt: skip
    assert train(config, one / "active") == 0
    assert_close_runs(one / "active", groups.main_disk / "active", "agent", steps=UPDATES)


def test_one_node_writes_and_the_other_needs_no_files(groups):
    assert len([disk for disk in groups.disks if disk.exists()]) == 1
    names = {path.name for path in (groups.main_disk / "active" / "ckpt").iterdir()}
    assert names == {"ckpt.3.pth", "ckpt.6.pth"}
    assert len(list((groups.main_disk / "active" / "tb").iterdir())) == 1


def test_evaluation_over_two_nodes_equals_one_process(tiny, groups, tmp_path):
    (tmp_path / "ckpt").symlink_to(groups.main_disk / "active" / "ckpt")
    world = World(rank=0, size=1, local_rank=0, local_size=1, device=torch.device("cpu"))
    config = small_config(tiny, VAL, **EVAL)
    assert evaluate(config, str(tmp_path), world, NoStop()) == 0  # type: ignore[arg-type]
    name = "eval/valUnheard_policy/ckpt.6/episodes.json"
    runs = (tmp_path, groups.main_disk / "active")
    one, two = (json.loads((run / name).read_text())["episodes"] for run in runs)
    assert len(one) == 3 and one == two


def test_a_killed_worker_is_restarted_to_the_same_curve(tiny, groups, tmp_path):
    disturbed = run_groups(tmp_path, training_plans(tiny), "die")
    run = disturbed.main_disk / "active"
    assert_same_run(run, groups.main_disk / "active", apart_from="/config/TRAIN.PASSIVE_CHECKPOINT")  # a path
    # the line of update 4, written after the last state, is in TensorBoard once
    assert len(list((run / "tb").iterdir())) == 2
    board = EventAccumulator(str(run / "tb")).Reload()
    assert [event.step for event in board.Scalars("rollout/reward")] == list(range(1, UPDATES + 1))
    # torchrun names the killed one; ours says a sentence, without a traceback, on the other
    told = "".join(disturbed.errors)
    assert told.count("error: rank 0 lost the connection to another process") == 1
    assert "exitcode: -9" in told and "Traceback" not in told


def test_a_state_on_the_disk_of_another_node_is_no_fresh_start(tiny, passive_run, tmp_path, monkeypatch):
    """Rank 0 has moved to a node whose disk lacks the state; seen from a rank that has it."""
    from audio_separation.training import checkpoint

    (tmp_path / "state.pth").write_bytes(b"")
    monkeypatch.setattr(checkpoint.distributed, "from_main", lambda read: False)
    world = World(rank=1, size=2, local_rank=0, local_size=1, device=torch.device("cpu"))
    with pytest.raises(UserError, match=r"state\.pth is not there on the node of rank 0.*all nodes share"):
        checkpoint.load_state(tmp_path / "state.pth", world)


def test_ranks_that_would_share_a_gpu_are_named():
    check_own_gpus(["a, GPU-1", "a, GPU-2", "b, GPU-1"])
    with pytest.raises(UserError, match=r"ranks 0 and 2 would share one GPU \(a, GPU-1\).*--nproc_per_node"):
        check_own_gpus(["a, GPU-1", "a, GPU-2", "a, GPU-1"])


# ---- Slurm ------------------------------------------------------------------------------------------------
# srun runs the command once a node and passes signals on; scontrol names the nodes and notes the requeue
FAKE_SRUN = """#!/usr/bin/env bash
while [[ $1 == -* ]]; do shift; done
for ((node = 0; node < FAKE_NODES; node++)); do "$@" & nodes+=($!); done
trap 'kill -USR1 "${nodes[@]}"' USR1
status=0
while [ -n "$(jobs -pr)" ]; do
    wait -n || { status=1; sleep 1; }
done
exit $status
"""
FAKE_SCONTROL = """#!/usr/bin/env bash
if [ "$1" = show ]; then for ((node = 0; node < FAKE_NODES; node++)); do echo localhost; done
else echo "$@" >>"$FAKE_LOG"; fi
"""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_slurm_scripts_are_sound(script):
    subprocess.run(["bash", "-n", str(script)], check=True)
    shellcheck = shutil.which(
        "shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    assert shellcheck, "shellcheck is missing: pip install -r requirements-test.txt"
    subprocess.run([shellcheck, str(script)], check=True)


def fake_slurm(folder: Path, nodes: int) -> dict[str, str]:
    """The environment of a Slurm job whose commands are the stand-ins above."""
    for name, text in (("srun", FAKE_SRUN), ("scontrol", FAKE_SCONTROL)):
        (folder / name).write_text(text)
        (folder / name).chmod(stat.S_IRWXU)
    return {
        **ENVIRONMENT, "PATH": f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "FAKE_NODES": str(nodes), "FAKE_LOG": str(folder / "requeued"), "VENV": "/nonexistent",
        "SLURM_JOB_ID": str(free_port() - 10000), "SLURM_JOB_NODELIST": "n[0-1]", "SLURM_SUBMIT_DIR": str(REPO),
        "SLURM_ARRAY_TASK_ID": "7",
    }  # fmt: skip


def test_slurm_job_saves_before_its_time_is_up_and_queues_again(tiny, passive_run, tmp_path):
    overrides = small_overrides(
        tiny, NUM_UPDATES=100000, TRAIN__SAVE_EVERY=100000, TRAIN__PASSIVE_CHECKPOINT=passive_run, SEED="%a"
    )
    words = command("train", "configs/train/near_target.yaml", str(tmp_path / "run_%a"), overrides)
    environment = fake_slurm(tmp_path, nodes=2)
    job = subprocess.Popen(
        ["bash", str(REPO / "scripts" / "slurm" / "main.sbatch"), *words],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    metrics = tmp_path / "run_7" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.read_text().count("\n") >= 2) and time.monotonic() < deadline:
        assert job.poll() is None, job.communicate()[1][-3000:]
        time.sleep(0.02)
    job.send_signal(signal.SIGUSR1)
    said, errors = job.communicate(timeout=120)
    done = metrics.read_text().count("\n")
    state = torch.load(tmp_path / "run_7" / "state.pth", weights_only=True)
    assert state["update"] == done >= 2, errors[-3000:]
    assert state["config"]["SEED"] == 7
    assert (tmp_path / "requeued").read_text() == f"requeue {environment['SLURM_JOB_ID']}\n"
    assert "queued again" in said
