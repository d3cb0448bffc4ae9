"""Ray-cast RGB-D views against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from audio_separation.scenes.datasets import CAMERA_HEIGHT_M
from audio_separation.scenes.generate.home import Home, make_home
from audio_separation.scenes.generate.materials import make_palette
from audio_separation.scenes.generate.mesh import build_mesh
from audio_separation.scenes.generate.plan import PRESETS, Cells, Plan, Rect, Room, Window
from audio_separation.scenes.generate.textures import PATTERNS, shade
from audio_separation.scenes.generate.views import ViewRenderer
from audio_separation.scenes.raycast import camera_rays

FLOOR = Rect(0.0, 5.0, 0.0, 4.0)
HEIGHT = 2.6
NODE = np.array([2.0, 0.0, 1.5])


@pytest.fixture(scope="module")
def box() -> ViewRenderer:
    """One empty room with a window in the wall that rotation 0 faces."""
    room = Room(0, "living", Cells(0, 5, 0, 4), FLOOR)
    window = Window(0, "north", 1.5, 2.5)
    plan = Plan((room,), (), (window,), FLOOR.inset(-0.06), (5, 4), (0.0, 0.0), HEIGHT, 0.12)
    palette = make_palette(np.random.default_rng(0), ["living"], "normal")
    home = Home(0, "normal", plan, (), palette, NODE[None], (), (0,))
    return ViewRenderer(home, build_mesh(home))


# distance from the node to the wall ahead, and from there to the left and right walls
AHEAD = {0: (1.5, 2.0, 3.0), 90: (2.0, 2.5, 1.5), 180: (2.5, 3.0, 2.0), 270: (3.0, 1.5, 2.5)}


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_depth_of_an_empty_box_equals_closed_form(box: ViewRenderer, rotation: int) -> None:
    view = box.view(NODE, rotation)
    assert view["depth"].shape == (128, 128, 1) and view["depth"].dtype == np.float32
    # column u, row v of the image plane at unit depth, for a field of view of 90 degrees
    u = (np.arange(128) + 0.5) / 64 - 1
    side, up = np.meshgrid(u, -u)
    ahead, left, right = AHEAD[rotation]
    expected = np.minimum(ahead, np.where(side < 0, left, right) / np.abs(side))
    expected = np.minimum(expected, np.where(up > 0, HEIGHT - CAMERA_HEIGHT_M, CAMERA_HEIGHT_M) / np.abs(up))
    assert np.allclose(10 * view["depth"][..., 0], expected, atol=1e-4)


def test_colours_show_the_window_above_the_floor(box: ViewRenderer) -> None:
    rgb = box.view(NODE, 0)["rgb"].astype(float)
    assert rgb.shape == (128, 128, 3)
    # the window spans x 1.5 to 2.5 in a wall 1.5 m ahead: the middle column sees it
    assert rgb[30, 64, 2] > rgb[30, 64, 0]  # sky is blue
    assert not np.allclose(rgb[120, 64], rgb[30, 64], atol=20)
    assert rgb.std() > 10


def test_depth_is_clipped_at_ten_metres(box: ViewRenderer) -> None:
    origin = np.array([2.0, 1.25, 1.5])
    depth, hit = box.depth_along(origin, camera_rays(0))
    assert np.isfinite(depth).all() and (hit >= 0).all()
    far = make_home(0, PRESETS["small"])
    view = ViewRenderer(far, build_mesh(far)).view(far.positions[0], 180)
    assert view["depth"].min() > 0 and view["depth"].max() <= 1


def test_views_repeat_exactly() -> None:
    home = make_home(1, PRESETS["mini"])
    mesh = build_mesh(home)
    first, again = (ViewRenderer(home, mesh).view(home.positions[4], 90) for _ in range(2))
    assert np.array_equal(first["rgb"], again["rgb"]) and np.array_equal(first["depth"], again["depth"])


@pytest.mark.parametrize("texture", sorted(PATTERNS))
def test_textures_stay_near_their_colour(texture: str) -> None:
    rng = np.random.default_rng(0)
    u, v = rng.uniform(-5, 5, (2, 4000))
    colour = shade(texture, u, v, (0.5, 0.4, 0.3), 3)
    assert colour.shape == (4000, 3) and colour.min() >= 0 and colour.max() <= 1
    mean = colour.mean(axis=0)
    assert (mean > 0.5 * np.array([0.5, 0.4, 0.3])).all() and (mean < 1.6 * np.array([0.5, 0.4, 0.3])).all()
