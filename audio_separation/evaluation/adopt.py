"""Taking over the settings that a checkpoint was trained with, where an evaluation does not set its own."""

from __future__ import annotations

from typing import Any, Mapping

from yacs.config import CfgNode

from audio_separation.config.default import all_keys, chosen_keys


def adopt_keys(
    config: CfgNode, stored: Mapping[str, Any], sections: tuple[str, ...], own: tuple[str, ...] = ()
) -> CfgNode:
    """``config`` with the keys of ``sections`` as they are ``stored``, frozen.

    A key that a YAML file or the command line has set stays as set, also one that was set to its default.

    Args:
        stored: the plain config of a checkpoint.
        sections: beginnings of the keys to take.
        own: beginnings of those among them that stay as they are: of the machine, or of a training.
    """
    chosen = chosen_keys(config)
    merged = config.clone()
    merged.defrost()
    for key in all_keys(config):
        if key.startswith(sections) and not key.startswith(own) and key in stored and key not in chosen:
            merged.merge_from_list([key, stored[key]])
    merged.freeze()
    return merged
