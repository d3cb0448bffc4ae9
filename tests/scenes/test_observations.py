from __future__ import annotations

import json
import os
import pickle
import warnings
from pathlib import Path
from typing import Callable

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tiny import NUM_NODES

from audio_separation.envs.simulator import Scene, _device_views
from audio_separation.errors import UserError
from audio_separation.scenes.graph import NavGraph, build_graph, load_graph
from audio_separation.scenes.layout import DatasetPaths
from audio_separation.scenes.mapped_observations import open_mapped
from audio_separation.scenes.observations import (
    find_observations,
    load_observations,
    mapped_path,
    write_mapped,
    write_observations,
)

H, W = 4, 6


@pytest.fixture
def graph() -> NavGraph:
    # ids and indices differ
    return build_graph(np.array([[0, 0, 0], [1, 0, 0]], dtype=float), [(0, 1)], node_ids=[7, 3])


def cache(channels: int = 3, depth_axis: bool = True, metres: bool = False) -> dict:
    """Views of nodes 3 and 7; red is 10 * node + rotation / 90, depth the same in hundredths of 10 m."""
    views = {}
    for node in (3, 7):
        for rotation in (0, 90, 180, 270):
            value = 10 * node + rotation // 90
            rgb = np.full((H, W, channels), 255, dtype=np.uint8)
            rgb[..., 0] = value
            depth = np.full(
                (H, W, 1) if depth_axis else (H, W), value / 100 * (10 if metres else 1), dtype=np.float32
            )
            views[(node, rotation)] = {"rgb": rgb, "depth": depth}
    return views


def save(tmp_path: Path, views: object) -> Path:
    (tmp_path / "scene.pkl").write_bytes(pickle.dumps(views))
    return tmp_path / "scene.pkl"


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("depth_axis", [True, False])
@pytest.mark.parametrize("metres", [True, False])
def test_published_forms_read_alike(
    tmp_path: Path, graph: NavGraph, channels: int, depth_axis: bool, metres: bool
) -> None:
    rgb, depth = load_observations(save(tmp_path, cache(channels, depth_axis, metres)), graph)
    assert rgb.shape == (2, 4, H, W, 3) and rgb.dtype == np.uint8
    assert depth.shape == (2, 4, H, W, 1) and depth.dtype == np.float32
    values = np.array([[70, 71, 72, 73], [30, 31, 32, 33]])  # by node index: id 7, then 3
    assert (rgb[..., 0] == values[:, :, None, None]).all()
    np.testing.assert_allclose(
        depth, np.broadcast_to(values[:, :, None, None, None] / 100, depth.shape), rtol=1e-6
    )


def test_depth_in_metres_is_clipped(tmp_path: Path, graph: NavGraph) -> None:
    views = cache(metres=True)
    views[(3, 0)]["depth"][:] = 25.0
    assert load_observations(save(tmp_path, views), graph).depth.max() == 1.0


def test_write_and_read_again(tmp_path: Path, graph: NavGraph) -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (2, 4, H, W, 3), dtype=np.uint8)
    depth = rng.random((2, 4, H, W, 1), dtype=np.float32)
    write_observations(tmp_path / "new" / "scene.pkl", graph, rgb, depth)
    loaded = load_observations(tmp_path / "new" / "scene.pkl", graph)
    np.testing.assert_array_equal(loaded.rgb, rgb)
    np.testing.assert_array_equal(loaded.depth, depth)
    published = pickle.loads((tmp_path / "new" / "scene.pkl").read_bytes())
    np.testing.assert_array_equal(published[(3, 180)]["rgb"], rgb[1, 2])


def change(key: tuple, part: str, value: object) -> Callable[[dict], None]:
    def apply(views: dict) -> None:
        views[key][part] = value

    return apply


@pytest.mark.parametrize(
    "break_it, message",
    [
        (lambda v: v.pop((3, 270)), r"no view for node 3, rotation 270"),
        (lambda v: v[(7, 90)].pop("depth"), r"node 7, rotation 90 should hold 'rgb' and 'depth'"),
        (
            change((3, 0), "rgb", np.zeros((H, W, 3))),
            r"rgb of node 3, rotation 0 should be uint8 .* found float64",
        ),
        (change((3, 0), "rgb", np.zeros((H, W), np.uint8)), r"found uint8 \[4, 6\]"),
        (change((3, 0), "depth", np.zeros((W, H))), r"depth of node 3, rotation 0 .* found \[6, 4\]"),
        (
            lambda v: v.update({(3, 0): {"rgb": np.zeros((2, 2, 3), np.uint8), "depth": np.zeros((2, 2))}}),
            r"one size, found \[2, 2\] at node 3, rotation 0 after \[4, 6\]",
        ),
    ],
)
def test_faulty_views(tmp_path: Path, graph: NavGraph, break_it: Callable, message: str) -> None:
    views = cache()
    break_it(views)
    with pytest.raises(UserError, match=message):
        load_observations(save(tmp_path, views), graph)


def test_not_a_cache(tmp_path: Path, graph: NavGraph) -> None:
    with pytest.raises(UserError, match="found a list"):
        load_observations(save(tmp_path, [1]), graph)


def test_hostile_cache(tmp_path: Path, graph: NavGraph) -> None:
    class Attack:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "ran"),)

    with pytest.raises(UserError, match=r"asks for (posix|nt)\.mkdir"):
        load_observations(save(tmp_path, {(3, 0): Attack()}), graph)
    assert not (tmp_path / "ran").exists()


def test_writer_refuses_wrong_shapes(tmp_path: Path, graph: NavGraph) -> None:
    rgb, depth = np.zeros((2, 4, H, W, 3), np.uint8), np.zeros((2, 4, H, W, 1), np.float32)
    for bad in ((rgb[:1], depth), (rgb, depth[..., 0]), (rgb, depth + 2)):
        with pytest.raises(ValueError, match="should be"):
            write_observations(tmp_path / "scene.pkl", graph, *bad)


def test_tiny_views_tell_node_and_rotation(tiny: DatasetPaths) -> None:
    loaded = load_observations(tiny.observations("tiny_000"), load_graph(tiny.metadata("tiny_000")))
    assert loaded.rgb.shape[:2] == (NUM_NODES, 4)
    assert loaded.rgb[5, 3, 0, 0, :2].tolist() == [200, 180]


# ---- the memory-mapped form ------------------------------------------------------------------------------
def views(seed: int = 0, size: int = H) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rgb = rng.integers(0, 256, (2, 4, size, W, 3), dtype=np.uint8)
    return rgb, rng.random((2, 4, size, W, 1), dtype=np.float32)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("metres", [True, False])
def test_both_forms_hold_the_same(tmp_path: Path, graph: NavGraph, channels: int, metres: bool) -> None:
    path = save(tmp_path, cache(channels, metres=metres))
    pickled = load_observations(path, graph)
    write_mapped(mapped_path(path), graph, *pickled, {"renderer": "x"})
    path.unlink()
    mapped = load_observations(path, graph)
    for ours, theirs in zip(mapped, pickled):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    opened = open_mapped(mapped_path(path))
    assert opened.metadata["renderer"] == "x" and opened.node_ids.tolist() == [7, 3]


def test_the_mapped_form_is_taken_where_both_are_there(tmp_path: Path, graph: NavGraph) -> None:
    path = save(tmp_path, cache())
    assert find_observations(path) == path
    rgb, depth = views()
    write_mapped(mapped_path(path), graph, rgb, depth)
    assert find_observations(path) == tmp_path / "scene.safetensors"
    np.testing.assert_array_equal(load_observations(path, graph).rgb, rgb)


def test_neither_form(tmp_path: Path, graph: NavGraph) -> None:
    with pytest.raises(UserError, match=r"no RGB-D cache at .*scene\.pkl, nor scene\.safetensors beside it"):
        load_observations(tmp_path / "scene.pkl", graph)


def test_safetensors_reads_it_and_the_same_views_give_the_same_bytes(tmp_path: Path, graph: NavGraph) -> None:
    rgb, depth = views()
    for name in ("a", "b"):
        write_mapped(tmp_path / f"{name}.safetensors", graph, rgb, depth, {"renderer": "x"})
    tensors = load_file(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(tensors["rgb"], rgb)
    np.testing.assert_array_equal(tensors["depth"], depth)
    assert tensors["node"].tolist() == [7, 3]
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


@pytest.mark.skipif(
    not Path("/proc/self/smaps").exists(), reason="reads which pages are in memory from /proc"
)
def test_opening_reads_next_to_nothing(tmp_path: Path, graph: NavGraph) -> None:
    rgb, depth = views(size=200_000)  # 67 MB
    path = tmp_path / "big.safetensors"
    write_mapped(path, graph, rgb, depth)
    opened = load_observations(tmp_path / "big.pkl", graph)

    def resident_mb() -> float:
        sections = Path("/proc/self/smaps").read_text().split(str(path))[1:]
        return sum(int(section.split("Rss:")[1].split()[0]) for section in sections) / 1024

    assert resident_mb() < 1
    assert opened.rgb[1, 3].max() == 255  # 3.6 MB
    assert 3 < resident_mb() < 20


def test_the_simulator_holds_the_mapped_pages_themselves(tmp_path: Path, graph: NavGraph) -> None:
    rgb, depth = views()
    write_mapped(tmp_path / "scene.safetensors", graph, rgb, depth)
    images = load_observations(tmp_path / "scene.pkl", graph)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of memory that it may not write
        held = _device_views({"scene": Scene(graph, images)}, torch.device("cpu"))["scene"]
    assert np.shares_memory(held.rgb.numpy(), images.rgb) and np.shares_memory(
        held.depth.numpy(), images.depth
    )
    np.testing.assert_array_equal(held.rgb.numpy(), rgb.reshape(8, H, W, 3))
    held.rgb[:] = 0  # private pages: the file stays as it is
    np.testing.assert_array_equal(load_observations(tmp_path / "scene.pkl", graph).rgb, rgb)


def edited(data: bytes, edit: Callable[[dict], None]) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    edit(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def reshaped(name: str, shape: list[int]) -> Callable[[bytes], bytes]:
    return lambda data: edited(data, lambda header: header[name].update(shape=shape))


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda data: data[:-1], "missing, truncated or corrupt"),
        (lambda data: data + b"x", "missing, truncated or corrupt"),
        (lambda data: data[:5], "missing, truncated or corrupt"),
        (lambda data: b"", "missing, truncated or corrupt"),
        (lambda data: b"\xff" * len(data), "missing, truncated or corrupt"),
        (lambda data: data.replace(b'"version": "1"', b'"version": "9"'), r"is of format .*'9'\), expected"),
        (lambda data: edited(data, lambda h: h.pop("__metadata__")), r"is of format \(None, None\)"),
        (lambda data: data.replace(b'"rgb"', b'"rbg"'), r"holds \['depth', 'node', 'rbg'\], expected"),
        (lambda data: data.replace(b'"U8"', b'"I8"'), r"rgb I8 .*expected node I64 \[V\]"),
        (reshaped("rgb", [2, 4, W, H, 3]), r"expected node I64 \[V\]"),
        (reshaped("rgb", [4, 2, H, W, 3]), r"expected node I64 \[V\]"),
        (reshaped("rgb", [2 * 4 * H * W * 3]), r"expected node I64 \[V\]"),
        (reshaped("node", [1, 2]), r"expected node I64 \[V\]"),
        (reshaped("depth", [2, 4, H, W]), r"expected node I64 \[V\]"),
    ],
)
def test_damaged_mapped_files(tmp_path: Path, graph: NavGraph, damage: Callable, message: str) -> None:
    path = tmp_path / "scene.safetensors"
    write_mapped(path, graph, *views())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=message):
        load_observations(tmp_path / "scene.pkl", graph)


def test_mapped_file_without_pixels(tmp_path: Path, graph: NavGraph) -> None:
    empty = {"rgb": np.zeros((2, 4, 0, 0, 3), np.uint8), "depth": np.zeros((2, 4, 0, 0, 1), np.float32)}
    metadata = {"format": "audio_separation/observations", "version": "1"}
    save_file({**empty, "node": np.array([7, 3])}, tmp_path / "scene.safetensors", metadata)
    with pytest.raises(UserError, match=r"expected node I64 \[V\]"):
        load_observations(tmp_path / "scene.pkl", graph)


def test_mapped_file_of_another_graph(tmp_path: Path, graph: NavGraph) -> None:
    write_mapped(tmp_path / "scene.safetensors", graph, *views())
    for ids, message in (([7, 4], "has no view for node 4"), ([3, 7], "in another order")):
        other = build_graph(np.array([[0, 0, 0], [1, 0, 0]], dtype=float), [(0, 1)], node_ids=ids)
        with pytest.raises(UserError, match=message):
            load_observations(tmp_path / "scene.pkl", other)


def test_depth_that_is_no_number(tmp_path: Path, graph: NavGraph) -> None:
    published = cache()
    published[(7, 90)]["depth"][0, 0] = np.nan
    with pytest.raises(UserError, match="depths that are not numbers"):
        load_observations(save(tmp_path, published), graph)
    rgb, depth = views()
    depth[0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="should be within"):
        write_mapped(tmp_path / "scene.safetensors", graph, rgb, depth)
