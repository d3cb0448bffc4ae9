"""What happened and was heard in an audition episode, for pictures, playback and sound files."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Optional

import numpy as np

from audio_separation.envs.audition.env import AuditionEnv
from audio_separation.envs.audition.world import Pose, ear_points

EAR_NAMES = {"lateral": ("left", "right"), "heading": ("back", "front")}


class AuditionRecording(NamedTuple):
    """A whole episode of T actions. Observation t is what the agent hears before action t, or at the end.

    Attributes:
        number: of the episode in its split.
        corners: ``[K, 2]`` of the room, metres.
        sources: ``[S, 2]`` metres.
        clips: S names of what they play.
        positions: ``[T + 1, 2]`` of the agent, metres.
        headings_deg: ``[T + 1]``.
        active: bool ``[T + 1, S]``, which sources sound.
        actions: T.
        rewards: T times reward term -> value.
        audio: float32 ``[T + 1, 2, L]``, the observations.
        separated: float32 ``[T + 1, S, L]``; None without a separator.
        q_values: ``[T, A]``, before each action; None without a Q-network.
        action_names: A.
        rate_hz: of the sounds.
        step_seconds: length of an observation.
        radius_m: a source is turned off by coming this near.
        ears: ``[2, 2]``, places of the ears of an agent at the origin that faces +x.
        ear_names: of the two channels.
    """

    number: int
    corners: np.ndarray
    sources: np.ndarray
    clips: tuple[str, ...]
    positions: np.ndarray
    headings_deg: np.ndarray
    active: np.ndarray
    actions: tuple[int, ...]
    rewards: list[dict[str, float]]
    audio: np.ndarray
    separated: Optional[np.ndarray]
    q_values: Optional[np.ndarray]
    action_names: tuple[str, ...]
    rate_hz: int
    step_seconds: float
    radius_m: float
    ears: np.ndarray
    ear_names: tuple[str, str]

    @property
    def found_at(self) -> list[Optional[int]]:
        """For each source the number of actions after which it was off; None where it sounds to the end."""
        return [None if column[-1] else int(np.argmin(column)) for column in self.active.T]


class Recorder:
    """Collects an :class:`AuditionRecording`: :meth:`begin`, :meth:`add` after every action, :meth:`finish`."""

    def begin(
        self,
        env: AuditionEnv,
        number: int,
        observation: Mapping[str, np.ndarray],
        info: Mapping[str, Any],
        waves: Optional[np.ndarray] = None,
    ) -> None:
        """Keep the first observation of episode ``number`` and its separated sources ``[S, L]``."""
        self._env, self._number = env, number
        self._audio, self._infos, self._waves = [observation["audio"]], [info], [waves]
        self._actions: list[int] = []
        self._q_values: list[Optional[np.ndarray]] = []

    def add(
        self,
        action: int,
        observation: Mapping[str, np.ndarray],
        info: Mapping[str, Any],
        q_values: Optional[np.ndarray] = None,
        waves: Optional[np.ndarray] = None,
    ) -> None:
        """Keep an action, the values ``[A]`` that it was chosen by, and the observation that it led to."""
        self._actions.append(int(action))
        self._q_values.append(q_values)
        self._audio.append(observation["audio"])
        self._infos.append(info)
        self._waves.append(waves)

    def finish(self) -> AuditionRecording:
        """The episode so far."""
        world = self._env.world
        settings, episode = world.settings, world.episode
        return AuditionRecording(
            number=self._number,
            corners=np.array(episode.plan.corners),
            sources=np.array(episode.sources),
            clips=tuple(episode.clips),
            positions=np.stack([info["position"] for info in self._infos]),
            headings_deg=np.array([info["heading_deg"] for info in self._infos]),
            active=np.stack([info["active"] for info in self._infos]),
            actions=tuple(self._actions),
            rewards=[dict(info["reward_terms"]) for info in self._infos[1:]],
            audio=np.stack(self._audio),
            separated=_stack(self._waves),
            q_values=_stack(self._q_values),
            action_names=tuple(name for name, _, _ in world.actions),
            rate_hz=settings.RATE,
            step_seconds=world.length / settings.RATE,
            radius_m=settings.RADIUS_M,
            ears=np.array(ear_points(Pose(np.zeros(2), 0.0), settings)),
            ear_names=EAR_NAMES[settings.EARS],
        )


def _stack(parts: list[Optional[np.ndarray]]) -> Optional[np.ndarray]:
    given = [part for part in parts if part is not None]
    if given and len(given) != len(parts):
        raise ValueError(f"values were recorded for {len(given)} of {len(parts)} steps, expected all or none")
    return np.stack(given) if given else None
