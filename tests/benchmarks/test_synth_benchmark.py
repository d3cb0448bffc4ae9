"""The benchmark of descriptors and tables runs with its smallest settings; its rows fit together. No time is judged."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from small_config import REPO


def test_synth(tmp_path):
    words = "--blocks 1 4 --subdivisions 2 --processes 1 2 --rounds 1"
    command = [sys.executable, str(REPO / "benchmarks" / "synth.py"), *words.split()]
    done = subprocess.run(
        [*command, "--json", str(tmp_path / "out.json")], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["benchmark"] == "synth" and {"cpu", "cores", "commit"} <= content["machine"].keys()
    one, four, single, double = content["rows"]
    assert (one["hops"], four["hops"], one["ratio"], single["ratio"]) == (1, 4, 1, 1)
    for row in (one, four):
        assert row["frames_per_s"] == pytest.approx(1e3 * row["hops"] / row["ms"])
        assert row["times_real_time"] == pytest.approx(row["frames_per_s"] * 512 / 44100)
    assert four["ratio"] == pytest.approx(four["frames_per_s"] / one["frames_per_s"])
    assert (single["processes"], double["processes"], single["rows"]) == (1, 2, 8)
    assert double["ratio"] == pytest.approx(double["rows_per_s"] / single["rows_per_s"])
    assert "| frames_per_s |" in done.stdout and "| rows_per_s |" in done.stdout
