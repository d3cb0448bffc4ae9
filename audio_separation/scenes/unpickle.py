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
from audio_separation.scenes.pickle_scan import scan_pickle


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


class _Budget:
    """What a pickle may still copy, in bytes or items: as much as its own length, so honest ones stay within.

    One short text or list can be asked for again and again, and copied each time.
    """

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise pickle.UnpicklingError("more data than its bytes can hold")


class _Array(np.ndarray):
    """An array that is filled from checked parts only."""

    def __setstate__(self, state: tuple) -> None:
        version, shape, dtype, fortran, data = state
        if not isinstance(dtype, _Dtype) or not isinstance(data, (bytes, bytearray)):
            raise pickle.UnpicklingError("an array whose dtype or data is of another kind")
        self.__dict__.pop("budget").take(len(data))  # once: an array is filled once
        super().__setstate__((version, shape, dtype.dtype, fortran, bytes(data)))


class _Sealed:
    """A callable on which a pickle can set no attribute (as it could on a plain function)."""

    __slots__ = ()


class _Counted(_Sealed):
    """A sealed callable that copies data."""

    __slots__ = ("_budget",)

    def __init__(self, budget: _Budget) -> None:
        self._budget = budget


class _NameOnly(_Sealed):
    """A type that pickles name as the default of a dict, and never call."""

    __slots__ = ()


class _Set(_Counted):
    __slots__ = ("_kind",)

    def __init__(self, budget: _Budget, kind: type) -> None:
        super().__init__(budget)
        self._kind = kind

    def __call__(self, items: Any = ()) -> Any:
        self._budget.take(len(items))
        return self._kind(items)


class _EmptyBytes(_Sealed):
    __slots__ = ()

    def __call__(self) -> bytes:
        return b""  # others are spelt by _codecs.encode


class _PlainDict(_Sealed):
    __slots__ = ()

    def __call__(self, *_: Any) -> dict:
        # defaultdict(factory) becomes a dict: a missing key must raise, not appear
        return {}


class _Latin1(_Counted):
    __slots__ = ()

    def __call__(self, text: str, encoding: str) -> bytes:
        # how protocols 0-2 of Python 3 spell bytes
        if encoding not in ("latin1", "latin-1"):
            raise pickle.UnpicklingError(f"bytes in encoding {encoding!r}")
        self._budget.take(len(text))
        return text.encode("latin1")


class _Reconstruct(_Counted):
    __slots__ = ()

    def __call__(self, *_: Any) -> _Array:
        array = np.zeros(0).view(_Array)  # its state follows
        array.__dict__["budget"] = self._budget
        return array


class _Scalar(_Counted):
    __slots__ = ()

    def __call__(self, dtype: _Dtype, data: bytes) -> Any:
        self._budget.take(dtype.dtype.itemsize)
        return np.frombuffer(data, dtype.dtype, count=1)[0]


class _FromBuffer(_Sealed):
    __slots__ = ()

    def __call__(self, data: bytes, dtype: _Dtype, shape: tuple, order: str) -> np.ndarray:
        return np.frombuffer(data, dtype.dtype).reshape(shape, order=order)  # type: ignore[call-overload]


def _allowed_globals(budget: _Budget) -> dict[str, Any]:
    table: dict[str, Any] = {"_codecs.encode": _Latin1(budget)}
    kinds: dict[str, Any] = dict.fromkeys(
        ("dict", "list", "tuple", "int", "float", "bool", "str"), _NameOnly()
    )
    kinds.update(
        set=_Set(budget, set), frozenset=_Set(budget, frozenset), bytes=_EmptyBytes(), complex=complex
    )
    for name, kind in kinds.items():
        table[f"builtins.{name}"] = table[f"__builtin__.{name}"] = kind
    table["collections.OrderedDict"] = table["collections.defaultdict"] = _PlainDict()
    for core in ("numpy.core", "numpy._core"):  # the private modules were renamed with numpy 2
        table[f"{core}.multiarray._reconstruct"] = _Reconstruct(budget)
        table[f"{core}.multiarray.scalar"] = _Scalar(budget)
        table[f"{core}.numeric._frombuffer"] = _FromBuffer()
    table["numpy.ndarray"] = _NameOnly()  # only ever named as the type to reconstruct
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
    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self._allowed = _allowed_globals(_Budget(len(data)))

    def find_class(self, module: str, name: str) -> Any:
        known = self._allowed.get(f"{module}.{name}")
        if known is None:
            raise _RefusedGlobal(_printable(f"{module}.{name}"))
        return known


class _RefusedGlobal(Exception):
    pass


def _printable(text: str) -> str:
    """The beginning of a text of the file's, fit for one line of a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text[:200])


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
        scan_pickle(data)
        return _RestrictedUnpickler(data).load()
    except _RefusedGlobal as error:
        raise RefusedPickle(
            f"{path} asks for {error}, which plain data does not need: a pickle can run any code, so it was "
            f"refused; get the file from its original source"
        ) from None
    except Exception as error:  # a damaged pickle can raise anything
        raise UserError(
            f"{path} is not a readable pickle ({type(error).__name__}: {_printable(str(error))}): truncated or "
            f"corrupt? fetch it again"
        ) from None
