"""OSC messages over UDP between our process and the one that makes sound."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import time
from typing import NamedTuple, Optional, Union

import numpy as np
from pythonosc.osc_message_builder import OscMessageBuilder
from pythonosc.osc_packet import OscPacket

from audio_separation.errors import UserError

LARGEST_DATAGRAM = 65507  # bytes
RECEIVE_BUFFER = 1 << 22  # bytes asked for: sound keeps arriving while a step is computed
SEQUENCE = 1 << 24  # numbers of messages run up to here and begin again: Pure Data's floats count no further

Arguments = Union[list, np.ndarray]


class Message(NamedTuple):
    """A message that has arrived.

    Attributes:
        address: such as ``/audio``.
        arguments: an array ``[n]`` where all are 32-bit floats, else a list.
    """

    address: str
    arguments: Arguments


def ahead(new: int, old: int) -> int:
    """By how much number ``new`` lies after ``old`` (before: negative), of numbers that begin again at SEQUENCE."""
    return (new - old + SEQUENCE // 2) % SEQUENCE - SEQUENCE // 2


def decode(datagram: bytes) -> list[Message]:
    """The messages of a datagram.

    Raises:
        ValueError: it is no OSC.
    """
    floats = _only_floats(datagram)
    if floats is not None:
        return [floats]
    try:
        # python-osc lets errors of several kinds through for what is no OSC
        return [
            Message(timed.message.address, list(timed.message.params))
            for timed in OscPacket(datagram).messages
        ]
    except Exception as error:
        raise ValueError(f"no OSC: {error}") from None


def _only_floats(datagram: bytes) -> Optional[Message]:
    """A message of floats alone, 40 times faster than argument by argument; None for all others."""
    if datagram[:1] != b"/" or len(datagram) % 4:
        return None
    address, _, _ = datagram.partition(b"\0")
    begin = 4 * (len(address) // 4 + 1)
    tags = datagram[begin:].partition(b"\0")[0]
    count = len(tags) - 1
    body = begin + 4 * (len(tags) // 4 + 1)
    if count < 1 or tags != b"," + b"f" * count or len(datagram) != body + 4 * count or not address.isascii():
        return None
    return Message(address.decode("ascii"), np.frombuffer(datagram, ">f4", count, body).astype(np.float64))


def encode(address: str, *arguments: Union[int, float]) -> bytes:
    """A datagram; ints as 32-bit ints, floats as 32-bit floats."""
    builder = OscMessageBuilder(address)
    for value in arguments:
        builder.add_arg(value, "i" if isinstance(value, int) else "f")
    return builder.build().dgram


def bind(host: str, port: int, key: str) -> socket.socket:
    """A UDP socket of ``host``.

    Args:
        port: 0: any that is free.
        key: of the config that names the port.

    Raises:
        UserError: the port is in use, or the host is none of this machine.
    """
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.bind((host, port))
    except OSError as error:
        made.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            taken = "in use" if error.errno == errno.EADDRINUSE else "not for programs of users"
            raise UserError(
                f"{key}: port {port} of {host} is {taken}; end what uses it, or set {key} to another port, or to 0 for "
                "any that is free"
            ) from None
        raise UserError(
            f"OSC.HOST {host} is no address of this machine ({error.strerror or error}); 127.0.0.1 is a good one"
        ) from None
    return made


class OscLink:
    """A socket that hears ``port_receive`` and sends to ``port_send``.

    Args:
        host: of both ports.
        port_send: of the other process.
        port_receive: ours; 0: any that is free.

    Attributes:
        port_receive: that it hears.
        malformed: datagrams that were no OSC.
        strangers: datagrams of others than the peer, once :meth:`ask` has found it.

    Raises:
        UserError: as :func:`bind`.
    """

    def __init__(self, host: str, port_send: int, port_receive: int = 0):
        self._socket = bind(host, port_receive, "OSC.PORT_RECEIVE")
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self._target = (host, port_send)
        self.port_receive = self._socket.getsockname()[1]
        self.malformed = self.strangers = 0
        self._peer: Optional[tuple[str, int]] = None

    def send(self, address: str, *arguments: Union[int, float]) -> None:
        """Send a message; nobody learns here whether it arrives."""
        with contextlib.suppress(BlockingIOError, ConnectionError):  # as good as lost on the way
            self._socket.sendto(encode(address, *arguments), self._target)

    def receive(self, timeout_s: float) -> list[Message]:
        """All messages that are there, waiting up to ``timeout_s`` for the first."""
        return [message for message, _ in self._receive(timeout_s)]

    def ask(self, question: Message, answer: Message, timeout_s: float, every_s: float = 0.05) -> bool:
        """Send ``question`` until ``answer`` comes; from then on nobody but its sender is heard.

        Returns:
            False where none has come in time.
        """
        end = time.monotonic() + timeout_s
        while True:
            self.send(question.address, *question.arguments)
            asked_again = min(time.monotonic() + every_s, end)
            while (left_s := asked_again - time.monotonic()) > 0:
                for message, sender in self._receive(left_s):
                    if message.address == answer.address and list(message.arguments) == list(
                        answer.arguments
                    ):
                        self._peer = sender
                        return True
            if time.monotonic() >= end:
                return False

    def _receive(self, timeout_s: float) -> list[tuple[Message, tuple[str, int]]]:
        if not select.select([self._socket], [], [], max(0.0, timeout_s))[0]:
            return []
        found: list[tuple[Message, tuple[str, int]]] = []
        # bounded, so that a flood of messages does not hold the control clock up
        for _ in range(256):
            try:
                datagram, sender = self._socket.recvfrom(LARGEST_DATAGRAM)
            except (BlockingIOError, ConnectionError):
                break
            if self._peer is not None and sender != self._peer:
                self.strangers += 1
                continue
            try:
                found += [(message, sender) for message in decode(datagram)]
            except ValueError:
                self.malformed += 1
        return found

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()
