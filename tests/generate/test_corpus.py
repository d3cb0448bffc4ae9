"""The synthetic corpus: format, levels, determinism, resuming, speakers that can be told apart."""

from __future__ import annotations

import hashlib
import json
import time
import wave
from pathlib import Path

import numpy as np
import pytest

from audio_separation.errors import UserError
from audio_separation.scenes.generate import speech
from audio_separation.scenes.generate.corpus import PRESETS, Preset, generate_corpus
from audio_separation.scenes.generate.corpus_layout import RATE_HZ, SPLITS, active_rms
from audio_separation.scenes.generate.music import keys, pluck, render_music
from audio_separation.scenes.generate.noise import KINDS, render_noise
from audio_separation.scenes.generate.sentences import random_sentences

TINY = Preset(speakers=2, clip_seconds=20, speech_clips=(1, 1, 1), other_clips=(1, 1, 1))


def read_clips(root: Path) -> dict[str, np.ndarray]:
    """``<split>/<name>`` -> float samples, after checking the WAV format."""
    clips = {}
    for path in sorted(root.glob("min20s_clips/*/*.wav")):
        with wave.open(str(path), "rb") as wav:
            assert (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()) == (1, 2, RATE_HZ)
            samples = np.frombuffer(wav.readframes(wav.getnframes()), "<i2") / 32768
        clips[f"{path.parent.name.replace('_preprocessed', '')}/{path.stem}"] = samples
    return clips


def hashes(root: Path) -> dict[str, str]:
    files = (p for p in sorted(root.rglob("*")) if p.is_file())
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus") / "tiny"
    generate_corpus(root, seed=5, preset=TINY, jobs=1, chunks=True, progress=False)
    return root


def test_corpus_holds_every_class_in_every_split(corpus: Path) -> None:
    names = ["spk00", "spk01", "music", "esc"]
    found = json.loads((corpus / "classes.json").read_text())
    assert found == {"classes": names, "distractor_only": ["esc"]}
    clips = read_clips(corpus)
    for split in SPLITS:
        here = [key.split("/")[1].split("_")[0] for key in clips if key.startswith(split + "/")]
        assert sorted(here) == sorted(names)


def test_corpus_clips_have_their_length_and_level(corpus: Path) -> None:
    for key, samples in read_clips(corpus).items():
        assert len(samples) == TINY.clip_seconds * RATE_HZ, key
        peak = np.abs(samples).max()
        assert peak <= 0.981, key
        # equally loud, unless the peaks of an impulsive sound forbid it
        assert active_rms(samples) == pytest.approx(0.05, rel=0.02) or peak > 0.97, key


def test_corpus_chunks_are_the_seconds_of_the_clip(corpus: Path) -> None:
    clip = corpus / "min20s_clips" / "train_preprocessed" / "spk00_000.wav"
    with wave.open(str(clip), "rb") as wav:
        whole = wav.readframes(wav.getnframes())
    joined = b""
    for second in range(TINY.clip_seconds):
        with wave.open(
            str(corpus / "1s_chunks" / "train_preprocessed" / f"spk00_000_{second}.wav"), "rb"
        ) as wav:
            assert wav.getnframes() == RATE_HZ
            joined += wav.readframes(RATE_HZ)
    assert joined == whole
    assert len(list(corpus.glob("1s_chunks/*/*.wav"))) == 4 * 3 * TINY.clip_seconds


def test_corpus_is_the_same_for_any_number_of_jobs_and_after_an_interruption(
    corpus: Path, tmp_path: Path
) -> None:
    generate_corpus(tmp_path / "other", seed=5, preset=TINY, jobs=2, chunks=True, progress=False)
    assert hashes(tmp_path / "other") == hashes(corpus)
    # As left by a run that was killed: some clips and the final files are missing, one file is half-written.
    lost = tmp_path / "other" / "min20s_clips" / "valUnheard_preprocessed" / "spk01_001.wav"
    kept = tmp_path / "other" / "min20s_clips" / "train_preprocessed" / "music_000.wav"
    before = kept.stat().st_mtime_ns
    lost.unlink()
    lost.with_name(lost.name + ".partial").write_bytes(b"RIFF")
    (tmp_path / "other" / "corpus.json").unlink()
    generate_corpus(tmp_path / "other", seed=5, preset=TINY, jobs=1, chunks=True, progress=False)
    assert hashes(tmp_path / "other") == hashes(corpus)
    assert kept.stat().st_mtime_ns == before


def test_corpus_of_another_seed_sounds_different(corpus: Path, tmp_path: Path) -> None:
    small = Preset(speakers=1, clip_seconds=20, speech_clips=(1, 0, 0), other_clips=(1, 0, 0))
    generate_corpus(tmp_path / "a", seed=6, preset=small, jobs=1, progress=False)
    clips, others = read_clips(corpus), read_clips(tmp_path / "a")
    for key in ("train/spk00_000", "train/music_000", "train/esc_000"):
        assert abs(np.corrcoef(clips[key], others[key])[0, 1]) < 0.5
    assert not (tmp_path / "a" / "1s_chunks").exists()


def test_corpus_refuses_what_it_must_not_overwrite(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"other settings: seed \(found 5, asked 6\)"):
        generate_corpus(corpus, seed=6, preset=TINY, jobs=1, progress=False)
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        generate_corpus(tmp_path, seed=5, preset=TINY, jobs=1, progress=False)
    with pytest.raises(UserError, match="mini, small"):
        generate_corpus(tmp_path / "new", seed=5, preset="huge", jobs=1, progress=False)
    short = Preset(speakers=1, clip_seconds=5, speech_clips=(1, 1, 1), other_clips=(1, 1, 1))
    with pytest.raises(UserError, match="clip_seconds is 5"):
        generate_corpus(tmp_path / "new", seed=5, preset=short, jobs=1, progress=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["letter.txt"]


def test_presets_have_forty_speakers_and_room_for_every_split() -> None:
    for preset in PRESETS.values():
        assert preset.speakers == 40
        assert min(*preset.speech_clips, *preset.other_clips) >= 1


def test_speech_says_why_espeak_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    speaker = speech.draw_speakers(np.random.default_rng(0), 1)[0]
    monkeypatch.setattr(speech.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install espeakng-loader"):
        speech.find_espeak()
    broken = tmp_path / "libespeak-ng.so"
    broken.write_bytes(b"not a library")
    monkeypatch.setattr(speech, "find_espeak", lambda: (broken, tmp_path))
    with pytest.raises(UserError, match=r"spk00: the library does not load.*reinstall"):
        speech.speak(speaker, ["Hello."], 1.0)


def test_speech_depends_on_its_own_request_alone() -> None:
    """eSpeak seeds its breath noise from the clock and carries state from sentence to sentence."""
    first, second = speech.draw_speakers(np.random.default_rng(3), 2)
    breathy = [speech.Speaker(**{**vars(s), "variant": "f2"}) for s in (first, second)]
    alone = speech.synthesise(breathy[0], np.random.default_rng(1), 3)
    speech.synthesise(breathy[1], np.random.default_rng(2), 3)
    time.sleep(1.1)  # the clock that would seed it counts seconds
    np.testing.assert_array_equal(alone, speech.synthesise(breathy[0], np.random.default_rng(1), 3))


def test_speech_has_no_second_of_silence_and_no_fixed_text() -> None:
    speaker = speech.draw_speakers(np.random.default_rng(3), 1)[0]
    seconds = speech.synthesise(speaker, np.random.default_rng(0), 20).reshape(20, RATE_HZ)
    rms = np.sqrt((seconds**2).mean(1))
    assert rms.min() > 0.2 * rms.max()
    sentences = random_sentences(np.random.default_rng(0), 500)
    assert len(set(sentences)) == 500
    assert len({word for sentence in sentences for word in sentence.lower().split()}) > 400


def mean_log_spectrum(samples: np.ndarray) -> np.ndarray:
    """Mean and spread of log band energies over the active frames, without the level."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, 512)[::256] * np.hanning(512)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    power = power[power.sum(1) > 1e-3 * power.sum(1).max()]
    edges = np.unique(np.round(np.geomspace(2, 250, 36)).astype(int))
    log_bands = np.log(np.add.reduceat(power, edges, axis=1) + 1e-6)
    mean = log_bands.mean(0)
    return np.concatenate([mean - mean.mean(), 0.5 * log_bands.std(0)])


def test_speakers_can_be_told_apart_in_sentences_never_heard() -> None:
    """Nearest centroid of one heard recording on 4 s pieces of another; chance is 5 %."""
    speakers = speech.draw_speakers(np.random.default_rng(7), 20)
    heard = [
        mean_log_spectrum(speech.synthesise(s, np.random.default_rng(i), 16)) for i, s in enumerate(speakers)
    ]
    hits = []
    for i, speaker in enumerate(speakers):
        unheard = speech.synthesise(speaker, np.random.default_rng(100 + i), 16)
        for piece in unheard.reshape(4, -1):
            distance = np.square(np.array(heard) - mean_log_spectrum(piece)).sum(1)
            hits.append(distance.argmin() == i)
    assert np.mean(hits) > 0.85


def test_speakers_differ_in_their_settings() -> None:
    speakers = speech.draw_speakers(np.random.default_rng(0), 40)
    assert len({speaker.variant for speaker in speakers}) == 40
    assert [speaker.name for speaker in speakers[:2]] == ["spk00", "spk01"]
    scales = [speaker.tract_scale for speaker in speakers]
    assert 0.85 < min(scales) < 0.9 and 1.14 < max(scales) < 1.19
    assert speakers == speech.draw_speakers(np.random.default_rng(0), 40)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_noise_fills_its_time_and_varies_with_the_seed(kind: str) -> None:
    noise = render_noise(kind, np.random.default_rng(0), 10)
    other = render_noise(kind, np.random.default_rng(1), 10)
    assert noise.shape == (10 * RATE_HZ,) and noise.dtype == np.float32
    assert np.isfinite(noise).all() and np.abs(noise).max() == 1
    halves = np.sqrt((noise.reshape(2, -1) ** 2).mean(1))
    assert halves.min() > 0.1 * halves.max()  # sounds from beginning to end
    assert abs(np.corrcoef(noise, other)[0, 1]) < 0.3
    np.testing.assert_array_equal(noise, render_noise(kind, np.random.default_rng(0), 10))


@pytest.mark.parametrize("instrument", [pluck, keys])
@pytest.mark.parametrize("midi", [45, 57, 69, 76])
def test_music_instruments_are_in_tune(instrument, midi: int) -> None:
    """The fundamental lies within 8 cents of the note."""
    note = instrument(np.random.default_rng(0), midi, 1.0)
    pitch_hz = 440 * 2 ** ((midi - 69) / 12)
    spectrum = np.abs(np.fft.rfft(note * np.hanning(len(note)), 16 * RATE_HZ))
    frequency_hz = np.fft.rfftfreq(16 * RATE_HZ, 1 / RATE_HZ)
    near = np.abs(frequency_hz - pitch_hz) < 0.25 * pitch_hz
    peak_hz = frequency_hz[near][spectrum[near].argmax()]
    assert abs(1200 * np.log2(peak_hz / pitch_hz)) < 8


def test_music_keeps_on_and_varies_with_the_seed() -> None:
    pieces = [render_music(np.random.default_rng(seed), 20) for seed in range(4)]
    for piece in pieces:
        seconds = np.sqrt((piece.reshape(20, -1) ** 2).mean(1))
        assert seconds.min() > 0.1 * seconds.max()
    correlations = np.corrcoef(pieces) - np.eye(4)
    assert np.abs(correlations).max() < 0.3
