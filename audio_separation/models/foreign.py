"""Read checkpoints that others made, in both containers of torch.save, without running anything in them.

Up to torch 1.5, and so by the published systems, a file is a row of pickles (a magic number, a protocol number,
facts of the machine, the object, the storages' names), then each storage: its length and its numbers. Since torch
1.6 it is a zip archive of the object's pickle and one uncompressed entry a storage.
"""

from __future__ import annotations

import math
import mmap
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, Callable, Mapping

import torch
from torch import Tensor

from audio_separation.errors import UserError
from audio_separation.models.pickle_program import (
    Damaged,
    Refused,
    StorageRecord,
    TensorRecord,
    run_program,
)

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
MAX_DEPTH = 32
MAX_VALUES = 200_000  # an agent with its settings and two optimisers has about 3,000
_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def read_torch_file(path: Path) -> Any:
    """Read a file of torch.save that anyone may have made.

    Returns:
        dicts, lists, tuples, text, numbers and tensors (in main memory). habitat's and yacs' settings and
        ordered dicts come as plain dicts.

    Raises:
        Refused: it names a class or function that weights and settings do not need; nothing of it has run then.
        Damaged: it is of another kind, or claims more than it holds.
    """
    try:
        with open(path, "rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
            return _read_zip(file) if zipped else _read_legacy(file)
    except (Refused, Damaged):
        raise
    except Exception as error:  # misplaced bytes can raise anything
        raise Damaged(type(error).__name__) from None


def read_foreign_checkpoint(path: Path) -> Any:
    """As :func:`read_torch_file`, for a file that was downloaded.

    Raises:
        UserError: for a missing, damaged or refused file.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"checkpoint {path} not found; give the path of a published .pth file")
    try:
        return read_torch_file(path)
    except Refused as error:
        raise UserError(
            f"checkpoint {path} asks for {error}, which weights and settings do not need: a pickle can run any "
            "code, so it was refused before anything ran; get the file from its original source"
        ) from None
    except Damaged as error:
        raise UserError(
            f"checkpoint {path} should be a file written by torch.save, found one that is damaged or of another "
            f"kind ({path.stat().st_size} bytes; {error}); get it again"
        ) from None


# ---- containers -----------------------------------------------------------------------------------------
def _read_legacy(file: BinaryIO) -> Any:
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        magic, position = run_program(data)
        protocol, position = run_program(data, position)
        if (magic, protocol) != (MAGIC, PROTOCOL):
            raise Damaged("it does not begin as such a file does")
        _machine, position = run_program(data, position)
        content, position = run_program(data, position)
        keys, position = run_program(data, position)
        if type(keys) is not list or not all(type(key) is str for key in keys) or len(set(keys)) != len(keys):
            raise Damaged("its list of storages is none")
        # where each storage lies: int64 number of elements, then the elements
        wanted = {record.key: record for record in _storages(content)}
        starts: dict[str, int] = {}
        for key in keys:
            if key not in wanted or position + 8 > len(data):
                raise Damaged("it ends too early" if key in wanted else "a storage that nothing uses")
            numel = int.from_bytes(data[position : position + 8], "little", signed=True)
            if numel != wanted[key].numel:
                raise Damaged(f"a storage of {numel} numbers where {wanted[key].numel} are announced")
            starts[key] = position + 8
            position += 8 + numel * _DTYPES[wanted[key].kind].itemsize
            if position > len(data):
                raise Damaged("it ends too early")

        def read(record: StorageRecord, size: int) -> bytearray:
            return bytearray(data[starts[record.key] : starts[record.key] + size])

        return _Plain(wanted, read).value(content)


def _read_zip(file: BinaryIO) -> Any:
    size = file.seek(0, 2)
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        if len(entries) != len(archive.infolist()):
            raise Damaged("two entries of one name")
        programs = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(programs) != 1:
            inside = sorted(name for name in entries if name.endswith((".pth", ".pt")))
            found = f" but with {inside[0]!r}: unpack it and give that" if inside else ""
            raise Damaged(f"an archive without a checkpoint's data.pkl{found}")
        root = programs[0][: -len("data.pkl")]
        for name, entry in entries.items():
            if not name.startswith(root) or ".." in name.split("/"):
                raise Damaged(f"an entry {name[:40]!r} outside {root[:40]!r}")
            if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
                raise Damaged("entries that are compressed or encrypted")
        # entries that share bytes would make much of little
        if sum(entry.file_size for entry in entries.values()) > size:
            raise Damaged("entries larger than the file")
        if f"{root}byteorder" in entries and archive.read(f"{root}byteorder") != b"little":
            raise Damaged("numbers in big-endian order")
        content, _ = run_program(archive.read(programs[0]))
        wanted = {record.key: record for record in _storages(content)}

        def read(record: StorageRecord, size: int) -> bytearray:
            entry = entries[f"{root}data/{record.key}"]
            if entry.file_size != size:
                raise Damaged(f"a storage of {entry.file_size} bytes where {size} are announced")
            return bytearray(archive.read(entry))

        return _Plain(wanted, read).value(content)


# ---- values ---------------------------------------------------------------------------------------------
def _storages(content: Any) -> set[StorageRecord]:
    """The storages of all tensors in ``content``; each key once.

    Raises:
        Damaged: when one key is announced in two ways, or the content is nested too deeply or too large.
    """
    found: dict[str, StorageRecord] = {}
    left, todo = MAX_VALUES, [(content, 0)]
    while todo:
        value, depth = todo.pop()
        left -= 1
        if left < 0 or depth > MAX_DEPTH:  # loops and references to references end here too
            raise Damaged("values nested too deeply" if left >= 0 else "too many values")
        if type(value) is dict:
            todo += [(item, depth + 1) for item in value.values()]
        elif type(value) in (list, tuple):
            todo += [(item, depth + 1) for item in value]
        elif (
            type(value) is TensorRecord
            and found.setdefault(value.storage.key, value.storage) != value.storage
        ):
            raise Damaged("a storage announced in two ways")
    return set(found.values())


class _Plain:
    """Turns records into tensors, in content that :func:`_storages` has measured."""

    def __init__(
        self, storages: Mapping[str, StorageRecord], read: Callable[[StorageRecord, int], bytearray]
    ):
        self._storages, self._read = storages, read
        self._numbers: dict[str, Tensor] = {}

    def value(self, value: Any) -> Any:
        if type(value) is dict:
            return {key: self.value(item) for key, item in value.items()}
        if type(value) in (list, tuple):
            return type(value)(self.value(item) for item in value)
        if type(value) is TensorRecord:
            return self._tensor(value)
        if value is None or type(value) in (str, int, float, bool):
            return value
        raise Damaged("a value that is neither a tensor nor plain")

    def _tensor(self, record: TensorRecord) -> Tensor:
        numbers = self._storage(record.storage)
        count = math.prod(record.size)
        last = record.offset + sum((n - 1) * step for n, step in zip(record.size, record.stride))
        if count and (count > len(numbers) or last >= len(numbers)):
            raise Damaged("a tensor larger than its storage")
        if not count:
            return numbers.new_empty(record.size)
        return numbers.as_strided(record.size, record.stride, record.offset)

    def _storage(self, record: StorageRecord) -> Tensor:
        if record.key not in self._numbers:
            dtype = _DTYPES[record.kind]
            data = self._read(record, record.numel * dtype.itemsize)
            self._numbers[record.key] = (
                torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
            )
        return self._numbers[record.key]
