"""Mixed precision: networks may compute in bfloat16, weights and everything around the networks stay float32."""

from __future__ import annotations

import torch

PRECISIONS = ("fp32", "bf16")


def network_precision(name: str, device: torch.device) -> torch.autocast:
    """Context for calls of networks: with ``bf16``, matrix products and convolutions take bfloat16 inputs.

    Its exponent is that of float32, so gradients need no scaling. What the networks return is float32.
    """
    if name not in PRECISIONS:
        raise ValueError(f"precision must be one of {PRECISIONS}, got {name!r}")
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=name == "bf16")


def full_precision(device: torch.device) -> torch.autocast:
    """Context for parts of networks that stay in float32 whatever surrounds them."""
    return torch.autocast(device.type, enabled=False)
