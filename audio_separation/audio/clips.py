"""The corpus of source clips on disk (DESIGN section 3): mono int16 WAV files of 16 kHz, a folder a split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Protocol

import numpy as np

from audio_separation.audio.cache import ByteLru
from audio_separation.audio.stft import RATE
from audio_separation.audio.wav import read_wav
from audio_separation.errors import UserError

_CURE = "make one with scripts/generate_homes.py (--sounds-only: without homes) or scripts/prepare_audio.py"
_DISTRACTOR_ONLY = ("esc",)  # AAViDSS: environmental sounds are never a target
_CONFIGS = Path(__file__).resolve().parents[2] / "configs"
PUBLISHED_CLASSES = {  # folders of the corpora of AAViDSS and Move2Hear -> their classes (CLASS_NAMES_TO_LABELS)
    "libriSpeech100Classes_MITMusic_ESC50": _CONFIGS / "aavidss_classes.json",
    "VoxCelebV1TenClasses_MITMusic_ESC50": _CONFIGS / "move2hear_classes.json",
}


class ClipSource(Protocol):
    """What the renderer asks of a corpus."""

    def samples(self, name: str) -> np.ndarray:
        """Return the int16 samples ``[L]`` of clip ``name`` at 16 kHz, at least one second of them."""


class ClipLibrary:
    """The clips of one split, read on demand and cached (at most ``cache_mb`` of samples).

    Args:
        root: ``data/audio_data/<corpus>``; the clips lie in
            ``root/min20s_clips/<split>_preprocessed/<class>_<id>.wav``.
        split: ``train`` (= heard), ``valUnheard`` or ``testUnheard``.

    Clip names carry no ``.wav``; names that do are accepted. A class's label is its position in ``classes``:
    the order of ``root/classes.json`` where there is one, else the published order where ``root`` has the name of
    a published corpus, else the sorted classes of the ``train`` split with those that are only ever distractors
    last.

    Raises:
        UserError: the folder is missing or has no clips, ``classes.json`` is malformed, or a clip's class is
            not among the corpus' classes.
    """

    def __init__(self, root: Path, split: str, cache_mb: float = 1024) -> None:
        self.root = Path(root)
        self.split = split
        self.folder = clip_folder(self.root, split)
        self._names = clip_names(self.folder)
        self.classes, self.distractor_only = read_classes(self.root)
        self._label = {name: i for i, name in enumerate(self.classes)}
        self._by_class: dict[str, list[str]] = {name: [] for name in self.classes}
        for name in self._names:
            if class_of(name) not in self._by_class:
                known = f"{len(self.classes)} classes such as {', '.join(self.classes[:3])}"
                raise UserError(
                    f"{self.folder / (name + '.wav')} is of class {class_of(name)!r}, which is not among "
                    f"the corpus' {known}: add it to {self.root / 'classes.json'} or rename the clip"
                )
            self._by_class[class_of(name)].append(name)
        self._known = set(self._names)
        self._cache: ByteLru[str, np.ndarray] = ByteLru(int(cache_mb * 2**20))
        self._seconds: dict[str, int] = {}

    def names(self) -> list[str]:
        """Return the sorted names of all clips of the split."""
        return list(self._names)

    def class_of(self, name: str) -> str:
        """Return the class of clip ``name``: the text before its first ``_``."""
        return class_of(self._key(name))

    def label_of(self, name: str) -> int:
        """Return the label of clip ``name``: its class's position in ``classes``."""
        return self._label[self.class_of(name)]

    def by_class(self, name: str) -> list[str]:
        """Return the sorted clip names of class ``name`` (empty where the split has none).

        Raises:
            UserError: the corpus has no such class.
        """
        if name not in self._by_class:
            raise UserError(f"{self.root} has no class {name!r}; it has {', '.join(self.classes)}")
        return list(self._by_class[name])

    def num_seconds(self, name: str) -> int:
        """Return the whole seconds of clip ``name``; what is left over is never played."""
        key = self._key(name)
        if (
            key not in self._seconds
        ):  # asked for every episode that is drawn, long after the samples have gone
            self._seconds[key] = len(self.samples(key)) // RATE
        return self._seconds[key]

    def samples(self, name: str) -> np.ndarray:
        """Return the int16 samples ``[L]`` of clip ``name``, read-only.

        Raises:
            UserError: unknown clip; or a file that is not a whole, mono, 16-bit WAV of 16 kHz and one second
                or more.
        """
        key = self._key(name)
        found = self._cache.get(key)
        if found is None:
            found = _read_clip(self.folder / f"{key}.wav")
            self._cache.put(key, found, found.nbytes)
        return found

    def _key(self, name: str) -> str:
        key = name[:-4] if name.endswith(".wav") else name
        if key not in self._known:
            raise UserError(
                f"{self.folder} has no clip {key!r} (it holds {len(self._names)} clips, such as "
                f"{self._names[0]!r}): use the corpus and split that the dataset was made with"
            )
        return key


def clip_folder(root: Path, split: str) -> Path:
    """Return the folder of a split's clips in the corpus ``root``.

    Move2Hear's corpus has clips of one second only, right below ``root``, and calls the unheard splits ``val`` and
    ``test``: there ``valUnheard`` is ``root/val_preprocessed``.
    """
    if not (root / "min20s_clips").is_dir():
        for name in (split, split.removesuffix("Unheard")):
            if (root / f"{name}_preprocessed").is_dir():
                return root / f"{name}_preprocessed"
    return root / "min20s_clips" / f"{split}_preprocessed"


def read_classes(root: Path) -> tuple[list[str], set[str]]:
    """Return the classes of the corpus ``root`` in the order of their labels, and those that are never a target.

    Raises:
        UserError: ``classes.json`` is malformed, or there is neither it nor a ``train`` split to take them from.
    """
    path = root / "classes.json"
    if path.is_file() or root.name in PUBLISHED_CLASSES:
        return parse_classes(path if path.is_file() else PUBLISHED_CLASSES[root.name])
    train = clip_folder(root, "train")
    if not train.is_dir():
        # labels count the classes of `train`; those of another split alone would be other labels
        raise UserError(f"{path} and {train} are missing, so the class labels are unknown: {_CURE}")
    found = {class_of(name) for name in clip_names(train)}
    last = sorted(found.intersection(_DISTRACTOR_ONLY))
    return sorted(found.difference(last)) + last, set(last)


def class_of(name: str) -> str:
    """Return the class of a clip: the text before the first ``_`` of its name."""
    return name.split("_", 1)[0]


def clip_names(folder: Path) -> list[str]:
    """Return the sorted names of the clips in a folder, without ``.wav``.

    Raises:
        UserError: it is missing, or holds none.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is missing, expected a folder of WAV clips: {_CURE}")
    names = sorted(path.stem for path in folder.glob("*.wav"))
    if not names:
        raise UserError(f"{folder} holds no WAV clip: {_CURE}")
    return names


def parse_classes(path: Path) -> tuple[list[str], set[str]]:
    """Read a ``classes.json``: the classes in the order of their labels, and those that are never a target.

    Raises:
        UserError: it cannot be read or is malformed.
    """
    wanted = '{"classes": [name, ...], "distractor_only": [name, ...]}'
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        classes, distractors = tree["classes"], tree.get("distractor_only", [])
        lists = [classes, distractors]
        good = all(isinstance(x, list) and all(isinstance(name, str) for name in x) for x in lists)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        good = False
    if not good:
        raise UserError(
            f"{path} is malformed, expected {wanted}: correct it, or delete it to sort the classes"
        )
    if len(set(classes)) != len(classes) or not set(distractors) <= set(classes):
        raise UserError(
            f"{path} names a class twice, or a distractor_only that is not in classes: correct it"
        )
    return classes, set(distractors)


def _read_clip(path: Path) -> np.ndarray:
    # float files are refused, not converted: libsndfile reads their -1..1 as the integers -1, 0 and 1
    samples, rate, subtype = read_wav(path, "int16", "make it again with scripts/prepare_audio.py")
    cure = "convert it with scripts/prepare_audio.py"
    if rate != RATE:
        raise UserError(f"{path} has a rate of {rate} Hz, expected {RATE} Hz: {cure}")
    if samples.shape[1] != 1:
        raise UserError(f"{path} has {samples.shape[1]} channels, expected mono: {cure}")
    if subtype != "PCM_16":
        raise UserError(f"{path} holds {subtype} samples, expected 16-bit PCM: {cure}")
    if len(samples) < RATE:
        raise UserError(
            f"{path} lasts {len(samples)} samples, expected at least one second ({RATE}): remove it"
        )
    mono = np.ascontiguousarray(samples[:, 0])
    mono.flags.writeable = False
    return mono
