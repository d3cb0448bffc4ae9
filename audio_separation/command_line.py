"""How every script ends: its exit status, and one sentence for a user's mistake."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Callable, Optional

from audio_separation.errors import UserError

GO_ON = "run the same command again to go on"


class _Terminated(BaseException):
    """SIGTERM."""


def _terminate(signum: int, frame: Optional[FrameType]) -> None:
    raise _Terminated


def run_script(name: str, work: Callable[[], Optional[int]], stopped: str = GO_ON) -> int:
    """Run the ``work`` of script ``name`` and return the exit status.

    It is what ``work`` returns (0 for None), 2 after a mistake of the user or a fault of the disk, 130 after Ctrl-C
    and 143 after SIGTERM. The last three are told on stderr; ``stopped`` says what becomes of an interrupted run.
    Where the reader of its output has gone (``| head``) it is 141, without a word.
    """
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        status = work() or 0
        sys.stdout.flush()  # here, where a broken pipe is caught
        return status
    except UserError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # python would complain again when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # a full disk, a file that may not be read
        print(f"{name}: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\n{name}: stopped; {stopped}.", file=sys.stderr)
        return 130
    except _Terminated:
        print(f"\n{name}: terminated; {stopped}.", file=sys.stderr)
        return 143
    finally:
        signal.signal(signal.SIGTERM, before)
