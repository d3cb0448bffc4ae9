"""The batched simulator at continuous poses: everything is rendered where the agents are (SoundSpaces 2.0).

It is used as :class:`BatchSimulator` is; episodes, actions and observations are the same. An agent has a position
and a heading instead of a node and a quarter turn; ``node`` is the nearest one, for maps and records. One step is
one second of sound, in which the action is carried out ``LIVE.STEPS_PER_SECOND`` times; what is heard fades from
pose to pose (:mod:`audio_separation.audio.crossfade`).
"""

from __future__ import annotations

from typing import Optional

import numpy as np
from torch import Tensor
from yacs.config import CfgNode

from audio_separation.audio.clips import ClipLibrary
from audio_separation.audio.crossfade import hear_moving, render_moving
from audio_separation.audio.render import BinauralRenderer, Heard, Listeners, Rendered
from audio_separation.audio.spectra import to_device
from audio_separation.audio.stft import RATE
from audio_separation.envs.live.motion import move_agent, walking_distance
from audio_separation.envs.live.rirs import LiveRirs, Situation
from audio_separation.envs.live.scenes import LiveScene
from audio_separation.envs.simulator import BatchSimulator, relative_pose
from audio_separation.errors import UserError
from audio_separation.scenes.episodes import Episode
from audio_separation.scenes.graph import NavGraph


class LiveSimulator(BatchSimulator):
    """E environments stepped together, each rendered at its own pose.

    Args:
        scenes: what can be rendered of every scene that an episode may name.
        renderer: over the :class:`LiveRirs` of these scenes, in mode causal.
        live: the section LIVE of the config.
        clips, num_envs, episode_steps, target_bin: as for :class:`BatchSimulator`.

    Attributes:
        position: float ``[E, 3]``, Habitat frame, on the floor.
        rotation: float ``[E]``, degrees.
        collided: bool ``[E]``, whether the agent ran into something in this second.
        node: int ``[E]``, index of the nearest node of the scene's graph.
    """

    def __init__(
        self,
        scenes: dict[str, LiveScene],
        clips: ClipLibrary,
        renderer: BinauralRenderer,
        num_envs: int,
        live: CfgNode,
        episode_steps: int = 20,
        target_bin: bool = False,
    ):
        super().__init__(scenes, clips, renderer, num_envs, episode_steps, target_bin)
        if renderer.mode != "causal" or not isinstance(renderer.rirs, LiveRirs):
            raise ValueError("LiveSimulator needs a causal renderer over LiveRirs")
        self.live_scenes, self.live, self.rirs = scenes, live, renderer.rirs
        self.fade_samples = check_fade(live)
        self.position = np.zeros((num_envs, 3))
        self.rotation = np.zeros(num_envs)
        self.collided = np.zeros(num_envs, bool)
        self._start_position = np.zeros((num_envs, 3))
        self._start_rotation = np.zeros(num_envs)
        self._source_positions: list[np.ndarray] = [np.zeros((0, 1, 3))] * num_envs  # [S, T, 3]
        # numbers of the situations of this second, the first one is that of the end of the second before
        self._heard = np.zeros((num_envs, 1 + live.STEPS_PER_SECOND), int)
        self._seen: list[Optional[tuple[tuple, dict[str, np.ndarray]]]] = [None] * num_envs

    # ---- changing the state -------------------------------------------------------------------------
    def _place(self, e: int, episode: Episode) -> None:
        self.position[e] = self._start_position[e] = episode.start_position
        self.rotation[e] = self._start_rotation[e] = episode.start_rotation
        self.collided[e] = False
        self.node[e] = nearest_node(self.scenes[episode.scene].graph, self.position[e])
        self._source_positions[e] = source_positions(episode, self.episode_steps + 1)
        self._heard[e] = self._situation(e)

    def move(self, actions: np.ndarray) -> None:
        """Apply actions ``[E]`` (see :meth:`BatchSimulator.move`) as often as a second has moves, and advance it."""
        actions = self._checked(actions)
        self.step_count += 1
        self.collided[:] = False
        self._heard[:, 0] = self._heard[:, -1]
        for e, (name, action) in enumerate(zip(self._scene_names, actions.tolist())):
            space = self.live_scenes[name].space
            for k in range(1, self._heard.shape[1]):
                moved = move_agent(
                    space,
                    self.position[e],
                    float(self.rotation[e]),
                    action,
                    self.live.STEP_M,
                    self.live.TURN_DEG,
                )
                self.position[e], self.rotation[e] = moved.position, moved.rotation_deg
                self.collided[e] |= moved.collided
                self._heard[e, k] = self._situation(e)
            self.node[e] = nearest_node(self.scenes[name].graph, self.position[e])

    def _situation(self, e: int) -> int:
        """The number of what environment ``e`` hears where everything is now."""
        episode = self.episodes[e]
        assert episode is not None  # begin() set it
        sources = self._source_positions[e][:, self.step_count[e]]
        return self.rirs.number(
            Situation(
                episode.scene,
                _point(self.position[e]),
                float(self.rotation[e]),
                tuple(_point(place) for place in sources),
            )
        )

    # ---- reading it ---------------------------------------------------------------------------------
    def waveforms(self) -> Rendered:
        """The samples of the current second."""
        return render_moving(self.renderer, self._poses(), self.fade_samples, self.target_bin)

    def relative_pose(self) -> np.ndarray:
        """Pose in the start frame, ``[E, 3]``."""
        return relative_pose(self._start_position, self._start_rotation, self.positions(), self.rotation)

    def positions(self) -> np.ndarray:
        """Where the agents are, ``[E, 3]``, Habitat frame, metres."""
        self._check_begun()
        return self.position.copy()

    def target_distance(self) -> np.ndarray:
        """Length of the way from each agent to its target in metres, ``[E]`` (see ``motion.walking_distance``)."""
        self._check_begun()
        rows = []
        for e, name in enumerate(self._scene_names):
            scene = self.live_scenes[name]
            target = self._source_positions[e][0, min(self.step_count[e], self.episode_steps)]
            rows.append(walking_distance(scene.space, scene.graph, self.position[e], target))
        return np.array(rows)

    def source_nodes(self, episode: Episode, steps: int) -> np.ndarray:
        """Node ids nearest to an episode's sources, ``[S, steps]``."""
        graph = self.scenes[episode.scene].graph
        places = source_positions(episode, steps)
        return np.array([[graph.node_ids[nearest_node(graph, place)] for place in row] for row in places])

    @property
    def image_size(self) -> Optional[tuple[int, int]]:
        sees = next(iter(self.live_scenes.values())).sees
        return (self.live.RESOLUTION, self.live.RESOLUTION) if sees else None

    def resized(self, num_envs: int) -> LiveSimulator:
        return LiveSimulator(
            self.live_scenes,
            self.clips,
            self.renderer,
            num_envs,
            self.live,
            self.episode_steps,
            self.target_bin,
        )

    def _hear(self) -> Heard:
        return hear_moving(
            self.renderer, self._poses(), self.fade_samples, self.target_bin, phases=self.target_bin
        )

    def _listeners(self) -> Listeners:
        return self._poses()[-1]

    def _poses(self) -> list[Listeners]:
        """What the agents hear in turn within this second."""
        self._check_begun()
        sources = np.tile(np.arange(len(self._sounds[0])), (self.num_envs, 1))
        seconds = np.array(self._start_seconds) + self.step_count[:, None]
        still = np.zeros(self.num_envs, int)
        return [
            Listeners(self._scene_names, still, numbers, sources, self._sounds, seconds)
            for numbers in self._heard.T.copy()
        ]

    def _images(self) -> tuple[Optional[Tensor], Optional[Tensor]]:
        if self.image_size is None:
            return None, None
        # scene by scene: habitat-sim shows one at a time
        views = {e: self._view(e) for e in np.argsort(self._scene_names, kind="stable").tolist()}
        rgb, depth = (np.stack([views[e][key] for e in range(self.num_envs)]) for key in ("rgb", "depth"))
        return to_device(rgb, self.device), to_device(depth, self.device)

    def _view(self, e: int) -> dict[str, np.ndarray]:
        """What environment ``e`` sees; an agent that stands still is not rendered again."""
        name = self._scene_names[e]
        pose = (name, _point(self.position[e]), float(self.rotation[e]))
        seen = self._seen[e]
        if seen is None or seen[0] != pose:
            view = self.live_scenes[name].sight.view(self.position[e], float(self.rotation[e]))
            seen = self._seen[e] = (pose, view)
        return seen[1]


def check_fade(live: CfgNode) -> int:
    """``LIVE.CROSSFADE_S`` in samples.

    Raises:
        UserError: it is longer than the time between two moves.
    """
    samples = round(live.CROSSFADE_S * RATE)
    if samples > RATE // live.STEPS_PER_SECOND:
        raise UserError(
            f"config key LIVE.CROSSFADE_S is {live.CROSSFADE_S}, but with LIVE.STEPS_PER_SECOND "
            f"{live.STEPS_PER_SECOND} a move lasts {1 / live.STEPS_PER_SECOND:.3f} s; make it no longer than that"
        )
    return samples


def nearest_node(graph: NavGraph, position: np.ndarray) -> int:
    """Index of the node nearest to a position [3], however far."""
    return int(np.argmin(((graph.positions - position) ** 2).sum(1)))


def source_positions(episode: Episode, steps: int) -> np.ndarray:
    """float ``[S, steps, 3]``: where each source is at each step; a path that ends stays at its end."""
    paths = [path[:steps] + path[-1:] * (steps - len(path)) for path in episode.source_paths]
    return np.array(paths, float)


def _point(position: np.ndarray) -> tuple[float, float, float]:
    x, y, z = position.tolist()
    return x, y, z
