"""The agent of the audition tasks: a separator, the cues under its masks, and a Q-network on them."""

from __future__ import annotations

from typing import Optional

from torch import Tensor, nn

from audio_separation.audio.cues import pooled_cues
from audio_separation.models.audition.q_network import QNetwork
from audio_separation.models.audition.separation import Separator, require_ears


class AuditionAgent(nn.Module):
    """What is heard -> values of actions; the gradient of a value reaches the separator through the cues.

    Args:
        separator: gives the masks.
        q_network: gives the values.
        pool: of :func:`audio_separation.audio.cues.pooled_cues`.
        weight: likewise.
        frozen: keep the separator as it is: its parameters want no gradient, and it stays in evaluation mode.
    """

    def __init__(
        self, separator: Separator, q_network: QNetwork, pool: str, weight: str, frozen: bool = False
    ):
        super().__init__()
        self.separator, self.q_network = separator, q_network
        self.pool, self.weight, self.frozen = pool, weight, frozen
        if frozen:
            separator.requires_grad_(False)
            separator.eval()

    def train(self, mode: bool = True) -> AuditionAgent:
        """As of every module; a frozen separator stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.separator.eval()
        return self

    def cues(self, audio: Tensor) -> Tensor:
        """Cues ``[B, D]`` of what the ears hear, ``[B, 2, L]``."""
        require_ears(audio)
        mix_stft = self.separator.stft(audio)
        return pooled_cues(mix_stft, self.separator.masks(audio, mix_stft), self.pool, self.weight)

    def values(self, cues: Tensor, pose: Optional[Tensor] = None) -> Tensor:
        """Values ``[B, A]`` of the actions, from cues ``[B, D]`` and, where it is observed, the pose ``[B, 4]``."""
        return self.q_network(cues, pose)

    def forward(self, audio: Tensor, pose: Optional[Tensor] = None) -> Tensor:
        """Values ``[B, A]`` of the actions, from what is heard ``[B, 2, L]`` (and the pose)."""
        return self.values(self.cues(audio), pose)
