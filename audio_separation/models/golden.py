"""Parity with the published networks: their recorded outputs against ours (DESIGN section 9)."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path
from typing import NamedTuple, Sequence, Union

import numpy as np
import torch
from torch import Tensor

from audio_separation.models.agent import Agent
from audio_separation.models.reference import ReferenceAgent, load_reference_checkpoint


class ParityError(NamedTuple):
    """Largest absolute deviation, and the largest absolute value of the recorded array."""

    max_abs_error: float
    max_abs_value: float


def golden_tensor(name: str, shape: Sequence[int]) -> Tensor:
    """The tensor that the recording used for the parameter ``name`` (formula of DESIGN section 9)."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros(tuple(shape), dtype=torch.int64)
    index = np.arange(math.prod(shape))
    phase = zlib.crc32(name.encode()) / 2**32 * 2 * math.pi
    scale = math.sqrt(2 / math.prod(shape[1:])) if len(shape) >= 2 else 0.05
    value = scale * np.sin(0.7 * (index % 1009) + 0.013 * (index // 1009) + phase)
    if name.endswith("running_var"):
        value = 1 + np.abs(value)
    elif len(shape) == 1 and name.endswith("weight") and ("norm" in name or name.endswith(".1.weight")):
        value = 1 + value
    return torch.from_numpy(value.astype(np.float32).reshape(tuple(shape)))


def _channels_first(spectra: np.ndarray) -> Tensor:
    """``[..., F, N, c]`` as published to ``[..., c, F, N]``."""
    return torch.from_numpy(np.moveaxis(spectra, -1, -3).copy())


def _run(agent: Union[ReferenceAgent, Agent], data: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Outputs of our networks under the recording's names, in our axes order."""
    mix_logmag = _channels_first(data["mixed_bin_audio_mag"])
    separated = agent.separator(mix_logmag, torch.from_numpy(data["target_class"])[:, 0].long())

    # 12 past steps [M, B, F, N] and the current one
    past = torch.from_numpy(data["memory_mono"]).transpose(0, 1)[:, :, None]
    mono = torch.cat([past, separated.mono_mag[:, None]], dim=1)
    past_steps = torch.from_numpy(data["memory_pose"])[..., -1].T
    steps = torch.cat([past_steps, torch.from_numpy(data["pose"])[:, -1:]], dim=1)
    valid = torch.from_numpy(data["memory_mask"]) > 0
    valid = torch.cat([valid, torch.ones_like(valid[:, :1])], dim=1)
    refined = agent.memory(mono, steps, valid)

    acted = agent.policy(
        torch.from_numpy(data["rgb"]),
        None,
        separated.bin_mag,
        refined[:, -1],
        torch.from_numpy(data["hidden"])[0],
        torch.from_numpy(data["not_done"])[:, 0],
    )
    return {
        "bin_masks": separated.bin_mask,
        "mono": separated.mono_mag,
        "refined_last": refined[:, -1],
        "refined_rows": refined[0, [0, 6]],
        "features": acted.hidden,
        "hidden_next": acted.hidden[None],
        "logits": acted.logits,
        "value": acted.value[:, None],
    }


def network_errors(
    networks_npz: Union[str, Path], state_dict_json: Union[str, Path]
) -> dict[str, tuple[float, float]]:
    """Compare our networks with the recorded outputs of the published ones.

    Args:
        networks_npz: recorded inputs and outputs.
        state_dict_json: names and shapes of the published parameters.

    Returns:
        for each recorded output ``(max_abs_error, max_abs_value)``.
    """
    return output_errors(load_reference_checkpoint(golden_state(state_dict_json)), networks_npz)


def golden_state(state_dict_json: Union[str, Path]) -> dict[str, Tensor]:
    """The state dict that the recording used, under the published names."""
    shapes = json.loads(Path(state_dict_json).read_text())
    return {name: golden_tensor(name, shape) for name, shape in shapes.items()}


def output_errors(
    agent: Union[ReferenceAgent, Agent], networks_npz: Union[str, Path]
) -> dict[str, tuple[float, float]]:
    """As :func:`network_errors`, for an agent in evaluation mode that holds :func:`golden_state`."""
    with np.load(networks_npz) as archive:
        data = {name: archive[name] for name in archive.files}
    with torch.no_grad():
        outputs = _run(agent, data)
    errors: dict[str, tuple[float, float]] = {}
    for name, ours in outputs.items():
        theirs = data[name] if data[name].ndim < 4 else _channels_first(data[name]).numpy()
        deviation = float(np.abs(ours.numpy() - theirs).max())
        errors[name] = ParityError(deviation, float(np.abs(theirs).max()))
    return errors
