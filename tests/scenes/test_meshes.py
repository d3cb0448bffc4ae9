"""Meshes of every format, frame and origin against hand-made files."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from audio_separation.errors import UserError
from audio_separation.scenes.meshes import GREY, SceneMesh, load_scene_mesh
from audio_separation.scenes.semantics import read_house

# a wall of two triangles (0.4 m x 0.3 m), in the frame that the file is said to have
VERTICES = np.array([[1.0, 2, 3], [1.4, 2, 3], [1.4, 2.3, 3], [1, 2.3, 3]])
FACES = np.array([[0, 1, 2], [0, 2, 3]])
Z_UP = np.stack([VERTICES[:, 0], VERTICES[:, 2], -VERTICES[:, 1]], axis=1)  # in Habitat's frame


def sheet(vertices: np.ndarray = VERTICES) -> trimesh.Trimesh:
    return trimesh.Trimesh(vertices, FACES, process=False)


def painted(
    factor: tuple[float, ...] | None = None, image: Image.Image | None = None, name: str = ""
) -> trimesh.Trimesh:
    mesh = sheet()
    material = trimesh.visual.material.PBRMaterial(name=name, baseColorFactor=factor, baseColorTexture=image)
    uv = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    mesh.visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    return mesh


def checkers() -> Image.Image:
    """2 x 2 pixels: red, green over blue, white."""
    return Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255] * 3]], np.uint8))


def export(path: Path, *named: tuple[str, trimesh.Trimesh]) -> Path:
    scene = trimesh.Scene()
    for name, mesh in named:
        scene.add_geometry(mesh, geom_name=name, node_name=name)
    scene.export(path)
    return path


def write_ply(path: Path, object_ids: list[int], quads: bool = False, ascii_form: bool = False) -> Path:
    """Faces with an object id each, as Matterport3D (triangles) and Replica (quads) have them."""
    corners = (
        [[0, 1, 2, 3]] * len(object_ids) if quads else [FACES[k % 2].tolist() for k in range(len(object_ids))]
    )
    kind = "ascii" if ascii_form else "binary_little_endian"
    header = (
        f"ply\nformat {kind} 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\n"
        f"element face {len(corners)}\nproperty list uchar int vertex_indices\nproperty int object_id\nend_header\n"
    )
    if ascii_form:
        rows = [" ".join(map(str, [*v.tolist(), 10, 20, 30])) for v in VERTICES]
        rows += [" ".join(map(str, [len(c), *c, k])) for c, k in zip(corners, object_ids)]
        body = ("\n".join(rows) + "\n").encode()
    else:
        body = b"".join(struct.pack("<fffBBB", *v, 10, 20, 30) for v in VERTICES)
        body += b"".join(struct.pack(f"<B{len(c)}ii", len(c), *c, k) for c, k in zip(corners, object_ids))
    path.write_bytes(header.encode() + body)
    return path


HOUSE = """ASCII 1.1
H x x 0 0 0 0 0 3 2 1 0 1 0 0 0 0 0 0 0 0 1 1 1 0 0 0 0 0
C 0 5 wooden#door 4 door 0 0 0 0 0
C 1 9 couch 10 sofa 0 0 0 0 0
O 0 0 1 0 0 0 1 0 0 0 1 0 1 1 1 0 0 0 0 0 0 0 0
O 1 0 0 0 0 0 1 0 0 0 1 0 1 1 1 0 0 0 0 0 0 0 0
O 2 0 -1 0 0 0 1 0 0 0 1 0 1 1 1 0 0 0 0 0 0 0 0
"""


def check_geometry(mesh: SceneMesh, vertices: np.ndarray) -> None:
    """The sheet's triangles, whichever order the format keeps its vertices in."""
    assert mesh.vertices.dtype == np.float64 and mesh.faces.dtype == np.int64
    np.testing.assert_allclose(mesh.vertices[mesh.faces], vertices[FACES], atol=1e-6)


@pytest.mark.parametrize("suffix, z_up", [("glb", True), ("ply", True), ("obj", False), ("gltf", False)])
def test_frame_follows_habitats_rule(tmp_path: Path, suffix: str, z_up: bool) -> None:
    path = tmp_path / f"room.{suffix}"
    if suffix == "gltf":
        for name, data in trimesh.exchange.gltf.export_gltf(trimesh.Scene(sheet())).items():
            (tmp_path / name).write_bytes(data)
        path = tmp_path / "model.gltf"
    else:
        sheet().export(path)
    check_geometry(load_scene_mesh(path), Z_UP if z_up else VERTICES)


def test_stage_config_decides_the_frame(tmp_path: Path) -> None:
    path = export(tmp_path / "room.glb", ("a", sheet()))
    config = tmp_path / "room.stage_config.json"
    config.write_text(json.dumps({"up": [0, 1, 0], "front": [0, 0, -1]}))
    check_geometry(load_scene_mesh(path), VERTICES)
    config.write_text(json.dumps({"up": [1, 0, 0], "front": [0, 0, -1]}))  # x up: y is left, z is back
    x, y, z = VERTICES.T
    check_geometry(load_scene_mesh(path), np.stack([-y, x, z], axis=1))


@pytest.mark.parametrize(
    "stage, message",
    [
        ("[]", "is no stage description"),
        ("{", "is no stage description"),
        ('{"up": [0, 1]}', "is no stage description"),
        ('{"up": [0, 1, 0]}', "should be two perpendicular unit vectors"),  # the default front is +y
        ('{"scale": [2, 2, 2]}', r"scales its mesh by .* expected 1"),
        ('{"units_to_meters": 0.01}', r"scales its mesh by .* expected 1"),
    ],
)
def test_faulty_stage_config(tmp_path: Path, stage: str, message: str) -> None:
    path = export(tmp_path / "room.glb", ("a", sheet()))
    (tmp_path / "room.stage_config.json").write_text(stage)
    with pytest.raises(UserError, match=message):
        load_scene_mesh(path)


def test_geometries_are_put_in_place(tmp_path: Path) -> None:
    scene = trimesh.Scene()
    turn = trimesh.transformations.rotation_matrix(np.pi / 2, [0, 0, 1])
    turn[:3, 3] = [5, 6, 7]
    scene.add_geometry(sheet(), transform=turn)
    scene.export(tmp_path / "room.glb")
    x, y, z = VERTICES.T
    check_geometry(load_scene_mesh(tmp_path / "room.glb"), np.stack([5 - y, 7 + z, -(6 + x)], axis=1))


def test_categories_and_colours_of_homes(tmp_path: Path) -> None:
    path = export(
        tmp_path / "home.glb",
        ("a_wall:plaster", painted((1.0, 0.5, 0.0, 1.0))),
        ("floor_0:wood", painted((0.0, 0.0, 1.0, 1.0))),
    )
    mesh = load_scene_mesh(path)
    assert mesh.categories == ("plaster", "wood")
    assert mesh.category.tolist() == [0, 0, 1, 1]
    assert mesh.colours.tolist() == [[255, 128, 0]] * 2 + [[0, 0, 255]] * 2
    assert mesh.texture is None and mesh.uv is None and not mesh.light_in_colours


def test_other_names(tmp_path: Path) -> None:
    path = export(tmp_path / "x.glb", ("part", painted((1.0, 1, 1, 1), name="carpet")), ("table", sheet()))
    assert load_scene_mesh(path).categories == ("carpet", "table")


def test_without_colours(tmp_path: Path) -> None:
    sheet().export(tmp_path / "x.ply")
    mesh = load_scene_mesh(tmp_path / "x.ply")
    assert mesh.colours.tolist() == [list(GREY)] * 2 and not mesh.light_in_colours


def test_textures(tmp_path: Path) -> None:
    path = export(tmp_path / "scan.glb", ("a", painted((1.0, 0.5, 1.0, 1.0), checkers())), ("b", sheet()))
    mesh = load_scene_mesh(path)
    assert mesh.light_in_colours and mesh.uv is not None and mesh.texture is not None
    assert mesh.texture.tolist() == [0, 0, -1, -1]
    assert len(mesh.textures) == 1
    # the colour factor is in the picture already
    assert mesh.textures[0].tolist() == [[[255, 0, 0], [0, 128, 0]], [[0, 0, 255], [255, 128, 255]]]
    np.testing.assert_allclose(mesh.uv[:2], np.array([[0, 0], [1, 0], [1, 1], [0, 1]])[FACES], atol=1e-6)
    # the middle of the lower right triangle lies in the lower right pixel, that of the other in the upper left
    assert mesh.colours[:2].tolist() == [[255, 128, 255], [255, 0, 0]]


def test_obj_with_material_and_texture(tmp_path: Path) -> None:
    mesh = sheet()
    mesh.visual = trimesh.visual.TextureVisuals(
        uv=np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]),
        material=trimesh.visual.material.SimpleMaterial(image=checkers(), diffuse=[255, 255, 255, 255]),
    )
    mesh.export(tmp_path / "scan.obj")
    loaded = load_scene_mesh(tmp_path / "scan.obj")
    check_geometry(loaded, VERTICES)
    assert loaded.colours.tolist() == [[255, 255, 255], [255, 0, 0]]
    assert len(loaded.textures) == 1


@pytest.mark.parametrize("ascii_form", [False, True])
@pytest.mark.parametrize("quads", [False, True])
def test_matterport_categories(tmp_path: Path, quads: bool, ascii_form: bool) -> None:
    (tmp_path / "x.house").write_text(HOUSE)
    path = write_ply(tmp_path / "x_semantic.ply", [0, 1, 2, 77, -1], quads, ascii_form)
    mesh = load_scene_mesh(path)
    expected = ["sofa", "door", "unlabeled", "unlabeled", "unlabeled"] * (2 if quads else 1)
    assert [mesh.categories[k] for k in mesh.category] == expected
    assert mesh.categories == ("door", "sofa", "unlabeled")
    assert mesh.colours.tolist() == [[10, 20, 30]] * len(expected)
    assert mesh.light_in_colours
    np.testing.assert_allclose(mesh.vertices, Z_UP, atol=1e-6)
    if quads:  # both halves of quad k are triangles k and k + 5
        assert {tuple(sorted(mesh.faces[k])) for k in (1, 6)} == {(0, 1, 2), (0, 2, 3)}


def test_replica_categories(tmp_path: Path) -> None:
    info = {"objects": [{"id": 3, "class_id": 1, "class_name": "rug"}]}
    (tmp_path / "info_semantic.json").write_text(json.dumps(info))
    mesh = load_scene_mesh(write_ply(tmp_path / "mesh_semantic.ply", [3, 0], quads=True))
    assert [mesh.categories[k] for k in mesh.category] == ["rug", "unlabeled"] * 2


def test_objects_without_their_names(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected x\.house \(Matterport3D\) or info_semantic\.json"):
        load_scene_mesh(write_ply(tmp_path / "x_semantic.ply", [0]))
    (tmp_path / "info_semantic.json").write_text('{"objects": [{"id": 1}]}')
    with pytest.raises(UserError, match=r"info_semantic\.json is not as expected"):
        load_scene_mesh(tmp_path / "x_semantic.ply")


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "is no .house file"),
        (
            HOUSE.replace("C 0 5 wooden#door 4 door 0 0 0 0 0", "C 0 5 door"),
            "line 3 is 'C 0 5 door', expected",
        ),
        (HOUSE.replace("wooden#door 4", "wooden door 4"), "line 3 is 'C 0 5 wooden door 4"),
        (HOUSE.replace("O 1 0 0", "O one 0 0"), "line 6 is 'O one"),
        (HOUSE.replace("O 1 0 0", "O 1 0 8"), "objects are of category 8, which no line C describes"),
    ],
)
def test_faulty_house(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.house").write_text(text)
    with pytest.raises(UserError, match=message):
        read_house(tmp_path / "x.house")


def test_triangles_without_area_are_left_out(tmp_path: Path) -> None:
    holed = trimesh.Trimesh(VERTICES, [[0, 1, 1], [0, 1, 2], [2, 2, 3], [0, 2, 3]], process=False)
    loaded = load_scene_mesh(
        export(tmp_path / "x.glb", ("a:tile", holed), ("b:wood", painted((1.0, 0.0, 0.0, 1.0))))
    )
    np.testing.assert_allclose(loaded.vertices[loaded.faces], Z_UP[[*FACES, *FACES]], atol=1e-6)
    assert [loaded.categories[k] for k in loaded.category] == ["tile", "tile", "wood", "wood"]
    assert loaded.colours[2:].tolist() == [[255, 0, 0]] * 2 and len(loaded.colours) == 4


def broken(path: Path, what: str) -> Path:
    good = export(path.with_name("good.glb"), ("a", painted((1, 1, 1, 1), checkers())))
    data = good.read_bytes()
    if what == "truncated":
        path.write_bytes(data[: len(data) * 2 // 3])
    elif what == "noise":
        path.write_bytes(np.random.default_rng(0).bytes(500))
    elif what == "empty":
        path.write_bytes(b"")
    elif what == "points":
        export(path, ("cloud", trimesh.PointCloud(VERTICES)))
    elif what == "infinite":
        vertices = VERTICES.copy()
        vertices[1, 0] = np.inf
        export(path, ("a", sheet(vertices)))
    elif what == "flat":
        export(path, ("a", trimesh.Trimesh(VERTICES, [[0, 0, 1]], process=False)))
    return path


@pytest.mark.parametrize(
    "what, message",
    [
        ("truncated", "is not a readable mesh"),
        ("noise", "is not a readable mesh"),
        ("empty", "is not a readable mesh"),
        ("points", "holds no triangles"),
        ("infinite", "not finite"),
        ("flat", "no triangle that has an area"),
        ("missing", "mesh not found at"),
    ],
)
def test_damaged_meshes(tmp_path: Path, what: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_scene_mesh(broken(tmp_path / "bad.glb", what))


def test_mixed_polygons_and_cut_ply(tmp_path: Path) -> None:
    path = write_ply(tmp_path / "x_semantic.ply", [0, 1])
    (tmp_path / "x.house").write_text(HOUSE)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(UserError, match="is not a readable mesh"):
        load_scene_mesh(path)


def test_other_kinds_of_file(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"is not a mesh: expected \.glb, \.gltf, \.obj, \.ply, found '\.fbx'"
    ):
        load_scene_mesh(tmp_path / "x.fbx")


def test_compressed_textures_are_refused(tmp_path: Path) -> None:
    data = export(tmp_path / "x.glb", ("a", sheet())).read_bytes()
    length = int.from_bytes(data[12:16], "little")
    text = json.loads(data[20 : 20 + length])
    text["extensionsRequired"] = ["KHR_texture_basisu"]
    chunk = json.dumps(text).encode()
    chunk += b" " * (-len(chunk) % 4)
    rest = data[20 + length :]
    total = struct.pack("<I", 20 + len(chunk) + len(rest))
    (tmp_path / "x.glb").write_bytes(
        data[:8] + total + struct.pack("<I", len(chunk)) + data[16:20] + chunk + rest
    )
    with pytest.raises(UserError, match="needs KHR_texture_basisu"):
        load_scene_mesh(tmp_path / "x.glb")


def test_files_that_belong_to_the_mesh(tmp_path: Path) -> None:
    mesh = painted()
    mesh.visual.material = trimesh.visual.material.SimpleMaterial(image=checkers())
    mesh.export(tmp_path / "scan.obj")
    texture = next(p for p in tmp_path.iterdir() if p.suffix in (".png", ".jpeg"))
    library = next(tmp_path.glob("*.mtl"))
    library.write_text(
        library.read_text().replace(f"map_Kd {texture.name}", f"map_Kd -s 1 1 1 {texture.name}")
    )
    load_scene_mesh(tmp_path / "scan.obj")
    for path, refers in ((texture, library), (library, tmp_path / "scan.obj")):
        path.rename(tmp_path / "away")
        with pytest.raises(UserError, match=f"{refers.name} refers to {path.name}, which is not beside it"):
            load_scene_mesh(tmp_path / "scan.obj")
        (tmp_path / "away").rename(path)
    for name, data in trimesh.exchange.gltf.export_gltf(trimesh.Scene(sheet())).items():
        (tmp_path / name).write_bytes(data)
    buffer = next(p for p in tmp_path.glob("*.bin"))
    buffer.unlink()
    with pytest.raises(UserError, match=f"model.gltf refers to {buffer.name}"):
        load_scene_mesh(tmp_path / "model.gltf")
