"""Faults of metadata and responses to plant; see check_plants.py."""

from __future__ import annotations

import os
import pickle
import shutil
import struct
from typing import Callable

import numpy as np
from check_plants import (
    RATE,
    TRAIN,
    Boom,
    Expected,
    Tree,
    plant,
    replace,
    write_graph,
    write_wav,
)
from published import AZIMUTHS, NODES

from audio_separation.audio.packed_writer import PackedWriter
from audio_separation.audio.rir_store import WavRirStore


# ---- metadata ------------------------------------------------------------------------------------------
@plant(own_scene=True)
def no_metadata(tree: Tree) -> Expected:
    shutil.rmtree(tree.metadata)
    return tree.expect("metadata-missing", tree.metadata)


@plant(own_scene=True)
def no_points(tree: Tree) -> Expected:
    (tree.metadata / "points.txt").unlink()
    return tree.expect("points-missing", tree.metadata / "points.txt")


@plant(own_scene=True)
def points_are_words(tree: Tree) -> Expected:
    replace(tree.metadata / "points.txt", b"not a table\n")
    return tree.expect("points-malformed", tree.metadata / "points.txt")


@plant(own_scene=True)
def points_not_finite(tree: Tree) -> Expected:
    text = (tree.metadata / "points.txt").read_text().splitlines()
    text[1] = "1\tnan\t0\t0"
    replace(tree.metadata / "points.txt", "\n".join(text).encode())
    return tree.expect("points-malformed", tree.metadata / "points.txt")


@plant(own_scene=True)
def no_graph(tree: Tree) -> Expected:
    (tree.metadata / "graph.pkl").unlink()
    return tree.expect("graph-missing", tree.metadata / "graph.pkl")


@plant(own_scene=True)
def graph_truncated(tree: Tree) -> Expected:
    data = (tree.metadata / "graph.pkl").read_bytes()
    replace(tree.metadata / "graph.pkl", data[: len(data) // 2])
    return tree.expect("graph-unreadable", tree.metadata / "graph.pkl")


@plant(own_scene=True)
def graph_hostile(tree: Tree) -> Expected:
    replace(tree.metadata / "graph.pkl", pickle.dumps(Boom(tree.root / "boom_graph")))
    return tree.expect("graph-hostile", tree.metadata / "graph.pkl")


@plant(own_scene=True)
def graph_of_another_scene(tree: Tree) -> Expected:
    return tree.expect("graph-mismatch", write_graph(tree, "val"))


@plant(own_scene=True)
def graph_is_no_graph(tree: Tree) -> Expected:
    replace(tree.metadata / "graph.pkl", pickle.dumps({"nodes": [0, 1]}))
    return tree.expect("graph-mismatch", tree.metadata / "graph.pkl")


@plant(own_scene=True)
def graph_in_two_parts(tree: Tree) -> Expected:
    return tree.expect("graph-disconnected", write_graph(tree, "train", (4, 7)))


@plant(own_scene=True)
def node_without_neighbour(tree: Tree) -> Expected:
    return tree.expect("graph-isolated", write_graph(tree, "train", (4, 6)), "node 6")


# ---- responses -----------------------------------------------------------------------------------------
@plant(own_scene=True)
def no_responses(tree: Tree) -> Expected:
    shutil.rmtree(tree.rirs)
    return tree.expect("rirs-absent", tree.rirs)


@plant(own_scene=True)
def some_responses_missing(tree: Tree) -> Expected:
    names = ("0_2.wav", "7_7.wav")
    for name in names:
        (tree.rirs / "90" / name).unlink()
    return tree.expect("rir-missing", tree.rirs / "90", *names)


@plant(own_scene=True)
def all_responses_from_a_node_missing(tree: Tree) -> Expected:
    for path in tree.rirs.glob("*/*_3.wav"):
        path.unlink()
    return {
        found
        for azimuth in AZIMUTHS
        for found in tree.expect("rir-missing", tree.rirs / str(azimuth), *(f"{r}_3.wav" for r in NODES))
    }


@plant(own_scene=True)
def no_folder_of_an_azimuth(tree: Tree) -> Expected:
    shutil.rmtree(tree.rirs / "180")
    return tree.expect("rir-missing", tree.rirs / "180")


def _spoil(tree: Tree, kind: str, change: Callable[[bytes], bytes]) -> Expected:
    path = tree.rirs / "270" / "3_4.wav"
    replace(path, change(path.read_bytes()))
    return tree.expect(kind, path.parent, path.name)


@plant(own_scene=True)
def response_of_0_bytes(tree: Tree) -> Expected:
    return _spoil(tree, "rir-empty", lambda data: b"")


@plant(own_scene=True)
def response_without_a_sample(tree: Tree) -> Expected:
    begin = (tree.rirs / "270" / "3_4.wav").read_bytes().index(b"data")
    return _spoil(tree, "rir-empty", lambda data: data[: begin + 4] + struct.pack("<I", 0))


@plant(own_scene=True)
def response_truncated(tree: Tree) -> Expected:
    return _spoil(tree, "rir-truncated", lambda data: data[:-100])


@plant(own_scene=True)
def response_truncated_in_its_header(tree: Tree) -> Expected:
    return _spoil(tree, "rir-truncated", lambda data: data[:30])


@plant(own_scene=True)
def response_is_a_page_of_html(tree: Tree) -> Expected:
    return _spoil(tree, "rir-not-wav", lambda data: b"<html>404 Not Found</html>")


@plant(own_scene=True)
def response_of_unknown_coding(tree: Tree) -> Expected:
    return _spoil(tree, "rir-corrupt", lambda data: data[:20] + struct.pack("<H", 0x1234) + data[22:])


@plant(own_scene=True)
def response_is_a_broken_link(tree: Tree) -> Expected:
    path = tree.rirs / "0" / "0_0.wav"
    path.unlink()
    path.symlink_to(tree.root / "nowhere.wav")
    return tree.expect("rir-unreadable", path.parent, path.name)


@plant(own_scene=True)
def response_mono(tree: Tree) -> Expected:
    write_wav(tree.rirs / "0" / "2_3.wav", np.ones((800, 1), np.float32))
    return tree.expect("rir-channels", tree.rirs / "0", "2_3.wav")


@plant(own_scene=True)
def response_of_another_rate(tree: Tree) -> Expected:
    write_wav(tree.rirs / "0" / "2_3.wav", np.ones((800, 2), np.float32), 44100)
    return tree.expect("rir-rate", tree.rirs / "0", "2_3.wav")


@plant(own_scene=True)
def response_not_finite(tree: Tree) -> Expected:
    samples = np.ones((800, 2), np.float32)
    samples[7, 1] = np.nan
    write_wav(tree.rirs / "0" / "2_3.wav", samples)
    return tree.expect("rir-not-finite", tree.rirs / "0", "2_3.wav")


@plant(own_scene=True)
def response_silent(tree: Tree) -> Expected:
    write_wav(tree.rirs / "0" / "2_3.wav", np.zeros((800, 2), np.int16))
    return tree.expect("rir-silent", tree.rirs / "0", "2_3.wav")


@plant(own_scene=True)
def response_misnamed(tree: Tree) -> Expected:
    names = ("007_1.wav", "2_3 (copy).wav")
    for name in names:
        replace(tree.rirs / "0" / name, b"")
    return tree.expect("rir-name", tree.rirs / "0", *names)


@plant(own_scene=True)
def response_twice(tree: Tree) -> Expected:
    os.link(tree.rirs / "0" / "2_3.wav", tree.rirs / "0" / "2-3.wav")
    return tree.expect("rir-twice", tree.rirs / "0", "2_3.wav") | tree.expect("rir-separators", tree.rirs)


@plant(own_scene=True)
def both_separators(tree: Tree) -> Expected:
    os.rename(tree.rirs / "0" / "2_3.wav", tree.rirs / "0" / "2-3.wav")
    return tree.expect("rir-separators", tree.rirs)


@plant(own_scene=True)
def response_of_a_node_off_the_graph(tree: Tree) -> Expected:
    for name in ("1_0.wav", "0_99.wav"):
        os.link(tree.rirs / "90" / "0_0.wav", tree.rirs / "90" / name)
    return tree.expect("rir-foreign", tree.rirs / "90", "1_0.wav", "0_99.wav")


@plant(own_scene=True)
def leftovers_among_responses(tree: Tree) -> Expected:
    replace(tree.rirs / "90" / ".0_0.wav.Xy12", b"part")
    replace(tree.rirs / "45" / "0_0.wav", b"")
    return tree.expect("rir-stray", tree.rirs / "90", ".0_0.wav.Xy12") | tree.expect(
        "rir-stray", tree.rirs, "45"
    )


def _pack(tree: Tree, leave_out: str = "", broken: str = "", silent: str = "", rate: int = RATE) -> None:
    """Replace the tree by a packed file; responses are named as ``90/3_4``."""
    store = WavRirStore(tree.paths.rirs_root)
    with PackedWriter(tree.packed, rate, "float16") as writer:
        for azimuth in AZIMUTHS:
            for receiver in NODES:
                for source in NODES:
                    name, pair = f"{azimuth}/{receiver}_{source}", (azimuth, receiver, source)
                    if name == broken:
                        writer.add_broken(pair, "in the tree that was packed, its file is empty")
                    elif name != leave_out:
                        writer.add(pair, store.load(tree.scene, *pair) * np.float32(name != silent))
    shutil.rmtree(tree.rirs)


@plant(own_scene=True)
def packed_beside_the_tree(tree: Tree) -> Expected:
    _pack(tree)
    shutil.copytree(tree.paths.rirs_root / TRAIN, tree.rirs, copy_function=os.link)
    return tree.expect("rirs-both", tree.packed)


@plant(own_scene=True)
def packed_truncated(tree: Tree) -> Expected:
    _pack(tree)
    replace(tree.packed, tree.packed.read_bytes()[:-1000])
    return tree.expect("packed-corrupt", tree.packed)


@plant(own_scene=True)
def packed_index_changed(tree: Tree) -> Expected:
    _pack(tree)
    data = bytearray(tree.packed.read_bytes())
    data[-300] ^= 255
    replace(tree.packed, bytes(data))
    return tree.expect("packed-corrupt", tree.packed)


@plant(own_scene=True)
def packed_sample_changed(tree: Tree) -> Expected:
    _pack(tree)
    data = bytearray(tree.packed.read_bytes())
    (room,) = struct.unpack("<Q", data[:8])
    data[8 + room + 10] ^= 255  # of the first response
    replace(tree.packed, bytes(data))
    return tree.expect("packed-samples", tree.packed, "0/0_0")


@plant(own_scene=True)
def packed_at_another_rate(tree: Tree) -> Expected:
    _pack(tree, rate=44100)
    return tree.expect("packed-rate", tree.packed)


@plant(own_scene=True)
def packed_without_a_response(tree: Tree) -> Expected:
    _pack(tree, leave_out="90/3_4")
    return tree.expect("packed-missing", tree.packed, "90/3_4")


@plant(own_scene=True)
def packed_with_a_broken_response(tree: Tree) -> Expected:
    _pack(tree, broken="90/3_4")
    return tree.expect("packed-broken", tree.packed, "90/3_4")


@plant(own_scene=True)
def packed_with_a_silent_response(tree: Tree) -> Expected:
    _pack(tree, silent="90/3_4")
    return tree.expect("rir-silent", tree.packed, "90/3_4")
