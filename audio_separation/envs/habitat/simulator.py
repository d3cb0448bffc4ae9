"""Our simulators, the cached and the live one, behind habitat-lab's interface."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence, cast

import gym
import numpy as np
import quaternion
import torch
from habitat.config.default_structured_configs import AgentConfig, SimulatorConfig
from habitat.core.registry import registry
from habitat.core.simulator import AgentState, Observations, SensorSuite, Simulator
from omegaconf import II
from torch import Tensor

from audio_separation.envs.build import build_simulator
from audio_separation.envs.habitat.dataset import AudioSeparationEpisode, from_habitat
from audio_separation.envs.habitat.settings import is_live, task_config
from audio_separation.envs.near_target import Estimator
from audio_separation.envs.rewards import mixture_estimate
from audio_separation.envs.simulator import ACTIONS, HOLD, MOVE_FORWARD, BatchSimulator, Observation
from audio_separation.scenes.episode_format import Episode, scene_of
from audio_separation.scenes.episodes import load_episodes
from audio_separation.scenes.graph import NavGraph, rotation_to_quaternion
from audio_separation.scenes.layout import paths_from_config

if TYPE_CHECKING:
    from audio_separation.envs.live.simulator import LiveSimulator


@dataclass
class AudioSeparationSimConfig(SimulatorConfig):
    """The simulator's part; what data it plays on follows ``habitat.dataset``.

    Turns are of 90 degrees and forward moves follow the edges of the navigation graph (1 m in homes and MP3D, 0.5 m
    in Replica); with ``SIMULATOR.TYPE live`` both are those of ``LIVE``. ``turn_angle`` and ``forward_step_size``
    change nothing: they are here for tools that read them.
    """

    type: str = "AudioSeparationSim-v0"
    exp_config: str = "${habitat.dataset.exp_config}"
    overrides: List[str] = field(default_factory=lambda: II("habitat.dataset.overrides"))
    split: str = "${habitat.dataset.split}"
    images: bool = field(default_factory=lambda: II("habitat.dataset.images"))
    turn_angle: int = 90
    forward_step_size: float = 1.0
    agents: Dict[str, AgentConfig] = field(default_factory=lambda: {"main_agent": AgentConfig()})
    agents_order: List[str] = field(default_factory=lambda: ["main_agent"])


@registry.register_simulator(name="AudioSeparationSim-v0")
class AudioSeparationSim(Simulator):
    """One environment of :class:`BatchSimulator` (or ``LiveSimulator``), a scene at a time.

    Actions are habitat-lab's numbers: 1 forward, 2 left, 3 right. The task has no stop: 0 (stop) and None stand
    still for a second and listen.

    Attributes:
        observation: what is perceived in the current second (E = 1), rendered once; the sensors read it.
        estimator: estimate of the target's mono magnitude that reward and measures score; None: the mixture.
            Set it to a function of the observation (a trained separator, say). It is called at most once a
            second, the first second included.
    """

    def __init__(self, config: Any):
        self.habitat_config = config
        self.estimator: Optional[Estimator] = None
        self._settings = task_config(config)
        self._live = is_live(self._settings)
        self._sensor_suite = SensorSuite([])
        self._collided = False
        self._episode: Optional[Episode] = None
        self._estimate: Optional[Tensor] = None
        scene = scene_of(config.scene)
        folder = paths_from_config(self._settings).active_root
        # any episode of the scene will do: the sensors' spaces need one before habitat-lab has chosen
        (first,) = load_episodes(folder, self._settings.DATA.SPLIT, [scene], 1, self._live)
        self._load(first)

    # ---- what habitat.Env calls ------------------------------------------------------------------------
    @property
    def sensor_suite(self) -> SensorSuite:
        """Empty: all sensors are lab sensors, as sizes and fields of view are those of the cached pictures."""
        return self._sensor_suite

    @property
    def action_space(self) -> gym.Space:
        return gym.spaces.Discrete(len(ACTIONS) + 1)

    def seed(self, seed: int) -> None:
        """Nothing in the simulator is drawn; habitat-lab shuffles the episodes by ``habitat.seed``."""

    def reconfigure(self, config: Any, episode: Optional[AudioSeparationEpisode] = None) -> None:
        """Take ``episode`` for the next :meth:`reset`, and load its scene where it is another one."""
        if episode is None:
            raise ValueError("AudioSeparationSim-v0 plays episodes: reconfigure() needs one")
        self.habitat_config = config
        self._episode = from_habitat(episode, self._live)
        if self._episode.scene not in self.batch.scenes:
            self._load(self._episode)

    def reset(self) -> Observations:
        """Begin the episode given to :meth:`reconfigure`."""
        if self._episode is None:
            raise RuntimeError("call reconfigure() with an episode before reset()")
        self._collided = False
        return self._observe(self.batch.reset([self._episode]))

    def step(self, action: Optional[int], *args: Any, **kwargs: Any) -> Observations:
        """Apply one action and hear one second.

        Raises:
            ValueError: for an action that is not 0..3.
            RuntimeError: after the last second.
        """
        if action is not None and action not in range(len(ACTIONS) + 1):
            raise ValueError(f"actions are 0..{len(ACTIONS)} (stop, forward, left, right), got {action}")
        if self.episode_over:
            raise RuntimeError("the episode has ended: call reset() before the next step()")
        ours = HOLD if not action else int(action) - 1
        node = self.batch.node[0]
        observation = self._observe(self.batch.step(np.array([ours])))
        stayed = ours == MOVE_FORWARD and self.batch.node[0] == node
        self._collided = bool(self._live_batch().collided[0] if self._live else stayed)
        return observation

    def step_physics(self, dt: float) -> None:
        """Nothing moves but by actions."""

    def get_agent_state(self, agent_id: int = 0) -> AgentState:
        """Position on the floor (Habitat frame, metres) and rotation of the agent."""
        x, y, z, w = rotation_to_quaternion(float(self.batch.rotation[0]))
        node = self.graph.positions[self.batch.node[0]]
        position = self._live_batch().position[0] if self._live else node
        return AgentState(position.astype(np.float32), quaternion.quaternion(w, x, y, z))

    def geodesic_distance(
        self, position_a: Sequence[float], position_b: Any, episode: Optional[AudioSeparationEpisode] = None
    ) -> float:
        """Metres to walk from a position to the nearest of one or several; inf where none is reached.

        Over the graph's edges, for which positions must be nodes; for live scenes that of ``walking_distance``.

        Raises:
            UserError: for a position off the graph.
        """
        start, ends = np.asarray(position_a, np.float64), np.asarray(position_b, np.float64).reshape(-1, 3)
        if self._live:
            from audio_separation.envs.live.motion import walking_distance

            (scene,) = self._live_batch().live_scenes.values()
            return min(
                (walking_distance(scene.space, scene.graph, start, end) for end in ends), default=math.inf
            )
        distances = self.graph.geodesic[self.graph.nearest(start.tolist())]
        return min((float(distances[self.graph.nearest(end)]) for end in ends.tolist()), default=math.inf)

    @property
    def previous_step_collided(self) -> bool:
        """Whether the last action was forward and no edge led there, or an agent at a continuous pose ran into
        something. A property, as in habitat-lab's own simulator."""
        return self._collided

    def render(self, mode: str = "rgb") -> np.ndarray:
        """A copy of what the agent sees, ``[H, W, 3]`` uint8."""
        if mode not in ("rgb", "rgb_array"):
            raise ValueError(f"render modes are rgb and rgb_array, got {mode!r}")
        if self.observation.rgb is None:
            raise RuntimeError("nothing to render: habitat.dataset.images is false")
        return self.observation.rgb[0].cpu().numpy().copy()

    def close(self, destroy: bool = True) -> None:
        """Nothing is held but memory."""

    # ---- what our sensors, measures and task read ------------------------------------------------------
    @property
    def graph(self) -> NavGraph:
        """The navigation graph of the loaded scene."""
        (scene,) = self.batch.scenes.values()
        return scene.graph

    @property
    def episode_over(self) -> bool:
        """Whether the episode's seconds are used up."""
        return bool(self.batch.step_count[0] >= self.batch.episode_steps)

    def estimate(self) -> Tensor:
        """Estimate of the target's mono magnitude in the current second, ``[1, 1, F, N]``."""
        if self._estimate is None:
            with torch.no_grad():
                self._estimate = (self.estimator or self.mixture)(self.observation)
        return self._estimate

    def mixture(self, observation: Observation) -> Tensor:
        """The unprocessed mixture as an estimate, ``[1, 1, F, N]``."""
        return mixture_estimate(torch.expm1(observation.mix_logmag), self._settings.AUDIO.TARGET_MONO_RMS)

    def _live_batch(self) -> LiveSimulator:
        return cast("LiveSimulator", self.batch)

    def _load(self, episode: Episode) -> None:
        self.batch: BatchSimulator = build_simulator(
            self._settings,
            [episode],
            num_envs=1,
            device=torch.device("cpu"),
            target_bin=False,
            images=self.habitat_config.images,
        )

    def _observe(self, observation: Observation) -> Observations:
        self.observation = observation
        self._estimate = None
        return Observations({})
