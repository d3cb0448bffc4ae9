"""Binaural room impulse responses (RIRs) on disk: the SoundSpaces WAV tree, packed scenes, or both.

Every store answers ``load(scene, azimuth, receiver, source)`` with float32 ``[C, L]`` (left, right). What
cannot be read is a UserError that names the file; with ``on_missing="skip"`` it is one sample of silence
instead, and the pair is listed in ``skipped`` (DESIGN section 4).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import gcd
from pathlib import Path
from typing import Collection, Iterable, Optional

import numpy as np
import scipy.signal

from audio_separation.audio.prefetch import Prefetcher
from audio_separation.audio.wav import BrokenWav, read_wav, read_wav_header
from audio_separation.errors import UserError

RirKey = tuple[str, int, int, int]  # scene, azimuth in degrees, receiver node, source node

NUM_EARS = 2
ON_MISSING = ("error", "skip")
READ_CURE = "restore it, or set AUDIO.MISSING_RIR skip to leave such pairs out"


class UnreadableRir(UserError):
    """One RIR is missing or broken; the only fault that ``on_missing="skip"`` passes over.

    Attributes:
        fault: what is wrong with the file, as "is empty"; "" where there is no more to say than the message.
    """

    def __init__(self, message: str, fault: str = "") -> None:
        super().__init__(message)
        self.fault = fault

    @classmethod
    def of_file(cls, path: Path, fault: str) -> UnreadableRir:
        """Return the error of a file: "<path> is empty: <cure>"."""
        return cls(f"{path} {fault}: {READ_CURE}", fault)


class RirStore(ABC):
    """Base of the stores: what to do about a RIR that cannot be read.

    Attributes:
        rate: samples per second of every RIR that ``load`` returns.
        skipped: the pairs that were skipped, each with the reason (only with ``on_missing="skip"``).
    """

    def __init__(self, rate: int = 16000, on_missing: str = "error") -> None:
        if on_missing not in ON_MISSING:
            raise UserError(f"AUDIO.MISSING_RIR is {on_missing!r}, expected one of {', '.join(ON_MISSING)}")
        self.rate = rate
        self.on_missing = on_missing
        self.skipped: dict[RirKey, str] = {}

    def load(self, scene: str, azimuth: int, receiver: int, source: int) -> np.ndarray:
        """Return the RIR, float32 ``[C, L]`` with ``L`` >= 1.

        ``azimuth`` is in degrees: ``-rotation mod 360`` of the listener.

        Raises:
            UserError: the RIR is missing or broken and ``on_missing`` is "error"; or the whole scene is.
        """
        try:
            return self._read(scene, azimuth, receiver, source)
        except UnreadableRir as error:
            if self.on_missing == "error":
                raise
            self.skipped[(scene, azimuth, receiver, source)] = str(error)
            return np.zeros((NUM_EARS, 1), np.float32)

    def prefetch(self, keys: Iterable[RirKey]) -> None:  # noqa: B027 - a store need not do anything
        """Say which RIRs will be loaded soon, in that order; changes nothing but the time ``load`` takes.

        What is wrong with a RIR is raised when it is loaded; a whole scene that cannot be opened, here or there.
        """

    @abstractmethod
    def max_samples(self, scene: str) -> int:
        """Return the length of the scene's longest RIR at ``rate``."""

    @abstractmethod
    def _read(self, scene: str, azimuth: int, receiver: int, source: int) -> np.ndarray:
        """Read one RIR or raise :class:`UnreadableRir`."""


class WavRirStore(RirStore):
    """SoundSpaces' tree ``root/<scene>/<azimuth>/<receiver>_<source>.wav`` (its archives also use ``-``).

    ``convert`` lists the other rates of files that are resampled to ``rate`` (None: any); a file of a rate that is
    not among them is an error, since it is usually of the wrong dataset. With ``prefetch_threads`` that many
    threads read what ``prefetch`` names.
    """

    def __init__(
        self,
        root: Path,
        rate: int = 16000,
        on_missing: str = "error",
        convert: Optional[Collection[int]] = (),
        prefetch_threads: int = 0,
    ) -> None:
        super().__init__(rate, on_missing)
        self.root = existing_root(root)
        self.convert = convert
        self._longest: dict[str, int] = {}
        self._ahead: Optional[Prefetcher[RirKey, np.ndarray]] = None
        if prefetch_threads:
            self._ahead = Prefetcher(self._read_file, prefetch_threads)

    def prefetch(self, keys: Iterable[RirKey]) -> None:
        """Begin to read the files in threads, where the store was given any."""
        if self._ahead is not None:
            self._ahead.start(keys)

    def max_samples(self, scene: str) -> int:
        """Return the length of the longest RIR: reads every header of the scene (slow the first time)."""
        if scene not in self._longest:
            folder = self._scene_folder(scene)
            lengths = [_header_samples(path, self.rate) for path in sorted(folder.glob("*/*.wav"))]
            longest = max(lengths, default=0)
            if longest == 0:
                raise UserError(f"{folder} holds no readable WAV file, expected <azimuth>/<r>_<s>.wav in it")
            self._longest[scene] = longest
        return self._longest[scene]

    def _scene_folder(self, scene: str) -> Path:
        folder = self.root / scene
        if not folder.is_dir():
            raise UserError(
                f"{folder} is missing, expected the scene's folder of RIRs: download or generate it"
            )
        return folder

    def _read(self, scene: str, azimuth: int, receiver: int, source: int) -> np.ndarray:
        key = (scene, azimuth, receiver, source)
        return self._read_file(key) if self._ahead is None else self._ahead.take(key)

    def _read_file(self, key: RirKey) -> np.ndarray:
        scene, azimuth, receiver, source = key
        folder = self._scene_folder(scene) / str(azimuth)
        path = folder / f"{receiver}_{source}.wav"
        dashed = folder / f"{receiver}-{source}.wav"
        if not path.exists() and dashed.exists():
            path = dashed
        try:
            samples, rate, _ = read_wav(path, "float32", READ_CURE)
        except BrokenWav as error:
            raise UnreadableRir.of_file(path, error.fault) from None
        if samples.shape[1] != NUM_EARS:
            raise UnreadableRir.of_file(
                path, f"has {samples.shape[1]} channel(s), expected {NUM_EARS} (left, right)"
            )
        if not np.isfinite(samples).all():
            raise UnreadableRir.of_file(path, "holds values that are not finite (NaN or inf)")
        rir = np.ascontiguousarray(samples.T)  # [L, C] -> [C, L]
        if rate != self.rate:
            if self.convert is not None and rate not in self.convert:
                expected = " or ".join(str(r) for r in sorted({self.rate, *self.convert}))
                raise UserError(
                    f"{path} has a rate of {rate} Hz, expected {expected} Hz: take the responses of this dataset; "
                    f"those of a dataset of your own can be converted with scripts/pack_rirs.py"
                )
            rir = resample_rir(rir, rate, self.rate)
        return rir


def resample_rir(rir: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Resample ``rir [C, L]`` so that the room's gain stays: the taps scale with ``rate / new_rate``.

    A RIR is a filter, not a signal: at half the rate it has half as many taps to sum over, so each must be
    twice as tall for the same output level.
    """
    common = gcd(rate, new_rate)
    out = scipy.signal.resample_poly(rir, new_rate // common, rate // common, axis=-1) * (rate / new_rate)
    return np.ascontiguousarray(out, dtype=np.float32)


def open_rir_store(
    root: Path,
    kind: str = "auto",
    rate: int = 16000,
    on_missing: str = "error",
    convert: Optional[Collection[int]] = (),
    prefetch_threads: int = 0,
) -> RirStore:
    """Open ``root`` = ``sound_spaces/binaural_rirs/<dataset>``.

    ``kind``: ``packed`` (``root/<scene>.safetensors``), ``wav`` (the tree), or ``auto``: for each scene the
    packed file where there is one, else the tree. ``convert`` and ``prefetch_threads`` are the tree's.

    Raises:
        UserError: unknown ``kind`` or ``on_missing``, or ``root`` is missing.
    """
    from audio_separation.audio.packed_rirs import PackedRirStore  # it builds on this module

    if kind == "packed":
        return PackedRirStore(root, rate, on_missing)
    if kind in ("wav", "auto"):
        tree = WavRirStore(root, rate, on_missing, convert, prefetch_threads)
        return tree if kind == "wav" else _EitherRirStore(PackedRirStore(root, rate, on_missing), tree)
    raise UserError(f"AUDIO.RIR_STORE is {kind!r}, expected auto, packed or wav")


class _EitherRirStore(RirStore):
    """For each scene the first store if it has the scene, else the second."""

    def __init__(self, packed: RirStore, tree: WavRirStore) -> None:
        super().__init__(tree.rate, tree.on_missing)
        self.root = tree.root
        self._packed = packed
        self._tree = tree
        self._chosen: dict[str, RirStore] = {}

    def _of(self, scene: str) -> RirStore:
        if scene not in self._chosen:
            file, folder = self.root / f"{scene}.safetensors", self.root / scene
            if not file.is_file() and not folder.is_dir():
                raise UserError(
                    f"{file} and the folder {folder} are missing, expected the scene's RIRs as one or the "
                    f"other: download or generate them"
                )
            self._chosen[scene] = self._packed if file.is_file() else self._tree
        return self._chosen[scene]

    def max_samples(self, scene: str) -> int:
        return self._of(scene).max_samples(scene)

    def prefetch(self, keys: Iterable[RirKey]) -> None:
        keys = list(keys)
        for store in (self._packed, self._tree):
            store.prefetch([key for key in keys if self._of(key[0]) is store])

    def _read(self, scene: str, azimuth: int, receiver: int, source: int) -> np.ndarray:
        return self._of(scene)._read(scene, azimuth, receiver, source)


def existing_root(root: Path) -> Path:
    root = Path(root)
    if not root.is_dir():
        raise UserError(
            f"{root} is missing, expected a folder of RIRs: run scripts/generate_homes.py, or link "
            f"SoundSpaces' binaural_rirs there"
        )
    return root


def _header_samples(path: Path, rate: int) -> int:
    try:
        header = read_wav_header(path, READ_CURE)
    except BrokenWav:
        return 0  # empty and truncated files occur in the published archive; load() names them
    return -(-header.frames * rate // header.rate)
