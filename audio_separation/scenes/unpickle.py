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
from typing import Any

import numpy as np

from audio_separation.errors import UserError


class PickledGraph:
    """What a pickled ``networkx.Graph`` holds: ``nodes`` (node -> attributes), ``adj`` (-> neighbours)."""

    nodes: dict
    adj: dict

    def __new__(cls) -> PickledGraph:
        # unpickling never calls __init__
        graph = super().__new__(cls)
        graph.nodes, graph.adj = {}, {}
        return graph

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict) or not {"_node", "_adj"} <= state.keys():
            raise pickle.UnpicklingError("a graph without its _node and _adj tables")
        self.nodes, self.adj = state["_node"], state["_adj"]
        if not isinstance(self.nodes, dict) or not isinstance(self.adj, dict):
            raise pickle.UnpicklingError("a graph whose _node or _adj is not a dict")


class _Ignored:
    """Stands in for the cached views (``nodes``, ``edges``, ...) that some networkx versions pickled."""

    def __new__(cls, *args: Any) -> _Ignored:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass


class _Dtype:
    """Stands in for ``numpy.dtype``: plain numbers and text only, no objects, no fields."""

    def __init__(self, name: str, *_: Any) -> None:
        self.dtype = np.dtype(name)
        if self.dtype.kind not in "biufcSU":
            raise pickle.UnpicklingError(f"an array of dtype {self.dtype}")

    def __setstate__(self, state: tuple) -> None:
        _version, order, *rest = state
        if order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError(f"a dtype with byte order {order!r}")
        if any(part is not None for part in rest[:3]):  # subarray, names, fields
            raise pickle.UnpicklingError("an array with fields")
        if self.dtype.kind in "SU":
            self.dtype = np.dtype(f"{self.dtype.kind}{rest[3] // (4 if self.dtype.kind == 'U' else 1)}")
        self.dtype = self.dtype.newbyteorder(order)


class _Array(np.ndarray):
    """An array that is filled from checked parts only."""

    def __setstate__(self, state: tuple) -> None:
        version, shape, dtype, fortran, data = state
        if not isinstance(dtype, _Dtype) or not isinstance(data, (bytes, bytearray)):
            raise pickle.UnpicklingError("an array whose dtype or data is of another kind")
        super().__setstate__((version, shape, dtype.dtype, fortran, bytes(data)))


class _Sealed:
    """A callable on which a pickle can set no attribute (as it could on a plain function)."""

    __slots__ = ()


class _PlainDict(_Sealed):
    __slots__ = ()

    def __call__(self, *_: Any) -> dict:
        # defaultdict(factory) becomes a dict: a missing key must raise, not appear
        return {}


class _Latin1(_Sealed):
    __slots__ = ()

    def __call__(self, text: str, encoding: str) -> bytes:
        # how protocols 0-2 of Python 3 spell bytes
        if encoding not in ("latin1", "latin-1"):
            raise pickle.UnpicklingError(f"bytes in encoding {encoding!r}")
        return text.encode("latin1")


class _Reconstruct(_Sealed):
    __slots__ = ()

    def __call__(self, *_: Any) -> _Array:
        return np.zeros(0).view(_Array)  # its state follows


class _Scalar(_Sealed):
    __slots__ = ()

    def __call__(self, dtype: _Dtype, data: bytes) -> Any:
        return np.frombuffer(data, dtype.dtype, count=1)[0]


class _FromBuffer(_Sealed):
    __slots__ = ()

    def __call__(self, data: bytes, dtype: _Dtype, shape: tuple, order: str) -> np.ndarray:
        return np.frombuffer(data, dtype.dtype).reshape(shape, order=order)  # type: ignore[call-overload]


def _allowed_globals() -> dict[str, Any]:
    table: dict[str, Any] = {"_codecs.encode": _Latin1()}
    basic = (dict, list, tuple, set, frozenset, int, float, complex, bool, str, bytes, bytearray)
    for kind in basic:
        table[f"builtins.{kind.__name__}"] = table[f"__builtin__.{kind.__name__}"] = kind
    table["collections.OrderedDict"] = table["collections.defaultdict"] = _PlainDict()
    for core in ("numpy.core", "numpy._core"):  # the private modules were renamed with numpy 2
        table[f"{core}.multiarray._reconstruct"] = _Reconstruct()
        table[f"{core}.multiarray.scalar"] = _Scalar()
        table[f"{core}.numeric._frombuffer"] = _FromBuffer()
    table["numpy.ndarray"] = _Reconstruct()  # only ever named as the type to reconstruct
    table["numpy.dtype"] = _Dtype
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


class RefusedPickle(UserError):
    """A pickle that asks for code."""


def load_pickle(path: Path | str) -> Any:
    """Read a pickle of dicts, lists, tuples, sets, strings, numbers, numpy arrays and networkx graphs.

    Graphs come back as :class:`PickledGraph`, ordered and default dicts as plain dicts.

    Raises:
        RefusedPickle: for a file that asks for any other class or function; nothing of it has run then.
        UserError: for a missing, truncated or corrupt file.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    try:
        return _RestrictedUnpickler(io.BytesIO(data)).load()
    except _RefusedGlobal as error:
        raise RefusedPickle(
            f"{path} asks for {error}, which plain data does not need: a pickle can run any code, so it was "
            f"refused; get the file from its original source"
        ) from None
    except Exception as error:  # a damaged pickle can raise anything
        raise UserError(
            f"{path} is not a readable pickle ({type(error).__name__}: {error}): truncated or corrupt? "
            f"fetch it again"
        ) from None
