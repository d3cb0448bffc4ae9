"""The U-Net of both passive separators (DESIGN section 6; AAViDSS, ECCV 2022, section 4.1)."""

from __future__ import annotations

from typing import Optional, Sequence, cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class _Kernel(nn.Module):
    """A 4x4 kernel of stride 2 and padding 1, applied faster to maps of few pixels where its weights are frozen.

    The general convolutions rearrange all weights at each call, which for the innermost levels costs several
    times what the sums cost (measured on a CPU, 14 maps of 512 channels: 6.6 ms and 4.3 ms, this way 0.7 and 0.9).
    """

    conv: nn.Module

    def __init__(self) -> None:
        super().__init__()
        self._middle: Optional[tuple[tuple[int, int], Tensor]] = None

    def train(self, mode: bool = True) -> _Kernel:
        """Switch modes; what was kept of the weights is forgotten."""
        self._middle = None
        return super().train(mode)

    def _few_pixels(self, x: Tensor, pixels: int) -> bool:
        frozen = not cast(Tensor, self.conv.weight).requires_grad
        return frozen and x.device.type == "cpu" and x.shape[2] * x.shape[3] == pixels

    def _middle_taps(self) -> Tensor:
        """``[first axis, second axis * 4]``: the middle 2x2 of the kernel, all that meets a map of 1x1 or 2x2."""
        weight = cast(Tensor, self.conv.weight)
        key = (weight.data_ptr(), weight._version)
        if self._middle is None or self._middle[0] != key:
            self._middle = (key, weight.detach()[:, :, 1:3, 1:3].flatten(1))
        return self._middle[1]


class DownBlock(_Kernel):
    """4x4 convolution of stride 2, BatchNorm, optional class modulation, LeakyReLU 0.2."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.activation = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, x: Tensor, scale_shift: Optional[Tensor] = None) -> Tensor:
        """Map ``[B, c, H, W]`` to ``[B, c', H/2, W/2]``; ``scale_shift`` is ``[B, 2c']`` or None."""
        x = self.norm(self._convolve(x))
        if scale_shift is not None:
            scale, shift = scale_shift[:, :, None, None].chunk(2, dim=1)
            x = x * (1 + scale) + shift
        return self.activation(x)

    def _convolve(self, x: Tensor) -> Tensor:
        if x.shape[2] != x.shape[3] or not self._few_pixels(x, 4):
            return self.conv(x)
        return functional.linear(x.flatten(1), self._middle_taps())[:, :, None, None]


class UpBlock(_Kernel):
    """4x4 transposed convolution of stride 2, BatchNorm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, c, H, W]`` to ``[B, c', 2H, 2W]``."""
        return self.activation(self.norm(self._convolve(x)))

    def _convolve(self, x: Tensor) -> Tensor:
        if self._few_pixels(x, 1):
            return (x.flatten(1) @ self._middle_taps()).view(len(x), -1, 2, 2)
        if not self._few_pixels(x, 4):
            return self.conv(x)
        # every pixel's patch of 4x4 in one matrix product, then their overlaps summed
        height, width = x.shape[2:]
        pixels = x.flatten(2).transpose(1, 2).reshape(-1, x.shape[1])  # [B * H * W, c]
        patches = (pixels @ cast(Tensor, self.conv.weight).flatten(1)).view(len(x), height * width, -1)
        return functional.fold(patches.transpose(1, 2), (2 * height, 2 * width), 4, padding=1, stride=2)


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
