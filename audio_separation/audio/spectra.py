"""Spectra that are computed once and kept in caches bounded by bytes: of responses and of the dry clips."""

from __future__ import annotations

from typing import Callable, Hashable, Iterable, Sequence, TypeVar, Union

import numpy as np
import scipy.fft
import torch

from audio_separation.audio.cache import ByteLru
from audio_separation.audio.clips import ClipSource
from audio_separation.audio.rir_store import NUM_EARS, RirKey, RirStore
from audio_separation.audio.stft import RATE, magnitude, rfft, stft

INT16_SCALE = 32768.0
ClipSecond = tuple[str, int]  # name of a clip, and which second of it (within the clip's whole seconds)

K = TypeVar("K", bound=Hashable)
Kind = TypeVar("Kind", bound=Hashable)  # of what is cached for a key: an FFT length, or a name

_BYTES_PER_LENGTH = 128  # a key and an int in a dict, roughly


def to_device(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """A tensor of ``array`` on ``device``; to a GPU it is copied from pinned memory while the CPU goes on."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def fft_size(rir_samples: int) -> int:
    """Return the FFT length that convolves one second with a RIR of ``rir_samples`` without wrapping.

    Lengths are first rounded up to steps of 1/8 to 1/4 of themselves, so that responses of one scene, whose
    lengths all differ a little, share a few sizes, and the size of an item depends on its own RIRs alone:
    its result is then the same in any batch.
    """
    step = max(2048, 1 << (rir_samples - 1).bit_length() >> 3)
    rounded = -(-rir_samples // step) * step
    return scipy.fft.next_fast_len(RATE + rounded - 1, real=True)


def fill_window(clip: np.ndarray, second: int, out: np.ndarray) -> None:
    """Fill ``out [n]`` with the last ``n`` samples of the looping ``clip [L]`` up to the end of ``second``.

    The loop is the clip's whole seconds; ``second`` may be any integer and wraps.
    """
    loop = clip[: len(clip) // RATE * RATE]
    end = (second * RATE) % len(loop) + RATE  # 0 < end <= len(loop)
    filled = len(out)  # from the back: a piece that ends at `end`, then whole turns before it
    while filled > 0:
        piece = min(end, filled)
        out[filled - piece : filled] = loop[end - piece : end]
        filled -= piece
        end = len(loop)


class RirSpectra:
    """Lengths and spectra of RIRs; at most ``cache_mb`` MiB of spectra stay on ``device``.

    With ``centred`` a response's sample ``(L_rir - 1) // 2`` is taken for sample 0 and those before it wrap round,
    so that a convolution with it begins where the centre of the full one does.
    """

    def __init__(self, rirs: RirStore, device: torch.device, cache_mb: float, centred: bool = False) -> None:
        self._rirs = rirs
        self._device = device
        self._centred = centred
        self.cache: ByteLru[tuple[RirKey, int], torch.Tensor] = ByteLru(int(cache_mb * 2**20))
        # the lengths outlive the spectra: they decide the FFT size, and are small
        self._lengths: ByteLru[RirKey, int] = ByteLru(max(2**20, int(cache_mb * 2**20) // 8))

    def lengths(self, keys: Iterable[RirKey], loaded: dict[RirKey, np.ndarray]) -> dict[RirKey, int]:
        """Return the samples of each RIR; those that had to be read are left in ``loaded``."""
        found: dict[RirKey, int] = {}
        missing: list[RirKey] = []
        for key in keys:
            length = self._lengths.get(key)
            if length is None:
                missing.append(key)
            else:
                found[key] = length
        self._rirs.prefetch(missing)
        for key in missing:
            loaded[key] = self._rirs.load(*key)
            found[key] = loaded[key].shape[1]
            self._lengths.put(key, found[key], _BYTES_PER_LENGTH)
        return found

    def get(
        self, keys: Iterable[RirKey], n: int, loaded: dict[RirKey, np.ndarray]
    ) -> dict[RirKey, torch.Tensor]:
        """Return the complex64 spectra ``[C, n // 2 + 1]`` of the RIRs; all that are missing in one FFT."""
        found, missing = _look_up(self.cache, keys, n)
        if missing:
            self._rirs.prefetch([key for key in missing if key not in loaded])
            padded = np.zeros((len(missing), NUM_EARS, n), np.float32)
            for row, key in enumerate(missing):
                rir = loaded[key] if key in loaded else self._rirs.load(*key)
                middle = (rir.shape[1] - 1) // 2 if self._centred else 0
                padded[row, :, : rir.shape[1] - middle] = rir[:, middle:]
                padded[row, :, n - middle :] = rir[:, :middle]
            found.update(_keep(self.cache, missing, n, rfft(to_device(padded, self._device), n)))
        return found


class DrySpectra:
    """Spectra of the dry seconds of clips; at most ``cache_mb`` MiB of them stay on ``device``.

    Args:
        clips: the clips.
        history: a window holds the clip's past before the wanted second (causal rendering); else only the
            second itself, and zeros.
        mono_rms: RMS over F x N that :meth:`spectrograms` and :meth:`magnitudes` are scaled to.
    """

    def __init__(
        self, clips: ClipSource, device: torch.device, cache_mb: float, history: bool, mono_rms: float
    ) -> None:
        self._clips, self._device, self._history, self._mono_rms = clips, device, history, mono_rms
        self.cache: ByteLru[tuple[ClipSecond, Union[int, str]], torch.Tensor] = ByteLru(int(cache_mb * 2**20))
        self._num_seconds: dict[str, int] = {}

    def wrap(self, name: str, second: int) -> ClipSecond:
        """Bring ``second`` into the clip's whole seconds."""
        count = self._num_seconds.get(name)
        if count is None:
            count = self._num_seconds[name] = len(self._clips.samples(name)) // RATE
        return name, second % count

    def samples(self, keys: Sequence[ClipSecond]) -> torch.Tensor:
        """The seconds themselves, ``[len(keys), L]`` in units of full scale."""
        return self._windows(keys, RATE)

    def get(self, keys: Iterable[ClipSecond], n: int) -> dict[ClipSecond, torch.Tensor]:
        """Return the complex64 spectra ``[n // 2 + 1]`` of windows of ``n`` samples.

        With ``history`` the wanted second ends the window; without, it begins the window and zeros follow.
        """
        length = n if self._history else RATE
        return self._cached(keys, n, lambda missing: rfft(self._windows(missing, length), n))

    def spectrograms(self, keys: Iterable[ClipSecond]) -> dict[ClipSecond, torch.Tensor]:
        """Return the complex spectrograms ``[1, F, N]``, scaled to ``mono_rms`` (silence stays 0)."""
        return self._cached(keys, "spectrogram", self._levelled)

    def magnitudes(self, keys: Iterable[ClipSecond]) -> dict[ClipSecond, torch.Tensor]:
        """Return the magnitudes of :meth:`spectrograms`."""
        return self._cached(keys, "magnitude", lambda missing: magnitude(self._levelled(missing)))

    def _levelled(self, keys: Sequence[ClipSecond]) -> torch.Tensor:
        return levelled(stft(self.samples(keys)[:, None]), self._mono_rms)

    def _windows(self, keys: Sequence[ClipSecond], n: int) -> torch.Tensor:
        windows = np.empty((len(keys), n), np.int16)
        for window, (name, second) in zip(windows, keys):
            fill_window(self._clips.samples(name), second, window)
        return to_device(windows, self._device).to(torch.float32) / INT16_SCALE

    def _cached(
        self,
        keys: Iterable[ClipSecond],
        kind: Union[int, str],
        make: Callable[[Sequence[ClipSecond]], torch.Tensor],
    ) -> dict[ClipSecond, torch.Tensor]:
        found, missing = _look_up(self.cache, set(keys), kind)
        if missing:
            found.update(_keep(self.cache, missing, kind, make(missing)))
        return found


def levelled(spectra: torch.Tensor, rms: float) -> torch.Tensor:
    """Scale complex spectrograms ``[..., F, N]`` to magnitudes of this RMS over F x N; silence stays 0."""
    found = magnitude(spectra).square().mean((-2, -1), keepdim=True).sqrt()
    return spectra * torch.where(found > 0, rms / found, torch.zeros_like(found))


def _look_up(
    cache: ByteLru[tuple[K, Kind], torch.Tensor], keys: Iterable[K], kind: Kind
) -> tuple[dict[K, torch.Tensor], list[K]]:
    """What the cache holds of this kind, and the keys that it does not."""
    found: dict[K, torch.Tensor] = {}
    missing: list[K] = []
    for key in keys:
        value = cache.get((key, kind))
        if value is None:
            missing.append(key)
        else:
            found[key] = value
    return found, missing


def _keep(
    cache: ByteLru[tuple[K, Kind], torch.Tensor], keys: Sequence[K], kind: Kind, values: torch.Tensor
) -> dict[K, torch.Tensor]:
    """Put ``values``, one a key, into the cache and return them by key."""
    kept: dict[K, torch.Tensor] = {}
    for key, value in zip(keys, values):
        kept[key] = value.clone()  # a view would keep the whole batch alive after its eviction
        cache.put((key, kind), kept[key], value.numel() * value.element_size())
    return kept
