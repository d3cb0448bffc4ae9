"""What a mesh file must have with it: a reader that passes over a lost texture would show a grey scene in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterator
from urllib.parse import unquote

from audio_separation.errors import UserError

UNREAD_EXTENSIONS = {"KHR_texture_basisu", "KHR_draco_mesh_compression", "EXT_meshopt_compression"}


def check_mesh_file(path: Path) -> None:
    """Refuse a mesh whose materials, textures or buffers are not beside it, or are packed in a way not read here.

    Raises:
        UserError: naming what is missing.
        ValueError: the file is damaged.
    """
    kind = path.suffix.lower()
    if kind in (".glb", ".gltf"):
        content = _gltf_json(path)
        packed = sorted(set(content.get("extensionsRequired", ())) & UNREAD_EXTENSIONS)
        if packed:
            raise UserError(
                f"{path} needs {', '.join(packed)}, which is not read here: expected plain triangles and PNG or JPEG "
                "textures; take the uncompressed download, or unpack it (npx gltf-transform)"
            )
        entries = [*content.get("images", ()), *content.get("buffers", ())]
        names = [unquote(e["uri"]) for e in entries if not e.get("uri", "data:").startswith("data:")]
        _require(path, names)
    elif kind == ".obj":
        libraries = list(_names_after(path, "mtllib"))
        _require(path, libraries)
        for library in libraries:
            _require(path.parent / library, list(_names_after(path.parent / library, "map_Kd")))


def _gltf_json(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        head = file.read(20) if path.suffix.lower() == ".glb" else b""
        # .glb: magic, version, length, then the length and type of its first chunk, which is the JSON
        content = json.loads(file.read(int.from_bytes(head[12:16], "little") if head else -1))
    if not isinstance(content, dict):
        raise ValueError("its JSON is no object")
    return content


def _names_after(path: Path, keyword: str) -> Iterator[str]:
    """The file names that lines beginning with a keyword end in (options of a map come before the name)."""
    with path.open(errors="replace") as file:
        for line in file:
            first, _, rest = line.strip().partition(" ")
            name = rest.strip()
            if first == keyword and name:
                yield name.split()[-1] if name.startswith("-") else name


def _require(path: Path, names: list[str]) -> None:
    for name in names:
        if not (path.parent / name.replace("\\", "/")).is_file():
            raise UserError(f"{path} refers to {name}, which is not beside it; fetch all files of the mesh")
