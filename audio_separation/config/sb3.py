"""Default keys of the agents by Stable-Baselines3 (TRAINER sb3)."""

from __future__ import annotations

from yacs.config import CfgNode as CN

LEAST = {
    "SB3.NUM_STEPS": 1,
    "SB3.GAMMA": 0,
    "SB3.BATCH": 1,
    "SB3.EVAL_EVERY": 1,
    "SB3.EVAL_EPISODES": 1,
    "SB3.SAVE_EVERY": 1,
    "SB3.ROLLOUT": 1,
    "SB3.EPOCHS": 1,
    "SB3.BUFFER": 1,
    "SB3.START_STEPS": 0,
    "SB3.TRAIN_FREQ": 1,
    "SB3.GRADIENT_STEPS": 1,
    "SB3.TAU": 0,
    "SB3.TARGET_EVERY": 1,
    "SB3.EPSILON_END": 0,
    "SB3.EPSILON_FRACTION": 0,
    "SB3.ACTION_NOISE": 0,
    "SB3.HER_GOALS": 1,
}
MOST = {
    "SB3.GAMMA": 1,
    "SB3.GAE_LAMBDA": 1,
    "SB3.TAU": 1,
    "SB3.EPSILON_END": 1,
    "SB3.EPSILON_FRACTION": 1,
}
CHOICES = {"SB3.ALGORITHM": ("PPO", "A2C", "DQN", "SAC", "DDPG", "TD3")}


def add_sb3(c: CN) -> None:
    """Add the section ``SB3`` to the default tree ``c``."""
    s = c.SB3 = CN()
    s.ALGORITHM = "PPO"  # PPO | A2C | DQN | SAC | DDPG | TD3
    s.NUM_STEPS = 200000  # of all environments (NUM_PROCESSES) together
    s.LR = 3e-4
    s.LR_DECAY = False  # True: linear to 0
    s.GAMMA = 0.99
    s.BATCH = 64
    s.HIDDEN = [64, 64]  # of actor and critic
    s.MAX_GRAD_NORM = 0.5  # PPO, A2C, DQN
    s.EVAL_EVERY = 10000  # steps between evaluations on the split val
    s.EVAL_EPISODES = 20
    s.SAVE_EVERY = 10000  # steps between saves of the state to resume from
    _on_policy(s)
    _off_policy(s)


def _on_policy(s: CN) -> None:
    s.ROLLOUT = 256  # PPO, A2C: steps of each environment between updates
    s.EPOCHS = 10  # PPO
    s.CLIP = 0.2  # PPO
    s.GAE_LAMBDA = 0.95
    s.ENTROPY_COEF = 0.0
    s.VALUE_COEF = 0.5


def _off_policy(s: CN) -> None:
    s.BUFFER = 100000  # transitions
    s.START_STEPS = 1000  # at random before the first update
    s.TRAIN_FREQ = 4  # steps of the environments between updates
    s.GRADIENT_STEPS = 1  # updates then
    s.TAU = (
        0.005  # of the way that the target networks go at an update; DQN copies them every TARGET_EVERY steps
    )
    s.TARGET_EVERY = 1000
    s.EPSILON_END = 0.05  # DQN: from 1 to it, linearly ...
    s.EPSILON_FRACTION = 0.2  # ... over this part of the training
    s.ACTION_NOISE = 0.1  # DDPG, TD3: standard deviation of the Gaussian added to actions; SAC draws its own
    s.HER = False  # hindsight experience replay, for environments with goals
    s.HER_GOALS = 4  # relabelled transitions for each real one
