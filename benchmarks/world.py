"""A synthetic dataset in the formats on disk, of any size: what the benchmarks run on.

Scenes are square grids of 1 m, responses are decaying noise of a stated length, pictures and sounds are noise.
Nothing here is meant to be learnt from; sizes, files and code paths are those of real data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Iterator, Sequence

import numpy as np
from scipy.io import wavfile

from audio_separation.audio.clips import ClipLibrary
from audio_separation.audio.packed_writer import write_packed
from audio_separation.audio.stft import RATE
from audio_separation.scenes.draw import make_active_episodes
from audio_separation.scenes.episodes import save_episodes
from audio_separation.scenes.graph import ROTATIONS_DEG, load_graph, write_metadata
from audio_separation.scenes.layout import DatasetPaths
from audio_separation.scenes.observations import write_observations

CLASSES = ("music", "spk00", "spk01", "spk02", "esc")
CLIP_SECONDS = 20
SPLIT = "train"


def noise_rir(samples: int, rng: np.random.Generator) -> np.ndarray:
    """float32 ``[C, L]``: noise that decays by 60 dB over its length, after a direct sound."""
    decay = np.exp(-6.9 * np.arange(samples) / samples)
    rir = 0.05 * decay * rng.standard_normal((2, samples))
    rir[:, 40] = 0.5
    return rir.astype(np.float32)


def scene_name(number: int) -> str:
    """Name of the scene with this number."""
    return f"bench_{number:03d}"


def make_world(
    root: Path,
    scenes: int = 1,
    side: int = 4,
    rir_samples: int = RATE,
    num_sources: int = 2,
    episodes: int = 64,
    image_size: int = 128,
    stores: Sequence[str] = ("packed",),
    seed: int = 0,
) -> list[str]:
    """Write the dataset under ``root``; returns the config overrides that name it.

    Args:
        scenes: number of scenes, with ``side * side`` nodes each and all pairs of them as responses.
        rir_samples: length of every response, 16,000 a second.
        episodes: a scene.
        stores: ``packed``, ``wav`` or both.
    """
    paths = DatasetPaths(root / "data", root / "sound_spaces")
    write_clips(paths.corpus_root, seed)
    for number in range(scenes):
        name, rng = scene_name(number), np.random.default_rng((seed, number))
        grid = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), -1).reshape(-1, 2)
        positions = np.insert(grid.astype(float), 1, 0.0, axis=1)  # x, y = 0, z
        steps = np.abs(grid[:, None] - grid[None]).sum(-1) == 1
        write_metadata(paths.metadata(name), positions, np.argwhere(np.triu(steps)).tolist())
        graph = load_graph(paths.metadata(name))
        shape = (len(graph), 4, image_size, image_size)
        rgb = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        write_observations(paths.observations(name), graph, rgb, rng.random((*shape, 1), np.float32))
        _write_rirs(paths.rirs_root, name, side * side, rir_samples, stores, rng)
        clips = ClipLibrary(paths.corpus_root, SPLIT)
        drawn = make_active_episodes(graph, clips, None, episodes, rng, name, num_sources)
        save_episodes(paths.active_root, SPLIT, drawn, {name: graph})
    return ["DATA.ROOT", str(paths.data_root), "DATA.SOUND_SPACES", str(paths.sound_spaces_root)]


def write_clips(root: Path, seed: int) -> None:
    """Write the corpus at ``root``: noise."""
    folder = root / "min20s_clips" / f"{SPLIT}_preprocessed"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng((seed, 1 << 20))
    for name in CLASSES:
        for number in range(2):
            samples = rng.integers(-8000, 8000, CLIP_SECONDS * RATE).astype(np.int16)
            wavfile.write(folder / f"{name}_{number}.wav", RATE, samples)
    (root / "classes.json").write_text(json.dumps({"classes": CLASSES, "distractor_only": ["esc"]}))


def _write_rirs(
    root: Path, scene: str, nodes: int, samples: int, stores: Sequence[str], rng: np.random.Generator
) -> None:
    # a few distinct responses, used over and over: drawing every one would take longer than measuring
    drawn = [noise_rir(samples, rng) for _ in range(32)]
    keys = [(a, r, s) for r in range(nodes) for s in range(nodes) for a in ROTATIONS_DEG]

    def responses() -> Iterator[tuple[tuple[int, int, int], np.ndarray]]:
        for i, key in enumerate(keys):
            yield key, drawn[i % len(drawn)]

    root.mkdir(parents=True, exist_ok=True)
    if "packed" in stores:
        write_packed(root / f"{scene}.safetensors", responses(), RATE)
    if "wav" in stores:
        for azimuth in ROTATIONS_DEG:
            (root / scene / str(azimuth)).mkdir(parents=True, exist_ok=True)
        for (azimuth, receiver, source), rir in responses():
            wavfile.write(
                root / scene / str(azimuth) / f"{receiver}_{source}.wav", RATE, np.ascontiguousarray(rir.T)
            )
