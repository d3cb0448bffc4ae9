"""How scripts end: the status and the one sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from small_config import REPO

from audio_separation.command_line import run_script
from audio_separation.errors import UserError


def fail(error: BaseException) -> None:
    raise error


def terminate_oneself() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(5)


@pytest.mark.parametrize(
    ("work", "status", "told"),
    [
        (lambda: None, 0, ""),
        (lambda: 1, 1, ""),
        (lambda: fail(UserError("--seed -1: expected 0 or more")), 2, "x: --seed -1: expected 0 or more\n"),
        (
            lambda: fail(OSError(28, "No space left on device", "/a/b")),
            2,
            "x: /a/b: No space left on device\n",
        ),
        (lambda: fail(KeyboardInterrupt()), 130, "\nx: stopped; start again.\n"),
        (terminate_oneself, 143, "\nx: terminated; start again.\n"),
    ],
)
def test_status_and_sentence(work, status, told, capsys):
    before = signal.getsignal(signal.SIGTERM)
    assert run_script("x", work, "start again") == status
    assert capsys.readouterr().err == told
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_fault_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run_script("x", lambda: 1 // 0)


def test_a_reader_that_has_gone_is_no_fault():
    work = "import sys; from audio_separation.command_line import run_script; "
    work += "sys.exit(run_script('x', lambda: print('y' * 9**6)))"
    process = subprocess.Popen(
        [sys.executable, "-c", work], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPO
    )
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait(30) == 141
