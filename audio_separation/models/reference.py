"""Load the published agent's weights into our networks (names and shapes: DESIGN section 9)."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Union

import torch
from torch import Tensor, nn

from audio_separation.errors import UserError
from audio_separation.models.memory import TransformerMemory
from audio_separation.models.policy import Policy
from audio_separation.models.separator import PassiveSeparator

PREFIX = "actor_critic."
NUM_CLASSES = 102  # 100 LibriSpeech speakers, music, esc (DESIGN section 3)
_UNET_LEVELS = 5
_MEMORY_LAYERS = 2


class ReferenceAgent(NamedTuple):
    """The published agent in our classes, in evaluation mode."""

    separator: PassiveSeparator
    memory: TransformerMemory
    policy: Policy


def _module_names() -> dict[str, str]:
    """Map the published modules' names (less prefix) to ours, as ``<separator|memory|policy>.<module>``."""
    names: dict[str, str] = {}
    for theirs, ours in (("binSep", "separator.bin_unet"), ("bin2mono", "separator.mono_unet")):
        for i in range(_UNET_LEVELS):
            for k, part in enumerate(("conv", "norm")):
                names[f"{theirs}_enc.passive_sep_encoder.cnn.{i}.{k}"] = f"{ours}.encoder.{i}.{part}"
                names[f"{theirs}_dec.passive_sep_decoder.cnn.{i}.{k}"] = f"{ours}.decoder.{i}.{part}"
        names[f"{theirs}_dec.passive_sep_decoder.cnn.{_UNET_LEVELS}.0"] = f"{ours}.head"
    for i in range(2):
        names[f"audio_mem.downsample_cnn.downsample_cnn.{i}.0"] = f"memory.down{i + 1}"
        names[f"audio_mem.upsample_cnn.upsample_cnn.{i}.0"] = f"memory.up{i + 1}"
    for i in range(_MEMORY_LAYERS):
        for part in ("linear1", "linear2", "norm1", "norm2"):
            names[f"audio_mem.transformer.layers.{i}.{part}"] = f"memory.layers.{i}.{part}"
        names[f"audio_mem.transformer.layers.{i}.self_attn.out_proj"] = f"memory.layers.{i}.out"
    names["audio_mem.transformer.norm"] = "memory.norm"
    for theirs, ours, linear in (
        ("visual_encoder", "visual_encoder", 6),
        ("bin_encoder", "bin_encoder", 7),
        ("monoFromMem_encoder", "mono_encoder", 7),
    ):
        for i in range(3):
            names[f"pol_net.{theirs}.cnn.{2 * i}"] = f"policy.{ours}.net.convs.{i}"
        names[f"pol_net.{theirs}.cnn.{linear}"] = f"policy.{ours}.net.linear"
    names["pol_net.state_encoder.rnn"] = "policy.gru"
    names["action_dist.linear"] = "policy.actor"
    names["critic.fc"] = "policy.critic"
    return names


def _our_name(name: str, modules: Mapping[str, str]) -> str:
    """Our name of a published tensor, or "" where there is none."""
    if not name.startswith(PREFIX):
        return ""
    module, _, leaf = name[len(PREFIX) :].rpartition(".")
    attention = ".self_attn"
    if module.endswith(attention) and leaf in ("in_proj_weight", "in_proj_bias"):
        # torch's attention keeps this layer as bare tensors
        out = modules.get(f"{module}.out_proj", "")
        return f"{out[: -len('out')]}qkv.{leaf[len('in_proj_') :]}" if out else ""
    return f"{modules[module]}.{leaf}" if module in modules else ""


def _read(path: Path) -> Any:
    if not path.is_file():
        raise UserError(f"checkpoint {path} not found; give the path of a published agent's .pth file")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch names the first global that it would not import
        found = re.search(r"Unsupported global: GLOBAL ([\w.]+)", str(error))
        if found:
            raise UserError(
                f"checkpoint {path} holds {found[1]} besides tensors and plain data and is not unpickled, "
                'since that could run code; where you trust it, save {"state_dict": ...} alone elsewhere'
            ) from None
        raise _unreadable(path) from None
    except (RuntimeError, EOFError, OSError):
        raise _unreadable(path) from None


def _unreadable(path: Path) -> UserError:
    return UserError(
        f"checkpoint {path} should be a file written by torch.save, found one that is damaged or of another "
        f"kind ({path.stat().st_size} bytes); get it again"
    )


def load_reference_checkpoint(source: Union[str, Path, Mapping[str, Tensor]]) -> ReferenceAgent:
    """Load a published agent: every tensor used, every shape checked.

    Args:
        source: a ``.pth`` file that holds the state dict (or ``{"state_dict": ...}``), or the state dict.
            Files are read with ``weights_only=True``: no code in them runs.

    Raises:
        UserError: file missing, unreadable or holding more than tensors and plain data; tensors missing,
            unexpected or of another shape.
    """
    where = "the given state dict"
    state: Any = source
    if isinstance(source, (str, Path)):
        where = f"checkpoint {source}"
        state = _read(Path(source))
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(
            f"{where} should hold a dict of tensors (or one under 'state_dict'), found something else"
        )

    agent = ReferenceAgent(
        PassiveSeparator(NUM_CLASSES, variant="paper"), TransformerMemory(output="direct"), Policy()
    )
    modules = _module_names()
    renamed = {_our_name(name, modules): (name, value) for name, value in state.items()}
    expected = {
        f"{part}.{name}": value
        for part, net in agent._asdict().items()
        for name, value in net.state_dict().items()
    }
    unexpected = [name for name in state if _our_name(name, modules) not in expected]
    missing = [name for name in expected if name not in renamed]
    if unexpected or missing:
        raise UserError(
            f"{where} is not the published agent's: {len(unexpected)} unexpected tensors {unexpected[:3]}, "
            f"{len(missing)} missing ones (our names) {missing[:3]}; it should hold {len(expected)} tensors "
            f"named {PREFIX}*"
        )
    for ours, (name, value) in renamed.items():
        if value.shape != expected[ours].shape:
            raise UserError(
                f"{where}: tensor {name} should have shape {list(expected[ours].shape)}, found "
                f"{list(value.shape)}; only the published sizes (RGB, 128x128 images) can be loaded"
            )
    for part, net in agent._asdict().items():
        _fill(net, part, renamed)
    return agent


def _fill(net: nn.Module, part: str, renamed: Mapping[str, tuple[str, Tensor]]) -> None:
    prefix = f"{part}."
    net.load_state_dict({k[len(prefix) :]: v for k, (_, v) in renamed.items() if k.startswith(prefix)})
    net.eval()
