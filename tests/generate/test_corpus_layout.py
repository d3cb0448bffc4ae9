"""Level, conversion to int16 and the split by recording, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from audio_separation.scenes.generate.corpus_layout import (
    RATE_HZ,
    active_rms,
    clip_path,
    fade_edges,
    is_silent,
    normalise_level,
    split_recordings,
    to_int16,
    write_classes,
    write_clip,
)


def test_active_rms_ignores_pauses() -> None:
    tone = 0.3 * np.sin(2 * np.pi * 400 * np.arange(RATE_HZ) / RATE_HZ)
    padded = np.concatenate([np.zeros(RATE_HZ), tone, 1e-4 * np.ones(2 * RATE_HZ)])
    assert active_rms(tone) == pytest.approx(0.3 / np.sqrt(2), rel=1e-6)
    assert active_rms(padded) == pytest.approx(0.3 / np.sqrt(2), rel=1e-6)
    assert active_rms(np.zeros(0)) == 0
    assert is_silent(np.zeros(RATE_HZ)) and not is_silent(padded)


def test_normalise_level_scales_by_one_factor_and_keeps_the_peak() -> None:
    rng = np.random.default_rng(0)
    speech_like = 0.3 * rng.standard_normal(RATE_HZ)
    levelled = normalise_level(speech_like)
    assert active_rms(levelled) == pytest.approx(0.05, rel=1e-4)
    np.testing.assert_allclose(levelled / speech_like, levelled[0] / speech_like[0], rtol=1e-5)
    click = np.zeros(RATE_HZ)
    click[RATE_HZ // 2] = 0.2  # RMS 0.05 over its frame would need a peak of 1
    levelled = normalise_level(click)
    assert np.abs(levelled).max() == pytest.approx(0.98) and active_rms(levelled) < 0.05
    with pytest.raises(ValueError, match="silence"):
        normalise_level(np.zeros(RATE_HZ))


def test_to_int16_rounds_and_refuses_to_clip() -> None:
    np.testing.assert_array_equal(to_int16(np.array([0, 0.5, -1.0, 1.4 / 32768])), [0, 16384, -32768, 1])
    with pytest.raises(ValueError, match="would clip"):
        to_int16(np.array([1.0]))


def test_fade_edges_touches_five_milliseconds_only() -> None:
    faded = fade_edges(np.ones(RATE_HZ))
    assert faded[0] < 1e-3 and faded[-1] < 1e-3
    np.testing.assert_array_equal(faded[80:-80], 1)
    np.testing.assert_allclose(faded, faded[::-1])


def test_split_recordings_divides_by_duration_without_overlap() -> None:
    seconds = {f"r{i}": float(d) for i, d in enumerate([3, 9, 5, 100, 2, 8, 30, 12, 7, 24])}
    for seed in range(50):
        dealt = split_recordings(seconds, np.random.default_rng(seed), 0.15, 0.2)
        assert sorted(name for names in dealt.values() for name in names) == sorted(seconds)
        assert "r3" in dealt["train"]  # the longest
        held = {split: sum(seconds[name] for name in names) for split, names in dealt.items()}
        assert held["testUnheard"] >= 0.2 * 200 and min(held.values()) > 0
        assert held["valUnheard"] >= 0.15 * 200 or len(dealt["train"]) == 1
    three = split_recordings({"a": 1, "b": 1, "c": 1}, np.random.default_rng(0))
    assert [len(names) for names in three.values()] == [1, 1, 1]
    with pytest.raises(ValueError, match="2 recordings"):
        split_recordings({"a": 1, "b": 1}, np.random.default_rng(0))


def test_write_clip_takes_whole_seconds_of_int16(tmp_path) -> None:
    for wrong in (
        np.zeros(20 * RATE_HZ),
        np.zeros(19 * RATE_HZ, np.int16),
        np.zeros(20 * RATE_HZ + 1, np.int16),
    ):
        with pytest.raises(ValueError, match="a_0: expected"):
            write_clip(tmp_path, "train", "a_0", wrong, chunks=False)
    write_clip(tmp_path, "train", "a_0", np.zeros(20 * RATE_HZ, np.int16), chunks=False)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [clip_path(tmp_path, "train", "a_0")]


def test_write_classes_puts_distractors_last(tmp_path) -> None:
    write_classes(tmp_path, ["b", "esc", "a"], ["esc"])
    text = (tmp_path / "classes.json").read_text().split()
    assert "".join(text) == '{"classes":["b","a","esc"],"distractor_only":["esc"]}'
