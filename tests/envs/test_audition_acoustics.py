"""What the agent of the audition tasks hears: responses, their cache, ears, and sound that goes on."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pyroomacoustics as pra
import pytest
from scipy.signal import fftconvolve

sys.path.insert(0, str(Path(__file__).parent))
from audition_worlds import SHAPES, Hums, episode, room, settings

from audio_separation.envs.audition.acoustics import ResponseCache, filter_delay, simulate_responses
from audio_separation.envs.audition.rooms import RoomPlan
from audio_separation.envs.audition.sounds import hear
from audio_separation.envs.audition.world import AuditionWorld, Pose, ear_points

RATE = 8000
SPEED_M_S = 343.0


def plain_responses(plan: RoomPlan, sources, ears) -> list[np.ndarray]:
    """As pyroomacoustics' manual does it, without its high-pass filter."""
    corners, heights = np.array(plan.corners), [plan.height_m / 2] * bool(plan.height_m)
    pra.constants.set("rir_hpf_enable", False)
    try:
        if plan.shape == "shoebox":
            size = [*corners.max(0), *[plan.height_m] * bool(plan.height_m)]
            made = pra.ShoeBox(
                size, fs=RATE, materials=pra.Material(plan.absorption), max_order=plan.max_order
            )
        else:
            made = pra.Room.from_corners(
                corners.T, fs=RATE, materials=pra.Material(plan.absorption), max_order=plan.max_order
            )
            if plan.height_m:
                made.extrude(plan.height_m, materials=pra.Material(plan.absorption))
        for source in sources:
            made.add_source([*source, *heights])
        made.add_microphone_array(np.array([[*ear, *heights] for ear in ears]).T)
        made.compute_rir()
        return [[made.rir[ear][s] for ear in range(len(ears))] for s in range(len(sources))]
    finally:
        pra.constants.set("rir_hpf_enable", True)


@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize(("order", "height_m"), [(1, 0.0), (3, 0.0), (2, 3.0)])
def test_cached_responses_along_a_walk_are_those_of_fresh_rooms(shape, order, height_m):
    plan = room(shape, order, height_m)
    sources = [(2.5, 5.0), (4.5, 1.5)]
    cache, config = ResponseCache(RATE, 2**24), settings()
    # in the L the end of the first way does not see the first source
    walk = [Pose(np.array([1.5 + 0.5 * i, 1.5]), 30.0 * i) for i in range(6)]
    walk += [Pose(np.array([1.5, 1.5 + 0.5 * i]), -60.0 * i) for i in range(6)]
    asked = []
    for i, pose in enumerate(walk + walk):
        ears = ear_points(pose, config)
        chosen = sources[:1] if i % 3 == 0 else sources  # some made alone, some together
        asked += [(source, ears) for source in chosen]
        found = cache.responses(plan, chosen, ears)
        for response, plain in zip(found, plain_responses(plan, chosen, ears)):
            for ear, expected in enumerate(plain):
                np.testing.assert_allclose(response[ear, : len(expected)], expected, atol=1e-6)
                assert not response[ear, len(expected) :].any()
    assert len(cache.cache) == len(set(asked)) and cache.cache.hits == len(asked) - len(set(asked))


def test_a_room_whose_microphones_are_replaced_would_be_wrong():
    """The trap that fresh rooms avoid; where this fails, pyroomacoustics has mended it."""
    ell, source = room("l_shape", 3), (2.5, 5.0)
    first, second = [((x, 1.5), (x, 1.7)) for x in (1.5, 4.0)]
    made = pra.Room.from_corners(np.array(ell.corners).T, fs=RATE, materials=pra.Material(0.36), max_order=3)
    made.add_source(list(source))
    made.add_microphone_array(np.array(first).T)
    made.compute_rir()
    made.mic_array = None
    made.add_microphone_array(np.array(second).T)
    made.compute_rir()
    fresh = plain_responses(ell, [source], second)[0][0]
    stale = made.rir[0][0][: len(fresh)]
    assert np.linalg.norm(stale - fresh[: len(stale)]) > 0.2 * np.linalg.norm(fresh)
    np.testing.assert_allclose(
        simulate_responses(ell, [source], second, RATE)[0][0][: len(fresh)], fresh, atol=1e-6
    )


def test_pyroomacoustics_settings_are_left_as_they_were():
    before = [pra.constants.get(name) for name in ("rir_hpf_enable", "num_threads")]
    simulate_responses(room(), [(1, 1)], [(2, 2)], RATE)
    assert before == [pra.constants.get(name) for name in ("rir_hpf_enable", "num_threads")]


def test_only_what_is_asked_for_and_not_kept_is_simulated(simulated):
    cache, plan, ears = ResponseCache(RATE, 2**20), room(), ((3.0, 3.1), (3.0, 2.9))
    cache.responses(plan, [(1.0, 1.0)], ears)
    cache.responses(plan, [(1.0, 1.0), (5.0, 5.0)], ears)
    cache.responses(plan, [(5.0, 5.0)], ears)
    assert simulated == [[(1.0, 1.0)], [(5.0, 5.0)]]
    cache.responses(room(absorption=0.5), [(5.0, 5.0)], ears)  # another room, another response
    cache.responses(plan, [(5.0, 5.0)], ears[::-1])
    assert len(simulated) == 4
    small = ResponseCache(RATE, 0)
    first, again = (small.responses(plan, [(1.0, 1.0)], ears)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert len(simulated) == 6 and small.cache.num_bytes == 0


@pytest.mark.parametrize("material", ["", "hard_surface"])
@pytest.mark.parametrize("height_m", [0.0, 3.0])
def test_the_direct_sound_arrives_after_distance_over_speed(material, height_m):
    plan = RoomPlan("shoebox", SHAPES["shoebox"], height_m, None if material else 0.4, material, 0, 0.3)
    for metres in (0.4, 1.37, 3.0):
        response = simulate_responses(plan, [(1.0, 1.0)], [(1.0 + metres, 1.0)], RATE)[0][0]
        samples = np.arange(len(response)) - filter_delay()
        assert (samples * response).sum() / response.sum() == pytest.approx(
            metres / SPEED_M_S * RATE, abs=0.3 if material else 0.05
        )
        assert response.sum() == pytest.approx(1 / metres, rel=0.02)


def test_first_reflections_by_hand():
    # a sine of 400 Hz through four walls that give back 0.8 of the amplitude (absorption 0.36)
    source, ear = np.array([1.5, 2.0]), np.array([4.0, 3.0])
    images = [
        (source, 1.0), ((-1.5, 2.0), 0.8), ((10.5, 2.0), 0.8), ((1.5, -2.0), 0.8), ((1.5, 10.0), 0.8),
    ]  # fmt: skip
    response = simulate_responses(room(order=1), [tuple(source)], [tuple(ear)], RATE)[0]
    heard = hear(Hums(), "a_400", 123, 1000, response, filter_delay())[0]
    time_s = (123 + np.arange(1000)) / RATE
    expected = 0
    for place, gain in images:
        metres = math.dist(place, ear)
        expected = expected + gain / metres * np.sin(2 * np.pi * 400 * (time_s - metres / SPEED_M_S))
    np.testing.assert_allclose(heard, expected, atol=3e-3)


def test_an_ear_round_the_corner_hears_nothing_of_order_zero():
    ell, hidden = room("l_shape"), (5.0, 1.0)
    # the line of sight from (5, 1) past the corner (3, 3) meets x = 1 at y = 5
    both = simulate_responses(ell, [hidden, (1.0, 1.0)], [(1.0, 4.9), (1.0, 5.1)], RATE)
    assert both[0][0].sum() == pytest.approx(1 / math.dist(hidden, (1.0, 4.9)), rel=5e-3)
    assert not both[0][1].any()
    assert [ear.sum() for ear in both[1]] == pytest.approx([1 / 3.9, 1 / 4.1], rel=5e-3)
    none = simulate_responses(ell, [hidden, (1.0, 1.0)], [(1.0, 5.2), (1.0, 5.4)], RATE)
    assert not none[0].any() and none[1].any(1).all()
    # with reflections it is heard
    assert simulate_responses(room("l_shape", 3), [hidden], [(1.0, 5.2)], RATE)[0].any()


def arrival_and_level(source, pose, **changes):
    """Of the direct sound at each ear: samples and amplitude."""
    ears = ear_points(pose, settings(**changes))
    response = simulate_responses(room(), [tuple(source)], ears, RATE)[0]
    level = response.sum(1)
    return (response * (np.arange(response.shape[1]) - filter_delay())).sum(1) / level, level


@pytest.mark.parametrize("heading_deg", [0.0, 30.0, 90.0, 240.0])
def test_a_source_to_the_left_is_earlier_and_louder_on_the_left(heading_deg):
    middle = np.array([3.0, 3.0])
    pose = Pose(middle, heading_deg)
    across = 0.2 / SPEED_M_S * RATE  # samples from ear to ear
    for side_deg, sign in ((90, 1), (-90, -1)):
        angle = math.radians(heading_deg + side_deg)
        (left, right), (left_level, right_level) = arrival_and_level(
            middle + 2 * np.array([math.cos(angle), math.sin(angle)]), pose
        )
        assert (right - left) * sign == pytest.approx(across, abs=0.1)
        assert (left_level - right_level) * sign == pytest.approx(1 / 1.9 - 1 / 2.1, rel=0.02)
    for ahead in (2.0, -2.0):
        angle = math.radians(heading_deg)
        arrival, level = arrival_and_level(
            middle + ahead * np.array([math.cos(angle), math.sin(angle)]), pose
        )
        assert arrival[0] == pytest.approx(arrival[1], abs=1e-3)
        assert level[0] == pytest.approx(level[1], rel=1e-3)


def test_ears_along_the_heading_as_published():
    pose = Pose(np.array([3.0, 3.0]), 90.0)
    ears = np.array(ear_points(pose, settings(EARS="heading", EAR_DISTANCE_M=0.15)))
    published = pra.linear_2D_array([3.0, 3.0], 2, math.pi / 2, 0.15).T
    np.testing.assert_allclose(ears, published, atol=1e-12)
    np.testing.assert_allclose(ears, [[3, 2.925], [3, 3.075]], atol=1e-12)  # behind, ahead
    arrival, _ = arrival_and_level([3.0, 5.0], pose, EARS="heading")
    assert arrival[0] - arrival[1] == pytest.approx(0.2 / SPEED_M_S * RATE, abs=0.1)
    arrival, _ = arrival_and_level([1.0, 3.0], pose, EARS="heading")
    assert arrival[0] == pytest.approx(arrival[1], abs=1e-3)


class Noises(Hums):
    """Loops of noise, of lengths that no window divides."""

    def loop(self, clip: str) -> np.ndarray:
        rng = np.random.default_rng(ord(clip[0]))
        return rng.standard_normal(2500 + ord(clip[0])).astype(np.float32)

    def window(self, clip: str, first: int, length: int) -> np.ndarray:
        loop = self.loop(clip)
        return loop[(first + np.arange(length)) % len(loop)]


def heard_of(loop, first, length, response):
    """By one long convolution of the repeated loop, float64."""
    past = len(loop) * 3
    dry = np.tile(loop.astype(np.float64), 3 + 3 + (first + length) // len(loop))
    begin = past + first + filter_delay()
    return np.stack([fftconvolve(dry, ear)[begin : begin + length] for ear in response.astype(np.float64)])


def test_windows_of_a_standing_agent_are_one_long_convolution():
    world = AuditionWorld(settings(SECONDS=0.2), Noises())
    plan = room(order=3)
    # 0.3 m from the wall it faces: forward leads nowhere
    played = episode([(2.0, 2.0), (4.0, 4.5)], (5.7, 1.0), 0.0, plan)
    world.reset(played)
    windows = [world.source_images()]
    for _ in range(6):
        assert world.step(0).moved_m == 0
        windows.append(world.source_images())
    responses = simulate_responses(
        plan, [(2.0, 2.0), (4.0, 4.5)], ear_points(Pose(world.position, 0.0), world.settings), RATE
    )
    joined = np.concatenate(windows, -1)
    for s, clip in enumerate(played.clips):
        expected = heard_of(world.sounds.loop(clip), 0, 7 * 1600, responses[s])
        np.testing.assert_allclose(joined[s], expected, atol=1e-4 * np.abs(expected).max())


def test_a_moving_agent_hears_the_past_through_the_response_of_where_it_is():
    world = AuditionWorld(settings(SECONDS=0.2), Noises())
    plan = room("l_shape", order=2)
    world.reset(episode([(1.0, 4.0)], (1.0, 1.0), 0.0, plan))
    for step, action in enumerate((0, 2, 0, 3, 1), 1):
        world.step(action)
        response = simulate_responses(
            plan, [(1.0, 4.0)], ear_points(Pose(world.position, world.heading_deg), world.settings), RATE
        )[0]
        expected = heard_of(world.sounds.loop("a_200"), step * 1600, 1600, response)
        np.testing.assert_allclose(world.source_images()[0], expected, atol=1e-4 * np.abs(expected).max())
