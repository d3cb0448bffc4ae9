"""The plain way to hear a second, as one would write it first: what the simulator's speed is compared with.

One environment after another; a step and source at a time the response is read from its WAV file and convolved ear by
ear with :func:`scipy.signal.fftconvolve`, and :func:`librosa.stft` transforms every component and the mixture.
Clips stay in memory and pictures are looked up, so that nothing but the audio is slow.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import librosa
import numpy as np
import scipy.signal
from scipy.io import wavfile

from audio_separation.audio.stft import HOP, N_FFT, RATE
from audio_separation.envs.simulator import BatchSimulator, relative_pose


class PlainObservation(NamedTuple):
    """One environment's second."""

    rgb: np.ndarray  # [H, W, 3]
    depth: np.ndarray  # [H, W, 1]
    mix_logmag: np.ndarray  # [C, F, N]
    target_mono_mag: np.ndarray  # [1, F, N]
    pose: np.ndarray  # [4]


def spectrogram(signal: np.ndarray) -> np.ndarray:
    """Complex STFT ``[F, N]`` of ``[L]``."""
    return librosa.stft(signal, n_fft=N_FFT, hop_length=HOP, window="hann", center=True, pad_mode="constant")


def hear(
    folder: Path, azimuth: int, receiver: int, sources: np.ndarray, clips: list[np.ndarray],
    seconds: np.ndarray, mode: str,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Mixture ``log1p`` magnitude ``[C, F, N]`` and target mono magnitude ``[1, F, N]`` of one second."""
    images, spectra, monos = [], [], []
    for node, clip, second in zip(sources, clips, seconds):
        _, rir = wavfile.read(folder / str(azimuth) / f"{receiver}_{node}.wav")  # [L, C]
        start = int(second) * RATE % len(clip)
        dry = clip[start : start + RATE].astype(np.float32)
        if mode == "causal":
            history = np.take(clip, np.arange(start - len(rir) + 1, start), mode="wrap").astype(np.float32)
            window = np.concatenate([history, dry])
            image = [scipy.signal.fftconvolve(window, ear, mode="valid") for ear in rir.T]
        else:
            image = [
                np.clip(np.round(scipy.signal.fftconvolve(dry, ear, mode="same")), -32768, 32767)
                for ear in rir.T
            ]
        images.append(np.stack(image) / 32768)
        spectra.append(np.stack([spectrogram(ear) for ear in images[-1]]))
        monos.append(np.abs(spectrogram(dry / 32768)))
    mixture = np.mean(images, axis=0)
    mix_logmag = np.log1p(np.abs(np.stack([spectrogram(ear) for ear in mixture])))
    rms = np.sqrt(np.mean(monos[0] ** 2))
    return mix_logmag, (monos[0] * (1.2 / rms))[None]


class PlainSimulator:
    """Follows a :class:`BatchSimulator` and makes the observation of its environments one at a time."""

    def __init__(self, simulator: BatchSimulator, rirs_root: Path, mode: str):
        self._simulator, self._root, self._mode = simulator, rirs_root, mode

    def observe(self, env: int) -> PlainObservation:
        """The present second of one environment."""
        sim = self._simulator
        episode = sim.episodes[env]
        assert episode is not None
        scene = sim.scenes[episode.scene]
        node, rotation, step = int(sim.node[env]), int(sim.rotation[env]), int(sim.step_count[env])
        ids = scene.graph.node_ids
        mix_logmag, target_mono_mag = hear(
            self._root / episode.scene,
            -rotation % 360,
            int(ids[node]),
            ids[episode.source_nodes(scene.graph)[:, 0]],
            [sim.clips.samples(name) for name in episode.sounds],
            np.array(episode.start_seconds) + step,
            self._mode,
        )
        start = scene.graph.positions[episode.start_node(scene.graph)]
        pose = relative_pose(
            start[None],
            np.array([episode.start_rotation]),
            scene.graph.positions[[node]],
            np.array([rotation]),
        )
        assert scene.images is not None
        return PlainObservation(
            scene.images.rgb[node, rotation // 90].copy(),
            scene.images.depth[node, rotation // 90].copy(),
            mix_logmag,
            target_mono_mag,
            np.append(pose[0], step),
        )
