"""What the agent shall sound like, step by step: frames of a corpus, or sounds of its own synthesizer."""

from __future__ import annotations

from typing import NamedTuple, Optional, Protocol, Sequence

import numpy as np

from audio_separation.envs.synth.instrument import Instrument
from audio_separation.errors import UserError


class Piece(NamedTuple):
    """A file of the corpus.

    Attributes:
        name: of the file.
        steps: scaled descriptors of each control period, ``[T, D]``.
    """

    name: str
    steps: np.ndarray


class Target(Protocol):
    """The target of one episode.

    Attributes:
        mode: what it is, one of :data:`MODES` that mixes nothing.
        name: of the piece, empty where there is none.
        start: step of the piece that the episode begins at.
        params: ``[P]`` that sound like it, None of a piece.
    """

    mode: str
    name: str
    start: int
    params: Optional[np.ndarray]

    def at(self, step: int) -> Optional[np.ndarray]:
        """Scaled descriptors ``[D]`` at ``step``, asked for in order; None after the end."""


def periods(frames: np.ndarray, count: int) -> np.ndarray:
    """Means of ``count`` frames each: ``[N, D]`` -> ``[N // count, D]``; a rest is dropped."""
    whole = len(frames) // count
    return frames[: whole * count].reshape(whole, count, frames.shape[1]).mean(1)


class PieceTarget:
    """A piece of the corpus from step ``start`` on."""

    mode = "corpus"

    def __init__(self, piece: Piece, start: int):
        self.params: Optional[np.ndarray] = None
        self.name, self._steps, self.start = piece.name, piece.steps, start

    def at(self, step: int) -> Optional[np.ndarray]:
        place = self.start + step
        return self._steps[place] if place < len(self._steps) else None


class RandomTarget:
    """Sounds of the synthesizer itself, with drawn parameters, drawn anew with chance ``change`` at each step."""

    name, start = "", 0

    def __init__(self, instrument: Instrument, change: float, rng: np.random.Generator):
        self.mode = "dynamic_random" if change else "static_random"
        self._instrument, self._change, self._rng = instrument, change, rng
        self._draw()

    def _draw(self) -> None:
        self.params: Optional[np.ndarray] = self._rng.random(self._instrument.num_params)
        self._sound = self._instrument.sound(self.params)

    def at(self, step: int) -> Optional[np.ndarray]:
        if step and self._change and self._rng.random() < self._change:
            self._draw()
        return self._sound


MODES = {
    "corpus": ("corpus",),
    "static_random": ("static_random",),
    "dynamic_random": ("dynamic_random",),
    "mixed_random": ("static_random", "dynamic_random"),
    "mixed_random+corpus": ("static_random", "corpus", "dynamic_random", "corpus"),
}


def draw_target(
    targets: str,
    pieces: Sequence[Piece],
    instrument: Instrument,
    change: float,
    max_steps: int,
    rng: np.random.Generator,
) -> Target:
    """Draw the target of an episode; one kind of those that ``targets`` mixes, evenly.

    A piece is drawn by its length, and begins where ``max_steps`` of it are left, if it has as many. One of a single
    step is never drawn: after the first action nothing of it would be left.

    Args:
        targets: SYNTH.TARGETS.
        change: chance of a new dynamic target at each step.
    """
    kinds = MODES[targets]
    kind = kinds[int(rng.integers(len(kinds)))]
    if kind != "corpus":
        return RandomTarget(instrument, change if kind == "dynamic_random" else 0.0, rng)
    pieces = [piece for piece in pieces if len(piece.steps) > 1]
    lengths = np.array([len(piece.steps) for piece in pieces], float)
    piece = pieces[int(rng.choice(len(pieces), p=lengths / lengths.sum()))]
    return PieceTarget(piece, int(rng.integers(max(1, len(piece.steps) - max_steps))))


def check_pieces(pieces: Sequence[Piece], targets: str, where: str) -> None:
    """Refuse a corpus without a whole control period of sound.

    Raises:
        UserError: that names ``where``.
    """
    if "corpus" in MODES[targets] and not any(len(piece.steps) > 1 for piece in pieces):
        raise UserError(
            f"{where} holds no sound of two control periods or more, which SYNTH.TARGETS {targets} needs; analyse "
            "longer recordings: python scripts/analyze_corpus.py"
        )
