"""Analysing a folder of recordings into a corpus, in parallel; an interrupted run goes on where it was.

Finished files lie in ``.parts`` below the corpus, under a name that their bytes and the settings decide, until all are
there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np

from audio_separation.audio.descriptors import HOP, NAMES, WINDOW, check_analysis, describe
from audio_separation.audio.soundfiles import SUFFIXES, UNREADABLE, read_mono, resample
from audio_separation.audio.synths import RATE
from audio_separation.envs.synth.corpus import JSON_NAME, SPLITS, read_corpus_json
from audio_separation.envs.synth.feature_csv import indexed_csv_bytes
from audio_separation.envs.synth.table_jobs import PARTS, check_jobs, remove_parts, settings_key
from audio_separation.errors import UserError
from audio_separation.scenes.generate.parallel import run_tasks
from audio_separation.scenes.layout import write_atomic

SILENCE_DB = -70.0  # LKFS; the gate of ITU-R BS.1770 below which nothing counts


@dataclass(frozen=True)
class CorpusJob:
    """What a corpus is made with.

    Attributes:
        match: pattern of the files' paths in the folder, or of their names; empty: all.
        rate_hz: that sounds are resampled to.
        window: samples of a frame.
        hop: samples from frame to frame.
        held_out: share of the files for the split ``test``.
        seed: of the draw of these.
    """

    match: str = ""
    rate_hz: int = RATE
    window: int = WINDOW
    hop: int = HOP
    held_out: float = 0.25
    seed: int = 0


class Analysed(NamedTuple):
    """What came of one recording.

    Attributes:
        label: name of its CSV.
        frames: rows of it.
        seconds: that it lasts.
        sha256: of the file.
        fault: why it cannot be used; empty where it can.
    """

    label: str
    frames: int
    seconds: float
    sha256: str
    fault: str


def find_recordings(folder: Path, match: str) -> dict[str, Path]:
    """Sound files below ``folder`` by the name of their CSV, sorted.

    The name is the path with ``__`` for ``/`` and without suffix, but where two would be the same.

    Raises:
        UserError: no such folder, no file in it, or none that matches.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder, expected one of recordings ({', '.join(SUFFIXES)})")
    wanted = SUFFIXES + UNREADABLE
    found = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in wanted and p.is_file()]
    parts = {path: path.relative_to(folder) for path in found}
    parts = {
        path: part for path, part in parts.items() if not any(word.startswith(".") for word in part.parts)
    }
    kept = {
        path: part
        for path, part in parts.items()
        if not match or fnmatch(part.as_posix(), match) or fnmatch(part.name, match)
    }
    if not kept:
        what = f"that matches {match!r} ({len(parts)} do not)" if match and parts else "of sound"
        raise UserError(f"there is no file {what} in {folder}; expected {', '.join(SUFFIXES)}")
    stems = ["__".join(part.with_suffix("").parts) for part in kept.values()]
    labels: dict[str, Path] = {}
    for (path, part), stem in zip(kept.items(), stems):
        label = stem if stems.count(stem) == 1 else "__".join(part.parts)
        if label in labels:
            raise UserError(f"{path} and {labels[label]} would both become {label}.csv; rename one of them")
        labels[label] = path
    return dict(sorted(labels.items()))


def held_out(labels: list[str], share: float, seed: int) -> set[str]:
    """The labels of the split ``test``: ``share`` of them, drawn by ``seed``.

    At least one where ``share`` is more than 0 and one is left for ``train``, which is never empty.
    """
    least = 1 if share > 0 else 0
    count = min(max(round(share * len(labels)), least), len(labels) - 1)
    order = np.random.default_rng(seed).permutation(len(labels))
    return {sorted(labels)[i] for i in order[:count]}


def analyse(path: Path, label: str, job: CorpusJob, parts: str, key: str) -> Analysed:
    """Describe a recording and write its CSV into ``parts``, unless it is there from before."""
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        done = Path(parts) / f"{key}-{sha256[:16]}-{settings_key({'label': label})}.json"
        if done.exists() and done.with_suffix(".csv").exists():
            return Analysed(*json.loads(done.read_text(encoding="utf-8")))
        wave, rate_hz = read_mono(path)
    except UserError as error:
        return Analysed(label, 0, 0.0, "", str(error))
    except OSError as error:
        return Analysed(label, 0, 0.0, "", f"{path}: cannot be read ({error.strerror or error})")
    seconds = len(wave) / rate_hz
    if len(wave) == 0:
        return Analysed(label, 0, 0.0, sha256, f"{path}: is empty, it holds no sample")
    rows = describe(resample(wave, rate_hz, job.rate_hz), job.rate_hz, job.window, job.hop)
    loudest = rows[:, NAMES.index("loudness-dBFS")].max()
    if loudest < SILENCE_DB:
        fault = f"{path}: is silent (its loudest frame has {loudest:.0f} LKFS, at least {SILENCE_DB:.0f} is expected)"
        return Analysed(label, len(rows), seconds, sha256, fault)
    outcome = Analysed(label, len(rows), seconds, sha256, "")
    write_atomic(done.with_suffix(".csv"), indexed_csv_bytes(NAMES, rows))
    write_atomic(done, json.dumps(outcome).encode())
    return outcome


class CorpusRun:
    """The analysis of one folder of recordings into a corpus.

    Args:
        source: folder of recordings.
        folder: of the corpus; made where it is missing.
        job: how to analyse.
        overwrite: replace a corpus that is there.
        skip_broken: leave out files that cannot be used; else they are an error.

    Attributes:
        recordings: files by the name of their CSV.

    Raises:
        UserError: settings that cannot be, no recording, or something else in ``folder``.
    """

    def __init__(
        self, source: Path, folder: Path, job: CorpusJob, overwrite: bool = False, skip_broken: bool = False
    ):
        check_analysis(job.rate_hz, job.window, job.hop)
        if not 0 <= job.held_out < 1:
            raise UserError(f"--held-out must be a share from 0 to below 1, found {job.held_out}")
        self.source, self.folder, self.job, self.skip_broken = source, folder, job, skip_broken
        self.recordings = find_recordings(source, job.match)
        self._key = settings_key({k: v for k, v in asdict(job).items() if k in ("rate_hz", "window", "hop")})
        self._before = None if overwrite else self._read_before()

    def _read_before(self) -> Optional[dict[str, Any]]:
        cure = "give --out another folder, or add --overwrite"
        content = read_corpus_json(self.folder) if self.folder.is_dir() else None
        ours = (self.folder / PARTS).is_dir()
        if content is None and not ours and any(self.folder.glob("**/*.csv")):
            raise UserError(f"{self.folder} holds CSVs that are of no corpus of ours; {cure}")
        if content is not None and content["settings"] != asdict(self.job):
            raise UserError(f"{self.folder} holds a corpus of other settings ({content['settings']}); {cure}")
        return content

    def finished_before(self) -> bool:
        """Whether the corpus is there already, of these recordings as they are now.

        Raises:
            UserError: it is there, of other recordings.
        """
        if self._before is None:
            return False
        files, skipped = self._before["files"], {one["file"] for one in self._before.get("skipped", [])}
        names = {path.relative_to(self.source).as_posix(): path for path in self.recordings.values()}
        now = {name for name in names if name not in skipped}
        old = {one["file"]: one["sha256"] for one in files.values()}
        changed = sorted(now ^ set(old)) or [
            name
            for name, digest in sorted(old.items())
            if hashlib.sha256(names[name].read_bytes()).hexdigest() != digest
        ]
        if changed:
            raise UserError(
                f"{self.folder} holds a corpus of other recordings ({changed[0]} is new, gone or changed); give --out "
                "another folder, or add --overwrite"
            )
        return True

    def analyse(self, jobs: int) -> Iterator[Analysed]:
        """Analyse what was not analysed before; gives what came of each recording, in order.

        Args:
            jobs: processes, -1: one a core.
        """
        check_jobs(jobs)
        parts = str(self.folder / PARTS)
        tasks = [
            (analyse, path, label, self.job, parts, self._key) for label, path in self.recordings.items()
        ]
        with run_tasks(tasks, jobs, "loky") as results:
            yield from results

    def finish(self, outcomes: list[Analysed]) -> dict[str, Any]:
        """Move the CSVs to their splits, write ``corpus.json`` and return it.

        Raises:
            UserError: for a recording that cannot be used, where these are not to be skipped, or where none is left.
        """
        good = [one for one in outcomes if not one.fault]
        bad = [one for one in outcomes if one.fault]
        if bad and not self.skip_broken:
            more = f" and {len(bad) - 1} more cannot be used either" if len(bad) > 1 else ""
            raise UserError(f"{bad[0].fault}{more}; mend or remove it, or add --skip-broken to leave it out")
        if not good:
            raise UserError(
                f"no recording of {self.source} can be used ({bad[0].fault}); give other recordings"
            )
        test = held_out([one.label for one in good], self.job.held_out, self.job.seed)
        self._clear()
        files = {}
        for one in good:
            split = SPLITS[one.label in test]
            part = f"{self._key}-{one.sha256[:16]}-{settings_key({'label': one.label})}.csv"
            (self.folder / split).mkdir(parents=True, exist_ok=True)
            os.replace(self.folder / PARTS / part, self.folder / split / f"{one.label}.csv")
            files[one.label] = {
                "file": self.recordings[one.label].relative_to(self.source).as_posix(),
                "split": split,
                "frames": one.frames,
                "seconds": round(one.seconds, 6),
                "sha256": one.sha256,
            }
        skipped = [
            {"file": self.recordings[one.label].relative_to(self.source).as_posix(), "fault": one.fault}
            for one in bad
        ]
        content = {"settings": asdict(self.job), "files": files, "skipped": skipped}
        write_atomic(self.folder / JSON_NAME, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())
        remove_parts(self.folder)
        return content

    def _clear(self) -> None:
        # of an earlier corpus, or of a run that was stopped while it moved its files
        (self.folder / JSON_NAME).unlink(missing_ok=True)
        for split in SPLITS:
            for path in (self.folder / split).glob("*.csv"):
                path.unlink()
