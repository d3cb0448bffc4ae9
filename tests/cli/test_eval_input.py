"""Bad input of an evaluation, through the command line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from small_config import small_config, small_overrides, train

import main


@pytest.fixture(scope="module")
def runs(tiny, tmp_path_factory) -> Path:
    """`passive` and `active`, each after one step."""
    folder = tmp_path_factory.mktemp("eval")
    assert train(small_config(tiny, TRAINER="passive", PASSIVE__NUM_STEPS=1), folder / "passive") == 0
    config = small_config(tiny, NUM_UPDATES=1, TRAIN__PASSIVE_CHECKPOINT=folder / "passive")
    assert train(config, folder / "active") == 0
    return folder


@pytest.mark.parametrize(
    ("kind", "run", "words", "message"),
    [
        ("val", "nowhere", [], "nowhere does not exist; train first"),
        ("val", "active", ["EVAL.NAME", "../elsewhere"], "EVAL.NAME is '../elsewhere'"),
        ("val", "passive", [], "passive has no checkpoints"),
        ("test", "active", [], "has no best checkpoint yet; validate first"),
        ("val", "active", ["EVAL.AGENT", "fly"], "EVAL.AGENT is 'fly'; expected one of"),
        ("val", "active", ["EVAL.CHECKPOINT", "x.pth"], "EVAL.CHECKPOINT is 'x.pth'"),
        ("val", "active", ["EVAL.CHECKPOINT", "../passive/best.pth"], "kind 'passive'"),
        (
            "val",
            "active",
            ["EVAL.CHECKPOINT", "metrics.jsonl"],
            "metrics.jsonl is damaged or not a checkpoint",
        ),
        ("val", "active", ["EVAL.SELECT_BY", "beauty"], "EVAL.SELECT_BY is 'beauty'"),
        ("val", "active", ["EVAL.REFINE_STEPS", "9"], "EVAL.REFINE_STEPS is 9"),
        ("val", "active", ["DATA.SPLIT", "holdout"], "generate_homes.py"),
        ("val", "active", ["DATA.SOUNDS", "train"], "plays the sound"),
        ("val", "active", ["DATA.ROOT", "/nowhere"], "generate_homes.py"),
        (
            "val",
            "active",
            ["SEPARATOR.CHANNELS", "[4,4,4,4,4]"],
            "has shape (8, 36, 4, 4), the config makes (4, 36, 4, 4)",
        ),
    ],
)
def test_one_line_and_nothing_written(tiny, runs, capsys, kind, run, words, message):
    before = {p: os.stat(p).st_mtime_ns for p in runs.rglob("*")}
    config = f"configs/{kind}/near_target_unheard.yaml"
    arguments = ["--run-type", "eval", "--exp-config", config, "--model-dir", str(runs / run)]
    assert main.main([*arguments, *small_overrides(tiny), *words]) == 2
    written = capsys.readouterr().err
    assert written.startswith("error: ") and written.count("\n") == 1 and message in written
    assert {p: os.stat(p).st_mtime_ns for p in runs.rglob("*")} == before
