"""Writing packed RIRs; what such a file holds is said in :mod:`audio_separation.audio.packed_rirs`."""

from __future__ import annotations

import json
import math
import os
import struct
import zlib
from array import array
from pathlib import Path
from typing import Any, BinaryIO, Iterable, Mapping, Optional

import numpy as np
import torch

from audio_separation.audio.packed_rirs import (
    DTYPES,
    FORMAT,
    VERSION,
    PackedScene,
    Pair,
    index_checksum,
    key_pair,
    pair_key,
    pair_keys,
)
from audio_separation.audio.rir_store import NUM_EARS
from audio_separation.errors import UserError

MISSING = "it was missing when the scene was packed, though other pairs imply it"
_COLUMNS = {"scale": "f", "length": "I", "crc": "I", "azimuth": "H", "receiver": "H", "source": "H"}
_MAX_NODE = 2**16 - 1
# as safetensors spells them
_DTYPE_NAMES = {
    "float16": "F16",
    "float32": "F32",
    "int64": "I64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
}


def write_packed(
    path: Path,
    rirs: Iterable[tuple[Pair, np.ndarray]],
    rate: int,
    dtype: str = "float16",
    metadata: Optional[dict[str, str]] = None,
) -> None:
    """Write ``rirs``, pairs of (azimuth, receiver, source) and float32 ``[C, L]``, to ``path``.

    The samples are streamed, so a scene may be larger than memory. The file appears whole or not at all
    (written beside ``path``, then renamed).

    Raises:
        UserError: ``dtype`` is neither float16 nor float32; a RIR is not a finite ``[2, L >= 1]`` array; a
            pair occurs twice; there is none.
    """
    with PackedWriter(path, rate, dtype, metadata) as writer:
        for pair, rir in rirs:
            writer.add(pair, rir)


class PackedWriter:
    """Writes one packed file within a ``with`` block; on leaving it by an exception nothing is left.

    Args:
        path: the file; it appears, or is replaced, at the end of the block.
        rate: samples per second.
        dtype: float16 or float32.
        metadata: further strings.
        partial: a part of a scene: it may be empty, and no pair counts as missing.
    """

    def __init__(
        self,
        path: Path,
        rate: int,
        dtype: str = "float16",
        metadata: Optional[dict[str, str]] = None,
        partial: bool = False,
    ) -> None:
        if dtype not in DTYPES:
            raise UserError(f"packed RIRs have dtype float16 or float32, not {dtype!r}")
        self.path = Path(path)
        self._dtype = dtype
        self._partial = partial
        self._metadata = {**(metadata or {}), "format": FORMAT, "version": VERSION}
        self._metadata.update(rate=str(rate), dtype=dtype)
        # safetensors puts the table of contents first: room for it is left, and filled in when all is known
        self._room = -(-(2048 + 2 * len(json.dumps(self._metadata))) // 8) * 8
        self._rows: dict[str, Any] = {name: array(code) for name, code in _COLUMNS.items()}
        self._broken: dict[Pair, str] = {}
        self._total = 0  # values in data
        self._worst_error_db = -math.inf

    def __enter__(self) -> PackedWriter:
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        self._file: BinaryIO = self._temporary.open("wb")
        self._file.write(b" " * (8 + self._room))
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            with self._file:
                if kind is None:
                    self._finish()
            if kind is None:
                os.replace(self._temporary, self.path)
        finally:
            self._temporary.unlink(missing_ok=True)

    def add(self, pair: Pair, rir: np.ndarray) -> None:
        """Append a response, float32 ``[C, L]``."""
        if not all(0 <= number <= _MAX_NODE for number in pair):
            raise UserError(
                f"{self.path} cannot hold a pair (azimuth, receiver, source) {pair}: expected numbers from 0 to "
                f"{_MAX_NODE}"
            )
        if rir.ndim != 2 or rir.shape[0] != NUM_EARS or rir.shape[1] < 1 or not np.isfinite(rir).all():
            raise UserError(
                f"the RIR (azimuth, receiver, source) {pair} for {self.path} has shape {rir.shape}, expected a "
                f"finite ({NUM_EARS}, L) array: leave it out, or compute it again"
            )
        exact = np.ascontiguousarray(rir, np.float32)
        if self._dtype == "float32":
            self._append(exact, 1.0, pair, zlib.crc32(exact.data))
            return
        peak = np.abs(exact).max() or np.float32(1)  # silence stays silence
        unit = torch.from_numpy(exact / peak)
        stored = unit.half()
        energy, error = float(unit.square().sum()), float((stored.float() - unit).square().sum())
        if error:
            self._worst_error_db = max(self._worst_error_db, 10 * math.log10(error / energy))
        self._append(stored.numpy(), float(peak), pair, zlib.crc32(stored.numpy().data))

    def add_broken(self, pair: Pair, reason: str) -> None:
        """Record that a pair has no response, and why."""
        self._broken[pair] = reason

    def copy(self, part: PackedScene) -> None:
        """Append all that a part of the scene holds; it must be of the same dtype and of this version.

        Raises:
            UnreadableRir: the part's samples do not match their checksums.
        """
        assert part.crc is not None and part.metadata["dtype"] == self._dtype
        for row in range(len(part)):
            stored = part.stored(row)
            part.check(row, stored)
            self._append(stored, float(part.scale[row]), part.pair(row), int(part.crc[row]))
        self._broken.update(part.broken_pairs())
        self._worst_error_db = max(self._worst_error_db, float(part.metadata["worst_error_db"]))

    def _append(self, stored: np.ndarray, scale: float, pair: Pair, crc: int) -> None:
        self._file.write(stored.data)
        row = (scale, stored.size // NUM_EARS, crc, *pair)
        for column, value in zip(self._rows.values(), row):
            column.append(value)
        self._total += stored.size

    def _finish(self) -> None:
        padding = -self._total % 4  # whole multiples of 8 bytes keep the arrays behind it aligned
        self._file.write(bytes(padding * np.dtype(self._dtype).itemsize))
        index = self._index()
        metadata = {**self._metadata, "worst_error_db": f"{self._worst_error_db:.1f}"}
        metadata["unreadable"] = str(len(self._broken))
        metadata["missing"] = str(len(index["broken"]) - len(self._broken))
        metadata["index_crc"] = str(index_checksum(metadata, index))
        for values in index.values():
            self._file.write(values.tobytes())
        header = _header(metadata, self._dtype, self._total + padding, index).ljust(self._room)
        assert len(header) == self._room, "the room left for the header is too small"
        self._file.seek(0)
        self._file.write(struct.pack("<Q", self._room) + header)

    def _index(self) -> dict[str, np.ndarray]:
        columns = {name: np.array(column) for name, column in self._rows.items()}
        keys = pair_keys(columns["azimuth"], columns["receiver"], columns["source"])
        if not len(keys) and not self._partial:
            raise UserError(f"no RIRs for {self.path}, expected at least one: check the scene's nodes")
        broken = dict(self._broken)
        known = np.sort(np.concatenate([keys, np.array([pair_key(*pair) for pair in broken], np.int64)]))
        if (np.diff(known) == 0).any():
            raise UserError(f"a pair occurs twice among the RIRs for {self.path}: give each one once")
        if not self._partial:
            broken.update((pair, MISSING) for pair in _missing(known))
        reasons = sorted(set(broken.values()))
        numbers = {reason: number for number, reason in enumerate(reasons)}
        table = [(*pair, numbers[broken[pair]]) for pair in sorted(broken, key=lambda pair: pair_key(*pair))]
        return {
            "broken": np.array(table, np.int64).reshape(-1, 4),
            **columns,
            "reasons": np.frombuffer(json.dumps(reasons).encode(), np.uint8),
        }


def _missing(known: np.ndarray) -> list[Pair]:
    """The pairs that the receivers, sources and azimuths of the known keys imply, and that are not there."""
    parts = (np.unique(known & 0x1FF), np.unique(known >> 31), np.unique((known >> 9) & 0x3FFFFF))
    if math.prod(map(len, parts)) == len(known):
        return []
    implied = pair_keys(*np.meshgrid(*parts, indexing="ij")).ravel()
    return [key_pair(key) for key in np.setdiff1d(implied, known).tolist()]


def _header(metadata: dict[str, str], dtype: str, num_values: int, index: Mapping[str, np.ndarray]) -> bytes:
    """The file's table of contents as safetensors defines it: JSON of dtype, shape and byte range."""
    tensors = [("data", dtype, (num_values,)), *((name, a.dtype.name, a.shape) for name, a in index.items())]
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, kind, size in tensors:
        start, end = end, end + math.prod(size) * np.dtype(kind).itemsize
        header[name] = {"dtype": _DTYPE_NAMES[kind], "shape": list(size), "data_offsets": [start, end]}
    return json.dumps(header).encode()
