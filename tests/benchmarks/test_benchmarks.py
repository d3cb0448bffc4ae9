"""Every benchmark runs with its smallest settings and writes rows that fit together. No time is judged here."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from small_config import REPO

SMALL_NETWORKS = (
    "SEPARATOR.CHANNELS [8,8,8,8,8] MEMORY.CHANNELS 2 MEMORY.HEADS 2 MEMORY.FEEDFORWARD 16 POLICY.HIDDEN 16"
)
SMALLEST = {
    "audition": "--shapes shoebox l_shape --orders 1 --seconds 0.25 --steps 3 --plain-steps 2 --rounds 1",
    "evaluation": "--envs 1 2 --sizes small --episodes 2 --checkpoints 2 --threads 1 --side 2 --rir-samples 2000 "
    f"--set TASK.EPISODE_STEPS 2 EVAL.REFINE_STEPS 1 {SMALL_NETWORKS}",
    "live": "--rays 10 --processes 1 2 --steps 3 --resolution 16",
    "simulator": "--envs 1 3 --steps 3 --rounds 1 --warm-steps 3 --rir-samples 2000",
    "store": "--side 2 --rir-samples 2000 --pairs 4 --rounds 1",
    "views": "--triangles 100 --resolution 8 --nodes 20 --rounds 1",
    "training": "--sizes small --precision fp32 --updates 1 --threads 1",
    "scaling": "--envs 1 2 --sources 1 --rir-s 0.1 --scenes 2 --cache-mb 1 --side 2 --steps 2 --rounds 1 --updates 0",
}


def run(name: str, folder) -> dict:
    command = [sys.executable, str(REPO / "benchmarks" / f"{name}.py"), *SMALLEST[name].split()]
    done = subprocess.run(
        [*command, "--json", str(folder / "out.json")], cwd=folder, capture_output=True, text=True, timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    content = json.loads((folder / "out.json").read_text())
    assert content["benchmark"] == name and {"cpu", "cores", "torch", "commit"} <= content["machine"].keys()
    # what is printed is what is written
    assert all(f"| {column} |" in done.stdout for column in list(content["rows"][0])[1:2])
    return content


def test_audition(tmp_path):
    rows = run("audition", tmp_path)["rows"]
    assert [(row["shape"], row["order"]) for row in rows] == [("shoebox", 1), ("l_shape", 1)]
    for row in rows:
        assert row["ratio"] == pytest.approx(row["steps_per_s"] / row["plain_steps_per_s"])
        assert row["difference_db"] < -60 and 0 <= row["hit_share"] <= 1  # the plain way hears the same


def test_evaluation(tmp_path):
    rows = run("evaluation", tmp_path)["rows"]
    one, two = rows
    assert (one["envs"], two["envs"]) == (1, 2) and one["episodes"] == two["episodes"] == 2
    assert one["ratio_to_one"] == 1
    assert two["ratio_to_one"] == pytest.approx(two["episodes_per_s"] / one["episodes_per_s"])
    for row in rows:
        assert row["episodes_per_s"] == pytest.approx(row["episodes"] / row["checkpoint_s"])
        assert row["score_difference"] < 1e-3 and row["first_s"] > 0


def test_live(tmp_path):
    pytest.importorskip("rlr_audio_propagation", reason="the acoustic engine is not installed")
    one, two = run("live", tmp_path)["rows"]
    assert (one["processes"], two["processes"]) == (1, 2) and one["triangles"] == two["triangles"] > 100
    assert one["observations_per_s"] == pytest.approx(1e3 / one["observation_ms"])
    for row in (one, two):
        parts = row["acoustics_ms"] + row["sight_ms"] + row["rest_ms"]
        assert row["observation_ms"] == pytest.approx(parts) and min(row["acoustics_ms"], row["rest_ms"]) > 0
        assert 0 < row["poses_simulated"] <= 1


def test_scaling(tmp_path):
    rows = run("scaling", tmp_path)["rows"]
    assert [(row["sweep"], row[row["sweep"]]) for row in rows] == [
        ("envs", 1), ("envs", 2), ("sources", 1), ("rir_s", 0.1), ("scenes", 2),
    ]  # fmt: skip
    for row in rows:
        assert row["warm_over_cold"] == pytest.approx(row["warm_steps_per_s"] / row["cold_steps_per_s"])
        assert row["warm_steps_per_s"] == pytest.approx(1e3 * row["envs"] / row["warm_ms_per_batch"])
        assert row["cache_mb"] == (1 if row["sweep"] == "scenes" else 1024)


def test_simulator(tmp_path):
    rows = run("simulator", tmp_path)["rows"]
    assert [(row["mode"], row["envs"]) for row in rows] == [
        ("causal", 1), ("causal", 3), ("paper", 1), ("paper", 3),
    ]  # fmt: skip
    for row in rows:
        assert row["ratio"] == pytest.approx(row["steps_per_s"] / row["plain_steps_per_s"])
        assert 0 < row["floor_share"] < 1 and 0 <= row["hit_share"] <= 1
        assert row["max_difference"] < 2e-3  # the plain way hears the same


def test_store(tmp_path):
    rows = {row["store"]: row for row in run("store", tmp_path)["rows"] if "store" in row}
    tree, half = rows["wav tree"], rows["packed float16"]
    assert half["bytes_ratio"] == pytest.approx(half["mb"] / tree["mb"]) and half["error_db"] < -60


def test_training(tmp_path):
    (row,) = run("training", tmp_path)["rows"]
    assert row["frames_per_s"] == pytest.approx(14 * 20 / row["update_s"])
    stages = ("render_s", "separator_s", "memory_s", "policy_s", "ppo_update_s", "memory_update_s")
    assert 0.8 * row["update_s"] < sum(row[stage] for stage in stages) <= row["update_s"]
    assert row["rollout_mb"] < 300


def test_views(tmp_path):
    rows = run("views", tmp_path)["rows"]
    assert [row["what"] for row in rows] == [
        "home", "home .glb", "colours, 108 triangles", "texture, 108 triangles", "open pickle", "open mapped",
    ]  # fmt: skip
    assert all(0 < row["ms_min"] <= row["ms_per_view"] <= row["ms_max"] for row in rows)
