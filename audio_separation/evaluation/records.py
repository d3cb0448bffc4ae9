"""Records of episodes whose scores are one number each: means over them, and reading them again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Sequence

from audio_separation.errors import UserError
from audio_separation.evaluation.stats import mean_ci


def summarise_methods(records: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """``method -> metric -> {mean, ci95, n}`` over episodes; n counts those that have a score."""
    return {
        method: {
            metric: mean_ci(record["scores"][method][metric] for record in records)._asdict()
            for metric in scores
        }
        for method, scores in records[0]["scores"].items()
    }


def read_records(folder: Path) -> list[dict[str, Any]]:
    """Read the records of all episodes in a folder of results.

    Raises:
        UserError: where they are missing or damaged.
    """
    path = folder / "episodes.json"
    try:
        return list(json.loads(path.read_text())["episodes"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path} is missing or damaged; delete {folder} and evaluate again") from None
