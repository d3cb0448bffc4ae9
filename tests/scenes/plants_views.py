"""Faults of views and meshes to plant; see check_plants.py."""

from __future__ import annotations

import json
import os
import pickle
import struct
from pathlib import Path
from typing import Callable

import numpy as np
from check_plants import (
    TRAIN,
    Boom,
    Expected,
    Tree,
    plant,
    replace,
)
from published import AZIMUTHS

from audio_separation.scenes.graph import load_graph
from audio_separation.scenes.observations import load_pickled, mapped_path, write_mapped
from audio_separation.scenes.unpickle import load_pickle


# ---- views ---------------------------------------------------------------------------------------------
def _change_views(tree: Tree, change: Callable[[dict], None]) -> None:
    cache = {
        key: {name: np.array(view[name]) for name in view} for key, view in load_pickle(tree.views).items()
    }
    change(cache)
    replace(tree.views, pickle.dumps(cache))


@plant(own_scene=True)
def no_views(tree: Tree) -> Expected:
    tree.views.unlink()
    return tree.expect("views-absent", tree.views)


@plant(own_scene=True)
def views_truncated(tree: Tree) -> Expected:
    replace(tree.views, tree.views.read_bytes()[:-500])
    return tree.expect("views-unreadable", tree.views)


@plant(own_scene=True)
def views_are_a_list(tree: Tree) -> Expected:
    replace(tree.views, pickle.dumps([1, 2]))
    return tree.expect("views-unreadable", tree.views)


@plant(own_scene=True)
def views_hostile(tree: Tree) -> Expected:
    replace(tree.views, pickle.dumps({(0, 0): Boom(tree.root / "boom_views")}))
    return tree.expect("views-hostile", tree.views)


@plant(own_scene=True)
def view_missing(tree: Tree) -> Expected:
    _change_views(tree, lambda cache: cache.pop((3, 90)))
    return tree.expect("view-missing", tree.views, "node 3 rotation 90")


@plant(own_scene=True)
def view_of_floats(tree: Tree) -> Expected:
    _change_views(tree, lambda cache: cache[3, 90].update(rgb=np.zeros((8, 8, 3), np.float32)))
    return tree.expect("view-malformed", tree.views, "node 3 rotation 90")


@plant(own_scene=True)
def view_without_depth(tree: Tree) -> Expected:
    _change_views(tree, lambda cache: cache[3, 180].pop("depth"))
    return tree.expect("view-malformed", tree.views, "node 3 rotation 180")


@plant(own_scene=True)
def view_depth_is_text(tree: Tree) -> Expected:
    _change_views(tree, lambda cache: cache[3, 180].update(depth="far"))
    return tree.expect("view-malformed", tree.views, "node 3 rotation 180")


@plant(own_scene=True)
def view_of_another_size(tree: Tree) -> Expected:
    small = {"rgb": np.zeros((4, 4, 3), np.uint8), "depth": np.zeros((4, 4, 1), np.float32)}
    _change_views(tree, lambda cache: cache.update({(2, 0): small}))
    return tree.expect("view-size", tree.views, "node 2 rotation 0")


@plant(own_scene=True)
def view_depth_not_finite(tree: Tree) -> Expected:
    _change_views(tree, lambda cache: cache[0, 270]["depth"].fill(np.nan))
    return tree.expect("view-depth", tree.views, "node 0 rotation 270")


@plant(own_scene=True)
def view_depth_in_metres_among_others(tree: Tree) -> Expected:
    _change_views(tree, lambda cache: cache[0, 270]["depth"].fill(3.5))
    return tree.expect("view-depth", tree.views, "node 0 rotation 270")


@plant(own_scene=True)
def view_of_no_node(tree: Tree) -> Expected:
    def change(cache: dict) -> None:
        cache[99, 0], cache[0, 45], cache["a"] = cache[0, 0], cache[0, 0], cache[0, 0]

    _change_views(tree, change)
    return tree.expect("view-foreign", tree.views, "(99, 0)", "(0, 45)", "'a'")


@plant(own_scene=True)
def view_of_a_node_off_the_graph(tree: Tree) -> Expected:
    _change_views(tree, lambda cache: cache.update({(1, 90): cache[0, 90]}))
    return tree.expect("view-unused", tree.views, "node 1 rotation 90")


def _map_views(tree: Tree) -> Path:
    graph = load_graph(tree.metadata)
    path = mapped_path(tree.views)
    write_mapped(path, graph, *load_pickled(tree.views, graph))
    tree.views.unlink()
    return path


@plant(own_scene=True)
def views_in_both_forms(tree: Tree) -> Expected:
    path = _map_views(tree)
    os.link(tree.paths.observations(TRAIN), tree.views)
    return tree.expect("views-both", path)


@plant(own_scene=True)
def mapped_views_truncated(tree: Tree) -> Expected:
    path = _map_views(tree)
    replace(path, path.read_bytes()[:-10])
    return tree.expect("views-unreadable", path)


def _change_mapped(path: Path, begin: Callable[[dict], int], value: bytes) -> None:
    data = bytearray(path.read_bytes())
    (room,) = struct.unpack("<Q", data[:8])
    at = 8 + room + begin(json.loads(data[8 : 8 + room]))
    data[at : at + len(value)] = value
    replace(path, bytes(data))


@plant(own_scene=True)
def mapped_views_of_other_nodes(tree: Tree) -> Expected:
    path = _map_views(tree)
    # the first node, 0, becomes 5, which is in points.txt but not in the graph
    _change_mapped(path, lambda header: header["node"]["data_offsets"][0], struct.pack("<q", 5))
    return tree.expect("view-missing", path, *(f"node 0 rotation {rotation}" for rotation in AZIMUTHS))


@plant(own_scene=True)
def mapped_view_with_depth_beyond_1(tree: Tree) -> Expected:
    path = _map_views(tree)
    _change_mapped(path, lambda header: header["depth"]["data_offsets"][0], struct.pack("<f", 1.5))
    return tree.expect("view-depth", path, "node 0 rotation 0")


@plant(own_scene=True)
def no_mesh(tree: Tree) -> Expected:
    tree.paths.mesh(tree.scene).unlink()
    return tree.expect("mesh-missing", tree.paths.mesh(tree.scene))
