"""The spectra of room impulse responses, computed once and kept in a cache bounded by bytes."""

from __future__ import annotations

from typing import Iterable

import numpy as np
import scipy.fft
import torch

from audio_separation.audio.cache import ByteLru
from audio_separation.audio.rir_store import NUM_EARS, RirKey, RirStore
from audio_separation.audio.stft import RATE, rfft

_BYTES_PER_LENGTH = 128  # a key and an int in a dict, roughly


def fft_size(rir_samples: int) -> int:
    """Return the FFT length that convolves one second with a RIR of ``rir_samples`` without wrapping.

    Lengths are first rounded up to steps of 1/8 to 1/4 of themselves, so that responses of one scene, whose
    lengths all differ a little, share a few sizes, and the size of an item depends on its own RIRs alone:
    its result is then the same in any batch.
    """
    step = max(2048, 1 << (rir_samples - 1).bit_length() >> 3)
    rounded = -(-rir_samples // step) * step
    return scipy.fft.next_fast_len(RATE + rounded - 1, real=True)


class RirSpectra:
    """Lengths and spectra of RIRs; at most ``cache_mb`` MiB of spectra stay on ``device``."""

    def __init__(self, rirs: RirStore, device: torch.device, cache_mb: float) -> None:
        self._rirs = rirs
        self._device = device
        self.cache: ByteLru[tuple[RirKey, int], torch.Tensor] = ByteLru(int(cache_mb * 2**20))
        # the lengths outlive the spectra: they decide the FFT size, and are small
        self._lengths: ByteLru[RirKey, int] = ByteLru(max(2**20, int(cache_mb * 2**20) // 8))

    def lengths(self, keys: Iterable[RirKey], loaded: dict[RirKey, np.ndarray]) -> dict[RirKey, int]:
        """Return the samples of each RIR; those that had to be read are left in ``loaded``."""
        found: dict[RirKey, int] = {}
        for key in keys:
            length = self._lengths.get(key)
            if length is None:
                loaded[key] = self._rirs.load(*key)
                length = loaded[key].shape[1]
                self._lengths.put(key, length, _BYTES_PER_LENGTH)
            found[key] = length
        return found

    def get(
        self, keys: Iterable[RirKey], n: int, loaded: dict[RirKey, np.ndarray]
    ) -> dict[RirKey, torch.Tensor]:
        """Return the complex64 spectra ``[C, n // 2 + 1]`` of the RIRs; all that are missing in one FFT."""
        found: dict[RirKey, torch.Tensor] = {}
        missing: list[RirKey] = []
        for key in keys:
            spectrum = self.cache.get((key, n))
            if spectrum is None:
                missing.append(key)
            else:
                found[key] = spectrum
        if missing:
            padded = np.zeros((len(missing), NUM_EARS, n), np.float32)
            for row, key in enumerate(missing):
                rir = loaded[key] if key in loaded else self._rirs.load(*key)
                padded[row, :, : rir.shape[1]] = rir
            spectra = rfft(torch.from_numpy(padded).to(self._device), n)
            for key, spectrum in zip(missing, spectra):
                # a view would keep the whole batch alive after its eviction
                found[key] = spectrum.clone()
                self.cache.put((key, n), found[key], spectrum.numel() * spectrum.element_size())
        return found
