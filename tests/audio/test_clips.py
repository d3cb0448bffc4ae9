"""The clip library: names, classes, labels, and every kind of broken file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_separation.audio.clips import ClipLibrary
from audio_separation.errors import UserError


def write(
    path: Path, samples: np.ndarray, rate: int = 16000, subtype: str = "PCM_16", form: str = "WAV"
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype=subtype, format=form)


def ramp(seconds: float, start: int = 0) -> np.ndarray:
    return ((np.arange(int(seconds * 16000)) + start) % 20000 - 10000).astype(np.int16)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    clips = tmp_path / "min20s_clips"
    for split, names in {
        "train": ["music_0", "esc_dog_1", "237_a_b", "237_c", "1089_x"],
        "valUnheard": ["music_9", "237_z"],
    }.items():
        for i, name in enumerate(names):
            write(clips / f"{split}_preprocessed" / f"{name}.wav", ramp(2.5, start=i))
    return tmp_path


def test_names_classes_and_labels(corpus: Path) -> None:
    clips = ClipLibrary(corpus, "train")
    assert clips.names() == ["1089_x", "237_a_b", "237_c", "esc_dog_1", "music_0"]
    assert clips.classes == ["1089", "237", "music", "esc"]  # sorted as text, distractor-only last
    assert clips.distractor_only == {"esc"}
    assert [clips.label_of(name) for name in clips.names()] == [0, 1, 1, 3, 2]
    assert clips.class_of("esc_dog_1.wav") == "esc"
    assert clips.by_class("237") == ["237_a_b", "237_c"]


def test_samples_are_the_file_read_once_and_read_only(corpus: Path) -> None:
    clips = ClipLibrary(corpus, "train")
    samples = clips.samples("237_c")
    assert samples.dtype == np.int16 and (samples == ramp(2.5, start=3)).all()
    assert clips.num_seconds("237_c.wav") == 2
    assert clips.samples("237_c.wav") is samples
    with pytest.raises(ValueError, match="read-only"):
        samples[0] = 1


def test_cache_is_bounded(corpus: Path) -> None:
    clips = ClipLibrary(corpus, "train", cache_mb=0.2)  # two clips of 80,000 bytes
    for name in clips.names():
        clips.samples(name)
    assert clips._cache.num_bytes == 160_000


def test_labels_of_an_unheard_split_are_those_of_train(corpus: Path) -> None:
    clips = ClipLibrary(corpus, "valUnheard")
    assert clips.classes == ["1089", "237", "music", "esc"]
    assert (clips.label_of("music_9"), clips.label_of("237_z")) == (2, 1)
    assert clips.by_class("1089") == []


def test_classes_json_decides_the_order(corpus: Path) -> None:
    tree = {"classes": ["esc", "music", "237", "1089", "unused"], "distractor_only": ["esc", "unused"]}
    (corpus / "classes.json").write_text(json.dumps(tree))
    clips = ClipLibrary(corpus, "valUnheard")
    assert clips.label_of("music_9") == 1
    assert clips.distractor_only == {"esc", "unused"}


@pytest.mark.parametrize(
    "text, words",
    [
        ("{", "malformed"),
        ('{"classes": "music"}', "malformed"),
        ('["music"]', "malformed"),
        ('{"classes": [1, 2]}', "malformed"),
        ('{"classes": ["music", "music"]}', "twice"),
        ('{"classes": ["music"], "distractor_only": ["esc"]}', "distractor"),
        ('{"classes": ["music", "237"]}', "1089"),
    ],
)
def test_bad_classes_json_names_the_file(corpus: Path, text: str, words: str) -> None:
    (corpus / "classes.json").write_text(text)
    with pytest.raises(UserError, match=r"classes\.json") as caught:
        ClipLibrary(corpus, "train")
    assert words in str(caught.value)


def test_missing_folder_names_the_cure(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"testUnheard_preprocessed is missing.*prepare_audio\.py"):
        ClipLibrary(corpus, "testUnheard")
    (tmp_path / "min20s_clips" / "empty_preprocessed").mkdir()
    with pytest.raises(UserError, match=r"empty_preprocessed holds no WAV clip.*generate_homes\.py"):
        ClipLibrary(corpus, "empty")


def test_labels_are_not_made_up_from_an_unheard_split_alone(tmp_path: Path) -> None:
    write(tmp_path / "min20s_clips" / "valUnheard_preprocessed" / "music_0.wav", ramp(2))
    with pytest.raises(UserError, match="labels are unknown"):
        ClipLibrary(tmp_path, "valUnheard")


def test_unknown_clip_and_class(corpus: Path) -> None:
    clips = ClipLibrary(corpus, "train")
    with pytest.raises(UserError, match=r"no clip 'nope' \(it holds 5 clips, such as '1089_x'\)"):
        clips.samples("nope.wav")
    with pytest.raises(UserError, match=r"no class 'opera'.*1089, 237, music, esc"):
        clips.by_class("opera")


def _cut(path: Path, num_bytes: int) -> None:
    path.write_bytes(path.read_bytes()[:num_bytes])


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda p: write(p, ramp(2), rate=44100), "44100 Hz, expected 16000 Hz"),
        (lambda p: write(p, np.stack([ramp(2)] * 2, 1)), "2 channels, expected mono"),
        (lambda p: write(p, ramp(2) / 32768, subtype="FLOAT"), "FLOAT samples, expected 16-bit"),
        (lambda p: write(p, ramp(2), form="FLAC"), "not a WAV file"),
        (lambda p: p.write_text("no sound"), "not a WAV file"),
        (lambda p: p.write_bytes(b""), "empty (0 bytes)"),
        (lambda p: write(p, ramp(0)), "no sample"),
        (lambda p: write(p, ramp(0.9)), "14400 samples, expected at least one second"),
        (lambda p: _cut(p, 44 + 40000), "is truncated (its header promises 80000 bytes of samples, 40000"),
        (lambda p: _cut(p, 36), "ends before its data chunk"),
        (lambda p: p.unlink(), "is missing"),
    ],
)
def test_broken_clip_is_named_with_its_fault(corpus: Path, spoil, words: str) -> None:
    clips = ClipLibrary(corpus, "train")
    path = clips.folder / "237_c.wav"
    spoil(path)
    with pytest.raises(UserError) as caught:
        clips.samples("237_c")
    message = str(caught.value)
    assert str(path) in message and words in message and "\n" not in message
