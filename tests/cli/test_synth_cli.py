"""The synthesizer agent from the command line: trained, judged, tabulated; stopped by a signal; mistakes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from cli_command import error_of
from script_module import load_script
from small_config import REPO
from synth_worlds import make_synth_data, synth_overrides

import main

SINE = "configs/synth/sine.yaml"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_synth_data(tmp_path_factory.mktemp("synth"))


def words(kind, folder, root, exp_config=SINE, **changes):
    head = ["--run-type", kind, "--exp-config", str(exp_config), "--model-dir", str(folder)]
    return [*head, *synth_overrides(root, **changes)]


def run(monkeypatch, arguments):
    """Run as a command; its line is what records and rows keep."""
    monkeypatch.setattr(sys, "argv", ["main.py", *arguments])
    return main.main(arguments)


def test_train_evaluate_tabulate(root, tmp_path, monkeypatch, capsys):
    seeds = [tmp_path / f"seed{seed}" for seed in range(2)]
    for seed, folder in enumerate(seeds):
        assert run(monkeypatch, words("train", folder, root, SEED=seed)) == 0
        assert (folder / "best.pth").exists() and list((folder / "tb").iterdir())
        assert run(monkeypatch, words("eval", folder, root, SYNTH__TARGETS="corpus")) == 0
    greedy = tmp_path / "greedy"
    agent = {"EVAL__AGENT": "greedy", "SYNTH__TARGETS": "corpus"}
    assert run(monkeypatch, words("eval", greedy, root, **agent)) == 0
    out = capsys.readouterr().out
    assert "train 128/128 steps" in out and "greedy, greedy, 4 episodes of test" in out
    rows_file = tmp_path / "rows.json"
    collect = [f"PPO={seeds[0]},{seeds[1]}", f"greedy={greedy}"]
    assert load_script("results_table").main([str(rows_file), "--collect", *collect]) == 0
    table = capsys.readouterr().out
    rows = json.loads(rows_file.read_text())
    assert {(row["task"], row["split"]) for row in rows} == {("sine", "test_corpus")}
    found = {(row["method"], row["metric"]): row for row in rows}
    metrics = ("rmse", "late_rmse", "near", "reward", "nearest/rmse")
    assert set(found) == {(method, metric) for method in ("PPO", "greedy") for metric in metrics}
    means = []
    for folder in seeds:
        (path,) = folder.glob("eval/test_corpus_policy/*/summary.json")
        means.append(json.loads(path.read_text())["methods"]["policy"]["rmse"]["mean"])
    row = found["PPO", "rmse"]
    assert row["mean"] == pytest.approx(sum(means) / 2) and (row["episodes"], row["seeds"]) == (8, 2)
    assert row["ci_low"] < row["mean"] < row["ci_high"]
    # the command can be given again: without what lies where on this machine
    assert "--run-type eval" in row["command"] and "SYNTH.TARGETS corpus" in row["command"]
    assert str(root) not in row["command"] and "NUM_PROCESSES" not in row["command"]
    assert found["PPO", "nearest/rmse"]["mean"] == pytest.approx(found["greedy", "nearest/rmse"]["mean"])
    assert "**sine, test_corpus: Distance to the target, mean over the steps**" in table
    lines = [line for line in table.splitlines() if line.startswith("| PPO")]
    assert len(lines) == 1 and f"{row['mean']:.3f}" in lines[0]


def test_distances_of_other_descriptors_are_not_put_into_one_table(root, tmp_path, monkeypatch, capsys):
    """How an agent was rewarded may differ, not what it is judged by."""
    agent = {"EVAL__AGENT": "greedy", "EVAL__EPISODES": 2}
    others = {
        "cubic": {"SYNTH__REWARD": "cubic", "SYNTH__REWARD_NOISE": 0.1},
        "centroid": {"SYNTH__REWARD_FEATURES": "['specshape-centroid']"},
        "weights": {"SYNTH__REWARD_WEIGHTS": "[1,2]"},
    }
    for name, changes in {"plain": {}, **others}.items():
        assert run(monkeypatch, words("eval", tmp_path / name, root, **agent, **changes)) == 0
    table = load_script("results_table")
    for name in others:
        collect = [f"{n}={tmp_path / n}" for n in ("plain", name)]
        status = table.main([str(tmp_path / f"{name}.json"), "--collect", *collect])
        errors = capsys.readouterr().err
        if name == "cubic":
            assert status == 0 and errors == ""
        else:
            assert status != 0 and "are of different tasks (SYNTH.REWARD_" in errors


def test_a_terminated_training_goes_on(root, tmp_path):
    """To the same curves and the same checkpoint as one that was let alone."""
    changes = {"SB3__NUM_STEPS": 2048, "SB3__EVAL_EVERY": 512, "SB3__SAVE_EVERY": 1000, "VERBOSE": False}
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    process = subprocess.Popen(
        [sys.executable, "main.py", *words("train", stopped, root, **changes)],
        cwd=REPO,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 90
    metrics = stopped / "metrics.jsonl"
    while not metrics.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 143 and errors == "", errors
    state = torch.load(stopped / "state.pth", weights_only=True)
    assert 32 <= state["step"] < 2048 and state["training"] is not None
    for folder in (stopped, whole):
        assert main.main(words("train", folder, root, **changes)) == 0
    assert metrics.read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert (stopped / "best.json").read_bytes() == (whole / "best.json").read_bytes()
    one, other = (torch.load(f / "ckpt/ckpt.2048.pth", weights_only=True)["policy"] for f in (stopped, whole))
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_published_settings_are_an_experiment_file(root, tmp_path, capsys):
    settings = {
        "instrument_name": "sin",
        "N_synth_params": 2,
        "corpus_name": "sweeps",
        "features_keep": ["loudness", "specshape-centroid"],
        "features_reward": ["loudness-dB", "specshape-centroid"],
        "reward_type": "cubic+prize",
        "training_mode": "mixed_random+corpus",
        "step_size": 0.1,
        "max_episode_duration": 20,
        "seed": "None",
    }
    path = tmp_path / "environment_settings.json"
    path.write_text(json.dumps(settings))
    own = [
        "SYNTH.RATE",
        "16000",
        "SB3.NUM_STEPS",
        "32",
        "SB3.ROLLOUT",
        "16",
        "NUM_PROCESSES",
        "2",
        "DEVICE",
        "cpu",
    ]
    head = ["--run-type", "train", "--exp-config", str(path), "--model-dir", str(tmp_path / "run")]
    arguments = [
        *head,
        "DATA.ROOT",
        str(root),
        "THREADS",
        "1",
        "SB3.BATCH",
        "16",
        "SB3.EVAL_EPISODES",
        "2",
        *own,
    ]
    assert main.main(arguments) == 0
    config = torch.load(tmp_path / "run/best.pth", weights_only=True)["config"]
    assert (config["SYNTH.NAME"], config["SYNTH.ACTIONS"], config["SYNTH.MAX_STEPS"]) == ("sine", "joint", 20)
    path.write_text(json.dumps({**settings, "features_keep": ["loudnes"]}))
    line = error_of([*head[:-1], str(tmp_path / "other"), *arguments[len(head) :]], capsys)
    assert "environment_settings.json" in line and "'loudnes'" in line and "did you mean loudness" in line
    assert not (tmp_path / "other").exists()


MISTAKES = [
    ({"SYNTH__NAME": "fm3"}, "there is no lookup table at"),
    ({"SYNTH__CORPUS": "jazz"}, "there is no corpus at"),
    ({"SYNTH__FEATURES": "['warmth']"}, "names the descriptor 'warmth'"),
    ({"SYNTH__ACTIONS": "jump"}, "SYNTH.ACTIONS"),
    ({"SYNTH__STEP_SIZE": 2}, "SYNTH.STEP_SIZE"),
    ({"SB3__ALGORITHM": "SAC"}, "SAC needs actions in a Box space"),
    ({"SB3__ALGORITHM": "REINFORCE"}, "SB3.ALGORITHM"),
    ({"SB3__HER": True}, "SB3.HER relabels goals"),
    ({"SB3__LR": 0}, "SB3.LR"),
    ({"SB3__LR": -0.1}, "SB3.LR"),
    ({"TASK__NAME": "near_target"}, "TRAINER sb3 learns TASK.NAME synth or step_signal"),
]


@pytest.mark.parametrize(("changes", "message"), MISTAKES, ids=[message[:30] for _, message in MISTAKES])
def test_mistakes_are_one_sentence(root, tmp_path, capsys, changes, message):
    assert message in error_of(words("train", tmp_path / "run", root, **changes), capsys)
    assert not (tmp_path / "run").exists()


def test_a_model_dir_of_something_else(root, tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    assert "holds files that are no run of ours (thesis.txt)" in error_of(
        words("train", tmp_path, root), capsys
    )
    assert "has no best.pth; train first" in error_of(words("eval", tmp_path / "run", root), capsys)
