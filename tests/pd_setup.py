"""What tests of Pure Data share: the program or a skip that says how to get it, and none left running."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import psutil
import pytest

from audio_separation.audio.puredata.patch_text import PatchText
from audio_separation.audio.puredata.process import find_pd
from audio_separation.errors import UserError


def program_or_skip() -> str:
    """The program; skips where there is none."""
    try:
        return find_pd()
    except UserError as error:
        pytest.skip(f"needs Pure Data: {error}")


def children() -> list[str]:
    """Command lines of the Pure Data that this process has started and that still run or were not waited for."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if child.name() in ("pd", "puredata", "sleep"):  # sleep: a stand-in for one that hangs
                found.append(" ".join(child.cmdline()) or f"zombie {child.pid}")
        except psutil.NoSuchProcess:
            continue
    return found


def none_left() -> Iterator[None]:
    """Body of a fixture: fails where the test leaves a Pure Data behind."""
    yield
    assert children() == []


def write_patch(path: Path, num_params: int = 2, sound: str = "sine", extra: tuple[str, ...] = ()) -> Path:
    """An abstraction of one's own: a sine of 20 + 2500 p0 Hz with amplitude p1, a filter of it, or silence.

    Args:
        sound: ``sine``, ``silence``, ``nan`` (infinity minus itself).
        extra: objects beside it.
    """
    patch = PatchText()
    inlet, unpack = patch.obj("inlet"), patch.obj("unpack", *["f"] * num_params)
    scale, shift, wave = patch.obj("*", 2500), patch.obj("+", 20), patch.obj("osc~")
    level, out = patch.obj("*~", 0), patch.obj("outlet~")
    patch.chain(inlet, unpack, scale, shift, wave, level)
    patch.connect(unpack, level, outlet=num_params - 1, inlet=1)
    reset, zero = patch.obj("r", "synth-reset"), patch.msg("0")
    patch.chain(reset, zero)
    patch.connect(zero, wave, inlet=1)
    if sound == "sine":
        patch.chain(level, out)
    elif sound == "nan":
        huge, more, minus = patch.obj("*~", 1e30), patch.obj("*~", 1e30), patch.obj("-~")
        patch.chain(wave, huge, more, minus, out)
        patch.connect(more, minus, inlet=1)
    for words in extra:
        patch.obj(*words.split())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(patch.text())
    return path
