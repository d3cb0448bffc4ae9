"""What the agent is to sound like, step by step, and data that give no target."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from synth_worlds import HOP, RATE, WINDOW, make_corpus, make_synth_data, make_table, synth_config

from audio_separation.audio.descriptors import NAMES
from audio_separation.audio.synths import make_synth
from audio_separation.envs.synth.feature_csv import csv_bytes, indexed_csv_bytes
from audio_separation.envs.synth.table import LookupTable, save_table
from audio_separation.envs.synth.targets import (
    MODES,
    Piece,
    PieceTarget,
    RandomTarget,
    check_pieces,
    draw_target,
    periods,
)
from audio_separation.envs.synth.world import corpus_folder, open_world, table_folder
from audio_separation.errors import UserError


class Echo:
    """An instrument that sounds like its parameters."""

    num_params = 2

    def sound(self, params):
        return params.copy()


def piece(name, steps):
    return Piece(name, np.arange(steps, dtype=float)[:, None] + [0.0, 100.0])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_synth_data(tmp_path_factory.mktemp("synth"))


# ---- targets --------------------------------------------------------------------------------------------
def test_periods_are_means_without_the_rest():
    frames = np.arange(22.0).reshape(11, 2)
    expected = [frames[:4].mean(0), frames[4:8].mean(0)]
    np.testing.assert_array_equal(periods(frames, 4), expected)
    np.testing.assert_array_equal(periods(frames, 1), frames)
    assert periods(frames, 12).shape == (0, 2)


def test_a_piece_goes_on_to_its_end():
    target = PieceTarget(piece("a", 5), 2)
    assert (target.mode, target.name, target.start, target.params) == ("corpus", "a", 2, None)
    assert [None if s is None else s[0] for s in map(target.at, range(5))] == [2, 3, 4, None, None]


def test_a_static_target_stays_and_draws_nothing():
    rng = np.random.default_rng(0)
    target = RandomTarget(Echo(), 0.0, rng)
    state = rng.bit_generator.state
    for step in range(50):
        np.testing.assert_array_equal(target.at(step), target.params)
    assert target.mode == "static_random" and rng.bit_generator.state == state


def test_a_dynamic_target_changes_as_often_as_asked():
    target = RandomTarget(Echo(), 0.1, np.random.default_rng(0))
    first = target.params
    np.testing.assert_array_equal(target.at(0), first)  # never at the first step
    heard = np.array([target.at(step) for step in range(1, 5001)])
    changes = (np.diff(heard, axis=0) != 0).any(1)
    # binomial: mean 500, deviation 21
    assert target.mode == "dynamic_random" and abs(changes.sum() - 500) < 85
    assert heard.min() < 0.01 and heard.max() > 0.99  # over all of [0, 1]
    np.testing.assert_array_equal(heard[-1], target.params)


@pytest.mark.parametrize("targets", list(MODES))
def test_kinds_are_mixed_evenly(targets):
    rng = np.random.default_rng(0)
    pieces = [piece("a", 30)]
    modes = Counter(draw_target(targets, pieces, Echo(), 0.5, 10, rng).mode for _ in range(400))
    shares = {
        "corpus": {"corpus": 1},
        "static_random": {"static_random": 1},
        "dynamic_random": {"dynamic_random": 1},
        "mixed_random": {"static_random": 0.5, "dynamic_random": 0.5},
        "mixed_random+corpus": {"static_random": 0.25, "dynamic_random": 0.25, "corpus": 0.5},
    }[targets]
    assert set(modes) == set(shares)
    for mode, share in shares.items():
        assert modes[mode] / 400 == pytest.approx(share, abs=0.1)  # four standard deviations


def test_pieces_are_drawn_by_their_length_and_leave_room():
    rng = np.random.default_rng(0)
    pieces = [piece("short", 10), piece("long", 90)]
    drawn = [draw_target("corpus", pieces, Echo(), 0.0, 20, rng) for _ in range(1000)]
    names = Counter(target.name for target in drawn)
    assert names["short"] / 1000 == pytest.approx(0.1, abs=0.04)
    assert {t.start for t in drawn if t.name == "short"} == {0}
    starts = {t.start for t in drawn if t.name == "long"}
    # the first observation and 20 steps after it
    assert min(starts) == 0 and max(starts) == 69
    assert all(t.at(20) is not None for t in drawn if t.name == "long")


def test_a_piece_of_one_step_is_no_target():
    """There is nothing to hear after the first action."""
    pieces = [piece("blip", 1), piece("nothing", 0), piece("two", 2)]
    rng = np.random.default_rng(0)
    names = {draw_target("corpus", pieces, Echo(), 0.0, 20, rng).name for _ in range(100)}
    assert names == {"two"}


def test_check_pieces():
    check_pieces([piece("a", 1)], "mixed_random", "here")
    check_pieces([piece("a", 1), piece("b", 2)], "corpus", "here")
    with pytest.raises(
        UserError, match="here holds no sound of two control periods or more, which SYNTH.TARGETS cor"
    ):
        check_pieces([piece("a", 1)], "corpus", "here")


# ---- the world ------------------------------------------------------------------------------------------
def test_the_world_holds_the_split_in_control_periods(root):
    config = synth_config(root, SYNTH__FRAMES_PER_STEP=5)
    train, val, test = (open_world(config, split) for split in ("train", "val", "test"))
    assert [p.name for p in train.pieces] == [p.name for p in val.pieces] == ["sweep_train"]
    assert [p.name for p in test.pieces] == ["sweep_test"]
    frames = 1 + (round(1.5 * RATE) - WINDOW) // HOP
    assert train.pieces[0].steps.shape == (frames // 5, 4)
    assert (train.period, train.synth_rate_hz, train.num_params) == (5 * HOP, RATE, 2)
    # the sweep of the test begins higher; loudness and centroid are the last columns
    assert test.pieces[0].steps[0, 3] > train.pieces[0].steps[0, 3]


def test_what_acting_takes_is_plain(root):
    world = open_world(synth_config(root), "val")
    plain = json.loads(json.dumps(world.plain()))
    assert (plain["num_params"], plain["table_hash"]) == (2, world.table.hash)
    assert plain["table_settings"]["window"] == WINDOW and len(plain["names"]) == 4


def test_where_things_lie(root, tmp_path):
    config = synth_config(root)
    assert table_folder(config) == root / "synth/tables/sine"
    assert corpus_folder(config) == root / "synth/corpora/sweeps"
    given = synth_config(root, SYNTH__TABLE=tmp_path / "t", SYNTH__CORPUS=tmp_path)
    assert table_folder(given) == tmp_path / "t" and corpus_folder(given) == tmp_path


def test_a_folder_that_happens_to_have_the_name_is_not_the_corpus(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("sweeps", "mine"):
        (tmp_path / name).mkdir()
    assert corpus_folder(synth_config(root)) == root / "synth/corpora/sweeps"
    assert corpus_folder(synth_config(root, SYNTH__CORPUS="mine")).resolve() == tmp_path / "mine"


def test_random_targets_need_no_corpus(root):
    world = open_world(synth_config(root, SYNTH__CORPUS="", SYNTH__TARGETS="mixed_random"), "train")
    assert list(world.pieces) == []


# ---- bad data -------------------------------------------------------------------------------------------
def test_a_corpus_that_is_not_there(root):
    with pytest.raises(UserError, match=r"there is no corpus at .*synth/corpora/jazz"):
        open_world(synth_config(root, SYNTH__CORPUS="jazz"), "train")
    with pytest.raises(
        UserError, match=r"needs a corpus, and SYNTH.CORPUS is empty; name one, or take mixed_random"
    ):
        open_world(synth_config(root, SYNTH__CORPUS=""), "train")
    with pytest.raises(UserError, match="a corpus has the splits train and test, found 'valUnheard'"):
        open_world(synth_config(root), "valUnheard")


def corpus_json(folder, **settings):
    folder.mkdir()
    make_corpus(folder)
    files = {
        f"sweep_{split}": {
            "split": split,
            "frames": len((folder / split / f"sweep_{split}.csv").read_text().split()) - 1,
        }
        for split in ("train", "test")
    }
    (folder / "corpus.json").write_text(json.dumps({"settings": settings, "files": files}))
    return folder


@pytest.mark.parametrize(("key", "value"), [("rate_hz", 44100), ("window", 1024), ("hop", 512)])
def test_a_corpus_of_another_analysis(root, tmp_path, key, value):
    same = {"rate_hz": RATE, "window": WINDOW, "hop": HOP}
    open_world(synth_config(root, SYNTH__CORPUS=corpus_json(tmp_path / "same", **same)), "train")
    other = corpus_json(tmp_path / "other", **{**same, key: value})
    with pytest.raises(
        UserError, match=rf"was analysed with {key} {value}, the lookup table with {same[key]}"
    ):
        open_world(synth_config(root, SYNTH__CORPUS=other), "train")


def test_a_corpus_without_a_whole_control_period(root, tmp_path):
    (tmp_path / "train").mkdir()
    rows = np.random.default_rng(0).random((7, len(NAMES)))
    (tmp_path / "train/short.csv").write_bytes(indexed_csv_bytes(NAMES, rows))
    open_world(synth_config(root, SYNTH__CORPUS=tmp_path, SYNTH__FRAMES_PER_STEP=3), "train")
    with pytest.raises(UserError, match="holds no sound of two control periods or more"):
        open_world(synth_config(root, SYNTH__CORPUS=tmp_path, SYNTH__FRAMES_PER_STEP=4), "train")


def test_a_corpus_that_lacks_what_is_observed(root, tmp_path):
    (tmp_path / "train").mkdir()
    rows = np.random.default_rng(0).random((50, 55))
    (tmp_path / "train/old.csv").write_bytes(indexed_csv_bytes(NAMES[:55], rows))
    with pytest.raises(UserError, match=r"lacks pitch-Hz, pitch-confidence, which SYNTH.FEATURES asks for"):
        open_world(synth_config(root, SYNTH__CORPUS=tmp_path, SYNTH__FEATURES="['all']"), "train")


def test_a_table_that_is_not_there(root, tmp_path):
    with pytest.raises(
        UserError, match=r"no lookup table at .*tables/fm3/lookup_table.csv; compute it with python"
    ):
        open_world(synth_config(root, SYNTH__NAME="fm3"), "train")


def test_a_table_of_another_synthesizer(root, tmp_path):
    folder = root / "synth/tables/sine"
    with pytest.raises(
        UserError, match=r"another synthesizer than sine: rate_hz is 16000 in the table, 8000 here"
    ):
        open_world(synth_config(root, SYNTH__RATE=8000), "train")
    make_table(tmp_path, "fm4", subdivisions=2)
    with pytest.raises(
        UserError, match="has 4 parameters, synthesizer granular has 4|another synthesizer than granular"
    ):
        open_world(synth_config(root, SYNTH__NAME="granular", SYNTH__TABLE=tmp_path), "train")
    with pytest.raises(UserError, match="the lookup table has 2 parameters, synthesizer fm3 has 3"):
        open_world(synth_config(root, SYNTH__NAME="fm3", SYNTH__TABLE=folder), "train")


def test_a_published_table_with_another_number_of_parameters(root, tmp_path):
    """It says nothing but its columns."""
    values = np.concatenate([np.random.default_rng(0).random((9, 4)), np.zeros((9, len(NAMES)))], 1)
    text = csv_bytes([*(f"param-{i}" for i in range(4)), *NAMES], values)
    (tmp_path / "lookup_table.csv").write_bytes(text)
    with pytest.raises(UserError, match="the lookup table has 4 parameters, synthesizer sine has 2"):
        open_world(synth_config(root, SYNTH__TABLE=tmp_path), "train")


def test_a_published_table_says_no_synthesizer_and_is_taken(root, tmp_path):
    made = make_table(tmp_path / "made", subdivisions=3)
    save_table(LookupTable(made.params, made.features, made.names, {}), tmp_path / "old")
    world = open_world(synth_config(root, SYNTH__TABLE=tmp_path / "old"), "train")
    assert world.num_params == make_synth("sine").num_params == 2
    assert world.table.hash != made.hash
