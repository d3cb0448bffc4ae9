"""What the agent perceives, as lab sensors: each reads one part of the simulator's current observation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gym
import gymnasium
import numpy as np
from habitat.config.default_structured_configs import LabSensorConfig
from habitat.core.registry import registry
from habitat.core.simulator import Sensor, SensorTypes

from audio_separation.envs.habitat.simulator import AudioSeparationSim
from audio_separation.envs.near_target import observation_space
from audio_separation.errors import UserError


def _gym_space(space: gymnasium.Space) -> gym.Space:
    if isinstance(space, gymnasium.spaces.Discrete):
        return gym.spaces.Discrete(int(space.n))
    assert isinstance(space, gymnasium.spaces.Box)
    return gym.spaces.Box(space.low, space.high, dtype=space.dtype.type)


class _PartSensor(Sensor):
    """A sensor of one key of our own environment's observation, with the same space and values."""

    part: str
    kind: SensorTypes

    def __init__(self, *args: Any, sim: AudioSeparationSim, **kwargs: Any):
        self._sim = sim
        super().__init__(*args, **kwargs)

    def _get_uuid(self, *args: Any, **kwargs: Any) -> str:
        return self.part

    def _get_sensor_type(self, *args: Any, **kwargs: Any) -> SensorTypes:
        return self.kind

    def _get_observation_space(self, *args: Any, **kwargs: Any) -> gym.Space:
        spaces = observation_space(self._sim.batch).spaces
        if self.part not in spaces:
            raise UserError(
                f"the sensor {self.part} needs pictures, but habitat.dataset.images is false: set it to true or "
                f"drop the sensor (override ~habitat.task.lab_sensors.{self.part})"
            )
        return _gym_space(spaces[self.part])

    def get_observation(self, *args: Any, **kwargs: Any) -> Any:
        value = getattr(self._sim.observation, self.part)[0].cpu().numpy()
        return np.int64(value) if value.ndim == 0 else value


@registry.register_sensor(name="AudioSeparationRGBSensor")
class RGB(_PartSensor):
    """``rgb [H, W, 3]`` uint8."""

    part, kind = "rgb", SensorTypes.COLOR


@registry.register_sensor(name="AudioSeparationDepthSensor")
class Depth(_PartSensor):
    """``depth [H, W, 1]`` float32 in [0, 1], 1 = 10 m."""

    part, kind = "depth", SensorTypes.DEPTH


@registry.register_sensor(name="MixLogMagSensor")
class MixLogMag(_PartSensor):
    """``mix_logmag [C, F, N]``: log1p of the magnitude of the binaural mixture, one second."""

    part, kind = "mix_logmag", SensorTypes.TENSOR


@registry.register_sensor(name="TargetClassSensor")
class TargetClass(_PartSensor):
    """``target_class``: index of the class to listen for."""

    part, kind = "target_class", SensorTypes.TOKEN_IDS


@registry.register_sensor(name="StartFramePoseSensor")
class Pose(_PartSensor):
    """``pose [4]``: metres forward and to the right of the start, heading in radians, step."""

    part, kind = "pose", SensorTypes.POSITION


@registry.register_sensor(name="TargetMonoMagSensor")
class TargetMonoMag(_PartSensor):
    """``target_mono_mag [1, F, N]``: the truth, for training and scoring; no policy may see it."""

    part, kind = "target_mono_mag", SensorTypes.TENSOR


@dataclass
class AudioSeparationRGBSensorConfig(LabSensorConfig):
    type: str = "AudioSeparationRGBSensor"


@dataclass
class AudioSeparationDepthSensorConfig(LabSensorConfig):
    type: str = "AudioSeparationDepthSensor"


@dataclass
class MixLogMagSensorConfig(LabSensorConfig):
    type: str = "MixLogMagSensor"


@dataclass
class TargetClassSensorConfig(LabSensorConfig):
    type: str = "TargetClassSensor"


@dataclass
class StartFramePoseSensorConfig(LabSensorConfig):
    type: str = "StartFramePoseSensor"


@dataclass
class TargetMonoMagSensorConfig(LabSensorConfig):
    type: str = "TargetMonoMagSensor"


SENSOR_CONFIGS = {
    "rgb": AudioSeparationRGBSensorConfig,
    "depth": AudioSeparationDepthSensorConfig,
    "mix_logmag": MixLogMagSensorConfig,
    "target_class": TargetClassSensorConfig,
    "pose": StartFramePoseSensorConfig,
    "target_mono_mag": TargetMonoMagSensorConfig,
}
