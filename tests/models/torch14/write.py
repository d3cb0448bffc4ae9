"""Writes published.pth as the published trainers did: Python 3.6, torch 1.4.0, yacs 0.1.8, habitat's Config class.

    python write.py published.pth

It is kept so that the file can be made again; the tests only read the file.
"""

import random
import sys
import types

import torch
import yacs.config
from torch import nn

default = types.ModuleType("habitat.config.default")


class Config(yacs.config.CfgNode):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs, new_allowed=True)


Config.__module__, Config.__qualname__ = default.__name__, "Config"
default.Config = Config
sys.modules.update(
    {"habitat": types.ModuleType("habitat"), "habitat.config": types.ModuleType("habitat.config")}
)
sys.modules[default.__name__] = default


class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        self.actor_critic = nn.ModuleDict(
            {
                "cnn": nn.Sequential(nn.Conv2d(2, 3, 4), nn.BatchNorm2d(3)),
                "rnn": nn.GRU(4, 2),
                "attention": nn.MultiheadAttention(4, 2),
            }
        )


def settings():
    config = Config()
    config.SEED = 7
    config.ENV_NAME = "AAViDSSEnv"
    config.SENSORS = ["RGB_SENSOR", "DEPTH_SENSOR"]
    config.CMD_TRAILING_OPTS = []
    config.RL = Config()
    config.RL.PPO = Config()
    config.RL.PPO.lr_pol = 1e-4
    config.RL.PPO.use_gae = True
    config.TASK_CONFIG = Config()
    config.TASK_CONFIG.SHAPE = [512, 32, 2]
    config.TASK_CONFIG.AGAIN = config.RL.PPO.clone()
    config.register_renamed_key("OLD", "NEW", message="moved")
    config.freeze()
    return config


if __name__ == "__main__":
    torch.manual_seed(0)
    random.seed(0)
    agent = Agent()
    for number, tensor in enumerate(agent.state_dict().values()):
        tensor.copy_((torch.arange(tensor.numel()) + 100 * number).view(tensor.shape))
    torch.save({"state_dict": agent.state_dict(), "config": settings()}, sys.argv[1])
