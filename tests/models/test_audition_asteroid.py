"""The adapter of asteroid's DPRNNTasNet, with a stand-in for the package."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn
from yacs.config import CfgNode

from audio_separation.config import get_config
from audio_separation.errors import UserError
from audio_separation.models.audition.asteroid import AsteroidSeparator
from audio_separation.models.audition.build import build_agent, build_separator


class DPRNNTasNet(nn.Module):
    """The signature and the file format of asteroid's class; gives each source a gain of its own."""

    def __init__(self, n_src: int, sample_rate: int = 8000, **sizes: Any):
        super().__init__()
        self.sizes, self.sample_rate = {"n_src": n_src, **sizes}, sample_rate
        self.gains = nn.Parameter(torch.arange(1.0, n_src + 1))

    def forward(self, wav: torch.Tensor) -> torch.Tensor:
        assert wav.dim() == 3 and wav.shape[1] == 1
        return wav * self.gains[:, None]

    @classmethod
    def from_pretrained(cls, content: Any) -> DPRNNTasNet:
        assert isinstance(content, dict), "a path would be unpickled"
        model = cls(**content["model_args"])
        model.load_state_dict(content["state_dict"])
        return model


@pytest.fixture
def asteroid(monkeypatch: pytest.MonkeyPatch) -> None:
    package, models = ModuleType("asteroid"), ModuleType("asteroid.models")
    models.DPRNNTasNet = DPRNNTasNet  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "asteroid", package)
    monkeypatch.setitem(sys.modules, "asteroid.models", models)


def _config(*words: str) -> CfgNode:
    return get_config(None, ["AUDITION.SEPARATOR.TYPE", "asteroid", *words])


def _pretrained(path: Path, **changes: Any) -> CfgNode:
    """A file with gains of 3 and 5, changed as asked, and a config that names it."""
    content = {
        "model_name": "DPRNNTasNet",
        "model_args": {"n_src": 2, "sample_rate": 8000},
        "state_dict": {"gains": torch.tensor([3.0, 5.0])},
        **changes,
    }
    torch.save(content, path)
    return _config("AUDITION.SEPARATOR.PRETRAINED", str(path))


def test_an_untrained_model_of_the_presets_sizes(asteroid: None) -> None:
    separator = build_separator(_config("AUDITION.SEPARATOR.PRESET", "large", "AUDITION.SOURCES", "3"))
    assert isinstance(separator, AsteroidSeparator)
    assert separator.model.sizes == {
        "n_src": 3,
        "n_filters": 64,
        "kernel_size": 16,
        "stride": 8,
        "bn_chan": 128,
        "hid_size": 128,
        "chunk_size": 100,
        "hop_size": 50,
        "n_repeats": 6,
    }


def test_it_hears_the_mean_of_the_ears(asteroid: None) -> None:
    agent = build_agent(_config(), 4)
    mix = 0.1 * torch.randn(2, 2, 1000)
    waves = agent.separator.waves(mix)
    torch.testing.assert_close(waves, mix.mean(1, keepdim=True) * torch.tensor([1.0, 2.0])[:, None])
    masks = agent.separator.masks(mix, agent.separator.stft(mix))
    torch.testing.assert_close(masks[:, 1], torch.full_like(masks[:, 1], 2 / 3), atol=0.01, rtol=0)
    agent(mix).sum().backward()
    assert agent.separator.model.gains.grad.abs().min() > 0


def test_without_asteroid_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asteroid", None)
    with pytest.raises(UserError, match="does not import here .*install it .* or use TYPE dprnn"):
        build_separator(_config())


def test_pretrained_weights_come_from_a_local_file(asteroid: None, tmp_path: Path) -> None:
    separator = build_separator(_pretrained(tmp_path / "model.pth"))
    assert separator.model.gains.tolist() == [3.0, 5.0]
    with pytest.raises(UserError, match=r"mpariente/Conv not found"):
        build_separator(_config("AUDITION.SEPARATOR.PRETRAINED", "mpariente/Conv"))


class _Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, (os.environ["EVIL_FOLDER"],)


def test_a_file_that_would_run_code_is_refused(
    asteroid: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVIL_FOLDER", str(tmp_path / "ran"))
    with pytest.raises(UserError, match="refused before anything ran"):
        build_separator(_pretrained(tmp_path / "evil.pth", infos=_Evil()))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model_name": "ConvTasNet"},
            "should hold what asteroid's DPRNNTasNet.serialize.. returns, found 'ConvTasNet'",
        ),
        ({"model_args": [1]}, "should hold"),
        ({"model_args": {"n_src": 3}}, "separates 3 sources, but AUDITION.SOURCES is 2"),
        ({"model_args": {"n_src": 2, "sample_rate": 16000}}, "is for 16000 Hz, but AUDITION.RATE is 8000"),
        ({"state_dict": {"gains": torch.ones(3)}}, "does not fit the installed asteroid"),
        ({"state_dict": {}}, "does not fit the installed asteroid"),
    ],
)
def test_files_that_do_not_fit_are_named(
    asteroid: None, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        build_separator(_pretrained(tmp_path / "model.pth", **changes))
