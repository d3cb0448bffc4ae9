"""Choosing the best checkpoint from validation results, and finding it again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Optional, Sequence

from audio_separation.errors import UserError
from audio_separation.evaluation.results import read_summary
from audio_separation.evaluation.scores import EXTRA_METRICS, METRICS


def checkpoint_number(path: Path) -> int:
    """The n of ``ckpt.<n>`` or ``ckpt.<n>.pth``; -1 for other names."""
    parts = path.name.split(".")
    return int(parts[1]) if len(parts) > 1 and parts[0] == "ckpt" and parts[1].isdigit() else -1


def numbered_checkpoints(model_dir: Path) -> list[Path]:
    """Every ``model_dir/ckpt/ckpt.<n>.pth`` in the order of n.

    Raises:
        UserError: naming the command that makes them, where there is none.
    """
    found = [p for p in (model_dir / "ckpt").glob("ckpt.*.pth") if checkpoint_number(p) >= 0]
    if not found:
        what = "has no checkpoints (ckpt/ckpt.<n>.pth)" if model_dir.is_dir() else "does not exist"
        raise UserError(
            f"model dir {model_dir} {what}; train first: python main.py --run-type train --exp-config "
            f"configs/train/near_target.yaml --model-dir {model_dir} TRAIN.PASSIVE_CHECKPOINT runs/passive"
        )
    return sorted(found, key=checkpoint_number)


def best_checkpoint(model_dir: Path) -> Path:
    """The checkpoint that validation chose.

    Raises:
        UserError: naming the command that chooses one, where there is none.
    """
    numbered_checkpoints(model_dir)  # an untrained model dir is the more basic mistake
    record, link = model_dir / "best.json", model_dir / "best.pth"
    chosen: Optional[Path] = link if link.exists() else None
    if record.exists():
        # by its own name, so that results say which one it was
        try:
            chosen = model_dir / json.loads(record.read_text())["checkpoint"]
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{record} is damaged; delete it and validate again") from None
    if chosen is None or not chosen.exists():
        raise UserError(
            f"model dir {model_dir} has no best checkpoint yet; validate first: python main.py --run-type "
            f"eval --exp-config configs/val/near_target_unheard.yaml --model-dir {model_dir} (or set "
            "EVAL.CHECKPOINT latest)"
        )
    return chosen


def judged_checkpoints(wanted: str, model_dir: Path, experiment: str) -> list[Path]:
    """The files that ``EVAL.CHECKPOINT`` names where the training itself validates: it leaves best.pth.

    Args:
        experiment: the config of such a training, for the cure.

    Raises:
        UserError: naming the command that makes the missing one.
    """
    train = f"train first: python main.py --run-type train --exp-config {experiment} --model-dir {model_dir}"
    if wanted in ("all", "latest"):
        found = [p for p in (model_dir / "ckpt").glob("ckpt.*.pth") if checkpoint_number(p) >= 0]
        found.sort(key=checkpoint_number)
        if not found:
            raise UserError(f"model dir {model_dir} has no checkpoints (ckpt/ckpt.<n>.pth); {train}")
        return found if wanted == "all" else found[-1:]
    if wanted == "best":
        best = model_dir / "best.pth"
        if not best.is_file():
            raise UserError(f"model dir {model_dir} has no best.pth; {train}")
        # by its own name where a record says it, so that results tell which one it was
        return [best_checkpoint(model_dir) if (model_dir / "best.json").exists() else best]
    return [named_checkpoint(wanted, model_dir)]


def named_checkpoint(wanted: str, model_dir: Path) -> Path:
    """The .pth file that ``EVAL.CHECKPOINT`` names, as it is or in the model dir.

    Raises:
        UserError: where there is none.
    """
    for path in (Path(wanted), model_dir / wanted):
        if path.is_file():
            return path
    raise UserError(f"EVAL.CHECKPOINT is {wanted!r}; expected all, best, latest or an existing .pth file")


def check_metric(metric: str) -> None:
    """Refuse an ``EVAL.SELECT_BY`` that is no metric."""
    if metric not in (*METRICS, *EXTRA_METRICS):
        raise UserError(
            f"EVAL.SELECT_BY is {metric!r}; expected one of {', '.join((*METRICS, *EXTRA_METRICS))}"
        )


def choose_best(summaries: Sequence[dict[str, Any]], metric: str) -> dict[str, Any]:
    """Compare validation summaries by ``metric`` of ``refined``: the lowest STFT-L2 or the highest dB wins.

    Among equals the earliest checkpoint wins.

    Returns:
        ``{checkpoint, metric, value, split, sounds, candidates: [{checkpoint, value, ci95}, ...]}``.

    Raises:
        UserError: for an unknown metric, one that was not computed, or no summaries at all.
    """
    check_metric(metric)
    if not summaries:
        raise UserError("no validation results to choose from; evaluate with EVAL.CHECKPOINT all first")
    candidates = []
    for summary in sorted(summaries, key=lambda s: checkpoint_number(Path(s["checkpoint"]))):
        score = summary["methods"]["refined"].get(metric, {"mean": None})
        if score["mean"] is None:
            raise UserError(
                f"the results of {summary['checkpoint']} on {summary['split']} have no {metric} of the "
                "refined estimate; choose by another metric, or evaluate with EVAL.EXTRA_METRICS True"
            )
        candidates.append(
            {"checkpoint": summary["checkpoint"], "value": score["mean"], "ci95": score["ci95"]}
        )
    sign = -1.0 if metric.endswith("_db") else 1.0
    best = min(candidates, key=lambda c: sign * c["value"])
    return {
        "checkpoint": best["checkpoint"],
        "metric": metric,
        "value": best["value"],
        "split": summaries[0]["split"],
        "sounds": summaries[0]["sounds"],
        "candidates": candidates,
    }


def read_candidates(folder: Path) -> list[dict[str, Any]]:
    """Summaries of all numbered checkpoints in ``model_dir/eval/<name>``, in order.

    Raises:
        UserError: where there are none.
    """
    found = [p.parent for p in folder.glob("ckpt.*/summary.json")]
    if not found:
        raise UserError(f"{folder} holds no results of checkpoints; validate with EVAL.CHECKPOINT all first")
    return [read_summary(path) for path in sorted(found, key=checkpoint_number)]
