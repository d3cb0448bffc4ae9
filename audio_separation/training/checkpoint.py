"""Checkpoints: tensors and plain data only, written to a temporary file and renamed."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, Iterable, Optional

import torch
from torch import nn

from audio_separation.errors import UserError
from audio_separation.models.foreign import read_torch_file
from audio_separation.models.pickle_program import Damaged, Refused
from audio_separation.training import distributed
from audio_separation.training.distributed import World
from audio_separation.training.run_dir import write_json


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write ``content`` so that ``path`` is always whole: the old file until the new one is on the disk.

    Raises:
        UserError: when it cannot be written (disk full, no permission); the former file stays.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch's zip writer reports a full disk as RuntimeError
        with suppress(OSError):
            temporary.unlink()
        kept = f"the last good one stays in {path}" if path.exists() else "no earlier one exists"
        reason = (
            error.strerror
            if isinstance(error, OSError)
            else "not all of it could be written: is the disk full?"
        )
        raise UserError(
            f"cannot write checkpoint {path} ({reason}); {kept}; free some space and run the same command again"
        ) from None


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint into main memory without executing anything in it.

    Not by torch's ``weights_only`` reader, for what ``models/pickle_program.py`` says of it: Python 3.9 has no
    newer torch than 2.8.

    Raises:
        UserError: for a missing, truncated or foreign file, or one that holds more than tensors and plain data.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"checkpoint {path} not found; train first or give the path of an existing .pth file")
    try:
        content = read_torch_file(path)
    except Refused as error:
        raise UserError(
            f"checkpoint {path} holds more than tensors and plain data ({error}), so it is not opened; "
            "give a checkpoint written by this project"
        ) from None
    except Damaged as error:
        raise UserError(
            f"checkpoint {path} is damaged or not a checkpoint ({error}); use another one"
        ) from None
    if not isinstance(content, dict):
        raise UserError(
            f"checkpoint {path} should hold a dictionary, found a {type(content).__name__}; use another one"
        )
    return content


def load_state(path: Path, world: World) -> Optional[dict[str, Any]]:
    """The state that a training goes on from, on every rank, in main memory; None where none was saved.

    Rank 0 alone reads it, so other nodes need not see the model dir. Adam's step counters stay in main memory,
    as in a run that was never resumed: on a GPU every step would wait for them.

    Raises:
        UserError: as :func:`load_checkpoint`; or where rank 0 does not see the state that another rank sees.
    """
    found = distributed.from_main(path.exists)
    if distributed.any_rank(path.exists(), world.device) and not found:
        raise UserError(
            f"{path} is not there on the node of rank 0 but on another one, where rank 0 was before; "
            "put --model-dir on a file system that all nodes share, or copy it to the node of rank 0"
        )
    return distributed.from_main(lambda: load_checkpoint(path)) if found else None


def link_best(model_dir: Path, choice: dict[str, Any]) -> None:
    """Write ``best.json`` and make ``best.pth`` lead to the chosen checkpoint, each at one stroke.

    A link where the file system has them, else a copy.
    """
    target, link = Path(choice["checkpoint"]), model_dir / "best.pth"
    temporary = model_dir / f".best.pth.{os.getpid()}.tmp"
    temporary.unlink(missing_ok=True)
    try:
        temporary.symlink_to(target)
    except OSError:
        shutil.copyfile(model_dir / target, temporary)
    os.replace(temporary, link)
    write_json(model_dir / "best.json", choice)


def restore(module: nn.Module, content: dict[str, Any], key: str, path: Path) -> None:
    """Load ``content[key]`` into ``module``; all names and sizes must agree.

    Raises:
        UserError: that names the first tensor that differs.
    """
    if key not in content:
        raise UserError(
            f"checkpoint {path} has no {key!r} (it has {', '.join(map(str, content))}); use another one"
        )
    state, own = content[key], module.state_dict()
    if not isinstance(state, dict):
        raise UserError(
            f"checkpoint {path} should hold tensors under {key!r}, found a {type(state).__name__}; use another one"
        )
    missing, foreign = [k for k in own if k not in state], [k for k in state if k not in own]
    if missing or foreign:
        raise UserError(
            f"checkpoint {path} does not fit the configured {key}: {len(missing)} tensors are missing and "
            f"{len(foreign)} are foreign, such as {(missing + foreign)[0]}; use the config it was trained with"
        )
    for name, tensor in own.items():
        shape = tuple(getattr(state[name], "shape", ()))
        if shape != tuple(tensor.shape):
            raise UserError(
                f"checkpoint {path} does not fit the configured {key}: {name} has shape {shape}, "
                f"the config makes {tuple(tensor.shape)}; use the config it was trained with"
            )
    module.load_state_dict(state)


def require(content: dict[str, Any], keys: Iterable[str], path: Path) -> None:
    """Check that a checkpoint can be resumed from.

    Raises:
        UserError: that names what it lacks, as a numbered checkpoint does, which holds no optimisers.
    """
    lacking = [key for key in keys if key not in content]
    if lacking:
        raise UserError(
            f"checkpoint {path} lacks {', '.join(lacking)}, so training cannot go on from it; "
            "put the state.pth of this run back, or give a new --model-dir"
        )


def check_classes(content: dict[str, Any], classes: list[str], path: Path, trained: str) -> None:
    """Check that a checkpoint numbers the classes as the corpus does.

    Args:
        content: of the checkpoint.
        classes: of the corpus, by label.
        trained: ``trained`` or ``pretrained``.

    Raises:
        UserError: for other classes, or the same ones in another order.
    """
    own = content.get("classes")
    if own == classes:
        return
    own = own if isinstance(own, list) else []
    if sorted(map(str, own)) == sorted(classes):
        label = next(i for i, (a, b) in enumerate(zip(own, classes)) if a != b)
        raise UserError(
            f"checkpoint {path} was {trained} on the corpus' {len(classes)} classes in another order (label {label} "
            f"is {own[label]!r} there, {classes[label]!r} here); write its order to the classes.json of the corpus "
            "(published corpora under their own folder names have theirs)"
        )
    raise UserError(
        f"checkpoint {path} was {trained} on {len(own)} classes that are not the corpus' {len(classes)}; set "
        "DATA.CORPUS to the corpus that it was trained on"
        + (", or pretrain on this corpus" if trained == "pretrained" else "")
    )
