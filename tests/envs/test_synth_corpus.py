"""The corpus: its files and splits, reading ours and published ones, what is refused, and going on."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

from audio_separation.audio.descriptors import NAMES, PUBLISHED, describe
from audio_separation.envs.synth.corpus import load_corpus
from audio_separation.envs.synth.corpus_jobs import CorpusJob, CorpusRun, find_recordings, held_out
from audio_separation.envs.synth.feature_csv import indexed_csv_bytes
from audio_separation.errors import UserError

RATE = 44100


def tone(freq_hz, seconds=0.15, rate_hz=RATE):
    return 0.3 * np.sin(2 * np.pi * freq_hz * np.arange(round(seconds * rate_hz)) / rate_hz)


@pytest.fixture
def audio(tmp_path):
    folder = tmp_path / "audio"
    (folder / "sub").mkdir(parents=True)
    for i in range(4):
        soundfile.write(folder / f"tone_{i}.wav", tone(200 + 100 * i), RATE)
    soundfile.write(folder / "sub" / "other.flac", tone(500), RATE)
    return folder


def analyse(source, folder, job=CorpusJob(), **options):  # noqa: B008 (frozen)
    run = CorpusRun(source, folder, job, **options)
    assert not run.finished_before()
    return run.finish(list(run.analyse(1)))


# ---- ours -----------------------------------------------------------------------------------------------
def test_one_csv_a_file_in_two_splits(audio, tmp_path):
    content = analyse(audio, tmp_path / "c", CorpusJob(held_out=0.4, seed=3))
    train, test = (load_corpus(tmp_path / "c", split) for split in ("train", "test"))
    assert len(train.files) == 3 and len(test.files) == 2 and train.names == NAMES
    assert sorted(train.file_names + test.file_names) == ["sub__other", *(f"tone_{i}" for i in range(4))]
    assert set(test.file_names) == held_out(sorted(content["files"]), 0.4, 3)
    assert train.settings["window"] == 1024 and train.settings["held_out"] == 0.4
    assert content["files"]["sub__other"]["file"] == "sub/other.flac" and content["skipped"] == []
    for corpus in (train, test):
        for name, frames in zip(corpus.file_names, corpus.files):
            wave, _ = soundfile.read(audio / content["files"][name]["file"])
            np.testing.assert_allclose(frames, describe(wave, RATE), rtol=1e-8, atol=1e-8)
    with (tmp_path / "c" / "train" / f"{train.file_names[0]}.csv").open() as file:
        assert file.readline().strip() == "," + ",".join(NAMES) and file.readline().startswith("0,")
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["corpus.json", "test", "train"]


def test_channels_are_averaged_and_the_rate_changed(tmp_path):
    (tmp_path / "audio").mkdir()
    left = tone(1000, 0.5, 22050)
    soundfile.write(tmp_path / "audio" / "a.wav", np.stack([left, np.zeros_like(left)], -1), 22050)
    analyse(tmp_path / "audio", tmp_path / "c")
    (frames,) = load_corpus(tmp_path / "c", "train").files
    middle = dict(zip(NAMES, frames[len(frames) // 2]))
    assert middle["pitch-Hz"] == pytest.approx(1000, abs=2)
    assert middle["sinefeaturemags-0"] == pytest.approx(0.15, rel=0.05)


@pytest.mark.parametrize(
    "count, share, expected", [(2, 0.01, 1), (2, 0.99, 1), (8, 0.25, 2), (1, 0.9, 0), (5, 0, 0)]
)
def test_how_many_are_held_out(count, share, expected):
    labels = [f"f{i}" for i in range(count)]
    assert len(held_out(labels, share, 0)) == expected
    assert held_out(labels[::-1], share, 0) == held_out(labels, share, 0)


def test_seeds_draw_other_files():
    labels = [f"f{i:02d}" for i in range(20)]
    assert len({frozenset(held_out(labels, 0.25, seed)) for seed in range(8)}) > 5


def test_match_takes_names_and_paths(audio):
    assert list(find_recordings(audio, "tone_[12]*")) == ["tone_1", "tone_2"]
    assert list(find_recordings(audio, "sub/*")) == ["sub__other"]
    with pytest.raises(UserError, match="no file that matches 'piano.' .5 do not."):
        find_recordings(audio, "piano*")


def test_names_that_differ_in_their_suffix_keep_it(audio):
    soundfile.write(audio / "tone_1.flac", tone(50), RATE)
    assert {"tone_1.wav", "tone_1.flac", "tone_2"} <= set(find_recordings(audio, ""))
    soundfile.write(audio / "sub__other.wav", tone(50), RATE)
    assert {"sub__other.flac", "sub__other.wav"} <= set(find_recordings(audio, ""))


# ---- broken recordings ----------------------------------------------------------------------------------
def broken_files(folder):
    (folder / "text.wav").write_text("no sound")
    soundfile.write(folder / "empty.wav", np.zeros(0), RATE)
    soundfile.write(folder / "silent.wav", 1e-6 * tone(300), RATE, subtype="FLOAT")
    soundfile.write(folder / "nan.wav", np.full(3000, np.nan), RATE, subtype="FLOAT")
    (folder / "video.m4a").write_bytes(b"1234")


@pytest.mark.parametrize(
    "kept, says",
    [("text.wav", "cannot be decoded"), ("empty.wav", "is empty"), ("silent.wav", "is silent .*-1.. LKFS|is silent"),
     ("nan.wav", "not numbers"), ("video.m4a", "cannot decode .m4a")],
)  # fmt: skip
def test_a_broken_file_is_named_with_the_cure(audio, tmp_path, kept, says):
    broken_files(audio)
    for name in ("text.wav", "empty.wav", "silent.wav", "nan.wav", "video.m4a"):
        if name != kept:
            (audio / name).unlink()
    with pytest.raises(UserError, match=f"{kept}.*({says}).*--skip-broken"):
        analyse(audio, tmp_path / "c")
    assert not (tmp_path / "c" / "corpus.json").exists()


def test_broken_files_are_left_out_and_listed(audio, tmp_path):
    broken_files(audio)
    with pytest.raises(UserError, match="and 4 more cannot be used either"):
        analyse(audio, tmp_path / "c")
    content = analyse(audio, tmp_path / "c", skip_broken=True)
    assert len(content["files"]) == 5
    assert sorted(one["file"] for one in content["skipped"]) == [
        "empty.wav", "nan.wav", "silent.wav", "text.wav", "video.m4a",
    ]  # fmt: skip
    assert CorpusRun(audio, tmp_path / "c", CorpusJob(), skip_broken=True).finished_before()


def test_nothing_left(tmp_path):
    (tmp_path / "audio").mkdir()
    with pytest.raises(UserError, match="there is no file of sound"):
        analyse(tmp_path / "audio", tmp_path / "c")
    (tmp_path / "audio" / "text.wav").write_text("no sound")
    with pytest.raises(UserError, match="no recording of .* can be used"):
        analyse(tmp_path / "audio", tmp_path / "c", skip_broken=True)
    with pytest.raises(UserError, match="is no folder"):
        analyse(tmp_path / "none", tmp_path / "c")
    with pytest.raises(UserError, match="--held-out must be a share"):
        analyse(tmp_path / "audio", tmp_path / "c", CorpusJob(held_out=1.0))


# ---- going on -------------------------------------------------------------------------------------------
def test_an_interrupted_analysis_goes_on_to_the_same_bytes(audio, tmp_path):
    analyse(audio, tmp_path / "whole")
    run = CorpusRun(audio, tmp_path / "cut", CorpusJob())
    begun = run.analyse(1)
    next(begun), next(begun)
    begun.close()
    parts = sorted((tmp_path / "cut" / ".parts").glob("*.csv"))
    assert 2 <= len(parts) < 5
    times = [path.stat().st_mtime_ns for path in parts]
    again = CorpusRun(audio, tmp_path / "cut", CorpusJob())
    outcomes = list(again.analyse(1))
    assert [path.stat().st_mtime_ns for path in parts] == times
    again.finish(outcomes)
    files = {
        path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file()
    }
    assert len(files) == 6
    for path in files:
        assert (tmp_path / "cut" / path).read_bytes() == (tmp_path / "whole" / path).read_bytes()


def test_a_finished_corpus_is_kept_and_another_refused(audio, tmp_path):
    analyse(audio, tmp_path / "c")
    assert CorpusRun(audio, tmp_path / "c", CorpusJob()).finished_before()
    with pytest.raises(UserError, match="other settings .*--overwrite"):
        CorpusRun(audio, tmp_path / "c", CorpusJob(window=512))
    soundfile.write(audio / "tone_2.wav", tone(999), RATE)
    with pytest.raises(UserError, match="other recordings .tone_2.wav is new, gone or changed"):
        CorpusRun(audio, tmp_path / "c", CorpusJob()).finished_before()
    (audio / "tone_2.wav").unlink()
    assert len(analyse(audio, tmp_path / "c", overwrite=True)["files"]) == 4
    assert len(list((tmp_path / "c").rglob("*.csv"))) == 4  # the old one is gone
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "a.csv").write_text("1")
    with pytest.raises(UserError, match="CSVs that are of no corpus of ours"):
        CorpusRun(audio, tmp_path / "foreign", CorpusJob())


# ---- reading --------------------------------------------------------------------------------------------
def published(folder, names=PUBLISHED, rows=5):
    folder.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(0).normal(size=(rows, len(names)))
    (folder / "take.csv").write_bytes(indexed_csv_bytes(names, values))
    return values


def test_a_published_folder(tmp_path):
    values = published(tmp_path)
    corpus = load_corpus(tmp_path, "train")
    assert corpus.names == PUBLISHED and corpus.file_names == ["take"] and corpus.settings == {}
    np.testing.assert_allclose(corpus.files[0], values, rtol=1e-8)
    with pytest.raises(UserError, match="nothing of it is held out"):
        load_corpus(tmp_path, "test")
    published(tmp_path / "test", rows=2)
    published(tmp_path / "train", rows=3)
    assert [len(load_corpus(tmp_path, split).files[0]) for split in ("train", "test")] == [3, 2]


def test_what_is_refused(audio, tmp_path):
    with pytest.raises(UserError, match="there is no corpus at"):
        load_corpus(tmp_path / "none", "train")
    with pytest.raises(UserError, match="splits train and test, found 'val'"):
        load_corpus(audio, "val")
    with pytest.raises(UserError, match="no CSV of descriptors"):
        load_corpus(audio, "train")
    published(tmp_path / "p", PUBLISHED[:-1])
    with pytest.raises(UserError, match="lacks 1 of the 55"):
        load_corpus(tmp_path / "p", "train")
    published(tmp_path / "q")
    (tmp_path / "q" / "zlast.csv").write_bytes(indexed_csv_bytes(NAMES, np.zeros((2, 57))))
    with pytest.raises(UserError, match="zlast.csv has 57 descriptors, take.csv beside it has 55"):
        load_corpus(tmp_path / "q", "train")


def test_ours_changed_by_hand(audio, tmp_path):
    analyse(audio, tmp_path / "c", CorpusJob(held_out=0.0))
    with pytest.raises(UserError, match="no file in its split test"):
        load_corpus(tmp_path / "c", "test")
    path = tmp_path / "c" / "train" / "tone_1.csv"
    text = path.read_text()
    path.write_text(text[: text.rstrip().rindex("\n") + 1])  # its last row is gone
    with pytest.raises(UserError, match="tone_1.csv has 10 rows, corpus.json says 11"):
        load_corpus(tmp_path / "c", "train")
    path.write_text(text.replace("\n0,", "\n0,x", 1))
    with pytest.raises(UserError, match="tone_1.csv is broken"):
        load_corpus(tmp_path / "c", "train")
    path.rename(path.with_name("tone_9.csv"))
    with pytest.raises(UserError, match="tone_9.csv is not in corpus.json"):
        load_corpus(tmp_path / "c", "train")
    (tmp_path / "c" / "train" / "tone_9.csv").unlink()
    with pytest.raises(UserError, match="tone_1.csv is missing"):
        load_corpus(tmp_path / "c", "train")
    (tmp_path / "c" / "corpus.json").write_text(json.dumps({"files": []}))
    with pytest.raises(UserError, match="corpus.json is malformed"):
        load_corpus(tmp_path / "c", "train")
