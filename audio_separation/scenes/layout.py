"""Where everything lies on disk: the SoundSpaces and AAViDSS folder layout (DESIGN section 3)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from audio_separation.errors import UserError
from audio_separation.scenes.datasets import DatasetFacts, facts_of


@dataclass(frozen=True)
class DatasetPaths:
    """The folders of one dataset, one corpus and one version of the passive and active datasets.

    Attributes:
        data_root: ``data/``; holds audio_data, passive_datasets, active_datasets, scene_datasets.
        sound_spaces_root: ``sound_spaces/``; holds binaural_rirs, metadata, scene_observations.
        dataset: ``homes``, ``mp3d``, ``replica``, or the name of a dataset of one's own in the same layout.
        corpus: folder name of the mono sounds.
        passive_version: folder name of the passive dataset.
        active_version: folder name of the active dataset.
    """

    data_root: Path
    sound_spaces_root: Path
    dataset: str = "homes"
    corpus: str = "synthetic"
    passive_version: str = "homes_v1"
    active_version: str = "homes_near_v1"

    @property
    def facts(self) -> DatasetFacts:
        """Heights, rates, splits and names of the dataset."""
        return facts_of(self.dataset)

    @property
    def metadata_root(self) -> Path:
        return self.sound_spaces_root / "metadata" / self.dataset

    def metadata(self, scene: str) -> Path:
        """Folder of a scene's points.txt and graph.pkl."""
        return self.metadata_root / scene

    @property
    def rirs_root(self) -> Path:
        return self.sound_spaces_root / "binaural_rirs" / self.dataset

    def observations(self, scene: str) -> Path:
        """The scene's RGB-D cache."""
        return self.sound_spaces_root / "scene_observations" / self.dataset / f"{scene}.pkl"

    @property
    def corpus_root(self) -> Path:
        return self.data_root / "audio_data" / self.corpus

    @property
    def passive_root(self) -> Path:
        return self.data_root / "passive_datasets" / self.passive_version

    def passive(self, split: str) -> Path:
        return self.passive_root / split

    @property
    def active_root(self) -> Path:
        return self.data_root / "active_datasets" / self.active_version

    def active(self, split: str) -> Path:
        return self.active_root / split

    def mesh(self, scene: str) -> Path:
        """The scene's mesh: a .glb, or Replica's .ply."""
        return self.data_root / "scene_datasets" / self.dataset / self.facts.scene_id(scene)

    @property
    def cure(self) -> str:
        """What brings missing files of this dataset about."""
        if self.dataset == "homes":
            return (
                f"make it with: python scripts/generate_homes.py --preset mini --out {self.data_root.parent}"
            )
        return (
            "sound_spaces/README.md and data/README.md say where the real data is obtained and where it goes"
        )

    def require(self, path: Path, what: str, cure: Optional[str] = None) -> Path:
        """Return ``path`` if it exists.

        Raises:
            UserError: naming the path, what it should hold and the command that makes it.
        """
        if not path.exists():
            raise UserError(f"{what} not found at {path}; {cure or self.cure}")
        return path


def paths_from_config(config: Any) -> DatasetPaths:
    """Read ``DATASET`` and ``DATA.*`` of the config tree."""
    return DatasetPaths(
        data_root=Path(config.DATA.ROOT),
        sound_spaces_root=Path(config.DATA.SOUND_SPACES),
        dataset=config.DATASET,
        corpus=config.DATA.CORPUS,
        passive_version=config.DATA.PASSIVE_VERSION,
        active_version=config.DATA.ACTIVE_VERSION,
    )


def write_atomic(path: Path, data: bytes) -> None:
    """Write through a temporary file and a rename, so that an interrupted run leaves no half file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)
