"""The published formats of episodes and passive points as JSON Schema, and what a schema cannot say.

The schemas lie in ``schemas/`` beside this module and describe every field; ``docs/episodes.md`` is the same for
people. Validating needs no scene: whether a position lies on the graph, or a clip is in the corpus, is
``episodes.validate_episodes``'s question.
"""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any, Iterator

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
def _validator(name: str) -> Any:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    schema = json.loads(schema_path(name).read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    checker = Draft202012Validator.TYPE_CHECKER
    # pickles of 2020 hold numpy's numbers, and tuples or arrays of them
    for kind, extra in (("integer", np.integer), ("number", np.number), ("array", (tuple, np.ndarray))):
        checker = checker.redefine(kind, _either(checker, kind, extra))
    return extend(Draft202012Validator, type_checker=checker)(schema)


def _either(checker: Any, kind: str, extra: Any) -> Any:
    return lambda _, value: checker.is_type(value, kind) or isinstance(value, extra)


def _schema_faults(name: str, tree: Any) -> Iterator[str]:
    for error in _validator(name).iter_errors(tree):
        if error.validator == "required":
            missing = [key for key in error.validator_value if key not in error.instance]
            yield from (f"{error.json_path} lacks the key '{key}'" for key in missing)
        else:
            yield f"{error.json_path} should be {error.schema['title']}, found {_shown(error.instance)}"


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
        places = [("start_position", [episode["start_position"]])]
        places += [(f"goals[{s}].position", _points(g["position"])) for s, g in enumerate(episode["goals"])]
        for name, points in places:
            if not all(math.isfinite(value) for point in points for value in point):
                yield f"{where}.{name} should be finite numbers, found NaN or Infinity"
        key = (str(episode["scene_id"]), str(episode["episode_id"]))
        if key in seen:
            first = f"$.episodes[{seen[key]}]"
            yield f"{where}.episode_id should be unique within its scene, found {key[1]!r} at {first} too"
        seen.setdefault(key, i)


def _points(position: Any) -> list:
    return position if isinstance(position[0], (list, tuple)) else [position]


def _point_faults(tree: dict[str, list[dict]]) -> Iterator[str]:
    for scene, points in tree.items():
        sources = len(points[0]["all_s"])
        for i, point in enumerate(points):
            if len(point["all_s"]) != sources:
                yield (
                    f"$.{scene}[{i}].all_s should list {sources} sources as the datapoints before it do, found "
                    f"{len(point['all_s'])}"
                )
