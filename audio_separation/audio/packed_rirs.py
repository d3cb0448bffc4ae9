"""Packed RIRs: all responses of a scene in one memory-mapped, checksummed safetensors file.

Version 2 holds these tensors, for R responses and K pairs of nodes that have none:

- ``data [N]``, float16 or float32: the responses one after the other, each ``[C, L]``.
- ``length`` (uint32), ``azimuth``, ``receiver``, ``source`` (uint16) ``[R]``: the L of each, and whose it is.
- ``scale [R]``, float32: what to multiply a response by. ``crc [R]``, uint32: CRC-32 of its stored bytes.
- ``broken [K, 4]``, int64: azimuth, receiver, source and the reason's place in ``reasons``, which is a JSON
  list as uint8. They were unreadable in the tree that was packed, or missing though others imply them.

Metadata (strings): ``format``, ``version``, ``rate``, ``dtype``, ``worst_error_db`` (measured while packing),
``unreadable`` and ``missing`` (numbers of pairs), ``index_crc`` (CRC-32 of all that is not ``data``), and
what the writer adds, such as ``engine``. float32 is exact. float16 divides each response by its peak and is
within 2^-11 of every sample, so its error lies 66 dB or more below the response.

Version 1 is still read: no checksums, no ``broken``, ``data [T, C]``, and where each response begins there.
"""

from __future__ import annotations

import json
import math
import mmap
import struct
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any, Iterable, Mapping, Optional

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from audio_separation.audio.rir_store import NUM_EARS, RirKey, RirStore, UnreadableRir, existing_root
from audio_separation.errors import UserError

FORMAT = "audio_separation/packed_rirs"
VERSION = "2"
DTYPES = ("float16", "float32")
Pair = tuple[int, int, int]  # azimuth in degrees, receiver node, source node

_COLUMNS = ("length", "azimuth", "receiver", "source", "scale")
_CURE = "write it again with scripts/generate_homes.py or scripts/pack_rirs.py --overwrite"
_SKIP = f"{_CURE}, or set AUDIO.MISSING_RIR skip to leave such pairs out"
_MAX_OPEN_SCENES = 16  # an index of Matterport3D has about a million rows


class PackedRirStore(RirStore):
    """Random access to ``root/<scene>.safetensors``; only the samples that are asked for are read."""

    def __init__(self, root: Path, rate: int = 16000, on_missing: str = "error") -> None:
        super().__init__(rate, on_missing)
        self.root = existing_root(root)
        self._scenes: OrderedDict[str, PackedScene] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        # a mapped file does not travel to a spawned worker; it opens its own
        return {**self.__dict__, "_scenes": OrderedDict()}

    def max_samples(self, scene: str) -> int:
        """Return the length of the scene's longest RIR, from the index."""
        return int(self._open(scene).length.max())

    def broken_pairs(self, scene: str) -> dict[Pair, str]:
        """Return the pairs that the scene's file lists as unreadable or missing, each with the reason."""
        return self._open(scene).broken_pairs()

    def prefetch(self, keys: Iterable[RirKey]) -> None:
        """Ask the system to read these responses from the disk in the background; costs a few us each."""
        for scene, *pair in keys:
            opened = self._open(scene)
            row = opened.row(*pair)
            if row is not None:
                opened.will_need(row)

    def _open(self, scene: str) -> PackedScene:
        if scene not in self._scenes:
            self._scenes[scene] = PackedScene(self.root / f"{scene}.safetensors", self.rate)
            if len(self._scenes) > _MAX_OPEN_SCENES:
                self._scenes.popitem(last=False)
        self._scenes.move_to_end(scene)
        return self._scenes[scene]

    def _read(self, scene: str, azimuth: int, receiver: int, source: int) -> np.ndarray:
        opened = self._open(scene)
        row = opened.row(azimuth, receiver, source)
        if row is None:
            raise UnreadableRir(opened.why_absent(azimuth, receiver, source))
        return opened.read(row)


class PackedScene:
    """One packed file, open.

    Args:
        path: the file.
        rate: samples per second that it must have; None takes any.

    Attributes:
        metadata: see the module.
        length: int64 ``[R]``, samples of each response, in the order of their pairs.
        scale: float32 ``[R]``, what to multiply its stored values by.
        crc: uint32 ``[R]``, CRC-32 of its stored values; None in version 1.

    Raises:
        UserError: missing, truncated, corrupt, of another format, version or rate.
    """

    def __init__(self, path: Path, rate: Optional[int]) -> None:
        self.path = Path(path)
        with _open_file(self.path) as file:
            self.metadata = _metadata(self.path, file)
            found_rate = self.metadata.get("rate", "unknown")
            if rate is not None and found_rate != str(rate):
                raise UserError(f"{path} has a rate of {found_rate} Hz, expected {rate} Hz: {_CURE}")
            old = self.metadata["version"] == "1"
            names = _COLUMNS + (("offset",) if old else ("crc", "broken", "reasons"))
            try:
                index = {name: file.get_tensor(name) for name in names}
                self.data, self._mapped, self._data_start = _map(self.path)
            except (SafetensorError, KeyError) as error:
                raise UserError(f"{path} is corrupt ({error}): {_CURE}") from None
        if old:
            index = {**index, "offset": NUM_EARS * index["offset"], **_NO_CHECKSUMS}
        elif str(index_checksum(self.metadata, index)) != self.metadata.get("index_crc"):
            raise UserError(f"{path} is corrupt (its index does not match its checksum): {_CURE}")
        values = NUM_EARS * index["length"].astype(np.int64)
        offset = index["offset"] if old else np.cumsum(values) - values
        if not _consistent(index, offset, values, self.data.size):
            raise UserError(f"{path} is corrupt (its index and its samples do not fit together): {_CURE}")
        keys = pair_keys(index["azimuth"], index["receiver"], index["source"])
        order = np.argsort(keys, kind="stable")
        self._keys, self.scale, self._offset = (a[order] for a in (keys, index["scale"], offset))
        self.length = index["length"].astype(np.int64)[order]
        self.crc = None if old else index["crc"][order]
        self._checked = np.zeros(len(keys), bool)
        self._broken_keys, self._broken_reason = pair_keys(*index["broken"].T[:3]), index["broken"][:, 3]
        self._reasons: list[str] = json.loads(index["reasons"].tobytes())

    def __len__(self) -> int:
        return len(self._keys)

    def row(self, azimuth: int, receiver: int, source: int) -> Optional[int]:
        """Return the pair's row in the index, or None."""
        return _find(self._keys, pair_key(azimuth, receiver, source))

    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return azimuth, receiver and source of every response, int64 ``[R]`` each."""
        keys = self._keys
        return keys & 0x1FF, keys >> 31, (keys >> 9) & 0x3FFFFF

    def pair(self, row: int) -> Pair:
        """Return whose response lies in this row."""
        return key_pair(int(self._keys[row]))

    def stored(self, row: int) -> np.ndarray:
        """Return the response as stored, ``[C * L]`` (``[L * C]`` in version 1), mapped."""
        begin = int(self._offset[row])
        return self.data[begin : begin + NUM_EARS * int(self.length[row])]

    def read(self, row: int) -> np.ndarray:
        """Return the response, float32 ``[C, L]``; the first time its checksum is verified.

        Raises:
            UnreadableRir: the stored samples do not match the checksum, or are not finite.
        """
        # a copy, as torch wants memory that it may write; torch converts float16 five times as fast as numpy
        samples = torch.from_numpy(np.array(self.stored(row)))
        if not self._checked[row]:
            self.check(row, samples.numpy())
            self._checked[row] = True
        scaled = samples.float().mul_(float(self.scale[row])).numpy()
        if self.crc is None:
            return np.ascontiguousarray(scaled.reshape(-1, NUM_EARS).T)  # [L, C] -> [C, L]
        return scaled.reshape(NUM_EARS, -1)

    def check(self, row: int, stored: np.ndarray) -> None:
        """Compare stored samples with the row's checksum; in version 1, which has none, see that they are finite.

        Raises:
            UnreadableRir: they do not match, or are not finite.
        """
        if self.crc is None:
            fault = "" if np.isfinite(stored).all() else "the RIR is not finite"
        else:
            fault = (
                "" if zlib.crc32(stored.data) == self.crc[row] else "its samples do not match its checksum"
            )
        if fault:
            raise UnreadableRir(f"{self._where(*self.pair(row))}: {fault}; {_SKIP}")

    def will_need(self, row: int) -> None:
        """Ask the system to read the response from the disk in the background, where it can be asked."""
        if not hasattr(mmap, "MADV_WILLNEED"):
            return
        size = self.data.itemsize
        begin = self._data_start + int(self._offset[row]) * size
        page = begin // mmap.PAGESIZE * mmap.PAGESIZE
        end = begin + NUM_EARS * int(self.length[row]) * size
        self._mapped.madvise(mmap.MADV_WILLNEED, page, end - page)

    def broken_pairs(self) -> dict[Pair, str]:
        """Return the pairs listed as unreadable or missing, each with the reason."""
        reasons = (self._reasons[number] for number in self._broken_reason.tolist())
        return dict(zip(map(key_pair, self._broken_keys.tolist()), reasons))

    def why_absent(self, azimuth: int, receiver: int, source: int) -> str:
        """Return the sentence on a pair that has no row: the recorded reason where there is one."""
        row = _find(self._broken_keys, pair_key(azimuth, receiver, source))
        reason = "no such RIR" if row is None else self._reasons[int(self._broken_reason[row])]
        return f"{self._where(azimuth, receiver, source)}: {reason}; {_SKIP}"

    def _where(self, azimuth: int, receiver: int, source: int) -> str:
        return f"{self.path}, azimuth {azimuth}, receiver {receiver}, source {source}"


_NO_CHECKSUMS = {"broken": np.empty((0, 4), np.int64), "reasons": np.frombuffer(b"[]", np.uint8)}


def pair_key(azimuth: int, receiver: int, source: int) -> int:
    """Return the number that a pair is sorted and found by."""
    # 22 bits of receiver, 22 of source, 9 of azimuth in degrees
    return (int(receiver) << 31) | (int(source) << 9) | int(azimuth)


def pair_keys(azimuth: np.ndarray, receiver: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Return :func:`pair_key` of arrays of integers."""
    return (receiver.astype(np.int64) << 31) | (source.astype(np.int64) << 9) | azimuth.astype(np.int64)


def key_pair(key: int) -> Pair:
    """Return the pair of a :func:`pair_key`."""
    return key & 0x1FF, key >> 31, (key >> 9) & 0x3FFFFF


def _find(keys: np.ndarray, key: int) -> Optional[int]:
    row = int(keys.searchsorted(key))
    return row if row < len(keys) and keys[row] == key else None


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
    if found not in ((FORMAT, "1"), (FORMAT, VERSION)):
        raise UserError(f"{path} is of format {found}, expected {(FORMAT, VERSION)}: {_CURE}")
    return metadata


def _map(path: Path) -> tuple[np.ndarray, mmap.mmap, int]:
    """Map ``data`` (flat), in a file whose header safetensors has found to be sound."""
    with path.open("rb") as file:
        (room,) = struct.unpack("<Q", file.read(8))
        entry = json.loads(file.read(room))["data"]
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    start = 8 + room + entry["data_offsets"][0]
    dtype = {"F16": np.float16, "F32": np.float32}[entry["dtype"]]
    return np.frombuffer(mapped, dtype, math.prod(entry["shape"]), start), mapped, start


def _consistent(
    index: Mapping[str, np.ndarray], offset: np.ndarray, values: np.ndarray, num_values: int
) -> bool:
    rows = {array.shape for name, array in index.items() if name not in ("broken", "reasons")}
    if len(rows) != 1 or offset.ndim != 1:
        return False
    ends = offset + values
    return bool(
        offset.min(initial=0) >= 0 and values.min(initial=1) > 0 and ends.max(initial=0) <= num_values
    )


def index_checksum(metadata: Mapping[str, str], index: Mapping[str, np.ndarray]) -> int:
    """Return the CRC-32 of all that a file holds beside its samples."""
    described = {name: value for name, value in metadata.items() if name != "index_crc"}
    crc = zlib.crc32(json.dumps(described, sort_keys=True).encode())
    for name in sorted(index):
        crc = zlib.crc32(np.ascontiguousarray(index[name]).data, crc)
    return crc
