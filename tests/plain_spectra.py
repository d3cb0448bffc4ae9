"""The plain way from waveforms to spectrograms, by the names of ``audio.render.Heard``."""

from __future__ import annotations

import torch

from audio_separation.audio.render import Heard, Rendered
from audio_separation.audio.stft import stft


def plain_spectra(rendered: Rendered, mono_rms: float = 1.2) -> Heard:
    """Each transform by itself, on the whole batch, from the waveforms of ``BinauralRenderer.render``."""
    mix_stft, mono_stft = stft(rendered.mix_bin), stft(rendered.target_mono)
    rms = mono_stft.abs().square().mean((-2, -1), keepdim=True).sqrt()
    mono_stft = mono_stft * torch.where(rms > 0, mono_rms / rms, torch.zeros_like(rms))
    target_stft = None if rendered.target_bin is None else stft(rendered.target_bin)
    return Heard(
        mix_logmag=torch.log1p(mix_stft.abs()),
        target_mono_mag=mono_stft.abs(),
        target_bin_mag=None if target_stft is None else target_stft.abs(),
        mix_stft=mix_stft,
        target_mono_stft=mono_stft,
        target_bin_stft=target_stft,
    )
