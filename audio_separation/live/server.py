"""The live loop: hears what Pure Data hears and plays, and sends parameters at a fixed rate.

One thread waits for whatever comes first: a message, the next step, a message to be sent again. Nothing that is lost
on the way stops it; only a Pure Data that has ended, or that sends no sound for too long, does.
"""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional, Protocol

import numpy as np

from audio_separation.audio.descriptors import describe
from audio_separation.audio.synths import check_params
from audio_separation.errors import UserError
from audio_separation.live.blocks import BlockStream
from audio_separation.live.osc import SEQUENCE, Message

LONGEST_WAIT_S = 0.05  # between looks at the process and at requests to stop
LATENCIES = 100_000  # the newest that the median is taken of
AWAITED = 1000  # messages whose acknowledgement may still come


class Player(Protocol):
    """What plays; :class:`audio_separation.live.player.SynthPlayer` is one. It may have ``distance``, as that has."""

    synth_name: str
    num_params: int
    rate_hz: int
    window: int
    hop: int
    frames_per_step: int
    patch: Optional[Path]
    source: Optional[Path]

    def reset(self, rng: np.random.Generator) -> np.ndarray:
        """The first parameters, ``[P]``."""

    def step(self, agent_features: np.ndarray, target_features: np.ndarray, params: np.ndarray) -> np.ndarray:
        """The next parameters ``[P]`` in [0, 1], from descriptors ``[D]`` of both sounds; also before :meth:`reset`."""


class Link(Protocol):
    """See :class:`audio_separation.live.osc.OscLink`."""

    malformed: int
    strangers: int

    def send(self, address: str, *arguments: Any) -> None:
        """Send a message."""

    def receive(self, timeout_s: float) -> list[Message]:
        """All messages that are there, waiting up to ``timeout_s`` for the first."""


class LiveStep(NamedTuple):
    """A control step.

    Attributes:
        time_s: since the beginning.
        params: sent, ``[P]``.
        distance: of the two sounds before it, as the player has it; None where it has none.
    """

    time_s: float
    params: np.ndarray
    distance: Optional[float]


class Resending(NamedTuple):
    """When messages go out again.

    Attributes:
        after_s: without an acknowledgement.
        times: at most.
        timeout_s: of silence, after which Pure Data is given up.
    """

    after_s: float = 0.05
    times: int = 5
    timeout_s: float = 2.0


class _Pending(NamedTuple):
    number: int
    params: np.ndarray
    due: float
    left: int


def distance_of(player: Any, agent: np.ndarray, target: np.ndarray) -> Optional[float]:
    """The player's distance of two sounds, where it has one."""
    measure = getattr(player, "distance", None)
    return None if measure is None else float(measure(agent, target))


def warm_up(player: Player) -> None:
    """Make one step for nothing: the first one loads libraries and compiles, for a second or more."""
    noise = np.random.default_rng(0).uniform(
        -0.1, 0.1, player.window + (player.frames_per_step - 1) * player.hop
    )
    features = describe(noise, player.rate_hz, player.window, player.hop).mean(0)
    player.step(features, features, np.full(player.num_params, 0.5))
    distance_of(player, features, features)


class LiveServer:
    """Plays until told to stop.

    Args:
        player: what plays.
        link: to Pure Data.
        rng: of the player's first parameters.
        resending: of messages.
        check: raises where Pure Data has ended.
        clock: seconds.

    Attributes:
        steps: that were made.
    """

    def __init__(
        self,
        player: Player,
        link: Link,
        rng: np.random.Generator,
        resending: Optional[Resending] = None,
        check: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._player, self._link, self._rng = player, link, rng
        self._resending = resending if resending is not None else Resending()
        self._check, self._clock = check, clock
        self.period_s = player.frames_per_step * player.hop / player.rate_hz
        size = (player.rate_hz, player.window, player.hop, player.frames_per_step)
        self._streams = {"/audio": BlockStream(*size), "/played": BlockStream(*size)}
        self.steps: list[LiveStep] = []
        self._params = np.zeros(player.num_params)
        self._number = -1
        self._pending: Optional[_Pending] = None
        self._awaited: dict[int, float] = {}  # number of a message -> when it was sent first
        self._latencies_s: deque[float] = deque(maxlen=LATENCIES)
        self._worst_s = self._seconds = self._slowest_step_s = 0.0
        self._counts = dict.fromkeys(
            ("skipped", "waiting", "acknowledged", "resent", "unacknowledged", "malformed"), 0
        )

    def run(self, seconds: float = 0.0, stop: Callable[[], bool] = lambda: False) -> dict[str, Any]:
        """Play.

        Args:
            seconds: to play; 0: until stopped.
            stop: asked at least every ``LONGEST_WAIT_S``.

        Returns:
            the statistics, see :meth:`statistics`.

        Raises:
            UserError: Pure Data has ended, or is silent for too long.
        """
        begun = heard = self._clock()
        self._params = check_params(
            self._player.reset(self._rng), self._player.num_params, self._player.synth_name
        )
        self._send_params(begun)
        due = begun + self.period_s
        while True:
            now = self._clock()
            self._seconds = now - begun
            if stop() or (seconds and self._seconds >= seconds):
                return self.statistics()
            self._check()
            if now - heard > self._resending.timeout_s:
                raise UserError(
                    f"Pure Data has sent no sound for {self._resending.timeout_s} s, although it runs; look whether "
                    "the sound card is held by another program, or raise OSC.TIMEOUT_S"
                )
            self._send_again(now)
            if now >= due:
                # what was missed is not made up for
                missed = int((now - due) / self.period_s)
                self._counts["skipped"] += missed
                due += (1 + missed) * self.period_s
                self._step(now - begun)
            for message in self._link.receive(self._wait_s(due)):
                if self._take(message):
                    heard = self._clock()

    def statistics(self) -> dict[str, Any]:
        """What happened so far, as plain data; times in ms are from parameters to their acknowledgement.

        ``skipped`` steps were late by a period or more; ``waiting`` ones came before there was sound to hear.
        """
        audio, played = self._streams["/audio"], self._streams["/played"]
        latencies = np.array(self._latencies_s) * 1000
        return {
            "seconds": self._seconds,
            "period_s": self.period_s,
            "steps": len(self.steps),
            **self._counts,
            "unacknowledged": self._counts["unacknowledged"] + len(self._awaited),
            "malformed": self._counts["malformed"] + self._link.malformed,
            "strangers": self._link.strangers,
            "lost_audio": audio.lost,
            "lost_played": played.lost,
            "reordered": audio.reordered + played.reordered,
            "stale": audio.stale + played.stale,
            "latency_ms_median": float(np.median(latencies)) if len(latencies) else None,
            "latency_ms_worst": self._worst_s * 1000 if len(latencies) else None,
            "slowest_step_ms": self._slowest_step_s * 1000,
        }

    def _wait_s(self, due: float) -> float:
        now = self._clock()
        again = self._pending.due - now if self._pending is not None else LONGEST_WAIT_S
        return max(0.0, min(LONGEST_WAIT_S, due - now, again))

    def _step(self, time_s: float) -> None:
        begun = self._clock()
        target, agent = self._streams["/audio"].features(), self._streams["/played"].features()
        if target is None or agent is None:
            self._counts["waiting"] += 1
            return
        distance = distance_of(self._player, agent, target)
        wanted = self._player.step(agent, target, self._params)
        self._params = check_params(wanted, self._player.num_params, self._player.synth_name)
        self._send_params(self._clock())
        self.steps.append(LiveStep(time_s, self._params, distance))
        self._slowest_step_s = max(self._slowest_step_s, self._clock() - begun)

    def _send_params(self, now: float) -> None:
        # the newest parameters alone count: those before are not sent again
        self._number = (self._number + 1) % SEQUENCE
        self._pending = _Pending(
            self._number, self._params, now + self._resending.after_s, self._resending.times
        )
        self._awaited[self._number] = now
        if len(self._awaited) > AWAITED:
            del self._awaited[next(iter(self._awaited))]
            self._counts["unacknowledged"] += 1
        self._link.send("/agent-params", self._number, *map(float, self._params))

    def _send_again(self, now: float) -> None:
        pending = self._pending
        if pending is None or now < pending.due:
            return
        if pending.left == 0:
            self._pending = None
            return
        self._counts["resent"] += 1
        self._pending = pending._replace(due=now + self._resending.after_s, left=pending.left - 1)
        self._link.send("/agent-params", pending.number, *map(float, pending.params))

    def _take(self, message: Message) -> bool:
        """Use a message; True where it is sound."""
        values = message.arguments
        if message.address in self._streams and self._is_block(values):
            self._streams[message.address].put(int(values[0]), np.asarray(values[1:]))
            return True
        if message.address == "/ack" and len(values) == 1 and _is_number(values[0]):
            self._acknowledge(int(values[0]))
        elif message.address not in ("/pong", "/started"):  # answers to what was asked twice
            self._counts["malformed"] += 1
        return False

    def _is_block(self, values: Any) -> bool:
        return (
            isinstance(values, np.ndarray)
            and len(values) == self._player.hop + 1
            and bool(np.isfinite(values).all())
            and _is_number(values[0])
        )

    def _acknowledge(self, number: int) -> None:
        sent = self._awaited.pop(number, None)
        if sent is None:
            return  # a second time, after it was sent again
        latency_s = self._clock() - sent
        self._latencies_s.append(latency_s)
        self._worst_s = max(self._worst_s, latency_s)
        self._counts["acknowledged"] += 1
        if self._pending is not None and number == self._pending.number:
            self._pending = None


def _is_number(value: Any) -> bool:
    """Whether an argument can be the number of a message."""
    return isinstance(value, (int, float)) and 0 <= value < SEQUENCE
