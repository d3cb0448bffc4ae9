"""Checkpoints as others write them, honest and not, for the tests of the reader and the converter."""

from __future__ import annotations

import pickle
import struct
import sys
import types
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Optional

import pytest
import torch
from yacs.config import CfgNode

from audio_separation.errors import UserError
from audio_separation.models.foreign import read_foreign_checkpoint

BOTH = pytest.mark.parametrize("legacy", [True, False], ids=["legacy", "zip"])
SETTINGS = {
    "SEED": 0,
    "LOG_FILE": "train.log",
    "SENSORS": ["RGB_SENSOR", "DEPTH_SENSOR"],
    "NOTHING": None,
    "RL": {"PPO": {"lr_pol": 1e-4, "use_gae": True, "num_steps": 20}, "SHAPE": (512, 32)},
}


PROGRAM_HEAD = b"\x80\x02"  # protocol 2


@contextmanager
def habitat_config(members: Optional[dict[str, Any]] = None) -> Iterator[type]:
    """The class ``habitat.config.default.Config`` as long as the context lasts; ``members`` are added to it."""
    names = ("habitat", "habitat.config", "habitat.config.default")
    before = {name: sys.modules.get(name) for name in names}
    sys.modules.update({name: types.ModuleType(name) for name in names})

    def start(self: Any, *args: Any, **kwargs: Any) -> None:
        CfgNode.__init__(self, *args, **kwargs, new_allowed=True)

    body = {"__module__": names[-1], "__qualname__": "Config", "__init__": start, **(members or {})}
    config = type("Config", (CfgNode,), body)
    sys.modules[names[-1]].Config = config  # type: ignore[attr-defined]
    try:
        yield config
    finally:
        for name, module in before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module


def settings_object(config: type, tree: dict[str, Any]) -> Any:
    """A frozen settings object of ``tree``, as habitat's ``get_config`` returns one."""
    made = config({key: settings_object(config, v) if isinstance(v, dict) else v for key, v in tree.items()})
    made.freeze()
    return made


def save_published(
    path: Path, state: dict[str, torch.Tensor], tree: dict[str, Any], legacy: bool = True
) -> Path:
    """Write ``{"state_dict", "config"}`` as the published trainers do; the settings' class is gone afterwards."""
    with habitat_config() as config:
        content = {"state_dict": state, "config": settings_object(config, tree)}
        save(path, content, legacy)
    return path


def save(path: Path, content: Any, legacy: bool) -> Path:
    torch.save(content, path, pickle_protocol=2, _use_new_zipfile_serialization=not legacy)
    return path


def legacy_file(path: Path, program: bytes, keys: tuple[str, ...] = (), rest: bytes = b"") -> Path:
    """A file of the older container around a hand-written program (without protocol and STOP)."""
    head = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    path.write_bytes(b"".join([*head, PROGRAM_HEAD, program, b".", pickle.dumps(list(keys), 2), rest]))
    return path


def name_of(module: str, name: str) -> bytes:
    """The instruction that mentions a global."""
    return f"c{module}\n{name}\n".encode()


def tensor_program(numel: int, size: int, key: str = "7", offset: int = 0, stride: int = 1) -> bytes:
    """A 1-D float32 tensor over a storage of ``numel`` numbers."""
    storage = pickle.dumps(("storage", 0, key, "cpu", numel, None), 2)[2:-1]
    # the class takes the place of the 0
    storage = storage.replace(b"K\x00", name_of("torch", "FloatStorage"), 1)
    numbers = [pickle.dumps(x, 2)[2:-1] for x in (offset, (size,), (stride,), False)]
    hooks = name_of("collections", "OrderedDict") + b")R"
    return (
        name_of("torch._utils", "_rebuild_tensor_v2")
        + b"("
        + storage
        + b"Q"
        + b"".join(numbers)
        + hooks
        + b"tR"
    )


def storage_bytes(numel: int, values: bytes) -> bytes:
    return struct.pack("<q", numel) + values


def refusal(path: Path) -> str:
    """The one sentence with which the file is refused."""
    with pytest.raises(UserError) as caught:
        read_foreign_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"checkpoint {path} ") and "\n" not in message and message.isprintable()
    return message
