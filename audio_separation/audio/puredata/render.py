"""Sounds of parameters by Pure Data, without a sound card and faster than real time.

One process renders many rows: a generated patch gives the parameters of row after row to the instrument, resets it,
and records into an array that is written to a float WAV file. Rows begin at multiples of Pure Data's block of 64
samples. Measured against the closed form over 0.5 s at 44.1 kHz: see ``tests/puredata/test_pd_render.py``.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np
import soundfile
from numpy.typing import ArrayLike

from audio_separation.audio.puredata.instrument import RAMP, RESET, PdInstrument
from audio_separation.audio.puredata.patch_text import PatchText, lines_text
from audio_separation.audio.puredata.process import run_pd
from audio_separation.audio.synths import RAMP_SECONDS, RATE, check_params
from audio_separation.errors import UserError

BLOCK = 64  # samples that Pure Data computes at once
CHUNK = 1 << 21  # samples recorded before they are written; a float of Pure Data's arrays takes 8 bytes
SETTLING_BLOCKS = 4  # the first blocks may still have another rate
BAD = "synth-bad-samples"
# where the whole output of a patch is silent, it is listened to with these before it is believed
PROBES = (0.5, 1.0, 0.25, 0.75)
PROBE_SECONDS = 0.25


class Schedule(NamedTuple):
    """How rows follow one another.

    Attributes:
        period: samples of a row.
        resets: every row begins anew, else the first alone and the others are glided to.
    """

    period: int
    resets: bool


class PdSynth:
    """A synthesizer that Pure Data plays; see :class:`audio_separation.audio.synths.Synth`.

    Every sound starts from phase 0 where the patch obeys ``synth-reset``, as ours do; what a patch of one's own still
    lets sound of the row before (a reverberation) is heard in the next.

    Args:
        name, num_params, patch, rate_hz, source: see :class:`PdInstrument`.

    Attributes:
        start_s: allowed to a process beside twice the length of the sound that it renders.

    Raises:
        UserError: as :class:`PdInstrument`.
    """

    def __init__(
        self,
        name: str,
        num_params: int,
        patch: Optional[Path] = None,
        rate_hz: int = RATE,
        source: Optional[Path] = None,
    ):
        self._instrument = PdInstrument(name, num_params, patch, rate_hz, source)
        self.name, self.rate_hz, self.param_names = name, rate_hz, self._instrument.param_names
        self.start_s = 20.0
        self._heard = self._instrument.own

    @property
    def num_params(self) -> int:
        return len(self.param_names)

    def describe(self) -> dict[str, Any]:
        return self._instrument.describe()

    def render(self, params: np.ndarray, seconds: float) -> np.ndarray:
        return self.render_rows(np.asarray(params)[None], seconds)[0]

    def render_rows(self, rows: ArrayLike, seconds: float) -> np.ndarray:
        """Sounds of parameters ``[R, P]`` by one process: float32 ``[R, L]``.

        Raises:
            UserError: for bad parameters, no Pure Data, or a patch that fails, makes no sound or no numbers.
        """
        checked = self._checked(rows)
        length = round(seconds * self.rate_hz)
        if not len(checked) or not length:
            return np.zeros((len(checked), length), np.float32)
        period = math.ceil(length / BLOCK) * BLOCK
        wave = self._play(checked, Schedule(period, resets=True))
        return wave.reshape(len(checked), period)[:, :length].copy()

    def render_path(self, path: ArrayLike, period: int) -> np.ndarray:
        checked = self._checked(path)
        if not len(checked) or not period:
            return np.zeros(len(checked) * period, np.float32)
        return self._play(checked, Schedule(period, resets=False))

    def _checked(self, rows: ArrayLike) -> np.ndarray:
        return np.array([check_params(row, self.num_params, self.name) for row in np.asarray(rows, float)])

    def _play(self, rows: np.ndarray, schedule: Schedule) -> np.ndarray:
        """``[R period]``; silence of a patch of one's own is believed only where it can sound at all."""
        wave = self._run(rows, schedule)
        if not self._heard and not wave.any():
            probes = np.repeat(np.array(PROBES)[:, None], self.num_params, 1)
            period = math.ceil(PROBE_SECONDS * self.rate_hz / BLOCK) * BLOCK
            if not self._run(probes, Schedule(period, resets=True)).any():
                raise UserError(
                    f"{self._instrument.patch}: the patch makes no sound, whatever its parameters; it needs one inlet "
                    f"that takes a list of {self.num_params} numbers and one outlet~"
                )
        self._heard = True
        return wave

    def _run(self, rows: np.ndarray, schedule: Schedule) -> np.ndarray:
        total = len(rows) * schedule.period
        if schedule.period < BLOCK:
            raise UserError(
                f"Pure Data takes parameters every {BLOCK} samples or more, found a period of {schedule.period}; "
                "take a longer one"
            )
        chunks = math.ceil(total / CHUNK)
        chunk = CHUNK if chunks > 1 else math.ceil(total / BLOCK) * BLOCK
        with tempfile.TemporaryDirectory(prefix="pd-") as name:
            folder = Path(name)
            (folder / "rows.txt").write_text(lines_text(schedule_lines(rows, schedule.period)))
            (folder / "render.pd").write_text(self._patch(folder, schedule, chunk, chunks))
            arguments = ["-noaudio", "-batch", "-r", str(self.rate_hz), "-open", str(folder / "render.pd")]
            if self._instrument.own:
                arguments.insert(0, "-noprefs")  # a patch of one's own may need externals that they name
            timeout_s = self.start_s + 2 * total / self.rate_hz
            self._check_numbers(run_pd(arguments, timeout_s, str(self._instrument.patch)))
            files = [folder / f"chunk{k}.wav" for k in range(chunks)]
            parts = [soundfile.read(path, dtype="float32")[0] for path in files if path.exists()]
        if sum(map(len, parts)) < total:
            raise UserError(
                f"{self._instrument.patch}: Pure Data ended before it had written all of its sound; look for a quit in "
                "the patch, or for a full disk"
            )
        return np.concatenate(parts)[:total]

    def _check_numbers(self, lines: list[str]) -> None:
        for line in lines:
            _, found, count = line.partition(f"{BAD}: ")
            if found and float(count) > 0:
                raise UserError(
                    f"{self._instrument.patch}: the patch made {float(count):.0f} samples that are no numbers "
                    "(infinite or not-a-number); look for a division by zero or an unstable filter"
                )

    def _patch(self, folder: Path, schedule: Schedule, chunk: int, chunks: int) -> str:
        """The patch that renders; all its clocks count blocks, since times in samples round at some rates."""
        patch = PatchText()
        synth, loader = self._instrument.install(folder, patch)
        load, read_rows = patch.obj("loadbang"), patch.msg("read rows.txt")
        patch.chain(load, read_rows, patch.obj("text", "define", "rows"))
        if loader is not None:
            patch.chain(load, loader)
        patch.chain(load, patch.msg(f"; {RAMP} 0; pd dsp 1"))
        count, shift = _counter(patch, patch.obj("bang~")), patch.obj("-", SETTLING_BLOCKS)
        begun, block = patch.obj("moses", 0), patch.obj("t", "f", "f")
        patch.chain(count, shift, begun)
        patch.connect(begun, block, outlet=1)
        bad = _bad_counter(patch, synth)
        patch.connect(block, _recorder(patch, synth, chunk // BLOCK, chunks, bad, self.rate_hz), outlet=1)
        ramp_s = round(RAMP_SECONDS * self.rate_hz) / self.rate_hz
        patch.connect(block, _row_clock(patch, synth, None if schedule.resets else ramp_s))
        return patch.text()


def schedule_lines(rows: np.ndarray, period: int) -> list[list[float]]:
    """For each row: block in which the next one begins (-1: none), sample of its own block, parameters."""
    begins = [divmod(k * period, BLOCK) for k in range(len(rows))]
    following = [float(block) for block, _ in begins[1:]] + [-1.0]
    return [[after, float(begin[1]), *row] for after, begin, row in zip(following, begins, rows.tolist())]


def _counter(patch: PatchText, bang: int) -> int:
    """A box that gives 0, 1, 2 ... when ``bang`` does."""
    count, add = patch.obj("f"), patch.obj("+", 1)
    patch.chain(bang, count, add)
    patch.connect(add, count, inlet=1)
    return count


def _row_clock(patch: PatchText, synth: int, ramp_s: Optional[float]) -> int:
    """Give row after row of the schedule to the instrument; returns the box that takes the number of the block.

    Args:
        ramp_s: in which the instrument glides to all rows but the first, which alone is reset; None: all are.
    """
    due, is_due = patch.obj("==", 0), patch.obj("sel", 1)
    row = _counter(patch, is_due)
    both, which = patch.obj("t", "f", "f"), patch.obj("f")
    split, when = patch.obj("list", "split", 2), patch.obj("unpack", "f", "f")
    patch.chain(due, is_due)
    patch.chain(row, both, patch.obj("text", "get", "rows"), split, when)
    patch.connect(both, which, outlet=1, inlet=1)
    patch.connect(when, due, inlet=1)
    at_once, later, fire = (
        patch.obj("sel", 0),
        patch.obj("delay", 1, 1, "samp"),
        patch.obj("t", "b", "b", "b"),
    )
    params = patch.obj("list")
    patch.connect(split, params, outlet=1, inlet=1)
    patch.connect(when, at_once, outlet=1)
    patch.chain(at_once, fire)
    patch.connect(at_once, later, outlet=1)
    patch.chain(later, fire)
    patch.connect(fire, params, outlet=2)
    patch.chain(params, synth)
    reset = patch.msg(f"; {RESET} bang")
    if ramp_s is None:
        patch.connect(fire, reset, outlet=1)
    else:
        first = patch.obj("sel", 0)
        patch.connect(fire, which, outlet=1)
        patch.chain(which, first, reset)
        patch.connect(fire, patch.msg(f"; {RAMP} {ramp_s * 1000:.9f}"))
    return due


def _bad_counter(patch: PatchText, synth: int) -> int:
    """A box that prints, when banged, how many samples were infinite or not a number: arrays would hold 0 there."""
    differs, total = patch.obj("expr~", "($v1 - $v1) != 0"), patch.obj("rpole~", 1)
    snapshot, show = patch.obj("snapshot~"), patch.obj("print", BAD)
    patch.chain(synth, differs, total, snapshot, show)
    return snapshot


def _recorder(patch: PatchText, synth: int, blocks: int, chunks: int, bad: int, rate_hz: int) -> int:
    """Record chunk after chunk into an array and files, then quit; returns the box that takes the block's number."""
    patch.obj("array", "define", "recorded", blocks * BLOCK)
    tape = patch.obj("tabwrite~", "recorded")
    patch.chain(synth, tape)
    place, border = patch.obj("mod", blocks), patch.obj("sel", 0)
    number = _counter(patch, border)  # of chunks that are full
    order = patch.obj("t", "f", "f")
    patch.chain(place, border)
    patch.connect(number, order)
    full, last_one = patch.obj("moses", 1), patch.obj("-", 1)
    patch.connect(order, full, outlet=1)
    patch.connect(full, last_one, outlet=1)
    write = patch.msg(f"write -wave -bytes 4 -rate {rate_hz} $1 recorded")
    patch.chain(last_one, patch.obj("makefilename", "chunk%d.wav"), write, patch.obj("soundfiler"))
    end, final = patch.obj("sel", chunks), patch.obj("t", "b", "b")
    patch.chain(order, end, final)
    begin = patch.obj("t", "b")
    patch.connect(end, begin, outlet=1)
    patch.chain(begin, tape)
    patch.connect(final, bad, outlet=1)
    patch.connect(final, patch.msg("; pd quit"))
    return place
