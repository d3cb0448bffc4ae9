"""Replay of past transitions: a ring whose observations are stored once each, sampled evenly over episodes."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from pathlib import Path
from typing import IO, Mapping, NamedTuple, Optional

import numpy as np

from audio_separation.rl.observation_store import Observation, ObservationStore

NOWHERE = -1


class Transitions(NamedTuple):
    """B transitions; a part of an observation of shape ``[...]`` is ``[B, ...]`` here, copied out of the buffer."""

    observation: dict[str, np.ndarray]
    action: np.ndarray  # int64 [B]
    reward: np.ndarray  # float32 [B]
    terminated: np.ndarray  # bool [B]
    next_observation: dict[str, np.ndarray]


class ReplayBuffer:
    """The last ``capacity`` transitions of several environments, whose episodes come interleaved.

    An observation is a mapping of float32 arrays, such as ``audio`` and ``pose``; it lies in a slot that the transition
    to it and the one from it share, and its slot is used again when both are overwritten. Space is laid out when the
    first observation shows its shapes; memory grows with the slots in use, at most ``2 * capacity + num_envs`` (every
    episode one step long), about ``capacity`` for long episodes.

    Args:
        capacity: transitions kept; the oldest are overwritten.
        num_envs: environments that play at a time.
        balanced: draw an episode evenly among those in the ring, then one of its transitions; else draw transitions
            evenly.
        folder: where observations lie in files that are mapped into memory; None: in main memory.

    Raises:
        UserError: the folder holds files, which nothing may overwrite.
    """

    def __init__(self, capacity: int, num_envs: int, balanced: bool, folder: Optional[Path] = None):
        self.capacity, self.balanced = capacity, balanced
        self._ring: dict[str, np.ndarray] = {
            "action": np.zeros(capacity, np.int64),
            "reward": np.zeros(capacity, np.float32),
            "terminated": np.zeros(capacity, bool),
            "before": np.zeros(capacity, np.int64),  # slots
            "after": np.zeros(capacity, np.int64),
            "episode": np.zeros(capacity, np.int64),
        }
        self._pushed = 0  # transitions ever; the next goes to self._pushed % capacity
        self._episodes: list[int] = []  # with a transition in the ring, ascending
        self._places: dict[int, deque[int]] = {}  # of an episode's transitions in the ring, oldest first
        self._begun = 0  # episodes ever
        self._playing = np.full(num_envs, NOWHERE, np.int64)  # episode of each environment
        self._current = np.full(num_envs, NOWHERE, np.int64)  # slot of its latest observation
        self._store = ObservationStore(2 * capacity + num_envs, folder)

    def __len__(self) -> int:
        return min(self._pushed, self.capacity)

    # ---- writing ------------------------------------------------------------------------------------
    def begin(self, env: int, observation: Observation) -> None:
        """An episode begins in environment ``env``."""
        if self._current[env] != NOWHERE:
            self._store.release(int(self._current[env]))
        self._playing[env] = self._begun
        self._begun += 1
        self._current[env] = self._store.put(observation)

    def add(self, env: int, action: int, reward: float, terminated: bool, observation: Observation) -> None:
        """Environment ``env`` acted on its latest observation and came to ``observation``.

        Raises:
            ValueError: no episode has begun there.
        """
        if self._current[env] == NOWHERE:
            raise ValueError(f"environment {env} has no episode: call begin() before add()")
        place = self._pushed % self.capacity
        if self._pushed >= self.capacity:
            self._forget(place)
        before, after, episode = (
            int(self._current[env]),
            self._store.put(observation),
            int(self._playing[env]),
        )
        self._store.hold(before)
        self._store.hold(after)
        self._store.release(before)  # no longer the latest one of its environment
        values = (action, reward, terminated, before, after, episode)
        for part, value in zip(self._ring.values(), values):
            part[place] = value
        self._current[env] = after
        self._pushed += 1
        self._index(episode, place)

    def current(self, envs: np.ndarray) -> dict[str, np.ndarray]:
        """The latest observations of ``envs``, ``[E, ...]`` each."""
        return self._store.read(self._current[envs])

    def _forget(self, place: int) -> None:
        self._store.release(int(self._ring["before"][place]))
        self._store.release(int(self._ring["after"][place]))
        episode = int(self._ring["episode"][place])
        self._places[episode].popleft()  # the oldest of all is the oldest of its episode
        if not self._places[episode]:
            del self._places[episode]
            del self._episodes[bisect_left(self._episodes, episode)]

    def _index(self, episode: int, place: int) -> None:
        if episode not in self._places:
            self._places[episode] = deque()
            insort(self._episodes, episode)
        self._places[episode].append(place)

    # ---- reading ------------------------------------------------------------------------------------
    def sample(self, count: int, rng: np.random.Generator) -> Transitions:
        """Draw ``count`` transitions with replacement.

        Raises:
            ValueError: the buffer is empty.
        """
        if not len(self):
            raise ValueError("the replay buffer is empty: add() transitions before sample()")
        if self.balanced:
            drawn = [self._places[self._episodes[i]] for i in rng.integers(len(self._episodes), size=count)]
            fractions = rng.random(count)
            places = np.array([places[int(x * len(places))] for places, x in zip(drawn, fractions)])
        else:
            places = rng.integers(len(self), size=count)
        part = {name: values[places] for name, values in self._ring.items()}
        return Transitions(
            self._store.read(part["before"]),
            part["action"],
            part["reward"],
            part["terminated"],
            self._store.read(part["after"]),
        )

    # ---- state --------------------------------------------------------------------------------------
    def save(self, file: IO[bytes]) -> None:
        """Write all that is needed to go on, as npz; observations too, unless they lie in files of their own.

        What lies in files is written through to the disk, and slots that this state refers to are not used again
        before the next :meth:`save`, so the files go on to fit the state whatever is added later.
        """
        used = len(self)
        arrays = {f"ring_{name}": values[:used] for name, values in self._ring.items()}
        arrays.update(self._store.save())
        counts = np.array([self.capacity, self._pushed, self._begun])
        arrays.update(counts=counts, playing=self._playing, current=self._current)
        np.savez(file, **arrays)  # type: ignore[arg-type]  # its keyword allow_pickle is no array

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what :meth:`save` wrote (opened by ``numpy.load``); sampling goes on with the same draws.

        Raises:
            UserError: the folder does not hold the files that the state was saved with.
            ValueError: another capacity or number of environments.
        """
        capacity, self._pushed, self._begun = map(int, state["counts"])
        if capacity != self.capacity or state["playing"].shape != self._playing.shape:
            raise ValueError("the saved replay buffer has another capacity or number of environments")
        for name, values in self._ring.items():
            values[: len(self)] = state[f"ring_{name}"]
        self._playing[:], self._current[:] = state["playing"], state["current"]
        oldest = self._pushed - len(self)
        for number in range(oldest, self._pushed):
            place = number % self.capacity
            self._index(int(self._ring["episode"][place]), place)
        held = [self._ring["before"][: len(self)], self._ring["after"][: len(self)]]
        held.append(self._current[self._current != NOWHERE])
        self._store.load(state, np.concatenate(held))

    def discard(self) -> None:
        """Delete the buffer's own files; it cannot be used any more."""
        self._store.discard()
