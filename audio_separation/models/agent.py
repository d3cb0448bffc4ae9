"""The whole agent: frozen separators, transformer memory, policy."""

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor, nn
from torch.nn import functional

from audio_separation.models.memory import EncodedSteps, TransformerMemory
from audio_separation.models.policy import Policy
from audio_separation.models.separator import LOSSES, PassiveSeparator, SeparatorOutput


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
    """The memory over one episode of E environments. Every step is encoded once.

    Args:
        memory: the network.
        size: attention window, the current step included (published: 20).
    """

    def __init__(self, memory: TransformerMemory, size: int):
        self._memory, self._size = memory, size
        self._steps: list[tuple[EncodedSteps, Tensor]] = []
        self._count = 0

    @torch.no_grad()
    def add(self, mono_mag: Tensor, last: int = 1) -> Tensor:
        """Take in the passive estimate ``[E, 1, F, N]`` of the current second.

        Args:
            last: how many of the newest steps to refine.

        Returns:
            ``[E, K, 1, F, N]`` with ``K = min(last, steps so far, size)``; the current step is the last row.
        """
        self._steps = [*self._steps, (self._memory.encode(mono_mag), mono_mag)][-self._size :]
        self._count += 1
        envs, held = len(mono_mag), len(self._steps)
        tokens = torch.stack([encoded.tokens for encoded, _ in self._steps], 1)  # [E, M, D]
        steps = torch.arange(self._count - held, self._count, device=mono_mag.device).expand(envs, -1)
        asked = min(last, held)
        attended = self._memory.attend(tokens, steps, torch.ones_like(steps, dtype=torch.bool), last=asked)
        skips = torch.stack([encoded.skips for encoded, _ in self._steps[-asked:]], 1)
        mono = torch.stack([mono for _, mono in self._steps[-asked:]], 1)
        return self._memory.decode(attended, skips, mono)


def memory_loss(
    memory: TransformerMemory, mono: Tensor, target: Tensor, taus: Tensor, size: int, last: int, kind: str
) -> Tensor:
    """Error of the refined estimates of the current and the last steps, as seen from every step.

    Args:
        mono, target: ``[E, T, 1, F, N]`` passive estimates and truth of whole episodes.
        taus: ``[K]`` steps to look back from.
        size: steps that the memory holds.
        last: the current step and the ``last - 1`` before it (published: 15).
        kind: l1 (published) or mse.

    Returns:
        Mean over environments, steps seen from, and the steps that exist.
    """
    if kind not in LOSSES:
        raise ValueError(f"kind must be one of {LOSSES}, got {kind!r}")
    pairs = memory.refine_pairs(mono, window=size, last=last, taus=taus)
    truth = target.index_select(1, pairs.step)
    distance = functional.l1_loss if kind == "l1" else functional.mse_loss
    return distance(pairs.refined, truth)


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
