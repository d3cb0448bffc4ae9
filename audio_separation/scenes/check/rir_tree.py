"""Checks of a scene's WAV tree of responses.

A scene of Matterport3D has up to a million files, so listing it and reading it are apart: :func:`list_tree` looks
at names only and is one task, :func:`check_files` reads some thousand files and is a task of many.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Iterator, NamedTuple, Optional

import numpy as np

from audio_separation.audio.packed_rirs import pair_keys
from audio_separation.audio.packing import pair_of_name
from audio_separation.audio.rir_store import NUM_EARS
from audio_separation.audio.wav import BrokenWav, read_wav, read_wav_header
from audio_separation.scenes.check.findings import Finding, of_items
from audio_separation.scenes.check.metadata import components
from audio_separation.scenes.graph import ROTATIONS_DEG, NavGraph

AZIMUTHS = ROTATIONS_DEG
BATCH = 2048  # files a task: 0.05 s of headers, 0.3 s of samples from a fast disk
_KINDS = {  # of audio.wav.BrokenWav
    "missing": "rir-unreadable",
    "unreadable": "rir-unreadable",
    "empty": "rir-empty",
    "not_wav": "rir-not-wav",
    "truncated": "rir-truncated",
    "corrupt": "rir-corrupt",
}


class Listing(NamedTuple):
    """The responses of one azimuth, by name only, sorted by (receiver, source).

    Attributes:
        folder: of the azimuth.
        azimuth: degrees.
        receiver: int32 [R].
        source: int32 [R].
        dashed: bool [R], whether the name has ``-`` between the two.
    """

    folder: str
    azimuth: int
    receiver: np.ndarray
    source: np.ndarray
    dashed: np.ndarray

    def name(self, row: int) -> str:
        """File name of a row."""
        return file_name(int(self.receiver[row]), int(self.source[row]), bool(self.dashed[row]))

    @property
    def keys(self) -> np.ndarray:
        """int64 [R], ``pair_key`` of each."""
        return pair_keys(np.full(len(self.receiver), self.azimuth), self.receiver, self.source)


class FileBatch(NamedTuple):
    """What reading some files of a listing gave.

    Attributes:
        rate: int32 [K] in Hz, 0 where the file has no header.
        channels: int32 [K], likewise.
        size: bytes of all.
        broken: (place among the files, kind of finding, the error's words) of each that cannot be used.
    """

    rate: np.ndarray
    channels: np.ndarray
    size: int
    broken: list[tuple[int, str, str]]


def file_name(receiver: int, source: int, dashed: bool = False) -> str:
    """``<receiver>_<source>.wav``, or with ``-``."""
    return f"{receiver}{'-' if dashed else '_'}{source}.wav"


def list_tree(folder: Path, scene: str) -> tuple[list[Listing], list[Finding]]:
    """Read the names of ``<folder>/<azimuth>/<receiver>_<source>.wav``; what else lies there is found."""
    listings, stray = [], []
    findings: list[Finding] = []
    with os.scandir(folder) as scan:
        entries = sorted(scan, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name in map(str, AZIMUTHS) and entry.is_dir():
            listing, found = _list_azimuth(entry.path, int(entry.name), scene)
            listings.append(listing)
            findings += found
        else:
            stray.append(entry.name)
    findings += of_items("rir-stray", folder, f"not one of the folders {AZIMUTHS}", stray, scene)
    dashed = sum(int(listing.dashed.sum()) for listing in listings)
    total = sum(len(listing.dashed) for listing in listings)
    if 0 < dashed < total:
        what = f"{dashed} of {total} names have - between receiver and source, the others _"
        findings.append(Finding("rir-separators", str(folder), what, scene))
    return listings, findings


def _list_azimuth(folder: str, azimuth: int, scene: str) -> tuple[Listing, list[Finding]]:
    rows: list[tuple[int, int, bool]] = []
    misnamed, stray = [], []
    with os.scandir(folder) as scan:
        for entry in scan:
            row = _parse(entry.name)
            if row is not None:
                rows.append(row)
            elif entry.name.endswith(".wav"):
                misnamed.append(entry.name)
            else:
                stray.append(entry.name)
    table = np.array(sorted(rows), dtype=np.int32).reshape(-1, 3)
    listing = Listing(folder, azimuth, table[:, 0], table[:, 1], table[:, 2].astype(bool))
    again = np.flatnonzero(np.diff(listing.keys) == 0)
    twice = [file_name(int(listing.receiver[row]), int(listing.source[row])) for row in again]
    findings = of_items("rir-name", folder, "not <receiver>_<source>.wav", sorted(misnamed), scene)
    findings += of_items("rir-stray", folder, "not a .wav file", sorted(stray), scene)
    findings += of_items("rir-twice", folder, "there with - and with _", twice, scene)
    return listing, findings


def _parse(name: str) -> Optional[tuple[int, int, bool]]:
    if not name.endswith(".wav"):
        return None
    try:
        receiver, source = pair_of_name(name)
    except ValueError:
        return None
    dashed = "-" in name
    # "007_1.wav" reads as numbers too, and no store would find it
    return (receiver, source, dashed) if file_name(receiver, source, dashed) == name else None


def batches(listings: list[Listing]) -> Iterator[Listing]:
    """Cut listings into pieces of at most ``BATCH`` files, in order."""
    for listing in listings:
        for begin in range(0, len(listing.receiver), BATCH):
            cut = slice(begin, begin + BATCH)
            yield listing._replace(
                receiver=listing.receiver[cut], source=listing.source[cut], dashed=listing.dashed[cut]
            )


def check_files(listing: Listing, samples: bool) -> FileBatch:
    """Read the headers of a piece of a listing, and with ``samples`` all that they promise."""
    count = len(listing.receiver)
    rate, channels = np.zeros(count, np.int32), np.zeros(count, np.int32)
    size = 0
    broken = []
    for row in range(count):
        path = f"{listing.folder}/{listing.name(row)}"
        try:
            header = read_wav_header(path, "")
            rate[row], channels[row] = header.rate, header.channels
            size += header.size
            kind, words = _judge_samples(path) if samples else ("", "")
        except BrokenWav as error:
            # it was listed a moment ago
            kind, words = _KINDS[error.kind], "is a broken link" if error.kind == "missing" else error.fault
        if kind:
            broken.append((row, kind, words))
    return FileBatch(rate, channels, size, broken)


def _judge_samples(path: str) -> tuple[str, str]:
    samples, _, _ = read_wav(path, "float32", "")
    # one pass over sound samples: a sum of magnitudes is neither 0 nor infinite nor NaN
    total = float(np.abs(samples).sum(dtype=np.float64))
    if not np.isfinite(total):
        return "rir-not-finite", "holds values that are not finite (NaN or inf)"
    return ("rir-silent", "is zero throughout") if total == 0 else ("", "")


def joined(parts: list[FileBatch]) -> FileBatch:
    """Join what the pieces of one listing gave, in their order."""
    none = np.zeros(0, np.int32)
    broken, begin = [], 0
    for part in parts:
        broken += [(begin + row, kind, words) for row, kind, words in part.broken]
        begin += len(part.rate)
    return FileBatch(
        np.concatenate([none, *(part.rate for part in parts)]),
        np.concatenate([none, *(part.channels for part in parts)]),
        sum(part.size for part in parts),
        broken,
    )


def usual(values: np.ndarray) -> Optional[int]:
    """Return the value that occurs most often (the least of several) among those above 0; None for none."""
    counted = Counter(values[values > 0].tolist())
    return min(counted, key=lambda value: (-counted[value], value)) if counted else None


def judge_files(
    listing: Listing, read: FileBatch, rate_hz: Optional[int], scene: str
) -> tuple[list[Finding], np.ndarray]:
    """Return what is wrong with the files of an azimuth, and a bool [R]: which of them no store would load.

    Args:
        listing: one azimuth.
        read: of the whole listing, in its order.
        rate_hz: that every file should have.
        scene: name.
    """
    findings = []
    unusable = np.zeros(len(listing.receiver), bool)
    by_kind: dict[str, list[tuple[int, str]]] = {}
    for row, kind, words in read.broken:
        by_kind.setdefault(kind, []).append((row, words))
        unusable[row] = kind != "rir-silent"  # which loads, and is silence
    for kind in sorted(by_kind):
        names = [listing.name(row) for row, _ in by_kind[kind]]
        words = by_kind[kind][0][1] + (" (the first)" if len(names) > 1 else "")
        findings += of_items(kind, listing.folder, words, names, scene)
    for found in np.unique(read.channels[(read.channels > 0) & (read.channels != NUM_EARS)]):
        rows = np.flatnonzero(read.channels == found)
        unusable[rows] = True
        what = f"{found} channel(s), expected {NUM_EARS} (left, right)"
        findings += of_items("rir-channels", listing.folder, what, _names(listing, rows), scene)
    for found in np.unique(read.rate[(read.rate > 0) & (read.rate != (rate_hz or 0))]):
        rows = np.flatnonzero(read.rate == found)
        what = f"{found} Hz, expected {rate_hz} Hz"
        findings += of_items("rir-rate", listing.folder, what, _names(listing, rows), scene)
    return findings, unusable


def _names(listing: Listing, rows: np.ndarray) -> list[str]:
    return [listing.name(row) for row in rows.tolist()]


def wanted_pairs(graph: NavGraph, promised: Optional[np.ndarray], present: np.ndarray) -> np.ndarray:
    """Return the pairs that a scene should have responses of in each azimuth: int [K, 2] (receiver, source), sorted.

    They are those of nodes that can be reached from one another: SoundSpaces' archive has none from one part of a
    disconnected graph to another (its issue 104).

    Args:
        graph: of the scene.
        promised: node ids that should be sources; None where nothing says it.
        present: node ids that occur as a source, which counts then.
    """
    order = np.argsort(graph.node_ids)
    nodes, part = graph.node_ids[order], components(graph)[order]
    source = np.isin(nodes, present if promised is None else promised)
    return np.stack([nodes[i] for i in np.nonzero((part[:, None] == part) & source)], axis=-1)


def missing_pairs(azimuth: int, keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """int [K, 2]: (receiver, source) of the wanted pairs of an azimuth that are not among ``keys``, sorted."""
    return wanted[~np.isin(pair_keys(np.full(len(wanted), azimuth), wanted[:, 0], wanted[:, 1]), keys)]


def check_pairs(
    listings: list[Listing], folder: Path, graph: NavGraph, promised: Optional[np.ndarray], scene: str
) -> list[Finding]:
    """Find wanted pairs without a file, and files of nodes that the graph does not have.

    ``promised`` is that of :func:`wanted_pairs`.
    """
    none = np.zeros(0, np.int32)
    present = np.unique(np.concatenate([none, *(listing.source for listing in listings)]))
    wanted = wanted_pairs(graph, promised, present)
    by_azimuth = {listing.azimuth: listing for listing in listings}
    findings: list[Finding] = []
    for azimuth in AZIMUTHS:
        listing = by_azimuth.get(azimuth)
        if listing is None:
            findings.append(
                Finding("rir-missing", str(folder / str(azimuth)), "no such folder", scene, count=len(wanted))
            )
            continue
        dashed = bool(len(listing.dashed)) and bool(listing.dashed.all())
        names = [file_name(r, s, dashed) for r, s in missing_pairs(azimuth, listing.keys, wanted).tolist()]
        findings += of_items("rir-missing", listing.folder, "no such file", names, scene)
        known = np.isin(listing.receiver, graph.node_ids) & np.isin(listing.source, graph.node_ids)
        rows = np.flatnonzero(~known)
        what = "of nodes that the graph does not have"
        findings += of_items("rir-foreign", listing.folder, what, _names(listing, rows), scene)
    return findings
