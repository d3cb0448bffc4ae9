"""A tiny hand-made dataset in the published formats: it carries everybody's fast tests.

Three scenes of six nodes on an L of 1 m steps, responses that follow from a formula (:func:`tiny_rir`), four
classes of band-limited sounds, RGB-D, episodes and passive points. It takes about a second to make.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Iterator

import numpy as np
from scipy.io import wavfile

from audio_separation.audio.clips import ClipLibrary
from audio_separation.audio.packed_writer import write_packed
from audio_separation.scenes.draw import make_active_episodes, make_passive_points
from audio_separation.scenes.episodes import save_episodes
from audio_separation.scenes.graph import ROTATIONS_DEG, load_graph, write_metadata
from audio_separation.scenes.layout import DatasetPaths
from audio_separation.scenes.observations import write_observations
from audio_separation.scenes.passive import save_passive
from audio_separation.scenes.splits import write_splits

RATE = 16000
SCENES = {"train": ["tiny_000"], "val": ["tiny_001"], "test": ["tiny_002"]}
CLASSES = ["music", "spk00", "spk01", "esc"]  # label = position
BANDS_HZ = {
    "music": (250.0, 700.0),
    "spk00": (900.0, 1800.0),
    "spk01": (2200.0, 3600.0),
    "esc": (4200.0, 7000.0),
}
CLIPS_PER_CLASS = {"train": 3, "valUnheard": 2, "testUnheard": 2}
CLIP_SECONDS = 20
EPISODES = {  # split of the active dataset -> scenes, clips, number
    "train": ("train", "train", 24),
    "valHeard": ("val", "train", 8),
    "valUnheard": ("val", "valUnheard", 8),
    "testHeard": ("test", "train", 8),
    "testUnheard": ("test", "testUnheard", 8),
}
PASSIVE_POINTS = 64

# x, z in metres. Facing -Z is rotation 0.   4
#                                           3        - z
#                                           5        ^
#                                           0 1 2    +-> x
LAYOUT_XZ = np.array([[0, 0], [1, 0], [2, 0], [0, -2], [0, -3], [0, -1]], dtype=float)
EDGES = [(0, 1), (1, 2), (0, 5), (5, 3), (3, 4)]
NUM_NODES = len(LAYOUT_XZ)

TAIL_SAMPLES = 320  # of noise after the direct sound
TAIL_GAIN = 0.03
FIRST_DELAY = 24  # samples that every response begins with
EAR_DELAY = 5  # samples of interaural delay towards each side


def scene_positions(scene: str) -> np.ndarray:
    """float [V, 3]: the L, shifted and raised by the scene number; odd scenes are mirrored in x."""
    number = int(scene[-3:])
    x, z = LAYOUT_XZ.T * np.array([[1.0 if number % 2 == 0 else -1.0], [1.0]])
    return np.stack([x + number, np.full(NUM_NODES, 0.1 * number), z - number], axis=1)


def tiny_rir(positions: np.ndarray, azimuth: int, receiver: int, source: int) -> np.ndarray:
    """float32 [2, L] (left, right): one impulse an ear, then a short decaying noise tail.

    The impulse of the nearer ear comes earlier and is stronger, by the side of the source as seen from the
    heading (rotation = -azimuth); at the receiver's own node both ears are equal.
    """
    rotation = np.deg2rad(-azimuth % 360)
    dx, _, dz = positions[source] - positions[receiver]
    distance = float(np.hypot(dx, dz))
    # the right-hand direction of an agent that faces (-sin, -cos) in (x, z) is (cos, -sin)
    side = 0.0 if distance == 0 else (dx * np.cos(rotation) - dz * np.sin(rotation)) / distance
    gain = 0.5 / max(distance, 0.5)
    start = FIRST_DELAY + round(distance / 343.0 * RATE)
    rng = np.random.default_rng([receiver, source, 7])
    fade = np.exp(-np.arange(TAIL_SAMPLES) / (TAIL_SAMPLES / 5))
    rir = np.zeros((2, start + EAR_DELAY + 1 + TAIL_SAMPLES + 3 * source))
    for ear, sign in enumerate((-1.0, 1.0)):  # left, right
        at = start - round(EAR_DELAY * sign * side)
        rir[ear, at] = gain * (1 + 0.6 * sign * side)
        rir[ear, at + 1 : at + 1 + TAIL_SAMPLES] = TAIL_GAIN * fade * rng.standard_normal(TAIL_SAMPLES)
    return rir.astype(np.float32)


def scene_rirs(scene: str) -> Iterator[tuple[tuple[int, int, int], np.ndarray]]:
    """Yield ``((azimuth, receiver, source), rir)`` for all of a scene."""
    positions = scene_positions(scene)
    for receiver in range(NUM_NODES):
        for source in range(NUM_NODES):
            for azimuth in ROTATIONS_DEG:
                yield (azimuth, receiver, source), tiny_rir(positions, azimuth, receiver, source)


def write_wav_tree(root: Path, scene: str, separator: str = "_") -> None:
    """Write the scene's responses as SoundSpaces does: ``root/<scene>/<azimuth>/<receiver>_<source>.wav``."""
    for (azimuth, receiver, source), rir in scene_rirs(scene):
        path = root / scene / str(azimuth) / f"{receiver}{separator}{source}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        wavfile.write(path, RATE, np.ascontiguousarray(rir.T))


def band_noise(band_hz: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """int16 [20 s]: noise of one band with a slow loudness curve that never falls silent."""
    samples = CLIP_SECONDS * RATE
    low, high = (round(edge * CLIP_SECONDS) for edge in band_hz)
    spectrum = np.zeros(samples // 2 + 1, dtype=complex)
    spectrum[low:high] = rng.standard_normal(high - low) + 1j * rng.standard_normal(high - low)
    beat_hz = rng.integers(2, 5)
    loudness = 0.6 + 0.4 * np.sin(2 * np.pi * beat_hz * np.arange(samples) / RATE + rng.uniform(0, 6))
    wave = np.fft.irfft(spectrum, samples) * loudness
    return np.round(wave / np.abs(wave).max() * 0.7 * 32767).astype(np.int16)


def _write_corpus(root: Path, seed: int) -> None:
    for s, (split, count) in enumerate(CLIPS_PER_CLASS.items()):
        folder = root / "min20s_clips" / f"{split}_preprocessed"
        folder.mkdir(parents=True, exist_ok=True)
        for label, name in enumerate(CLASSES):
            for i in range(count):
                wave = band_noise(BANDS_HZ[name], np.random.default_rng([seed, s, label, i]))
                wavfile.write(folder / f"{name}_{split}{i}.wav", RATE, wave)
    (root / "classes.json").write_text(json.dumps({"classes": CLASSES, "distractor_only": ["esc"]}))


def _views(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    # red tells the node, green the rotation; blue and depth are ramps with a little texture
    rng = np.random.default_rng([seed, 11])
    rgb = np.zeros((NUM_NODES, 4, size, size, 3), dtype=np.uint8)
    rgb[..., 0] = (40 * np.arange(NUM_NODES))[:, None, None, None]
    rgb[..., 1] = (60 * np.arange(4))[None, :, None, None]
    rgb[..., 2] = rng.integers(0, 40, rgb.shape[:-1]) + np.linspace(0, 200, size).astype(np.uint8)
    depth = np.broadcast_to(
        np.linspace(0.1, 0.6, size, dtype=np.float32)[:, None, None], (*rgb.shape[:-1], 1)
    )
    return rgb, depth


def _write_scene(paths: DatasetPaths, scene: str, image_size: int, seed: int) -> None:
    write_metadata(paths.metadata(scene), scene_positions(scene), EDGES)
    graph = load_graph(paths.metadata(scene))
    write_observations(paths.observations(scene), graph, *_views(image_size, seed))
    paths.rirs_root.mkdir(parents=True, exist_ok=True)
    metadata = {"engine": "tiny"}
    write_packed(paths.rirs_root / f"{scene}.safetensors", scene_rirs(scene), RATE, "float32", metadata)


def make_tiny_dataset(root: Path, seed: int = 0, image_size: int = 64) -> DatasetPaths:
    """Write the dataset under ``root`` (``data/`` and ``sound_spaces/``) and return its paths.

    The folder names are those of the default config, so that only ``DATA.ROOT`` and ``DATA.SOUND_SPACES``
    need overriding. The same seed gives the same bytes.
    """
    paths = DatasetPaths(root / "data", root / "sound_spaces")
    _write_corpus(paths.corpus_root, seed)
    write_splits(paths.metadata_root, SCENES)
    graphs = {}
    for scene in [name for names in SCENES.values() for name in names]:
        _write_scene(paths, scene, image_size, seed)
        graphs[scene] = load_graph(paths.metadata(scene))
    clips = {split: ClipLibrary(paths.corpus_root, split) for split in CLIPS_PER_CLASS}
    for i, (split, (kind, sounds, count)) in enumerate(EPISODES.items()):
        scene = SCENES[kind][0]
        rng = np.random.default_rng([seed, 21, i])
        episodes = make_active_episodes(graphs[scene], clips[sounds], None, count, rng, scene)
        save_episodes(paths.active_root, split, episodes, graphs)
    for i, (split, (scene,)) in enumerate(SCENES.items()):
        rng = np.random.default_rng([seed, 22, i])
        save_passive(
            paths.passive_root, split, make_passive_points(graphs[scene], None, PASSIVE_POINTS, rng, scene)
        )
    return paths
