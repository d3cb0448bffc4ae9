"""The ray caster against closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh

from audio_separation.scenes.meshes import SceneMesh
from audio_separation.scenes.raycast import FACING_LIGHT, RayCaster, camera_rays
from audio_separation.scenes.texturing import halved, sample_texture

SIZE = np.array([6.0, 3.0, 4.0])  # a closed box with a corner at the origin
CAMERA = np.array([2.0, 1.25, 1.5])
# distance from the camera to the walls ahead, left and right, for each rotation
AHEAD = {0: (1.5, 2.0, 4.0), 90: (2.0, 2.5, 1.5), 180: (2.5, 4.0, 2.0), 270: (4.0, 1.5, 2.5)}
WALLS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))  # facing x, y, z


def scene_mesh(body: trimesh.Trimesh) -> SceneMesh:
    faces = np.asarray(body.faces, np.int64)
    colours = np.array(WALLS, np.uint8)[np.abs(body.face_normals).argmax(1)]
    return SceneMesh(np.asarray(body.vertices, float), faces, ("wall",), np.zeros(len(faces), int), colours)


def box_mesh() -> SceneMesh:
    return scene_mesh(trimesh.creation.box(bounds=[[0, 0, 0], SIZE]))


@pytest.fixture(scope="module")
def box() -> RayCaster:
    return RayCaster(box_mesh())


def expected_depth(rotation: int, resolution: int, fov_deg: float) -> np.ndarray:
    reach = np.tan(np.radians(fov_deg) / 2)
    u = ((np.arange(resolution) + 0.5) / resolution * 2 - 1) * reach
    side, up = np.meshgrid(u, -u)
    ahead, left, right = AHEAD[rotation]
    depth = np.minimum(ahead, np.where(side < 0, left, right) / np.abs(side))
    return np.minimum(depth, np.where(up > 0, SIZE[1] - CAMERA[1], CAMERA[1]) / np.abs(up))


@pytest.mark.parametrize("rotation", AHEAD)
@pytest.mark.parametrize("resolution, fov_deg", [(64, 90.0), (34, 60.0)])
def test_depth_in_a_box(box: RayCaster, rotation: int, resolution: int, fov_deg: float) -> None:
    view = box.view(CAMERA, rotation, resolution, fov_deg)
    assert view["rgb"].shape == (resolution, resolution, 3) and view["rgb"].dtype == np.uint8
    assert view["depth"].shape == (resolution, resolution, 1) and view["depth"].dtype == np.float32
    assert np.abs(10 * view["depth"][..., 0] - expected_depth(rotation, resolution, fov_deg)).max() < 1e-5


def test_continuous_rotation(box: RayCaster) -> None:
    ray = camera_rays(30.0, 1)[0]  # the middle of the picture
    np.testing.assert_allclose(ray, [-np.sin(np.pi / 6), 0, -np.cos(np.pi / 6)], atol=1e-12)
    # walls at x = 0 and z = 0: the ray meets the nearer one
    expected = min(CAMERA[0] / np.sin(np.pi / 6), CAMERA[2] / np.cos(np.pi / 6))
    assert 10 * box.view(CAMERA, 30.0, 1)["depth"][0, 0, 0] == pytest.approx(expected, abs=1e-5)


def test_far_and_open_directions() -> None:
    floor = trimesh.Trimesh([[-50, 0, -50], [50, 0, -50], [50, 0, 50], [-50, 0, 50]], [[0, 2, 1], [0, 3, 2]])
    view = RayCaster(scene_mesh(floor)).view(np.array([0, 1.0, 0]), 0, 64)
    assert (view["depth"][:32] == 0).all() and (view["rgb"][:32] == 0).all()  # the sky
    assert view["depth"][32:].max() == 1 and (view["rgb"][33:] > 0).any(-1).all()  # clipped, but there
    assert 10 * view["depth"][-1, 0, 0] == pytest.approx(64 / 63, abs=1e-5)


def test_flat_colours_are_shaded_by_facing(box: RayCaster) -> None:
    seen = {tuple(c) for c in box.view(CAMERA, 45)["rgb"].reshape(-1, 3).tolist()}
    assert seen == {tuple(round(light * c) for c in wall) for wall, light in zip(WALLS, FACING_LIGHT)}
    photographed = RayCaster(replace(box_mesh(), light_in_colours=True))
    assert {tuple(c) for c in photographed.view(CAMERA, 45)["rgb"].reshape(-1, 3).tolist()} == set(WALLS)


def test_depth_along_and_blocked(box: RayCaster) -> None:
    depth, hit = box.depth_along(CAMERA, np.array([[1.0, 0, 0], [0, -2, 0]]))
    np.testing.assert_allclose(depth, [4, 0.625])
    assert (np.abs(box.normals[hit]).argmax(1) == [0, 1]).all()
    depth, hit = box.depth_along(np.array([7.0, 1, 1]), np.array([[1.0, 0, 0]]))
    assert depth.tolist() == [np.inf] and hit.tolist() == [-1]
    starts = np.tile(CAMERA, (4, 1))
    ends = np.array([[5.9, 2, 3], [6.1, 2, 3], [2, 1.25, 1.4], [2, 1.25, -0.1]])
    assert box.blocked(starts, ends).tolist() == [False, True, False, True]


def textured_wall(image: np.ndarray, width_m: float = 2.0, repeats: float = 1.0) -> RayCaster:
    """A square wall in the plane z = 0, centred on the z axis, that shows the image to who looks along -z."""
    h = width_m / 2
    vertices = np.array([[-h, -h, 0], [h, -h, 0], [h, h, 0], [-h, h, 0]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    uv = repeats * np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)[faces]
    grey = np.full((2, 3), 128, np.uint8)
    kind = np.zeros(2, int)
    return RayCaster(SceneMesh(vertices, faces, ("wall",), kind, grey, True, uv, np.array([0, 0]), (image,)))


def test_texture_stands_upright_and_unmirrored() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    # at 1 m the wall of 2 m fills 90 degrees: one pixel is one texel
    view = textured_wall(image).view(np.array([0, 0, 1.0]), 0, 8)
    np.testing.assert_array_equal(view["rgb"], image)


def test_texture_repeats_and_halves() -> None:
    image = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)
    near = textured_wall(image, repeats=2.0).view(np.array([0, 0, 1.0]), 0, 16)
    np.testing.assert_array_equal(near["rgb"], np.tile(image, (2, 2, 1)))
    # from here a pixel covers 2 x 2 texels: it shows their mean
    far = textured_wall(image).view(np.array([0, 0, 1.0]), 0, 4)
    np.testing.assert_array_equal(far["rgb"], halved(image))
    means = image.reshape(4, 2, 4, 2, 3).mean((1, 3))
    assert np.abs(halved(image) - means).max() <= 0.5


def test_mixed_textures() -> None:
    """Triangles without a texture keep their flat colour beside those with one."""
    images = (np.full((2, 2, 3), 200, np.uint8), np.full((4, 2, 3), 90, np.uint8))
    body = box_mesh()
    texture = np.where(np.abs(RayCaster(body).normals).argmax(1) == 1, -1, np.arange(len(body.faces)) % 2)
    uv = np.zeros((len(body.faces), 3, 2), np.float32)
    mesh = SceneMesh(
        body.vertices, body.faces, body.categories, body.category, body.colours, True, uv, texture, images
    )
    seen = {tuple(c) for c in RayCaster(mesh).view(CAMERA, 0)["rgb"].reshape(-1, 3).tolist()}
    assert seen == {(200, 200, 200), (90, 90, 90), WALLS[1]}


def test_bilinear_sampling() -> None:
    image = np.array([[[0] * 3, [100] * 3], [[200] * 3, [40] * 3]], np.uint8)
    uv = np.array([[0.25, 0.75], [0.75, 0.25], [0.5, 0.5], [0.5, 0.75], [1.25, -0.25]])
    np.testing.assert_allclose(sample_texture(image, uv)[:, 0], [0, 40, 85, 50, 0])
