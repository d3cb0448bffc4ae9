"""The published system's ``environment_settings.json`` (Madaghiele and Fasciani, AIMC 2024) as keys of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

from audio_separation.errors import UserError

# of its synthesizers, those that we have under another name
SYNTH_NAMES = {"sin": "sine", "sine_wave": "sine", "FM3": "fm3", "FM4": "fm4"}
NUM_PARAMS = {"sine": 2, "fm3": 3, "fm4": 4, "granular": 4}
# its word for all descriptors does not count pitch, which it lacks
ALL = ["loudness", "mfcc", "chroma", "specshape", "sinefeaturefreqs", "sinefeaturemags"]
REQUIRED = ("instrument_name", "features_keep", "features_reward")
# what has no counterpart: Pure Data is started by --run-type live, with ports of its own (OSC.PORT_SEND, ...)
WITHOUT = ("verbose", "live", "ip_send", "port_send", "port_send_optimal")


def translate(path: Path) -> dict[str, Any]:
    """Keys of our tree, nested, for the settings in ``path``: its environment and its agent.

    Raises:
        UserError: for a file that is no such settings, or a setting without a counterpart.
    """
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"settings file {path} is not readable JSON: {' '.join(str(error).split())}"
        ) from None
    lacking = [key for key in REQUIRED if not isinstance(settings, dict) or key not in settings]
    if lacking:
        raise UserError(
            f"settings file {path} should be an environment_settings.json of the published system; it lacks "
            f"{', '.join(lacking)}"
        )
    synth: dict[str, Any] = {"ACTIONS": "joint", "LOOKUP": "nearest"}
    tree: dict[str, Any] = {
        "TASK": {"NAME": "synth"},
        "TRAINER": "sb3",
        "SB3": {"ALGORITHM": "PPO"},
        "SYNTH": synth,
    }
    for key, value in settings.items():
        if key in WITHOUT:
            continue
        if key == "seed":
            tree["SEED"] = 0 if value in (None, "None") else value
        elif key in KEYS:
            synth[KEYS[key][0]] = KEYS[key][1](value)
        elif key != "N_synth_params":
            raise UserError(
                f"settings file {path} has {key}, which is no setting of the published system; remove it"
            )
    _check_count(path, synth["NAME"], settings.get("N_synth_params"))
    return tree


def _name(value: Any) -> Any:
    # of another type it is refused with the key that it becomes
    return SYNTH_NAMES.get(value, value) if isinstance(value, str) else value


def _features(value: Any) -> list[Any]:
    words = value if isinstance(value, list) else [value]
    return ALL if "all" in words else words


def _same(value: Any) -> Any:
    return value


KEYS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "instrument_name": ("NAME", _name),
    "corpus_name": ("CORPUS", _same),
    "features_keep": ("FEATURES", _features),
    "features_reward": ("REWARD_FEATURES", _features),
    "reward_noise": ("REWARD_NOISE", _same),
    "training_mode": ("TARGETS", _same),
    "reward_type": ("REWARD", _same),
    "step_size": ("STEP_SIZE", _same),
    "max_episode_duration": ("MAX_STEPS", _same),
}


def _check_count(path: Path, name: Any, count: Any) -> None:
    expected = NUM_PARAMS.get(name) if isinstance(name, str) else None
    if expected is not None and count is not None and count != expected:
        raise UserError(
            f"settings file {path} says N_synth_params {count}, but synthesizer {name} has {expected}; correct one of "
            "them"
        )
