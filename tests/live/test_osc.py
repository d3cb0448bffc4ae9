"""OSC datagrams: what we send and take, ports, and what others may send."""

from __future__ import annotations

import socket
import threading

import numpy as np
import pytest
from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder

from audio_separation.errors import UserError
from audio_separation.live import osc
from audio_separation.live.osc import Message, OscLink, decode, encode

HOST = "127.0.0.1"


@pytest.fixture
def link():
    made = OscLink(HOST, 9)  # nobody hears there
    yield made
    made.close()


@pytest.fixture
def peer():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind((HOST, 0))
        made.settimeout(5)
        yield made


def test_what_is_sent_is_osc():
    message = OscMessage(encode("/agent-params", 7, 0.25, 1.0))
    assert message.address == "/agent-params" and message.params == [7, 0.25, 1.0]
    assert OscMessage(encode("/start")).params == []


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 512, 513])
@pytest.mark.parametrize("address", ["/a", "/abc", "/audio", "/played"])
def test_floats_are_read_at_once(address, count):
    values = np.random.default_rng(count).normal(size=count).astype(np.float32)
    datagram = encode(address, *map(float, values))
    (message,) = decode(datagram)
    assert message.address == address and isinstance(message.arguments, np.ndarray)
    assert (
        np.array_equal(message.arguments, values)
        and OscMessage(datagram).params == message.arguments.tolist()
    )


def test_other_messages_and_bundles_are_read_too():
    builder = OscMessageBuilder("/mixed")
    for value in (1, 0.5, "word", True):
        builder.add_arg(value)
    assert decode(builder.build().dgram) == [Message("/mixed", [1, 0.5, "word", True])]
    bundle = OscBundleBuilder(IMMEDIATELY)
    bundle.add_content(builder.build())
    bundle.add_content(builder.build())
    assert [m.address for m in decode(bundle.build().dgram)] == ["/mixed", "/mixed"]


def test_what_is_no_osc_is_refused_whatever_it_is(link, peer):
    rng = np.random.default_rng(0)
    whole = encode("/audio", *[0.5] * 9)
    datagrams = [
        b"",
        b"/",
        b"\0",
        b"/audio\0\0,ff\0",
        b"/audio\0\0",
        b"#bundle\0" + b"\xff" * 12,
        whole[:-1],
        whole[:-4],
    ]
    datagrams += [rng.bytes(int(n)) for n in rng.integers(1, 200, 300)]
    datagrams += [whole[:k] + rng.bytes(1) + whole[k + 1 :] for k in range(len(whole))]
    taken = refused = 0
    for datagram in datagrams:
        try:
            taken += len(decode(datagram)) >= 0
        except ValueError:
            refused += 1
    assert refused > 250 and taken + refused == len(datagrams)
    for datagram in (b"garbage!", whole, b"\xff" * 64):
        peer.sendto(datagram, (HOST, link.port_receive))
    found = []
    while len(found) + link.malformed < 3:
        found += link.receive(1.0)
    assert [m.address for m in found] == ["/audio"] and link.malformed == 2


def test_ports_in_use_are_named(link, peer):
    taken = peer.getsockname()[1]
    with pytest.raises(UserError, match=rf"OSC.PORT_RECEIVE: port {taken} of {HOST} is in use.*or to 0"):
        OscLink(HOST, 9, taken)
    with pytest.raises(UserError, match=rf"OSC.PORT_SEND: port {taken}"):
        osc.bind(HOST, taken, "OSC.PORT_SEND")
    with pytest.raises(UserError, match="OSC.HOST 203.0.113.7 is no address of this machine"):
        OscLink("203.0.113.7", 9)


def test_asking_until_the_answer_comes(peer):
    link = OscLink(HOST, peer.getsockname()[1])
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def answer():
        back = (HOST, link.port_receive)
        peer.recvfrom(1000)  # the first question is lost
        assert OscMessage(peer.recvfrom(1000)[0]).params == [5]
        stranger.sendto(encode("/pong", 4.0), back)
        peer.sendto(encode("/pong", 4.0), back)  # to another question
        peer.sendto(encode("/pong", 5.0), back)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        assert link.ask(Message("/ping", [5]), Message("/pong", [5.0]), timeout_s=5, every_s=0.02)
        thread.join(5)
        # from now on strangers are not heard
        stranger.sendto(encode("/audio", 1.0), (HOST, link.port_receive))
        peer.sendto(encode("/audio", 2.0), (HOST, link.port_receive))
        found = []
        while not found:
            found = link.receive(1.0)
        assert [m.arguments.tolist() for m in found] == [[2.0]] and link.strangers == 1
    finally:
        link.close()
        stranger.close()


def test_nobody_answers(link):
    assert not link.ask(Message("/ping", [5]), Message("/pong", [5.0]), timeout_s=0.1, every_s=0.02)
