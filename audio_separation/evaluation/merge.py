"""One table of the policy and the scripted agents, on heard and unheard sounds.

The same checkpoint's separators and memory serve all agents; only the motion differs. ``silence``,
``mixture``, ``passive``, ``refined`` and ``refined_causal`` are along the policy's way; ``stand``, ``rotate``
and ``random`` are the ``refined`` scores along theirs. As all agents play the same episodes, the differences
are also given episode by episode (``paired``), with much narrower intervals than the scores themselves have.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Mapping, Sequence

from audio_separation.errors import UserError
from audio_separation.evaluation.episodes import AGENTS
from audio_separation.evaluation.results import episode_mean, read_summary
from audio_separation.evaluation.scores import METRICS
from audio_separation.evaluation.stats import mean_ci
from audio_separation.evaluation.tables import markdown_table, score_rows, text_table

SCRIPTED_AGENTS = AGENTS[1:]


def find_result(model_dir: Path, name: str) -> Path:
    """The folder of results in ``model_dir/eval/<name>``: the best checkpoint's where there are several.

    Raises:
        UserError: naming the command, where there is none; or where it is unclear which one is meant.
    """
    found = sorted(p.parent for p in (model_dir / "eval" / name).glob("*/summary.json"))
    if not found:
        agent = name.rsplit("_", 1)[-1]
        raise UserError(
            f"{model_dir / 'eval' / name} holds no results; make them: python main.py --run-type eval "
            f"--exp-config configs/test/near_target.yaml --model-dir {model_dir} EVAL.AGENT {agent} "
            f"EVAL.NAME {name} (or near_target_unheard.yaml)"
        )
    if len(found) > 1:
        best = model_dir / "best.json"
        stem = Path(json.loads(best.read_text())["checkpoint"]).stem if best.is_file() else ""
        found = [path for path in found if path.name == stem] or found
    if len(found) > 1:
        raise UserError(
            f"{model_dir / 'eval' / name} holds results of {len(found)} checkpoints and none is that of "
            "best.json; keep one, or validate first"
        )
    return found[0]


def merge_agents(model_dir: Path, prefix: str) -> dict[str, Any]:
    """Merge ``model_dir/eval/<prefix>_{policy,stand,rotate,random}``.

    Returns:
        ``{methods: {method: {metric: {mean, ci95, n}}}, paired: {agent: {metric: ...}}, policy: summary}``;
        ``paired`` is the policy's refined score minus the scripted agent's.

    Raises:
        UserError: for missing results, or agents judged with other weights or on other episodes.
    """
    folders = {agent: find_result(model_dir, f"{prefix}_{agent}") for agent in AGENTS}
    summaries = {agent: read_summary(folder) for agent, folder in folders.items()}
    episodes = {agent: read_episodes(folder) for agent, folder in folders.items()}
    policy = summaries["policy"]
    for agent in SCRIPTED_AGENTS:
        if summaries[agent]["checkpoint_sha256"] != policy["checkpoint_sha256"]:
            raise UserError(
                f"{folders[agent]} is of checkpoint {summaries[agent]['checkpoint']}, {folders['policy']} of "
                f"{policy['checkpoint']}; evaluate both with the same EVAL.CHECKPOINT"
            )
        if _keys(episodes[agent]) != _keys(episodes["policy"]):
            raise UserError(
                f"{folders[agent]} and {folders['policy']} are of other episodes; evaluate both on the same "
                "DATA.SPLIT and DATA.MAX_EPISODES"
            )
    return {
        "methods": {**policy["methods"], **{a: summaries[a]["methods"]["refined"] for a in SCRIPTED_AGENTS}},
        "paired": {a: _paired(episodes["policy"], episodes[a]) for a in SCRIPTED_AGENTS},
        "policy": policy,
    }


def merge_splits(model_dir: Path, prefixes: Mapping[str, str]) -> dict[str, Any]:
    """Merge the agents of each split and say where the numbers come from.

    Args:
        prefixes: title -> prefix of the results' names, such as ``{"heard": "testHeard"}``.

    Returns:
        ``{title: {method: {metric: {mean, ci95, n}}}, ..., "paired": {title: ...}, "record": {...}}``.
    """
    merged = {title: merge_agents(model_dir, prefix) for title, prefix in prefixes.items()}
    policies = {title: result["policy"] for title, result in merged.items()}
    return {
        **{title: result["methods"] for title, result in merged.items()},
        "paired": {title: result["paired"] for title, result in merged.items()},
        "record": {
            title: {key: value for key, value in policy.items() if key != "methods"}
            for title, policy in policies.items()
        },
    }


def format_merged(merged: Mapping[str, Any], markdown: bool) -> str:
    """The tables of :func:`merge_splits`, as Markdown or as plain text."""
    table = markdown_table if markdown else text_table
    parts = []
    for title, record in merged["record"].items():
        head = f"{title}: {record['episodes']} episodes of {record['split']}, {record['checkpoint']}"
        rows = score_rows(merged[title])
        paired = score_rows(
            {f"policy - {agent}": scores for agent, scores in merged["paired"][title].items()}
        )
        paired[0][0] = "paired difference"
        parts += [f"### {head}" if markdown else head, table(rows), table(paired)]
    parts.append("Mean ± half width of the 95 % confidence interval over episodes.")
    return "\n\n".join(parts)


def read_episodes(folder: Path) -> list[dict[str, Any]]:
    """The records of ``episodes.json`` in a folder of results.

    Raises:
        UserError: where it is missing or damaged.
    """
    path = folder / "episodes.json"
    try:
        return json.loads(path.read_text())["episodes"]
    except (OSError, ValueError, KeyError):
        raise UserError(f"{path} is missing or damaged; delete {folder} and evaluate again") from None


def _keys(episodes: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    return [(record["scene"], record["episode_id"]) for record in episodes]


def _paired(
    first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    differences = {}
    for metric in METRICS:
        means = [
            [episode_mean(r["scores"]["refined"][metric]) for r in records] for records in (first, second)
        ]
        both = [a - b for a, b in zip(*means) if a is not None and b is not None]
        differences[metric] = mean_ci(both)._asdict()
    return differences
