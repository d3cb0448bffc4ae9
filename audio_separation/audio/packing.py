"""From a scene's WAV tree to its packed file: in parts that may be made in any process and survive a stop.

A part is a packed file of some hundred responses in the hidden folder ``.<scene>.packing`` beside the scene's.
Its name carries a digest of what it is made from, so a part that is there is whole and up to date, and a
stopped run goes on. When all parts are there they are joined by streaming; the result does not depend on how
often the run was stopped or in how many processes it ran.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Collection, NamedTuple, Optional

from audio_separation.audio.packed_rirs import (
    DTYPES,
    VERSION,
    PackedScene,
    Pair,
    pair_key,
    read_packed_metadata,
)
from audio_separation.audio.packed_writer import PackedWriter
from audio_separation.audio.rir_store import UnreadableRir, WavRirStore
from audio_separation.errors import UserError

RATE = 16000  # Hz, to which other trees are converted
PART_RESPONSES = 256  # 16 MB of responses of 1 s


class Part(NamedTuple):
    """Some responses of a scene, and the file that they are packed in first."""

    path: Path
    pairs: list[Pair]


class Plan(NamedTuple):
    """What there is to do for a scene.

    Attributes:
        target: the packed file.
        folder: where the parts lie until they are joined.
        parts: in the order of the result.
        tree_bytes: of all WAV files.
        digest: of the names, sizes and times of all WAV files.
    """

    target: Path
    folder: Path
    parts: list[Part]
    tree_bytes: int
    digest: str


def why_not_current(target: Path, dtype: str) -> Optional[str]:
    """Return what an existing packed file lacks; "" where nothing, None where there is no such file."""
    if not target.exists():
        return None
    try:
        metadata = read_packed_metadata(target)
    except UserError as error:
        return str(error)
    if metadata["version"] != VERSION:
        return f"{target} is of version {metadata['version']}, not {VERSION}"
    if metadata["dtype"] != dtype:
        return f"{target} is of dtype {metadata['dtype']}, not {dtype}"
    return ""


def plan_scene(root: Path, scene: str, dtype: str) -> Plan:
    """Divide the responses of ``root/<scene>/<azimuth>/<receiver>_<source>.wav`` (or ``-``) into parts.

    Raises:
        UserError: a WAV file has another name; a pair has two files; there is none.
    """
    assert dtype in DTYPES
    files = []
    for azimuth in os.scandir(root / scene):
        if azimuth.is_dir():
            with os.scandir(azimuth) as entries:
                files += [(_pair_of(azimuth.name, e), e) for e in entries if e.name.endswith(".wav")]
    if not files:
        raise UserError(f"{root / scene} holds no WAV file, expected <azimuth>/<receiver>_<source>.wav in it")
    (pair, count) = Counter(pair for pair, _ in files).most_common(1)[0]
    if count > 1:
        both = " and ".join(sorted(entry.path for found, entry in files if found == pair))
        raise UserError(f"{both} are the same pair: remove all but one")
    files.sort(key=lambda file: pair_key(*file[0]))  # the headings of a pair side by side, as they are read
    folder = _parts_folder(root, scene)
    parts: list[Part] = []
    tree_bytes = 0
    for begin in range(0, len(files), PART_RESPONSES):
        some = files[begin : begin + PART_RESPONSES]
        digest = hashlib.sha256(repr((VERSION, RATE, dtype)).encode())
        for _, entry in some:
            stat = entry.stat()
            digest.update(repr((entry.name, stat.st_size, stat.st_mtime_ns)).encode())
            tree_bytes += stat.st_size
        name = f"{len(parts):06d}-{digest.hexdigest()[:24]}.safetensors"
        parts.append(Part(folder / name, [pair for pair, _ in some]))
    names = "".join(part.path.name for part in parts)
    target = root / f"{scene}.safetensors"
    return Plan(target, folder, parts, tree_bytes, hashlib.sha256(names.encode()).hexdigest()[:24])


def tree_changed(root: Path, scene: str, dtype: str) -> bool:
    """Return whether the WAV files are others than those that the scene's packed file was made from."""
    plan = plan_scene(root, scene, dtype)
    return read_packed_metadata(plan.target).get("tree_digest") != plan.digest


def pair_of_name(name: str) -> tuple[int, int]:
    """Return receiver and source of ``<receiver>_<source>.wav``, or with ``-`` between them.

    Raises:
        ValueError: for any other name.
    """
    receiver, source = name[: -len(".wav")].replace("-", "_").split("_")
    return int(receiver), int(source)


def _pair_of(azimuth: str, entry: os.DirEntry) -> Pair:
    try:
        return (int(azimuth), *pair_of_name(entry.name))
    except ValueError:
        raise UserError(
            f"{entry.path} is not named <azimuth>/<receiver>_<source>.wav; move it elsewhere"
        ) from None


def _parts_folder(root: Path, scene: str) -> Path:
    return root / f".{scene}.packing"


def remove_leftovers(root: Path, scene: str) -> None:
    """Remove the parts of a scene that is packed: what a stop at the very end leaves."""
    folder = _parts_folder(root, scene)
    if folder.exists():
        shutil.rmtree(folder)


def prepare(plan: Plan) -> list[Part]:
    """Make the folder of parts, remove what is not of this plan, and return the parts that are not there."""
    plan.folder.mkdir(exist_ok=True)
    wanted = {part.path.name for part in plan.parts}
    for path in plan.folder.iterdir():
        if path.name not in wanted:
            path.unlink()
    return [part for part in plan.parts if not part.path.exists()]


def pack_part(root: Path, scene: str, part: Part, dtype: str, convert: Optional[Collection[int]]) -> int:
    """Pack one part, and record in it which responses cannot be read; returns how many files it covers.

    Raises:
        UserError: a file is of a rate that is neither ``RATE`` nor in ``convert`` (None: any).
    """
    store = WavRirStore(root, RATE, convert=convert)
    with PackedWriter(part.path, RATE, dtype, partial=True) as writer:
        for pair in part.pairs:
            try:
                writer.add(pair, store.load(scene, *pair))
            except UnreadableRir as error:
                writer.add_broken(pair, f"in the tree that was packed, its file {error.fault}")
    return len(part.pairs)


def unreadable_pairs(plan: Plan) -> dict[Pair, str]:
    """Return the responses of all parts that could not be read, each with the reason."""
    return {pair: why for part in plan.parts for pair, why in _open_part(part.path).broken_pairs().items()}


def join_parts(plan: Plan, dtype: str) -> dict[str, str]:
    """Make the packed file from its parts, remove them, and return the file's metadata.

    The parts' checksums are verified. The file appears whole or not at all, and reaches the disk before the
    parts go.

    Raises:
        UserError: a part is damaged (it is removed, so that the next run makes it anew); no response of the
            scene can be read.
    """
    whole = plan.folder / plan.target.name
    metadata = {"source": "WAV tree", "tree_digest": plan.digest}
    with PackedWriter(whole, RATE, dtype, metadata) as writer:
        for part in plan.parts:
            try:
                writer.copy(_open_part(part.path))
            except UnreadableRir as error:
                part.path.unlink()
                raise _damaged(part.path, error) from None
    with whole.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(whole, plan.target)
    shutil.rmtree(plan.folder)
    return read_packed_metadata(plan.target)


def _open_part(path: Path) -> PackedScene:
    try:
        return PackedScene(path, RATE)
    except UserError as error:
        path.unlink(missing_ok=True)
        raise _damaged(path, error) from None


def _damaged(path: Path, error: UserError) -> UserError:
    return UserError(f"{path} was damaged ({error}); it is removed: run again, and it will be made anew")


def verify_rows(path: Path, begin: int, end: int) -> list[str]:
    """Check the responses in these rows of a packed file; returns a sentence for each that is corrupt."""
    faults = []
    try:
        scene = PackedScene(path, None)
        for row in range(begin, end):
            try:
                scene.check(row, scene.stored(row))
            except UnreadableRir as error:
                faults.append(str(error))
    except UserError as error:
        faults.append(str(error))
    return faults
