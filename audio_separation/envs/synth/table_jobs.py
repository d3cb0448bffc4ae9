"""Computing a lookup table in parallel, part by part, so that an interrupted run goes on where it was.

A part is a fixed range of rows, whatever the number of processes, and lies in ``.parts`` below the table's folder until
the table is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, Optional

import numpy as np

from audio_separation.audio.descriptors import HOP, NAMES, WINDOW, check_analysis, describe
from audio_separation.audio.synths import RATE, Synth, make_synth
from audio_separation.envs.synth.table import (
    CSV_NAME,
    JSON_NAME,
    LookupTable,
    grid_params,
    load_table,
    save_table,
)
from audio_separation.errors import UserError
from audio_separation.scenes.generate.parallel import run_tasks
from audio_separation.scenes.layout import write_atomic

PART_ROWS = 128
PARTS = ".parts"
_ANALYSIS = ("backend", "rate_hz", "window", "hop", "seconds", "subdivisions")
MAX_ROWS = 2_000_000  # a table of more would not fit in the memory of a usual machine


@dataclass(frozen=True)
class TableJob:
    """What a table is computed with.

    Attributes:
        synth: name of the synthesizer.
        num_params: P; None: all of a synthesizer that we know.
        subdivisions: values of each parameter, from 0 to 1, both included.
        seconds: of each sound.
        rate_hz: of the sound.
        window: samples of a frame.
        hop: samples from frame to frame.
        backend: ``numpy`` or ``pd``.
        patch: synth.pd of one's own, for ``pd``.
        source: sound file for granular.
    """

    synth: str
    num_params: Optional[int] = None
    subdivisions: int = 21
    seconds: float = 0.25
    rate_hz: int = RATE
    window: int = WINDOW
    hop: int = HOP
    backend: str = "numpy"
    patch: Optional[str] = None
    source: Optional[str] = None

    def check(self) -> None:
        """Refuse what cannot be computed.

        Raises:
            UserError: that names the option.
        """
        check_analysis(self.rate_hz, self.window, self.hop)
        if self.subdivisions < 2:
            raise UserError(
                f"--subdivisions must be 2 or more, for both ends of a parameter, found {self.subdivisions}"
            )
        least = 2 * self.window / self.rate_hz
        if not self.seconds * self.rate_hz >= 2 * self.window:
            raise UserError(
                f"--seconds must be at least {least:.3g}, for the onset and one more window, found {self.seconds}"
            )
        if self.backend == "numpy" and self.patch:
            raise UserError(f"--patch {self.patch} needs Pure Data; add --backend pd, or leave it out")

    def build_synth(self) -> Synth:
        """The synthesizer, which must have ``num_params``.

        Raises:
            UserError: for one that there is not, or another number of parameters.
        """
        source = Path(self.source) if self.source else None
        if self.backend == "numpy":
            synth: Synth = make_synth(self.synth, self.rate_hz, source)
            if self.num_params not in (None, synth.num_params):
                raise UserError(
                    f"synthesizer {self.synth} has {synth.num_params} parameters ({', '.join(synth.param_names)}), "
                    f"found --params {self.num_params}; leave it out"
                )
            return synth
        # imported when asked for: it looks for the program
        from audio_separation.audio.puredata.render import PdSynth

        count = self.num_params if self.num_params is not None else self._known_params()
        patch = Path(self.patch) if self.patch else None
        return PdSynth(self.synth, count, patch=patch, rate_hz=self.rate_hz, source=source)

    def _known_params(self) -> int:
        from audio_separation.audio.synths import PARAMS

        if self.patch or self.synth not in PARAMS:
            raise UserError(
                f"--params is needed for a patch of one's own ({self.patch or self.synth}); give its number"
            )
        return len(PARAMS[self.synth])

    def settings(self, synth: Synth) -> dict[str, Any]:
        """What decides the table's numbers, as plain data."""
        analysis = {key: value for key, value in asdict(self).items() if key in _ANALYSIS}
        return {"name": self.synth, "synth": json.loads(json.dumps(synth.describe())), **analysis}

    @classmethod
    def of_table(cls, table: LookupTable, patch: Optional[str], source: Optional[str]) -> TableJob:
        """What a table was computed with; the files are not in its settings.

        Raises:
            UserError: for a published table, which does not say.
        """
        found = table.settings
        try:
            analysis = {key: found[key] for key in _ANALYSIS}
            return cls(found["name"], table.num_params, patch=patch, source=source, **analysis)
        except (KeyError, TypeError):
            raise UserError(
                "the lookup table does not say which synthesizer it was computed with, as published ones do not; "
                "compute one with python scripts/compute_lookup.py"
            ) from None

    def params(self, count: int) -> np.ndarray:
        """All rows ``[R, P]``.

        Raises:
            UserError: where they are too many.
        """
        if self.subdivisions**count > MAX_ROWS:
            raise UserError(
                f"--subdivisions {self.subdivisions} of {count} parameters makes {self.subdivisions**count} rows, "
                f"and at most {MAX_ROWS} are computed; take fewer"
            )
        return grid_params([np.linspace(0, 1, self.subdivisions)] * count)


def describe_sound(wave: np.ndarray, job: TableJob) -> np.ndarray:
    """Mean descriptors ``[D]`` of a sound ``[L]``.

    Its first window is left out: the oscillators start at once there, and a click that a held note does not have would
    colour every mean.
    """
    return describe(wave[job.window :], job.rate_hz, job.window, job.hop).mean(0)


def check_jobs(jobs: int) -> None:
    """Refuse a number of processes that is none.

    Raises:
        UserError: for 0, or less than -1.
    """
    if jobs < -1 or jobs == 0:
        raise UserError(f"--jobs must be a number of processes, or -1 for one a core, found {jobs}")


def settings_key(settings: dict[str, Any]) -> str:
    """A short name of settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


@lru_cache(maxsize=2)
def _synth_of(job: TableJob) -> Synth:
    return job.build_synth()


def _compute_part(job: TableJob, path: str, params: np.ndarray) -> int:
    """Compute rows and write them to ``path``; returns how many."""
    synth = _synth_of(job)
    render_rows = getattr(synth, "render_rows", None)
    waves = (
        render_rows(params, job.seconds)  # one process of Pure Data for all of them
        if render_rows is not None
        else (synth.render(row, job.seconds) for row in params)
    )
    features = np.stack([describe_sound(np.asarray(wave), job) for wave in waves])
    buffer = BytesIO()
    np.savez(buffer, params=params, features=features)
    write_atomic(Path(path), buffer.getvalue())
    return len(params)


def _read_part(path: Path, params: np.ndarray) -> Optional[np.ndarray]:
    """Features ``[R, D]`` of a finished part; None where it is missing, damaged or of other rows."""
    try:
        with np.load(path) as part:
            features, same = part["features"], np.array_equal(part["params"], params)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return features if same and features.shape == (len(params), len(NAMES)) else None


class TableRun:
    """The computation of one table into ``folder``.

    Args:
        job: what to compute.
        folder: of the table; made where it is missing.
        overwrite: replace a table that is there.

    Attributes:
        kept: the table of the same settings that was finished before, or None.
        rows: of the table, R.

    Raises:
        UserError: settings that cannot be, or another table in ``folder``.
    """

    def __init__(self, job: TableJob, folder: Path, overwrite: bool = False):
        job.check()
        self.job, self.folder = job, folder
        synth = _synth_of(job)
        self.settings = job.settings(synth)
        self._params = job.params(synth.num_params)
        self.rows = len(self._params)
        self.kept = None if overwrite else self._finished_before()

    def _finished_before(self) -> Optional[LookupTable]:
        if not (self.folder / CSV_NAME).exists():
            return None
        cure = "give --out another folder, or add --overwrite"
        try:
            table = load_table(self.folder)
        except UserError as error:
            raise UserError(
                f"{self.folder} holds a lookup table that cannot be kept ({error}); {cure}"
            ) from None
        if table.settings != self.settings:
            raise UserError(
                f"{self.folder} holds a lookup table of other settings "
                f"({_first_change(table.settings, self.settings)}); {cure}"
            )
        return table

    def _parts(self) -> list[tuple[Path, np.ndarray]]:
        key = settings_key(self.settings)
        folder = self.folder / PARTS
        return [
            (folder / f"{key}-{first:07d}.npz", self._params[first : first + PART_ROWS])
            for first in range(0, self.rows, PART_ROWS)
        ]

    def compute(self, jobs: int) -> Iterator[int]:
        """Compute what is missing; gives the number of rows of each part, those of an earlier run first.

        Args:
            jobs: processes, -1: one a core.
        """
        check_jobs(jobs)
        todo = []
        for path, params in self._parts():
            if _read_part(path, params) is None:
                todo.append((_compute_part, self.job, str(path), params))
            else:
                yield len(params)
        if todo:
            with run_tasks(todo, jobs, "loky") as results:
                yield from results

    def finish(self) -> LookupTable:
        """Put the parts together, write the table and remove them."""
        parts = [_read_part(path, params) for path, params in self._parts()]
        if any(part is None for part in parts):
            raise UserError(
                f"parts of the table in {self.folder / PARTS} were removed meanwhile; run it again"
            )
        features = np.concatenate([part for part in parts if part is not None])
        table = LookupTable(self._params.copy(), features, NAMES, self.settings)
        # the old CSV must not stand beside the new JSON, should this end between the two
        (self.folder / CSV_NAME).unlink(missing_ok=True)
        (self.folder / JSON_NAME).unlink(missing_ok=True)
        save_table(table, self.folder)
        remove_parts(self.folder)
        return table


def remove_parts(folder: Path) -> None:
    """Remove the folder of parts; what another process holds of it is left."""
    if os.path.isdir(folder / PARTS):
        shutil.rmtree(folder / PARTS, ignore_errors=True)


def _first_change(old: dict[str, Any], new: dict[str, Any]) -> str:
    for key in new:
        if old.get(key) != new.get(key):
            return f"{key} is {old.get(key)!r} there, {new.get(key)!r} now"
    return "not told"
