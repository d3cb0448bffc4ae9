"""Taking over the settings that a checkpoint was trained with, where an evaluation does not set its own."""

from __future__ import annotations

from typing import Any, Mapping

from yacs.config import CfgNode

from audio_separation.config.default import all_keys, chosen_keys

# of an agent by Stable-Baselines3, what its weights are shaped by
NETWORK_KEYS = ("SB3.ALGORITHM", "SB3.HIDDEN", "SYNTH.FEATURES", "SYNTH.ACTIONS", "STEP_SIGNAL.POINTS")


def adopt_keys(
    config: CfgNode,
    stored: Mapping[str, Any],
    sections: tuple[str, ...],
    own: tuple[str, ...] = (),
    always: tuple[str, ...] = (),
) -> CfgNode:
    """``config`` with the keys of ``sections`` as they are ``stored``, frozen.

    A key that a YAML file or the command line has set stays as set, also one that was set to its default; those of
    ``always`` do not.

    Args:
        stored: the plain config of a checkpoint.
        sections: beginnings of the keys to take.
        own: beginnings of those among them that stay as they are: of the machine, or of a training.
        always: keys without which the weights do not fit, taken also where they are set.
    """
    chosen = chosen_keys(config)
    merged = config.clone()
    merged.defrost()
    for key in all_keys(config):
        wanted = key.startswith(sections) and not key.startswith(own) and key not in chosen
        if key in stored and (wanted or key in always):
            # not by yacs' merge_from_list: it would read a folder's name such as 2024 as a number
            _put(merged, key, stored[key])
    merged.freeze()
    return merged


def _put(config: CfgNode, key: str, value: Any) -> None:
    *sections, name = key.split(".")
    for section in sections:
        config = config[section]
    config[name] = value
