"""The memory-mapped form of a scene's RGB-D cache: one safetensors file, of which only what is looked at is read.

``scene_observations/<dataset>/<scene>.safetensors`` holds ``node`` (int64 ``[V]``, the published node ids),
``depth`` (float32 ``[V, 4, H, W, 1]``, 0 to 1 of 10 m) and ``rgb`` (uint8 ``[V, 4, H, W, 3]``), by node index
and rotation index (90 degrees each). Metadata (strings): ``format``, ``version``, and what the writer knows of
``renderer``, ``fov_deg`` and ``camera_height_m``. Depth stays float32, so that both forms of the cache hold the
same numbers: float16 would be off by up to 2.4 mm at 10 m, and rgb is two fifths of the file anyway.
"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Optional

import numpy as np
from safetensors import SafetensorError, safe_open

from audio_separation.errors import UserError

FORMAT = "audio_separation/observations"
VERSION = "1"
SUFFIX = ".safetensors"
NUM_ROTATIONS = 4
# tensors in the order that they lie in: every one begins at a multiple of its item size
_DTYPES = {"node": ("I64", np.int64), "depth": ("F32", np.float32), "rgb": ("U8", np.uint8)}
_CURE = (
    "write it again with scripts/cache_observations.py --overwrite, or delete it to use the pickle beside it"
)


class MappedObservations(NamedTuple):
    """An open file; the arrays are mapped copy-on-write, so they read the disk when looked at.

    Attributes:
        node_ids: int64 [V].
        rgb: uint8 [V, 4, H, W, 3].
        depth: float32 [V, 4, H, W, 1].
        metadata: see the module.
    """

    node_ids: np.ndarray
    rgb: np.ndarray
    depth: np.ndarray
    metadata: dict[str, str]


def write_mapped_views(
    path: Path,
    node_ids: np.ndarray,
    rgb: np.ndarray,
    depth: np.ndarray,
    metadata: Optional[Mapping[str, str]] = None,
) -> None:
    """Write the file; it appears whole or not at all, and the same views give the same bytes.

    Args:
        path: the file.
        node_ids: int [V].
        rgb: uint8 [V, 4, H, W, 3].
        depth: float32 [V, 4, H, W, 1], 0 to 1 of 10 m.
        metadata: further strings.
    """
    check_views(rgb, depth, (len(node_ids), NUM_ROTATIONS, *rgb.shape[2:4], 3))
    arrays = {"node": np.asarray(node_ids, np.int64), "depth": depth, "rgb": rgb}
    header: dict[str, Any] = {"__metadata__": {**(metadata or {}), "format": FORMAT, "version": VERSION}}
    end = 0
    for name, (code, _) in _DTYPES.items():
        begin, end = end, end + arrays[name].nbytes
        header[name] = {"dtype": code, "shape": list(arrays[name].shape), "data_offsets": [begin, end]}
    text = json.dumps(header, sort_keys=True).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for name in _DTYPES:
                file.write(np.ascontiguousarray(arrays[name]).data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_views(rgb: np.ndarray, depth: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless rgb is uint8 of ``shape`` [..., 3] and depth float32 [..., 1] within 0 to 1."""
    if rgb.dtype != np.uint8 or rgb.shape != shape or shape[-1] != 3:
        raise ValueError(f"rgb should be uint8 {list(shape)}, found {rgb.dtype} {list(rgb.shape)}")
    if depth.dtype != np.float32 or depth.shape != (*shape[:-1], 1):
        raise ValueError(
            f"depth should be float32 {[*shape[:-1], 1]}, found {depth.dtype} {list(depth.shape)}"
        )
    if not (depth.min() >= 0 and depth.max() <= 1):  # also refuses what is not a number
        raise ValueError(f"depth should be within 0..1 of 10 m, found {depth.min()} to {depth.max()}")


def open_mapped(path: Path | str) -> MappedObservations:
    """Map a file; only its header and node ids are read.

    Raises:
        UserError: missing, truncated, of another format or version, or with tensors of other kinds or shapes.
    """
    path = Path(path)
    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            names = set(file.keys())
        with path.open("rb") as raw:
            (length,) = struct.unpack("<Q", raw.read(8))
            header = json.loads(raw.read(length))
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is missing, truncated or corrupt ({error}): {_CURE}") from None
    found = (metadata.get("format"), metadata.get("version"))
    if found != (FORMAT, VERSION):
        raise UserError(f"{path} is of format {found}, expected {(FORMAT, VERSION)}: {_CURE}")
    if names != set(_DTYPES):
        raise UserError(f"{path} holds {sorted(names)}, expected {sorted(_DTYPES)}: {_CURE}")
    shapes = {name: tuple(header[name]["shape"]) for name in _DTYPES}
    views = (*shapes["node"], NUM_ROTATIONS, *shapes["rgb"][2:4])
    dtypes = {name: header[name]["dtype"] for name in _DTYPES}
    if (
        dtypes != {name: code for name, (code, _) in _DTYPES.items()}
        or len(views) != 4
        or 0 in views
        or shapes["rgb"] != (*views, 3)
        or shapes["depth"] != (*views, 1)
    ):
        listed = "; ".join(f"{name} {dtypes[name]} {list(shapes[name])}" for name in _DTYPES)
        raise UserError(
            f"{path} holds {listed}; expected node I64 [V], depth F32 [V, 4, H, W, 1], rgb U8 [V, 4, H, W, 3]: {_CURE}"
        )
    # copy on write, as torch warns of memory that it may not write; what is only read stays shared
    arrays = {
        name: np.memmap(path, dtype, "c", 8 + length + header[name]["data_offsets"][0], shapes[name]).view(
            np.ndarray
        )
        for name, (_, dtype) in _DTYPES.items()
    }
    return MappedObservations(arrays["node"], arrays["rgb"], arrays["depth"], metadata)
