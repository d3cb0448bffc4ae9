"""Our networks against the recorded outputs of the published ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from audio_separation.errors import UserError
from audio_separation.models.golden import golden_tensor, network_errors
from audio_separation.models.reference import load_reference_checkpoint

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture(scope="module")
def state_dict() -> dict[str, torch.Tensor]:
    shapes = json.loads((GOLDEN / "reference_state_dict.json").read_text())
    return {name: golden_tensor(name, shape) for name, shape in shapes.items()}


def test_published_outputs_are_met():
    errors = network_errors(GOLDEN / "networks.npz", GOLDEN / "reference_state_dict.json")
    assert set(errors) == {
        *("bin_masks", "mono", "refined_last", "refined_rows"),
        *("features", "hidden_next", "logits", "value"),
    }
    for name, (error, largest) in errors.items():
        assert error < 1e-5 * largest, name


def test_file_with_state_dict_key_loads_every_tensor(state_dict, tmp_path):
    path = tmp_path / "ckpt.pth"
    torch.save({"state_dict": state_dict}, path)
    agent = load_reference_checkpoint(path)
    loaded = {value.numel() for net in agent for value in net.state_dict().values()}
    assert loaded == {value.numel() for value in state_dict.values()}
    name = "actor_critic.bin2mono_dec.passive_sep_decoder.cnn.5.0.weight"
    torch.testing.assert_close(agent.separator.mono_unet.head.weight.data, state_dict[name])
    name = "actor_critic.audio_mem.transformer.layers.1.self_attn.in_proj_bias"
    torch.testing.assert_close(agent.memory.layers[1].qkv.bias.data, state_dict[name])
    assert not any(module.training for net in agent for module in net.modules())


def test_missing_unexpected_and_misshapen_tensors_are_refused(state_dict):
    name = "actor_critic.critic.fc.weight"
    without = {k: v for k, v in state_dict.items() if k != name}
    with pytest.raises(UserError, match=r"missing ones .*policy\.critic\.weight"):
        load_reference_checkpoint(without)
    with pytest.raises(UserError, match=r"1 unexpected tensors \('actor_critic\.extra\.weight'\)"):
        load_reference_checkpoint({**state_dict, "actor_critic.extra.weight": torch.zeros(1)})
    with pytest.raises(UserError, match=r"critic\.fc\.weight should have shape \[1, 512\], found \[1, 256\]"):
        load_reference_checkpoint({**state_dict, name: torch.zeros(1, 256)})


class Config:
    """Stands for the pickled configuration in published checkpoints."""


def test_checkpoint_with_other_objects_is_refused_unrun(state_dict, tmp_path):
    path = tmp_path / "ckpt.pth"
    torch.save({"state_dict": {}, "config": Config()}, path)
    with pytest.raises(UserError, match=r"asks for test_networks_golden\.Config, which"):
        load_reference_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 broken"])
def test_unreadable_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "ckpt.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"ckpt\.pth should be .* \({len(content)} bytes; "):
        load_reference_checkpoint(path)
    with pytest.raises(UserError, match=r"absent\.pth not found"):
        load_reference_checkpoint(tmp_path / "absent.pth")
    torch.save([1, 2], path)
    with pytest.raises(UserError, match="should hold a dict of tensors"):
        load_reference_checkpoint(path)
