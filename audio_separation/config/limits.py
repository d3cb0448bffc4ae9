"""Values that no run can work with, refused by key before anything is loaded."""

from __future__ import annotations

from yacs.config import CfgNode

from audio_separation.errors import UserError

# the least value of counts and sizes; 0 where it means "all" or "choose"
LEAST = {
    "SEED": 0,
    "THREADS": 0,
    "NUM_PROCESSES": 1,
    "NUM_UPDATES": 1,
    "DATA.MAX_EPISODES": 0,
    "AUDIO.PREFETCH": 0,
    "AUDIO.CACHE_MB": 0,
    "TASK.EPISODE_STEPS": 1,
    "LIVE.STEP_M": 0.01,
    "LIVE.TURN_DEG": 1,
    "LIVE.STEPS_PER_SECOND": 1,
    "LIVE.RADIUS_M": 0.01,
    "LIVE.HABITAT_GPU": -1,
    "LIVE.RESOLUTION": 8,
    "LIVE.RAYS": 0,
    "LIVE.RAY_DEPTH": 0,
    "LIVE.BANDS": 1,
    "LIVE.THREADS": 1,
    "LIVE.CROSSFADE_S": 0,
    "MEMORY.SIZE": 1,
    "MEMORY.CHANNELS": 1,
    "MEMORY.LAYERS": 1,
    "MEMORY.FEEDFORWARD": 1,
    "MEMORY.LOSS_STEPS": 1,
    "POLICY.IMAGE_SIZE": 1,
    "POLICY.HIDDEN": 1,
    "PASSIVE.BATCH": 1,
    "PASSIVE.POINTS_PER_SCENE": 0,
    "PASSIVE.NUM_STEPS": 1,
    "PASSIVE.VAL_EVERY": 1,
    "PASSIVE.VAL_SAMPLES": 1,
    "PPO.EPOCHS": 1,
    "PPO.MINIBATCHES": 1,
    "MEMORY_UPDATE.EPOCHS": 1,
    "MEMORY_UPDATE.WINDOWS": 0,
    "MEMORY_UPDATE.CHUNK": 1,
    "TRAIN.CHECKPOINT_EVERY": 1,
    "TRAIN.SAVE_EVERY": 1,
    "EVAL.REFINE_STEPS": 0,
    "EVAL.REPORT_EPISODES": 0,
}
# the first may not exceed the second
ORDERED = (("PPO.MINIBATCHES", "NUM_PROCESSES"), ("MEMORY.LOSS_STEPS", "MEMORY.SIZE"))
CHOICES = {
    "DATA.SCENES": ("all", "present"),
    "TASK.FORWARD_RULE": ("ours", "published"),
    "SIMULATOR.TYPE": ("cached", "live"),
    "LIVE.COLLISIONS": ("freespace", "navmesh"),
    "LIVE.SIGHT": ("raycast", "habitat"),
    "LIVE.CONTEXT": ("fresh", "kept"),
    "PASSIVE.LOSS": ("l1", "mse"),
    "MEMORY_UPDATE.LOSS": ("l1", "mse"),
    "TRAIN.PRECISION": ("fp32", "bf16"),
}


def check_limits(config: CfgNode) -> None:
    """Refuse counts, sizes and choices that cannot work.

    Raises:
        UserError: that names the key, what it may be and what was found.
    """

    def value(key: str) -> object:
        node: object = config
        for part in key.split("."):
            node = node[part]  # type: ignore[index]
        return node

    for key, least in LEAST.items():
        if value(key) < least:  # type: ignore[operator]
            raise UserError(f"config key {key} must be at least {least}, found {value(key)}")
    for small, large in ORDERED:
        if value(small) > value(large):  # type: ignore[operator]
            raise UserError(
                f"config key {small} is {value(small)}, but may not exceed {large}, which is {value(large)}"
            )
    for key, choices in CHOICES.items():
        if value(key) not in choices:
            raise UserError(f"config key {key} must be one of {', '.join(choices)}, found {value(key)!r}")
