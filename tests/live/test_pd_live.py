"""The real, headless Pure Data: messages in both directions, its start, its death, and a whole dry run."""

from __future__ import annotations

import json
import os
import signal
import socket
import time

import numpy as np
import pytest
import soundfile
from live_fakes import FakePlayer, sweep
from pd_setup import children, write_patch

from audio_separation.audio.puredata.instrument import PdInstrument
from audio_separation.audio.synths import make_synth
from audio_separation.errors import UserError
from audio_separation.live import live_patch
from audio_separation.live.dry_run import dry_run
from audio_separation.live.pd_session import PdSession, Ports
from audio_separation.live.server import LiveServer

RATE, HOP = 44100, 512
SOUND = sweep(0.5, RATE).astype(np.float32)


def sine(patch=None) -> PdInstrument:
    return PdInstrument("sine", 2, patch, RATE, None)


def player() -> FakePlayer:
    return FakePlayer("sine", 2, RATE, HOP)


@pytest.mark.usefixtures("pd")
class TestPureData:
    def test_500_messages_and_none_lost(self):
        with PdSession(sine(), HOP, Ports(timeout_s=10), SOUND) as session:
            session.begin()
            answers: list[float] = []
            for number in range(500):
                session.link.send("/agent-params", number, 0.5, 0.25)
                if number % 20 == 19:  # in bursts
                    answers += [m.arguments[0] for m in session.link.receive(0.005) if m.address == "/ack"]
            end = time.monotonic() + 5
            while len(answers) < 500 and time.monotonic() < end:
                answers += [m.arguments[0] for m in session.link.receive(0.1) if m.address == "/ack"]
            assert answers == list(range(500)) and session.link.malformed == 0

    def test_what_is_heard_sent_and_recorded_is_the_same_sound(self):
        blocks: dict[str, dict[int, np.ndarray]] = {"/audio": {}, "/played": {}}
        with PdSession(sine(), HOP, Ports(timeout_s=10), SOUND, record=True) as session:
            session.begin()
            session.link.send("/agent-params", 0, 0.25, 0.5)
            end = time.monotonic() + len(SOUND) / RATE + 0.1
            while time.monotonic() < end:
                for message in session.link.receive(0.02):
                    if message.address in blocks:
                        blocks[message.address][int(message.arguments[0])] = message.arguments[1:]
            both = session.finish()
        assert np.array_equal(both[: len(SOUND), 0], SOUND)
        for column, name in enumerate(("/audio", "/played")):
            assert sorted(blocks[name]) == list(range(len(blocks[name])))  # from the first one, none lost
            sent = np.concatenate([blocks[name][n] for n in sorted(blocks[name])])
            assert len(sent) > 40 * HOP and np.array_equal(sent, both[: len(sent), column])
        # silent until the first parameters; the sine begins at phase 0, faded in over 5 ms
        first = int(np.flatnonzero(both[:, 1])[0]) - 1
        after = slice(first + 256, first + 4096)
        expected = make_synth("sine").render(np.array([0.25, 0.5]), 0.2)[256:4096]
        assert np.abs(both[after, 1] - expected).max() < 1e-3

    def test_older_parameters_that_come_late_are_not_played(self):
        with PdSession(sine(), HOP, Ports(timeout_s=10), SOUND, record=True) as session:
            session.begin()
            for number, level in ((2**24 - 1, 0.0), (0, 0.5), (2**24 - 1, 1.0), (0, 0.5)):
                session.link.send("/agent-params", number, 0.5, level)
            time.sleep(0.3)
            both = session.finish()
        assert np.abs(both[-4096:, 1]).max() == pytest.approx(0.5, abs=0.01)

    def test_a_dry_run(self, tmp_path):
        sound = sweep(2.0, 22050).astype(np.float32)
        soundfile.write(tmp_path / "in.wav", np.stack([sound, sound], 1), 22050, subtype="FLOAT")
        one = player()
        statistics = dry_run(
            tmp_path / "in.wav",
            tmp_path / "out",
            one,
            np.random.default_rng(0),
            "pd",
            ports=Ports(timeout_s=10),
        )
        both, rate = soundfile.read(tmp_path / "out" / "both.wav")
        assert rate == RATE and len(both) == 2 * RATE
        heard, _ = soundfile.read(tmp_path / "out" / "input.wav")
        assert np.array_equal(heard, both[:, 0]) and np.abs(heard[::2] - sound).max() < 0.05
        played, _ = soundfile.read(tmp_path / "out" / "played.wav")
        assert np.array_equal(played, both[:, 1]) and np.abs(played[RATE:]).max() > 0.05
        # what it plays follows the loudness of what it hears
        assert np.sqrt(np.mean(played[-RATE // 2 :] ** 2)) > 1.3 * np.sqrt(
            np.mean(played[RATE // 4 : RATE // 2] ** 2)
        )
        rows = (tmp_path / "out" / "steps.csv").read_text().splitlines()
        assert rows[0] == "time_s,frequency,amplitude,distance" and len(rows) == 1 + statistics["steps"]
        assert json.loads((tmp_path / "out" / "live.json").read_text()) == statistics
        assert 30 <= statistics["steps"] + statistics["skipped"] + statistics["waiting"] <= 44
        assert statistics["lost_audio"] == statistics["lost_played"] == statistics["malformed"] == 0
        assert statistics["acknowledged"] > 0.8 * statistics["steps"] > 20

    def test_a_dead_pure_data_ends_the_session_soon(self):
        with PdSession(sine(), HOP, Ports(timeout_s=10), SOUND) as session:
            server = LiveServer(player(), session.link, np.random.default_rng(0), check=session.check)
            session.begin()
            begun = time.monotonic()

            def stop() -> bool:
                if time.monotonic() - begun > 0.3 and children():
                    os.kill(session.pid, signal.SIGKILL)
                return False

            with pytest.raises(UserError, match=r"Pure Data was killed by signal 9 while playing .*sine\.pd"):
                server.run(5.0, stop)
            assert time.monotonic() - begun < 1.0

    def test_an_object_that_there_is_not(self, tmp_path):
        patch = write_patch(tmp_path / "mine.pd", extra=("foobar 1",))
        with pytest.raises(UserError, match=r"could not create the object \[foobar 1\]"):
            PdSession(sine(patch), HOP, Ports(timeout_s=10), SOUND)

    def test_nobody_left_to_play_for(self, monkeypatch):
        monkeypatch.setattr(live_patch, "ABANDONED_S", 0.3)
        with PdSession(sine(), HOP, Ports(timeout_s=10), SOUND) as session:
            assert session._process.wait(5.0) and session._process.status == 0  # it quits by itself


def test_no_answer_in_time(tmp_path, monkeypatch):
    program = tmp_path / "pd"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PD", str(program))
    begun = time.monotonic()
    with pytest.raises(UserError, match=r"did not answer within 0.2 s after its start .*raise OSC.TIMEOUT_S"):
        PdSession(sine(), HOP, Ports(timeout_s=0.2), SOUND)
    assert time.monotonic() - begun < 2.0


@pytest.mark.parametrize("key", ["send", "receive"])
def test_a_port_in_use(key):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"OSC.PORT_{key.upper()}: port {port} of 127.0.0.1 is in use"):
            PdSession(sine(), HOP, Ports(**{key: port}), SOUND)


@pytest.mark.parametrize("hop", [100, 16384, 0])
def test_a_hop_that_cannot_be_sent(hop):
    with pytest.raises(UserError, match=f"multiple of 64 samples up to 8192, found {hop}"):
        PdSession(sine(), hop, Ports(), SOUND)
