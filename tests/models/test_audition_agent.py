"""The agent of the audition tasks: from what is heard to values, and gradients back to the separator."""

from __future__ import annotations

from typing import Optional

import pytest
import torch
from yacs.config import CfgNode

from audio_separation.config import get_config
from audio_separation.errors import UserError
from audio_separation.models.audition.agent import AuditionAgent
from audio_separation.models.audition.build import build_agent, build_separator
from audio_separation.models.audition.dprnn import DprnnTasNet
from audio_separation.models.audition.mask_network import MaskNetwork
from audio_separation.models.audition.q_network import QNetwork

VARIANTS = [(pool, weight) for pool in ("time_frequency", "time") for weight in ("mask", "energy")]


def _config(**keys: object) -> CfgNode:
    """The default config with other keys of AUDITION; a dot is written as two underscores."""
    changes = {"SEPARATOR__N_FFT": 64, "SEPARATOR__HOP": 16, "SEPARATOR__HIDDEN": 6, **keys}
    words = [(f"AUDITION.{key.replace('__', '.')}", str(value)) for key, value in changes.items()]
    return get_config(None, [word for pair in words for word in pair])


def _agent(num_actions: int = 4, **keys: object) -> AuditionAgent:
    torch.manual_seed(0)
    return build_agent(_config(**keys), num_actions)


def _audio(batch: int = 3, length: int = 800) -> torch.Tensor:
    return 0.1 * torch.randn(batch, 2, length, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("pool", "weight"), VARIANTS)
@pytest.mark.parametrize("sources", [1, 2, 3])
def test_values_from_what_is_heard(pool: str, weight: str, sources: int) -> None:
    agent = _agent(6, SOURCES=sources, QNET__POOL=pool, QNET__WEIGHT=weight).eval()
    cues = agent.cues(_audio())
    values = {"mask": 3, "energy": 4}[weight] * (33 if pool == "time" else 1)
    assert cues.shape == (3, sources * values)
    found = agent(_audio())
    assert found.shape == (3, 6)
    assert torch.equal(found, agent.values(cues)) and torch.equal(found, agent(_audio()))
    torch.testing.assert_close(agent(_audio()[:1]), found[:1])


@pytest.mark.parametrize(("pool", "weight"), VARIANTS)
@pytest.mark.parametrize("kind", ["mask", "dprnn"])
def test_the_gradient_of_a_value_reaches_all_of_the_separator(kind: str, pool: str, weight: str) -> None:
    agent = _agent(SEPARATOR__TYPE=kind, QNET__POOL=pool, QNET__WEIGHT=weight)
    agent(_audio())[:, 0].square().sum().backward()
    for name, parameter in agent.separator.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(("pool", "weight"), VARIANTS)
@pytest.mark.parametrize("kind", ["mask", "dprnn"])
def test_silence_has_finite_values_and_gradients(kind: str, pool: str, weight: str) -> None:
    agent = _agent(SEPARATOR__TYPE=kind, QNET__POOL=pool, QNET__WEIGHT=weight)
    values = agent(torch.zeros(2, 2, 800))
    values.square().sum().backward()
    assert values.isfinite().all()
    assert all(p.grad.isfinite().all() for p in agent.parameters() if p.grad is not None)


def test_a_frozen_separator_wants_no_gradient_and_stays_in_evaluation_mode() -> None:
    agent = _agent(SEPARATOR__FROZEN=True, SEPARATOR__DROPOUT=0.5).train()
    assert agent.q_network.training and not agent.separator.training
    assert torch.equal(agent.cues(_audio()), agent.cues(_audio()))
    agent(_audio()).sum().backward()
    assert all(p.grad is None for p in agent.separator.parameters())
    assert all(p.grad is not None for p in agent.q_network.parameters())
    learning = _agent(SEPARATOR__DROPOUT=0.5).train()
    assert learning.separator.training


# ---- Q-network ------------------------------------------------------------------------------------------
def test_values_have_no_bounds() -> None:
    torch.manual_seed(0)
    network = QNetwork(5, 4, (8,))
    x = torch.randn(64, 5)
    values = network(1e4 * x)
    assert values.min() < -100 and values.max() > 100
    with torch.no_grad():  # linear in the last layer
        network.layers[-1].weight.mul_(2)
        network.layers[-1].bias.mul_(2)
    torch.testing.assert_close(network(1e4 * x), 2 * values)
    assert QNetwork(5, 4, ())(x).shape == (64, 4)


@pytest.mark.parametrize(("pose", "found"), [(None, 0), (torch.zeros(3, 3), 3)])
def test_a_pose_must_be_as_announced(pose: Optional[torch.Tensor], found: int) -> None:
    with pytest.raises(ValueError, match=f"expects 4 values of a pose, got {found}"):
        QNetwork(5, 4, (8,), pose_size=4)(torch.zeros(3, 5), pose)


def test_the_pose_counts_where_it_is_observed() -> None:
    agent = _agent(POSE=True).eval()
    here, there = agent(_audio(), torch.zeros(3, 4)), agent(_audio(), torch.ones(3, 4))
    assert not torch.allclose(here, there)
    with pytest.raises(ValueError, match="expects 0 values"):
        _agent()(_audio(), torch.zeros(3, 4))


# ---- from the config ------------------------------------------------------------------------------------
def test_separators_are_as_the_config_says() -> None:
    network = build_separator(
        _config(SEPARATOR__INPUT="spatial", SEPARATOR__LAYERS=2, SEPARATOR__DROPOUT=0.3)
    )
    assert isinstance(network, MaskNetwork)
    lstm = network.lstm
    assert (lstm.input_size, lstm.hidden_size, lstm.num_layers, lstm.dropout) == (4 * 33, 6, 2, 0.3)
    tasnet = build_separator(_config(SEPARATOR__TYPE="dprnn", SEPARATOR__PRESET="small", SOURCES=3))
    assert isinstance(tasnet, DprnnTasNet) and tasnet.num_sources == 3 and len(tasnet.paths) == 4


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"SEPARATOR__N_FFT": 65}, "N_FFT and HOP must be even and at most half of N_FFT, found 65 and 16"),
        ({"SEPARATOR__HOP": 33}, "found 64 and 33"),
        ({"QNET__HIDDEN": "[8, 0]"}, "QNET.HIDDEN must list positive integers"),
        ({"SEPARATOR__PRETRAINED": "x.pth"}, "PRETRAINED is for TYPE asteroid, but TYPE is mask"),
    ],
)
def test_keys_that_do_not_fit_are_named(keys: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message.replace("[", r"\[")):
        build_agent(_config(**keys), 4)
