"""Values that no run can work with, refused by key before anything is loaded."""

from __future__ import annotations

from yacs.config import CfgNode

from audio_separation.config import sb3, step_signal, synth
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
    "EVAL.EPISODES": 1,
    "EVAL.REFINE_STEPS": 0,
    "EVAL.REPORT_EPISODES": 0,
    "AUDITION.ROOM.HEIGHT_M": 0,
    "AUDITION.ROOM.MAX_ORDER": 0,
    "AUDITION.ROOM.WALL_M": 0,
    "AUDITION.SOURCES": 1,
    "AUDITION.APART_STEPS": 0,
    "AUDITION.START_RADII": 1,
    "AUDITION.EAR_DISTANCE_M": 0.01,
    "AUDITION.STEP_M": 0.01,
    "AUDITION.TURN_DEG": 1,
    "AUDITION.RADIUS_M": 0.01,
    "AUDITION.MAX_STEPS": 1,
    "AUDITION.RATE": 1000,
    "AUDITION.SECONDS": 0.1,
    "AUDITION.CACHE_MB": 0,
    "AUDITION.SEPARATOR.N_FFT": 16,
    "AUDITION.SEPARATOR.HOP": 1,
    "AUDITION.SEPARATOR.HIDDEN": 1,
    "AUDITION.SEPARATOR.LAYERS": 1,
    "AUDITION.SEPARATOR.DROPOUT": 0,
    "AUDITION.PRETRAIN.BATCH": 1,
    "AUDITION.PRETRAIN.NUM_STEPS": 1,
    "AUDITION.PRETRAIN.PLACES": 1,
    "AUDITION.PRETRAIN.VAL_EVERY": 1,
    "AUDITION.PRETRAIN.VAL_SAMPLES": 1,
    "DQN.NUM_STEPS": 1,
    "DQN.START_STEPS": 1,
    "DQN.UPDATE_EVERY": 1,
    "DQN.BATCH": 1,
    "DQN.GAMMA": 0,
    "DQN.TARGET_EVERY": 1,
    "DQN.TAU": 0,
    "DQN.AVERAGE": 0,
    "DQN.EPSILON_END": 0,
    "DQN.EPSILON_STEPS": 1,
    "DQN.AUTOCLIP": 0,
    "DQN.BUFFER": 1,
    "DQN.VAL_EVERY": 1,
    "DQN.VAL_EPISODES": 1,
    **synth.LEAST,
    **step_signal.LEAST,
    **sb3.LEAST,
}
MOST = {
    "DQN.GAMMA": 1,
    "DQN.TAU": 1,
    "DQN.AVERAGE": 0.99999,
    "DQN.EPSILON_START": 1,
    "DQN.AUTOCLIP": 100,
    "AUDITION.SEPARATOR.DROPOUT": 0.9,
    **synth.MOST,
    **sb3.MOST,
}
RANGES = (
    "AUDITION.ROOM.WIDTH_M",
    "AUDITION.ROOM.POLYGON_SIDES",
    "AUDITION.ROOM.ABSORPTION",
    "AUDITION.CENTRE_STEPS",
    "STEP_SIGNAL.CUTOFF_HZ",
    "STEP_SIGNAL.STEP_TIME",
)
# the first may not exceed the second
ORDERED = (
    ("PPO.MINIBATCHES", "NUM_PROCESSES"),
    ("MEMORY.LOSS_STEPS", "MEMORY.SIZE"),
    ("AUDITION.SEPARATOR.HOP", "AUDITION.SEPARATOR.N_FFT"),
    ("DQN.BATCH", "DQN.BUFFER"),
    ("DQN.EPSILON_END", "DQN.EPSILON_START"),
)
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
    "AUDITION.ROOM.SHAPE": ("shoebox", "polygon", "l_shape", "random"),
    "AUDITION.EARS": ("lateral", "heading"),
    "AUDITION.ACTIONS": ("turn", "compass"),
    "AUDITION.SEPARATOR.TYPE": ("mask", "dprnn", "asteroid"),
    "AUDITION.SEPARATOR.INPUT": ("logmag", "spatial"),
    "AUDITION.SEPARATOR.PRESET": ("tiny", "small", "medium", "large"),
    "AUDITION.QNET.POOL": ("time_frequency", "time"),
    "AUDITION.QNET.WEIGHT": ("mask", "energy"),
    "AUDITION.PRETRAIN.LOSS": ("si_sdr", "l1"),
    "DQN.LOSS": ("huber", "mse"),
    "DQN.TARGET": ("hard", "soft"),
    "DQN.EPSILON_DECAY": ("linear", "exponential"),
    **synth.CHOICES,
    **step_signal.CHOICES,
    **sb3.CHOICES,
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
    for key, most in MOST.items():
        if value(key) > most:  # type: ignore[operator]
            raise UserError(f"config key {key} may be at most {most}, found {value(key)}")
    for key in RANGES:
        _check_range(key, value(key))
    for small, large in ORDERED:
        if value(small) > value(large):  # type: ignore[operator]
            raise UserError(
                f"config key {small} is {value(small)}, but may not exceed {large}, which is {value(large)}"
            )
    for key, choices in CHOICES.items():
        if value(key) not in choices:
            raise UserError(f"config key {key} must be one of {', '.join(choices)}, found {value(key)!r}")


def _check_range(key: str, found: object) -> None:
    numbers = isinstance(found, (list, tuple)) and all(type(v) in (int, float) for v in found)
    if not numbers or len(found) != 2 or not 0 <= found[0] <= found[1]:  # type: ignore[arg-type, index]
        raise UserError(f"config key {key} must be a range [low, high] of positive numbers, found {found!r}")
