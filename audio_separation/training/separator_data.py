"""Examples for training separators: places whose responses are simulated once, heard with clips drawn anew."""

from __future__ import annotations

from typing import NamedTuple, Sequence

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor
from yacs.config import CfgNode

from audio_separation.envs.audition.acoustics import filter_delay, simulate_responses
from audio_separation.envs.audition.episodes import episode_of
from audio_separation.envs.audition.sounds import Sounds, open_sounds
from audio_separation.envs.audition.world import Pose, ear_points


class Examples(NamedTuple):
    """What B agents hear, before it is convolved.

    Attributes:
        dry: float32 ``[B, S, P + L]``: the window of each clip and the P samples before it.
        responses: float32 ``[B, S, C, P + 1]``.
    """

    dry: np.ndarray
    responses: np.ndarray

    def images(self, device: torch.device) -> Tensor:
        """What each source alone sounds like at the ears, ``[B, S, C, L]``."""
        return convolve(torch.from_numpy(self.dry).to(device), torch.from_numpy(self.responses).to(device))


class Places:
    """The first episodes of a split: their rooms, sources and the agent's first pose.

    A place's responses are simulated when they are first asked for, and kept: they follow from its number alone.

    Args:
        split: of the episodes.
        sounds: split of the corpus that examples are heard with.
        count: of places.
    """

    def __init__(self, config: CfgNode, split: str, sounds: str, count: int):
        self.config, self._split, self._count = config, split, count
        self.sounds = _open(config, sounds)
        self._responses: dict[int, list[np.ndarray]] = {}

    def __len__(self) -> int:
        return self._count

    def responses(self, number: int) -> list[np.ndarray]:
        """Of each source float32 ``[C, K]``, K of its own."""
        if number not in self._responses:
            settings = self.config.AUDITION
            episode = episode_of(self.config, self._split, number, self.sounds)
            points = [(float(x), float(y)) for x, y in episode.sources]
            ears = ear_points(Pose(episode.start, episode.heading_deg), settings)
            self._responses[number] = simulate_responses(episode.plan, points, ears, settings.RATE)
        return self._responses[number]


def draw_examples(places: Places, count: int, seed: Sequence[int], in_order: bool = False) -> Examples:
    """Draw a place, a clip of another class for each source, and where each clip begins, ``count`` times.

    Args:
        seed: all that is drawn follows from it.
        in_order: take the first ``count`` places instead of drawing them.
    """
    rng = np.random.default_rng(tuple(seed))
    settings, sounds = places.config.AUDITION, places.sounds
    numbers = np.arange(count) % len(places) if in_order else rng.integers(len(places), size=count)
    found = [places.responses(int(number)) for number in numbers]
    past = max(response.shape[1] for responses in found for response in responses) - 1
    length = round(settings.RATE * settings.SECONDS)
    dry = np.empty((count, settings.SOURCES, past + length), np.float32)
    padded = np.zeros((count, settings.SOURCES, 2, past + 1), np.float32)
    for b, responses in enumerate(found):
        for s, clip in enumerate(sounds.draw(settings.SOURCES, rng)):
            first = int(rng.integers(len(sounds.loop(clip)))) + filter_delay()
            dry[b, s] = sounds.window(clip, first - past, past + length)
            padded[b, s, :, : responses[s].shape[1]] = responses[s]
    return Examples(dry, padded)


def convolve(dry: Tensor, responses: Tensor) -> Tensor:
    """Causal convolution of ``[B, S, P + L]`` with ``[B, S, C, P + 1]``, of which the last L samples are returned."""
    past = responses.shape[-1] - 1
    size = next_fast_len(dry.shape[-1], real=True)  # what wraps round falls into the past and is cut off
    spectrum = torch.fft.rfft(dry, size)[:, :, None] * torch.fft.rfft(responses, size)
    return torch.fft.irfft(spectrum, size)[..., past : dry.shape[-1]]


def _open(config: CfgNode, sounds: str) -> Sounds:
    other = config.clone()
    other.defrost()
    other.DATA.SOUNDS = sounds
    return open_sounds(other)
