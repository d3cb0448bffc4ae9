"""From the ``habitat.dataset`` node to our config tree: the one place where the two config systems meet."""

from __future__ import annotations

from typing import Any

from yacs.config import CfgNode

from audio_separation.config import get_config
from audio_separation.errors import UserError


def sounds_of_split(split: str) -> str:
    """Split of the corpus that a split of episodes plays: ``valUnheard`` its own, ``valHeard`` those of train."""
    return split if split.endswith("Unheard") else "train"


def task_config(node: Any) -> CfgNode:
    """Our frozen config for ``habitat.dataset`` or ``habitat.simulator``.

    Args:
        node: has ``exp_config`` (a YAML file of ours, or empty: the defaults), ``split`` (empty: that of the
            YAML; otherwise also the corpus split is chosen, see :func:`sounds_of_split`), ``images`` (false: as
            with ``POLICY.VISION none`` no pictures are needed) and ``overrides`` (KEY VALUE words, which have the
            last word).

    Raises:
        UserError: for a missing file, an unknown key or a wrong value.
    """
    chosen = ["DATA.SPLIT", node.split, "DATA.SOUNDS", sounds_of_split(node.split)] if node.split else []
    chosen += [] if node.images else ["POLICY.VISION", "none"]
    try:
        return get_config(node.exp_config or None, [*chosen, *node.overrides])
    except UserError as error:
        raise UserError(f"habitat.dataset.exp_config, split and overrides: {error}") from None


def is_live(config: CfgNode) -> bool:
    """Whether agents stand at any position and heading, where everything is rendered as it is needed."""
    return config.SIMULATOR.TYPE == "live"
