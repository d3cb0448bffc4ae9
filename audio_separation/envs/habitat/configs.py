"""Our configs in Hydra's ConfigStore, beside habitat-lab's own."""

from __future__ import annotations

from hydra.core.config_store import ConfigStore

from audio_separation.envs.habitat.dataset import AudioSeparationDatasetConfig
from audio_separation.envs.habitat.measures import MEASURE_CONFIGS
from audio_separation.envs.habitat.sensors import SENSOR_CONFIGS
from audio_separation.envs.habitat.simulator import AudioSeparationSimConfig
from audio_separation.envs.habitat.task import AudioSeparationTaskConfig

NAME = "audio_separation"
TASK = {
    "defaults": [
        f"{NAME}_base",
        # in the order of our own environment's action numbers
        {"actions": ["move_forward", "turn_left", "turn_right"]},
        {"lab_sensors": list(SENSOR_CONFIGS)},
        {"measurements": list(MEASURE_CONFIGS)},
        "_self_",
    ],
}
BENCHMARK = {
    "defaults": [
        {"/habitat": "habitat_config_base"},
        {"/habitat/dataset": NAME},
        {"/habitat/simulator": NAME},
        {"/habitat/task": NAME},
        "_self_",
    ],
    "habitat": {
        "env_task": "AudioSeparationGymEnv",
        "environment": {"max_episode_steps": 0},  # no limit beside the task's own
    },
}


def store_configs() -> None:
    """Store them; again replaces them by the same."""
    store = ConfigStore.instance().store
    for group, config in (("dataset", AudioSeparationDatasetConfig), ("simulator", AudioSeparationSimConfig)):
        store(group=f"habitat/{group}", name=NAME, package=f"habitat.{group}", node=config)
    for kind, configs in (("lab_sensors", SENSOR_CONFIGS), ("measurements", MEASURE_CONFIGS)):
        for name, node in configs.items():
            store(group=f"habitat/task/{kind}", name=name, package=f"habitat.task.{kind}.{name}", node=node)
    store(group="habitat/task", name=f"{NAME}_base", package="habitat.task", node=AudioSeparationTaskConfig)
    store(group="habitat/task", name=NAME, package="habitat.task", node=TASK)
    store(group=f"benchmark/{NAME}", name="near_target", package="_global_", node=BENCHMARK)
