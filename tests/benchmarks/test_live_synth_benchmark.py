"""The benchmark of Pure Data runs with its smallest settings; its rows fit together. No time is judged."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from pd_setup import program_or_skip
from small_config import REPO


def test_live_synth(tmp_path):
    program_or_skip()
    words = "--synths sine granular --rows 6 --seconds 0.1 --rounds 1 --live-s 0.6"
    command = [sys.executable, str(REPO / "benchmarks" / "live_synth.py"), *words.split()]
    done = subprocess.run(
        [*command, "--json", str(tmp_path / "out.json")], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["benchmark"] == "live_synth" and {"cpu", "cores", "commit"} <= content["machine"].keys()
    rendered, played = content["rows"][:2], content["rows"][2:]
    assert [row["synth"] for row in content["rows"]] == ["sine", "granular"] * 2
    for row in rendered:
        assert row["ratio"] == pytest.approx(row["pd_rows_per_s"] / row["numpy_rows_per_s"])
        assert row["difference"] < 0.01 and row["rows"] == 6
    for row in played:
        assert 0 < row["round_trip_ms"] <= row["worst_ms"] and row["messages_lost"] == 0
        assert row["parameters"] >= 5 and row["blocks"] > 40
    assert "| pd_rows_per_s |" in done.stdout and "| round_trip_ms |" in done.stdout
