"""A player without a network, and a Pure Data without sound whose clock is ours."""

from __future__ import annotations

import heapq
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np

from audio_separation.audio.descriptors import NAMES
from audio_separation.live.osc import Message

WAY_S = 0.001  # that a block is under way
LOUDNESS = NAMES.index("loudness-dB")


class FakePlayer:
    """Goes up and down with the loudness of what it hears: the last parameter is the target's, the others drift.

    Attributes:
        heard: (agent's, target's) descriptors of every step.
    """

    def __init__(self, synth_name: str = "sine", num_params: int = 2, rate_hz: int = 16000, hop: int = 256):
        self.synth_name, self.num_params, self.rate_hz = synth_name, num_params, rate_hz
        self.window, self.hop, self.frames_per_step = 2 * hop, hop, 4
        self.patch: Optional[Path] = None
        self.source: Optional[Path] = None
        self.heard: list[tuple[np.ndarray, np.ndarray]] = []

    def reset(self, rng: np.random.Generator) -> np.ndarray:
        self.heard.clear()
        return rng.random(self.num_params)

    def step(self, agent_features: np.ndarray, target_features: np.ndarray, params: np.ndarray) -> np.ndarray:
        self.heard.append((agent_features, target_features))
        following = (params + 0.07) % 1.0
        following[-1] = np.clip(target_features[LOUDNESS], 0, 1)
        return following

    def distance(self, agent_features: np.ndarray, target_features: np.ndarray) -> float:
        return float(abs(agent_features[LOUDNESS] - target_features[LOUDNESS]))

    @property
    def period_s(self) -> float:
        """Of control."""
        return self.frames_per_step * self.hop / self.rate_hz


class FakeLink:
    """A peer that sends blocks of two sounds in time and acknowledges, on a clock that waiting moves.

    Args:
        audio, played: the sounds, ``[L]``.
        hop, rate_hz: of the blocks.
        loses: (address, number) -> whether that block or acknowledgement is lost.
        reply_s: of an acknowledgement.

    Attributes:
        now: the time.
        sent: (time, address, arguments) of all messages to the peer.
    """

    def __init__(
        self,
        audio: np.ndarray,
        played: np.ndarray,
        hop: int,
        rate_hz: int,
        loses: Callable[[str, int], bool] = lambda address, number: False,
        reply_s: float = 0.002,
    ):
        self.now, self.sent = 100.0, []
        self.malformed = self.strangers = 0
        self._loses, self._reply_s = loses, reply_s
        self._queue: list[tuple[float, int, Message]] = []
        self._order = 0
        for number in range(len(audio) // hop):
            for address, sound in (("/audio", audio), ("/played", played)):
                if not loses(address, number):
                    block = sound[number * hop : (number + 1) * hop]
                    at = self.now + (number + 1) * hop / rate_hz + WAY_S
                    self.plan(at, Message(address, np.concatenate([[number], block])))

    def clock(self) -> float:
        return self.now

    def plan(self, at: float, message: Message) -> None:
        """Let a message arrive at a time."""
        self._order += 1
        heapq.heappush(self._queue, (at, self._order, message))

    def send(self, address: str, *arguments: Any) -> None:
        self.sent.append((self.now, address, arguments))
        if address == "/agent-params" and not self._loses("/ack", len(self.sent) - 1):
            self.plan(self.now + self._reply_s, Message("/ack", [float(arguments[0])]))

    def receive(self, timeout_s: float) -> list[Message]:
        end = self.now + max(timeout_s, 1e-6)  # waiting always takes time
        if not self._queue or self._queue[0][0] > end:
            self.now = end
            return []
        self.now = max(self.now, self._queue[0][0])
        found = []
        while self._queue and self._queue[0][0] <= self.now:
            found.append(heapq.heappop(self._queue)[2])
        return found


def sweep(seconds: float, rate_hz: int, level: float = 0.5) -> np.ndarray:
    """A sine that rises and swells, ``[L]``."""
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    return level * (0.2 + 0.8 * time / seconds) * np.sin(2 * np.pi * (300 + 400 * time) * time)
