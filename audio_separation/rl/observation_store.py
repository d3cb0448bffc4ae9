"""Slots that hold observations, in main memory or in files, each kept for as long as something refers to it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Mapping, Optional

import numpy as np

from audio_separation.errors import UserError

Observation = Mapping[str, np.ndarray]  # float32 arrays by name, such as audio and pose
SUFFIX = ".replay"  # of the file that holds one part of all observations


class ObservationStore:
    """Slots for observations, counted by their users.

    Space is laid out when the first observation shows its shapes, but only slots that are written take memory or disk,
    and the lowest free one comes first.

    In files, what :meth:`save` has seen stays as it is until the next :meth:`save`, whatever is put and released in
    between: a process that is killed leaves the files as the last saved state needs them.

    Args:
        slots: that may be in use at a time.
        folder: of the files; None: main memory.
    """

    def __init__(self, slots: int, folder: Optional[Path] = None):
        slots *= 1 if folder is None else 2  # a saved state may need as many as the present one
        self._folder = folder
        self._arrays: dict[str, np.ndarray] = {}
        self._files: dict[str, int] = {}  # descriptors
        self._users = np.zeros(slots, np.int64)
        self._free = list(range(slots))[::-1]  # the last comes next
        self._saved = np.zeros(slots, bool)  # in files: needed by the last saved state
        self._waiting: list[int] = []  # without users, but needed by it

    # ---- slots --------------------------------------------------------------------------------------
    def put(self, observation: Observation) -> int:
        """Store an observation and return its slot, which has one user.

        Raises:
            UserError: the folder holds files that are not ours, or cannot be written to.
            ValueError: parts or shapes differ from those of the first observation.
        """
        if not self._arrays:
            self._lay_out({name: np.shape(part) for name, part in observation.items()}, fresh=True)
        shapes = {name: np.shape(part) for name, part in observation.items()}
        if shapes != {name: array.shape[1:] for name, array in self._arrays.items()}:
            raise ValueError(f"observations differ in shape: {shapes}")
        slot = self._free.pop()
        self._users[slot] = 1
        for name, part in observation.items():
            if self._folder is None:
                self._arrays[name][slot] = part
            else:
                self._write(name, slot, part)
        return slot

    def hold(self, slot: int) -> None:
        """One more user."""
        self._users[slot] += 1

    def release(self, slot: int) -> None:
        """One user less; without users a slot is free."""
        self._users[slot] -= 1
        if not self._users[slot]:
            (self._waiting if self._saved[slot] else self._free).append(slot)

    def read(self, slots: np.ndarray) -> dict[str, np.ndarray]:
        """Copies of the observations in ``slots``, ``[len(slots), ...]`` each."""
        return {name: array[slots] for name, array in self._arrays.items()}

    @property
    def in_use(self) -> int:
        """Slots that have users."""
        return int((self._users > 0).sum())

    # ---- state --------------------------------------------------------------------------------------
    def save(self) -> dict[str, np.ndarray]:
        """What :meth:`load` needs, as views: all slots up to the last in use, or the shapes where they lie in files."""
        if self._folder is None:
            end = int(np.flatnonzero(self._users)[-1]) + 1 if self.in_use else 0
            return {f"store_{name}": array[:end] for name, array in self._arrays.items()}
        for descriptor in self._files.values():
            os.fsync(descriptor)
        self._saved = self._users > 0
        self._free += self._waiting
        self._waiting = []
        return {f"shape_{name}": np.array(array.shape[1:]) for name, array in self._arrays.items()}

    def load(self, state: Mapping[str, np.ndarray], uses: np.ndarray) -> None:
        """Go on from :meth:`save`; ``uses`` names the slots in use, once for each user.

        Raises:
            UserError: the files are not there.
        """
        stored = {name[6:]: state[name] for name in state if name.startswith("store_")}
        shapes = {name: array.shape[1:] for name, array in stored.items()}
        shapes.update({name[6:]: tuple(state[name]) for name in state if name.startswith("shape_")})
        self._lay_out(shapes, fresh=False)
        for name, array in stored.items():
            self._arrays[name][: len(array)] = array
        self._users = np.bincount(uses, minlength=len(self._users))
        self._free = np.flatnonzero(self._users == 0)[::-1].tolist()
        if self._folder is not None:
            self._saved = self._users > 0

    def discard(self) -> None:
        """Close and delete the store's own files."""
        self._arrays = {}
        for name, descriptor in self._files.items():
            os.close(descriptor)
            self._path(name).unlink()
        self._files = {}

    # ---- files --------------------------------------------------------------------------------------
    def _lay_out(self, shapes: Mapping[str, tuple[int, ...]], fresh: bool) -> None:
        if self._folder is not None:
            self._check_folder(shapes, fresh)
        for name, shape in shapes.items():
            full = (len(self._users), *shape)
            self._arrays[name] = np.empty(full, np.float32) if self._folder is None else self._map(name, full)

    def _check_folder(self, shapes: Mapping[str, tuple[int, ...]], fresh: bool) -> None:
        assert self._folder is not None
        with _writing(self._folder):
            if fresh:
                self._folder.mkdir(parents=True, exist_ok=True)
            found = sorted(path.name for path in self._folder.iterdir()) if self._folder.exists() else []
        own = [] if fresh else sorted(self._path(name).name for name in shapes)
        if fresh and found:
            raise UserError(
                f"DQN.BUFFER_DIR {self._folder} holds files already ({', '.join(found[:3])}), expected an empty or new "
                "folder for each run; give another, or delete them if no run is to go on with them"
            )
        if found != own:
            raise UserError(
                f"DQN.BUFFER_DIR {self._folder} should hold the stopped run's {', '.join(own)}, found "
                f"{', '.join(found[:3]) or 'nothing'}; give the folder that the run was begun with"
            )

    def _map(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        path, size = self._path(name), 4 * int(np.prod(shape))
        with _writing(path):
            self._files[name] = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            found = os.fstat(self._files[name]).st_size
            if found not in (0, size):
                raise UserError(
                    f"{path} has {found} bytes, expected {size} with this DQN.BUFFER and NUM_PROCESSES; "
                    "give the folder that the run was begun with"
                )
            os.ftruncate(self._files[name], size)  # sparse: what is never written takes no place on the disk
        return np.memmap(path, np.float32, "r", shape=shape)

    def _write(self, name: str, slot: int, part: np.ndarray) -> None:
        # not through the map: a full disk is an error here, there it would kill the process
        raw = np.ascontiguousarray(part, np.float32).tobytes()
        with _writing(self._path(name)):
            if os.pwrite(self._files[name], raw, slot * len(raw)) != len(raw):
                raise OSError(None, "not all of it could be written: is the disk full?")

    def _path(self, name: str) -> Path:
        assert self._folder is not None
        return self._folder / (name + SUFFIX)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {path} ({error.strerror or error}); free some space or give another DQN.BUFFER_DIR, and run "
            "the same command again"
        ) from None
