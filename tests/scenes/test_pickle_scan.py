"""Pickles that take memory or crash without running anything: refused before the unpickler sees them."""

from __future__ import annotations

import pickle
import random
import struct
from pathlib import Path
from typing import Any

import networkx
import numpy as np
import pytest

from audio_separation.errors import UserError
from audio_separation.scenes import pickle_scan
from audio_separation.scenes.unpickle import load_pickle


def refusal(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        load_pickle(path)
    assert str(caught.value).isprintable()
    return str(caught.value)


def text(word: str) -> bytes:
    return b"X" + struct.pack("<I", len(word)) + word.encode()


@pytest.mark.parametrize(
    "data",
    [
        b"K\x05r\xff\xff\xff\x7f.",  # a table up to the largest index
        b"K\x05p99999999999\n.",
        b"\x8d" + struct.pack("<Q", 2**40) + b"abc.",  # BINUNICODE8
        b"\x8e" + struct.pack("<Q", 2**40) + b"abc.",  # BINBYTES8
        b"\x96" + struct.pack("<Q", 2**40) + b"abc.",  # BYTEARRAY8
        b"B" + struct.pack("<I", 2**31) + b"abc.",
        b"T" + struct.pack("<i", -1) + b"abc.",
        b"\x8b" + struct.pack("<i", -1) + b"abc.",
        b"ibuiltins\nset\n.",  # an instance of old
        b"(cbuiltins\nset\no.",
        b"\x82\x01.",
        b"Pname\n.",
        b"cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
        b"cbuiltins\nbytes\nJ\xff\xff\xff\x7f\x85R.",
        b"cbuiltins\ntuple\n](NNe\x85R.",
        b"cbuiltins\n\x1b[31m\n.",
        b"K",
        b"cbuiltins",
        b"",
    ],
)
def test_what_announces_more_than_it_holds_is_refused(tmp_path, data):
    refusal(tmp_path / "a.pkl", data)


@pytest.mark.parametrize("key", [b"}%sK\x01s.", b"}(%sK\x01u.", b"\x8f(%s\x90."])
def test_deep_tuples_do_not_crash_the_process(tmp_path, key):
    for deeper in (b"\x85", b"K\x01\x86", b"0h\x00\x85q\x00", b"0(h\x00tq\x00"):
        deep = b")q\x00" + deeper * 12_000
        assert "tuples nested too deeply" in refusal(tmp_path / "a.pkl", key % deep)


def test_one_text_copied_again_and_again_is_refused(tmp_path):
    path = tmp_path / "a.pkl"
    long = text("a" * 1000) + b"q\x000"
    again = b"c_codecs\nencode\n(h\x00" + text("latin1") + b"tR0"
    assert "more data than its bytes can hold" in refusal(path, long + again * 50 + b"N.")
    items = b"](" + b"N" * 1000 + b"eq\x000"
    for name in (b"set", b"frozenset"):
        again = b"cbuiltins\n" + name + b"\nh\x00\x85R0"
        assert "more data than its bytes can hold" in refusal(path, items + again * 100 + b"N.")
    array = pickle.dumps(np.zeros(1000, np.uint8), 3)
    state = b"h\x07"
    assert load_pickle_bytes(path, array).nbytes == 1000
    twice = array.replace(b"b.", b"b" + state + b"b.")
    assert "not a readable pickle" in refusal(path, twice)


def load_pickle_bytes(path: Path, data: bytes) -> Any:
    path.write_bytes(data)
    return load_pickle(path)


def nested(rng: random.Random, depth: int, shared: list) -> Any:
    kind = rng.random()
    if depth == 0 or kind < 0.2:
        return rng.choice([1, "a", None, 2.5, *shared])
    items = [nested(rng, depth - 1, shared) for _ in range(rng.randint(0, 4))]
    made: Any = tuple(items) if kind < 0.8 else items if kind < 0.9 else {"k": items}
    shared.append(made)
    return made


def tuple_depth(value: Any) -> int:
    """The deepest chain of tuples directly in tuples."""

    def here(value: Any) -> int:
        return 1 + max(map(here, value), default=0) if isinstance(value, tuple) else 0

    inside: Any = (
        value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    )
    return max([here(value), *map(tuple_depth, inside)])


@pytest.mark.parametrize("protocol", range(6))
def test_the_depth_is_that_of_the_tuples(protocol):
    rng = random.Random(protocol)
    for _ in range(60):
        value = nested(rng, 6, [])
        # an empty tuple counts nothing where it is an instruction of its own
        found, wanted = pickle_scan._deepest(pickle.dumps(value, protocol)), tuple_depth(value)
        assert wanted - 1 <= found <= wanted, value


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_many_shallow_tuples_are_read(tmp_path, protocol, monkeypatch):
    looked = []
    deepest = pickle_scan._deepest
    monkeypatch.setattr(pickle_scan, "_deepest", lambda data: looked.append(1) or deepest(data))
    content = {(i, (i, 90)): [(i, i), {1, 2}, b"\xff" * 3, np.float32(i)] for i in range(3500)}
    loaded = load_pickle_bytes(tmp_path / "a.pkl", pickle.dumps(content, protocol))
    assert loaded == content and looked


def test_damaged_pickles_are_refused_or_read(tmp_path, capfd):
    """Deterministic fuzzing: whatever bytes change, nothing but a UserError comes out, and nothing is printed."""
    graph = networkx.Graph()
    graph.add_edge(0, 1)
    graph.nodes[0]["point"] = np.array([0.0, 1.5])
    contents = [
        graph,
        {"s": [{"r": 1, "azimuth": 90, "all_s": [1, 300]}]},
        {(0, 90): np.ones((2, 2, 1), np.float32)},
    ]
    wholes = [pickle.dumps(content, protocol) for content in contents for protocol in range(6)]
    planted = (
        b"\x85",
        b"(",
        b"t",
        b"R",
        b"b",
        b"h\x00",
        b"r\xff\xff\xff\xff",
        b"\x96" + b"\xff" * 7 + b"\0",
        b"u",
    )
    rng = random.Random(3)
    refused = 0
    for _ in range(1500):
        data = bytearray(rng.choice(wholes))
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(data))
            if rng.random() < 0.6:
                data[at] = rng.randrange(256)
            else:
                data[at:at] = rng.choice(planted)
        (tmp_path / "fuzzed.pkl").write_bytes(data)
        try:
            load_pickle(tmp_path / "fuzzed.pkl")
        except UserError as error:
            assert str(error).isprintable()
            refused += 1
    assert refused > 500
    assert capfd.readouterr() == ("", "")
