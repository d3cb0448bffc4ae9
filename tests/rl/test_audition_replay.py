"""The replay ring against a list that keeps everything: contents, shares of episodes, space, and going on later."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from audio_separation.errors import UserError
from audio_separation.rl.observation_store import ObservationStore
from audio_separation.rl.replay import ReplayBuffer


class Naive(NamedTuple):
    """What the list keeps of a transition; observations are numbers, each of its own."""

    before: float
    action: int
    reward: float
    terminated: bool
    after: float
    episode: int


class Worlds:
    """Environments that give numbers as observations and end by chance; every push goes to all buffers and the list."""

    def __init__(self, envs: int, seed: int, mean_steps: float, *buffers: ReplayBuffer):
        self.rng, self.mean_steps, self.buffers = np.random.default_rng(seed), mean_steps, list(buffers)
        self.now = [0.0] * envs
        self.episode = [0] * envs
        self.count, self.episodes = 0.0, 0
        self.all: list[Naive] = []
        for env in range(envs):
            self.begin(env)

    def observation(self) -> dict[str, np.ndarray]:
        self.count += 1
        return {
            "audio": np.full((2, 3), self.count, np.float32),
            "pose": np.full(4, -self.count, np.float32),
        }

    def begin(self, env: int) -> None:
        observation = self.observation()
        self.now[env], self.episode[env] = self.count, self.episodes
        self.episodes += 1
        for buffer in self.buffers:
            buffer.begin(env, observation)

    def push(self) -> None:
        env = int(self.rng.integers(len(self.now)))
        ended = self.rng.random() < 1 / self.mean_steps
        action, reward, terminated = int(self.rng.integers(4)), float(self.rng.integers(9)), bool(ended)
        before, observation = self.now[env], self.observation()
        self.all.append(Naive(before, action, reward, terminated, self.count, self.episode[env]))
        self.now[env] = self.count
        for buffer in self.buffers:
            buffer.add(env, action, reward, terminated, observation)
        if ended:
            self.begin(env)


def rows(batch) -> list[tuple]:
    """The transitions of a batch as tuples; both parts of each observation must be whole."""
    for observation in (batch.observation, batch.next_observation):
        first = observation["pose"][:, 0]
        assert (observation["pose"] == first[:, None]).all()
        assert (observation["audio"] == -first[:, None, None]).all()
    columns = (
        -batch.observation["pose"][:, 0],
        batch.action,
        batch.reward,
        batch.terminated,
        -batch.next_observation["pose"][:, 0],
    )
    return list(zip(*(column.tolist() for column in columns)))


@pytest.mark.parametrize("in_files", [False, True])
@pytest.mark.parametrize("mean_steps", [1.0, 3.0, 40.0])
def test_it_holds_the_last_transitions_and_nothing_else(mean_steps, in_files, tmp_path):
    buffer = ReplayBuffer(50, 3, balanced=True, folder=tmp_path / "files" if in_files else None)
    worlds, rng = Worlds(3, 1, mean_steps, buffer), np.random.default_rng(2)
    for count in range(1, 1501):
        worlds.push()
        kept = worlds.all[-50:]
        assert len(buffer) == len(kept)
        drawn = rows(buffer.sample(4, rng))
        if count % 250 in (3, 0):
            drawn = rows(buffer.sample(4000, rng))  # each of 50 is missed with a chance below 1e-9
            assert set(drawn) == {transition[:5] for transition in kept}
        assert set(drawn) <= {transition[:5] for transition in kept}
        # the latest observation of every environment too, each stored once
        needed = {number for t in kept for number in (t.before, t.after)} | set(worlds.now)
        assert buffer._store.in_use == len(needed) <= 2 * 50 + 3
    now = buffer.current(np.array([2, 0]))
    assert now["audio"][:, 0, 0].tolist() == [worlds.now[2], worlds.now[0]]


def test_slots_of_long_episodes_are_shared():
    buffer = ReplayBuffer(100, 2, balanced=True)
    worlds = Worlds(2, 0, 1e9, buffer)
    for _ in range(1000):
        worlds.push()
    assert buffer._store.in_use == 102  # 100 transitions of two episodes
    assert max(buffer._ring["after"]) < 104  # slots come back into use before new ones are touched


def shares(balanced: bool) -> tuple[np.ndarray, np.ndarray]:
    """Of episodes of 1, 9, 40 and 150 steps: the share of draws, and the share of transitions."""
    buffer, lengths = ReplayBuffer(500, 1, balanced), [1, 9, 40, 150]
    for episode, length in enumerate(lengths):
        buffer.begin(0, {"pose": np.full(1, episode, np.float32)})
        for step in range(length):
            buffer.add(0, step, 0.0, step == length - 1, {"pose": np.full(1, episode, np.float32)})
    batch = buffer.sample(40_000, np.random.default_rng(5))
    count = Counter(batch.observation["pose"][:, 0].astype(int).tolist())
    steps = Counter(batch.action[batch.observation["pose"][:, 0] == 3].tolist())
    assert set(steps) == set(range(150))
    expected = sum(steps.values()) / 150
    chi_square = sum((steps[step] - expected) ** 2 / expected for step in range(150))
    assert chi_square < 210  # 149 degrees of freedom: exceeded once in a thousand
    return np.array([count[e] for e in range(4)]) / 40_000, np.array(lengths) / sum(lengths)


def test_episodes_are_drawn_evenly_however_long():
    drawn, _ = shares(balanced=True)
    np.testing.assert_allclose(drawn, 0.25, atol=0.01)  # 4.6 standard deviations


def test_transitions_are_drawn_evenly_when_not_balanced():
    drawn, lengths = shares(balanced=False)
    np.testing.assert_allclose(drawn, lengths, atol=0.011)


@pytest.mark.parametrize("in_files", [False, True])
@pytest.mark.parametrize("pushes", [20, 333])
def test_a_loaded_buffer_goes_on_as_the_saved_one(pushes, in_files, tmp_path):
    folder = tmp_path / "files" if in_files else None
    first = ReplayBuffer(60, 2, balanced=True, folder=folder)
    worlds = Worlds(2, 3, 5.0, first)
    for _ in range(pushes):
        worlds.push()
    saved = io.BytesIO()
    first.save(saved)
    if in_files:
        # what is pushed after saving is lost with the process, and must not spoil what was saved
        expected = rows(first.sample(500, np.random.default_rng(7)))
        lost = Worlds(2, 9, 5.0, first)
        for _ in range(150):
            lost.push()
    second = ReplayBuffer(60, 2, balanced=True, folder=folder)
    saved.seek(0)
    with np.load(saved) as state:
        second.load(state)
    if in_files:
        assert rows(second.sample(500, np.random.default_rng(7))) == expected
        return
    worlds.buffers = [first, second]
    for number in range(200):
        worlds.push()
        draws = [rows(buffer.sample(8, np.random.default_rng(number))) for buffer in (first, second)]
        assert draws[0] == draws[1]
    np.testing.assert_array_equal(first.current(np.arange(2))["audio"], second.current(np.arange(2))["audio"])


def test_slots_come_free_again_when_a_later_state_is_saved(tmp_path):
    buffer = ReplayBuffer(20, 2, balanced=True, folder=tmp_path)
    worlds = Worlds(2, 4, 3.0, buffer)
    for _ in range(30):
        for _ in range(30):
            worlds.push()
        buffer.save(io.BytesIO())
    assert set(rows(buffer.sample(2000, np.random.default_rng(0)))) == {t[:5] for t in worlds.all[-20:]}


def test_files_are_refused_when_foreign_and_removed_when_ours(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    buffer = ReplayBuffer(10, 1, balanced=True, folder=tmp_path)
    with pytest.raises(UserError, match=r"BUFFER_DIR .* holds files already \(notes.txt\)"):
        buffer.begin(0, {"pose": np.zeros(4, np.float32)})
    (tmp_path / "notes.txt").unlink()
    buffer.begin(0, {"pose": np.zeros(4, np.float32)})
    assert [path.name for path in tmp_path.iterdir()] == ["pose.replay"]
    buffer.discard()
    assert not list(tmp_path.iterdir())


def test_files_that_do_not_fit_a_state_are_refused(tmp_path):
    first, saved = ReplayBuffer(10, 1, balanced=True, folder=tmp_path), io.BytesIO()
    first.begin(0, {"pose": np.zeros(4, np.float32)})
    first.save(saved)

    def load(folder: Path) -> None:
        saved.seek(0)
        with np.load(saved) as state:
            ReplayBuffer(10, 1, balanced=True, folder=folder).load(state)

    with pytest.raises(UserError, match="should hold the stopped run's pose.replay, found nothing"):
        load(tmp_path / "elsewhere")
    (tmp_path / "pose.replay").write_bytes(b"short")
    with pytest.raises(UserError, match="has 5 bytes, expected"):
        load(tmp_path)


def test_misuse_is_refused():
    buffer, store = ReplayBuffer(10, 1, balanced=True), ObservationStore(3)
    with pytest.raises(ValueError, match="empty"):
        buffer.sample(1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="begin"):
        buffer.add(0, 0, 0.0, False, {"pose": np.zeros(4, np.float32)})
    store.put({"pose": np.zeros(4, np.float32)})
    with pytest.raises(ValueError, match="differ in shape"):
        store.put({"pose": np.zeros(1, np.float32)})
