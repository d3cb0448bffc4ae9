"""Asteroid's ``DPRNNTasNet`` as a separator, where asteroid is installed and imports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from audio_separation.audio.transform import Stft
from audio_separation.errors import UserError
from audio_separation.models.audition.dprnn import DprnnSizes
from audio_separation.models.audition.separation import WaveSeparator, require_ears
from audio_separation.models.foreign import read_foreign_checkpoint

MODEL = "DPRNNTasNet"


class AsteroidSeparator(WaveSeparator):
    """A mono model: it hears the mean of the ears, and knows the places of sources only from what they sound like.

    Args:
        num_sources: S.
        stft: transform of the masks.
        model: maps ``[B, 1, L]`` to ``[B, S, L]``.
    """

    def __init__(self, num_sources: int, stft: Stft, model: nn.Module):
        super().__init__(num_sources, stft)
        self.model = model

    def separate(self, mix: Tensor) -> Tensor:
        """As :meth:`WaveSeparator.separate`."""
        require_ears(mix)
        return self.model(mix.mean(1, keepdim=True))


def new_model(num_sources: int, sizes: DprnnSizes) -> nn.Module:
    """An untrained ``DPRNNTasNet``.

    Raises:
        UserError: asteroid does not import.
    """
    return _model_class()(
        n_src=num_sources,
        n_filters=sizes.filters,
        kernel_size=sizes.kernel,
        stride=sizes.kernel // 2,
        bn_chan=sizes.features,
        hid_size=sizes.hidden,
        chunk_size=sizes.chunk,
        hop_size=sizes.chunk // 2,
        n_repeats=sizes.blocks,
    )


def pretrained_model(path: str, num_sources: int, rate: int) -> nn.Module:
    """A ``DPRNNTasNet`` from a file of ``model.serialize()``, which is read without running anything in it.

    Raises:
        UserError: asteroid does not import; the file is missing, damaged, of another model, for another number
            of sources or another rate.
    """
    model_class = _model_class()
    content = read_foreign_checkpoint(Path(path))
    _check(path, content, num_sources, rate)
    content["model_args"].setdefault("sample_rate", rate)
    try:
        # from content that was read; given a path, it would unpickle that
        return model_class.from_pretrained(content)
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise UserError(
            f"AUDITION.SEPARATOR.PRETRAINED {path} does not fit the installed asteroid's {MODEL} ({reason}): use "
            "the release of asteroid that it was made with"
        ) from None


def _check(path: str, content: Any, num_sources: int, rate: int) -> None:
    parts = content if isinstance(content, dict) else {}
    arguments = parts.get("model_args")
    if parts.get("model_name") != MODEL or not isinstance(arguments, dict) or "state_dict" not in parts:
        raise UserError(
            f"AUDITION.SEPARATOR.PRETRAINED {path} should hold what asteroid's {MODEL}.serialize() returns, found "
            f"{parts.get('model_name', type(content).__name__)!r}: save a {MODEL} in that way"
        )
    if arguments.get("n_src") != num_sources:
        raise UserError(
            f"AUDITION.SEPARATOR.PRETRAINED {path} separates {arguments.get('n_src')} sources, but "
            f"AUDITION.SOURCES is {num_sources}: make them agree"
        )
    found = parts.get("sample_rate", arguments.get("sample_rate", rate))
    if found != rate:
        raise UserError(
            f"AUDITION.SEPARATOR.PRETRAINED {path} is for {found} Hz, but AUDITION.RATE is {rate}: make them agree"
        )


def _model_class() -> Any:
    try:
        from asteroid.models import DPRNNTasNet
    except Exception as error:  # beside ImportError, whatever its old dependencies raise on a new torch
        reason = (str(error).splitlines() or [""])[0]
        raise UserError(
            f"AUDITION.SEPARATOR.TYPE asteroid needs the package asteroid, which does not import here "
            f"({type(error).__name__}: {reason}): install it with a torch that it supports, or use TYPE dprnn, the "
            "same network"
        ) from None
    return DPRNNTasNet
