"""The published networks' weights under our names (names and shapes: DESIGN section 9)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterable, Mapping, NamedTuple, Union

from torch import Tensor, nn

from audio_separation.errors import UserError
from audio_separation.models.foreign import read_foreign_checkpoint
from audio_separation.models.memory import TransformerMemory
from audio_separation.models.policy import Policy
from audio_separation.models.separator import PassiveSeparator

PREFIX = "actor_critic."
NUM_CLASSES = 102  # 100 LibriSpeech speakers, music, esc (DESIGN section 3)
_UNET_LEVELS = 5
_MEMORY_LAYERS = 2
_SEPARATORS = ("binSep_enc.", "binSep_dec.", "bin2mono_enc.", "bin2mono_dec.")


class ReferenceAgent(NamedTuple):
    """The published agent in our classes, in evaluation mode."""

    separator: PassiveSeparator
    memory: TransformerMemory
    policy: Policy


class PublishedFile(NamedTuple):
    """What a published checkpoint holds: its tensors by their own names, and the training's settings."""

    state: dict[str, Tensor]
    settings: dict[str, Any]


def read_published(path: Path) -> PublishedFile:
    """Read a file of the published systems: ``{"state_dict": ..., "config": ...}``, or a state dict alone.

    Raises:
        UserError: for a file that :func:`read_foreign_checkpoint` refuses, or that holds something else.
    """
    content = read_foreign_checkpoint(path)
    wrapped = isinstance(content, dict) and "state_dict" in content
    state = content["state_dict"] if wrapped else content
    settings = content.get("config") if wrapped else None
    return PublishedFile(
        _tensors(state, f"checkpoint {path}"), settings if isinstance(settings, dict) else {}
    )


def _tensors(state: Any, where: str) -> dict[str, Tensor]:
    if isinstance(state, Mapping) and all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()
    ):
        return dict(state)
    found = f"one of {_shown(state)}" if isinstance(state, Mapping) else "something else"
    raise UserError(f"{where} should hold a dict of tensors (or one under 'state_dict'), found {found}")


def _shown(names: Iterable[Any]) -> str:
    """The first few names; short, whatever a file calls them."""
    return ", ".join(repr(str(name)[:80]) for name in list(names)[:3]) or "nothing"


def published_kind(state: Mapping[str, Tensor], where: str) -> str:
    """``agent``, ``passive`` or ``move2hear`` (an agent with that system's memory), by the tensors' names.

    Raises:
        UserError: for a state dict of something else.
    """
    modules = {name[len(PREFIX) :].split(".")[0] for name in state if name.startswith(PREFIX)}
    if "audio_mem" in modules:
        return "agent"
    if "acoustic_mem" in modules:
        return "move2hear"
    if {part[:-1] for part in _SEPARATORS} <= modules:
        return "passive"
    raise UserError(
        f"{where} is of no system that is known here: its {len(state)} tensors, such as {_shown(state)}, are "
        f"neither those of an agent nor of passive separators ({PREFIX}*)"
    )


def separator_part(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The passive separators' tensors of an agent's state dict, under their own names."""
    parts = tuple(PREFIX + part for part in _SEPARATORS)
    return {name: value for name, value in state.items() if name.startswith(parts)}


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


def reference_tensors(
    state: Mapping[str, Tensor], where: str, nets: Mapping[str, nn.Module]
) -> dict[str, Tensor]:
    """Rename published tensors to ``<part>.<our name>``: every one used, every shape checked.

    Args:
        state: of the published agent, or of its separators alone.
        where: what the errors call it.
        nets: the networks that it has to fill, by their field in :class:`ReferenceAgent`; not changed.

    Raises:
        UserError: tensors missing, unexpected or of another shape.
    """
    expected = {f"{part}.{k}": v for part, net in nets.items() for k, v in net.state_dict().items()}
    modules = _module_names()
    names = {name: _our_name(name, modules) for name in state}
    unexpected = [name for name, ours in names.items() if ours not in expected]
    missing = [ours for ours in expected if ours not in names.values()]
    if unexpected or missing:
        raise UserError(
            f"{where} is not the published {'agent' if len(nets) > 1 else 'separators'}: {len(unexpected)} "
            f"unexpected tensors ({_shown(unexpected)}), {len(missing)} missing ones (our names: "
            f"{_shown(missing)}); it should hold {len(expected)} tensors named {PREFIX}*"
        )
    renamed = {}
    for name, value in state.items():
        like = expected[names[name]]
        if value.shape != like.shape:
            raise UserError(
                f"{where}: tensor {name} should have shape {list(like.shape)}, found {list(value.shape)}; only "
                "the published sizes (RGB, 128x128 images) can be loaded"
            )
        renamed[names[name]] = value.to(like.dtype)
    return renamed


def load_reference_checkpoint(source: Union[str, Path, Mapping[str, Tensor]]) -> ReferenceAgent:
    """Load a published agent: every tensor used, every shape checked.

    Args:
        source: a published ``.pth`` file, or the state dict. Nothing in a file runs.

    Raises:
        UserError: file missing, unreadable or hostile; tensors missing, unexpected or of another shape.
    """
    where = "the given state dict"
    if isinstance(source, (str, Path)):
        where = f"checkpoint {source}"
        state = read_published(Path(source)).state
    else:
        state = _tensors(source, where)
    agent = make_reference_agent()
    renamed = reference_tensors(state, where, agent._asdict())
    for part, net in agent._asdict().items():
        _fill(net, f"{part}.", renamed)
    return agent


def make_reference_agent() -> ReferenceAgent:
    """The published networks with fresh weights."""
    return ReferenceAgent(
        PassiveSeparator(NUM_CLASSES, variant="paper"), TransformerMemory(output="direct"), Policy()
    )


def _fill(net: nn.Module, prefix: str, renamed: Mapping[str, Tensor]) -> None:
    net.load_state_dict({k[len(prefix) :]: v for k, v in renamed.items() if k.startswith(prefix)})
    net.eval()
