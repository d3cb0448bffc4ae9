"""Writing patches: objects and connections become the text of a ``.pd`` file."""

from __future__ import annotations

import re
from typing import Sequence, Union

Atom = Union[str, float, int]


def atom(value: Atom) -> str:
    """One word of a patch file. Numbers keep the precision of Pure Data's 32-bit floats."""
    if isinstance(value, str):
        return re.sub(r"([\\ ,;$])", r"\\\1", value)
    # without an exponent, and with the nine digits that tell 32-bit floats apart
    return str(value) if float(value).is_integer() else f"{value:.12f}".rstrip("0")


class PatchText:
    """A patch in the making; what :meth:`obj` and :meth:`msg` return stands for the box."""

    def __init__(self) -> None:
        self._boxes: list[str] = []
        self._cords: list[str] = []

    def obj(self, *words: Atom) -> int:
        """An object such as ``obj("osc~", 440)``."""
        return self._box("obj", " ".join(map(atom, words)))

    def msg(self, text: str) -> int:
        """A message box with Pure Data's own syntax: ``$1``, commas and semicolons have their meaning."""
        return self._box("msg", re.sub(r"\s*([,;])", r" \\\1", text).strip().replace("$", "\\$"))

    def connect(self, source: int, target: int, outlet: int = 0, inlet: int = 0) -> None:
        """A cord from an outlet of box ``source`` to an inlet of box ``target``."""
        self._cords.append(f"#X connect {source} {outlet} {target} {inlet};")

    def chain(self, *boxes: int) -> None:
        """Cords from each box's first outlet to the first inlet of the next."""
        for source, target in zip(boxes, boxes[1:]):
            self.connect(source, target)

    def text(self) -> str:
        """The file's content."""
        return "\n".join(["#N canvas 60 60 900 700 12;", *self._boxes, *self._cords, ""])

    def _box(self, kind: str, text: str) -> int:
        number = len(self._boxes)
        # in rows of four, so that the patch can be opened and read
        self._boxes.append(f"#X {kind} {20 + 220 * (number % 4)} {20 + 34 * (number // 4)} {text};")
        return number


def lines_text(rows: Sequence[Sequence[float]]) -> str:
    """Rows of numbers as the content of a ``[text]`` object."""
    return "".join(" ".join(map(atom, row)) + ";\n" for row in rows)
