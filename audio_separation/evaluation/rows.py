"""Rows of results files: scores of methods over episodes and seeds, and tables of them.

A method is one way to make an agent, trained with several seeds, each with its own model dir. Its mean is the mean
of the seeds' means. Its 95 % interval is, from three seeds on, Student's t over the seeds' means: episodes of one
trained agent are no independent witnesses of the method. With fewer seeds it is over all episodes, and then says
nothing of how the result would vary with the seed; ``seeds`` in the row tells which it is.
"""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path
from typing import Any, Iterable, Mapping, NamedTuple, Optional, Sequence

from audio_separation.errors import UserError
from audio_separation.evaluation.families import FAMILIES, Columns
from audio_separation.evaluation.records import read_records
from audio_separation.evaluation.results import read_summary
from audio_separation.evaluation.stats import mean_ci
from audio_separation.evaluation.tables import markdown_table
from audio_separation.training.run_dir import FREE_KEYS

LEAST_SEEDS = 3  # that an interval over seeds is made from
KEY = ("task", "split", "method", "metric")
COLUMNS = (*KEY, "mean", "ci_low", "ci_high", "episodes", "seeds", "command")
# what may differ between the seeds of one method
SEED_KEYS = (
    "SEED", "AUDITION.SEPARATOR.CHECKPOINT", "DQN.BUFFER_DIR", "EVAL.NAME", "EVAL.REPORT_EPISODES", "EVAL.CHECKPOINT",
    *FREE_KEYS,
)  # fmt: skip


class Result(NamedTuple):
    """One finished evaluation."""

    folder: Path
    summary: dict[str, Any]
    episodes: list[dict[str, Any]]

    @property
    def split(self) -> str:
        """Such as ``test_unheard``: what was played, by the name that the family of the task gives it."""
        return FAMILIES[self.summary["task"]].split_name(self.summary)


def parse_method(words: str) -> tuple[str, list[Path]]:
    """``name=dir1,dir2`` -> the name and the folders.

    Raises:
        UserError: for anything else.
    """
    name, _, folders = words.partition("=")
    if not name.strip() or not all(folder.strip() for folder in folders.split(",")):
        raise UserError(f"--collect got {words!r}; expected name=dir1,dir2,..., a model dir for each seed")
    return name.strip(), [Path(folder.strip()) for folder in folders.split(",")]


def read_results(folder: Path) -> list[Result]:
    """The results in a model dir, or in a folder of results: one of each split.

    Raises:
        UserError: where there are none, or two of one split, or damaged ones.
    """
    found: dict[str, Result] = {}
    for path in sorted(folder.rglob("summary.json")):
        summary = read_summary(path.parent)
        if summary.get("task") not in FAMILIES:
            continue
        result = Result(path.parent, summary, read_records(path.parent))
        if result.split in found:
            raise UserError(
                f"{folder} holds two results of {result.split} ({found[result.split].folder} and {path.parent}); "
                "name the folder of the one that is meant"
            )
        found[result.split] = result
    if not found:
        raise UserError(
            f"{folder} holds no results (summary.json) of TASK.NAME {', '.join(FAMILIES)}; evaluate there first"
        )
    return list(found.values())


def collect_rows(methods: Sequence[tuple[str, list[Path]]], task: Optional[str]) -> list[dict[str, Any]]:
    """Rows of all methods, by split and metric.

    Args:
        methods: names and the folders of their seeds.
        task: name of the task; None: that of the experiment file.

    Raises:
        UserError: for missing results, or results that cannot stand in one table.
    """
    rows: list[dict[str, Any]] = []
    first: Optional[Result] = None
    for name, folders in methods:
        by_split: dict[str, list[Result]] = {}
        for folder in folders:
            for result in read_results(folder):
                first = first or result
                _check_same_task(first, result)
                by_split.setdefault(result.split, []).append(result)
        for split, results in by_split.items():
            if len(results) != len(folders):
                raise UserError(
                    f"{name} has results on {split} of {len(results)} seeds out of {len(folders)}; evaluate all"
                )
            for result in results[1:]:
                _check_same_method(name, results[0], result)
            rows += _rows_of(task or _task_of(results[0]), split, name, results)
    return rows


def _rows_of(task: str, split: str, name: str, results: Sequence[Result]) -> Iterable[dict[str, Any]]:
    agent = results[0].summary["agent"]
    for method, metrics in results[0].summary["methods"].items():
        for metric in metrics:
            seeds = [[e["scores"][method][metric] for e in result.episodes] for result in results]
            mean, half = seed_estimate(seeds)
            if mean is None:
                continue
            yield {
                "task": task,
                "split": split,
                "method": name,
                "metric": metric if method == agent else f"{method}/{metric}",
                "mean": mean,
                "ci_low": None if half is None else mean - half,
                "ci_high": None if half is None else mean + half,
                "episodes": sum(len(values) for values in seeds),
                "seeds": len(seeds),
                "command": "; ".join(_command(result) for result in results),
            }


def seed_estimate(seeds: Sequence[Sequence[Optional[float]]]) -> tuple[Optional[float], Optional[float]]:
    """Mean of the seeds' means and half width of its 95 % interval, from the scores of each seed's episodes.

    From ``LEAST_SEEDS`` seeds on the interval is over the seeds' means, else over all episodes.
    """
    estimates = [mean_ci(values) for values in seeds]
    means = [e.mean for e in estimates if e.mean is not None]
    if not means:
        return None, None
    if len(means) >= LEAST_SEEDS:
        over_seeds = mean_ci(means)
        return over_seeds.mean, over_seeds.ci95
    return math.fsum(means) / len(means), mean_ci(value for values in seeds for value in values).ci95


# ---- the file -------------------------------------------------------------------------------------------
def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a file of rows.

    Raises:
        UserError: where it is missing or holds anything else.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        assert isinstance(rows, list) and all(set(row) == set(COLUMNS) for row in rows)
    except OSError as error:
        raise UserError(
            f"cannot read {path} ({error.strerror}); collect results first: python scripts/results_table.py "
            f"{path} --collect dqn=runs/oto0,runs/oto1,runs/oto2"
        ) from None
    except (ValueError, AssertionError, TypeError):
        raise UserError(
            f"{path} is no list of rows with {', '.join(COLUMNS)}; correct or delete it"
        ) from None
    return rows


def merge_rows(old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Old rows, those with the task, split, method and metric of a new one replaced, then the other new ones."""
    fresh = {tuple(row[k] for k in KEY): row for row in new}
    kept = [fresh.pop(tuple(row[k] for k in KEY), row) for row in old]
    return kept + list(fresh.values())


def format_tables(rows: Sequence[dict[str, Any]]) -> str:
    """All rows as Markdown: for each task and split the tables of its family that have a row, a method a line."""
    parts = []
    for task, split in dict.fromkeys((row["task"], row["split"]) for row in rows):
        chosen = [row for row in rows if (row["task"], row["split"]) == (task, split)]
        for family in FAMILIES.values():
            for title, columns in family.tables.items():
                table = _table(chosen, columns)
                if table:
                    parts.append(f"**{task}, {split}: {title}**\n\n{table}")
    return "\n\n".join(parts)


def _table(rows: Sequence[dict[str, Any]], columns: Columns) -> str:
    """The table as Markdown; empty where the rows have fewer than two of its metrics, and so are of another family."""
    cells = {(row["method"], row["metric"]): row for row in rows}
    wanted = [metric for metric, _, _ in columns.values()]
    if len({metric for _, metric in cells}.intersection(wanted)) < 2:
        return ""
    methods = [
        m for m in dict.fromkeys(row["method"] for row in rows) if any((m, k) in cells for k in wanted)
    ]
    lines = [["method", *columns, "episodes", "seeds"]]
    for method in methods:
        found = [cells.get((method, metric)) for metric in wanted]
        counted = next(row for row in found if row is not None)
        shown = [_cell(row, digits, factor) for row, (_, digits, factor) in zip(found, columns.values())]
        lines.append([method, *shown, str(counted["episodes"]), str(counted["seeds"])])
    return markdown_table(lines)


def _cell(row: Optional[dict[str, Any]], digits: int, factor: int) -> str:
    if row is None:
        return "-"
    mean = f"{factor * row['mean']:.{digits}f}"
    if row["ci_low"] is None:
        return mean
    return f"{mean} [{factor * row['ci_low']:.{digits}f}, {factor * row['ci_high']:.{digits}f}]"


# ---- what may stand together ----------------------------------------------------------------------------
def _check_same_task(first: Result, other: Result) -> None:
    tasks = {"task": first.summary["task"]}, {"task": other.summary["task"]}
    family = FAMILIES[first.summary["task"]]
    one, two = _config(first), _config(other)
    keys = [k for k in one if family.shares(k)]
    differing = _differences(*tasks, ["task"]) or _differences(
        one, two, [*keys, "DATA.CORPUS", "EVAL.EPISODES"]
    )
    if differing:
        raise UserError(
            f"{first.folder} and {other.folder} are of different tasks ({differing}); collect them apart, under "
            "another --task"
        )


def _check_same_method(name: str, first: Result, other: Result) -> None:
    one, two = first.summary, other.summary
    if one["agent"] != two["agent"]:
        differing = f"agent {one['agent']} and {two['agent']}"
    else:
        pairs = [(_config(first), _config(other)), (one["trained_config"] or {}, two["trained_config"] or {})]
        shared = [(a, b, [k for k in a if k not in SEED_KEYS]) for a, b in pairs]
        differing = "; ".join(filter(None, (_differences(*each) for each in shared)))
    if differing:
        raise UserError(
            f"{first.folder} and {other.folder} cannot both be {name} ({differing}); collect them under names of "
            "their own"
        )


def _differences(one: Mapping[str, Any], two: Mapping[str, Any], keys: Sequence[str]) -> str:
    """The first keys that differ, in words; empty where none does."""
    differing = [f"{k} is {one.get(k)!r} and {two.get(k)!r}" for k in keys if one.get(k) != two.get(k)]
    return "; ".join(differing[:3])


def _config(result: Result) -> dict[str, Any]:
    return result.summary["record"]["config"]


def _task_of(result: Result) -> str:
    words = result.summary["record"]["command"]
    if "--exp-config" not in words[:-1]:
        raise UserError(
            f"the record of {result.folder} names no --exp-config; give the task's name with --task"
        )
    stem = Path(words[words.index("--exp-config") + 1]).stem
    return stem.removesuffix("_test").removesuffix("_val")  # the split has a column of its own


def _command(result: Result) -> str:
    """The command line that made it, without the keys that say where data lie and how many processes ran."""
    words = list(result.summary["record"]["command"])
    for key in FREE_KEYS:
        while key in words:
            del words[words.index(key) : words.index(key) + 2]
    return shlex.join(["python", *words])
