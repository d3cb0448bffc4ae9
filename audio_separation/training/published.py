"""Published checkpoints as checkpoints of ours, in a model dir that evaluation and training accept.

What a published training was set to is taken over where the config tree has a key for it; all of it is kept as
plain data in ``published.json``, beside the hash of the file that it came from.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any, NamedTuple, Optional

import torch
from torch import Tensor
from yacs.config import CfgNode

from audio_separation.audio.clips import PUBLISHED_CLASSES, parse_classes
from audio_separation.config import get_config
from audio_separation.config.default import default_config
from audio_separation.config.limits import check_limits
from audio_separation.errors import UserError
from audio_separation.models.reference import (
    make_reference_agent,
    published_kind,
    read_published,
    reference_tensors,
    separator_part,
)
from audio_separation.scenes.layout import write_atomic
from audio_separation.training.checkpoint import save_checkpoint
from audio_separation.training.run_dir import plain_config, run_record, write_json, writing

KINDS = ("auto", "agent", "passive")
RECORD = "published.json"
AAVIDSS_CORPUS = "libriSpeech100Classes_MITMusic_ESC50"
MOVE2HEAR_CORPUS = "VoxCelebV1TenClasses_MITMusic_ESC50"
MOVE2HEAR_ENV = "AAViSSEnv"  # AAViDSS has AAViDSSEnv
_REPOSITORY = Path(__file__).resolve().parents[2]
PAPER_CONFIG = _REPOSITORY / "configs" / "tasks" / "paper.yaml"

_MEMORY = "RL.PPO.TRANSFORMER_MEMORY"
_AUDIO = "TASK_CONFIG.SIMULATOR.AUDIO"
# their key, what is added to their value, our keys
_SHARED = (
    ("SEED", 0, ("SEED",)),
    ("TASK_CONFIG.SIMULATOR.SCENE_DATASET", 0, ("DATASET",)),
    (f"{_AUDIO}.GT_MONO_MAG_NORM", 0, ("AUDIO.TARGET_MONO_RMS",)),
)
_PASSIVE = (
    *_SHARED,
    ("Pretrain.Passive.lr", 0, ("PASSIVE.LR",)),
    ("Pretrain.Passive.eps", 0, ("PASSIVE.EPS",)),
    ("Pretrain.Passive.max_grad_norm", 0, ("PASSIVE.MAX_GRAD_NORM",)),
    (f"{_AUDIO}.BATCH_SIZE", 0, ("PASSIVE.BATCH",)),
)
_AGENT = (
    *_SHARED,
    ("NUM_PROCESSES", 0, ("NUM_PROCESSES",)),
    ("NUM_UPDATES", 0, ("NUM_UPDATES",)),
    ("CHECKPOINT_INTERVAL", 0, ("TRAIN.CHECKPOINT_EVERY",)),
    ("TASK_CONFIG.ENVIRONMENT.MAX_EPISODE_STEPS", 0, ("TASK.EPISODE_STEPS",)),
    (f"{_MEMORY}.memory_size", 1, ("MEMORY.SIZE",)),  # ours counts the current step too
    (f"{_MEMORY}.num_past_steps_refinement", 1, ("MEMORY.LOSS_STEPS",)),
    (f"{_MEMORY}.nhead", 0, ("MEMORY.HEADS",)),  # no tensor's shape tells
    ("RL.PPO.num_steps", 0, ("PPO.NUM_STEPS",)),
    ("RL.PPO.ppo_epoch", 0, ("PPO.EPOCHS", "MEMORY_UPDATE.EPOCHS")),
    ("RL.PPO.num_mini_batch", 0, ("PPO.MINIBATCHES",)),
    ("RL.PPO.clip_param", 0, ("PPO.CLIP",)),
    ("RL.PPO.use_linear_clip_decay", 0, ("PPO.CLIP_DECAY",)),
    ("RL.PPO.gamma", 0, ("PPO.GAMMA",)),
    ("RL.PPO.tau", 0, ("PPO.GAE_LAMBDA",)),
    ("RL.PPO.value_loss_coef", 0, ("PPO.VALUE_COEF",)),
    ("RL.PPO.entropy_coef", 0, ("PPO.ENTROPY_COEF",)),
    ("RL.PPO.lr_pol", 0, ("PPO.LR",)),
    ("RL.PPO.lr_sep", 0, ("MEMORY_UPDATE.LR",)),
    ("RL.PPO.use_linear_lr_decay", 0, ("PPO.LR_DECAY", "MEMORY_UPDATE.LR_DECAY")),
    ("RL.PPO.eps", 0, ("PPO.EPS", "MEMORY_UPDATE.EPS")),
    ("RL.PPO.max_grad_norm", 0, ("PPO.MAX_GRAD_NORM", "MEMORY_UPDATE.MAX_GRAD_NORM")),
)
_ONLY = {"DATASET": ("mp3d", "replica")}
_NEVER = {"AUDIO.TARGET_MONO_RMS": (0.0,)}  # theirs for "not scaled"


class Setting(NamedTuple):
    """A setting of the published training: ``taken`` where our config could take it over."""

    theirs: str
    value: Any
    ours: str
    taken: bool


class Conversion(NamedTuple):
    """A published checkpoint in our form.

    Attributes:
        kind: ``active`` or ``passive``.
        tensors: under our names.
        classes: of the corpus, by label.
        corpus: folder name of the published corpus whose classes they are; "" where they were given.
        config: of the networks, and of the training as far as we have its keys.
        settings: what of the published settings has a key of ours.
        published: all of them, as plain data; empty where the file has none.
        source: the file, with its sha256.
    """

    kind: str
    tensors: dict[str, Tensor]
    classes: list[str]
    corpus: str
    config: CfgNode
    settings: list[Setting]
    published: dict[str, Any]
    source: dict[str, Any]


def convert(path: Path, kind: str = "auto", classes: Optional[Path] = None) -> Conversion:
    """Read a published checkpoint, agent or passive separators, without running anything in it.

    Args:
        path: a ``.pth`` file.
        kind: ``agent``, ``passive`` (the separators, also those inside an agent), ``auto``: what the file is.
        classes: a ``classes.json`` with the labels that it was trained with; None for those of the published
            corpus that its settings name.

    Raises:
        UserError: for a file that cannot be read, is of another system, or has other tensors.
    """
    where = f"checkpoint {path}"
    state, published = read_published(path)
    found = published_kind(state, where)
    wanted = found if kind == "auto" else kind
    if found == "move2hear" and wanted != "passive":
        raise UserError(
            f"{where} is an agent of Move2Hear, whose memory is a convolution over the last estimate and no "
            "transformer, so its policy cannot be played here; its passive separators can be converted: give "
            "--kind passive"
        )
    if wanted == "agent" and found == "passive":
        raise UserError(f"{where} holds passive separators alone, no agent; give --kind passive")
    with torch.device("meta"):  # names and shapes are all that is asked of them
        nets: dict[str, Any] = make_reference_agent()._asdict()
    if wanted == "passive":
        nets, state = {"separator": nets["separator"]}, separator_part(state)
    tensors = reference_tensors(state, where, nets)
    corpus = corpus_of(published, found)
    config, settings = take_settings(published, wanted)
    return Conversion(
        kind="active" if wanted == "agent" else "passive",
        tensors=tensors if wanted == "agent" else {k.partition(".")[2]: v for k, v in tensors.items()},
        classes=parse_classes(classes or PUBLISHED_CLASSES[corpus])[0],
        corpus="" if classes else corpus,
        config=config,
        settings=settings,
        published=published,
        source={"file": path.name, "bytes": path.stat().st_size, "sha256": _sha256(path)},
    )


def corpus_of(published: dict[str, Any], kind: str) -> str:
    """The published corpus that a training heard: that of its settings' folders, else the one of its system."""
    for key in ("MONO_DIR", "PASSIVE_TRAIN_AUDIO_DIR"):
        folder = _look_up(published, f"{_AUDIO}.{key}")
        for corpus in (AAVIDSS_CORPUS, MOVE2HEAR_CORPUS):
            if isinstance(folder, str) and corpus in Path(folder).parts:
                return corpus
    of_move2hear = kind == "move2hear" or published.get("ENV_NAME") == MOVE2HEAR_ENV
    return MOVE2HEAR_CORPUS if of_move2hear else AAVIDSS_CORPUS


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(2**20), b""):
            digest.update(block)
    return digest.hexdigest()


# ---- settings -------------------------------------------------------------------------------------------
def take_settings(published: dict[str, Any], kind: str) -> tuple[CfgNode, list[Setting]]:
    """The paper's config with what a published training was set to.

    Args:
        published: its settings, as plain data that anyone may have made.
        kind: ``agent`` or ``passive``.

    Returns:
        the config, and every setting that has a key of ours; those of another type or out of limits not taken.
    """
    config = get_config(str(PAPER_CONFIG), ["TRAINER", "active" if kind == "agent" else "passive"])
    settings = []
    for theirs, more, keys in _AGENT if kind == "agent" else _PASSIVE:
        value = _look_up(published, theirs)
        if value is None:
            continue
        for ours in keys:
            changed = _changed(config, ours, value + more if more and type(value) is int else value)
            config = changed or config
            settings.append(Setting(theirs, value, ours, changed is not None))
    return config, settings


def _look_up(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree


def _changed(config: CfgNode, key: str, value: Any) -> Optional[CfgNode]:
    """A copy of ``config`` with one other value; None where it is of another type or out of its limits."""
    section, _, leaf = key.rpartition(".")
    changed = config.clone()
    changed.defrost()
    node = changed[section] if section else changed
    if isinstance(node[leaf], float) and type(value) is int:
        value = float(value)
    if type(value) is not type(node[leaf]):
        return None
    if isinstance(value, float) and not (math.isfinite(value) and value >= 0):
        return None
    if value in _NEVER.get(key, ()) or value not in _ONLY.get(key, (value,)):
        return None
    node[leaf] = value
    try:
        check_limits(changed)
    except UserError:
        return None
    changed.freeze()
    return changed


def unlike_default(config: CfgNode) -> dict[str, tuple[Any, Any]]:
    """``key -> (value, default)`` of all keys in which ``config`` differs from the default tree."""
    default = plain_config(default_config())
    return {k: (v, default[k]) for k, v in plain_config(config).items() if v != default[k]}


# ---- the model dir --------------------------------------------------------------------------------------
def check_target(out: Path, overwrite: bool) -> None:
    """Refuse a folder in which something would be lost.

    Raises:
        UserError: where ``out`` is a file or holds anything, unless it is an earlier conversion and
            ``overwrite`` is given.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; give a new folder")
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / RECORD).is_file():
        raise UserError(f"--out {out} holds files that are no converted checkpoint; give a new folder")
    if not overwrite:
        raise UserError(f"--out {out} holds a converted checkpoint; give --overwrite, or another folder")


def write_model_dir(conversion: Conversion, out: Path, overwrite: bool = False) -> Path:
    """Write the checkpoint with its records.

    An agent lies in ``ckpt/ckpt.0.pth``, which ``best.json`` names; separators in ``best.pth``. There is no
    ``run.json``, so no training takes the folder for its own and goes on in it.

    Returns:
        the checkpoint's path.

    Raises:
        UserError: as :func:`check_target`, or where it cannot be written.
    """
    check_target(out, overwrite)
    content: dict[str, Any] = {
        "kind": conversion.kind,
        "classes": conversion.classes,
        "config": plain_config(conversion.config),
        "source": conversion.source,
    }
    agent = conversion.kind == "active"
    content.update(
        {"agent": conversion.tensors, "update": 0} if agent else {"separator": conversion.tensors, "step": 0}
    )
    played = out / "ckpt" / "ckpt.0.pth"
    path = played if agent else out / "best.pth"
    with writing(out):
        # the record first: a folder that was left half written is known again
        record = {
            "source": conversion.source,
            "kind": conversion.kind,
            "tensors": len(conversion.tensors),
            "settings": conversion.published,
            "record": run_record(conversion.config),
        }
        write_json(out / RECORD, record)
        write_atomic(out / "config.yaml", conversion.config.dump(sort_keys=False).encode())
        for stale in {out / "best.json", out / "best.pth", played} - {path}:
            stale.unlink(missing_ok=True)
        save_checkpoint(path, content)
        if agent:
            write_json(out / "best.json", {"checkpoint": path.relative_to(out).as_posix()})
    return path
