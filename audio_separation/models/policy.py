"""The actor-critic: vision, the separated binaural sound and the refined mono sound to actions.

AAViDSS (ECCV 2022, section 4.3), DESIGN section 6.
"""

from __future__ import annotations

from typing import NamedTuple, Optional, Sequence

import torch
from torch import Tensor, nn

from audio_separation.models.encoders import VISION_PLANES, AudioEncoder, VisualEncoder, orthogonal_init
from audio_separation.models.precision import full_precision


class PolicyOutput(NamedTuple):
    """One step: ``logits [B, A]``, ``value [B]``, next ``hidden [B, H]``."""

    logits: Tensor
    value: Tensor
    hidden: Tensor


class SequenceOutput(NamedTuple):
    """A rollout: ``logits [T, E, A]``, ``value [T, E]``."""

    logits: Tensor
    value: Tensor


class Policy(nn.Module):
    """Encoders, a GRU, a linear actor and a linear critic (published sizes by default).

    What comes from the separators is detached inside: the policy's losses never train them.

    Args:
        num_actions: A.
        vision: ``rgb``, ``depth``, ``rgbd`` or ``none``.
        visual_encoder: ``cnn`` or ``resnet18``.
        image_size: images are area-averaged down to this.
        visual_channels, audio_channels: widths of the CNNs.
        hidden_size: H, of the GRU and of every encoder's result.
        bin_gain: of the masked mixture before log1p (published: 1).
        num_ears, num_bins, num_frames, num_bands: C, F, N and the frequency slicing.
    """

    def __init__(
        self,
        num_actions: int = 3,
        vision: str = "rgb",
        visual_encoder: str = "cnn",
        image_size: int = 128,
        visual_channels: Sequence[int] = (32, 64, 32),
        audio_channels: Sequence[int] = (32, 64, 32),
        hidden_size: int = 512,
        bin_gain: float = 1.0,
        num_ears: int = 2,
        num_bins: int = 512,
        num_frames: int = 32,
        num_bands: int = 16,
    ) -> None:
        super().__init__()
        if vision not in VISION_PLANES:
            raise ValueError(f"vision must be one of {tuple(VISION_PLANES)}, got {vision!r}")
        self.hidden_size = hidden_size
        self.visual_encoder = (
            None
            if vision == "none"
            else VisualEncoder(vision, image_size, visual_channels, hidden_size, visual_encoder)
        )
        spectrum = (num_bins, num_frames, num_bands)
        self.bin_encoder = AudioEncoder(num_ears, audio_channels, hidden_size, *spectrum, gain=bin_gain)
        self.mono_encoder = AudioEncoder(1, audio_channels, hidden_size, *spectrum)
        self.gru = nn.GRU((2 if vision == "none" else 3) * hidden_size, hidden_size)
        self.actor = nn.Linear(hidden_size, num_actions)
        self.critic = nn.Linear(hidden_size, 1)
        for name, parameter in self.gru.named_parameters():
            if "weight" in name:
                nn.init.orthogonal_(parameter)
            else:
                nn.init.zeros_(parameter)
        orthogonal_init(self.actor, 0.01)  # nearly uniform at the start
        orthogonal_init(self.critic, 1.0)

    def initial_hidden(self, batch: int) -> Tensor:
        """Zeros ``[B, H]`` on the policy's device."""
        return self.critic.weight.new_zeros(batch, self.hidden_size)

    def features(
        self, rgb: Optional[Tensor], depth: Optional[Tensor], bin_mag: Tensor, refined_mono: Tensor
    ) -> Tensor:
        """What the GRU is fed with.

        Args:
            rgb: ``[B, H, W, 3]`` uint8, or None where vision does not use it.
            depth: ``[B, H, W, 1]`` float in 0..1, or None.
            bin_mag: ``[B, C, F, N]`` masked mixture magnitude (linear).
            refined_mono: ``[B, 1, F, N]`` the memory's estimate (linear).

        Returns:
            ``[B, 3 H]`` (``[B, 2 H]`` without vision): vision, binaural, mono.
        """
        audio = [self.bin_encoder(bin_mag.detach()), self.mono_encoder(refined_mono.detach())]
        if self.visual_encoder is None:
            return torch.cat(audio, dim=1).float()
        return torch.cat([self.visual_encoder(rgb, depth), *audio], dim=1).float()

    def forward(
        self,
        rgb: Optional[Tensor],
        depth: Optional[Tensor],
        bin_mag: Tensor,
        refined_mono: Tensor,
        hidden: Tensor,
        not_done: Tensor,
    ) -> PolicyOutput:
        """Act for one step.

        Args:
            rgb, depth, bin_mag, refined_mono: as in :meth:`features`.
            hidden: ``[B, H]`` after the step before.
            not_done: ``[B]``, 0 (False) where a new episode starts with this step: hidden is forgotten.
        """
        if hidden.dim() != 2 or not_done.shape != hidden.shape[:1]:
            raise ValueError(
                f"expected hidden [B, H] and not_done [B], got {list(hidden.shape)}, {list(not_done.shape)}"
            )
        x = self.features(rgb, depth, bin_mag, refined_mono)
        with full_precision(x.device):  # what is remembered from step to step, and the ratios of PPO
            _, state = self.gru(x[None], (hidden * not_done.to(hidden)[:, None])[None])
            return PolicyOutput(self.actor(state[0]), self.critic(state[0])[:, 0], state[0])

    def evaluate_sequence(
        self,
        rgb: Optional[Tensor],
        depth: Optional[Tensor],
        bin_mag: Tensor,
        refined_mono: Tensor,
        hidden0: Tensor,
        not_done: Tensor,
    ) -> SequenceOutput:
        """Act again over a rollout, as T calls of :meth:`forward` would, with one GRU call a stretch.

        Args:
            rgb, depth, bin_mag, refined_mono: as in :meth:`features`, with ``[T, E, ...]`` for ``[B, ...]``.
            hidden0: ``[E, H]`` before the first step.
            not_done: ``[T, E]``, as in :meth:`forward`.
        """
        num_steps, envs = not_done.shape
        flat = [None if x is None else x.flatten(0, 1) for x in (rgb, depth)]
        x = self.features(flat[0], flat[1], bin_mag.flatten(0, 1), refined_mono.flatten(0, 1))
        x = x.view(num_steps, envs, -1)
        keep = not_done.to(x)[..., None]  # [T, E, 1]
        # stretches without resets inside: each starts at step 0 or where some environment starts anew
        resets = (not_done[1:] == 0).any(dim=1).nonzero()[:, 0] + 1
        bounds = [0, *resets.tolist(), num_steps]
        state = hidden0[None]
        outputs = []
        with full_precision(x.device):
            for begin, end in zip(bounds[:-1], bounds[1:]):
                out, state = self.gru(x[begin:end], state * keep[begin])
                outputs.append(out)
            hidden = torch.cat(outputs)
            return SequenceOutput(self.actor(hidden), self.critic(hidden)[..., 0])
