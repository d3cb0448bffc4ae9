"""Checks across the scenes: what belongs to which split, and what all files of a split must share."""

from __future__ import annotations

from typing import Iterable, Mapping, Sequence, Union

from audio_separation.scenes.check.episodes import EpisodeFile
from audio_separation.scenes.check.episodes import item as episode_item
from audio_separation.scenes.check.findings import Finding, of_items
from audio_separation.scenes.check.passive import PassiveFile
from audio_separation.scenes.splits import SPLITS


def _kind(split: str) -> str:
    return next((name for name in SPLITS if split.startswith(name)), "")


def check_splits(
    files: Iterable[Union[PassiveFile, EpisodeFile]], split_of: Mapping[str, str]
) -> list[Finding]:
    """Find files of scenes that belong to another split, and scenes in several where nothing says which is right.

    Args:
        files: of datapoints and episodes.
        split_of: scene -> ``train``, ``val`` or ``test``.
    """
    findings: list[Finding] = []
    seen: dict[str, dict[str, str]] = {}  # scene -> kind of split -> a file
    for file in files:
        kind = _kind(file.split)
        active = isinstance(file, EpisodeFile)
        scenes = (
            list(dict.fromkeys(s for s, _ in file.ids)) if isinstance(file, EpisodeFile) else [file.scene]
        )
        for scene in scenes if kind else []:
            if scene not in split_of:
                seen.setdefault(scene, {}).setdefault(kind, file.path)
            elif split_of[scene] != kind:
                count = sum(s == scene for s, _ in file.ids) if isinstance(file, EpisodeFile) else file.points
                what = f"{scene} belongs to {split_of[scene]}, not to {kind}"
                name = "episode-split" if active else "passive-split"
                findings.append(Finding(name, file.path, what, scene, count=count))
    for scene, kinds in sorted(seen.items()):
        if len(kinds) > 1:
            what = f"in {' and in '.join(kinds)}"
            findings.append(Finding("scene-split", next(iter(kinds.values())), what, scene))
    return findings


def check_episode_sources(files: Sequence[EpisodeFile]) -> list[Finding]:
    """Find the episodes of a split that have another number of sources than most of it."""
    findings: list[Finding] = []
    for split in sorted({file.split for file in files}):
        of_split = [file for file in files if file.split == split]
        counted: dict[int, int] = {}
        for file in of_split:
            for (_, number), ids in file.by_sources.items():
                counted[number] = counted.get(number, 0) + len(ids)
        usual = _most(counted)
        for file in of_split:
            for (scene, number), ids in sorted(file.by_sources.items()):
                if number != usual:
                    what = f"{number} sources, most of {split} {usual}"
                    findings += of_items("episode-sources", file.path, what, map(episode_item, ids), scene)
    return findings


def check_passive_sources(files: Sequence[PassiveFile]) -> list[Finding]:
    """Find the datapoints of a split that have another number of sources than most of it."""
    findings: list[Finding] = []
    for split in sorted({file.split for file in files}):
        of_split = [file for file in files if file.split == split]
        counted: dict[int, int] = {}
        for file in of_split:
            for number, rows in file.by_sources.items():
                counted[number] = counted.get(number, 0) + len(rows)
        usual = _most(counted)
        for file in of_split:
            for number, rows in sorted(file.by_sources.items()):
                if number != usual:
                    what = f"{number} sources, most of {split} {usual}"
                    items = [f"datapoint {row}" for row in rows]
                    findings += of_items("passive-sources", file.path, what, items, file.scene)
    return findings


def _most(counted: Mapping[int, int]) -> int:
    return min(counted, key=lambda number: (-counted[number], number), default=0)


def check_ids(files: Sequence[EpisodeFile]) -> list[Finding]:
    """Find the episodes whose scene and id another file of the same split has too."""
    findings: list[Finding] = []
    for split in sorted({file.split for file in files}):
        first: dict[tuple[str, str], str] = {}
        for file in (file for file in files if file.split == split):
            again = [key for key in dict.fromkeys(file.ids) if first.setdefault(key, file.path) != file.path]
            for scene in sorted({scene for scene, _ in again}):
                items = [episode_item(name) for s, name in again if s == scene]
                what = f"the same id in {first[scene, items[0].split(' ', 1)[1]]}"
                findings += of_items("episode-twice", file.path, what, items, scene)
    return findings
