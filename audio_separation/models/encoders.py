"""Encoders of the policy: images and spectrograms to feature vectors (DESIGN section 6)."""

from __future__ import annotations

import math
from typing import Optional, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from audio_separation.errors import UserError
from audio_separation.models.slicing import slice_bands

VISION_PLANES = {"rgb": 3, "depth": 1, "rgbd": 4, "none": 0}


class ConvEncoder(nn.Module):
    """Three convolutions, then a linear layer with ReLU.

    Args:
        in_channels: planes of the input.
        size: height and width of the input.
        channels: widths of the three convolutions.
        kernels, strides: of the three convolutions; a kernel larger than its input shrinks to it.
        out_features: values of the result.
        last_relu: whether a ReLU follows the third convolution (published: audio yes, vision no).
    """

    def __init__(
        self,
        in_channels: int,
        size: tuple[int, int],
        channels: Sequence[int],
        kernels: Sequence[int],
        strides: Sequence[int],
        out_features: int,
        last_relu: bool,
    ) -> None:
        super().__init__()
        convs = []
        for width, kernel, stride in zip(channels, kernels, strides):
            fit = (min(kernel, size[0]), min(kernel, size[1]))
            convs.append(nn.Conv2d(in_channels, width, fit, stride=stride))
            size = ((size[0] - fit[0]) // stride + 1, (size[1] - fit[1]) // stride + 1)
            in_channels = width
        self.convs = nn.ModuleList(convs)
        self.linear = nn.Linear(in_channels * size[0] * size[1], out_features)
        self.last_relu = last_relu
        orthogonal_init(self, math.sqrt(2))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, in_channels, H, W]`` to ``[B, out_features]``."""
        for i, conv in enumerate(self.convs):
            x = conv(x)
            if i < len(self.convs) - 1 or self.last_relu:
                x = x.relu()
        return self.linear(x.flatten(1)).relu()


def orthogonal_init(module: nn.Module, gain: float) -> None:
    """Make all convolution and linear weights of a module orthogonal, their biases zero."""
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            nn.init.orthogonal_(part.weight, gain)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def _resnet18(in_channels: int, out_features: int) -> nn.Module:
    try:
        from torchvision.models import resnet18
    except (ImportError, RuntimeError) as error:  # the latter: built for another torch
        raise UserError(
            "config key POLICY.VISUAL_ENCODER is resnet18, which needs torchvision, but that is missing or "
            f"does not fit the installed torch ({error}); run pip install torchvision or choose cnn"
        ) from None
    # group norm: batch statistics of correlated rollout images differ between acting and learning
    net = resnet18(weights=None, num_classes=out_features, norm_layer=lambda width: nn.GroupNorm(16, width))
    net.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
    return nn.Sequential(net, nn.ReLU())


class VisualEncoder(nn.Module):
    """RGB and/or depth images to a feature vector.

    Args:
        vision: ``rgb``, ``depth`` or ``rgbd``.
        image_size: images are area-averaged down to this height and width; smaller ones are refused.
        channels: widths of the convolutions (``cnn`` only).
        out_features: values of the result.
        encoder: ``cnn`` (published default) or ``resnet18`` (needs torchvision).

    Raises:
        UserError: ``resnet18`` was chosen and torchvision is missing.
    """

    def __init__(
        self,
        vision: str,
        image_size: int,
        channels: Sequence[int],
        out_features: int,
        encoder: str = "cnn",
    ) -> None:
        super().__init__()
        self.vision = vision
        self.image_size = image_size
        planes = VISION_PLANES[vision]
        self.net: nn.Module
        if encoder == "resnet18":
            self.net = _resnet18(planes, out_features)
        elif encoder == "cnn":
            size = (image_size, image_size)
            self.net = ConvEncoder(
                planes, size, channels, (8, 4, 3), (4, 2, 1), out_features, last_relu=False
            )
        else:
            raise ValueError(f"encoder must be cnn or resnet18, got {encoder!r}")

    def forward(self, rgb: Optional[Tensor], depth: Optional[Tensor]) -> Tensor:
        """Map ``rgb [B, H, W, 3]`` (0..255) and/or ``depth [B, H, W, 1]`` (0..1) to ``[B, out_features]``."""
        planes = []
        if "rgb" in self.vision:
            if rgb is None:
                raise ValueError(f"vision {self.vision!r} needs rgb, got None")
            planes.append(self._fit(rgb.float() / 255))
        if self.vision in ("depth", "rgbd"):
            if depth is None:
                raise ValueError(f"vision {self.vision!r} needs depth, got None")
            planes.append(self._fit(depth.float()))
        return self.net(torch.cat(planes, dim=1))

    def _fit(self, image: Tensor) -> Tensor:
        # [B, H, W, c] -> [B, c, image_size, image_size]
        height, width = image.shape[1:3]
        if min(height, width) < self.image_size:
            raise UserError(
                f"config key POLICY.IMAGE_SIZE is {self.image_size}, but the images have {height}x{width} "
                "pixels; set it to their size or less"
            )
        image = image.permute(0, 3, 1, 2)
        if (height, width) == (self.image_size, self.image_size):
            return image
        return functional.interpolate(image, size=(self.image_size, self.image_size), mode="area")


class AudioEncoder(nn.Module):
    """Magnitude spectrograms to a feature vector: sliced ``log1p(gain * max(0, mag))``, then a CNN.

    Args:
        num_spectra: c, spectrograms of each input.
        channels: widths of the convolutions.
        out_features: values of the result.
        num_bins, num_frames, num_bands: F, N and the frequency slicing.
        gain: of the magnitudes before log1p; 1 is the published form.
    """

    def __init__(
        self,
        num_spectra: int,
        channels: Sequence[int],
        out_features: int,
        num_bins: int = 512,
        num_frames: int = 32,
        num_bands: int = 16,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.num_bands = num_bands
        self.gain = gain
        size = (num_bins // num_bands, num_frames)
        self.net = ConvEncoder(
            num_spectra * num_bands, size, channels, (8, 4, 2), (4, 2, 1), out_features, last_relu=True
        )

    def forward(self, mag: Tensor) -> Tensor:
        """Map ``mag [B, c, F, N]`` to ``[B, out_features]``."""
        return self.net(slice_bands(torch.log1p(self.gain * mag.clamp(min=0)), self.num_bands))
