"""Training and evaluation run on the live simulator as they do on the cached one, by config alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from small_config import SMALL, NoStop, train
from tiny import CLASSES
from yacs.config import CfgNode

from audio_separation.config import get_config
from audio_separation.evaluation.run import evaluate
from audio_separation.training.active import build_agent
from audio_separation.training.checkpoint import save_checkpoint
from audio_separation.training.distributed import World
from audio_separation.training.run_dir import plain_config

pytest.importorskip(
    "rlr_audio_propagation", reason="rlr-audio-propagation, the acoustic engine, is not installed"
)
WORLD = World(0, 1, 0, 1, torch.device("cpu"))


def small_live(paths, **changes) -> CfgNode:
    values = {
        **SMALL,
        "DATA.ROOT": paths.data_root,
        "DATA.SOUND_SPACES": paths.sound_spaces_root,
        "SIMULATOR.TYPE": "live",
        "LIVE.STEPS_PER_SECOND": 2,
        "LIVE.RESOLUTION": 32,
        "NUM_UPDATES": 1,
        "VERBOSE": False,
        **{key.replace("__", "."): value for key, value in changes.items()},
    }
    return get_config(None, [str(word) for pair in values.items() for word in pair])


def test_train_and_evaluate_live(home_world, tmp_path):
    paths = home_world[0]
    config = small_live(paths)
    content = {
        "kind": "passive",
        "separator": build_agent(config, CLASSES, WORLD.device).separator.state_dict(),
        "classes": CLASSES,
        "config": plain_config(config),
    }
    save_checkpoint(tmp_path / "separator.pth", content)
    run = tmp_path / "run"
    assert train(small_live(paths, TRAIN__PASSIVE_CHECKPOINT=tmp_path / "separator.pth"), run) == 0
    learnt = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert (
        len(learnt) == 1
        and learnt[0]["rollout/reward"] < 0
        and learnt[0]["rollout/target_distance_end_m"] > 0
    )

    judged = small_live(paths, EVAL__CHECKPOINT="latest", EVAL__DETERMINISTIC=False, EVAL__NAME="live")
    assert evaluate(judged, str(run), WORLD, NoStop()) == 0
    folder = run / "eval" / "live" / "ckpt.1"
    records = json.loads((folder / "episodes.json").read_text())
    records = records["episodes"] if isinstance(records, dict) else records
    assert {r["episode_id"] for r in records} == {"0", "1", "2"}
    by_id = {r["episode_id"]: r for r in records}
    assert by_id["2"]["rotations_deg"][0] == 200.5 and by_id["1"]["source_nodes"] == [6, 1]
    start = home_world[1].positions[5]
    np.testing.assert_allclose(by_id["1"]["positions_m"][0], start, atol=1e-3)
    for record in records:
        assert len(record["nodes"]) == len(record["positions_m"]) == 4 and set(record["actions"]) <= {0, 1, 2}
        assert record["scores"]["refined"]["stft_l2"][0] > 0 and record["skipped_rirs"] == []
    assert len(list((folder / "report").glob("*/map.png"))) == 1
