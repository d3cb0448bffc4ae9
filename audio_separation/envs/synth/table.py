"""The lookup table: which parameters of a synthesizer sound how.

On disk, as published, ``lookup_table.csv``: a row for each sound, columns ``param-0`` ... and the descriptors. Beside
it ``lookup_table.json``, ours: what the table was computed with, and a hash of both.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Mapping, Optional, Protocol

import numpy as np

from audio_separation.envs.synth.feature_csv import csv_bytes, read_csv, take_descriptors
from audio_separation.errors import UserError
from audio_separation.scenes.layout import write_atomic

CSV_NAME, JSON_NAME = "lookup_table.csv", "lookup_table.json"
CURE = "compute it with python scripts/compute_lookup.py"
PARAM = "param-"


class Described(Protocol):
    """What tells synthesizers apart: a part of :class:`audio_separation.audio.synths.Synth`."""

    name: str

    def describe(self) -> dict[str, Any]:
        """Plain data that its sound follows from."""


@dataclass(frozen=True, eq=False)
class LookupTable:
    """Parameters and the descriptors of their sound.

    Attributes:
        params: float64 ``[R, P]`` in [0, 1], read-only.
        features: float64 ``[R, D]``, read-only.
        names: of the descriptors, ``[D]``.
        settings: name, synth (its description), backend, rate_hz, window, hop, seconds, subdivisions; empty where a
            published table does not say.
    """

    params: np.ndarray
    features: np.ndarray
    names: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.params.ndim != 2 or self.features.shape != (len(self.params), len(self.names)):
            raise ValueError(
                f"a table has params [R, P] and features [R, {len(self.names)}], got {self.params.shape} and "
                f"{self.features.shape}"
            )
        for array in (self.params, self.features):
            array.flags.writeable = False

    @property
    def num_params(self) -> int:
        """P."""
        return self.params.shape[1]

    @property
    def param_names(self) -> tuple[str, ...]:
        """Names of the columns of ``params``."""
        return tuple(f"{PARAM}{i}" for i in range(self.num_params))

    @cached_property
    def hash(self) -> str:
        """sha256 (hex) of the settings, the names and all numbers."""
        head = json.dumps([self.settings, self.param_names, self.names, self.params.shape], sort_keys=True)
        digest = hashlib.sha256(head.encode())
        for array in (self.params, self.features):
            digest.update(np.ascontiguousarray(array, "<f8").tobytes())
        return digest.hexdigest()

    def grid(self) -> Optional[list[np.ndarray]]:
        """Values along each parameter's axis where the rows are their full grid, the last parameter fastest."""
        axes = [np.unique(column) for column in self.params.T]
        if np.prod([float(len(axis)) for axis in axes]) != len(self.params):
            return None
        return axes if np.array_equal(grid_params(axes), self.params) else None


def grid_params(axes: list[np.ndarray]) -> np.ndarray:
    """All combinations of the ``axes``' values, ``[R, P]``, the last one fastest."""
    return np.stack([values.ravel() for values in np.meshgrid(*axes, indexing="ij")], -1)


# ---- on disk --------------------------------------------------------------------------------------------
def save_table(table: LookupTable, folder: Path) -> None:
    """Write both files into ``folder``, the CSV last: with it the table is finished."""
    content = {"settings": table.settings, "rows": len(table.params), "hash": table.hash}
    write_atomic(folder / JSON_NAME, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())
    values = np.concatenate([table.params, table.features], 1)
    write_atomic(folder / CSV_NAME, csv_bytes([*table.param_names, *table.names], values))


def load_table(folder_or_csv: Path) -> LookupTable:
    """Read a table, ours or a published CSV alone.

    Raises:
        UserError: missing or broken; columns that are unknown or lacking; parameters outside [0, 1]; numbers that
            are not what the hash beside them was made of.
    """
    path = Path(folder_or_csv)
    if path.suffix.lower() != ".csv":
        path = path / CSV_NAME
    if not path.is_file():
        raise UserError(f"there is no lookup table at {path}; {CURE}")
    names, values = read_csv(path, CURE)
    is_param = [name.startswith(PARAM) for name in names]
    params = _params(path, names, values, sum(is_param))
    described = [name for name, no in zip(names, is_param) if not no]
    features = values[:, [i for i, no in enumerate(is_param) if not no]]
    kept, features = take_descriptors(described, features, path, CURE)
    settings, expected = _read_json(path.with_name(JSON_NAME)) if path.name == CSV_NAME else ({}, None)
    table = LookupTable(params, features, kept, settings)
    if expected is not None and table.hash != expected:
        raise UserError(
            f"{path} does not fit the hash in {JSON_NAME}: one of them was changed by hand or is of another table; "
            f"{CURE} --overwrite, or delete {JSON_NAME} to use the CSV as it is"
        )
    return table


def _params(path: Path, names: list[str], values: np.ndarray, count: int) -> np.ndarray:
    wanted = [f"{PARAM}{i}" for i in range(count)]
    if not count or any(name not in names for name in wanted):
        found = ", ".join(name for name in names if name.startswith(PARAM)) or "none"
        raise UserError(
            f"{path}: expected columns {PARAM}0, {PARAM}1, ... of parameters, found {found}; {CURE}"
        )
    params = np.ascontiguousarray(values[:, [names.index(name) for name in wanted]])
    outside = (params < 0) | (params > 1)
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise UserError(
            f"{path}: row {row + 1} of {wanted[column]} is {params[row, column]}, expected one in [0, 1]; {CURE}"
        )
    return params


def _read_json(path: Path) -> tuple[dict[str, Any], Optional[str]]:
    """Settings and hash; nothing where there is no such file, as beside a published table."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        settings, expected = content["settings"], content["hash"]
        if not isinstance(settings, dict) or not isinstance(expected, str):
            raise TypeError
    except FileNotFoundError:
        return {}, None
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f'{path} is malformed, expected {{"settings": {{...}}, "hash": "..."}}: {CURE} --overwrite'
        ) from None
    return settings, expected


def check_table(table: LookupTable, synth: Described, num_params: int) -> None:
    """Refuse the table of another synthesizer; of a published one, which does not say, the number of parameters counts.

    Args:
        synth: that is to be played.
        num_params: of it.

    Raises:
        UserError: that names what differs.
    """
    if table.num_params != num_params:
        raise UserError(
            f"the lookup table has {table.num_params} parameters, synthesizer {synth.name} has {num_params}: name its "
            f"own table, or {CURE}"
        )
    found, expected = table.settings.get("synth"), synth.describe()
    if found is None:
        return
    different = _difference(found, expected)
    if different:
        raise UserError(
            f"the lookup table was computed with another synthesizer than {synth.name}: {different}; name its own "
            f"table, or {CURE}"
        )


def _difference(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """The first key in which two descriptions differ, in words; empty where they are the same."""
    for key in sorted({*found, *expected}):
        one, two = found.get(key), json.loads(json.dumps(expected.get(key)))
        if one != two:
            return f"{key} is {one!r} in the table, {two!r} here"
    return ""
