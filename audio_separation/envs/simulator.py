"""The batched simulator: E agents on navigation graphs, all their audio rendered in one batch.

One step is one second of sound (DESIGN section 4). The simulator holds arrays, not environments: moving is
a table look-up, and one :meth:`BatchSimulator.observe` renders every environment at once. Reading an
observation never changes anything; only :meth:`begin` and :meth:`move` do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, NamedTuple, Optional, Sequence

import numpy as np
import torch
from torch import Tensor

from audio_separation.audio.clips import ClipLibrary
from audio_separation.audio.render import BinauralRenderer, Heard, Listeners, Rendered
from audio_separation.audio.spectra import to_device
from audio_separation.errors import UserError
from audio_separation.scenes.episodes import Episode
from audio_separation.scenes.graph import NavGraph
from audio_separation.scenes.observations import Observations

MOVE_FORWARD, TURN_LEFT, TURN_RIGHT = 0, 1, 2
ACTIONS = ("MOVE_FORWARD", "TURN_LEFT", "TURN_RIGHT")
HOLD = -1  # keeps the pose; no action of the task, only the scripted baseline that stands in place uses it


class Observation(NamedTuple):
    """What E agents perceive in one second, and the truth that training and scoring compare with."""

    rgb: Optional[Tensor]  # [E, H, W, 3] uint8; None where the simulator was built without images
    depth: Optional[Tensor]  # [E, H, W, 1] float32 in [0, 1], 1 = 10 m
    mix_logmag: Tensor  # [E, C, F, N] log1p of the mixture's magnitude
    mix_stft: Optional[Tensor]  # [E, C, F, N] complex64; with target_bin only
    target_class: Tensor  # [E] int64
    pose: Tensor  # [E, 4] x forward (m), y right (m), heading (rad), step; in the start frame
    target_mono_mag: Tensor  # [E, 1, F, N] RMS 1.2 over F x N, silence stays 0
    target_mono_stft: Optional[
        Tensor
    ]  # [E, 1, F, N] complex64, scaled like the magnitude; with target_bin only
    target_bin_mag: Optional[Tensor]  # [E, C, F, N]; with target_bin only
    target_bin_stft: Optional[Tensor]  # [E, C, F, N] complex64; with target_bin only


@dataclass(frozen=True)
class Scene:
    """A scene held in memory."""

    graph: NavGraph
    images: Optional[Observations]


def heading_vectors(rotation_deg: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (x, z) forward and to the right, ``[..., 2]`` each, for a rotation about +Y (0 faces -Z)."""
    theta = np.deg2rad(rotation_deg)
    forward = np.stack([-np.sin(theta), -np.cos(theta)], -1)
    right = np.stack([np.cos(theta), -np.sin(theta)], -1)
    return forward, right


def relative_pose(
    start: np.ndarray, start_deg: np.ndarray, now: np.ndarray, now_deg: np.ndarray
) -> np.ndarray:
    """Pose in the start frame, ``[E, 3]``: metres forward, metres to the right, heading in (-pi, pi].

    Args:
        start, now: positions ``[E, 3]`` in the Habitat frame (y up).
        start_deg, now_deg: rotations ``[E]``, counter-clockwise about +Y.
    """
    forward, right = heading_vectors(start_deg)
    moved = (now - start)[:, [0, 2]]
    turn = np.deg2rad(now_deg - start_deg)
    heading = -np.remainder(-turn + np.pi, 2 * np.pi) + np.pi
    return np.stack([(moved * forward).sum(1), (moved * right).sum(1), heading], -1)


class _Map:
    """The navigation graphs of all scenes as one: nodes are numbered through, scene by scene."""

    def __init__(self, scenes: Mapping[str, Scene], forward_rule: str):
        graphs = [scene.graph for scene in scenes.values()]
        sizes = [len(graph) for graph in graphs]
        self.first = dict(zip(scenes, np.cumsum([0, *sizes]).tolist()))  # scene -> number of its node index 0
        self.node_ids = np.concatenate([graph.node_ids for graph in graphs])
        self.positions = np.concatenate([graph.positions for graph in graphs])
        tables = [graph.forward if forward_rule == "ours" else graph.published_forward for graph in graphs]
        self.forward = np.concatenate([table + first for table, first in zip(tables, self.first.values())])


class _Views(NamedTuple):
    """A scene's pictures by ``4 * node index + rotation / 90``, on the simulator's device."""

    rgb: Tensor  # [4 V, H, W, 3] uint8
    depth: Tensor  # [4 V, H, W, 1] float32


def _device_views(scenes: Mapping[str, Scene], device: torch.device) -> dict[str, _Views]:
    """The views of each scene; empty where one has none."""
    images = {name: scene.images for name, scene in scenes.items() if scene.images is not None}
    if len(images) < len(scenes):
        return {}
    return {
        name: _Views(*(torch.from_numpy(part).flatten(0, 1).to(device) for part in one))
        for name, one in images.items()
    }


class BatchSimulator:
    """E environments stepped together.

    Args:
        scenes: what is on disk of every scene that an episode may name.
        renderer: renders binaural audio; its device is where the tensors of an observation lie.
        num_envs: E.
        episode_steps: seconds an episode lasts.
        target_bin: also render the target's own binaural image, and give the complex spectrograms: what scores
            need and training does not.
        forward_rule: where MOVE_FORWARD leads: ``ours`` or ``published`` (:class:`NavGraph` tells them apart).

    ``node`` (index into the scene's graph), ``rotation`` (degrees) and ``step_count`` are arrays ``[E]`` and hold
    the whole state of motion.
    """

    def __init__(
        self,
        scenes: Mapping[str, Scene],
        clips: ClipLibrary,
        renderer: BinauralRenderer,
        num_envs: int,
        episode_steps: int = 20,
        target_bin: bool = False,
        forward_rule: str = "ours",
    ):
        self.scenes, self.clips, self.renderer = scenes, clips, renderer
        self.num_envs, self.episode_steps = num_envs, episode_steps
        self.target_bin, self.forward_rule = target_bin, forward_rule
        self.device = torch.device(renderer.device)
        self.episodes: list[Optional[Episode]] = [None] * num_envs
        self.node = np.zeros(num_envs, int)
        self.rotation = np.zeros(num_envs, int)
        self.step_count = np.zeros(num_envs, int)
        self._map = _Map(scenes, forward_rule)
        self._views = _device_views(scenes, self.device)
        self._begun = False
        # what begin() fixes for the length of an episode
        self._first_node = np.zeros(num_envs, int)  # of the scene, in the map
        self._start = np.zeros(num_envs, int)  # node in the map
        self._start_rotation = np.zeros(num_envs, int)
        self._scene_names = [""] * num_envs
        self._sounds: list[Sequence[str]] = [()] * num_envs
        self._start_seconds: list[Sequence[int]] = [()] * num_envs
        self._labels = np.zeros(num_envs, int)
        self._sources: list[np.ndarray] = [np.zeros((0, 1), int)] * num_envs  # [S, T] published node ids

    # ---- changing the state -------------------------------------------------------------------------
    def reset(self, episodes: Sequence[Episode]) -> Observation:
        """Begin one episode in every environment and observe its first second."""
        if len(episodes) != self.num_envs:
            raise ValueError(
                f"reset takes one episode per environment: expected {self.num_envs}, got {len(episodes)}"
            )
        self.begin(range(self.num_envs), episodes)
        return self.observe()

    def begin(self, envs: Sequence[int], episodes: Sequence[Episode]) -> None:
        """Place the agents of ``envs`` at the starts of ``episodes``.

        Raises:
            UserError: for an episode of a scene that is not loaded or with a position off its graph.
        """
        for e, episode in zip(envs, episodes):
            if episode.scene not in self.scenes:
                raise UserError(
                    f"episode {episode.episode_id} plays in scene {episode.scene}, which this simulator has not "
                    f"loaded (it has {', '.join(sorted(self.scenes))}); give it the episodes of these scenes"
                )
            self.episodes[e] = episode
            self.step_count[e] = 0
            self._scene_names[e], self._sounds[e] = episode.scene, episode.sounds
            self._start_seconds[e], self._labels[e] = episode.start_seconds, episode.labels[0]
            self._place(e, episode)
        self._begun = all(episode is not None for episode in self.episodes)

    def _place(self, e: int, episode: Episode) -> None:
        """Put the agent and the sources of environment ``e`` where the episode says."""
        self.node[e] = self.scenes[episode.scene].graph.nearest(episode.start_position)
        self.rotation[e] = self._start_rotation[e] = episode.start_rotation
        self._first_node[e] = self._map.first[episode.scene]
        self._start[e] = self._first_node[e] + self.node[e]
        self._sources[e] = self.source_nodes(episode, self.episode_steps + 1)

    def move(self, actions: np.ndarray) -> None:
        """Apply one action per environment (``[E]`` ints; :data:`HOLD` keeps the pose) and advance one second."""
        actions = self._checked(actions)
        ahead = self._map.forward[self._first_node + self.node, self.rotation // 90] - self._first_node
        self.node = np.where(actions == MOVE_FORWARD, ahead, self.node)
        turn = np.where(actions == TURN_LEFT, 90, np.where(actions == TURN_RIGHT, -90, 0))
        self.rotation = (self.rotation + turn) % 360
        self.step_count += 1

    def _checked(self, actions: np.ndarray) -> np.ndarray:
        """The actions as an array ``[E]``, if they are some."""
        self._check_begun()
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,):
            raise ValueError(f"expected actions of shape ({self.num_envs},), got {actions.shape}")
        if ((actions < HOLD) | (actions >= len(ACTIONS))).any():
            raise ValueError(
                f"actions are 0..{len(ACTIONS) - 1} ({', '.join(ACTIONS)}) or {HOLD}, got {actions}"
            )
        return actions

    def step(self, actions: np.ndarray) -> Observation:
        """Move, then observe."""
        self.move(actions)
        return self.observe()

    # ---- reading it ---------------------------------------------------------------------------------
    def observe(self) -> Observation:
        """Render the current second of every environment. Changes nothing that a later reading would see."""
        heard = self._hear()
        rgb, depth = self._images()
        pose = np.concatenate([self.relative_pose(), self.step_count[:, None]], 1)
        return Observation(
            rgb=rgb,
            depth=depth,
            target_class=to_device(self._labels.copy(), self.device),
            pose=to_device(pose.astype(np.float32), self.device),
            **heard._asdict(),
        )

    def waveforms(self) -> Rendered:
        """The samples of the current second."""
        return self.renderer.render(self._listeners(), self.target_bin)

    def relative_pose(self) -> np.ndarray:
        """Pose in the start frame, ``[E, 3]``."""
        now, start = self.positions(), self._map.positions[self._start]
        return relative_pose(start, self._start_rotation, now, self.rotation)

    def positions(self) -> np.ndarray:
        """Where the agents stand, ``[E, 3]``, Habitat frame, metres."""
        self._check_begun()
        return self._map.positions[self._first_node + self.node]

    def target_distance(self) -> np.ndarray:
        """Geodesic distance from each agent to its target in metres, ``[E]``."""
        self._check_begun()
        rows = []
        for e, scene in enumerate(self._scene_names):
            graph = self.scenes[scene].graph
            target = self._sources[e][0, min(self.step_count[e], self.episode_steps)]  # where it is now
            rows.append(graph.geodesic[self.node[e], graph.index(target)])
        return np.array(rows)

    def source_nodes(self, episode: Episode, steps: int) -> np.ndarray:
        """Node ids (rows of points.txt) of an episode's sources, ``[S, steps]``."""
        graph = self.scenes[episode.scene].graph
        return graph.node_ids[episode.source_nodes(graph, steps)]

    @property
    def image_size(self) -> Optional[tuple[int, int]]:
        """Height and width of the pictures; None where there are none."""
        if not self._views:
            return None
        height, width = next(iter(self._views.values())).rgb.shape[1:3]
        return height, width

    def resized(self, num_envs: int) -> BatchSimulator:
        """A simulator of the same scenes, sounds and renderer with another number of environments."""
        return BatchSimulator(
            self.scenes, self.clips, self.renderer, num_envs, self.episode_steps, self.target_bin,
            self.forward_rule,
        )  # fmt: skip

    def _check_begun(self) -> None:
        if not self._begun:
            raise RuntimeError("call reset() with one episode per environment first")

    def _hear(self) -> Heard:
        return self.renderer.hear(self._listeners(), self.target_bin, phases=self.target_bin)

    def _listeners(self) -> Listeners:
        self._check_begun()
        return Listeners(
            scenes=self._scene_names,
            azimuths=(-self.rotation) % 360,
            receivers=self._map.node_ids[self._first_node + self.node],
            sources=np.stack([nodes[:, t] for nodes, t in zip(self._sources, self.step_count.tolist())]),
            sounds=self._sounds,
            seconds=np.array(self._start_seconds) + self.step_count[:, None],
        )

    def _images(self) -> tuple[Optional[Tensor], Optional[Tensor]]:
        """The views of all environments: one look-up a scene that is played in."""
        if not self._views:
            return None, None
        view = to_device(self.node * 4 + self.rotation // 90, self.device)
        by_scene: dict[str, list[int]] = {}
        for e, scene in enumerate(self._scene_names):
            by_scene.setdefault(scene, []).append(e)
        if len(by_scene) == 1:
            rgb, depth = (part.index_select(0, view) for part in self._views[self._scene_names[0]])
            return rgb, depth
        some = self._views[self._scene_names[0]]
        rgb, depth = (part.new_empty(self.num_envs, *part.shape[1:]) for part in some)
        for scene, envs in by_scene.items():
            rows = torch.as_tensor(envs, device=self.device)
            for whole, part in zip((rgb, depth), self._views[scene]):
                whole.index_copy_(0, rows, part.index_select(0, view[rows]))
        return rgb, depth
