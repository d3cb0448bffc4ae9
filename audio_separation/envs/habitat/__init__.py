"""The near-target task for habitat-lab 0.3: simulator, task, sensors, measures, dataset and structured configs.

::

    from audio_separation.envs.habitat import register
    register()
    env = habitat.Env(habitat.get_config("configs/habitat/near_target.yaml"))

This package needs habitat-lab and habitat-sim (``environment.yml``); importing it does not yet, :func:`register`
does. The episodes, the motion and the sound are those of ``audio_separation.envs``: what is here translates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from audio_separation.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

__all__ = ["make_env", "register"]


def register() -> None:
    """Make everything known to habitat-lab's registry and to Hydra's ConfigStore; again changes nothing.

    Registered: dataset ``AudioSeparation-v1``, simulator ``AudioSeparationSim-v0``, task ``AudioSeparation-v0``,
    the sensors and measures of this package and the environment ``AudioSeparationGymEnv``. Stored: the groups
    ``habitat/dataset``, ``habitat/simulator`` and ``habitat/task``, each with a config ``audio_separation``, one
    config per sensor and measure, and ``benchmark/audio_separation: near_target``, which puts them together.

    Raises:
        UserError: where habitat-lab or habitat-sim is not installed.
    """
    try:
        import habitat.core.registry  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"the Habitat adapter needs habitat-lab and habitat-sim ({error}); environment.yml brings both: conda env "
            "create -f environment.yml"
        ) from None
    from audio_separation.envs.habitat.configs import store_configs  # whose imports register

    store_configs()


def make_env(config: DictConfig, dataset: Any = None, rank: Optional[int] = None) -> Any:
    """A Gym environment (of gym 0.23, habitat-lab's) of ``config``: what ``habitat.VectorEnv`` takes as maker.

    Args:
        config: what ``habitat.get_config`` gave.
        dataset: episodes to play; None reads those that the config names.
        rank: of this worker among several; each rank plays its episodes in another order.
    """
    register()
    from habitat.config import read_write
    from habitat.gym import make_gym_from_config

    if rank is not None:
        node = config.habitat if "habitat" in config else config
        with read_write(node):
            node.seed += rank
    return make_gym_from_config(config, dataset)
