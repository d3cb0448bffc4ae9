"""A pickle is a program. This machine runs the few instructions that torch.save writes, and nothing else.

torch's own ``weights_only`` reader is not used for files of others: before torch 2.6 it let code run
(CVE-2025-32434), before 2.10 memory be overwritten (CVE-2026-24747), it allocates what a header claims before it
looks at the file, and it does not fill a class derived from ``dict``, as the settings in published checkpoints are.
Python's unpickler
looks names up by import and can be crashed by deep nesting. Here no name is ever imported, no attribute is ever
read or set, and what comes out is plain data, :class:`StorageRecord` and :class:`TensorRecord`.
"""

from __future__ import annotations

import pickle
import struct
from typing import Any, Callable, NamedTuple

MAX_OPERATIONS = 500_000  # a published agent takes about 6,000
MAX_NAME = 200  # bytes of a module's or class's name
MAX_RANK = 8  # axes of a tensor
STORAGES = frozenset(
    f"{kind}Storage"
    for kind in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
)
# classes that hold settings; an instance arrives as a plain dict, whatever else it carries is dropped
SETTINGS = frozenset({"habitat.config.default.Config", "yacs.config.CfgNode"})


class Refused(Exception):
    """The program names something that weights and settings do not need."""


class Damaged(Exception):
    """The program, or the file around it, is not as torch.save writes it."""


class GlobalName(NamedTuple):
    """A name that the program mentions; never looked up."""

    name: str


class StorageRecord(NamedTuple):
    """A run of numbers that lies elsewhere in the file: ``kind`` is one of :data:`STORAGES`."""

    kind: str
    key: str
    numel: int


class TensorRecord(NamedTuple):
    """A view of a storage, in elements."""

    storage: StorageRecord
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def _ordered_dict(args: tuple) -> dict:
    if args:
        raise Damaged("an OrderedDict with arguments")
    return {}


def _set(args: tuple) -> list:
    if len(args) != 1 or type(args[0]) is not list:
        raise Damaged("a set without its list")
    return args[0]


def _counts(value: Any) -> bool:
    return type(value) is tuple and all(type(n) is int and n >= 0 for n in value)


def _tensor(args: tuple) -> TensorRecord:
    """Of ``storage, offset, size, stride, requires_grad, hooks``; the last two are dropped."""
    if len(args) < 4 or type(args[0]) is not StorageRecord or not all(map(_counts, (args[1:2], *args[2:4]))):
        raise Damaged("a tensor that is none")
    storage, offset, size, stride = args[:4]
    if len(size) != len(stride) or len(size) > MAX_RANK:
        raise Damaged("a tensor that is none")
    return TensorRecord(storage, offset, size, stride)


def _parameter(args: tuple) -> TensorRecord:
    if not args or type(args[0]) is not TensorRecord:
        raise Damaged("a parameter that is no tensor")
    return args[0]


CALLS: dict[str, Callable[[tuple], Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "builtins.set": _set,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
}


def _storage_kind(name: str) -> str:
    """``FloatStorage`` of ``torch.FloatStorage`` and ``torch.cuda.FloatStorage``; "" for other names."""
    module, _, kind = name.rpartition(".")
    return kind if module in ("torch", "torch.cuda") and kind in STORAGES else ""


def run_program(data: Any, start: int = 0) -> tuple[Any, int]:
    """Run the program that begins at ``data[start]`` (bytes, or a memory map).

    Returns:
        what it leaves, and the position behind it.

    Raises:
        Refused: it names a class or function outside the tables above.
        Damaged, or whatever misplaced bytes lead to (IndexError, KeyError, UnicodeDecodeError).
    """
    machine = _Machine(data, start)
    return machine.run(), machine.position


class _Machine:
    def __init__(self, data: Any, start: int):
        self._data, self.position = data, start
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        for _ in range(MAX_OPERATIONS):
            code = self._take(1)
            if code == pickle.STOP:
                return self._stack.pop()
            operation = _OPERATIONS.get(code)
            if operation is None:
                raise Damaged(f"pickle instruction {code!r}, which torch.save does not write")
            operation(self)
        raise Damaged(f"more than {MAX_OPERATIONS} pickle instructions")

    # ---- reading ------------------------------------------------------------------------------------
    def _take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self._data):
            raise Damaged("it ends too early")
        taken = self._data[self.position : end]
        self.position = end
        return taken

    def _number(self, layout: str) -> Any:
        return struct.unpack(layout, self._take(struct.calcsize(layout)))[0]

    def _line(self) -> str:
        end = self._data.find(b"\n", self.position, self.position + MAX_NAME)
        if end < 0:
            raise Damaged("a name without an end")
        line = self._take(end - self.position).decode("ascii")
        self.position += 1
        if not line.isprintable():  # it will be shown
            raise Damaged("a name that cannot be printed")
        return line

    # ---- operations ---------------------------------------------------------------------------------
    def protocol(self) -> None:
        if self._number("B") > 5:
            raise Damaged("an unknown pickle protocol")

    def mark(self) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _pop_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marked.pop()
        return items

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def integer(self, layout: str) -> None:
        self.push(self._number(layout))

    def long(self) -> None:
        self.push(int.from_bytes(self._take(self._number("B")), "little", signed=True))

    def text(self) -> None:
        self.push(self._take(self._number("<I")).decode("utf-8"))

    def group(self, count: int) -> None:
        items = self._stack[-count:]
        if len(items) != count:
            raise Damaged("a tuple of nothing")
        self._stack[-count:] = [tuple(items)]

    def group_marked(self) -> None:
        items = self._pop_mark()
        self.push(tuple(items))

    def append(self) -> None:
        self._extend([self._stack.pop()])

    def append_marked(self) -> None:
        self._extend(self._pop_mark())

    def _extend(self, items: list[Any]) -> None:
        if type(self._stack[-1]) is not list:
            raise Damaged("items for something that is no list")
        self._stack[-1].extend(items)

    def set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._update([key, value])

    def set_marked(self) -> None:
        self._update(self._pop_mark())

    def _update(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise Damaged("items for something that is no dict")
        for key, value in zip(items[::2], items[1::2]):
            # no tuples: hashing a deep one overflows the C stack; no long integers: their hashes can be made equal
            if type(key) is not str and not (type(key) is int and abs(key) < 2**31):
                raise Damaged("a dict key that is neither text nor a small integer")
            target[key] = value

    def get(self, layout: str) -> None:
        self.push(self._memo[self._number(layout)])

    def put(self, layout: str) -> None:
        self._memo[self._number(layout)] = self._stack[-1]

    def name(self) -> None:
        module, name = self._line(), self._line()
        if module == "__builtin__":  # how protocol 2 spells builtins
            module = "builtins"
        full = f"{module}.{name}"
        if full not in CALLS and full not in SETTINGS and not _storage_kind(full):
            raise Refused(full)
        self.push(GlobalName(full))

    def call(self) -> None:
        args, function = self._stack.pop(), self._stack.pop()
        if type(function) is not GlobalName or type(args) is not tuple:
            raise Damaged("a call of something that is no function")
        if function.name not in CALLS:
            raise Refused(f"a call of {function.name}")
        self.push(CALLS[function.name](args))

    def new_object(self) -> None:
        args, kind = self._stack.pop(), self._stack.pop()
        if type(kind) is not GlobalName or type(args) is not tuple:
            raise Damaged("an object of something that is no class")
        if kind.name not in SETTINGS or args:
            raise Refused(f"a new {kind.name}")
        self.push({})

    def set_state(self) -> None:
        self._stack.pop()  # flags of yacs, or torch's versions of its modules: dropped
        if type(self._stack[-1]) is not dict:
            raise Damaged("a state for something that has none")

    def storage(self) -> None:
        words = self._stack.pop()
        fits = (
            type(words) is tuple
            and (len(words) == 5 or (len(words) == 6 and words[5] is None))
            and type(words[1]) is GlobalName
            and all(type(words[i]) is str for i in (0, 2))
            and type(words[4]) is int
            and words[4] >= 0
        )
        if not fits or words[0] != "storage" or not _storage_kind(words[1].name):
            raise Damaged("a reference to something that is no storage")
        self.push(StorageRecord(_storage_kind(words[1].name), words[2], words[4]))


_OPERATIONS: dict[bytes, Callable[[_Machine], None]] = {
    pickle.PROTO: _Machine.protocol,
    pickle.MARK: _Machine.mark,
    pickle.NONE: lambda m: m.push(None),
    pickle.NEWTRUE: lambda m: m.push(True),
    pickle.NEWFALSE: lambda m: m.push(False),
    pickle.BININT: lambda m: m.integer("<i"),
    pickle.BININT1: lambda m: m.integer("<B"),
    pickle.BININT2: lambda m: m.integer("<H"),
    pickle.BINFLOAT: lambda m: m.integer(">d"),
    pickle.LONG1: _Machine.long,
    pickle.BINUNICODE: _Machine.text,
    pickle.EMPTY_TUPLE: lambda m: m.push(()),
    pickle.EMPTY_LIST: lambda m: m.push([]),
    pickle.EMPTY_DICT: lambda m: m.push({}),
    pickle.TUPLE: _Machine.group_marked,
    pickle.TUPLE1: lambda m: m.group(1),
    pickle.TUPLE2: lambda m: m.group(2),
    pickle.TUPLE3: lambda m: m.group(3),
    pickle.APPEND: _Machine.append,
    pickle.APPENDS: _Machine.append_marked,
    pickle.SETITEM: _Machine.set_item,
    pickle.SETITEMS: _Machine.set_marked,
    pickle.BINGET: lambda m: m.get("<B"),
    pickle.LONG_BINGET: lambda m: m.get("<I"),
    pickle.BINPUT: lambda m: m.put("<B"),
    pickle.LONG_BINPUT: lambda m: m.put("<I"),
    pickle.GLOBAL: _Machine.name,
    pickle.REDUCE: _Machine.call,
    pickle.NEWOBJ: _Machine.new_object,
    pickle.BUILD: _Machine.set_state,
    pickle.BINPERSID: _Machine.storage,
}
