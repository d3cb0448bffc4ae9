"""Checkpoints of others that are damaged, claim more than they hold, or are odd archives: refused, and soon."""

from __future__ import annotations

import struct
import time
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_files import (
    BOTH,
    SETTINGS,
    legacy_file,
    refusal,
    save,
    save_published,
    storage_bytes,
    tensor_program,
)

from audio_separation.errors import UserError
from audio_separation.models.foreign import read_foreign_checkpoint
from audio_separation.models.pickle_program import MAX_OPERATIONS

# ---- files that claim more than they hold -----------------------------------------------------------------------
HUGE = 10**12


@pytest.mark.parametrize(
    ("program", "rest", "reason"),
    [
        (tensor_program(HUGE, HUGE), storage_bytes(HUGE, b"\0" * 16), "it ends too early"),
        (tensor_program(2**70, 1), storage_bytes(2**40, b"\0" * 16), "numbers where"),
        (tensor_program(4, 4), storage_bytes(HUGE, b"\0" * 16), "a storage of 1000000000000 numbers where 4"),
        (tensor_program(4, 4), storage_bytes(-4, b"\0" * 16), "a storage of -4 numbers"),
        (tensor_program(4, 5), storage_bytes(4, b"\0" * 16), "a tensor larger than its storage"),
        (tensor_program(4, 4, offset=1), storage_bytes(4, b"\0" * 16), "a tensor larger than its storage"),
        (tensor_program(4, 2, stride=4), storage_bytes(4, b"\0" * 16), "a tensor larger than its storage"),
        # one number seen as many
        (tensor_program(4, HUGE, stride=0), storage_bytes(4, b"\0" * 16), "a tensor larger than its storage"),
        (tensor_program(4, -4), storage_bytes(4, b"\0" * 16), "a tensor that is none"),
        (tensor_program(4, 4, stride=-1), storage_bytes(4, b"\0" * 16), "a tensor that is none"),
        (tensor_program(-4, 4), storage_bytes(-4, b"\0" * 16), "no storage"),
        (tensor_program(4, 4, key="8"), storage_bytes(4, b"\0" * 16), "a storage that nothing uses"),
        (b"(" + tensor_program(4, 4) + tensor_program(3, 3) + b"t", b"", "a storage announced in two ways"),
    ],
)
def test_sizes_are_compared_with_the_file(tmp_path, program, rest, reason):
    assert reason in refusal(legacy_file(tmp_path / "a.pth", program, ("7",), rest))


def test_a_sound_hand_written_file_is_read(tmp_path):  # so that the refusals above are not for its form
    values = np.array([5, 6, 7, 8], np.float32).tobytes()
    path = legacy_file(
        tmp_path / "a.pth", tensor_program(4, 2, offset=1, stride=2), ("7",), storage_bytes(4, values)
    )
    assert read_foreign_checkpoint(path).tolist() == [6, 8]


def test_a_storage_listed_twice_or_not_at_all_is_refused(tmp_path):
    rest = storage_bytes(4, b"\0" * 16)
    twice = legacy_file(tmp_path / "a.pth", tensor_program(4, 4), ("7", "7"), rest * 2)
    assert "its list of storages is none" in refusal(twice)
    assert "KeyError" in refusal(legacy_file(tmp_path / "a.pth", tensor_program(4, 4), (), b""))


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (b")" + b"\x85" * 400_000, "values nested too deeply"),
        (b"}" + b")" + b"\x85" * 400_000 + b"K\x01s", "a dict key that is neither text nor a small integer"),
        (b"]q\x00h\x00a", "values nested too deeply"),  # a list that holds itself
        # each list holds the one before ten times
        (b"]q\x00" + b"".join(b"](" + b"h\x00" * 10 + b"eq\x00" for _ in range(9)), "too many values"),
        (b"N" * MAX_OPERATIONS, "pickle instructions"),
        (b"}\x8a\x09" + b"\xff" * 8 + b"\x0fNs", "a dict key that is neither"),
    ],
    ids=["deep", "deep key", "loop", "laughs", "endless", "long key"],
)
def test_deep_looped_and_endless_content_is_refused_at_once(tmp_path, program, reason):
    path = legacy_file(tmp_path / "a.pth", program)
    begin = time.monotonic()
    assert reason in refusal(path)
    assert time.monotonic() - begin < 20  # not a measure, only a hang


def test_a_memo_of_billions_takes_no_memory(tmp_path):
    # Python's own unpickler makes a table up to the largest index
    path = legacy_file(tmp_path / "a.pth", b"K\x05r" + struct.pack("<I", 2**32 - 1))
    assert read_foreign_checkpoint(path) == 5


# ---- zip archives -------------------------------------------------------------------------------------------
def repack(source: Path, target: Path, change) -> Path:
    """Write the archive's entries anew; ``change(archive, name, data)`` may write one otherwise (returns True)."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            if not change(new, entry.filename, old.read(entry)):
                new.writestr(entry.filename, old.read(entry))
    return target


@pytest.fixture
def archive(tmp_path) -> Path:
    return save(tmp_path / "good.pth", {"w": torch.arange(5.0)}, legacy=False)


def test_a_repacked_archive_is_read(archive, tmp_path):
    path = repack(archive, tmp_path / "a.pth", lambda *_: False)
    assert read_foreign_checkpoint(path)["w"].tolist() == [0, 1, 2, 3, 4]


def test_odd_archives_are_refused(archive, tmp_path):
    outside = tmp_path.parent / "escaped"

    def compressed(new, name, data):
        return new.writestr(name, data, zipfile.ZIP_DEFLATED) or True

    def path_upwards(new, name, data):
        new.writestr(f"good/../../{outside.name}", b"x") if name.endswith("/version") else None

    def elsewhere(new, name, data):
        new.writestr(f"/tmp/{outside.name}", b"x") if name.endswith("/version") else None

    def no_program(new, name, data):
        return name.endswith("data.pkl")

    def short(new, name, data):
        if "/data/" in name:
            new.writestr(name, data[:-4])
            return True

    def big_endian(new, name, data):
        if name.endswith("byteorder"):
            new.writestr(name, b"big")
            return True

    def claims(new, name, data):
        if "/data/" in name:
            new.writestr(name, data)
            new.infolist()[-1].file_size = new.infolist()[-1].compress_size = 10**12
            return True

    reasons = {
        compressed: "compressed or encrypted",
        path_upwards: "an entry 'good/../../escaped' outside 'good/'",
        elsewhere: "an entry '/tmp/escaped' outside 'good/'",
        no_program: "an archive without a checkpoint's data.pkl",
        short: "a storage of 16 bytes where 20 are announced",
        big_endian: "big-endian",
        claims: "entries larger than the file",
    }
    for change, reason in reasons.items():
        assert reason in refusal(repack(archive, tmp_path / "odd.pth", change)), change.__name__
    assert not outside.exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_comes_twice_is_refused(archive, tmp_path):
    def twice(new, name, data):
        if name.endswith("data.pkl"):
            new.writestr(name, data)

    assert "two entries of one name" in refusal(repack(archive, tmp_path / "a.pth", twice))


def test_the_downloaded_archive_itself_is_told_apart(archive, tmp_path):
    path = tmp_path / "checkpoints.zip"
    with zipfile.ZipFile(path, "w") as new:
        new.write(archive, "checkpoints/near_target.pth")
    assert "but with 'checkpoints/near_target.pth': unpack it and give that" in refusal(path)


# ---- damage ---------------------------------------------------------------------------------------------------
@BOTH
def test_truncated_files_are_refused(tmp_path, legacy):
    whole = save_published(tmp_path / "a.pth", {"w": torch.arange(5.0)}, SETTINGS, legacy).read_bytes()
    path = tmp_path / "short.pth"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        refusal(path)


@BOTH
def test_damaged_files_are_refused_or_read(tmp_path, legacy):
    """Deterministic fuzzing: whatever bytes change, nothing but a UserError comes out, and soon."""
    state = OrderedDict(w=torch.arange(5.0), b=torch.zeros(2, dtype=torch.int64))
    whole = save_published(tmp_path / "a.pth", state, SETTINGS, legacy).read_bytes()
    rng = np.random.default_rng(5)
    path = tmp_path / "fuzzed.pth"
    refused = 0
    for _ in range(600):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), rng.integers(1, 6)):
            data[at] = rng.integers(0, 256)
        if rng.random() < 0.2:
            del data[rng.integers(0, len(data)) :]
        path.write_bytes(data)
        try:
            read_foreign_checkpoint(path)
        except UserError:
            refused += 1
    assert refused > 100


def test_missing_files_and_folders_are_refused(tmp_path):
    assert "not found" in refusal(tmp_path / "absent.pth")
    assert "not found" in refusal(tmp_path)
