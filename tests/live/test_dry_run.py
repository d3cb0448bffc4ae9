"""Dry runs without Pure Data, and the run type as a whole: files, refusals, ends."""

from __future__ import annotations

import json
import signal
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from live_fakes import FakePlayer, sweep
from pd_setup import write_patch

from audio_separation.audio.descriptors import describe
from audio_separation.audio.synths import make_synth
from audio_separation.errors import UserError
from audio_separation.live import run
from audio_separation.live.dry_run import dry_run
from audio_separation.live.run import play_live

RATE = 16000


def wav(folder, seconds: float = 1.0, rate: int = RATE):
    soundfile.write(folder / "in.wav", sweep(seconds, rate), rate, subtype="FLOAT")
    return folder / "in.wav"


def config(**osc) -> SimpleNamespace:
    keys = {
        "HOST": "127.0.0.1", "PORT_SEND": 0, "PORT_RECEIVE": 0, "TIMEOUT_S": 10.0, "RESEND_S": 0.05, "RESENDS": 5,
        "INPUT": "device", "SECONDS": 0.0, "RECORD": False,
    }  # fmt: skip
    return SimpleNamespace(
        OSC=SimpleNamespace(**{**keys, **osc}), SYNTH=SimpleNamespace(BACKEND="numpy"), SEED=3
    )


def stop_request(after_s: float = -1.0) -> SimpleNamespace:
    """As StopRequest; a signal comes ``after_s``, at once for 0, never for less."""
    made = SimpleNamespace(signal=None, exit_code=130)
    if after_s >= 0:
        threading.Timer(after_s, lambda: setattr(made, "signal", signal.SIGINT)).start()
    return made


@pytest.mark.parametrize("name", ["sine", "fm3", "granular"])
def test_it_plays_what_the_player_chose(tmp_path, name):
    synth = make_synth(name, RATE)
    player = FakePlayer(name, synth.num_params)
    statistics = dry_run(wav(tmp_path), tmp_path / "out", player, np.random.default_rng(3))
    heard, _ = soundfile.read(tmp_path / "out" / "input.wav", dtype="float32")
    played, rate = soundfile.read(tmp_path / "out" / "played.wav", dtype="float32")
    assert rate == RATE and np.array_equal(heard, sweep(1.0, RATE).astype(np.float32)) and len(played) == RATE
    rows = np.genfromtxt(tmp_path / "out" / "steps.csv", delimiter=",", names=True)
    params = np.stack([rows[column] for column in rows.dtype.names[1:-1]], 1)
    assert params.shape == (statistics["steps"], player.num_params) == (15, player.num_params)
    path = np.concatenate([FakePlayer(name, player.num_params).reset(np.random.default_rng(3))[None], params])
    # the CSV has six digits
    expected = synth.render_path(path, 1024)[:RATE]
    assert np.abs(played - expected).max() < 0.02 and np.abs(played).max() > 0.05
    # each step heard the frames of the period before, of both sounds, with a window that reaches back
    for number, (agent, target) in enumerate(player.heard):
        end = (number + 1) * 1024
        for features, sound in ((agent, played), (target, heard)):
            before = np.concatenate([np.zeros(256), sound])[end - 1024 : end + 256]
            assert np.allclose(features, describe(before, RATE, 512, 256).mean(0), rtol=1e-4, atol=1e-2)
    assert np.allclose(rows["time_s"], np.arange(1, 16) * 0.064, atol=1e-3)
    distances = [player.distance(*heard) for heard in player.heard]
    assert statistics["distance_mean"] == pytest.approx(np.mean(distances))
    assert json.loads((tmp_path / "out" / "live.json").read_text()) == statistics


def test_the_same_seed_plays_the_same(tmp_path):
    for out in ("a", "b"):
        dry_run(wav(tmp_path), tmp_path / out, FakePlayer(), np.random.default_rng(3))
    one, two = (soundfile.read(tmp_path / out / "both.wav")[0] for out in ("a", "b"))
    assert np.array_equal(one, two) and one.shape == (RATE, 2)


def test_other_rates_and_a_part_of_the_file(tmp_path):
    statistics = dry_run(
        wav(tmp_path, rate=22050), tmp_path / "out", FakePlayer(), np.random.default_rng(3), seconds=0.5
    )
    assert statistics["seconds"] == 0.5 and len(soundfile.read(tmp_path / "out" / "both.wav")[0]) == RATE // 2


def test_nothing_is_overwritten_unasked(tmp_path):
    path, rng = wav(tmp_path), np.random.default_rng(3)
    dry_run(path, tmp_path / "out", FakePlayer(), rng)
    with pytest.raises(UserError, match=r"out/input.wav is there already"):
        dry_run(path, tmp_path / "out", FakePlayer(), rng)
    before = (tmp_path / "out" / "played.wav").read_bytes()
    dry_run(path, tmp_path / "out", FakePlayer(), np.random.default_rng(4), overwrite=True)
    assert (tmp_path / "out" / "played.wav").read_bytes() != before
    with pytest.raises(UserError, match="is a file, expected a folder"):
        dry_run(path, path, FakePlayer(), rng)


def test_files_that_cannot_be_played_to(tmp_path):
    rng = np.random.default_rng(3)
    with pytest.raises(UserError, match="none.wav does not exist"):
        dry_run(tmp_path / "none.wav", tmp_path / "out", FakePlayer(), rng)
    (tmp_path / "bad.wav").write_text("no sound")
    with pytest.raises(UserError, match="bad.wav: cannot be decoded"):
        dry_run(tmp_path / "bad.wav", tmp_path / "out", FakePlayer(), rng)
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), RATE)
    with pytest.raises(UserError, match="empty.wav: holds no sound"):
        dry_run(tmp_path / "empty.wav", tmp_path / "out", FakePlayer(), rng)
    soundfile.write(tmp_path / "long.wav", np.zeros(3601 * 100, np.float32), 100)
    with pytest.raises(UserError, match="lasts 3601 s, and at most 3600 s"):
        dry_run(tmp_path / "long.wav", tmp_path / "out", FakePlayer(), rng)
    assert not (tmp_path / "out").exists()


def test_a_patch_needs_pure_data(tmp_path):
    player = FakePlayer()
    player.patch = write_patch(tmp_path / "mine.pd")
    with pytest.raises(UserError, match="played by Pure Data alone; set SYNTH.BACKEND pd"):
        dry_run(wav(tmp_path), tmp_path / "out", player, np.random.default_rng(3))


def test_the_run_type(tmp_path, capsys):
    assert play_live(config(), FakePlayer(), tmp_path / "out", str(wav(tmp_path)), stop_request()) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["steps"] == 15
    assert (tmp_path / "out" / "live.json").exists()


def test_a_signal_ends_it_with_its_status_and_what_was_played(tmp_path):
    stop = SimpleNamespace(signal=signal.SIGINT, exit_code=130)
    assert play_live(config(), FakePlayer(), tmp_path / "out", str(wav(tmp_path)), stop) == 130
    assert len(soundfile.read(tmp_path / "out" / "both.wav")[0]) == 1024  # a period


def test_a_sound_card_is_missed(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "sound_card", lambda direction: False)
    with pytest.raises(UserError, match="finds no sound card to listen with.*--dry-run"):
        play_live(config(), FakePlayer(), tmp_path / "out", None, stop_request())


@pytest.mark.usefixtures("pd")
class TestWithPureData:
    def test_a_file_played_in_without_a_sound_card(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(run, "sound_card", lambda direction: False)
        player, osc = (
            FakePlayer("sine", 2, 44100, 512),
            config(INPUT=str(wav(tmp_path)), RECORD=True, SECONDS=0.6),
        )
        assert play_live(osc, player, tmp_path / "out", None, stop_request()) == 0
        printed = capsys.readouterr().out
        assert "nothing will be heard" in printed and f"wrote {tmp_path / 'out'}" in printed
        assert 0.55 < len(soundfile.read(tmp_path / "out" / "both.wav")[0]) / 44100 < 1.2
        with pytest.raises(UserError, match="input.wav is there already"):
            play_live(osc, player, tmp_path / "out", None, stop_request())

    def test_a_signal_ends_it(self, tmp_path, monkeypatch):
        monkeypatch.setattr(run, "sound_card", lambda direction: False)
        osc = config(INPUT=str(wav(tmp_path, 20.0)))
        assert (
            play_live(osc, FakePlayer("sine", 2, 44100, 512), tmp_path / "out", None, stop_request(0.5))
            == 130
        )
        assert not (tmp_path / "out").exists()
