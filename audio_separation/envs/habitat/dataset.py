"""Our active datasets as a habitat-lab dataset."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import attr
import numpy as np
from habitat.config.default_structured_configs import DatasetConfig
from habitat.core.dataset import ALL_SCENES_MASK, Dataset, EpisodeIterator
from habitat.core.registry import registry
from habitat.core.utils import not_none_validator
from habitat.tasks.nav.nav import NavigationEpisode, NavigationGoal
from yacs.config import CfgNode

from audio_separation.envs.build import load_task_episodes, open_clips
from audio_separation.envs.habitat.settings import is_live, task_config
from audio_separation.errors import UserError
from audio_separation.scenes.episode_format import Episode, episode_to_json, parse_episode, scene_of
from audio_separation.scenes.episodes import validate_episodes
from audio_separation.scenes.graph import load_graph
from audio_separation.scenes.layout import paths_from_config


@dataclass
class AudioSeparationDatasetConfig(DatasetConfig):
    """Which episodes are played, on which data.

    ``exp_config`` and ``overrides`` are a YAML file and KEY VALUE words of our config tree, relative paths from the
    working directory; ``split`` is explained in :func:`settings.task_config`. ``images=False`` reads no pictures:
    for sound alone, without the rgb and depth sensors. ``content_scenes`` keeps the episodes of some scenes, as
    everywhere in habitat-lab. ``data_path`` and ``scenes_dir`` are not used: ``DATA.*``
    and ``DATASET`` of our tree say where the data lies.
    """

    type: str = "AudioSeparation-v1"
    split: str = ""
    exp_config: str = ""
    overrides: List[str] = field(default_factory=list)
    images: bool = True
    data_path: str = ""
    scenes_dir: str = ""


@attr.s(auto_attribs=True, kw_only=True)
class SoundSource(NavigationGoal):
    """Where a source stands: ``position`` at step 0, ``path`` one position, or one a step of a moving source."""

    path: List[List[float]] = attr.ib(default=None, validator=not_none_validator)


@attr.s(auto_attribs=True, kw_only=True)
class AudioSeparationEpisode(NavigationEpisode):
    """An episode of separation.

    ``info`` holds ``{"sound", "start_idx", "target_label"}`` of each source and ``sources`` where it stands, in the
    order of the published files: source 0 is the target. ``goals`` holds the target alone, so that habitat-lab's
    own sensors and measures of goals speak of the target.
    """

    info: List[Dict[str, Any]] = attr.ib(default=None, validator=not_none_validator)
    sources: List[SoundSource] = attr.ib(default=None, validator=not_none_validator)


def to_habitat(record: Episode) -> AudioSeparationEpisode:
    """Our record as habitat-lab's."""
    tree = episode_to_json(record, None)
    paths = [[list(point) for point in path] for path in record.source_paths]
    sources: List[Dict[str, Any]] = [{"position": path[0], "path": path} for path in paths]
    fields = {
        key: tree[key] for key in ("episode_id", "scene_id", "start_position", "start_rotation", "info")
    }
    fields["sources"] = [SoundSource(**source) for source in sources]
    fields["goals"] = [NavigationGoal(position=list(paths[0][0]))]
    return AudioSeparationEpisode(**fields)


def published_form(episode: AudioSeparationEpisode) -> dict:
    """The episode as the published JSON has it."""
    return {
        "episode_id": episode.episode_id,
        "scene_id": episode.scene_id,
        "start_position": list(episode.start_position),
        "start_rotation": list(episode.start_rotation),
        "info": episode.info,
        "goals": [{"position": s.path[0] if len(s.path) == 1 else s.path} for s in episode.sources],
    }


def from_habitat(episode: AudioSeparationEpisode, live: bool = False) -> Episode:
    """habitat-lab's record as ours; ``live``: its start may have any heading.

    Raises:
        UserError: for an episode whose start, sources or sounds are not of the published form.
    """
    return parse_episode(published_form(episode), Path("habitat episode"), 0, live)


def _validate(config: CfgNode, records: Sequence[Episode]) -> None:
    # as our own environments do: all episodes before the first step, not the bad one after hours
    paths = paths_from_config(config)
    clips = open_clips(config)
    graphs = {}
    for scene in sorted({record.scene for record in records}):
        graphs[scene] = load_graph(paths.require(paths.metadata(scene), f"metadata of scene {scene}"))
    try:
        validate_episodes(records, clips, graphs, is_live(config))
    except UserError as error:
        folder = paths.active(config.DATA.SPLIT)
        raise UserError(f"{folder}: {error} (corpus {clips.folder})") from None


@registry.register_dataset(name="AudioSeparation-v1")
class AudioSeparationDataset(Dataset[AudioSeparationEpisode]):
    """The episodes of ``DATA.ACTIVE_VERSION`` and ``DATA.SPLIT``, in the order of the files.

    Raises:
        UserError: for missing or broken data, or ``content_scenes`` without an episode.
    """

    def __init__(self, config: Optional[Any] = None):
        self.episodes: List[AudioSeparationEpisode] = []
        self._live = False
        if config is None:
            return
        settings = task_config(config)
        self._live = is_live(settings)
        records = load_task_episodes(settings)
        wanted = set(config.content_scenes)
        if ALL_SCENES_MASK not in wanted:
            scenes = sorted({record.scene for record in records})
            records = [record for record in records if record.scene in wanted]
            if not records:
                raise UserError(
                    f"habitat.dataset.content_scenes names {', '.join(sorted(wanted))}, but the episodes of split "
                    f"{settings.DATA.SPLIT} play in {', '.join(scenes)}; name some of these, or '*' for all"
                )
        _validate(settings, records)
        self.episodes = [to_habitat(record) for record in records]

    def get_episode_iterator(self, *args: Any, **kwargs: Any) -> EpisodeIterator:
        """habitat-lab's iterator, which takes a seed of 0 for none: the order would be another one each time."""
        if kwargs.get("seed") == 0:
            random.seed(0)
            np.random.seed(0)  # noqa: NPY002 - habitat-lab draws from the global generators
        return super().get_episode_iterator(*args, **kwargs)

    @classmethod
    def get_scenes_to_load(cls, config: Any) -> List[str]:
        """Names of the scenes with episodes, to be shared out among workers through ``content_scenes``."""
        return sorted({cls.scene_from_scene_path(episode.scene_id) for episode in cls(config).episodes})

    @staticmethod
    def scene_from_scene_path(scene_path: str) -> str:
        """Scene name of an episode's ``scene_id``."""
        return scene_of(scene_path)

    def to_json(self) -> str:
        """All episodes as one published ``<split>.json`` holds them."""
        return json.dumps({"episodes": [published_form(episode) for episode in self.episodes]})

    def from_json(self, json_str: str, scenes_dir: Optional[str] = None) -> None:
        """Add the episodes of a published ``<split>.json``; ``scenes_dir`` is not used."""
        trees = json.loads(json_str)["episodes"]
        self.episodes += [
            to_habitat(parse_episode(tree, Path("json_str"), number, self._live))
            for number, tree in enumerate(trees)
        ]
