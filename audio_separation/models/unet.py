"""The U-Net of both passive separators (DESIGN section 6; AAViDSS, ECCV 2022, section 4.1)."""

from __future__ import annotations

from typing import Optional, Sequence

import torch
from torch import Tensor, nn


class DownBlock(nn.Module):
    """4x4 convolution of stride 2, BatchNorm, optional class modulation, LeakyReLU 0.2."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.activation = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, x: Tensor, scale_shift: Optional[Tensor] = None) -> Tensor:
        """Map ``[B, c, H, W]`` to ``[B, c', H/2, W/2]``; ``scale_shift`` is ``[B, 2c']`` or None."""
        x = self.norm(self.conv(x))
        if scale_shift is not None:
            scale, shift = scale_shift[:, :, None, None].chunk(2, dim=1)
            x = x * (1 + scale) + shift
        return self.activation(x)


class UpBlock(nn.Module):
    """4x4 transposed convolution of stride 2, BatchNorm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, c, H, W]`` to ``[B, c', 2H, 2W]``."""
        return self.activation(self.norm(self.conv(x)))


class UNet(nn.Module):
    """Encoder, mirrored decoder with skips, 1x1 head; height and width stay as they are.

    Args:
        in_channels: planes of the input.
        out_channels: planes of the output.
        channels: widths of the encoder, one a level; each level halves height and width.
        condition_size: values of a conditioning vector that scales and shifts every encoder level
            after its norm (FiLM); 0 for none. Its layer starts at zero, so it starts without effect.
    """

    def __init__(
        self, in_channels: int, out_channels: int, channels: Sequence[int], condition_size: int = 0
    ) -> None:
        super().__init__()
        widths = [in_channels, *channels]
        self.encoder = nn.ModuleList(DownBlock(a, b) for a, b in zip(widths[:-1], widths[1:]))
        # the first decoder level is fed with the bottleneck alone, later ones with [previous, skip]
        ups = [*reversed(channels[:-1]), out_channels]
        ins = [channels[-1], *(2 * width for width in ups[:-1])]
        self.decoder = nn.ModuleList(UpBlock(a, b) for a, b in zip(ins, ups))
        self.head = nn.Conv2d(out_channels, out_channels, 1)
        self.film = nn.Linear(condition_size, 2 * sum(channels)) if condition_size else None
        self._widths = [2 * width for width in channels]
        self._init_weights()

    def _init_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(module.weight, a=0.2)
        if self.head.bias is not None:
            nn.init.zeros_(self.head.bias)
        if self.film is not None:
            nn.init.zeros_(self.film.weight)
            nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, condition: Optional[Tensor] = None) -> Tensor:
        """Map ``[B, in_channels, H, W]`` (and ``condition [B, condition_size]``) to ``[B, out, H, W]``."""
        levels: Sequence[Optional[Tensor]] = [None] * len(self.encoder)
        if self.film is not None:
            levels = self.film(condition).split(self._widths, dim=1)
        skips = []
        for block, scale_shift in zip(self.encoder, levels):
            x = block(x, scale_shift)
            skips.append(x)
        skips.pop()  # the bottleneck is no skip
        for i, block in enumerate(self.decoder):
            x = block(torch.cat([x, skips.pop()], dim=1) if i else x)
        return self.head(x)
