"""Reward, quality of separation and distance, as habitat-lab measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from habitat.config.default_structured_configs import MeasurementConfig
from habitat.core.embodied_task import Measure
from habitat.core.registry import registry
from torch import Tensor

from audio_separation.audio.metrics import stft_l2
from audio_separation.envs.habitat.simulator import AudioSeparationSim
from audio_separation.envs.rewards import separation_reward


class _SimMeasure(Measure):
    """A measure that the simulator's state alone decides."""

    name: str

    def __init__(self, *args: Any, sim: AudioSeparationSim, **kwargs: Any):
        self._sim = sim
        super().__init__(*args, **kwargs)

    def _get_uuid(self, *args: Any, **kwargs: Any) -> str:
        return self.name

    def reset_metric(self, *args: Any, **kwargs: Any) -> None:
        self._metric = self._measure()

    def update_metric(self, *args: Any, **kwargs: Any) -> None:
        self._metric = self._measure()

    def _measure(self) -> float:
        raise NotImplementedError


@registry.register_measure(name="SeparationReward")
class SeparationReward(_SimMeasure):
    """``-MSE / 1.44`` of the estimate in the second after the action; 0 before the first action."""

    name = "separation_reward"

    def reset_metric(self, *args: Any, **kwargs: Any) -> None:
        self._metric = 0.0

    def _measure(self) -> float:
        truth = self._sim.observation.target_mono_mag
        return float(separation_reward(self._sim.estimate(), truth).double()[0])


class _EpisodeStftL2(_SimMeasure):
    """Mean of STFT-L2 over the seconds so far.

    Over a whole episode that is the number of the paper: the ``TASK.EPISODE_STEPS`` seconds from the start on count,
    the one after the last action does not.
    """

    def reset_metric(self, *args: Any, **kwargs: Any) -> None:
        self._seconds: list[float] = []
        self.update_metric()

    def update_metric(self, *args: Any, **kwargs: Any) -> None:
        if not self._sim.episode_over:
            truth = self._sim.observation.target_mono_mag
            self._seconds.append(float(stft_l2(self._scored(), truth)[0]))
        self._metric = sum(self._seconds) / len(self._seconds)

    def _scored(self) -> Tensor:
        raise NotImplementedError


@registry.register_measure(name="StftL2")
class StftL2(_EpisodeStftL2):
    """Of the simulator's ``estimator``; without one this is the mixture's."""

    name = "stft_l2"

    def _scored(self) -> Tensor:
        return self._sim.estimate()


@registry.register_measure(name="MixtureStftL2")
class MixtureStftL2(_EpisodeStftL2):
    """Of the unprocessed mixture: what an estimate has to beat."""

    name = "mixture_stft_l2"

    def _scored(self) -> Tensor:
        return self._sim.mixture(self._sim.observation)


@registry.register_measure(name="DistanceToTarget")
class DistanceToTarget(_SimMeasure):
    """Metres over the graph to where the target is now."""

    name = "distance_to_target"

    def _measure(self) -> float:
        return float(self._sim.batch.target_distance()[0])


@registry.register_measure(name="AtTarget")
class AtTarget(_SimMeasure):
    """1 while the agent stands where the target is, else 0."""

    name = "at_target"

    def _measure(self) -> float:
        return float(self._sim.batch.target_distance()[0] == 0)


@dataclass
class SeparationRewardMeasurementConfig(MeasurementConfig):
    type: str = "SeparationReward"


@dataclass
class StftL2MeasurementConfig(MeasurementConfig):
    type: str = "StftL2"


@dataclass
class MixtureStftL2MeasurementConfig(MeasurementConfig):
    type: str = "MixtureStftL2"


@dataclass
class DistanceToTargetMeasurementConfig(MeasurementConfig):
    type: str = "DistanceToTarget"


@dataclass
class AtTargetMeasurementConfig(MeasurementConfig):
    type: str = "AtTarget"


MEASURE_CONFIGS = {
    "separation_reward": SeparationRewardMeasurementConfig,
    "stft_l2": StftL2MeasurementConfig,
    "mixture_stft_l2": MixtureStftL2MeasurementConfig,
    "distance_to_target": DistanceToTargetMeasurementConfig,
    "at_target": AtTargetMeasurementConfig,
}
