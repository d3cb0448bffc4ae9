"""The command line: help, options, settings."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from cli_command import CONFIGS, command, error_of
from small_config import REPO

import main


def test_help_shows_examples_and_loads_nothing_heavy():
    done = subprocess.run([sys.executable, "main.py", "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    for part in ("torchrun", "--run-type", "configs/pretrain_passive.yaml", "KEY VALUE", "default.py"):
        assert part in done.stdout
    loaded = "import sys, main; assert not {'torch', 'numpy', 'yaml'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded]).returncode == 0


def test_examples_of_the_help_name_files_that_exist():
    named = {word for word in main.EPILOG.split() if word.startswith("configs/") and word.endswith(".yaml")}
    assert CONFIGS["passive"] in named
    assert [name for name in named if not (REPO / name).is_file()] == []


def test_overrides_may_stand_before_the_options():
    args = main.parse_args(
        ["SEED", "3", "--run-type", "train", "--exp-config", "a", "PPO.LR", "1", "--model-dir", "b"]
    )
    assert args.overrides == ["SEED", "3", "PPO.LR", "1"]


def test_missing_options_are_explained(capsys):
    with pytest.raises(SystemExit) as left:
        main.main(["--run-type", "train"])
    assert left.value.code == 2 and "--exp-config" in capsys.readouterr().err


# ---- settings ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["PPO.LRR", "1"], "unknown config key PPO.LRR"),
        (["SEED"], "KEY VALUE pairs"),
        (["TRAINER", "passiv"], "TRAINER is 'passiv'; expected one of passive, active"),
        (["DEVICE", "tpu"], "DEVICE is 'tpu'; expected auto, cpu or cuda"),
        (["AUDIO.MODE", "loud"], "AUDIO.MODE"),
        (["AUDIO.RIR_STORE", "tape"], "tape"),
        (["AUDIO.MISSING_RIR", "guess"], "guess"),
        (["DATA.SPLIT", "holdout"], "holdout"),
        (["DATA.SOUNDS", "holdout"], "holdout"),
        (["DATA.CORPUS", "nowhere"], "nowhere"),
        (["SEPARATOR.VARIANT", "x"], "SEPARATOR.VARIANT must be one of"),
        (["PASSIVE.LOSS", "l7"], "PASSIVE.LOSS must be one of"),
    ],
)
def test_wrong_settings(tiny, tmp_path, capsys, words, message):
    assert message in error_of([*command("passive", tiny, tmp_path / "run"), *words], capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without GPU")
def test_cuda_without_a_gpu(tiny, tmp_path, capsys):
    assert "torch sees no GPU" in error_of(command("passive", tiny, tmp_path / "run", DEVICE="cuda"), capsys)


def test_missing_config_file(tmp_path, capsys):
    arguments = [
        "--run-type",
        "train",
        "--exp-config",
        "configs/none.yaml",
        "--model-dir",
        str(tmp_path / "run"),
    ]
    assert "configs/none.yaml not found" in error_of(arguments, capsys)


# ---- data that is missing ------------------------------------------------------------------------------
