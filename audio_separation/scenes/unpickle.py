"""A pickle reader for files that others made: plain data comes in, nothing gets to run.

A pickle is a program. SoundSpaces ships its graphs, RGB-D caches and passive datasets as pickles, so we read
them with a table of the few globals that such files need. networkx itself is not imported: graphs of any
networkx version arrive as :class:`PickledGraph`, since their class layout has changed with the versions while
``_node`` and ``_adj`` have not.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, Callable

import numpy as np

from audio_separation.errors import UserError


class PickledGraph:
    """What a pickled ``networkx.Graph`` holds: ``nodes`` (node -> attributes), ``adj`` (-> neighbours)."""

    def __init__(self) -> None:
        self.nodes: dict = {}
        self.adj: dict = {}

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict) or not {"_node", "_adj"} <= state.keys():
            raise pickle.UnpicklingError("a graph without its _node and _adj tables")
        self.nodes, self.adj = state["_node"], state["_adj"]
        if not isinstance(self.nodes, dict) or not isinstance(self.adj, dict):
            raise pickle.UnpicklingError("a graph whose _node or _adj is not a dict")


class _Ignored:
    """Stands in for the cached views (``nodes``, ``edges``, ...) that some networkx versions pickled."""

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _plain_dict(*_: Any) -> dict:
    # defaultdict(factory) becomes a dict: a missing key must raise, not appear
    return {}


def _latin1(text: str, encoding: str) -> bytes:
    # how protocols 0-2 of Python 3 spell bytes
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"bytes in encoding {encoding!r}")
    return text.encode("latin1")


def _numeric_dtype(*args: Any) -> np.dtype:
    dtype = np.dtype(*args)
    if dtype.hasobject or dtype.names is not None:
        raise pickle.UnpicklingError(f"an array of dtype {dtype}")
    return dtype


def _allowed_globals() -> dict[str, Any]:
    table: dict[str, Any] = {"_codecs.encode": _latin1}
    basic = (dict, list, tuple, set, frozenset, int, float, complex, bool, str, bytes, bytearray)
    for kind in basic:
        table[f"builtins.{kind.__name__}"] = table[f"__builtin__.{kind.__name__}"] = kind
    table["collections.OrderedDict"] = table["collections.defaultdict"] = _plain_dict
    # numpy renamed its private modules with version 2; the functions behind the names are the same
    reconstruct: Callable = np.zeros(1).__reduce__()[0]  # type: ignore[assignment]
    scalar: Callable = np.float64(0).__reduce__()[0]  # type: ignore[assignment]
    from_buffer: Callable = np.zeros(1).__reduce_ex__(5)[0]  # type: ignore[assignment]
    for core in ("numpy.core", "numpy._core"):
        table[f"{core}.multiarray._reconstruct"] = reconstruct
        table[f"{core}.multiarray.scalar"] = scalar
        table[f"{core}.numeric._frombuffer"] = from_buffer
    table["numpy.ndarray"] = np.ndarray
    table["numpy.dtype"] = _numeric_dtype
    for name in ("Graph", "DiGraph"):
        table[f"networkx.classes.{name.lower()}.{name}"] = PickledGraph
    views = (
        "NodeView",
        "NodeDataView",
        "EdgeView",
        "OutEdgeView",
        "DegreeView",
        "AdjacencyView",
        "AtlasView",
    )
    for module in ("reportviews", "coreviews"):
        for view in views:
            table[f"networkx.classes.{module}.{view}"] = _Ignored
    return table


class _RestrictedUnpickler(pickle.Unpickler):
    _allowed = _allowed_globals()

    def find_class(self, module: str, name: str) -> Any:
        known = self._allowed.get(f"{module}.{name}")
        if known is None:
            raise _RefusedGlobal(f"{module}.{name}")
        return known


class _RefusedGlobal(Exception):
    pass


def load_pickle(path: Path | str) -> Any:
    """Read a pickle of dicts, lists, tuples, sets, strings, numbers, numpy arrays and networkx graphs.

    Graphs come back as :class:`PickledGraph`, ordered and default dicts as plain dicts.

    Raises:
        UserError: for a missing, truncated or corrupt file, and for one that asks for any other class or
            function; nothing of it has run then.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    try:
        return _RestrictedUnpickler(io.BytesIO(data)).load()
    except _RefusedGlobal as error:
        raise UserError(
            f"{path} asks for {error}, which plain data does not need: a pickle can run any code, so it was "
            f"refused; get the file from its original source"
        ) from None
    except Exception as error:  # a damaged pickle can raise anything
        raise UserError(
            f"{path} is not a readable pickle ({type(error).__name__}: {error}): truncated or corrupt? "
            f"fetch it again"
        ) from None
