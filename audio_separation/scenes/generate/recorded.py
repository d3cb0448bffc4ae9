"""A generated home again, from the record that its scene keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from audio_separation.errors import UserError
from audio_separation.scenes.generate.home import Home, make_home
from audio_separation.scenes.generate.plan import preset_named
from audio_separation.scenes.graph import NavGraph
from audio_separation.scenes.layout import DatasetPaths

FORMAT_VERSION = 1  # of what the generator draws; raise it when the same seed gives another home
_CURE = "generate it again, or remove it to use the mesh alone"


def home_record(paths: DatasetPaths, scene: str) -> Path:
    """The scene's home.json."""
    return paths.metadata(scene) / "home.json"


def read_record(path: Path) -> dict[str, Any]:
    """A scene's home.json, with what the home is drawn from: seed and settings.

    Raises:
        UserError: it is damaged, or of another version of the generator.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        settings = record["settings"]
        record["seed"] = int(record["seed"])
        for key, kind in (("format", int), ("preset", str), ("grid_m", float), ("rays", int)):
            settings[key] = kind(settings[key])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is no record of a generated home ({type(error).__name__}: {error}); generate it again"
        ) from None
    if settings["format"] != FORMAT_VERSION:
        raise UserError(
            f"{path} is of a home of format {settings['format']}, this generator makes {FORMAT_VERSION}; {_CURE}"
        )
    return record


def home_of_record(path: Path, graph: NavGraph) -> Home:
    """The home that the scene of ``graph`` was made from, drawn again from its record at ``path``.

    Raises:
        UserError: as :func:`read_record`, or the record is not of the graph's nodes.
    """
    record = read_record(path)
    settings = record["settings"]
    home = make_home(record["seed"], preset_named(settings["preset"]), settings["grid_m"])
    same = graph.positions.shape == home.positions.shape
    if not same or not np.allclose(graph.positions, home.positions, atol=1e-5):
        raise UserError(f"{path} does not describe the nodes of {path.parent.name}; {_CURE}")
    return home
