"""The batched simulator: E agents on navigation graphs, all their audio rendered in one batch.

One step is one second of sound (DESIGN section 4). The simulator holds arrays, not environments: moving is
a table look-up, and one :meth:`BatchSimulator.observe` renders every environment at once. Reading an
observation never changes anything; only :meth:`begin` and :meth:`move` do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Optional, Sequence

import numpy as np
import torch
from torch import Tensor

from audio_separation.audio.clips import ClipLibrary
from audio_separation.audio.render import BinauralRenderer, Rendered
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
    mix_stft: Tensor  # [E, C, F, N] complex64
    target_class: Tensor  # [E] int64
    pose: Tensor  # [E, 4] x forward (m), y right (m), heading (rad), step; in the start frame
    target_mono_mag: Tensor  # [E, 1, F, N] RMS 1.2 over F x N, silence stays 0
    target_mono_stft: Tensor  # [E, 1, F, N] complex64, scaled like the magnitude
    target_bin_mag: Optional[Tensor]  # [E, C, F, N]; None where it was not asked for
    target_bin_stft: Optional[Tensor]  # [E, C, F, N] complex64


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


class BatchSimulator:
    """E environments stepped together.

    Args:
        scenes: what is on disk of every scene that an episode may name.
        renderer: renders binaural audio; its device is where the tensors of an observation lie.
        num_envs: E.
        episode_steps: seconds an episode lasts.
        target_bin: also render the target's own binaural image (needed for pretraining targets and scores).
    """

    def __init__(
        self,
        scenes: dict[str, Scene],
        clips: ClipLibrary,
        renderer: BinauralRenderer,
        num_envs: int,
        episode_steps: int = 20,
        target_bin: bool = False,
    ):
        self.scenes, self.clips, self.renderer = scenes, clips, renderer
        self.num_envs, self.episode_steps = num_envs, episode_steps
        self.target_bin = target_bin
        self.device = torch.device(renderer.device)
        self.episodes: list[Optional[Episode]] = [None] * num_envs
        self.node = np.zeros(num_envs, int)  # index into the scene's graph arrays
        self.rotation = np.zeros(num_envs, int)  # degrees
        self.step_count = np.zeros(num_envs, int)
        self._start_position = np.zeros((num_envs, 3))
        self._start_rotation = np.zeros(num_envs, int)
        self._sources: list[np.ndarray] = [np.zeros((0, 1), int)] * num_envs  # [S, T] published node ids
        self._waveforms: Optional[Rendered] = None

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
            graph = self.scenes[episode.scene].graph
            self.episodes[e] = episode
            self.node[e] = graph.nearest(episode.start_position)
            self.rotation[e] = episode.start_rotation
            self.step_count[e] = 0
            self._start_position[e] = graph.positions[self.node[e]]
            self._start_rotation[e] = episode.start_rotation
            self._sources[e] = graph.node_ids[episode.source_nodes(graph, self.episode_steps + 1)]
        self._waveforms = None

    def move(self, actions: np.ndarray) -> None:
        """Apply one action per environment (``[E]`` ints; :data:`HOLD` keeps the pose) and advance one second."""
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,):
            raise ValueError(f"expected actions of shape ({self.num_envs},), got {actions.shape}")
        if ((actions < HOLD) | (actions >= len(ACTIONS))).any():
            raise ValueError(
                f"actions are 0..{len(ACTIONS) - 1} ({', '.join(ACTIONS)}) or {HOLD}, got {actions}"
            )
        for e in np.flatnonzero(actions == MOVE_FORWARD).tolist():
            self.node[e] = self._graph(e).forward[self.node[e], self.rotation[e] // 90]
        turn = np.where(actions == TURN_LEFT, 90, np.where(actions == TURN_RIGHT, -90, 0))
        self.rotation = (self.rotation + turn) % 360
        self.step_count += 1
        self._waveforms = None

    def step(self, actions: np.ndarray) -> Observation:
        """Move, then observe."""
        self.move(actions)
        return self.observe()

    # ---- reading it ---------------------------------------------------------------------------------
    def observe(self) -> Observation:
        """Render the current second of every environment. Changes nothing that a later reading would see."""
        rendered = self._render()
        spectra = self.renderer.spectra(rendered)
        rgb, depth = self._images()
        pose = np.concatenate([self.relative_pose(), self.step_count[:, None]], 1)
        labels = [episode.labels[0] for episode in self._current()]
        return Observation(
            rgb=rgb,
            depth=depth,
            mix_logmag=spectra["mix_logmag"],
            mix_stft=spectra["mix_stft"],
            target_class=torch.tensor(labels, device=self.device),
            pose=torch.tensor(pose, dtype=torch.float32, device=self.device),
            target_mono_mag=spectra["target_mono_mag"],
            target_mono_stft=spectra["target_mono_stft"],
            target_bin_mag=spectra.get("target_bin_mag"),
            target_bin_stft=spectra.get("target_bin_stft"),
        )

    def waveforms(self) -> Rendered:
        """The samples of the current second (rendered with the observation, not again)."""
        return self._render()

    def relative_pose(self) -> np.ndarray:
        """Pose in the start frame, ``[E, 3]``."""
        now = np.stack([self._graph(e).positions[self.node[e]] for e in range(self.num_envs)])
        return relative_pose(self._start_position, self._start_rotation, now, self.rotation)

    def target_distance(self) -> np.ndarray:
        """Geodesic distance from each agent to its target in metres, ``[E]``."""
        rows = []
        self._current()
        for e in range(self.num_envs):
            graph = self._graph(e)
            target = self._sources[e][0, min(self.step_count[e], self.episode_steps)]  # where it is now
            rows.append(graph.geodesic[self.node[e], graph.index(target)])
        return np.array(rows)

    def _current(self) -> list[Episode]:
        episodes = [episode for episode in self.episodes if episode is not None]
        if len(episodes) < self.num_envs:
            raise RuntimeError("call reset() with one episode per environment first")
        return episodes

    def _graph(self, env: int) -> NavGraph:
        episode = self.episodes[env]
        if episode is None:
            raise RuntimeError("call reset() with one episode per environment first")
        return self.scenes[episode.scene].graph

    def _render(self) -> Rendered:
        if self._waveforms is None:
            episodes = self._current()
            receivers = [self._graph(e).node_ids[self.node[e]] for e in range(self.num_envs)]
            seconds = np.array([episode.start_seconds for episode in episodes]) + self.step_count[:, None]
            self._waveforms = self.renderer.render(
                [episode.scene for episode in episodes],
                (-self.rotation) % 360,
                np.array(receivers),
                np.stack([nodes[:, t] for nodes, t in zip(self._sources, self.step_count)]),
                [episode.sounds for episode in episodes],
                seconds,
                target_bin=self.target_bin,
            )
        return self._waveforms

    def _images(self) -> tuple[Optional[Tensor], Optional[Tensor]]:
        scenes = [self.scenes[episode.scene] for episode in self._current()]
        images = [scene.images for scene in scenes]
        if any(image is None for image in images):
            return None, None
        view = self.rotation // 90
        rgb = np.stack([im.rgb[n, v] for im, n, v in zip(images, self.node, view)])  # type: ignore[union-attr]
        depth = np.stack([im.depth[n, v] for im, n, v in zip(images, self.node, view)])  # type: ignore[union-attr]
        return torch.from_numpy(rgb).to(self.device), torch.from_numpy(depth).to(self.device)
