"""Dual-path RNN TasNet (Luo, Chen, Yoshioka 2020, arXiv 1910.06379) on two ears.

A learnt filterbank, and masks on it by BiLSTMs that go in turn along chunks of frames and across the chunks: either
path is about the square root of the signal's length. Shapes: B batch, S sources, L samples, T frames of the
filterbank, D features, C chunks, K frames of a chunk.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from audio_separation.audio.transform import Stft
from audio_separation.models.audition.separation import WaveSeparator, require_ears


class DprnnSizes(NamedTuple):
    """Sizes of a dual-path RNN TasNet.

    Attributes:
        filters: of the filterbank.
        kernel: samples of a filter, even; frames are half of that apart.
        features: D, of the bottleneck.
        hidden: units of each direction of a BiLSTM.
        chunk: K, even; chunks overlap by half.
        blocks: each goes along the chunks, then across them.
    """

    filters: int
    kernel: int
    features: int
    hidden: int
    chunk: int
    blocks: int


# kernels of 32 and fewer blocks keep the small ones bearable without a GPU; large is the paper's network at 8 kHz
PRESETS = {
    "tiny": DprnnSizes(filters=64, kernel=32, features=32, hidden=32, chunk=64, blocks=2),
    "small": DprnnSizes(filters=64, kernel=32, features=64, hidden=64, chunk=64, blocks=2),
    "medium": DprnnSizes(filters=64, kernel=16, features=64, hidden=128, chunk=100, blocks=3),
    "large": DprnnSizes(filters=64, kernel=16, features=128, hidden=128, chunk=100, blocks=6),
}


class DprnnTasNet(WaveSeparator):
    """Dual-path RNN TasNet from two ears to a wave for each source.

    Parameters for two sources, and frames of one second at 8 kHz:

    ====== ========== ====== ======== ====== ====== ======
    preset parameters kernel features hidden blocks frames
    ====== ========== ====== ======== ====== ====== ======
    tiny       88,737     32       32     32      2    501
    small     318,529     32       64     64      2    501
    medium  1,307,073     16       64    128      3   1001
    large   3,596,161     16      128    128      6   1001
    ====== ========== ====== ======== ====== ====== ======

    Args:
        num_sources: S.
        stft: transform of the masks.
        sizes: of the network.
        dropout: after each path.
    """

    def __init__(self, num_sources: int, stft: Stft, sizes: DprnnSizes, dropout: float = 0.0):
        super().__init__(num_sources, stft)
        if sizes.kernel % 2 or sizes.chunk % 2:
            raise ValueError(f"DprnnTasNet expects an even kernel and chunk, got {sizes}")
        self.chunk, self.stride = sizes.chunk, sizes.kernel // 2
        self.encoder = nn.Conv1d(2, sizes.filters, sizes.kernel, self.stride, bias=False)
        self.decoder = nn.ConvTranspose1d(sizes.filters, 1, sizes.kernel, self.stride, bias=False)
        self.norm = GlobalNorm(sizes.filters)
        self.bottleneck = nn.Linear(sizes.filters, sizes.features)
        paths = [Path(sizes.features, sizes.hidden, dropout) for _ in range(2 * sizes.blocks)]
        self.paths = nn.ModuleList(paths)
        self.activation = nn.PReLU()
        self.head = nn.Linear(sizes.features, num_sources * sizes.filters)

    def separate(self, mix: Tensor) -> Tensor:
        """As :meth:`WaveSeparator.separate`."""
        require_ears(mix)
        length = mix.shape[-1]
        # every sample lies in two frames
        frames = -(-length // self.stride) + 1
        after = frames * self.stride - length
        encoded = (
            self.encoder(functional.pad(mix, (self.stride, after))).relu().transpose(1, 2)
        )  # [B, T, filters]
        chunks = split_chunks(self.bottleneck(self.norm(encoded)), self.chunk)  # [B, C, K, D]
        for index, path in enumerate(self.paths):
            chunks = path(chunks) if index % 2 == 0 else path(chunks.transpose(1, 2)).transpose(1, 2)
        # overlap-add is linear, so that the head may follow it and sees half as many frames
        merged = merge_chunks(self.activation(chunks), encoded.shape[1])  # [B, T, D]
        masks = self.head(merged).sigmoid().unflatten(-1, (self.num_sources, -1))  # [B, T, S, filters]
        # [B, T, S, filters] -> [B, S, filters, T] -> [B * S, filters, T]
        masked = (masks * encoded[:, :, None]).permute(0, 2, 3, 1).flatten(0, 1)
        waves = self.decoder(masked)[:, 0, self.stride : self.stride + length]  # [B * S, L]
        return waves.unflatten(0, (-1, self.num_sources))


class GlobalNorm(nn.Module):
    """Global layer norm: one mean and variance over all positions and features of an example ``[B, ..., D]``."""

    def __init__(self, features: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return functional.layer_norm(x, x.shape[1:]) * self.weight + self.bias


class Path(nn.Module):
    """BiLSTM along the second last axis, linear, norm, and the input added."""

    def __init__(self, features: int, hidden: int, dropout: float = 0.0):
        super().__init__()
        self.lstm = nn.LSTM(features, hidden, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(2 * hidden, features)
        self.norm = GlobalNorm(features)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, rows, steps, D]`` to the same shape; rows are independent but for the norm."""
        hidden, _ = self.lstm(x.flatten(0, 1))  # [B * rows, steps, 2 * hidden]
        return x + self.norm(self.linear(self.dropout(hidden)).view_as(x))


def split_chunks(frames: Tensor, size: int) -> Tensor:
    """Cut ``[B, T, D]`` into chunks of ``size`` (even) that overlap by half, ``[B, C, size, D]``.

    Zeros before and after put every frame into exactly two chunks.
    """
    hop = size // 2
    length = frames.shape[1]
    chunks = -(-length // hop) + 1
    padded = functional.pad(frames, (0, 0, hop, chunks * hop - length))
    return padded.unfold(1, size, hop).transpose(2, 3)  # [B, C, D, size] -> [B, C, size, D]


def merge_chunks(chunks: Tensor, length: int) -> Tensor:
    """Undo :func:`split_chunks`: the mean of the two chunks that each of ``length`` frames lies in, ``[B, T, D]``."""
    first, second = chunks.chunk(2, dim=2)  # [B, C, hop, D]
    # the second half of a chunk and the first of the next are the same frames
    return ((second[:, :-1] + first[:, 1:]) / 2).flatten(1, 2)[:, :length]
