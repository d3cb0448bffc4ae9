"""Blocks of sound that are lost, late, repeated, or begin to be counted anew."""

from __future__ import annotations

import numpy as np
import pytest
from live_fakes import sweep

from audio_separation.audio.descriptors import describe
from audio_separation.live.blocks import BlockStream
from audio_separation.live.osc import SEQUENCE, ahead

RATE, WINDOW, HOP, FRAMES = 16000, 512, 256, 3


def stream(first: int = 0, numbers=range(8)) -> tuple[BlockStream, np.ndarray]:
    """Blocks ``numbers`` of a sound, in that order, counted from ``first``."""
    sound = sweep(0.5, RATE)
    made = BlockStream(RATE, WINDOW, HOP, FRAMES)
    for number in numbers:
        made.put((first + number) % SEQUENCE, sound[number * HOP : (number + 1) * HOP])
    return made, sound


def last_frames(sound: np.ndarray, blocks: int, frames: int = FRAMES) -> np.ndarray:
    return describe(sound[: blocks * HOP], RATE, WINDOW, HOP)[-frames:].mean(0)


def test_descriptors_are_those_of_the_newest_frames():
    made, sound = stream()
    assert np.array_equal(made.features(), last_frames(sound, 8))
    assert (made.lost, made.reordered, made.repeated, made.stale) == (0, 0, 0, 0)
    assert np.array_equal(made.features(), last_frames(sound, 8)) and made.stale == 1  # nothing new


def test_nothing_before_the_first_whole_frame():
    assert stream(numbers=range(0))[0].features() is None
    made, sound = stream(numbers=range(1))
    assert made.features() is None and made.stale == 0
    made.put(1, sound[HOP : 2 * HOP])
    assert np.array_equal(made.features(), last_frames(sound, 2, 1))


def test_frames_with_a_hole_are_left_out():
    made, sound = stream(numbers=[0, 1, 2, 3, 5, 6])
    assert made.lost == 1
    assert np.array_equal(made.features(), describe(sound[5 * HOP : 7 * HOP], RATE, WINDOW, HOP)[0])
    made, sound = stream(numbers=[0, 1, 2, 3])
    before = made.features()
    made.put(5, sound[5 * HOP : 6 * HOP])  # no whole frame since the hole
    assert np.array_equal(made.features(), before) and made.stale == 1


def test_a_block_that_comes_late_fills_its_hole():
    made, sound = stream(numbers=[0, 1, 2, 3, 4, 6, 5, 7])
    assert (made.lost, made.reordered) == (0, 1)
    assert np.array_equal(made.features(), last_frames(sound, 8))


def test_blocks_again_or_too_late_change_nothing():
    made, sound = stream(numbers=[0, 1, 2, 3, 4, 5, 6, 7, 7, 6, 1])
    assert (made.lost, made.reordered, made.repeated) == (0, 0, 3)
    assert np.array_equal(made.features(), last_frames(sound, 8))
    late, _ = stream(numbers=[0, 1, 3, 4, 5, 6, 7, 2])  # further back than the frames reach
    assert (late.lost, late.repeated) == (1, 1)


@pytest.mark.parametrize("before_the_end", [1, 3, 7])
def test_counting_begins_anew(before_the_end):
    made, sound = stream(SEQUENCE - before_the_end)
    assert made.lost == 0 and np.array_equal(made.features(), last_frames(sound, 8))
    made, _ = stream(SEQUENCE - before_the_end, [0, 1, 2, 4, 5, 6, 7])
    assert made.lost == 1


def test_how_far_numbers_lie_apart():
    assert [ahead(5, 3), ahead(3, 5), ahead(0, SEQUENCE - 1), ahead(SEQUENCE - 1, 0)] == [2, -2, 1, -1]


def test_no_more_is_kept_than_the_frames_need():
    made = BlockStream(RATE, 1000, HOP, FRAMES)
    for number in range(50):
        made.put(number, np.full(HOP, 0.1))
    assert len(made._blocks) == 6  # 1000 + 2 x 256 samples
