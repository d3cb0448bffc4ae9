"""The published formats of episodes and passive points as JSON Schema, and what a schema cannot say.

The schemas lie in ``schemas/`` beside this module and describe every field; ``docs/episodes.md`` is the same for
people. Validating needs no scene: whether a position lies on the graph, or a clip is in the corpus, is
``episodes.validate_episodes``'s question.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Iterator, Sequence, Union

import numpy as np

from audio_separation.errors import UserError
from audio_separation.scenes.graph import quaternion_to_rotation

MAX_FAULTS = 20  # a file that is wrong throughout need not say so ten thousand times
SHOWN = 60  # characters of a value that a sentence shows


def schema_path(name: str) -> Path:
    """Return the file of a schema: ``active_episodes`` or ``passive_points``."""
    return Path(__file__).parent / "schemas" / f"{name}.schema.json"


def validate_active(tree: Any, limit: int = MAX_FAULTS) -> list[str]:
    """Return what is wrong with the JSON of an active dataset, a sentence a fault; empty where all is well.

    Args:
        tree: what ``json.loads`` gave of a ``<split>.json.gz`` or ``content/<scene>.json.gz``.
        limit: the most faults that are told; 0 for all.

    Each sentence begins with the JSON path, as ``$.episodes[3].info[0] lacks the key 'sound'``.
    """
    faults = _schema_faults("active_episodes", tree)
    # the other rules may rely on the form
    return _first(faults, limit) or _first(_episode_faults(tree["episodes"]), limit)


def validate_passive(tree: Any, limit: int = MAX_FAULTS) -> list[str]:
    """Return what is wrong with a file of passive points, a sentence a fault; empty where all is well.

    Args:
        tree: what ``unpickle.load_pickle`` gave of a ``<scene>.pkl``.
        limit: the most faults that are told; 0 for all.
    """
    faults = _schema_faults("passive_points", tree)
    return _first(faults, limit) or _first(_point_faults(tree), limit)


def _first(faults: Iterator[str], limit: int) -> list[str]:
    found: dict[str, None] = {}  # one value may break several rules at once: the same sentence
    for fault in faults:
        found[fault] = None
        if len(found) == limit:
            break
    return list(found)


@cache
def _schema(name: str) -> tuple[dict, Any]:
    """The schema as a tree, and its validator."""
    import jsonschema_rs

    tree = json.loads(schema_path(name).read_text(encoding="utf-8"))
    return tree, jsonschema_rs.validator_for(tree)


def _schema_faults(name: str, tree: Any) -> Iterator[str]:
    rules, validator = _schema(name)
    try:
        errors = list(validator.iter_errors(tree))
    except ValueError:  # a type that JSON has not
        tree = _plain(tree)
        try:
            errors = list(validator.iter_errors(tree))
        except ValueError as why:  # nested too deeply, for some versions
            yield f"$ should be {rules['title']}, found what cannot be examined ({why})"
            return
    for error in sorted(errors, key=lambda e: [str(step).rjust(9) for step in e.instance_path]):
        where, value = _locate(tree, error.instance_path)
        if error.schema_path[-1] == "required":
            yield f"{where} lacks the key '{error.kind.property}'"
        else:
            yield f"{where} should be {_title(rules, error.schema_path[:-1])}, found {_shown(value)}"


def _locate(tree: Any, path: Sequence[Union[str, int]]) -> tuple[str, Any]:
    """JSON path and value: the library's own value shows NaN as null, its path the key "03" as 3."""
    where, node = "$", tree
    for step in path:
        if isinstance(node, dict):
            step = next(k for k in node if k == step or (k.isdecimal() and int(k) == step))
            where += f".{step}"
        else:
            where += f"[{step}]"
        node = node[step]
    return where, node


def _plain(value: Any) -> Any:
    """The same as JSON has it: pickles of 2020 hold numpy's numbers, and arrays of them."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return _plain(value.tolist())
    return value if value is None or isinstance(value, (str, int, float)) else repr(value)


def _title(rules: dict, path: Sequence[Union[str, int]]) -> str:
    """Title of the nearest schema at or above ``path`` that has one."""
    node, title = rules, ""
    for step in path:
        # some versions of the library tell the way through a reference, others begin at what it refers to
        node = rules["$defs"][node["$ref"].rsplit("/", 1)[1]] if step == "$ref" else node[step]
        title = node.get("title", title) if isinstance(node, dict) else title
    return title or rules["title"]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _episode_faults(episodes: list[dict]) -> Iterator[str]:
    seen: dict[tuple[str, str], int] = {}
    for i, episode in enumerate(episodes):
        where = f"$.episodes[{i}]"
        if len(episode["info"]) != len(episode["goals"]):
            yield (
                f"{where} should list as many goals as info entries, one a source, found "
                f"{len(episode['goals'])} goals and {len(episode['info'])} info entries"
            )
        try:
            quaternion_to_rotation(episode["start_rotation"])
        except UserError as error:
            yield f"{where}.start_rotation: {error}"
        key = (str(episode["scene_id"]), str(episode["episode_id"]))
        if key in seen:
            first = f"$.episodes[{seen[key]}]"
            yield f"{where}.episode_id should be unique within its scene, found {key[1]!r} at {first} too"
        seen.setdefault(key, i)


def _point_faults(tree: dict[str, list[dict]]) -> Iterator[str]:
    for scene, points in tree.items():
        sources = len(points[0]["all_s"])
        for i, point in enumerate(points):
            if len(point["all_s"]) != sources:
                yield (
                    f"$.{scene}[{i}].all_s should list {sources} sources as the datapoints before it do, found "
                    f"{len(point['all_s'])}"
                )
