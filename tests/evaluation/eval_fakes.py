"""Checkpoints of tiny agents with arbitrary weights, and what an evaluation of them needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from small_config import small_config
from tiny import CLASSES
from yacs.config import CfgNode

from audio_separation.evaluation.run import evaluate
from audio_separation.models.agent import Agent
from audio_separation.scenes.layout import DatasetPaths
from audio_separation.training.active import build_agent
from audio_separation.training.checkpoint import save_checkpoint
from audio_separation.training.distributed import World
from audio_separation.training.run_dir import plain_config

CPU = torch.device("cpu")
ONE = World(0, 1, 0, 1, CPU)
VAL, TEST = "configs/val/near_target_unheard.yaml", "configs/test/near_target_unheard.yaml"
STEPS, REFINE = 5, 2  # so that some seconds are refined fully and some by the end of the episode only


class NoStop:
    """A StopRequest that leaves the test's signal handlers alone."""

    signal = None
    exit_code = 143


def eval_config(paths: DatasetPaths, exp_config: str = VAL, **changes: object) -> CfgNode:
    """Config of an evaluation of 3 short episodes, 3 environments; the networks are as in training."""
    settings: dict[str, Any] = {
        "TASK__EPISODE_STEPS": STEPS, "MEMORY__SIZE": 4, "EVAL__REFINE_STEPS": REFINE, "NUM_PROCESSES": 3,
        "DATA__MAX_EPISODES": 3, "VERBOSE": False,
    }  # fmt: skip
    return small_config(paths, exp_config, **{**settings, **changes})


def tiny_agent(config: CfgNode, seed: int) -> Agent:
    """An agent whose every network does something: no weight is at its neutral start."""
    agent = build_agent(config, CLASSES, CPU)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return agent.eval()


def write_checkpoint(path: Path, config: CfgNode, seed: int) -> None:
    """Write what the active training writes."""
    content = {
        "kind": "active",
        "agent": tiny_agent(config, seed).state_dict(),
        "update": seed,
        "classes": CLASSES,
        "config": plain_config(config),
    }
    save_checkpoint(path, content)


def run(config: CfgNode, model_dir: Path, **changes: Any) -> int:
    """Evaluate in this process."""
    return evaluate(config, str(model_dir), changes.get("world", ONE), changes.get("stop", NoStop()))


def load(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text())
