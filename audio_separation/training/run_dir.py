"""The model dir: which experiment it holds, its records, and how a run leaves it when it is stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Iterator, Optional

import torch
from yacs.config import CfgNode

from audio_separation.config.default import all_keys, default_config
from audio_separation.errors import UserError
from audio_separation.scenes.layout import write_atomic

# keys that do not change what is learnt, so a resumed run may give other values
FREE_KEYS = (
    "DEVICE", "THREADS", "VERBOSE", "NUM_PROCESSES", "DATA.ROOT", "DATA.SOUND_SPACES", "AUDIO.CACHE_MB",
    "AUDITION.CACHE_MB", "AUDIO.RIR_STORE", "MEMORY_UPDATE.CHUNK", "TRAIN.SAVE_EVERY", "TRAIN.CHECKPOINT_EVERY",
    "SB3.SAVE_EVERY", "SYNTH.CORPUS_AUDIO",
)  # fmt: skip
FREE_SECTIONS = ("EVAL.", "OSC.")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure to write below ``path`` (disk full, no permission) into one sentence.

    Raises:
        UserError: that names the path and the reason.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {error.filename or path} ({error.strerror or error}); free some space or give a "
            "--model-dir that may be written to, and run the same command again"
        ) from None


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as indented JSON, whole or not at all."""
    write_atomic(path, (json.dumps(content, indent=1) + "\n").encode())


def plain_config(config: CfgNode) -> dict[str, Any]:
    """The config as ``{dotted key: value}``."""
    flat = {}
    for key in all_keys(config):
        node: Any = config
        for part in key.split("."):
            node = node[part]
        flat[key] = list(node) if isinstance(node, tuple) else node
    return flat


def commit_id() -> str:
    """The checked-out commit, ``+changes`` where the tree differs from it, or ``unknown`` outside git."""
    root = Path(__file__).resolve().parents[2]
    try:
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True
        )
        status = subprocess.run(
            ["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+changes" if status.stdout.strip() else "")


def run_record(config: CfgNode) -> dict[str, Any]:
    """What is saved beside every result: commit, seed, command line, versions, the resolved config."""
    return {
        "commit": commit_id(),
        "seed": config.SEED,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "config": plain_config(config),
    }


def claim_run_dir(path: Path, config: CfgNode) -> bool:
    """Make ``path`` the home of this experiment, or recognise that it is already.

    Returns:
        True where the experiment is there and is to be resumed.

    Raises:
        UserError: when it holds another experiment (named by the first keys that differ) or foreign files, or
            cannot be written.
    """
    record = path / "run.json"
    try:
        begun = record.exists()
        inside = [] if begun or not path.exists() else [p.name for p in path.iterdir()]
    except OSError as error:
        raise UserError(
            f"--model-dir {path} is no folder that can be read ({error.strerror}); give another"
        ) from None
    others = [
        name for name in inside if not name.startswith(".") and name != "eval"
    ]  # scores of a scripted agent
    if others:
        raise UserError(
            f"model dir {path} holds files that are no run of ours ({', '.join(sorted(others)[:3])}); "
            "give an empty or new --model-dir"
        )
    # a run that failed or was stopped before it had learnt anything does not hold its place
    if not begun or not any(path.rglob("*.pth")):
        with writing(path):
            write_json(record, run_record(config))
            write_atomic(path / "config.yaml", config.dump(sort_keys=False).encode())
        return False
    try:
        old = dict(json.loads(record.read_text())["config"])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{record} is damaged; give another --model-dir, or delete this one") from None
    new = plain_config(config)
    fixed = [k for k in new if k not in FREE_KEYS and not k.startswith(FREE_SECTIONS)]
    # a key that is younger than the run had the effect of its default there
    old = {**plain_config(default_config()), **old}
    differing = [k for k in fixed if old[k] != new[k]]
    if differing:
        shown = "; ".join(f"{k} is {old[k]!r} there, {new[k]!r} now" for k in differing[:3])
        raise UserError(
            f"model dir {path} holds another experiment ({shown}); give another --model-dir, "
            "or the same settings to resume"
        )
    return True


# Ctrl-C on torchrun reaches its processes twice, from the terminal and passed on by torchrun
ECHO_S = 2.0


class StopRequest:
    """Turns the first SIGINT, SIGTERM or SIGUSR1 into a flag that a loop reads where it can stop; a later one kills.

    SIGUSR1 is what Slurm is asked to send ahead of the time limit (``scripts/slurm/main.sbatch``).
    """

    def __init__(self) -> None:
        self.signal: Optional[int] = None
        self._time = 0.0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: Optional[FrameType]) -> None:
        now = time.monotonic()
        if self.signal is None:
            self.signal, self._time = number, now
        elif now - self._time > ECHO_S:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    @property
    def exit_code(self) -> int:
        """The shell's convention, 128 + signal; 143 on ranks that only heard of it."""
        return 128 + (self.signal or signal.SIGTERM)


class Progress:
    """Progress lines with rate and time left, at most one every ``every_s`` seconds."""

    def __init__(self, what: str, unit: str, total: int, done: int, enabled: bool, every_s: float = 10.0):
        self._what, self._unit, self._total, self._every_s = what, unit, total, every_s
        self._enabled = enabled
        self._start_done, self._start_time = done, time.monotonic()
        self._last_time = self._start_time

    def rate(self, done: int) -> float:
        """Units per second since the start of this process."""
        return (done - self._start_done) / max(time.monotonic() - self._start_time, 1e-9)

    def line(self, done: int, **values: float) -> None:
        """Print the state, unless the last line is recent and this is not the end."""
        now = time.monotonic()
        if not self._enabled or (now - self._last_time < self._every_s and done < self._total):
            return
        self._last_time = now
        rate = self.rate(done)
        left = (self._total - done) / rate if rate > 0 else 0.0
        shown = "  ".join(f"{key} {value:.4g}" for key, value in values.items())
        print(
            f"{self._what} {done}/{self._total} {self._unit}  {rate:.1f}/s  left {left / 60:.1f} min  {shown}",
            flush=True,
        )
