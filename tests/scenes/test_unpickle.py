from __future__ import annotations

import collections
import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from audio_separation.errors import UserError
from audio_separation.scenes.unpickle import PickledGraph, load_pickle

GRAPHS = Path(__file__).parent / "graphs"  # written by the networkx versions in their names


def dump(path: Path, content: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_data_comes_back_equal(tmp_path: Path, protocol: int) -> None:
    content = {
        (3, 90): {"rgb": np.arange(12, dtype=np.uint8).reshape(2, 2, 3), "big": np.arange(3, dtype=">i4")},
        "scalars": [
            np.float64(1.5),
            np.float32(-2),
            np.int64(7),
            np.bool_(True),
            2.5,
            1 << 70,
            None,
            b"\xff\x00",
        ],
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "text": np.array(["a", "bcd"]),
        "sets": [{1, 2}, frozenset([3]), (4,)],
    }
    loaded = load_pickle(dump(tmp_path / "a.pkl", content, protocol))
    view, wanted = loaded[(3, 90)], content[(3, 90)]
    for key in wanted:
        assert view[key].dtype == wanted[key].dtype.newbyteorder("=") or view[key].dtype == wanted[key].dtype
        np.testing.assert_array_equal(view[key], wanted[key])
    assert loaded["scalars"] == content["scalars"]
    np.testing.assert_array_equal(loaded["fortran"], content["fortran"])
    assert loaded["text"].tolist() == ["a", "bcd"]
    assert loaded["sets"] == content["sets"]


def test_default_and_ordered_dicts_become_dicts(tmp_path: Path) -> None:
    cache = collections.defaultdict(dict, {(0, 0): {"a": 1}})
    loaded = load_pickle(dump(tmp_path / "a.pkl", [cache, collections.OrderedDict(b=2)]))
    assert loaded == [{(0, 0): {"a": 1}}, {"b": 2}]
    assert type(loaded[0]) is dict  # a missing key must not appear by being read


@pytest.mark.parametrize("name", ["numpy.core", "numpy._core"])
def test_both_module_paths_of_numpy(tmp_path: Path, name: str) -> None:
    # protocol 3 spells globals as text lines, so the path can be exchanged in the bytes
    data = pickle.dumps([np.arange(3.0), np.float64(2)], protocol=3)
    data = data.replace(b"numpy._core.", b"numpy.core.").replace(b"numpy.core.", name.encode() + b".")
    (tmp_path / "a.pkl").write_bytes(data)
    array, scalar = load_pickle(tmp_path / "a.pkl")
    assert array.tolist() == [0, 1, 2] and scalar == 2


@pytest.mark.parametrize("path", sorted(GRAPHS.glob("*.pkl")), ids=lambda p: p.stem)
def test_graphs_of_older_networkx(path: Path) -> None:
    # 2.4 pickled its dict factories and a NodeView, 2.8 all its cached views
    graph = load_pickle(path)
    assert isinstance(graph, PickledGraph)
    assert graph.nodes == {
        0: {"point": (1.5, -0.25, 3.0)},
        2: {"point": (2.5, -0.25, 3.0)},
        3: {"point": (2.5, -0.25, 4.0)},
    }
    assert graph.adj == {0: {2: {}}, 2: {0: {}, 3: {}}, 3: {2: {}}}


def test_there_are_old_graphs_to_test() -> None:
    assert {p.stem for p in GRAPHS.glob("*.pkl")} == {"networkx_2.4_protocol3", "networkx_2.8.8_protocol4"}


class Attack:
    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_hostile_pickle_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "ran"
    path = dump(tmp_path / "graph.pkl", {"x": Attack(os.system, f"touch {marker}")}, protocol)
    with pytest.raises(UserError, match=r"graph\.pkl asks for (posix|nt)\.system") as caught:
        load_pickle(path)
    assert not marker.exists()
    assert str(caught.value).count("\n") == 0
    # the test can fail: the ordinary unpickler runs it
    pickle.loads(path.read_bytes())
    assert marker.exists()


@pytest.mark.parametrize(
    "function, arguments, name",
    [
        (eval, ("1",), "builtins.eval"),
        (getattr, ({}, "keys"), "builtins.getattr"),
        (io.open, ("x",), "io.open"),
        (np.load, ("x",), "numpy.load"),
        (np.random.default_rng, (), "numpy.random"),
    ],
)
def test_other_globals_are_named(tmp_path: Path, function: object, arguments: tuple, name: str) -> None:
    with pytest.raises(UserError, match=f"asks for {name}"):
        load_pickle(dump(tmp_path / "a.pkl", Attack(function, *arguments)))


@pytest.mark.parametrize(
    "code",
    [
        b"cbuiltins\ndict.fromkeys\n.",  # dotted names reach attributes of admitted classes
        b"cnetworkx.classes.graph\nGraph.__new__\n.",
    ],
)
def test_attributes_of_admitted_classes_are_refused(tmp_path: Path, code: bytes) -> None:
    (tmp_path / "a.pkl").write_bytes(b"\x80\x04" + code)
    with pytest.raises(UserError, match="asks for"):
        load_pickle(tmp_path / "a.pkl")


@pytest.mark.parametrize(
    "target",
    [
        b"ccollections\nOrderedDict\n",
        b"c_codecs\nencode\n",
        b"cnetworkx.classes.graph\nGraph\n",
        b"cnumpy\ndtype\n",
    ],
)
@pytest.mark.parametrize("state", [b"}X\x01\x00\x00\x00aK\x01s", b"N}X\x08\x00\x00\x00__call__K\x01s\x86"])
def test_admitted_globals_cannot_be_changed(tmp_path: Path, target: bytes, state: bytes) -> None:
    # BUILD sets attributes; on our own functions and classes it must not
    (tmp_path / "a.pkl").write_bytes(b"\x80\x03" + target + state + b"b.")
    with pytest.raises(UserError, match="not a readable pickle"):
        load_pickle(tmp_path / "a.pkl")
    assert load_pickle(dump(tmp_path / "b.pkl", collections.OrderedDict(b=2))) == {"b": 2}


@pytest.mark.parametrize(
    "array", [np.array([{}, None]), np.zeros(2, dtype=[("a", "f4")]), np.array(["2020"], "M8[Y]")]
)
def test_arrays_of_objects_or_fields_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"a\.pkl is not a readable pickle"):
        load_pickle(dump(tmp_path / "a.pkl", array))


def test_array_larger_than_its_data(tmp_path: Path) -> None:
    data = pickle.dumps(np.zeros(3, dtype=np.uint8), protocol=3).replace(b"K\x03\x85", b"K\x09\x85")
    (tmp_path / "a.pkl").write_bytes(data)
    with pytest.raises(UserError, match="not a readable pickle"):
        load_pickle(tmp_path / "a.pkl")


def test_truncated_at_every_byte(tmp_path: Path) -> None:
    data = dump(tmp_path / "a.pkl", {"scene": [{"r": 1, "azimuth": np.int64(90)}]}).read_bytes()
    for length in range(len(data)):
        (tmp_path / "a.pkl").write_bytes(data[:length])
        with pytest.raises(UserError, match=r"a\.pkl is not a readable pickle"):
            load_pickle(tmp_path / "a.pkl")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*absent\.pkl"):
        load_pickle(tmp_path / "absent.pkl")
