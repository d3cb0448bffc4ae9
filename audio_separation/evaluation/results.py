"""What an evaluation leaves on disk, ``episodes.json`` and ``summary.json``, and knowing a finished one again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Optional, Sequence

import numpy as np
from yacs.config import CfgNode

from audio_separation.config import default_config
from audio_separation.errors import UserError
from audio_separation.evaluation.scores import METHODS
from audio_separation.evaluation.stats import mean_ci
from audio_separation.scenes.layout import write_atomic
from audio_separation.training.run_dir import FREE_KEYS, plain_config, run_record, write_json, writing

# keys that do not change the scores, beside those that do not change what is learnt
FREE_EVAL_KEYS = (
    "TRAINER", "NUM_UPDATES", "EVAL.CHECKPOINT", "EVAL.SELECT_BY", "EVAL.REPORT_EPISODES", "EVAL.NAME",
)  # fmt: skip
FREE_EVAL_SECTIONS = ("TRAIN.", "PASSIVE.", "PPO.", "MEMORY_UPDATE.")
# of one family of tasks each; free in the evaluation of any other
AUDITION_SECTIONS = ("AUDITION.", "DQN.", "EVAL.EPISODES")
CONTROL_SECTIONS = ("SYNTH.", "OSC.", "STEP_SIGNAL.", "SB3.")
ACTION_NAMES = {"-1": "HOLD", "0": "MOVE_FORWARD", "1": "TURN_LEFT", "2": "TURN_RIGHT"}


class Checkpoint(NamedTuple):
    """The checkpoint that is judged.

    Attributes:
        path: of the file itself, no link.
        name: as it is written in results: relative to the model dir where it lies in it.
        sha256: of the file.
    """

    path: Path
    name: str
    sha256: str


def identify(path: Path, model_dir: Path) -> Checkpoint:
    """Name and hash a checkpoint file."""
    inside = path.resolve().is_relative_to(model_dir.resolve())
    name = path.resolve().relative_to(model_dir.resolve()) if inside else path
    return Checkpoint(path, name.as_posix(), hashlib.sha256(path.read_bytes()).hexdigest())


def results_folder(model_dir: Path, config: CfgNode, checkpoint: Checkpoint) -> Path:
    """``model_dir/eval/<EVAL.NAME or split_agent>/<checkpoint's stem>``; of synth ``split_targets_agent``."""
    return eval_folder(model_dir, config) / checkpoint.path.stem


def eval_folder(model_dir: Path, config: CfgNode) -> Path:
    """Folder of the results of all checkpoints under this config.

    Raises:
        UserError: where ``EVAL.NAME`` is not a plain name and would lead out of ``model_dir/eval``.
    """
    name = config.EVAL.NAME
    if name and (name in (".", "..") or Path(name).name != name):
        raise UserError(f"EVAL.NAME is {name!r}; expected a plain folder name such as test2, without / in it")
    targets = f"{config.SYNTH.TARGETS}_" if config.TASK.NAME == "synth" else ""
    return model_dir / "eval" / (name or f"{config.DATA.SPLIT}_{targets}{config.EVAL.AGENT}")


def build_summary(
    records: Sequence[dict[str, Any]], config: CfgNode, checkpoint: Checkpoint
) -> dict[str, Any]:
    """An episode's score is the mean over its seconds, a method's the mean over episodes."""
    skipped_rirs = sorted({rir for record in records for rir in record["skipped_rirs"]})
    return {
        "split": config.DATA.SPLIT,
        "sounds": config.DATA.SOUNDS,
        "agent": config.EVAL.AGENT,
        "checkpoint": checkpoint.name,
        "checkpoint_sha256": checkpoint.sha256,
        "episodes": len(records),
        "methods": summarise_methods(records),
        "motion": _summarise_motion(records),
        "skipped": {
            "silent_seconds": sum(sum(record["silent"]) for record in records),
            "seconds": sum(len(record["silent"]) for record in records),
            "rirs": len(skipped_rirs),
            "rir_names": skipped_rirs,
        },
        "record": run_record(config),
    }


def summarise_methods(records: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """``method -> metric -> {mean, ci95, n}`` over episodes."""
    summary: dict[str, dict[str, dict[str, Any]]] = {}
    for method in METHODS:
        metrics = {metric: None for record in records for metric in record["scores"][method]}
        summary[method] = {
            metric: mean_ci(episode_mean(record["scores"][method][metric]) for record in records)._asdict()
            for metric in metrics
        }
        if method == "silence":  # no ratio in dB; said outright, so that every method has every metric
            every = records[0]["scores"]["mixture"]
            summary[method].update({m: mean_ci([])._asdict() for m in every if m not in metrics})
    return summary


def episode_mean(seconds: Sequence[Optional[float]]) -> Optional[float]:
    """Mean over the seconds that have a score; None where none has."""
    found = [value for value in seconds if value is not None]
    return float(np.mean(found)) if found else None


def _summarise_motion(records: Sequence[dict[str, Any]]) -> dict[str, float]:
    actions = np.array([record["actions"] for record in records])
    return {
        "target_distance_start_m": float(np.mean([record["target_distance_m"][0] for record in records])),
        "target_distance_end_m": float(np.mean([record["target_distance_m"][-1] for record in records])),
        "nodes_visited": float(np.mean([len(set(record["nodes"])) for record in records])),
        "forward_fraction": float((actions == 0).mean()) if actions.size else 0.0,
    }


def write_results(
    folder: Path,
    records: Sequence[dict[str, Any]],
    summary: dict[str, Any],
    action_names: Mapping[str, str] = ACTION_NAMES,
) -> None:
    """Write both files, the summary last: where it is, the result is whole.

    Args:
        action_names: number of an action, as text -> its name.

    Raises:
        UserError: where they cannot be written.
    """
    head = {
        "checkpoint": summary["checkpoint"],
        "agent": summary["agent"],
        "action_names": dict(action_names),
    }
    # an episode a line: readable with line tools, a third of the size of indented lists
    lines = ",\n".join(json.dumps(record) for record in records)
    content = f'{json.dumps(head)[:-1]}, "episodes": [\n{lines}\n]}}\n'
    with writing(folder):
        write_atomic(folder / "episodes.json", content.encode())
        write_json(folder / "summary.json", summary)


def read_summary(folder: Path) -> dict[str, Any]:
    """Read ``summary.json`` of a folder of results.

    Raises:
        UserError: where it is damaged.
    """
    path = folder / "summary.json"
    try:
        summary = json.loads(path.read_text())
        assert {"methods", "record", "checkpoint", "split", "sounds", "agent"} <= summary.keys()
    except (OSError, ValueError, AssertionError, AttributeError):
        raise UserError(f"{path} is missing or damaged; delete {folder} and evaluate again") from None
    return summary


def find_finished(
    folder: Path,
    config: CfgNode,
    checkpoint: Checkpoint,
    free_sections: tuple[str, ...] = (*FREE_EVAL_SECTIONS, *AUDITION_SECTIONS, *CONTROL_SECTIONS),
    held: tuple[str, ...] = (),
) -> Optional[dict[str, Any]]:
    """The summary in ``folder`` if it is of this very evaluation; None where there is none yet.

    Args:
        free_sections: beginnings of keys that change no score.
        held: keys that do, all the same.

    Raises:
        UserError: when the folder holds the result of another config or of another checkpoint.
    """
    if not (folder / "summary.json").exists():
        return None
    summary = read_summary(folder)
    # a key that is younger than the result had the effect of its default there
    old = {**plain_config(default_config()), **summary["record"]["config"]}
    new = plain_config(config)
    free = (*FREE_KEYS, *FREE_EVAL_KEYS)
    compared = [k for k in new if k in held or (k not in free and not k.startswith(free_sections))]
    differing = [f"{k} is {old.get(k)!r} there, {new[k]!r} now" for k in compared if old.get(k) != new[k]]
    if summary["checkpoint_sha256"] != checkpoint.sha256:
        differing.append(f"checkpoint {summary['checkpoint']} had other weights than {checkpoint.path} has")
    if differing:
        raise UserError(
            f"{folder} holds results of another evaluation ({'; '.join(differing[:3])}); give this one a "
            "name of its own (EVAL.NAME <name>), or delete that folder"
        )
    return summary
