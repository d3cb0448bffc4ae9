"""The recurrent mask network: a BLSTM on the ears' spectra, as the published OtoWorld has it, softmax over sources."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audio_separation.audio.transform import Stft
from audio_separation.models.audition.separation import SILENCE_RMS, Separator

INPUTS = ("logmag", "spatial")
# bins of sounds lie about 25 dB below the observation's mean power, and 20 dB to either side of that
LOGMAG_MEAN_DB, LOGMAG_STD_DB = -25.0, 20.0
LOGMAG_FLOOR = 1e-8  # of the mean power


class MaskNetwork(Separator):
    """Spectra of both ears -> BLSTM -> linear -> softmax over the sources.

    Magnitudes are divided by the level of the whole observation and standardised by constants: a louder mixture has
    the same masks, and no statistics of batches are kept (the published network has a BatchNorm).

    Args:
        num_sources: S.
        stft: transform of the masks.
        inputs: ``logmag``, log-magnitudes of both ears; ``spatial``, also cos and sin of the interaural phase.
        hidden: units of each direction.
        layers: of the BLSTM.
        dropout: between layers and before the masks.
    """

    def __init__(
        self,
        num_sources: int,
        stft: Stft,
        inputs: str = "logmag",
        hidden: int = 50,
        layers: int = 1,
        dropout: float = 0.0,
    ):
        super().__init__(num_sources, stft)
        if inputs not in INPUTS:
            raise ValueError(f"MaskNetwork expects inputs of {INPUTS}, got {inputs!r}")
        self.inputs = inputs
        features = stft.num_bins * (2 if inputs == "logmag" else 4)
        between = dropout if layers > 1 else 0.0
        self.lstm = nn.LSTM(features, hidden, layers, batch_first=True, dropout=between, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * hidden, num_sources * stft.num_bins)
        nn.init.zeros_(self.head.bias)  # begins with masks that are nearly even

    def masks(self, mix: Tensor, mix_stft: Tensor) -> Tensor:
        """As :meth:`Separator.masks`, from ``mix_stft`` alone."""
        hidden, _ = self.lstm(self._features(mix_stft))  # [B, N, 2 * hidden]
        logits = self.head(self.dropout(hidden)).unflatten(-1, (self.num_sources, -1))  # [B, N, S, F]
        # contiguous: the masks are multiplied with spectra and summed over frames next
        return logits.float().softmax(2).permute(0, 2, 3, 1).contiguous()

    def waves(self, mix: Tensor) -> Tensor:
        """As :meth:`Separator.waves`: the ears' mean under each mask."""
        mix_stft = self.stft(mix)
        masked = self.masks(mix, mix_stft) * mix_stft.mean(1, keepdim=True)  # [B, S, F, N]
        return self.stft.inverse(masked, mix.shape[-1])

    def _features(self, mix_stft: Tensor) -> Tensor:
        """``[B, 2, F, N]`` -> ``[B, N, features]``."""
        power = mix_stft.real.square() + mix_stft.imag.square()
        level = power.mean((1, 2, 3), keepdim=True) + SILENCE_RMS**2
        logmag = 10 * torch.log10(power / level + LOGMAG_FLOOR)
        planes = [(logmag - LOGMAG_MEAN_DB) / LOGMAG_STD_DB]
        if self.inputs == "spatial":
            cross = mix_stft[:, :1] * mix_stft[:, 1:].conj() / level[..., :1]  # [B, 1, F, N]
            size = (cross.real.square() + cross.imag.square() + LOGMAG_FLOOR**2).sqrt()
            planes += [cross.real / size, cross.imag / size]
        # [B, planes, F, N] -> [B, N, planes * F]
        return torch.cat(planes, 1).flatten(1, 2).transpose(1, 2)
