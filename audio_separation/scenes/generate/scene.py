"""Making one scene: the tasks that worker processes do, and the files that come of them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from audio_separation.audio.packed_writer import write_packed
from audio_separation.scenes.generate import acoustics
from audio_separation.scenes.generate.figures import draw_plan, draw_views
from audio_separation.scenes.generate.home import EAR_HEIGHT_M, Home, make_home
from audio_separation.scenes.generate.mesh import HomeMesh, build_mesh, write_glb
from audio_separation.scenes.generate.plan import preset_named
from audio_separation.scenes.generate.recorded import FORMAT_VERSION, home_record
from audio_separation.scenes.generate.views import RESOLUTION, ROTATIONS, ViewRenderer
from audio_separation.scenes.graph import load_graph, write_metadata
from audio_separation.scenes.layout import DatasetPaths, write_atomic
from audio_separation.scenes.observations import find_observations, write_observations

CHUNK = 3  # receivers or viewpoints a task: about a second of work
MIN_PAIR_DISTANCE_M = 0.99  # pairs whose decay counts for the RT60 of a room


@dataclass(frozen=True)
class Settings:
    """Everything that decides what a scene is like; kept in its home.json.

    `sources` 0 means all nodes; `storage` is packed or wav; `engine` rlr or pyroomacoustics, never auto.
    """

    preset: str
    seed: int
    engine: str
    engine_version: str
    rays: int
    grid_m: float = 1.0
    sources: int = 0
    storage: str = "packed"
    format: int = FORMAT_VERSION


@dataclass(frozen=True)
class Scene:
    """One scene to make."""

    name: str
    split: str
    index: int

    def seed(self, settings: Settings) -> int:
        return settings.seed * 1000 + self.index


class Workshop:
    """What tasks of one scene share in a process: the home and, once needed, its engine and ray caster."""

    def __init__(self, scene: Scene, settings: Settings) -> None:
        self.home: Home = make_home(scene.seed(settings), preset_named(settings.preset), settings.grid_m)
        self.mesh: HomeMesh = build_mesh(self.home)
        self.sources = source_nodes(self.home, settings.sources)
        self._settings = settings
        self._engine: Any = None
        self._renderer: Any = None

    @property
    def engine(self) -> acoustics.Engine:
        if self._engine is None:
            self._engine = acoustics.make_engine(
                self._settings.engine, self.home, self.mesh, self._settings.rays
            )
        return self._engine

    @property
    def renderer(self) -> ViewRenderer:
        if self._renderer is None:
            self._renderer = ViewRenderer(self.home, self.mesh)
        return self._renderer


@lru_cache(maxsize=2)
def workshop(scene: Scene, settings: Settings) -> Workshop:
    """The workshop of a scene, kept for the next task of the same scene."""
    return Workshop(scene, settings)


def source_nodes(home: Home, count: int) -> list[int]:
    """`count` nodes spread over the home, drawn from its seed (0, or more than there are: all), ascending.

    Each further node is the one farthest from those already chosen.
    """
    total = len(home.positions)
    if count == 0 or count >= total:
        return list(range(total))
    rng = np.random.default_rng([home.seed, 0x50CE])
    chosen = [int(rng.integers(total))]
    while len(chosen) < count:
        gaps = np.linalg.norm(home.positions[:, None] - home.positions[chosen], axis=-1).min(axis=1)
        chosen.append(int(np.argmax(gaps)))
    return sorted(chosen)


def rir_task(
    scene: Scene, settings: Settings, receivers: list[int]
) -> list[tuple[acoustics.Key, np.ndarray]]:
    """Responses of some receivers of a scene: ((azimuth, receiver, source), float32 [2, L])."""
    shop = workshop(scene, settings)
    return [item for r in receivers for item in acoustics.simulate_receiver(shop.engine, r, shop.sources)]


def view_task(scene: Scene, settings: Settings, nodes: list[int]) -> list[dict[str, np.ndarray]]:
    """Views from some nodes, the four ROTATIONS of a node one after the other."""
    shop = workshop(scene, settings)
    return [shop.renderer.view(shop.home.positions[n], rotation) for n in nodes for rotation in ROTATIONS]


def chunks(count: int, size: int = CHUNK) -> list[list[int]]:
    """0..count-1 in lists of at most `size`."""
    return [list(range(k, min(k + size, count))) for k in range(0, count, size)]


class SceneWriter:
    """Writes the files of a scene, home.json last: a scene without it is unfinished."""

    def __init__(self, paths: DatasetPaths, scene: Scene, settings: Settings) -> None:
        self.paths, self.scene, self.settings = paths, scene, settings
        self.shop = workshop(scene, settings)
        self.home = self.shop.home
        self._decays: dict[int, list[float]] = {}

    @property
    def record_path(self) -> Path:
        return home_record(self.paths, self.scene.name)

    @property
    def rir_path(self) -> Path:
        name = self.scene.name
        return self.paths.rirs_root / (f"{name}.safetensors" if self.settings.storage == "packed" else name)

    def finished(self) -> bool:
        """Whether everything of the scene is there."""
        needed = (
            self.record_path,
            self.rir_path,
            self.paths.mesh(self.scene.name),
            self.record_path.with_name("points.txt"),
            self.record_path.with_name("graph.pkl"),
        )
        views = find_observations(self.paths.observations(self.scene.name))
        return views is not None and all(path.exists() for path in needed)

    def write_rirs(self, parts: Iterable[list[tuple[acoustics.Key, np.ndarray]]]) -> None:
        """Stores the responses as they come, packed or as WAV tree, and notes their decay."""
        self.paths.rirs_root.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.paths.rirs_root, self.scene.name)
        stream = self._noting_decay(item for part in parts for item in part)
        if self.settings.storage == "packed":
            metadata = {
                "engine": self.settings.engine,
                "engine_version": self.settings.engine_version,
                "settings": json.dumps(asdict(self.settings)),
            }
            write_packed(self.rir_path, stream, acoustics.RATE_HZ, metadata=metadata)
        else:
            write_wav_tree(self.rir_path, stream)

    def _noting_decay(
        self, stream: Iterator[tuple[acoustics.Key, np.ndarray]]
    ) -> Iterator[tuple[acoustics.Key, np.ndarray]]:
        home = self.home
        for (azimuth, receiver, source), response in stream:
            room = home.node_rooms[receiver]
            far = np.linalg.norm(home.positions[receiver] - home.positions[source]) >= MIN_PAIR_DISTANCE_M
            if azimuth == 0 and far and room == home.node_rooms[source]:
                self._decays.setdefault(room, []).append(acoustics.reverberation_time(response))
            yield (azimuth, receiver, source), response

    def write_views(self, parts: Iterable[list[dict[str, np.ndarray]]]) -> None:
        """Stores points, graph and RGB-D cache."""
        views = [view for part in parts for view in part]
        folder = self.record_path.parent
        write_metadata(folder, self.home.positions, self.home.edges, EAR_HEIGHT_M)
        shape = (len(self.home.positions), len(ROTATIONS), RESOLUTION, RESOLUTION)
        rgb = np.stack([v["rgb"] for v in views]).reshape(*shape, 3)
        depth = np.stack([v["depth"] for v in views]).reshape(*shape, 1)
        write_observations(self.paths.observations(self.scene.name), load_graph(folder), rgb, depth)

    def finish(self, figures: bool = False) -> None:
        """Writes the mesh, pictures where wanted, and home.json."""
        glb = self.paths.mesh(self.scene.name)
        glb.parent.mkdir(parents=True, exist_ok=True)
        write_glb(self.shop.mesh, glb)
        if figures:
            draw_plan(self.home, glb.with_name("plan.png"), f"{self.scene.name}, {self.home.character}")
            draw_views(self.home, self.shop.mesh, glb.with_name("views.png"))
        write_atomic(self.record_path, (json.dumps(self._record(), indent=1) + "\n").encode())

    def _record(self) -> dict[str, Any]:
        home = self.home
        rt60 = {str(room): _median(values) for room, values in sorted(self._decays.items())}
        return {
            "settings": asdict(self.settings),
            "engine": {"name": self.settings.engine, **self.shop.engine.settings},
            "split": self.scene.split,
            "seed": home.seed,
            "character": home.character,
            "frame": "Habitat: x right, y up, z towards the viewer; metres; floor at y = 0",
            "ceiling_height_m": home.plan.height,
            "wall_thickness_m": home.plan.wall,
            "rooms": [
                {
                    "kind": room.kind,
                    "floor": asdict(room.floor),
                    "materials": {
                        part: home.palette[f"{part}_{room.index}"].material
                        for part in ("wall", "floor", "ceiling")
                    },
                    "furniture": [p.piece.name for p in home.furniture if p.room == room.index],
                    "rt60_s": rt60.get(str(room.index)),
                }
                for room in home.plan.rooms
            ],
            "doors": [{"rooms": list(d.rooms), "passage": asdict(d.passage)} for d in home.plan.doors],
            "windows": [asdict(w) for w in home.plan.windows],
            "node_rooms": list(home.node_rooms),
            "source_nodes": self.shop.sources,
            "rt60_s": _median([v for values in self._decays.values() for v in values]),
            "gain": acoustics.GAIN,
            "ear_height_m": EAR_HEIGHT_M,
            "same_node": f"the source sits {acoustics.SAME_NODE_DROP_M} m straight below the microphones",
        }


def _median(values: list[float]) -> float | None:
    known = [v for v in values if np.isfinite(v)]
    return round(float(np.median(known)), 3) if known else None


def write_wav_tree(folder: Path, stream: Iterable[tuple[acoustics.Key, np.ndarray]]) -> None:
    """Writes <folder>/<azimuth>/<receiver>_<source>.wav as float32 stereo; the folder appears when complete."""
    from scipy.io import wavfile

    partial = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(partial, ignore_errors=True)
    for azimuth in acoustics.AZIMUTHS:
        (partial / str(azimuth)).mkdir(parents=True)
    for (azimuth, receiver, source), response in stream:
        path = partial / str(azimuth) / f"{receiver}_{source}.wav"
        wavfile.write(path, acoustics.RATE_HZ, np.ascontiguousarray(response.T, dtype=np.float32))
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)


def remove_leftovers(folder: Path, scene: str) -> None:
    """Deletes half-written files of a scene whose process was killed; those of a living process stay."""
    for path in folder.glob(f".{scene}.*.tmp"):
        owner = path.name.split(".")[-2]
        if owner.isdigit() and _alive(int(owner)) and int(owner) != os.getpid():
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
