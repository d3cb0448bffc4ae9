"""The agent of a checkpoint, built as it was trained."""

from __future__ import annotations

from typing import Any

import torch
from yacs.config import CfgNode

from audio_separation.errors import UserError
from audio_separation.evaluation.adopt import adopt_keys
from audio_separation.evaluation.results import Checkpoint
from audio_separation.models.agent import Agent
from audio_separation.models.build import build_memory, build_policy, build_separator
from audio_separation.training.checkpoint import check_classes, restore
from audio_separation.training.run_dir import plain_config

MODEL_SECTIONS = ("SEPARATOR.", "MEMORY.", "POLICY.", "AUDIO.")
# of the machine and the disk, not of the model
LOCAL_KEYS = ("AUDIO.RIR_STORE", "AUDIO.MISSING_RIR", "AUDIO.CACHE_MB", "AUDIO.PREFETCH")


def adopt_model_config(config: CfgNode, content: dict[str, Any], checkpoint: Checkpoint) -> CfgNode:
    """The evaluation's config with the networks and the audio settings that the checkpoint was trained with.

    The checkpoint's own sizes win: a key of SEPARATOR, MEMORY, POLICY or AUDIO that the evaluation does not set
    is taken from the config stored in the checkpoint, so an evaluation needs no copy of the training's sizes. A
    key that it does set, in its YAML or on the command line, stays as set (``AUDIO.MODE causal`` for an agent
    trained with ``paper``, say); sizes set so that the weights do not fit are refused by :func:`load_weights`.

    Raises:
        UserError: for a checkpoint of another kind, such as one of the pretraining.
    """
    if content.get("kind") != "active" or not isinstance(content.get("config"), dict):
        kind = f"of kind {content['kind']!r}" if "kind" in content else "of no known kind"
        raise UserError(
            f"checkpoint {checkpoint.path} is {kind}, expected one of the active training; give the model "
            "dir of configs/train/near_target.yaml"
        )
    return adopt_keys(config, content["config"], MODEL_SECTIONS, LOCAL_KEYS)


def build_untrained(config: CfgNode, num_classes: int, device: torch.device) -> Agent:
    """The agent of ``config`` (from :func:`adopt_model_config`) without its weights."""
    separator = build_separator(config, num_classes)
    return Agent(separator, build_memory(config), build_policy(config)).to(device).eval()


def load_weights(
    agent: Agent, config: CfgNode, content: dict[str, Any], checkpoint: Checkpoint, classes: list[str]
) -> None:
    """Give the agent of ``config`` the checkpoint's weights.

    Raises:
        UserError: when the checkpoint knows other classes than the corpus, or its weights do not fit, with
            the keys that differ from its own config.
    """
    check_classes(content, classes, checkpoint.path, "trained")
    try:
        restore(agent, content, "agent", checkpoint.path)
    except UserError as error:
        own, stored = plain_config(config), content["config"]
        overridden = [k for k in own if k.startswith(MODEL_SECTIONS) and k in stored and own[k] != stored[k]]
        if not overridden:
            raise
        shown = "; ".join(f"{k} is {own[k]!r} here, {stored[k]!r} in the checkpoint" for k in overridden[:3])
        raise UserError(f"{error} ({shown}: leave it out and the checkpoint's own is taken)") from None
