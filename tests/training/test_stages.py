"""Time counted by stage."""

from __future__ import annotations

import pytest
import torch

from audio_separation.training import stages as stages_module
from audio_separation.training.logging import read_metrics
from audio_separation.training.stages import Stages

STAGES = ("render", "separator", "memory", "policy", "ppo_update", "memory_update", "communication")


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets: ``clock[0]`` seconds."""
    now = [100.0]
    monkeypatch.setattr(stages_module.time, "perf_counter", lambda: now[0])
    return now


def test_a_stage_inside_another_is_taken_out_of_it(clock):
    stages = Stages(torch.device("cpu"))
    for _ in range(2):
        with stages("outer"):
            clock[0] += 1
            with stages("inner"):
                clock[0] += 10
            clock[0] += 2
        clock[0] += 50  # between stages: nobody's
    assert stages.take() == {"time/outer_s": 6.0, "time/inner_s": 20.0}
    assert stages.take() == {}


def test_a_stage_that_fails_is_counted_and_left(clock):
    stages = Stages(torch.device("cpu"))
    with pytest.raises(ZeroDivisionError), stages("a"):
        clock[0] += 3
        _ = 1 / 0
    clock[0] += 5
    with stages("b"):
        clock[0] += 1
    assert stages.take() == {"time/a_s": 3.0, "time/b_s": 1.0}


def test_training_writes_the_seconds_of_every_stage(active_run):
    for line in read_metrics(active_run / "timing.jsonl"):
        assert {f"time/{name}_s" for name in STAGES} <= set(line)
        assert line["time/render_s"] > 0 and line["time/memory_update_s"] > 0
