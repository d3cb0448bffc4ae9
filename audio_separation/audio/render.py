"""Binaural rendering of a batch of seconds: dry clips convolved with binaural RIRs (DESIGN section 4).

``causal`` (default) applies a RIR to the clip with its history by overlap-save, so the direct sound arrives
after its true delay and the tail of the last second is heard in this one. A clip loops without end, also
before the episode's start. ``paper`` convolves each second alone, keeps the centre of the result and rounds
each source to int16, as the published simulator does; it exists to compare with published numbers.

Where the time goes and why it is done in this order: docs/performance.md.
"""

from __future__ import annotations

from typing import Iterator, NamedTuple, Optional, Sequence, Union

import numpy as np
import torch

from audio_separation.audio.clips import ClipSource
from audio_separation.audio.rir_store import NUM_EARS, RirKey, RirStore
from audio_separation.audio.spectra import (
    INT16_SCALE,
    ClipSecond,
    DrySpectra,
    RirSpectra,
    fft_size,
)
from audio_separation.audio.stft import NUM_BINS, NUM_FRAMES, RATE, irfft, magnitude, stft
from audio_separation.audio.threads import in_threads
from audio_separation.errors import UserError

MODES = ("causal", "paper")
DRY_SHARE = 0.25  # of the cache, for spectra of dry clips; the rest is for those of RIRs
# items that go through all transforms together: on a CPU few, so that threads can share a small batch (sizes of
# 2 to 16 are equally fast), on a GPU many
CHUNK = {"cpu": 4, "cuda": 1024}


class Rendered(NamedTuple):
    """One second of sound for each of ``B`` listeners, float32 in units of full scale (int16 / 32768).

    Attributes:
        mix_bin: ``[B, C, L]``, the mean of the sources' binaural images.
        target_bin: ``[B, C, L]``, source 0's own image, *not* divided by the number of sources (so are the
            published arrays); None where it was not asked for.
        target_mono: ``[B, 1, L]``, source 0 dry.
    """

    mix_bin: torch.Tensor
    target_bin: Optional[torch.Tensor]
    target_mono: torch.Tensor


class Heard(NamedTuple):
    """The spectrograms of one second, of ``B`` listeners.

    Attributes:
        mix_logmag: ``[B, C, F, N]``, log1p of the mixture's magnitude.
        target_mono_mag: ``[B, 1, F, N]``, scaled so that its RMS over F x N is ``mono_rms`` (silence stays 0).
        target_bin_mag: ``[B, C, F, N]``; None where the image was not asked for.
        mix_stft, target_mono_stft, target_bin_stft: complex, of the same shapes, the mono one scaled like its
            magnitude; None where phases were not asked for.
    """

    mix_logmag: torch.Tensor
    target_mono_mag: torch.Tensor
    target_bin_mag: Optional[torch.Tensor]
    mix_stft: Optional[torch.Tensor]
    target_mono_stft: Optional[torch.Tensor]
    target_bin_stft: Optional[torch.Tensor]


class Listeners(NamedTuple):
    """What ``B`` listeners hear.

    Attributes:
        scenes: ``B`` scene names.
        azimuths: int ``[B]`` degrees, ``-rotation mod 360``.
        receivers: int ``[B]`` nodes of the listeners.
        sources: int ``[B, S]`` nodes of the sources; source 0 is the target.
        sounds: ``[B][S]`` clip names.
        seconds: int ``[B, S]``, which second of each clip; wraps modulo the clip's whole seconds.
    """

    scenes: Sequence[str]
    azimuths: np.ndarray
    receivers: np.ndarray
    sources: np.ndarray
    sounds: Sequence[Sequence[str]]
    seconds: np.ndarray


class _Part(NamedTuple):
    """Some items of a batch with FFTs of one length, and the spectra that they need."""

    rows: Union[slice, torch.Tensor]  # of the batch
    rir_keys: list[list[RirKey]]  # [G][S]
    rirs: dict[RirKey, torch.Tensor]  # [C, K] each
    clip_keys: list[list[ClipSecond]]  # [G][S]
    clips: dict[ClipSecond, torch.Tensor]  # [K] each
    num_points: int  # n of the FFTs; K = n // 2 + 1


class BinauralRenderer:
    """Render batches of (scene, listener, sources, clips, second).

    Args:
        rirs: where the responses come from, at 16 kHz.
        clips: the dry clips.
        mode: ``causal`` or ``paper``.
        device: where the transforms run and the results lie.
        cache_mb: bound on the cached spectra, in MiB.
        mono_rms: scale of the mono magnitudes.
    """

    def __init__(
        self,
        rirs: RirStore,
        clips: ClipSource,
        mode: str = "causal",
        device: Union[str, torch.device] = "cpu",
        cache_mb: float = 512,
        mono_rms: float = 1.2,
    ) -> None:
        if mode not in MODES:
            raise UserError(f"AUDIO.MODE is {mode!r}, expected one of {', '.join(MODES)}")
        if rirs.rate != RATE:
            raise UserError(
                f"the RIRs have a rate of {rirs.rate} Hz, expected {RATE} Hz: open the store at {RATE}"
            )
        self.rirs = rirs
        self.clips = clips
        self.mode = mode
        self.device = torch.device(device)
        self.mono_rms = mono_rms
        self.rir_spectra = RirSpectra(rirs, self.device, cache_mb * (1 - DRY_SHARE), centred=mode == "paper")
        self.dry_spectra = DrySpectra(
            clips, self.device, cache_mb * DRY_SHARE, history=mode == "causal", mono_rms=mono_rms
        )
        self._chunk = CHUNK[self.device.type]

    @torch.no_grad()
    def render(self, listeners: Listeners, target_bin: bool) -> Rendered:
        """Render the waveforms of one second for each listener.

        Args:
            listeners: what is heard where.
            target_bin: also give the target's own image (one more inverse FFT an ear).

        Raises:
            ValueError: the listeners' shapes do not agree.
            UserError: a clip or a RIR cannot be read.
        """
        clips = self._clip_seconds(listeners)
        shape = (len(clips), NUM_EARS, RATE)
        whole = [torch.empty(shape, device=self.device) for _ in range(1 + target_bin)]

        def work(part: _Part) -> None:
            for out, signals in zip(whole, self._convolve(part, target_bin)):
                out[part.rows] = signals

        in_threads(work, self._parts(listeners, clips), self.device)
        target_mono = self.dry_spectra.samples([row[0] for row in clips])[:, None]
        return Rendered(whole[0], whole[1] if target_bin else None, target_mono)

    @torch.no_grad()
    def hear(self, listeners: Listeners, target_bin: bool, phases: bool) -> Heard:
        """Render one second for each listener, as spectrograms.

        Args:
            listeners, target_bin: as in :meth:`render`, whose errors this raises.
            phases: also give the complex spectrograms.
        """
        clips = self._clip_seconds(listeners)
        shape = (len(clips), NUM_EARS, NUM_BINS, NUM_FRAMES)
        real = [torch.empty(shape, device=self.device) for _ in range(1 + target_bin)]
        full = [torch.empty(shape, dtype=torch.complex64, device=self.device) for _ in real if phases]

        def work(part: _Part) -> None:
            for i, signals in enumerate(self._convolve(part, target_bin)):
                spectra = stft(signals)
                mag = magnitude(spectra)
                real[i][part.rows] = mag.log1p_() if i == 0 else mag
                if phases:
                    full[i][part.rows] = spectra

        in_threads(work, self._parts(listeners, clips), self.device)
        targets = [row[0] for row in clips]
        mono_mag, mono_stft = self._gather(self.dry_spectra.magnitudes(targets), targets), None
        if phases:
            mono_stft = self._gather(self.dry_spectra.spectrograms(targets), targets)
        return Heard(
            mix_logmag=real[0],
            target_mono_mag=mono_mag,
            target_bin_mag=real[1] if target_bin else None,
            mix_stft=full[0] if phases else None,
            target_mono_stft=mono_stft,
            target_bin_stft=full[1] if phases and target_bin else None,
        )

    @staticmethod
    def _gather(found: dict[ClipSecond, torch.Tensor], keys: Sequence[ClipSecond]) -> torch.Tensor:
        return torch.stack([found[key] for key in keys])

    def _clip_seconds(self, listeners: Listeners) -> list[list[ClipSecond]]:
        """``[B][S]`` clip and second, wrapped; the shapes are checked here."""
        _check_shapes(listeners)
        wrap = self.dry_spectra.wrap
        return [
            [wrap(name, second) for name, second in zip(names, row)]
            for names, row in zip(listeners.sounds, listeners.seconds.tolist())
        ]

    def _parts(self, listeners: Listeners, clips: list[list[ClipSecond]]) -> Iterator[_Part]:
        """Split the batch, and look up or compute the spectra that each part needs."""
        keys: list[list[RirKey]] = [
            [(scene, azimuth, receiver, node) for node in row]
            for scene, azimuth, receiver, row in zip(
                listeners.scenes,
                listeners.azimuths.tolist(),
                listeners.receivers.tolist(),
                listeners.sources.tolist(),
            )
        ]
        loaded: dict[RirKey, np.ndarray] = {}
        lengths = self.rir_spectra.lengths({key for row in keys for key in row}, loaded)
        by_size: dict[int, list[int]] = {}
        for b, row in enumerate(keys):
            by_size.setdefault(fft_size(max(lengths[key] for key in row)), []).append(b)
        for n, items in sorted(by_size.items()):
            for first in range(0, len(items), self._chunk):
                chunk = items[first : first + self._chunk]
                rir_keys, clip_keys = [keys[b] for b in chunk], [clips[b] for b in chunk]
                yield _Part(
                    self._rows(chunk),
                    rir_keys,
                    self.rir_spectra.get({key for row in rir_keys for key in row}, n, loaded),
                    clip_keys,
                    self.dry_spectra.get((key for row in clip_keys for key in row), n),
                    n,
                )

    def _convolve(self, part: _Part, target_bin: bool) -> Sequence[torch.Tensor]:
        """Signals ``[G, C, L]`` of the mixture and, if asked for, of the target."""
        signals = self._causal(part, target_bin) if self.mode == "causal" else self._paper(part)
        return signals[: 1 + target_bin]

    def _rows(self, items: list[int]) -> Union[slice, torch.Tensor]:
        if items[-1] - items[0] == len(items) - 1:  # ascending without a gap: no copy through an index
            return slice(items[0], items[-1] + 1)
        return torch.as_tensor(items, device=self.device)

    def _causal(self, part: _Part, target_bin: bool) -> Sequence[torch.Tensor]:
        """Overlap-save: of the circular convolution over n samples the last L are free of wrapping."""
        # summing in the frequency domain leaves one inverse FFT an ear instead of one an ear and source
        sums = _summed_one_by_one if self.device.type == "cpu" else _summed_together
        signals = irfft(sums(part, target_bin), part.num_points)[..., -RATE:]  # [1 or 2, G, C, L]
        signals[0] /= len(part.rir_keys[0])
        return list(signals)

    def _paper(self, part: _Part) -> Sequence[torch.Tensor]:
        """Each second alone: the centre L samples of the full convolution, rounded to int16."""
        # the responses are centred on sample 0, so the centre of the convolution begins there too
        images = irfft(_products(part), part.num_points)[..., :RATE] * INT16_SCALE  # [G, S, C, L]
        images.round_().clamp_(-INT16_SCALE, INT16_SCALE - 1).div_(INT16_SCALE)
        return images.mean(1), images[:, 0]


def _products(part: _Part) -> torch.Tensor:
    """Spectra of the images ``[G, S, C, K]``."""
    shape = (len(part.rir_keys), len(part.rir_keys[0]))
    responses = torch.stack([part.rirs[key] for row in part.rir_keys for key in row]).unflatten(0, shape)
    seconds = torch.stack([part.clips[key] for row in part.clip_keys for key in row]).unflatten(0, shape)
    return responses.mul_(seconds[:, :, None])


def _summed_together(part: _Part, target_bin: bool) -> torch.Tensor:
    """Spectra of the sum of the images, and of the target's own: ``[1 or 2, G, C, K]``; few, large operations."""
    images = _products(part)
    sums = images.sum(1)
    return torch.stack([sums, images[:, 0]]) if target_bin else sums[None]


def _summed_one_by_one(part: _Part, target_bin: bool) -> torch.Tensor:
    """As :func:`_summed_together`, reading every spectrum once and copying none: on a CPU memory is the limit."""
    bins = part.num_points // 2 + 1
    out = torch.empty(1 + target_bin, len(part.rir_keys), NUM_EARS, bins, dtype=torch.complex64)
    for g, (row, seconds) in enumerate(zip(part.rir_keys, part.clip_keys)):
        total = out[0, g]
        torch.mul(part.rirs[row[0]], part.clips[seconds[0]], out=total)
        if target_bin:
            out[1, g] = total
        for key, second in zip(row[1:], seconds[1:]):
            total.addcmul_(part.rirs[key], part.clips[second])
    return out


def _check_shapes(listeners: Listeners) -> None:
    scenes, azimuths, receivers, sources, sounds, seconds = listeners
    if sources.ndim != 2 or seconds.shape != sources.shape or sources.shape[1] < 1:
        raise ValueError(f"expected sources and seconds [B, S >= 1], got {sources.shape} and {seconds.shape}")
    lengths = (len(scenes), len(azimuths), len(receivers), len(sounds))
    if set(lengths) != {len(sources)}:
        raise ValueError(
            f"expected {len(sources)} scenes, azimuths, receivers and sounds like sources, got {lengths}"
        )
    if any(len(names) != sources.shape[1] for names in sounds):
        raise ValueError(
            f"expected {sources.shape[1]} sounds an item, got {[len(names) for names in sounds]}"
        )
