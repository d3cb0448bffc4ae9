"""Checks of a scene's packed responses."""

from __future__ import annotations

from pathlib import Path
from typing import Iterable, NamedTuple, Optional

import numpy as np

from audio_separation.audio.packed_rirs import PackedScene, Pair, pair_key
from audio_separation.audio.packed_writer import MISSING
from audio_separation.audio.packing import RATE
from audio_separation.audio.rir_store import UnreadableRir
from audio_separation.errors import UserError
from audio_separation.scenes.check.findings import Finding, of_items
from audio_separation.scenes.check.rir_tree import AZIMUTHS, missing_pairs, wanted_pairs
from audio_separation.scenes.graph import NavGraph

BATCH = 4096  # responses a task


class PackedIndex(NamedTuple):
    """What a packed file says that it holds.

    Attributes:
        rows: responses.
        keys: int64 [R], ``pair_key`` of each.
        sources: int64, the node ids that occur as a source, in broken pairs too.
        broken: the pairs that it lists as unreadable or missing, each with the reason.
    """

    rows: int
    keys: np.ndarray
    sources: np.ndarray
    broken: dict[Pair, str]


def item(pair: Pair) -> str:
    """A response as it would lie in the WAV tree: ``90/3_4``."""
    azimuth, receiver, source = pair
    return f"{azimuth}/{receiver}_{source}"


def read_index(path: Path, scene: str) -> tuple[Optional[PackedIndex], list[Finding]]:
    """Return the index of a packed file (None where it cannot be opened), and what is wrong with the file."""
    try:
        packed = PackedScene(path, None)
    except UserError as error:
        return None, [Finding("packed-corrupt", str(path), str(error), scene)]
    findings = []
    rate = packed.metadata.get("rate")
    if rate != str(RATE):
        findings.append(Finding("packed-rate", str(path), f"{rate} Hz, expected {RATE} Hz", scene))
    if packed.metadata["version"] == "1":
        findings.append(Finding("packed-old", str(path), "version 1", scene))
    pairs = [packed.pair(row) for row in range(len(packed))]
    keys = np.array([pair_key(*pair) for pair in pairs], np.int64)
    broken = packed.broken_pairs()
    sources = np.array(sorted({source for _, _, source in [*pairs, *broken]}), np.int64)
    return PackedIndex(len(packed), keys, sources, broken), findings


def check_rows(path: Path, begin: int, end: int) -> list[tuple[Pair, str]]:
    """Read the responses in these rows; returns pair and kind of finding of each that is wrong."""
    packed = PackedScene(path, None)
    wrong = []
    for row in range(begin, end):
        stored = packed.stored(row)
        try:
            packed.check(row, stored)
        except UnreadableRir:
            wrong.append((packed.pair(row), "packed-samples"))
            continue
        if not stored.any():
            wrong.append((packed.pair(row), "rir-silent"))
    return wrong


def judge_rows(path: Path, wrong: Iterable[tuple[Pair, str]], scene: str) -> list[Finding]:
    """Turn what :func:`check_rows` returned into findings."""
    words = {
        "packed-samples": "do not match their checksum, or are not finite",
        "rir-silent": "are zero throughout",
    }
    wrong = list(wrong)
    return [
        finding
        for kind in sorted(words)
        for finding in of_items(kind, path, words[kind], [item(p) for p, k in wrong if k == kind], scene)
    ]


def check_pairs(
    path: Path, index: PackedIndex, graph: NavGraph, promised: Optional[np.ndarray], scene: str
) -> list[Finding]:
    """Find pairs that the file lists as broken, wanted pairs that it lacks, and pairs off the graph.

    ``promised`` is that of :func:`rir_tree.wanted_pairs`.
    """
    wanted = wanted_pairs(graph, promised, index.sources)
    needed = {(receiver, source) for receiver, source in wanted.tolist()}
    broken = {p: why for p, why in index.broken.items() if why != MISSING and p[1:] in needed}
    listed = np.array([pair_key(*pair) for pair in broken], np.int64)
    missing = [
        (azimuth, receiver, source)
        for azimuth in AZIMUTHS
        for receiver, source in missing_pairs(azimuth, np.concatenate([index.keys, listed]), wanted).tolist()
    ]
    nodes = graph.node_ids
    foreign = index.keys[~(np.isin(index.keys >> 31, nodes) & np.isin((index.keys >> 9) & 0x3FFFFF, nodes))]
    what = "of nodes that the graph does not have"
    pairs = [(key & 0x1FF, key >> 31, (key >> 9) & 0x3FFFFF) for key in foreign.tolist()]
    first = next(iter(broken.values()), "")
    return [
        *of_items("packed-broken", path, f"{first} (the first)", map(item, sorted(broken)), scene),
        *of_items("packed-missing", path, "not in the file", map(item, missing), scene),
        *of_items("rir-foreign", path, what, map(item, pairs), scene),
    ]
