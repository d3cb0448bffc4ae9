"""Confidence intervals and tables."""

from __future__ import annotations

import math

import numpy as np
import pytest

from audio_separation.evaluation.stats import mean_ci
from audio_separation.evaluation.tables import format_estimate, markdown_table, score_rows, text_table


def test_interval_of_three_values_in_closed_form():
    # mean 2, deviation 1, n 3: t(0.975, 2) = 4.302653 over sqrt(3)
    mean, ci95, n = mean_ci([1.0, 2.0, 3.0])
    assert (mean, n) == (2.0, 3)
    assert ci95 == pytest.approx(4.302652729911275 / math.sqrt(3))


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(1000):
        mean, ci95, _ = mean_ci(rng.normal(5.0, 2.0, 6).tolist())
        inside += abs(mean - 5.0) <= ci95
    assert 0.93 < inside / 1000 < 0.97


def test_missing_scores_are_left_out_and_counted():
    assert mean_ci([None, 1.0, math.nan, 3.0])[::2] == (2.0, 2)
    assert mean_ci([4.0]) == (4.0, None, 1)
    assert mean_ci([None]) == (None, None, 0)


def test_tables_show_mean_and_interval():
    methods = {
        "silence": {"stft_l2": {"mean": 0.72, "ci95": 0.0, "n": 4}, "si_sdr_db": mean_ci([])._asdict()},
        "refined": {
            "stft_l2": {"mean": 0.12345, "ci95": 0.02, "n": 4},
            "si_sdr_db": mean_ci([3.0])._asdict(),
        },
    }
    rows = score_rows(methods)
    assert rows == [
        ["method", "STFT-L2 (lower)", "SI-SDR dB"],
        ["silence", "0.720 ± 0.000", "-"],
        ["refined", "0.123 ± 0.020", "3.00"],
    ]
    lines = text_table(rows).splitlines()
    assert lines[1].startswith("silence") and lines[1].endswith("-") and len(lines) == 3
    assert markdown_table(rows).splitlines()[1] == "|---|---:|---:|"
    assert format_estimate(None, 2) == "-"
