"""Binaural responses of both engines: delays, ears, headings, reverberation, doors."""

from __future__ import annotations

import builtins
import sys
from typing import Any

import numpy as np
import pytest
from scipy.signal import butter, correlate, sosfiltfilt

from audio_separation.errors import UserError
from audio_separation.scenes.generate import acoustics
from audio_separation.scenes.generate.home import Home, make_home
from audio_separation.scenes.generate.mesh import HomeMesh, build_mesh
from audio_separation.scenes.generate.plan import PRESETS

RAYS = 60
ENGINES = ["rlr", "pyroomacoustics"]
Responses = dict[tuple[int, int, int], np.ndarray]


class Rig:
    """One home, one engine, and the responses asked for so far."""

    def __init__(self, engine: str, seed: int) -> None:
        self.home: Home = make_home(seed, PRESETS["mini"])
        self.mesh: HomeMesh = build_mesh(self.home)
        self.engine = acoustics.make_engine(engine, self.home, self.mesh, RAYS)
        self.known: Responses = {}

    def get(self, azimuth: int, receiver: int, source: int) -> np.ndarray:
        if (azimuth, receiver, source) not in self.known:
            self.known.update(acoustics.simulate_receiver(self.engine, receiver, [source]))
        return self.known[azimuth, receiver, source]

    def neighbours(self, steps: int = 1) -> list[tuple[int, int, np.ndarray]]:
        """Pairs in one room, `steps` m apart along x or z, nothing between: (receiver, source, direction)."""
        p, rooms = self.home.positions, self.home.node_rooms
        pairs = []
        for a in range(len(p)):
            for b in range(len(p)):
                way = p[b] - p[a]
                straight = np.isclose(np.abs(way), (steps, 0, 0), atol=1e-4).all()
                straight |= np.isclose(np.abs(way), (0, 0, steps), atol=1e-4).all()
                if rooms[a] == rooms[b] and straight:
                    pairs.append((a, b, way / steps))
        return pairs


@pytest.fixture(scope="module", params=ENGINES)
def rig(request: pytest.FixtureRequest) -> Rig:
    if request.param == "rlr":
        pytest.importorskip("rlr_audio_propagation")
    return Rig(request.param, seed=1)


def facing(rotation: int) -> np.ndarray:
    return np.array([-np.sin(np.radians(rotation)), 0, -np.cos(np.radians(rotation))])


def direct(response: np.ndarray, distance: float, until_ms: float = 1.5) -> np.ndarray:
    """The response until shortly after the direct sound, before most reflections."""
    return response[:, : round((distance / 343 + until_ms / 1000) * 16000)]


@pytest.mark.parametrize("azimuth", [0, 90, 180, 270])
def test_source_to_the_left_is_louder_and_earlier_in_the_left_ear(rig: Rig, azimuth: int) -> None:
    ahead = facing(-azimuth % 360)
    left_of_agent = np.array([ahead[2], 0, -ahead[0]])
    checked = 0
    for receiver, source, way in rig.neighbours():
        side = float(way @ left_of_agent)
        if abs(side) < 0.9:
            continue
        near, far = direct(rig.get(azimuth, receiver, source), 1.0)[:: 1 if side > 0 else -1]
        assert (near**2).sum() > 2 * (far**2).sum()
        # the time difference is carried by low frequencies
        low = sosfiltfilt(butter(2, 700, fs=16000, output="sos"), np.pad([near, far], ((0, 0), (300, 300))))
        lag = int(np.argmax(correlate(low[1], low[0]))) - (low.shape[1] - 1)  # > 0: the far ear is later
        assert 3 <= lag <= 16, (receiver, source, lag)
        checked += 1
        if checked == 4:
            break
    assert checked == 4


def test_source_ahead_is_equal_in_both_ears(rig: Rig) -> None:
    receiver, source, way = rig.neighbours()[0]
    for rotation in (0, 90, 180, 270):
        if way @ facing(rotation) > 0.9:
            left, right = direct(rig.get(-rotation % 360, receiver, source), 1.0)
            assert np.allclose(left, right, atol=0.02 * np.abs(left).max())


@pytest.mark.parametrize("steps", [1, 2])
def test_direct_sound_comes_first_and_after_distance_over_speed(rig: Rig, steps: int) -> None:
    for receiver, source, way in rig.neighbours(steps)[:2]:
        rotation = next(r for r in (0, 90, 180, 270) if way @ facing(r) > 0.9)
        response = rig.get(-rotation % 360, receiver, source)[0]
        expected = steps / 343 * 16000
        start = int(np.argmax(np.abs(response) > 0.3 * np.abs(response[: int(expected) + 24]).max()))
        assert abs(start - expected) <= 4
        assert (response[: int(expected) - 10] ** 2).sum() < 0.02 * (
            response[: int(expected) + 10] ** 2
        ).sum()


def test_level_of_the_direct_sound_falls_as_one_over_distance(rig: Rig) -> None:
    levels = {}
    for steps in (1, 2):
        receiver, source, way = rig.neighbours(steps)[0]
        rotation = next(r for r in (0, 90, 180, 270) if way @ facing(r) > 0.9)
        levels[steps] = np.abs(direct(rig.get(-rotation % 360, receiver, source), steps)).max()
    assert levels[1] / levels[2] == pytest.approx(2, rel=0.15)
    assert 0.05 < levels[1] <= 0.5


def test_same_node_is_near_but_to_no_side(rig: Rig) -> None:
    receiver, source, _ = rig.neighbours()[0]
    for azimuth in acoustics.AZIMUTHS:
        own = direct(rig.get(azimuth, receiver, receiver), acoustics.SAME_NODE_DROP_M, until_ms=0.7)
        energy = (own**2).sum(axis=1)
        assert np.isfinite(own).all() and np.abs(own).max() < 1
        assert energy[0] == pytest.approx(energy[1], rel=0.2)
        assert energy.sum() > (direct(rig.get(azimuth, receiver, source), 1.0) ** 2).sum()


def test_less_energy_comes_through_a_door_than_from_the_same_room(rig: Rig) -> None:
    home = rig.home
    distance = np.linalg.norm(home.positions[:, None] - home.positions, axis=-1)
    inside, outside = [], []
    for a, b in zip(*np.nonzero((distance > 1.9) & (distance < 3.2))):
        same = home.node_rooms[a] == home.node_rooms[b]
        pairs = inside if same else outside
        if len(pairs) < 6:
            pairs.append((rig.get(0, int(a), int(b)) ** 2).sum())
    assert len(inside) >= 3 and len(outside) >= 3
    assert np.mean(outside) < 0.6 * np.mean(inside)


def test_responses_do_not_depend_on_what_was_asked_before(rig: Rig) -> None:
    receiver, source, _ = rig.neighbours()[0]
    first = dict(acoustics.simulate_receiver(rig.engine, receiver, [source]))
    rig.engine.responses(receiver + 1, [source])
    fresh = acoustics.make_engine(rig.engine.name, rig.home, rig.mesh, RAYS)
    again = dict(acoustics.simulate_receiver(fresh, receiver, [source]))
    assert first.keys() == again.keys()
    assert all(np.array_equal(first[key], again[key]) for key in first)


@pytest.mark.parametrize("engine", ENGINES)
def test_reverberation_time_of_furnished_rooms_is_plausible_and_varies(engine: str) -> None:
    if engine == "rlr":
        pytest.importorskip("rlr_audio_propagation")
    found = []
    for seed in (1, 2, 8):
        rig = Rig(engine, seed)
        receiver, source, _ = rig.neighbours(2)[0]
        found.append(acoustics.reverberation_time(rig.get(0, receiver, source)))
    assert all(0.2 <= t <= 0.9 for t in found), found
    assert max(found) > 1.2 * min(found)


def test_schroeder_finds_the_decay_of_noise() -> None:
    rng = np.random.default_rng(0)
    time = np.arange(16000) / 16000
    for rt60 in (0.3, 0.7):
        noise = rng.normal(size=(2, 16000)) * 10 ** (-3 * time / rt60)
        assert acoustics.reverberation_time(noise) == pytest.approx(rt60, rel=0.05)
    assert np.isnan(acoustics.reverberation_time(np.zeros((2, 100))))


def test_tail_is_cut_where_the_rest_is_below_the_limit() -> None:
    response = np.zeros((2, 500))
    response[0, 100], response[1, 200], response[0, 400] = 1.0, 1e-3, 1e-4  # 0, -60, -80 dB
    assert acoustics.trim_tail(response, -70).shape == (2, 201)
    assert acoustics.trim_tail(response, -90).shape == (2, 401)
    assert acoustics.trim_tail(response, -90, max_samples=150).shape == (2, 150)
    assert acoustics.trim_tail(np.zeros((2, 50))).shape == (2, 1)


def test_auto_says_aloud_when_it_falls_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    real = builtins.__import__

    def without_rlr(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "rlr_audio_propagation":
            raise ImportError("no such engine here")
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "rlr_audio_propagation", raising=False)
    monkeypatch.setattr(builtins, "__import__", without_rlr)
    assert acoustics.engine_named("auto")[0] == "pyroomacoustics"
    assert "no such engine here" in capsys.readouterr().err
    with pytest.raises(UserError, match="--engine pyroomacoustics"):
        acoustics.engine_named("rlr")
    with pytest.raises(UserError, match="expected auto, rlr or pyroomacoustics"):
        acoustics.engine_named("magic")
