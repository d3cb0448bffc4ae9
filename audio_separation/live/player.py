"""A trained agent that plays: from what both sounds are like now to the next parameters. It needs no lookup table."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import numpy as np
import torch
from gymnasium import spaces
from yacs.config import CfgNode

from audio_separation.audio.descriptors import HOP, WINDOW, columns
from audio_separation.audio.synths import RATE
from audio_separation.envs.synth.env import action_space, move
from audio_separation.envs.synth.rewards import weighted_rmse
from audio_separation.envs.synth.space import Scaler
from audio_separation.errors import UserError
from audio_separation.evaluation.adopt import NETWORK_KEYS, adopt_keys
from audio_separation.evaluation.selection import judged_checkpoints
from audio_separation.training.checkpoint import load_checkpoint
from audio_separation.training.sb3.bundle import check_bundle, load_policy

EXPERIMENT = "configs/synth/fm3.yaml"


class SynthPlayer:
    """The policy of a bundle with the space of sounds that it was trained in.

    Attributes:
        synth_name: of the synthesizer.
        num_params: P.
        rate_hz, window, hop: of the analysis.
        frames_per_step: frames in a control period.
        patch: of a synthesizer of one's own.
        source: that granular plays.
        names: of the observed descriptors, ``[D]``.

    Args:
        config: with the bundle's own section SYNTH.
        sounds: the bundle's space of sounds.
        policy: has Stable-Baselines3's ``predict``.
    """

    def __init__(self, config: CfgNode, sounds: dict[str, Any], policy: Any):
        synth, settings = config.SYNTH, sounds["table_settings"]
        self.synth_name, self.num_params = synth.NAME, int(sounds["num_params"])
        # a published table does not say what its frames were
        self.rate_hz = int(settings.get("rate_hz", RATE))
        self.window, self.hop = int(settings.get("window", WINDOW)), int(settings.get("hop", HOP))
        self.frames_per_step = synth.FRAMES_PER_STEP
        self.patch: Optional[Path] = Path(synth.PATCH) if synth.PATCH else None
        self.source: Optional[Path] = Path(synth.SOURCE) if synth.SOURCE else None
        self.names = list(sounds["names"])
        self._columns = columns(self.names)
        self._scaler = Scaler.from_plain(sounds["scaler"])
        self._params_scaler = Scaler.from_plain(sounds["params_scaler"])
        self._weights = np.array(sounds["weights"])
        self._actions, self._step_size, self._policy = synth.ACTIONS, synth.STEP_SIZE, policy

    def reset(self, rng: np.random.Generator) -> np.ndarray:
        """The first parameters, ``[P]``."""
        return rng.random(self.num_params)

    def step(self, agent_features: np.ndarray, target_features: np.ndarray, params: np.ndarray) -> np.ndarray:
        """The next parameters, ``[P]`` in [0, 1].

        Args:
            agent_features: of its own sound, as ``describe`` gives them.
            target_features: of what it hears.
            params: ``[P]``, of its own sound.
        """
        observation = np.concatenate(
            [self._place(agent_features), self._place(target_features), self._params_scaler(params)]
        )
        action, _ = self._policy.predict(observation.astype(np.float32), deterministic=True)
        return move(params, action, self._actions, self._step_size)

    def distance(self, agent_features: np.ndarray, target_features: np.ndarray) -> float:
        """Weighted RMSE of the two sounds, as the training's reward has it."""
        return float(weighted_rmse(self._place(agent_features), self._place(target_features), self._weights))

    def _place(self, features: np.ndarray) -> np.ndarray:
        return self._scaler(features[self._columns])


def load_player(config: CfgNode, model_dir: Path, device: torch.device) -> tuple[CfgNode, SynthPlayer]:
    """The agent that ``EVAL.CHECKPOINT`` names, and the config with the settings that it was trained with.

    Raises:
        UserError: for another task, a missing model dir or checkpoint, one of another kind, or one that does not fit.
    """
    if config.TASK.NAME != "synth":
        raise UserError(
            f"--run-type live plays agents of TASK.NAME synth, found {config.TASK.NAME!r}; use a config in "
            "configs/synth"
        )
    path = judged_checkpoints(config.EVAL.CHECKPOINT, model_dir, EXPERIMENT)[-1]
    content = load_checkpoint(path)
    check_bundle(content, path, "synth")
    own = ("SYNTH.TABLE", "SYNTH.BACKEND")
    config = adopt_keys(config, content["config"], ("SYNTH.",), own, NETWORK_KEYS)
    sounds = content["sounds"]
    size = 2 * len(sounds["names"]) + int(sounds["num_params"])
    seen = spaces.Box(-config.SYNTH.CLIP, config.SYNTH.CLIP, (size,), np.float32)
    acts = action_space(config.SYNTH.ACTIONS, int(sounds["num_params"]))
    return config, SynthPlayer(config, sounds, load_policy(config, content, path, seen, acts, device))
