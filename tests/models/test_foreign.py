"""Reading checkpoints of others: what honest ones hold comes out, and nothing of hostile ones runs."""

from __future__ import annotations

import builtins
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_files import (
    BOTH,
    SETTINGS,
    habitat_config,
    legacy_file,
    name_of,
    refusal,
    save,
    save_published,
    storage_bytes,
    tensor_program,
)

from audio_separation.models.foreign import read_foreign_checkpoint
from audio_separation.models.pickle_program import run_program


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
