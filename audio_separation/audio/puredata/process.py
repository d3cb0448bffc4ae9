"""Pure Data as a process: found, started without windows, bounded in time, its complaints told in a sentence."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any, Optional, Sequence

from audio_separation.errors import UserError

PROGRAMS = ("pd", "puredata")
HEAD_LINES, TAIL_LINES = 200, 50  # kept of what a process prints; a patch may print without end
LINE_CHARS = 500
_PREFIX = re.compile(r"^(verbose\(\d+\)|error|warning):\s*")
INSTALL = (
    "install it (Debian and Ubuntu: apt install puredata-core; macOS and Windows: puredata.info), or name the program "
    "in the environment variable PD, or set SYNTH.BACKEND numpy"
)


def find_pd() -> str:
    """The program: what the environment variable ``PD`` names, else ``pd`` of the path or of a macOS application.

    Raises:
        UserError: that says how to install it.
    """
    named = os.environ.get("PD", "")
    if named:
        found = shutil.which(named)
        if found is None:
            raise UserError(
                f"the environment variable PD names {named}, which is no program that can be run; correct or unset it"
            )
        return found
    bundled = sorted(Path("/Applications").glob("Pd*.app/Contents/Resources/bin/pd"))
    for program in (*PROGRAMS, *map(str, reversed(bundled))):
        found = shutil.which(program)
        if found is not None:
            return found
    raise UserError(f"Pure Data (the program pd) was not found; {INSTALL}")


class PdProcess:
    """A running Pure Data without windows, in a process group of its own.

    Args:
        arguments: after ``pd -nogui``.
    """

    def __init__(self, arguments: Sequence[str]):
        self._head: list[str] = []
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [find_pd(), "-nogui", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> PdProcess:
        return self

    def __exit__(self, *error: Any) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """Of the process, and of its group."""
        return self._process.pid

    @property
    def status(self) -> Optional[int]:
        """The exit status, minus the signal that killed it; None while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; False where it still runs after ``timeout_s``."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        self._reader.join(1.0)
        return True

    def kill(self) -> None:
        """End the process and all that it has started; again is no harm."""
        # what it has started may outlive it
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(1.0)
        if self._process.stdout is not None and not self._reader.is_alive():
            self._process.stdout.close()

    def lines(self) -> list[str]:
        """The first and the last lines that it has printed."""
        with self._lock:
            return [*self._head, *self._tail]

    def last_words(self, count: int = 3) -> str:
        """Its last lines, for an error."""
        words = [_PREFIX.sub("", line) for line in self.lines()[-count:]]
        return "its last words: " + " / ".join(words) if words else "it has printed nothing"

    def _read(self) -> None:
        assert self._process.stdout is not None
        while True:
            # a line without an end is cut
            data = self._process.stdout.readline(LINE_CHARS)
            if not data:
                return
            line = data.decode("utf-8", "replace").strip()
            if line:
                with self._lock:
                    (self._head if len(self._head) < HEAD_LINES else self._tail).append(line)


def complaint(lines: Sequence[str], patch: str) -> Optional[str]:
    """The first thing that Pure Data has complained of, as a sentence that names ``patch`` and the object."""
    for number, line in enumerate(lines):
        if "couldn't create" in line:
            thing = _PREFIX.sub("", lines[number - 1]) if number else "?"
            return (
                f"{patch}: Pure Data could not create the object [{thing}]; install the external that has it, or put "
                "its .pd file beside the patch"
            )
        if line.startswith("error:"):
            return f"{patch}: Pure Data complains: {_PREFIX.sub('', line)}; mend the patch"
    return None


def run_pd(arguments: Sequence[str], timeout_s: float, patch: str) -> list[str]:
    """Run Pure Data to its end: the lines that it has printed.

    Args:
        arguments: after ``pd -nogui``.
        timeout_s: after which it is killed.
        patch: what it plays, for errors.

    Raises:
        UserError: it does not end in time, fails, or complains.
    """
    begun = time.monotonic()
    with PdProcess(arguments) as process:
        while not process.wait(0.25):
            complained = complaint(process.lines(), patch)
            if complained is not None:
                raise UserError(complained)
            if time.monotonic() - begun > timeout_s:
                raise UserError(
                    f"{patch}: Pure Data had not finished after {timeout_s:.0f} s and was ended "
                    f"({process.last_words()}); look for a loop in the patch, or for what makes it slow"
                )
        lines = process.lines()
        complained = complaint(lines, patch)
        if complained is not None:
            raise UserError(complained)
        if process.status != 0:
            raise UserError(
                f"{patch}: Pure Data ended with status {process.status} ({process.last_words()}); try the patch in "
                "Pure Data itself"
            )
    return lines
