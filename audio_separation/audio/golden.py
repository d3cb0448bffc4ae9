"""Parity with the published simulator and metrics: their recorded outputs against ours (DESIGN section 9)."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from audio_separation.audio.metrics import (
    PUBLISHED_N_FFT,
    si_bss_eval,
    si_sdr_from_mag,
    stft_l2,
    with_phase_of,
)
from audio_separation.audio.render import BinauralRenderer, Listeners
from audio_separation.audio.rir_store import RirStore
from audio_separation.audio.stft import RATE, istft
from audio_separation.errors import UserError

OBSERVATION_TOLERANCE = 2e-3  # of an array's largest value: the recording went through float16
STFT_L2_TOLERANCE = 1e-5
DB_TOLERANCE = 1e-3
NO_INTERFERENCE_DB = 120.0  # beyond this an SI-SIR is the rounding of a term that is zero

_OBSERVATION_KEYS = (
    "clip0", "clip1", "rir0", "rir1", "start", "gt_mono_mag_norm", "mixed_bin_audio_mag",
    "mixed_bin_audio_phase", "gt_bin_mag", "gt_mono_mag", "gt_mono_phase",
)  # fmt: skip
_METRIC_KEYS = (
    "log_mixed_bin_mag", "bin_masks", "gt_bin_mag", "gt_mono_mag", "gt_mono_phase", "pred_mono",
    "pred_refined", "stft_l2_bin", "stft_l2_mono", "mono_si_sdr", "refined_si_sdr",
)  # fmt: skip


class Deviation(NamedTuple):
    """Largest absolute error of one recorded output, and what is allowed."""

    error: float
    tolerance: float


class _TwoRirs(RirStore):
    """The recording's two responses: source node s is heard through ``rir<s>``."""

    def __init__(self, data: dict[str, np.ndarray]) -> None:
        super().__init__(RATE)
        self._rirs = [np.ascontiguousarray(data[f"rir{s}"].T) for s in range(2)]

    def max_samples(self, scene: str) -> int:
        return max(rir.shape[1] for rir in self._rirs)

    def _read(self, scene: str, azimuth: int, receiver: int, source: int) -> np.ndarray:
        return self._rirs[source]


class _TwoClips:
    """The recording's two clips, turned so that second 0 begins at the recorded start sample."""

    def __init__(self, data: dict[str, np.ndarray]) -> None:
        self._clips = {str(s): np.roll(data[f"clip{s}"], -int(data["start"][s])) for s in range(2)}

    def samples(self, name: str) -> np.ndarray:
        return self._clips[name]


def load_golden(path: Path, keys: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Read the arrays of a golden ``.npz`` file.

    Raises:
        UserError: missing, not an npz file, or without one of ``keys``.
    """
    cure = "point to a folder with the golden files, such as tests/golden"
    if not path.is_file():
        raise UserError(f"{path} is missing: {cure}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            data = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, AttributeError, TypeError, zipfile.BadZipFile):
        raise UserError(f"{path} is not a readable npz file: {cure}") from None
    absent = [key for key in keys if key not in data]
    if absent:
        raise UserError(f"{path} is another kind of file, it has no array {absent[0]!r}: {cure}")
    return data


def observation_errors(path: Path) -> dict[str, Deviation]:
    """Render the recorded scene in ``paper`` mode and compare with ``observation.npz``.

    Spectrograms whose phase was recorded are compared as complex values. A phase alone says nothing where
    the magnitude is tiny, where one unit of int16 turns it by any angle; in the complex difference it counts
    by its magnitude.
    """
    data = load_golden(path, _OBSERVATION_KEYS)
    renderer = BinauralRenderer(
        _TwoRirs(data), _TwoClips(data), mode="paper", mono_rms=float(data["gt_mono_mag_norm"])
    )
    sources = np.array([[0, 1], [0, 1], [1, 0], [1, 0]])  # each source as the target, at both steps
    names = [[str(node) for node in row] for row in sources]
    seconds = np.array([[0, 0], [1, 1]] * 2)
    nowhere = np.zeros(4, int)
    listeners = Listeners(["golden"] * 4, nowhere, nowhere, sources, names, seconds)
    ours = renderer.hear(listeners, target_bin=True, phases=True)._asdict()

    mix_logmag, mix_phase = _channels_first(data["mixed_bin_audio_mag"], data["mixed_bin_audio_phase"])
    mono_mag, mono_phase = _channels_first(data["gt_mono_mag"], data["gt_mono_phase"])
    (bin_mag,) = _channels_first(data["gt_bin_mag"])  # left and right of source 0, then of source 1
    # [4, c, F, N], target 0 at both steps then target 1 -> [2, 2 c, F, N] as recorded
    pairs = {
        "mix_logmag": (ours["mix_logmag"][:2], mix_logmag),
        "mix_stft": (ours["mix_stft"][:2], torch.polar(torch.expm1(mix_logmag), mix_phase)),
        "target_bin_mag": (torch.cat(ours["target_bin_mag"].chunk(2), 1), bin_mag),
        "target_mono_mag": (torch.cat(ours["target_mono_mag"].chunk(2), 1), mono_mag),
        "target_mono_stft": (
            torch.cat(ours["target_mono_stft"].chunk(2), 1),
            torch.polar(mono_mag, mono_phase),
        ),
    }
    return {
        name: Deviation(float((a - b).abs().max()), OBSERVATION_TOLERANCE * float(b.abs().max()))
        for name, (a, b) in pairs.items()
    }


def metric_errors(path: Path) -> dict[str, Deviation]:
    """Compute the metrics on the recorded spectrograms and compare with ``metrics.npz``.

    The published SI-SIR was computed with the target as the only reference, so its interference is zero
    and the recorded value the rounding of that: it agrees when both are beyond ``NO_INTERFERENCE_DB``.
    """
    data = load_golden(path, _METRIC_KEYS)
    mix_logmag, masks, bin_mag = _channels_first(
        data["log_mixed_bin_mag"], data["bin_masks"], data["gt_bin_mag"]
    )
    mono_mag, mono_phase, mono, refined = _channels_first(
        data["gt_mono_mag"], data["gt_mono_phase"], data["pred_mono"], data["pred_refined"]
    )
    true = torch.polar(mono_mag, mono_phase)
    ours = {
        "stft_l2_bin": 2 * stft_l2(masks * torch.expm1(mix_logmag), bin_mag),  # left ear plus right ear
        "stft_l2_mono": stft_l2(mono, mono_mag),
    }
    for name, est_mag in (("mono", mono), ("refined", refined)):
        est = istft(with_phase_of(est_mag, true), RATE, PUBLISHED_N_FFT)[:, 0]
        scores = si_bss_eval(est, istft(true, RATE, PUBLISHED_N_FFT))
        scores["si_sdr"] = si_sdr_from_mag(est_mag, true)
        ours.update({f"{name}_{key}": value for key, value in scores.items()})
    deviations = {}
    for name, value in ours.items():
        if name not in data:
            raise UserError(f"{path} is another kind of file, it has no array {name!r}: copy it anew")
        theirs = torch.from_numpy(np.atleast_1d(data[name])).double().flatten()
        tolerance = STFT_L2_TOLERANCE if name.startswith("stft_l2") else DB_TOLERANCE
        if name.endswith("si_sir"):
            value, theirs = value.clamp(max=NO_INTERFERENCE_DB), theirs.clamp(max=NO_INTERFERENCE_DB)
        deviations[name] = Deviation(float((value.flatten() - theirs).abs().max()), tolerance)
    return deviations


def _channels_first(*arrays: np.ndarray) -> list[torch.Tensor]:
    """``[..., F, N, c]`` as published to ``[..., c, F, N]``."""
    return [torch.from_numpy(np.moveaxis(array, -1, -3).copy()) for array in arrays]
