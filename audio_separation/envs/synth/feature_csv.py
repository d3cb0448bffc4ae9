"""CSV files of descriptors as the published system writes them: a header, perhaps a column that counts the rows."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Callable, Iterable, Sequence

import numpy as np

from audio_separation.audio.descriptors import NAMES, PUBLISHED
from audio_separation.errors import UserError

INDEX_NAMES = ("", "Unnamed: 0", "index")  # headers of a column that counts the rows


def csv_bytes(names: Sequence[str], values: np.ndarray, number: Callable[[float], str] = repr) -> bytes:
    """CSV of ``values`` ``[R, C]`` under ``names``, each written by ``number``; ``repr`` reads back to the bit."""
    rows = ([number(value) for value in row] for row in values.tolist())
    return _text(names, rows).encode()


def indexed_csv_bytes(names: Sequence[str], values: np.ndarray) -> bytes:
    """The same with a first column that counts the rows, in nine digits: a frame of sound holds no more."""
    rows = ([str(i), *(f"{value:.9g}" for value in row)] for i, row in enumerate(values.tolist()))
    return _text(["", *names], rows).encode()


def _text(names: Sequence[str], rows: Iterable[list[str]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return buffer.getvalue()


def read_csv(path: Path, cure: str) -> tuple[list[str], np.ndarray]:
    """Header and float64 values ``[R, C]`` of a file, without the column that counts the rows.

    Args:
        cure: ends every error's sentence.

    Raises:
        UserError: missing, empty, a line of another length, a value that is no finite number, a name twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise UserError(f"{path} is missing, expected a CSV file of descriptors: {cure}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not a text file, expected a CSV file of descriptors: {cure}") from None
    head, _, body = text.partition("\n")
    names = [name.strip() for name in next(csv.reader([head]), [])]
    if not names or not body.strip():
        raise UserError(f"{path} holds no row of descriptors under a header: {cure}")
    try:
        values = np.loadtxt(io.StringIO(body), delimiter=",", comments=None, ndmin=2, dtype=np.float64)
    except ValueError as error:
        reason = str(error).split(";")[0].rstrip(".")
        raise UserError(f"{path} is broken below its header ({reason}): {cure}") from None
    if values.shape[1] != len(names):
        raise UserError(
            f"{path} has {len(names)} names in its header and {values.shape[1]} numbers a row: {cure}"
        )
    if names[0] in INDEX_NAMES:
        names, values = names[1:], values[:, 1:]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{path} has the column {twice!r} twice: {cure}")
    bad = ~np.isfinite(values)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise UserError(
            f"{path}: row {row + 1} of {names[column]} is {values[row, column]}, not a finite number: {cure}"
        )
    return names, values


def take_descriptors(
    names: Sequence[str], values: np.ndarray, path: Path, cure: str
) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and columns of descriptors in the order of ``NAMES``.

    Raises:
        UserError: for unknown columns, or where one of the published ones is missing.
    """
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise UserError(f"{path} has the column {unknown[0]!r}, which is no descriptor: remove it, or {cure}")
    lacking = [name for name in PUBLISHED if name not in names]
    if lacking:
        raise UserError(
            f"{path} lacks {len(lacking)} of the {len(PUBLISHED)} published descriptors, such as {lacking[0]}: {cure}"
        )
    wanted = tuple(name for name in NAMES if name in names)
    return wanted, np.ascontiguousarray(values[:, [names.index(name) for name in wanted]])
