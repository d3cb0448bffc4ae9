"""Packed RIRs: all responses of a scene in one memory-mapped safetensors file.

Tensors, R responses whose samples add up to T: ``data [T, C]`` (float16 or float32, each response divided
by its own peak), ``scale [R]`` (that peak), ``offset``, ``length``, ``azimuth``, ``receiver``, ``source``
``[R]``, sorted by (receiver, source, azimuth). Metadata (strings): ``format``, ``version``, ``rate``, and
what the writer adds, such as ``engine``. A scale a response keeps the error of float16 some 70 dB below it.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, Iterable, NamedTuple, Optional

import numpy as np
from safetensors import SafetensorError, safe_open

from audio_separation.audio.rir_store import NUM_EARS, RirStore, UnreadableRir, existing_root
from audio_separation.errors import UserError

FORMAT = "audio_separation/packed_rirs"
VERSION = "1"
INDEX = ("offset", "length", "azimuth", "receiver", "source")
_CURE = "write it again with scripts/generate_homes.py or scripts/pack_rirs.py"
_SKIP = f"{_CURE}, or set AUDIO.MISSING_RIR skip to leave such pairs out"
_MAX_OPEN_SCENES = 16  # an index of Matterport3D has about a million rows
_DTYPE_NAMES = {"float16": "F16", "float32": "F32", "int64": "I64"}  # as safetensors spells them


class _Scene(NamedTuple):
    path: Path
    data: Any  # safetensors slice of `data`, read from the mapped file on indexing
    keys: np.ndarray  # int64 [R], ascending
    scale: np.ndarray
    offset: np.ndarray
    length: np.ndarray


class PackedRirStore(RirStore):
    """Random access to ``root/<scene>.safetensors``; only the samples that are asked for are read."""

    def __init__(self, root: Path, rate: int = 16000, on_missing: str = "error") -> None:
        super().__init__(rate, on_missing)
        self.root = existing_root(root)
        self._scenes: OrderedDict[str, _Scene] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        # a mapped file does not travel to a spawned worker; it opens its own
        return {**self.__dict__, "_scenes": OrderedDict()}

    def max_samples(self, scene: str) -> int:
        """Return the length of the scene's longest RIR, from the index."""
        return int(self._open(scene).length.max())

    def _open(self, scene: str) -> _Scene:
        if scene not in self._scenes:
            self._scenes[scene] = _open_scene(self.root / f"{scene}.safetensors", self.rate)
            if len(self._scenes) > _MAX_OPEN_SCENES:
                self._scenes.popitem(last=False)
        self._scenes.move_to_end(scene)
        return self._scenes[scene]

    def _read(self, scene: str, azimuth: int, receiver: int, source: int) -> np.ndarray:
        opened = self._open(scene)
        key = int(_keys(*(np.array(part, np.int64) for part in (azimuth, receiver, source))))
        row = int(np.searchsorted(opened.keys, key))
        where = f"{opened.path}, azimuth {azimuth}, receiver {receiver}, source {source}"
        if row == len(opened.keys) or opened.keys[row] != key:
            raise UnreadableRir(f"{where}: no such RIR; {_SKIP}")
        start, length = int(opened.offset[row]), int(opened.length[row])
        rir = opened.data[start : start + length].astype(np.float32).T * opened.scale[row]
        if length == 0 or not np.isfinite(rir).all():
            raise UnreadableRir(f"{where}: the RIR is empty or not finite; {_SKIP}")
        return np.ascontiguousarray(rir)


def _keys(azimuth: np.ndarray, receiver: np.ndarray, source: np.ndarray) -> np.ndarray:
    # one number per pair: 22 bits of receiver, 22 of source, 9 of azimuth in degrees
    return ((receiver.astype(np.int64) << 31) | (source.astype(np.int64) << 9)) | azimuth.astype(np.int64)


def read_packed_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a packed file.

    Raises:
        UserError: missing, truncated, corrupt, or not a packed RIR file.
    """
    with _open_file(Path(path)) as file:
        return _metadata(Path(path), file)


def _open_file(path: Path) -> Any:
    if not path.is_file():
        raise UserError(f"{path} is missing, expected the scene's packed RIRs: {_CURE}")
    try:
        return safe_open(str(path), framework="numpy")
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is truncated or corrupt ({error}): {_CURE}") from None


def _metadata(path: Path, file: Any) -> dict[str, str]:
    metadata = file.metadata() or {}
    found = (metadata.get("format"), metadata.get("version"))
    if found != (FORMAT, VERSION):
        raise UserError(f"{path} is of format {found}, expected {(FORMAT, VERSION)}: {_CURE}")
    return metadata


def _open_scene(path: Path, rate: int) -> _Scene:
    file = _open_file(path)
    found_rate = _metadata(path, file).get("rate", "unknown")
    if found_rate != str(rate):
        raise UserError(f"{path} has a rate of {found_rate} Hz, expected {rate} Hz: {_CURE}")
    try:
        index = {name: file.get_tensor(name) for name in INDEX}
        scale = file.get_tensor("scale")
        data = file.get_slice("data")
        shape = data.get_shape()
    except SafetensorError as error:
        raise UserError(f"{path} is corrupt ({error}): {_CURE}") from None
    if not _consistent(index, scale, shape):
        raise UserError(f"{path} is corrupt (its index and its samples do not fit together): {_CURE}")
    keys = _keys(index["azimuth"], index["receiver"], index["source"])
    order = np.argsort(keys, kind="stable")
    return _Scene(path, data, keys[order], scale[order], index["offset"][order], index["length"][order])


def _consistent(index: dict[str, np.ndarray], scale: np.ndarray, shape: list[int]) -> bool:
    rows = {scale.shape, *(array.shape for array in index.values())}
    if len(rows) != 1 or scale.ndim != 1 or not len(scale) or len(shape) != 2 or shape[1] != NUM_EARS:
        return False
    ends = index["offset"] + index["length"]
    return bool(index["offset"].min() >= 0 and index["length"].min() >= 0 and ends.max() <= shape[0])


def write_packed(
    path: Path,
    rirs: Iterable[tuple[tuple[int, int, int], np.ndarray]],
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
    if dtype not in ("float16", "float32"):
        raise UserError(f"packed RIRs have dtype float16 or float32, not {dtype!r}")
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            _write_stream(file, path, rirs, dtype, {**(metadata or {}), "rate": str(rate)})
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_stream(
    file: BinaryIO,
    path: Path,
    rirs: Iterable[tuple[tuple[int, int, int], np.ndarray]],
    dtype: str,
    metadata: dict[str, str],
) -> None:
    metadata = {**metadata, "format": FORMAT, "version": VERSION}
    # safetensors puts the table of contents first: room for it is left, and filled in when all is known
    room = -(-(2048 + 2 * len(json.dumps(metadata))) // 8) * 8
    file.write(b" " * (8 + room))
    rows: dict[str, list[float]] = {name: [] for name in ("scale", *INDEX)}
    total = 0
    for key, rir in rirs:
        scaled, peak = _scaled(path, key, rir)
        file.write(np.ascontiguousarray(scaled.T, dtype=dtype).tobytes())  # [C, L] -> [L, C]
        for name, value in zip(rows, (peak, total, rir.shape[1], *key)):
            rows[name].append(value)
        total += rir.shape[1]
    padding = -total % 4  # whole multiples of 8 bytes keep the arrays behind it aligned
    file.write(np.zeros((padding, NUM_EARS), dtype).tobytes())
    index = _sorted_index(path, rows)
    for array in index.values():
        file.write(array.tobytes())
    header = _header(metadata, (total + padding, NUM_EARS), dtype, index).ljust(room)
    assert len(header) == room, "the room left for the header is too small"
    file.seek(0)
    file.write(struct.pack("<Q", room) + header)


def _header(
    metadata: dict[str, str], shape: tuple[int, int], dtype: str, index: dict[str, np.ndarray]
) -> bytes:
    """The file's table of contents as safetensors defines it: JSON of dtype, shape and byte range."""
    tensors = [("data", dtype, shape), *((name, a.dtype.name, a.shape) for name, a in index.items())]
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, kind, size in tensors:
        start, end = end, end + math.prod(size) * np.dtype(kind).itemsize
        header[name] = {"dtype": _DTYPE_NAMES[kind], "shape": list(size), "data_offsets": [start, end]}
    return json.dumps(header).encode()


def _scaled(path: Path, key: tuple[int, int, int], rir: np.ndarray) -> tuple[np.ndarray, float]:
    if rir.ndim != 2 or rir.shape[0] != NUM_EARS or rir.shape[1] < 1 or not np.isfinite(rir).all():
        raise UserError(
            f"the RIR (azimuth, receiver, source) {key} for {path} has shape {rir.shape}, expected a finite "
            f"({NUM_EARS}, L) array: leave it out, or compute it again"
        )
    peak = float(np.abs(rir).max()) or 1.0  # silence stays silence
    return rir / peak, peak


def _sorted_index(path: Path, rows: dict[str, list[float]]) -> dict[str, np.ndarray]:
    if not rows["scale"]:
        raise UserError(f"no RIRs for {path}, expected at least one: check the scene's nodes")
    index = {name: np.array(rows[name], np.int64) for name in INDEX}
    keys = _keys(index["azimuth"], index["receiver"], index["source"])
    order = np.argsort(keys, kind="stable")
    if (np.diff(keys[order]) == 0).any():
        raise UserError(f"a pair of nodes occurs twice among the RIRs for {path}: give each one once")
    scale = np.array(rows["scale"], np.float32)
    arrays: dict[str, np.ndarray] = {**index, "scale": scale}
    return {name: np.ascontiguousarray(array[order]) for name, array in arrays.items()}
