"""A generated home again, from the record that its scene keeps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from audio_separation.errors import UserError
from audio_separation.scenes.generate.home import Home, make_home
from audio_separation.scenes.generate.plan import preset_named
from audio_separation.scenes.graph import load_graph
from audio_separation.scenes.layout import DatasetPaths

FORMAT_VERSION = 1  # of what the generator draws; raise it when the same seed gives another home


def home_record(paths: DatasetPaths, scene: str) -> Path:
    """The scene's home.json."""
    return paths.metadata(scene) / "home.json"


def recorded_home(paths: DatasetPaths, scene: str) -> Home:
    """The home that a scene was made from, drawn from its seed.

    Raises:
        UserError: home.json is damaged, of another version of the generator, or not of this scene's nodes.
    """
    path = home_record(paths, scene)
    try:
        record = json.loads(path.read_text())
        settings, seed = record["settings"], int(record["seed"])
        version, preset, grid_m = settings["format"], str(settings["preset"]), float(settings["grid_m"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is no record of a generated home ({type(error).__name__}: {error}); generate it again"
        ) from None
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path} is of a home of format {version}, this generator makes {FORMAT_VERSION}; generate it again"
        )
    home = make_home(seed, preset_named(preset), grid_m)
    positions = load_graph(paths.metadata(scene)).positions
    if positions.shape != home.positions.shape or not np.allclose(positions, home.positions, atol=1e-4):
        raise UserError(f"{path} does not describe the nodes of {scene}; generate it again")
    return home
