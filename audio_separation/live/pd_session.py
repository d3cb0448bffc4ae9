"""A Pure Data that plays live: started, greeted, watched, ended."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np
import soundfile

from audio_separation.audio.puredata.instrument import PdInstrument
from audio_separation.audio.puredata.process import PdProcess, complaint
from audio_separation.errors import UserError
from audio_separation.live.live_patch import FLUSH_MS, INPUT, RECORDING, Wires, check_hop, live_patch
from audio_separation.live.osc import Message, OscLink, bind

SLEEP_MS = 1  # Pure Data's rest between looks at its sockets: the round trip of a message
NO_CARD = "no audio {} devices found"  # Pure Data's words


class Ports(NamedTuple):
    """Where the two processes meet.

    Attributes:
        host: of both ports.
        send: to Pure Data; 0: any that is free.
        receive: from Pure Data; 0: any that is free.
        timeout_s: of the handshake, and of a Pure Data that has fallen silent.
    """

    host: str = "127.0.0.1"
    send: int = 0
    receive: int = 0
    timeout_s: float = 2.0


def sound_card(direction: str) -> bool:
    """Whether Pure Data sees a device for ``direction``, ``input`` or ``output``."""
    with PdProcess(["-listdev", "-send", "; pd quit"]) as process:
        process.wait(10.0)
        return not any(NO_CARD.format(direction) in line for line in process.lines())


def _options(instrument: PdInstrument, card: bool) -> list[str]:
    options = ["-r", str(instrument.rate_hz), "-sleepgrain", str(SLEEP_MS)]
    if card:
        return options
    # preferences name devices, and externals that a patch of one's own may need
    return [*(["-noprefs"] if instrument.own else []), "-noaudio", *options]


class PdSession:
    """A running Pure Data that has answered; leave it as a context manager, and it is ended.

    Args:
        instrument: that it plays.
        hop: samples of a message of sound.
        ports: where it is met.
        sound: mono sound ``[L]`` that it hears; None: the sound card.
        record: record what is heard and played.
        card: use the sound card; else without one.

    Attributes:
        link: to it.

    Raises:
        UserError: ports in use, a patch that fails, no answer in time.
    """

    def __init__(
        self,
        instrument: PdInstrument,
        hop: int,
        ports: Ports,
        sound: Optional[np.ndarray] = None,
        record: bool = False,
        card: bool = False,
    ):
        check_hop(hop)
        self._patch, self._rate_hz, self._ports = instrument.patch, instrument.rate_hz, ports
        self._folder = Path(tempfile.mkdtemp(prefix="pd-"))
        self._process: Optional[PdProcess] = None
        self._link: Optional[OscLink] = None
        try:
            # held until we have ours, so that the two differ, then left to Pure Data
            with bind(ports.host, ports.send, "OSC.PORT_SEND") as reserved:
                port = reserved.getsockname()[1]
                self._link = OscLink(ports.host, port, ports.receive)
            if sound is not None:
                soundfile.write(self._folder / INPUT, sound, instrument.rate_hz, subtype="FLOAT")
            wires = Wires(ports.host, port, self._link.port_receive, hop, sound is not None, record)
            path = self._folder / "live.pd"
            path.write_text(live_patch(instrument, wires, self._folder))
            self._process = PdProcess([*_options(instrument, card), "-open", str(path)])
            self._greet()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> PdSession:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    @property
    def link(self) -> OscLink:
        """To Pure Data."""
        assert self._link is not None
        return self._link

    @property
    def pid(self) -> int:
        """Of Pure Data."""
        assert self._process is not None
        return self._process.pid

    def begin(self) -> None:
        """Let sound in: from here on it is heard, sent and recorded.

        Raises:
            UserError: no answer in time.
        """
        answer = Message("/started", [float(self._rate_hz)])
        if not self.link.ask(Message("/start", []), answer, self._ports.timeout_s):
            self.check()
            raise UserError(
                f"Pure Data did not start at {self._rate_hz} Hz within {self._ports.timeout_s} s; set the sound card "
                "to that rate, or raise OSC.TIMEOUT_S"
            )

    def check(self) -> None:
        """Refuse to go on without Pure Data.

        Raises:
            UserError: it has ended.
        """
        if self._process is not None and self._process.status is not None:
            status = self._process.status
            how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
            raise UserError(
                f"Pure Data {how} while playing {self._patch} ({self._process.last_words()}); start again"
            )

    def finish(self) -> Optional[np.ndarray]:
        """End it in peace; returns what was recorded, heard and played ``[L, 2]``, or None."""
        if self._process is not None and self._process.status is None:
            self.link.send("/quit")
            self._process.wait(FLUSH_MS / 1000 + 2.0)
            self._process.kill()
        path = self._folder / RECORDING
        return soundfile.read(path, dtype="float32", always_2d=True)[0] if path.exists() else None

    def close(self) -> None:
        """End it and remove its files; again is no harm."""
        if self._process is not None:
            self._process.kill()
        if self._link is not None:
            self._link.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _greet(self) -> None:
        assert self._process is not None
        # nobody else answers with this number
        number = int.from_bytes(os.urandom(3), "little")
        question, answer = Message("/ping", [number]), Message("/pong", [float(number)])
        answered = self.link.ask(question, answer, self._ports.timeout_s)
        complained = complaint(self._process.lines(), str(self._patch))
        if complained is not None:
            raise UserError(complained)
        self.check()
        if not answered:
            raise UserError(
                f"Pure Data did not answer within {self._ports.timeout_s} s after its start with {self._patch} "
                f"({self._process.last_words()}); raise OSC.TIMEOUT_S"
            )
