"""Checkpoints: whole or not at all, and never executed."""

from __future__ import annotations

import errno
import io
import os
import pickle
import random
import resource
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from audio_separation.errors import UserError
from audio_separation.training.checkpoint import load_checkpoint, restore, save_checkpoint

CPU = torch.device("cpu")


@pytest.fixture
def good(tmp_path) -> Path:
    path = tmp_path / "run" / "state.pth"
    save_checkpoint(path, {"step": 3, "agent": {"weight": torch.arange(4.0)}})
    return path


def assert_intact(path: Path) -> None:
    content = load_checkpoint(path)
    assert content["step"] == 3 and torch.equal(content["agent"]["weight"], torch.arange(4.0))
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # no temporary file is left


def test_round_trip_makes_the_folder_and_leaves_one_file(good):
    assert_intact(good)


def test_full_disk_at_the_end_keeps_the_last_good_one(good, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"state.pth \(No space left on device\); the last good one stays"):
        save_checkpoint(good, {"step": 4})
    monkeypatch.undo()
    assert_intact(good)


@pytest.mark.parametrize(
    "limit", [200_000, 300, 1]
)  # bytes: in the middle of a tensor, of the header, at once
def test_a_file_that_cannot_grow_keeps_the_last_good_one(good, limit):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(UserError, match="state.pth.*the last good one stays in"):
            save_checkpoint(good, {"step": 4, "agent": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_intact(good)


def test_first_checkpoint_that_fails_says_that_there_is_none(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="no earlier one exists"):
        save_checkpoint(tmp_path / "file" / "state.pth", {})


class Hostile:
    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_hostile_checkpoint_is_refused_and_not_executed(tmp_path, form):
    mark, path, buffer = tmp_path / "executed", tmp_path / "state.pth", io.BytesIO()
    if form == "pickle":
        pickle.dump({"agent": Hostile(mark)}, buffer, protocol=2)
    else:
        torch.save({"agent": Hostile(mark)}, buffer, _use_new_zipfile_serialization=form == "zip")
    path.write_bytes(buffer.getvalue())
    with pytest.raises(
        UserError, match="more than tensors and plain data.*written by this project"
    ) as caught:
        load_checkpoint(path)
    assert not mark.exists()
    assert "weights_only" not in str(caught.value)  # torch's advice to load it anyway
    with suppress(RuntimeError):
        torch.load(path, weights_only=False)  # it does bite
    assert mark.exists()


def test_damaged_files_are_user_errors(good):
    whole, chance = good.read_bytes(), random.Random(0)
    samples = [b"", b"hello\n", b"{}", whole[: len(whole) // 2], whole[:-5], b"PK\x03\x04" + bytes(300)]
    for _ in range(400):
        changed = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            changed[chance.randrange(len(whole))] = chance.randrange(256)
        samples.append(bytes(changed))
    refused = 0
    for sample in samples:
        good.write_bytes(sample)
        try:
            load_checkpoint(good)  # a changed byte may lie in padding
        except UserError as error:
            refused += 1
            assert str(good) in str(error) and "\n" not in str(error)
    assert refused >= 50


def test_missing_checkpoint(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.pth not found; train first"):
        load_checkpoint(tmp_path / "nowhere.pth")


def test_other_sizes_name_the_tensor():
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1))
    state = {k: v.clone() for k, v in module.state_dict().items()}
    path = Path("old.pth")
    with pytest.raises(UserError, match=r"1\.weight has shape \(1, 5\), the config makes \(1, 2\)"):
        restore(module, {"agent": {**state, "1.weight": torch.zeros(1, 5)}}, "agent", path)
    with pytest.raises(UserError, match="1 tensors are missing and 0 are foreign, such as 0.bias"):
        restore(module, {"agent": {k: v for k, v in state.items() if k != "0.bias"}}, "agent", path)
    with pytest.raises(UserError, match="0 tensors are missing and 1 are foreign, such as 2.weight"):
        restore(module, {"agent": {**state, "2.weight": torch.zeros(1)}}, "agent", path)
    with pytest.raises(UserError, match="has no 'agent' .it has separator"):
        restore(module, {"separator": state}, "agent", path)
    with pytest.raises(UserError, match=r"0\.bias has shape \(\)"):
        restore(module, {"agent": {**state, "0.bias": "text"}}, "agent", path)
    with pytest.raises(UserError, match="should hold tensors under 'agent', found a list"):
        restore(module, {"agent": [1]}, "agent", path)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    restore(module, {"agent": {k: v + 1 for k, v in state.items()}}, "agent", path)
    assert all(torch.equal(v, before[k] + 1) for k, v in module.state_dict().items())
