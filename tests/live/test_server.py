"""The live loop against a peer with a clock of ours: its rate, what it hears, and what is lost on the way."""

from __future__ import annotations

import numpy as np
import pytest
from live_fakes import FakeLink, FakePlayer, sweep

from audio_separation.audio.descriptors import describe
from audio_separation.errors import UserError
from audio_separation.live.osc import Message
from audio_separation.live.server import LiveServer, Resending, warm_up

SECONDS = 1.0


def session(
    loses=lambda address, number: False, player=None, seconds=SECONDS, reply_s=0.002, resending=None, **more
):
    player = player or FakePlayer()
    audio, played = sweep(seconds, player.rate_hz), sweep(seconds, player.rate_hz, level=0.1)[::-1]
    link = FakeLink(audio, played, player.hop, player.rate_hz, loses, reply_s)
    server = LiveServer(player, link, np.random.default_rng(0), resending, clock=link.clock, **more)
    return player, link, server, audio, played


def times_of(link) -> np.ndarray:
    return np.array([time for time, address, _ in link.sent if address == "/agent-params"]) - 100.0


def test_steps_come_at_a_fixed_rate_and_hear_the_last_frames():
    player, link, server, audio, played = session()
    statistics = server.run(SECONDS)
    period = player.period_s
    count = int(SECONDS / period - 1e-9)
    assert statistics["steps"] == len(player.heard) == count == 15
    assert np.allclose(times_of(link), np.arange(count + 1) * period, atol=1e-4)
    # every step hears the mean of the frames of the period before it
    for number, (agent, target) in enumerate(player.heard):
        # the block that ends at the moment of the step is still under way
        end = round((number + 1) * period * player.rate_hz) - player.hop
        for features, sound in ((agent, played), (target, audio)):
            frames = describe(
                sound[max(0, end - player.window - 3 * player.hop) : end], player.rate_hz, 512, 256
            )
            assert np.allclose(features, frames[-4:].mean(0))
    assert {k: statistics[k] for k in ("lost_audio", "lost_played", "resent", "skipped", "malformed", "stale")} == {
        "lost_audio": 0, "lost_played": 0, "resent": 0, "skipped": 0, "malformed": 0, "stale": 0,
    }  # fmt: skip
    assert statistics["acknowledged"] == count + 1
    assert statistics["latency_ms_median"] == pytest.approx(2.0, abs=0.1)
    assert statistics["latency_ms_worst"] == pytest.approx(2.0, abs=0.1)
    # parameters are numbered one by one, and the last step's are the last sent
    assert [arguments[0] for _, _, arguments in link.sent] == list(range(count + 1))
    assert np.allclose(link.sent[-1][2][1:], server.steps[-1].params)
    assert server.steps[3].distance == pytest.approx(player.distance(*player.heard[3]))


def test_nothing_is_played_to_before_there_is_sound():
    player = FakePlayer()
    player.window = 4096
    server = session(player=player)[2]
    statistics = server.run(0.5)
    assert statistics["waiting"] == 4 and statistics["steps"] == 3  # 4096 samples take 0.256 s


def test_lost_replies_are_asked_for_again_and_stop_nothing():
    calm = session()[2]
    expected = calm.run(SECONDS)["steps"]
    _, link, server, *_ = session(
        lambda address, number: address == "/ack", resending=Resending(after_s=0.01, times=3)
    )
    statistics = server.run(SECONDS)
    assert statistics["steps"] == expected and statistics["acknowledged"] == 0
    numbers = [arguments[0] for _, _, arguments in link.sent]
    assert all(numbers.count(n) == 4 for n in range(expected))  # once, and three times more
    assert statistics["resent"] == 3 * expected + numbers.count(expected) - 1
    assert statistics["unacknowledged"] >= expected and statistics["latency_ms_median"] is None
    again = [arguments for _, _, arguments in link.sent if arguments[0] == 2]
    assert all(arguments == again[0] for arguments in again)


def test_one_lost_reply_is_answered_to_the_second_message():
    _, _, server, *_ = session(
        lambda address, number: address == "/ack" and number == 0, resending=Resending(after_s=0.01)
    )
    statistics = server.run(SECONDS)
    assert statistics["resent"] == 1 and statistics["unacknowledged"] == 0
    assert statistics["latency_ms_worst"] == pytest.approx(12.0, abs=0.2)  # counted from the first


def test_new_parameters_replace_those_that_are_under_way():
    _, _, server, *_ = session(reply_s=0.1, resending=Resending(after_s=0.08))  # longer than a period
    statistics = server.run(SECONDS)
    assert statistics["resent"] == 0 and statistics["steps"] == 15
    # late answers count all the same, with the time they took; that to the last message is still on its way
    assert (statistics["acknowledged"], statistics["unacknowledged"]) == (15, 1)
    assert statistics["latency_ms_median"] == pytest.approx(100.0, abs=2.0)


@pytest.mark.parametrize("every", [7, 3])
def test_lost_sound_delays_descriptors_and_nothing_else(every):
    calm = session()[2].run(SECONDS)
    player, _, server, audio, _ = session(lambda address, number: address == "/audio" and number % every == 2)
    statistics = server.run(SECONDS)
    # a run of whole frames may begin later
    assert statistics["steps"] + statistics["waiting"] == calm["steps"] and statistics["waiting"] <= 2
    assert statistics["lost_played"] == statistics["skipped"] == 0
    arrived = int(SECONDS * player.rate_hz / player.hop)
    assert statistics["lost_audio"] == sum(n % every == 2 for n in range(arrived))
    frames = describe(audio, player.rate_hz, player.window, player.hop)
    for _, target in player.heard:
        # a mean of frames that were whole
        means = [
            frames[i:j].mean(0) for i in range(len(frames)) for j in range(i + 1, min(i + 5, len(frames) + 1))
        ]
        assert min(np.abs(target - mean).max() for mean in means) < 1e-9


def test_sound_that_is_lost_for_good_leaves_the_last_descriptors():
    player, _, server, *_ = session(lambda address, number: address == "/audio" and number >= 30)
    statistics = server.run(SECONDS)
    assert statistics["steps"] == 15 and statistics["stale"] >= 6
    assert all(np.array_equal(target, player.heard[-1][1]) for _, target in player.heard[-6:])


def test_a_slow_step_is_not_made_up_for():
    player, link, server, *_ = session()
    quick = player.step

    def slow(agent, target, params):
        if len(player.heard) == 2:
            link.now += 3.5 * player.period_s
        return quick(agent, target, params)

    player.step = slow
    statistics = server.run(SECONDS)
    gaps = np.diff([step.time_s for step in server.steps])
    assert gaps.max() == pytest.approx(3.5 * player.period_s, rel=0.01)
    # afterwards the steps keep to the old beat
    beat = np.array([step.time_s for step in server.steps[5:]]) / player.period_s
    assert np.allclose(beat, np.round(beat), atol=1e-3)
    assert statistics["steps"] + statistics["skipped"] == 15
    assert statistics["slowest_step_ms"] == pytest.approx(3500 * player.period_s, rel=0.01)


def test_a_peer_that_falls_silent_is_given_up():
    _, link, server, *_ = session(lambda address, number: number >= 20, resending=Resending(timeout_s=0.3))
    with pytest.raises(UserError, match=r"sent no sound for 0.3 s.*OSC.TIMEOUT_S"):
        server.run()
    assert link.now - 100.0 == pytest.approx(20 * 256 / 16000 + 0.3, abs=0.06)


def test_acknowledgements_alone_are_no_sign_of_life():
    _, _, server, *_ = session(
        lambda address, number: address in ("/audio", "/played"), resending=Resending(timeout_s=0.3)
    )
    with pytest.raises(UserError, match="sent no sound"):
        server.run()


def test_a_peer_that_ends_is_told_at_once():
    def check():
        if link.now > 100.4:
            raise UserError("ended")

    _, link, server, *_ = session(check=lambda: check())
    with pytest.raises(UserError, match="ended"):
        server.run(SECONDS)
    assert link.now < 100.46


def test_a_step_for_nothing_comes_before_all_others():
    player, _, server, *_ = session()
    warm_up(player)
    ((agent, target),) = player.heard
    assert np.array_equal(agent, target) and np.isfinite(agent).all()
    assert server.run(0.5)["steps"] == len(player.heard) == 7


def test_it_stops_when_asked():
    _, link, server, *_ = session()
    statistics = server.run(stop=lambda: link.now > 100.5)
    assert statistics["seconds"] == pytest.approx(0.5, abs=0.06) and statistics["steps"] == 7


def test_messages_that_make_no_sense_are_counted():
    _, link, server, *_ = session()
    odd = [
        Message("/audio", np.zeros(3)),
        Message("/audio", []),
        Message("/audio", ["x"] * 257),
        Message("/audio", np.full(257, np.nan)),
        Message("/played", np.concatenate([[-1.0], np.zeros(256)])),
        Message("/ack", []),
        Message("/ack", ["one"]),
        Message("/ack", [float("nan")]),
        Message("/something", [1]),
    ]
    for number, message in enumerate(odd):
        link.plan(100.1 + 0.01 * number, message)
    link.plan(100.3, Message("/pong", [1.0]))  # late answers are no mistake
    statistics = server.run(SECONDS)
    assert statistics["malformed"] == len(odd) and statistics["steps"] == 15
    assert statistics["lost_audio"] == statistics["lost_played"] == 0


def test_parameters_outside_their_range_are_refused():
    player = FakePlayer()
    player.step = lambda *features: np.array([0.5, 1.5])
    with pytest.raises(UserError, match=r"must lie in \[0, 1\]"):
        session(player=player)[2].run(SECONDS)
