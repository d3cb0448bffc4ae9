"""Binaural room impulse responses of a home: what both engines share.

Conventions. Microphones and sources are EAR_HEIGHT_M above their nodes. An agent with rotation r (degrees,
counter-clockwise about +Y, 0 facing -Z) hears the responses of azimuth -r mod 360; channel 0 is the left ear.
Sample n of a response is the time n / 16000 s after the source emitted: the direct sound of a source at
distance d lies at d / 343 s. Levels are physical relative to one another: one gain, GAIN, for the whole
dataset, chosen so that a source 1 m straight to one side has a direct peak of 0.5 at that ear and mixtures of
clips with an RMS of 0.05-0.1 do not clip.

A node that is both receiver and source: the source sits SAME_NODE_DROP_M straight below the microphones (as if
the agent stood over it), so that it is near, but neither to the left nor ahead, for all four headings.
"""

from __future__ import annotations

import sys
from typing import Protocol

import numpy as np

from audio_separation.errors import UserError
from audio_separation.scenes.generate.home import EAR_HEIGHT_M, Home
from audio_separation.scenes.generate.mesh import HomeMesh

RATE_HZ = 16000
SOUND_SPEED_M_S = 343.0
AZIMUTHS = (0, 90, 180, 270)
GAIN = 0.7
SAME_NODE_DROP_M = 0.35
TAIL_DB = -70.0
MAX_LENGTH_S = 1.0

Key = tuple  # (azimuth, receiver, source)


class Engine(Protocol):
    """Simulates responses from one receiver node."""

    name: str
    settings: dict[str, object]

    def responses(self, receiver: int, sources: list[int]) -> dict[tuple[int, int], np.ndarray]:
        """(azimuth, source) -> float [2, L] at RATE_HZ, true delays, before GAIN and trimming."""
        ...


def engine_named(choice: str) -> tuple[str, str]:
    """Resolves `auto`, `rlr` or `pyroomacoustics` to an engine that can be imported, and its version.

    `auto` takes rlr-audio-propagation, and says on stderr when it has to fall back to pyroomacoustics.

    Raises:
        UserError: unknown choice, or the chosen engine cannot be imported.
    """
    from importlib.metadata import version

    if choice not in ("auto", "rlr", "pyroomacoustics"):
        raise UserError(f"--engine {choice}: expected auto, rlr or pyroomacoustics.")
    if choice in ("auto", "rlr"):
        try:
            import rlr_audio_propagation  # noqa: F401

            return "rlr", version("rlr-audio-propagation")
        except ImportError as error:
            if choice == "rlr":
                raise UserError(
                    f"--engine rlr: rlr-audio-propagation cannot be imported ({error}); pip install "
                    "rlr-audio-propagation (it needs a C++ compiler), or use --engine pyroomacoustics."
                ) from error
            print(
                f"generate_homes: rlr-audio-propagation cannot be imported ({error}); using pyroomacoustics, "
                "a simpler acoustic model.",
                file=sys.stderr,
            )
    try:
        import pyroomacoustics  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"--engine {choice}: no acoustic engine can be imported ({error}); pip install pyroomacoustics."
        ) from error
    return "pyroomacoustics", version("pyroomacoustics")


def make_engine(name: str, home: Home, mesh: HomeMesh, rays: int) -> Engine:
    """The engine `rlr` or `pyroomacoustics` for one home; `rays` indirect rays a receiver and heading."""
    if name == "rlr":
        from audio_separation.scenes.generate.acoustics_rlr import RlrEngine

        return RlrEngine(home, mesh, rays)
    from audio_separation.scenes.generate.acoustics_pra import PyroomEngine

    return PyroomEngine(home)


def ear_position(home: Home, node: int) -> np.ndarray:
    """Where the microphones and sources of a node are, Habitat frame [3]."""
    return home.positions[node] + (0.0, EAR_HEIGHT_M, 0.0)


def source_position(home: Home, source: int, receiver: int) -> np.ndarray:
    """Where the source of a pair sits: at its node's ear height, lower when it is the receiver's own node."""
    drop = SAME_NODE_DROP_M if source == receiver else 0.0
    return ear_position(home, source) - (0.0, drop, 0.0)


def simulate_receiver(
    engine: Engine, receiver: int, sources: list[int], tail_db: float = TAIL_DB
) -> list[tuple[Key, np.ndarray]]:
    """All finished responses of one receiver: ((azimuth, receiver, source), float32 [2, L])."""
    found = engine.responses(receiver, sources)
    out = []
    for azimuth in AZIMUTHS:
        for source in sources:
            response = trim_tail(GAIN * found[azimuth, source], tail_db)
            out.append(((azimuth, receiver, source), response.astype(np.float32)))
    return out


def trim_tail(response: np.ndarray, tail_db: float = TAIL_DB, max_samples: int | None = None) -> np.ndarray:
    """Cuts a response [C, L] where the energy that remains falls below `tail_db` of the whole.

    At least one sample is kept, at most `max_samples` (default MAX_LENGTH_S).
    """
    limit = int(MAX_LENGTH_S * RATE_HZ) if max_samples is None else max_samples
    remaining = np.cumsum((response**2).sum(axis=0)[::-1])[::-1]
    above = np.flatnonzero(remaining > remaining[0] * 10 ** (tail_db / 10))
    length = int(above[-1]) + 1 if len(above) else 1
    return response[:, : min(length, limit)]


def reverberation_time(response: np.ndarray, rate: int = RATE_HZ, low_db: float = -25.0) -> float:
    """RT60 in seconds by Schroeder's backward integration of a response [C, L], ears added.

    A line is fitted to the decay between -5 dB and `low_db` and extended to -60 dB; nan where the response
    does not decay that far.
    """
    energy = np.cumsum((np.asarray(response, float) ** 2).sum(axis=0)[::-1])[::-1]
    if energy[0] <= 0:
        return float("nan")
    level = 10 * np.log10(np.maximum(energy / energy[0], 1e-12))
    start, stop = int(np.argmax(level < -5)), int(np.argmax(level < low_db))
    if stop - start < 8:
        return float("nan")
    slope = np.polyfit(np.arange(start, stop) / rate, level[start:stop], 1)[0]
    return float(-60 / slope)
