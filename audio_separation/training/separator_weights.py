"""Weights that a separator of the audition tasks begins with."""

from __future__ import annotations

from pathlib import Path

from yacs.config import CfgNode

from audio_separation.errors import UserError
from audio_separation.models.audition.separation import Separator
from audio_separation.training.checkpoint import load_checkpoint, restore
from audio_separation.training.run_dir import plain_config

# the same tensors mean something else under other values
FIXED_KEYS = (
    "AUDITION.RATE", "AUDITION.SOURCES", "AUDITION.SEPARATOR.TYPE", "AUDITION.SEPARATOR.N_FFT",
    "AUDITION.SEPARATOR.HOP", "AUDITION.SEPARATOR.INPUT", "AUDITION.SEPARATOR.PRESET",
)  # fmt: skip


def load_separator_weights(separator: Separator, path: Path, config: CfgNode) -> None:
    """Load the separator of a checkpoint of kind ``separator`` or ``dqn``.

    Args:
        path: a model dir, whose ``best.pth`` is meant, or a ``.pth`` file.
        config: of this run.

    Raises:
        UserError: a checkpoint that is missing, of another kind, or made with other settings.
    """
    path = path / "best.pth" if path.is_dir() else path
    content = load_checkpoint(path)
    if content.get("kind") not in ("separator", "dqn"):
        raise UserError(
            f"AUDITION.SEPARATOR.CHECKPOINT {path} is of kind {content.get('kind')!r}, expected separator or dqn; give "
            "the model dir of a training with TRAINER separator or dqn"
        )
    trained = content.get("config", {})
    for key, value in plain_config(config).items():
        if key in FIXED_KEYS and trained.get(key, value) != value:
            raise UserError(
                f"checkpoint {path} was trained with {key} {trained[key]!r}, this run has {value!r}; use the same "
                "value in both"
            )
    if content["kind"] == "dqn":
        prefix = "separator."
        agent = content.get("agent", {})
        content = {"separator": {k[len(prefix) :]: v for k, v in agent.items() if k.startswith(prefix)}}
    restore(separator, content, "separator", path)
