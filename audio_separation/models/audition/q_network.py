"""Values of actions from the cues of the sources."""

from __future__ import annotations

from typing import Optional, Sequence

import torch
from torch import Tensor, nn


class QNetwork(nn.Module):
    """MLP with ReLU between and a linear output: values may be of any sign and size.

    Args:
        cue_size: D.
        num_actions: A.
        hidden: widths of the hidden layers.
        pose_size: values of the pose beside the cues; 0: none.
    """

    def __init__(
        self, cue_size: int, num_actions: int, hidden: Sequence[int] = (128, 128), pose_size: int = 0
    ):
        super().__init__()
        self.pose_size = pose_size
        widths = [cue_size + pose_size, *hidden]
        layers: list[nn.Module] = []
        for inner, outer in zip(widths, widths[1:]):
            layers += [nn.Linear(inner, outer), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], num_actions))

    def forward(self, cues: Tensor, pose: Optional[Tensor] = None) -> Tensor:
        """Map cues ``[B, D]`` (and a pose ``[B, pose_size]``) to values ``[B, A]``.

        Raises:
            ValueError: a pose is missing, or given though the network takes none.
        """
        found = 0 if pose is None else pose.shape[-1]
        if found != self.pose_size:
            raise ValueError(f"the Q-network expects {self.pose_size} values of a pose, got {found}")
        return self.layers(cues if pose is None else torch.cat([cues, pose], -1))
