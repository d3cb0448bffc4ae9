"""The object annotations that come with scanned scenes: Matterport3D's .house, Replica's info_semantic.json."""

from __future__ import annotations

import json
from pathlib import Path

from audio_separation.errors import UserError

UNLABELED = "unlabeled"  # mpcat40's own word for it
_SEMANTIC = "_semantic"


def object_categories(mesh: Path) -> dict[int, str]:
    """The category of each object id of a semantic mesh.

    ``<scene>_semantic.ply`` has ``<scene>.house`` beside it, Replica's ``mesh_semantic.ply`` an
    ``info_semantic.json``.

    Raises:
        UserError: neither is there, or it cannot be read.
    """
    scene = mesh.stem[: -len(_SEMANTIC)] if mesh.stem.endswith(_SEMANTIC) else mesh.stem
    house, info = mesh.with_name(f"{scene}.house"), mesh.with_name("info_semantic.json")
    if house.is_file():
        return read_house(house)
    if info.is_file():
        return _read_info(info)
    raise UserError(
        f"{mesh} numbers its objects, but what they are is not beside it: expected {house.name} (Matterport3D) "
        f"or {info.name} (Replica); fetch it from the same download"
    )


def read_house(path: Path) -> dict[int, str]:
    """Category (mpcat40 name) of each object of a Matterport3D ``.house`` file.

    Its lines, as the dataset's data_organization.md gives them: ``C category_index label_id label_name
    mpcat40_id mpcat40_name ...`` and ``O object_index region_index category_index ...``; category -1 is none.

    Raises:
        UserError: naming the line that is not as described.
    """
    categories: dict[int, str] = {}
    objects: dict[int, int] = {}
    lines = path.read_text(errors="replace").splitlines()
    if not lines or not lines[0].startswith("ASCII"):
        raise UserError(f"{path} is no .house file: expected a first line 'ASCII 1.1'; fetch it again")
    for number, line in enumerate(lines, 1):
        fields = line.split()
        try:
            if fields[:1] == ["C"]:
                index, _label, _mpcat40 = (int(fields[k]) for k in (1, 2, 4))
                categories[index] = fields[5].replace("#", " ")
            elif fields[:1] == ["O"]:
                objects[int(fields[1])] = int(fields[3])
        except (ValueError, IndexError):
            raise UserError(
                f"{path} line {number} is {line[:60]!r}, expected 'C index id name mpcat40_id mpcat40_name ...' "
                "or 'O index region category ...': fetch it again"
            ) from None
    lost = [k for k in objects.values() if k >= 0 and k not in categories]
    if lost:
        raise UserError(
            f"{path}: objects are of category {lost[0]}, which no line C describes; fetch it again"
        )
    return {k: categories.get(category, UNLABELED) for k, category in objects.items()}


def _read_info(path: Path) -> dict[int, str]:
    try:
        return {int(o["id"]): str(o["class_name"]) for o in json.loads(path.read_text())["objects"]}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is not as expected ({type(error).__name__}: {error}): objects with id and class_name; "
            "fetch it again"
        ) from None
