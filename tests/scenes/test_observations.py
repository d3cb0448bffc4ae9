from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Callable

import numpy as np
import pytest
from tiny import NUM_NODES

from audio_separation.errors import UserError
from audio_separation.scenes.graph import NavGraph, build_graph, load_graph
from audio_separation.scenes.layout import DatasetPaths
from audio_separation.scenes.observations import load_observations, write_observations

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
    views = load_observations(tiny.observations("tiny_000"), load_graph(tiny.metadata("tiny_000")))
    assert views.rgb.shape[:2] == (NUM_NODES, 4)
    assert views.rgb[5, 3, 0, 0, :2].tolist() == [200, 180]
