"""Small lookup tables and corpora, made by the product's own descriptors, for the tests of the synthesizer agent."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import numpy as np
from small_config import REPO, override_words
from yacs.config import CfgNode

from audio_separation.audio.descriptors import NAMES, describe
from audio_separation.audio.synths import make_synth
from audio_separation.config import get_config
from audio_separation.envs.synth.feature_csv import indexed_csv_bytes
from audio_separation.envs.synth.table import LookupTable, grid_params, save_table

RATE, WINDOW, HOP = 16000, 512, 256
SMALL_SYNTH = {
    "TASK.NAME": "synth",
    "TRAINER": "sb3",
    "DEVICE": "cpu",
    "THREADS": "1",
    "NUM_PROCESSES": "2",
    "SYNTH.NAME": "sine",
    "SYNTH.RATE": str(RATE),
    "SYNTH.CORPUS": "sweeps",
    "SYNTH.FEATURES": "['loudness','specshape-centroid']",
    "SYNTH.REWARD_FEATURES": "['loudness-dB','specshape-centroid']",
    "SYNTH.STEP_SIZE": "0.1",
    "SYNTH.MAX_STEPS": "12",
    "SYNTH.CHANGE_PROBABILITY": "0.2",
    "SB3.NUM_STEPS": "128",
    "SB3.ROLLOUT": "16",
    "SB3.BATCH": "16",
    "SB3.EPOCHS": "2",
    "SB3.HIDDEN": "[8]",
    "SB3.BUFFER": "100",
    "SB3.START_STEPS": "24",
    "SB3.EVAL_EVERY": "64",
    "SB3.EVAL_EPISODES": "3",
    "SB3.SAVE_EVERY": "32",
    "EVAL.EPISODES": "4",
    "EVAL.REPORT_EPISODES": "0",
    "DATA.SPLIT": "test",
}


def make_table(folder: Path, name: str = "sine", subdivisions: int = 6) -> LookupTable:
    """The table of a closed-form synthesizer on a full grid."""
    synth = make_synth(name, RATE)
    params = grid_params([np.linspace(0, 1, subdivisions)] * synth.num_params)
    features = np.stack([describe(synth.render(p, 0.15)[WINDOW:], RATE, WINDOW, HOP).mean(0) for p in params])
    settings = {"synth": synth.describe(), "rate_hz": RATE, "window": WINDOW, "hop": HOP}
    table = LookupTable(params, features, NAMES, settings)
    save_table(table, folder)
    return table


def make_corpus(folder: Path, seconds: float = 1.5) -> None:
    """A sine that rises and swells, one file in each split, as CSVs of a published corpus."""
    time = np.arange(round(seconds * RATE)) / RATE
    for split, low_hz in (("train", 200.0), ("test", 900.0)):
        wave = np.sin(2 * np.pi * (low_hz + 300 * time) * time) * (0.2 + 0.5 * time / seconds)
        (folder / split).mkdir(parents=True)
        rows = describe(wave, RATE, WINDOW, HOP)
        (folder / split / f"sweep_{split}.csv").write_bytes(indexed_csv_bytes(NAMES, rows))


def make_synth_data(root: Path) -> Path:
    """``root`` as DATA.ROOT with the table of ``sine`` and the corpus ``sweeps``."""
    make_table(root / "synth/tables/sine")
    make_corpus(root / "synth/corpora/sweeps")
    return root


def synth_overrides(root: Path, **changes: object) -> list[str]:
    """KEY VALUE words; a dot in a key of ``changes`` is written as two underscores."""
    return override_words({**SMALL_SYNTH, "DATA.ROOT": root}, changes)


def synth_config(root: Path, exp_config: Optional[str] = None, **changes: object) -> CfgNode:
    """The frozen config of a small synthesizer task with the data at ``root``."""
    return get_config(exp_config and str(REPO / exp_config), synth_overrides(root, **changes))
