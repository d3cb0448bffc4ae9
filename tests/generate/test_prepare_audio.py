"""prepare_audio: real recordings (here: tones) become a corpus."""

from __future__ import annotations

import csv
import json
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
from script_module import load_script

from audio_separation.errors import UserError
from audio_separation.scenes.generate.corpus_layout import RATE_HZ, SPLITS, active_rms
from audio_separation.scenes.generate.prepare import PrepareOptions, join_recordings, prepare_corpus
from audio_separation.scenes.generate.recordings import find_files, read_recording, trim_silence

QUICK = PrepareOptions(chunks=False)


def tone(hz: float, seconds: float, rate_hz: int = RATE_HZ) -> np.ndarray:
    return 0.2 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate_hz)) / rate_hz)


def write_tones(source: Path, name: str, tones_hz: list[float], seconds: float, suffix: str = ".wav") -> None:
    """One file a pitch: the pitch tells later which recording a piece of a clip came from."""
    (source / name).mkdir(parents=True, exist_ok=True)
    for hz in tones_hz:
        soundfile.write(source / name / f"{hz:.0f}{suffix}", tone(hz, seconds), RATE_HZ)


def pitches(samples: np.ndarray) -> set[int]:
    """Frequencies (multiples of 100 Hz) that sound in whole 0.1 s pieces."""
    pieces = samples[: len(samples) // 1600 * 1600].reshape(-1, 1600)
    spectra = np.abs(np.fft.rfft(pieces, axis=1))
    return {int(round(k / 10) * 100) for k in spectra[:, 1:].argmax(1) + 1}


def read_clip(out: Path, split: str, name: str) -> np.ndarray:
    with wave.open(str(out / "min20s_clips" / f"{split}_preprocessed" / f"{name}.wav"), "rb") as wav:
        assert (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()) == (1, 2, RATE_HZ)
        return np.frombuffer(wav.readframes(wav.getnframes()), "<i2") / 32768


def prepare(source: Path, out: Path, options: PrepareOptions = QUICK, **more):
    return prepare_corpus(source, out, options, jobs=1, progress=False, **{"say": lambda line: None, **more})


def files_below(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "recordings"
    write_tones(source, "ann", [100 * k for k in range(3, 13)], 7.5)
    write_tones(source, "bob", [200, 400, 800], 3.0)
    write_tones(source, "esc", [500, 600, 700, 900], 6.0)
    return source


def test_prepare_splits_by_recording_and_joins_to_twenty_seconds(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    clips = prepare(source, out)
    assert json.loads((out / "classes.json").read_text()) == {
        "classes": ["ann", "bob", "esc"],
        "distractor_only": ["esc"],
    }
    for name, wanted in (("ann", set(range(300, 1300, 100))), ("bob", {200, 400, 800})):
        seen: list[int] = []
        for split in SPLITS:
            here: set[int] = set()
            for clip in clips[name][split]:
                samples = read_clip(out, split, clip)
                assert len(samples) % RATE_HZ == 0 and len(samples) >= 20 * RATE_HZ
                assert active_rms(samples) == pytest.approx(0.05, rel=0.01)
                here |= pitches(samples)
            seen += sorted(here)
        assert sorted(seen) == sorted(wanted)  # every recording is used, in one split only
    assert not (out / "1s_chunks").exists()


def test_prepare_is_deterministic_and_takes_up_an_interrupted_run(source: Path, tmp_path: Path) -> None:
    options = PrepareOptions(seed=3)
    prepare(source, tmp_path / "a", options)
    prepare_corpus(source, tmp_path / "b", options, jobs=2, say=lambda line: None, progress=False)
    contents = [
        {p.relative_to(root): p.read_bytes() for p in files_below(root)}
        for root in (tmp_path / "a", tmp_path / "b")
    ]
    assert contents[0] == contents[1]
    assert len([p for p in contents[0] if p.parts[0] == "1s_chunks"]) >= 20 * 9
    assert read_clip(tmp_path / "a", "train", "bob_train0000").shape == (20 * RATE_HZ,)  # 3 s, looped
    # As a run leaves it that was killed: some clips are missing, another is finished and must not be redone.
    lost = tmp_path / "b" / "min20s_clips" / "train_preprocessed" / "bob_train0000.wav"
    kept = tmp_path / "b" / "min20s_clips" / "valUnheard_preprocessed" / "bob_valUnheard0000.wav"
    before = kept.stat().st_mtime_ns
    lost.unlink()
    (tmp_path / "b" / "corpus.json").unlink()
    prepare(source, tmp_path / "b", options)
    assert {p.relative_to(tmp_path / "b"): p.read_bytes() for p in files_below(tmp_path / "b")} == contents[0]
    assert kept.stat().st_mtime_ns == before


def test_prepare_keeps_files_of_one_take_together(source: Path, tmp_path: Path) -> None:
    takes = {hz: f"take{hz // 400}" for hz in range(300, 1300, 100)}  # 300 | 400-700 | 800-1100 | 1200
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "class", "recording_id"])
        rows.writerows([f"recordings/ann/{hz}.wav", "ann", take] for hz, take in takes.items())
    said: list[str] = []
    clips = prepare(source, tmp_path / "corpus", say=said.append)
    assert any("manifest.csv: 10 of 17 files" in line for line in said)
    for split in SPLITS:
        found = {
            hz for clip in clips["ann"][split] for hz in pitches(read_clip(tmp_path / "corpus", split, clip))
        }
        for take in {takes[hz] for hz in found}:
            assert {hz for hz in takes if takes[hz] == take} <= found
    with pytest.raises(UserError, match=r"no row for .*bob.* \(7 files lack one\)"):
        prepare(source, tmp_path / "c", manifest=tmp_path / "manifest.csv")


def test_prepare_notices_a_source_one_folder_too_high(source: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("path,class,recording_id\nrecordings/ann/300.wav,ann,x\n")
    with pytest.raises(UserError, match=r"of class ann, its folder says recordings; give the folder .* ann/"):
        prepare(tmp_path, tmp_path / "out")


def test_prepare_split_by_folder_and_nested_folders(tmp_path: Path) -> None:
    for chapter in ("c1", "c2", "c3"):
        write_tones(tmp_path / "in" / "ann", chapter, [300, 400], 1)
    files = find_files(tmp_path / "in", "folder", None, lambda line: None)
    assert sorted({f.recording for f in files}) == ["ann/c1", "ann/c2", "ann/c3"] and len(files) == 6
    files = find_files(tmp_path / "in", "file", None, lambda line: None)
    assert len({f.recording for f in files}) == 6


def test_join_recordings_appends_a_rest_and_cuts_what_is_long(tmp_path: Path) -> None:
    write_tones(tmp_path, "x", [300, 400, 500], 12.5)
    write_tones(tmp_path, "y", [600], 130)
    paths = [tmp_path / "x" / f"{hz}.wav" for hz in (300, 400, 500)]
    ((samples, used),) = join_recordings(paths, QUICK)
    assert len(samples) == 37 * RATE_HZ and used == paths and pitches(samples) == {300, 400, 500}
    long = list(join_recordings([tmp_path / "y" / "600.wav"], QUICK))
    assert [len(samples) / RATE_HZ for samples, _ in long] == [43, 43, 43]


def test_read_recording_averages_channels_resamples_and_trims(tmp_path: Path) -> None:
    left, right = tone(1000, 2, 44100), tone(3000, 2, 44100)
    silence = np.zeros((44100, 2))
    stereo = (
        np.concatenate([silence, np.stack([left, right], 1), silence]) + 0.05
    )  # an offset, as of cheap gear
    soundfile.write(tmp_path / "stereo.flac", stereo, 44100)
    samples = read_recording(tmp_path / "stereo.flac")
    middle = samples[len(samples) // 2 - 4000 : len(samples) // 2 + 4000] * np.hanning(8000)
    spectrum = np.abs(np.fft.rfft(middle)) / 2000  # amplitude: N / 2, and the window halves it
    assert len(samples) == pytest.approx(2.2 * RATE_HZ, abs=800)
    assert spectrum[500] == pytest.approx(0.1, rel=0.02) and spectrum[1500] == pytest.approx(0.1, rel=0.02)
    padded = np.concatenate([np.zeros(RATE_HZ), tone(500, 1), np.zeros(RATE_HZ)])
    assert len(trim_silence(padded)) == pytest.approx(1.2 * RATE_HZ, abs=800)
    soundfile.write(tmp_path / "none.wav", np.zeros(RATE_HZ), RATE_HZ)
    assert len(read_recording(tmp_path / "none.wav")) == 0


@pytest.mark.parametrize("suffix", [".flac", ".ogg", ".mp3"])
def test_prepare_reads_other_formats(tmp_path: Path, suffix: str) -> None:
    if suffix == ".mp3" and "MP3" not in soundfile.available_formats():
        pytest.skip("this libsndfile has no MP3")
    write_tones(tmp_path / "in", "ann", [300, 500, 800], 4, suffix)
    clips = prepare(tmp_path / "in", tmp_path / "out")
    found = [pitches(read_clip(tmp_path / "out", split, clips["ann"][split][0])) for split in SPLITS]
    assert sorted(map(sorted, found)) == [[300], [500], [800]]


def test_prepare_names_broken_and_silent_files(source: Path, tmp_path: Path) -> None:
    (source / "bob" / "bad.wav").write_bytes(b"this is no sound")
    (source / "bob" / "phone.m4a").write_bytes(b"this neither")
    soundfile.write(source / "bob" / "nan.wav", np.full(RATE_HZ, np.nan), RATE_HZ, subtype="FLOAT")
    soundfile.write(source / "bob" / "quiet.wav", np.zeros(RATE_HZ), RATE_HZ)
    with pytest.raises(
        UserError, match=r"3 of 21 files are broken .*bad\.wav: cannot be decoded.*phone\.m4a"
    ):
        prepare(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    said: list[str] = []
    prepare(source, tmp_path / "out", PrepareOptions(chunks=False, skip_broken=True), say=said.append)
    assert said[-1] == "left out 3 broken and 1 silent of 21 files"
    left_out = json.loads((tmp_path / "out" / "corpus.json").read_text())["left_out_files"]
    assert sorted(left_out) == ["bob/bad.wav", "bob/nan.wav", "bob/phone.m4a", "bob/quiet.wav"]


def test_prepare_needs_three_recordings_a_class(source: Path, tmp_path: Path) -> None:
    write_tones(source, "cat", [300, 400], 2)
    with pytest.raises(UserError, match=r"too few in: cat \(2\).*--allow-small"):
        prepare(source, tmp_path / "out")
    clips = prepare(source, tmp_path / "out", PrepareOptions(chunks=False, allow_small=True))
    assert sorted(clips) == ["ann", "bob", "esc"]
    assert json.loads((tmp_path / "out" / "corpus.json").read_text())["left_out_classes"] == ["cat"]


def test_prepare_renames_classes_with_underscores(tmp_path: Path) -> None:
    write_tones(tmp_path / "in", "door_bell", [300, 400, 500], 2)
    said: list[str] = []
    clips = prepare(tmp_path / "in", tmp_path / "out", say=said.append)
    assert clips["door-bell"]["train"] == ["door-bell_train0000"]
    assert any("door_bell becomes door-bell" in line for line in said)
    write_tones(tmp_path / "in", "door-bell", [300, 400, 500], 2)
    with pytest.raises(UserError, match="door-bell and door_bell would both be called door-bell"):
        prepare(tmp_path / "in", tmp_path / "other")


def test_prepare_refuses_bad_input(source: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    soundfile.write(tmp_path / "empty" / "loose.wav", tone(300, 1), RATE_HZ)
    out = tmp_path / "out"
    with pytest.raises(UserError, match="1 loose files, 0 folders"):
        prepare(tmp_path / "empty", out)
    with pytest.raises(UserError, match="is not a folder"):
        prepare(tmp_path / "nowhere", out)
    with pytest.raises(UserError, match="--min-seconds is 5"):
        prepare(source, out, PrepareOptions(min_seconds=5))
    with pytest.raises(UserError, match="--max-seconds is 30"):
        prepare(source, out, PrepareOptions(max_seconds=30))
    with pytest.raises(UserError, match=r"--test-fraction is 0\.7"):
        prepare(source, out, PrepareOptions(test_fraction=0.7))
    with pytest.raises(UserError, match="--distractor-only dog: no such class; found ann, bob, esc"):
        prepare(source, out, PrepareOptions(distractor_only=("dog",)))
    with pytest.raises(UserError, match="at least one must be a target"):
        prepare(source, out, PrepareOptions(distractor_only=("ann", "bob", "esc")))
    with pytest.raises(UserError, match="no such file"):
        prepare(source, out, manifest=tmp_path / "absent.csv")
    with pytest.raises(UserError, match="contradict"):
        prepare(source, out, PrepareOptions(split_by="file"), manifest=tmp_path / "absent.csv")
    (tmp_path / "wrong.csv").write_text("file,take\nx,y\n")
    with pytest.raises(UserError, match="columns path and recording_id, found file, take"):
        prepare(source, out, manifest=tmp_path / "wrong.csv")
    assert not out.exists()


def test_prepare_does_not_overwrite_another_corpus(source: Path, tmp_path: Path) -> None:
    prepare(source, tmp_path / "out")
    with pytest.raises(UserError, match=r"other settings: seed \(found 0, asked 1\)"):
        prepare(source, tmp_path / "out", PrepareOptions(chunks=False, seed=1))
    write_tones(source, "ann", [2000], 2)
    with pytest.raises(UserError, match="other settings: files"):
        prepare(source, tmp_path / "out")


def test_prepare_audio_script_prints_a_summary_or_one_sentence(source: Path, tmp_path: Path, capsys) -> None:
    script = load_script("prepare_audio")
    out = tmp_path / "out"
    assert script.main([str(source), "--out", str(out), "--no-chunks", "--jobs", "1"]) == 0
    printed = capsys.readouterr().out.splitlines()
    row = next(line for line in printed if line.startswith("bob")).split()
    assert row == ["bob", "1", "0.3", "min", "1", "0.3", "min", "1", "0.3", "min"]
    assert script.main([str(tmp_path / "nowhere"), "--out", str(out)]) == 2
    assert capsys.readouterr().err.startswith("prepare_audio: ")
