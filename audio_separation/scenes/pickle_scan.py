"""Look through a pickle before Python's unpickler runs it: what announces more than the file holds is refused.

The unpickler takes memory by announcement: nine bytes make it reserve gigabytes for a text that is not there, or a
table up to the largest number that an object is remembered under. It hashes tuples in tuples by recursion in C, and
enough of them crash the process.
"""

from __future__ import annotations

import pickle
import pickletools
from typing import Any

MAX_TUPLES = 10_000  # where a file has more, how deep they are nested is looked at
MAX_DEPTH = 1_000
_LINES, _ARGUMENT, _REMEMBER, _TUPLE, _STOP, _FOREIGN = range(-6, 0)
_WIDTHS = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
# Python 3 writes none of these: old-style instances, registered extensions, references to elsewhere
_UNUSED = ("INST", "OBJ", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID")


def _kinds() -> tuple[list[int], dict[int, int]]:
    """For each byte: the length of a plain instruction's argument or a special kind; and widths of lengths."""
    kinds, widths = [_FOREIGN] * 256, {}
    for op in pickletools.opcodes:
        code, size = ord(op.code), op.arg.n if op.arg else 0
        if op.name in _UNUSED:
            continue
        if op.name in ("PUT", "LONG_BINPUT"):
            kinds[code] = _REMEMBER
        elif op.name.startswith("TUPLE"):
            kinds[code] = _TUPLE
        elif op.name == "STOP":
            kinds[code] = _STOP
        elif size == pickletools.UP_TO_NEWLINE:
            kinds[code], widths[code] = _LINES, 2 if op.name == "GLOBAL" else 1
        elif size in _WIDTHS:
            kinds[code], widths[code] = _ARGUMENT, _WIDTHS[size]
        else:
            kinds[code] = size
    return kinds, widths


_KINDS, _SIZES = _kinds()


def scan_pickle(data: bytes) -> None:
    """Check that the instructions up to the first STOP can be run within a few times the memory of ``data``.

    Raises:
        pickle.UnpicklingError: an instruction that Python 3 does not write, one that announces more than follows,
            or tuples nested too deeply.
    """
    kinds, sizes, end = _KINDS, _SIZES, len(data)
    position = tuples = 0
    while position < end:
        code = data[position]
        kind = kinds[code]
        position += 1
        if kind >= 0:
            position += kind
        elif kind == _TUPLE:
            tuples += 1
        elif kind == _STOP:
            if tuples > MAX_TUPLES and _deepest(data) > MAX_DEPTH:
                raise pickle.UnpicklingError("tuples nested too deeply")
            return
        elif kind == _FOREIGN:
            raise pickle.UnpicklingError(f"instruction {bytes([code])!r}")
        else:
            position = _special(data, position, kind, sizes.get(code, 1))
    raise pickle.UnpicklingError("pickle data was truncated")


def _special(data: bytes, position: int, kind: int, size: int) -> int:
    """The position after the argument of a rarer instruction, which begins at ``position``."""
    if kind == _ARGUMENT:
        # a negative length of the signed ones is a huge one here
        length = int.from_bytes(data[position : position + size], "little")
        if position + size + length > len(data):
            raise pickle.UnpicklingError("pickle data was truncated")
        return position + size + length
    if kind == _REMEMBER and data[position - 1 : position] == pickle.LONG_BINPUT:
        number, after = int.from_bytes(data[position : position + 4], "little"), position + 4
    else:
        after = position
        for _ in range(size):
            after = data.find(b"\n", after) + 1
            if not after:
                raise pickle.UnpicklingError("pickle data was truncated")
        number = int(data[position : after - 1]) if kind == _REMEMBER else 0
    if number > len(data):
        raise pickle.UnpicklingError(f"an object remembered as number {number}")
    return after


def _deepest(data: bytes) -> int:
    """How deep tuples are nested, following what each instruction takes from the stack and puts on it."""
    stack: list[Any] = []
    memo: dict[int, int] = {}
    deepest = 0
    for op, argument, _ in pickletools.genops(data):
        if op.name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif op.name.endswith("PUT"):
            memo[int(str(argument))] = stack[-1]
        elif op.name.endswith("GET"):
            stack.append(memo.get(int(str(argument)), 0))
        elif op.name == "DUP":
            stack.append(stack[-1])
        elif op.name == "MARK":
            stack.append(None)
        else:
            taken = _take(stack, op)
            depth = 1 + max(taken, default=0) if op.name.startswith("TUPLE") else 0
            deepest = max(deepest, depth)
            if op.name in ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"):
                depth = 0
            stack += [depth] * len(op.stack_after)
    return deepest


def _take(stack: list[Any], op: Any) -> list[int]:
    """Remove what ``op`` takes, down to the mark where it goes by one."""
    if pickletools.markobject not in op.stack_before:
        taken = [stack.pop() for _ in op.stack_before]
        return [depth for depth in taken if depth is not None]
    taken = []
    while stack and stack[-1] is not None:
        taken.append(stack.pop())
    if stack:
        stack.pop()
    for _ in range(op.stack_before.index(pickletools.markobject)):
        stack.pop()
    return taken
