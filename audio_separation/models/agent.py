"""The whole agent: frozen separators, transformer memory, policy."""

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor, nn
from torch.nn import functional

from audio_separation.models.memory import SharedSteps, TransformerMemory
from audio_separation.models.policy import Policy
from audio_separation.models.separator import PassiveSeparator, SeparatorOutput


class Agent(nn.Module):
    """Separators (frozen, BatchNorm statistics too), memory and policy as one module."""

    def __init__(self, separator: PassiveSeparator, memory: TransformerMemory, policy: Policy):
        super().__init__()
        self.separator, self.memory, self.policy = separator.requires_grad_(False), memory, policy
        self.train()

    def train(self, mode: bool = True) -> Agent:
        """Switch memory and policy; the separators always stay in evaluation mode."""
        super().train(mode)
        self.separator.eval()
        return self

    @torch.no_grad()
    def listen(self, mix_logmag: Tensor, target_class: Tensor) -> SeparatorOutput:
        """Separate one second: ``mix_logmag [E, C, F, N]``, ``target_class [E]``."""
        return self.separator(mix_logmag, target_class)


class EpisodeMemory:
    """The memory over one episode of E environments. Every step is encoded and projected once.

    Args:
        memory: the network.
        size: attention window, the current step included (published: 20).
    """

    def __init__(self, memory: TransformerMemory, size: int):
        self._memory, self._size = memory, size
        self._shared: Optional[SharedSteps] = None
        self._newest: list[tuple[Tensor, Tensor]] = []  # skips and passive estimate of each step
        self._count = 0

    @torch.no_grad()
    def add(self, mono_mag: Tensor, last: int = 1) -> Tensor:
        """Take in the passive estimate ``[E, 1, F, N]`` of the current second.

        Args:
            last: how many of the newest steps to refine.

        Returns:
            ``[E, K, 1, F, N]`` with ``K = min(last, steps so far, size)``; the current step is the last row.
        """
        encoded = self._memory.encode(mono_mag)
        step = torch.full((len(mono_mag), 1), self._count, device=mono_mag.device)
        self._shared = self._memory.remember(encoded.tokens[:, None], step, self._shared, self._size)
        self._newest = [*self._newest, (encoded.skips, mono_mag)][-self._size :]
        self._count += 1
        asked = min(last, len(self._newest))
        attended = self._memory.attend_remembered(self._shared, asked)
        skips, mono = (torch.stack(parts, 1) for parts in zip(*self._newest[-asked:]))
        return self._memory.decode(attended, skips, mono)


def shrink_images(
    rgb: Optional[Tensor], depth: Optional[Tensor], vision: str, size: int
) -> tuple[Optional[Tensor], Optional[Tensor]]:
    """Images as the policy sees them, so that a rollout keeps no larger ones.

    Args:
        rgb: ``[E, H, W, 3]`` uint8, or None.
        depth: ``[E, H, W, 1]``, or None.
        vision: rgb, depth, rgbd or none; what it does not name comes back as None.
        size: height and width to average down to; smaller images stay as they are.
    """

    def shrink(image: Optional[Tensor], used: bool) -> Optional[Tensor]:
        if image is None or not used:
            return None
        if image.shape[1] <= size:
            return image
        small = functional.interpolate(image.permute(0, 3, 1, 2).float(), size=(size, size), mode="area")
        small = small.permute(0, 2, 3, 1)
        return small.round().to(image.dtype) if image.dtype == torch.uint8 else small

    return shrink(rgb, vision in ("rgb", "rgbd")), shrink(depth, vision in ("depth", "rgbd"))
