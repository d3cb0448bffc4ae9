"""Reading checkpoints of others: what honest ones hold comes out, and nothing of hostile ones runs."""

from __future__ import annotations

import builtins
import os
import pickle
import struct
import sys
import time
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_files import (
    habitat_config,
    legacy_file,
    name_of,
    save,
    save_published,
    storage_bytes,
    tensor_program,
)

from audio_separation.errors import UserError
from audio_separation.models.foreign import read_foreign_checkpoint
from audio_separation.models.pickle_program import MAX_OPERATIONS, run_program

BOTH = pytest.mark.parametrize("legacy", [True, False], ids=["legacy", "zip"])
SETTINGS = {
    "SEED": 0,
    "LOG_FILE": "train.log",
    "SENSORS": ["RGB_SENSOR", "DEPTH_SENSOR"],
    "NOTHING": None,
    "RL": {"PPO": {"lr_pol": 1e-4, "use_gae": True, "num_steps": 20}, "SHAPE": (512, 32)},
}


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_foreign_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"checkpoint {path} ") and "\n" not in message and message.isprintable()
    return message


# ---- honest files -------------------------------------------------------------------------------------------
@BOTH
def test_settings_and_tensors_come_out(tmp_path, legacy):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 2), torch.nn.BatchNorm2d(4))
    path = save_published(tmp_path / "a.pth", net.state_dict(), SETTINGS, legacy)
    assert "habitat" not in sys.modules
    content = read_foreign_checkpoint(path)
    assert content["config"] == SETTINGS
    assert type(content["config"]["RL"]) is dict and type(content["state_dict"]) is dict
    assert list(content["state_dict"]) == list(net.state_dict())
    for name, value in net.state_dict().items():
        assert content["state_dict"][name].dtype == value.dtype
        torch.testing.assert_close(content["state_dict"][name], value, rtol=0, atol=0)


@BOTH
def test_views_parameters_types_and_optimisers_come_out(tmp_path, legacy):
    base = torch.arange(24, dtype=torch.float64).view(4, 6)
    parameter = torch.nn.Parameter(torch.randn(3))
    optimizer = torch.optim.Adam([parameter])
    parameter.sum().backward()
    optimizer.step()
    content = {
        "view": base[1:, 2:5],
        "turned": base.t(),
        "shared": [base[0], base],
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "parameter": parameter,
        "optimizer": optimizer.state_dict(),
        **{str(t): torch.ones(2).to(t) for t in (torch.float16, torch.bfloat16, torch.int8, torch.bool)},
    }
    read = read_foreign_checkpoint(save(tmp_path / "a.pth", content, legacy))
    assert read["optimizer"]["param_groups"] == optimizer.state_dict()["param_groups"]
    state = optimizer.state_dict()["state"][0]["exp_avg"]
    torch.testing.assert_close(read["optimizer"]["state"][0]["exp_avg"], state, rtol=0, atol=0)
    for name, value in content.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(read[name], value.detach(), rtol=0, atol=0)
    assert read["shared"][0].untyped_storage().data_ptr() == read["shared"][1].untyped_storage().data_ptr()


def test_a_file_of_torch_1_4_with_settings_of_python_3_6():
    content = read_foreign_checkpoint(Path(__file__).parent / "torch14" / "published.pth")
    learning = {"lr_pol": 1e-4, "use_gae": True}
    assert content["config"] == {
        "SEED": 7,
        "ENV_NAME": "AAViDSSEnv",
        "SENSORS": ["RGB_SENSOR", "DEPTH_SENSOR"],
        "CMD_TRAILING_OPTS": [],
        "RL": {"PPO": learning},
        "TASK_CONFIG": {"SHAPE": [512, 32, 2], "AGAIN": learning},
    }
    state = content["state_dict"]
    assert len(state) == 15 and state["actor_critic.cnn.1.num_batches_tracked"].dtype == torch.int64
    for number, value in enumerate(state.values()):  # as torch14/write.py filled them
        wanted = torch.arange(value.numel()) + 100 * number
        assert torch.equal(value.flatten().long(), wanted)


def test_storages_of_a_gpu_come_to_main_memory(tmp_path):
    program = tensor_program(3, 3).replace(b"ctorch\n", b"ctorch.cuda\n").replace(b"cpu", b"gpu")
    values = np.array([1, 2, 3], np.float32)
    path = legacy_file(tmp_path / "a.pth", program, ("7",), storage_bytes(3, values.tobytes()))
    assert read_foreign_checkpoint(path).tolist() == [1, 2, 3]


# ---- hostile files ------------------------------------------------------------------------------------------
class Call:
    """Pickles as a call of ``function``."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


def attacks(marker: Path) -> dict[str, tuple[object, str]]:
    """Content that would make ``marker`` when unpickled, and the name in the refusal."""
    code = f"open({str(marker)!r}, 'w').close()"
    nested = pickle.dumps(Call(os.system, f"touch {marker}"))
    return {
        "system": (Call(os.system, f"touch {marker}"), f"{os.system.__module__}.system"),
        "eval": (Call(builtins.eval, code), "builtins.eval"),
        "exec": (Call(builtins.exec, code), "builtins.exec"),
        "hub": (Call(torch.hub.load, str(marker), "x"), "torch.hub.load"),
        "load": (Call(torch.load, str(marker)), "torch.serialization.load"),
        "bytes": (Call(torch.storage._load_from_bytes, nested), "torch.storage._load_from_bytes"),
        "getattr": (Call(getattr, {}, "items"), "builtins.getattr"),
        "nested": (nested, "_codecs.encode"),
        "bomb": (Call(bytearray, 10**12), "builtins.bytearray"),
        "tensor bomb": (Call(torch.FloatTensor, 10**12), "torch.FloatTensor"),
        "array": (np.arange(3), "numpy"),
    }


@BOTH
@pytest.mark.parametrize("which", list(attacks(Path("x"))))
def test_nothing_in_a_hostile_file_runs(tmp_path, legacy, which):
    marker = tmp_path / "ran"
    content, name = attacks(marker)[which]
    path = save(tmp_path / "evil.pth", {"state_dict": {"w": torch.ones(2)}, "config": content}, legacy)
    message = refusal(path)
    assert f"asks for {name}" in message and "refused before anything ran" in message
    assert not marker.exists()


@BOTH
def test_a_settings_class_that_can_be_imported_is_not(tmp_path, legacy):
    marker = tmp_path / "ran"

    def run(*_, **__):
        marker.touch()
        return {}

    # an honest class when it is written, a hostile one when it is read
    with habitat_config() as config:
        path = save(tmp_path / "a.pth", {"state_dict": {}, "config": config({"A": 1})}, legacy)
    hostile = dict.fromkeys(("__setstate__", "__setitem__", "__init__", "__new__", "__reduce__"), run)
    with habitat_config(hostile):
        assert read_foreign_checkpoint(path)["config"] == {"A": 1}
    assert not marker.exists()


@BOTH
def test_a_settings_object_that_carries_code_is_refused(tmp_path, legacy):
    marker = tmp_path / "ran"
    with habitat_config({"__reduce__": lambda self: (os.system, (f"touch {marker}",))}) as config:
        path = save(tmp_path / "a.pth", {"state_dict": {}, "config": config()}, legacy)
    assert f"asks for {os.system.__module__}.system" in refusal(path)
    # a state that is an object of its own
    with habitat_config({"__getstate__": lambda self: Call(os.system, f"touch {marker}")}) as config:
        path = save(tmp_path / "b.pth", {"state_dict": {}, "config": config()}, legacy)
    assert f"asks for {os.system.__module__}.system" in refusal(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("torch._utils", "_rebuild_parameter_with_state"),
        ("torch._utils", "_rebuild_wrapper_subclass"),
        ("torch._tensor", "_rebuild_from_type_v2"),
        ("torch.nn.modules.container", "Sequential"),
        ("copyreg", "_reconstructor"),
        ("collections", "Counter"),
        ("functools", "partial"),
        ("torch.evil", "FloatStorage"),
        ("habitat.config.default", "Config.merge_from_file"),
        ("__builtin__", "__import__"),
    ],
)
def test_other_names_are_refused_where_they_are_mentioned(tmp_path, module, name):
    full = f"{module}.{name}".replace("__builtin__", "builtins")
    assert f"asks for {full}, which" in refusal(legacy_file(tmp_path / "a.pth", name_of(module, name)))


def test_every_pickle_of_the_older_container_is_guarded(tmp_path):
    honest = save(tmp_path / "honest.pth", {"w": torch.ones(2)}, legacy=True).read_bytes()
    evil = pickle.dumps(Call(os.system, f"touch {tmp_path / 'ran'}"), 2)
    starts = [0]
    for _ in range(5):
        _, end = run_program(honest, starts[-1])
        starts.append(end)
    for begin, end in zip(starts[:-1], starts[1:]):
        path = tmp_path / "evil.pth"
        path.write_bytes(honest[:begin] + evil + honest[end:])
        assert "system, which" in refusal(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (
            name_of("habitat.config.default", "Config") + b")R",
            "asks for a call of habitat.config.default.Config",
        ),
        (name_of("collections", "OrderedDict") + b")\x81", "asks for a new collections.OrderedDict"),
        (name_of("torch", "FloatStorage") + b"K\x05\x85R", "asks for a call of torch.FloatStorage"),
        (name_of("collections", "OrderedDict") + b"}b", "a state for something that has none"),
        (name_of("collections", "OrderedDict"), "neither a tensor nor plain"),
        (b"K\x05K\x05\x85R", "a call of something that is no function"),
        (b"ios\nsystem\n", "pickle instruction b'i'"),
        (b"\x8c\x02os\x8c\x06system\x93", "pickle instruction b'\\\\x8c'"),
        (b"\x82\x01", "pickle instruction"),
        (b"X\x01\x00\x00\x00aQ", "a reference to something that is no storage"),
        (b"(X\x06\x00\x00\x00moduleNNNtQ", "a reference to something that is no storage"),
        (b"c\x1b[31mevil\nx\n", "a name that cannot be printed"),
        (b"c" + b"a" * 300 + b"\nx\n", "a name without an end"),
        (b"}(K\x01K\x02u(K\x03e", "items for something that is no list"),
        (b"h\x07", "KeyError"),
        (b"0", "pickle instruction"),
        (b"\x85", "a tuple of nothing"),
    ],
)
def test_programs_that_torch_does_not_write_are_refused(tmp_path, program, reason):
    path = legacy_file(tmp_path / "a.pth", program)
    assert reason.replace("\\\\", "\\") in refusal(path)


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
