"""Impulse responses of a room at the agent's ears, by pyroomacoustics' image sources.

A room whose microphones are replaced keeps the old microphones' visibility of the image sources, so every pose gets
a fresh room. What costs most of pyroomacoustics' time is left out: its zero-phase high-pass filter of 10 Hz, which
would also sound before the direct sound does.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator, Sequence

import numpy as np
import pyroomacoustics as pra

from audio_separation.audio.cache import ByteLru
from audio_separation.envs.audition.rooms import Point, RoomPlan

# one thread: sums are then added up in the same order on every machine
_CONSTANTS = {"rir_hpf_enable": False, "num_threads": 1}


def filter_delay() -> int:
    """Samples by which every response comes late: half of pyroomacoustics' fractional-delay filters."""
    return pra.constants.get("frac_delay_length") // 2


def simulate_responses(
    plan: RoomPlan, sources: Sequence[Point], ears: Sequence[Point], rate_hz: int
) -> list[np.ndarray]:
    """Simulate the room afresh.

    Args:
        plan: the room.
        sources: points ``[S, 2]``, metres.
        ears: points ``[C, 2]``, metres.

    Returns:
        For each source float32 ``[C, K]``, K of its own, :func:`filter_delay` samples late. The direct sound has
        amplitude 1 / metres. An ear that no image source of the order reaches hears zeros.
    """
    with _constants():
        room = _make_room(plan, sources, ears, rate_hz)
        room.image_source_model()
        heard = np.array([[bool(np.any(ear)) for ear in source] for source in room.visibility])
        if heard.all():
            room.compute_rir()
            return [_stack([room.rir[c][s] for c in range(len(ears))]) for s in range(len(sources))]
    if heard.size == 1:
        return [np.zeros((1, 1), np.float32)]
    # pyroomacoustics fails, or lets the direct sound through the wall, where an ear sees no image of a source
    pairs = [[simulate_responses(plan, [source], [ear], rate_hz)[0][0] for ear in ears] for source in sources]
    return [_stack(pair) for pair in pairs]


class ResponseCache:
    """Responses by room, source and ears; only those asked for are computed.

    Args:
        rate_hz: sampling rate.
        max_bytes: bound on what is kept.
    """

    def __init__(self, rate_hz: int, max_bytes: int) -> None:
        self.rate_hz = rate_hz
        self.cache: ByteLru[tuple, np.ndarray] = ByteLru(max_bytes)

    def responses(
        self, plan: RoomPlan, sources: Sequence[Point], ears: tuple[Point, Point]
    ) -> list[np.ndarray]:
        """Return what :func:`simulate_responses` would, read-only, in one simulation of those not kept."""
        found = [self.cache.get((plan, source, ears)) for source in sources]
        missing = [source for source, response in zip(sources, found) if response is None]
        made = iter(simulate_responses(plan, missing, ears, self.rate_hz) if missing else [])
        out = []
        for source, response in zip(sources, found):
            if response is None:
                response = next(made)
                response.flags.writeable = False
                self.cache.put((plan, source, ears), response, response.nbytes)
            out.append(response)
        return out


@contextmanager
def _constants() -> Iterator[None]:
    """Settings that pyroomacoustics keeps for the whole process, put back afterwards."""
    before = {name: pra.constants.get(name) for name in _CONSTANTS}
    try:
        for name, value in _CONSTANTS.items():
            pra.constants.set(name, value)
        yield
    finally:
        for name, value in before.items():
            pra.constants.set(name, value)


def _make_room(plan: RoomPlan, sources: Sequence[Point], ears: Sequence[Point], rate_hz: int) -> pra.Room:
    # a material is changed by its room (resampled to bands), so each room has its own
    material = pra.Material(plan.material or plan.absorption)
    corners = np.array(plan.corners)
    if plan.shape == "shoebox":
        size = corners.max(0).tolist() + ([plan.height_m] if plan.height_m else [])
        room = pra.ShoeBox(size, fs=rate_hz, materials=material, max_order=plan.max_order)
    else:
        room = pra.Room.from_corners(corners.T, fs=rate_hz, materials=material, max_order=plan.max_order)
        if plan.height_m:
            room.extrude(plan.height_m, materials=pra.Material(plan.material or plan.absorption))
    level = [plan.height_m / 2] if plan.height_m else []
    for source in sources:
        room.add_source([*source, *level])
    room.add_microphone_array(np.array([[*ear, *level] for ear in ears]).T)
    return room


def _stack(responses: Sequence[np.ndarray]) -> np.ndarray:
    """Responses of both ears, the shorter ones padded with zeros: float32 [C, K]."""
    out = np.zeros((len(responses), max(map(len, responses))), np.float32)
    for ear, response in enumerate(responses):
        out[ear, : len(response)] = response
    return out
