"""Packed RIRs of version 1, which the readers still take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import safetensors.numpy


def write_version_1(path: Path, rirs: dict[tuple[int, int, int], np.ndarray], **changes: np.ndarray) -> None:
    """The former format: interleaved samples, no checksums, nothing on broken pairs."""
    keys = sorted(rirs, key=lambda key: (key[1], key[2], key[0]))
    peaks = [np.abs(rirs[key]).max() for key in keys]
    arrays: dict[str, np.ndarray] = {
        "data": np.vstack([rirs[key].T / peak for key, peak in zip(keys, peaks)]).astype(np.float16, "C"),
        "scale": np.array(peaks, np.float32),
        "length": np.array([rirs[key].shape[1] for key in keys]),
        "azimuth": np.array([key[0] for key in keys]),
        "receiver": np.array([key[1] for key in keys]),
        "source": np.array([key[2] for key in keys]),
    }
    arrays["offset"] = np.cumsum(arrays["length"]) - arrays["length"]
    metadata = {"format": "audio_separation/packed_rirs", "version": "1", "rate": "16000"}
    safetensors.numpy.save_file({**arrays, **changes}, path, metadata)
