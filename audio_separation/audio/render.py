"""Binaural rendering of a batch of seconds: dry clips convolved with binaural RIRs (DESIGN section 4).

``causal`` (default) applies a RIR to the clip with its history by overlap-save, so the direct sound arrives
after its true delay and the tail of the last second is heard in this one. A clip loops without end, also
before the episode's start. ``paper`` convolves each second alone, keeps the centre of the result and rounds
each source to int16, as the published simulator does; it exists to compare with published numbers.
"""

from __future__ import annotations

from typing import NamedTuple, Optional, Sequence, Union

import numpy as np
import torch

from audio_separation.audio.clips import ClipSource
from audio_separation.audio.rir_store import NUM_EARS, RirKey, RirStore
from audio_separation.audio.spectra import RirSpectra, fft_size
from audio_separation.audio.stft import RATE, irfft, magnitude, rfft, stft
from audio_separation.errors import UserError

INT16_SCALE = 32768.0
MODES = ("causal", "paper")


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


class BinauralRenderer:
    """Render batches of (scene, listener, sources, clips, second).

    Args:
        rirs: where the responses come from, at 16 kHz.
        clips: the dry clips.
        mode: ``causal`` or ``paper``.
        device: where the transforms run and the results lie.
        cache_mb: bound on the cached RIR spectra, in MiB.
        mono_rms: scale of the mono magnitudes in :meth:`spectra`.
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
        self._spectra = RirSpectra(rirs, self.device, cache_mb)

    @torch.no_grad()
    def render(
        self,
        scenes: Sequence[str],
        azimuths: Sequence[int] | np.ndarray,
        receivers: Sequence[int] | np.ndarray,
        sources: np.ndarray,
        sounds: Sequence[Sequence[str]],
        seconds: np.ndarray,
        target_bin: bool,
    ) -> Rendered:
        """Render one second for each of ``B`` listeners.

        Args:
            scenes: ``B`` scene names.
            azimuths: ``[B]`` degrees, ``-rotation mod 360``.
            receivers: ``[B]`` nodes of the listeners.
            sources: int ``[B, S]`` nodes of the sources; source 0 is the target.
            sounds: ``[B][S]`` clip names.
            seconds: int ``[B, S]``, which second of each clip; wraps modulo the clip's whole seconds.
            target_bin: also give the target's own image (one more inverse FFT an ear).

        Raises:
            ValueError: the arguments' shapes do not agree.
            UserError: a clip or a RIR cannot be read.
        """
        sources, seconds = np.asarray(sources), np.asarray(seconds)
        _check_shapes(scenes, azimuths, receivers, sources, sounds, seconds)
        num_items = len(sources)
        keys: list[list[RirKey]] = [
            [(scenes[b], int(azimuths[b]), int(receivers[b]), int(node)) for node in sources[b]]
            for b in range(num_items)
        ]
        loaded: dict[RirKey, np.ndarray] = {}
        lengths = self._spectra.lengths({key for row in keys for key in row}, loaded)
        sizes = [fft_size(max(lengths[key] for key in row)) for row in keys]
        mix = torch.empty(num_items, NUM_EARS, RATE, device=self.device)
        target = torch.empty_like(mix) if target_bin else None
        mono = torch.empty(num_items, 1, RATE, device=self.device)
        for n in sorted(set(sizes)):
            items = [b for b in range(num_items) if sizes[b] == n]
            group = [keys[b] for b in items]
            dry = self._dry([sounds[b] for b in items], seconds[items], n)  # [G, S, n], [G, 1, L] in it
            spectra = self._spectra.get({key for row in group for key in row}, n, loaded)
            if self.mode == "causal":
                part = self._causal(dry, group, spectra, target_bin)
            else:
                starts = [[(lengths[key] - 1) // 2 for key in row] for row in group]
                part = self._paper(dry, group, spectra, starts)
            rows = torch.as_tensor(items, device=self.device)
            mix[rows] = part[0]
            mono[rows] = dry[:, :1, -RATE:]
            if target is not None:
                assert part[1] is not None
                target[rows] = part[1]
        return Rendered(mix, target, mono)

    def spectra(self, rendered: Rendered) -> dict[str, torch.Tensor]:
        """Return :func:`observation_spectra` at this renderer's ``mono_rms``."""
        return observation_spectra(rendered, self.mono_rms)

    def _dry(self, sounds: list[Sequence[str]], seconds: np.ndarray, n: int) -> torch.Tensor:
        """Gather dry windows ``[G, S, n]`` that end with the wanted second (`paper`: after zeros)."""
        windows = np.zeros((*seconds.shape, n), np.int16)
        history = n if self.mode == "causal" else RATE
        for g, names in enumerate(sounds):
            for s, name in enumerate(names):
                fill_window(self.clips.samples(name), int(seconds[g, s]), windows[g, s, n - history :])
        return torch.from_numpy(windows).to(self.device).to(torch.float32) / INT16_SCALE

    def _causal(
        self,
        dry: torch.Tensor,
        group: list[list[RirKey]],
        spectra: dict[RirKey, torch.Tensor],
        target_bin: bool,
    ) -> tuple[torch.Tensor, Optional[torch.Tensor]]:
        """Overlap-save: of the circular convolution over n samples the last L are free of wrapping."""
        n = dry.shape[-1]
        dry_spectra = rfft(dry, n)  # [G, S, n // 2 + 1]
        num_out = 2 if target_bin else 1
        # summing in the frequency domain leaves one inverse FFT an ear instead of one an ear and source
        out = torch.zeros(num_out, len(group), NUM_EARS, dry_spectra.shape[-1], dtype=dry_spectra.dtype)
        out = out.to(self.device)
        for g, row in enumerate(group):
            for s, key in enumerate(row):
                out[0, g].addcmul_(spectra[key], dry_spectra[g, s], value=1 / len(row))
            if target_bin:
                torch.mul(spectra[row[0]], dry_spectra[g, 0], out=out[1, g])
        signals = irfft(out, n)[..., -RATE:]
        return signals[0], signals[1] if target_bin else None

    def _paper(
        self,
        dry: torch.Tensor,
        group: list[list[RirKey]],
        spectra: dict[RirKey, torch.Tensor],
        starts: list[list[int]],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Each second alone: samples (L_rir - 1) // 2 .. + L of the full convolution, rounded to int16."""
        n = dry.shape[-1]
        # the second stands at the window's end for `mono`; here it must start at 0, with the zeros behind it
        dry_spectra = rfft(dry[..., -RATE:], n)
        rirs = torch.stack([torch.stack([spectra[key] for key in row]) for row in group])  # [G, S, C, K]
        full = irfft(rirs * dry_spectra[:, :, None], n)  # [G, S, C, n]
        images = torch.empty(*full.shape[:-1], RATE, device=self.device)
        for g, row in enumerate(starts):
            for s, start in enumerate(row):
                images[g, s] = full[g, s, :, start : start + RATE]
        images = (images * INT16_SCALE).round_().clamp_(-32768, 32767) / INT16_SCALE
        return images.mean(1), images[:, 0]


def observation_spectra(rendered: Rendered, mono_rms: float) -> dict[str, torch.Tensor]:
    """Return the spectrograms of one rendered second.

    Keys: ``mix_stft``, ``target_bin_stft`` (complex), ``mix_logmag`` (log1p of the magnitude) and
    ``target_bin_mag``, all ``[B, C, F, N]``; ``target_mono_stft`` (complex) and ``target_mono_mag``
    ``[B, 1, F, N]``, both scaled so that the magnitude's RMS over F x N is ``mono_rms`` (paper: 1.2; silence
    stays 0). The two ``target_bin`` entries are absent where the image was not rendered.
    """
    mix_stft = stft(rendered.mix_bin)
    mono_stft = stft(rendered.target_mono)
    mono_mag = magnitude(mono_stft)
    rms = mono_mag.square().mean((-2, -1), keepdim=True).sqrt()
    scale = torch.where(rms > 0, mono_rms / rms, torch.zeros_like(rms))
    spectra = {
        "mix_stft": mix_stft,
        "mix_logmag": torch.log1p(magnitude(mix_stft)),
        "target_mono_stft": mono_stft * scale,
        "target_mono_mag": mono_mag * scale,
    }
    if rendered.target_bin is not None:
        spectra["target_bin_stft"] = stft(rendered.target_bin)
        spectra["target_bin_mag"] = magnitude(spectra["target_bin_stft"])
    return spectra


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


def _check_shapes(
    scenes: Sequence[str],
    azimuths: Sequence[int] | np.ndarray,
    receivers: Sequence[int] | np.ndarray,
    sources: np.ndarray,
    sounds: Sequence[Sequence[str]],
    seconds: np.ndarray,
) -> None:
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
