"""What differs between the datasets of scenes: heights, rates, splits and names.

``facts_of`` answers for every folder name. The published datasets are ``mp3d`` and ``replica`` (SoundSpaces 1.0,
Chen et al., ECCV 2020), the embedded one is ``homes``; any other name is a dataset of the user's own in the same
layout, whose splits are in its ``splits.json``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Mapping, Optional

CAMERA_HEIGHT_M = 1.25  # of the published views above the node: Habitat's default


@dataclass(frozen=True)
class DatasetFacts:
    """Facts of one dataset.

    Attributes:
        name: its folder in ``metadata/``, ``binaural_rirs/``, ``scene_observations/`` and ``scene_datasets/``.
        mic_height_m: of microphones and sources above the floor; ``points.txt`` lies at this height.
        rir_rate_hz: rate of the WAV tree of responses; None where any is possible.
        splits: ``train``, ``val`` and ``test`` -> names of their scenes, as published; empty where the dataset's
            ``splits.json`` says it.
        mesh: path of a scene's mesh below ``scene_datasets/<name>/``, with ``{scene}`` in it; episode files
            name scenes by it.
    """

    name: str
    mic_height_m: float = 1.5
    rir_rate_hz: Optional[int] = None
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    mesh: str = "{scene}/{scene}.glb"

    def scene_id(self, scene: str) -> str:
        """The scene as episode files name it: ``17DRP5sb8fy/17DRP5sb8fy.glb``."""
        return self.mesh.format(scene=scene)


# The 85 scenes of Matterport3D for which SoundSpaces has responses: SCENE_SPLITS of its mp3d_utils.py, with the
# test scenes. AAViDSS and Move2Hear train on 57 of the 59: their list (passive_trainer.py) leaves out
# i5noydFURQK and HxpKQynjfin; the validation scenes are the same.
_MP3D = {
    "train": """
        sT4fr6TAbpF E9uDoFAP3SH VzqfbhrpDEA kEZ7cmS4wCh 29hnd4uzFmX ac26ZMwG7aT i5noydFURQK s8pcmisQ38h
        rPc6DW4iMge EDJbREhghzL mJXqzFtmKg4 B6ByNegPMKs JeFG25nYj2p 82sE5b5pLXE D7N2EKCX4Sj 7y3sRwLe3Va
        HxpKQynjfin 5LpN3gDmAk7 gTV8FGcVJC9 ur6pFq6Qu1A qoiz87JEwZ2 PuKPg4mmafe VLzqgDo317F aayBHfsNo7d
        JmbYfDe2QKZ XcA2TqTSSAj 8WUmhLawc2A sKLMLpTHeUy r47D5H71a5s Uxmj2M2itWa Pm6F8kyY3z2 p5wJjkQkbXX
        759xd9YjKW5 JF19kD82Mey V2XKFyX4ASd 1LXtFkjw3qL 17DRP5sb8fy 5q7pvUzZiYa VVfe2KiqLaN Vvot9Ly1tCj
        ULsKaCPVFJR D7G3Y4RVNrH uNb9QFRL6hY ZMojNkEp431 2n8kARJN3HM vyrNrziPKCB e9zR4mvMWw7 r1Q1Z4BcV1o
        PX4nDJXEHrG YmJkqBEsHnH b8cTxDM8gDG GdvgFV5R1Z5 pRbA3pwrgk9 jh4fc5c5qoQ 1pXnuDYAj8r S9hNv5qa7GM
        VFuaQ6m2Qom cV4RVeZvu5T SN83YJsR3w2""",
    "val": """
        x8F5xyUWy9e QUCTc6BB5sX EU6Fwq7SyZv 2azQ1b91cZZ Z6MFQCViBuw pLe4wQe7qrG oLBMNvg9in8 X7HyMhZNoso
        zsNo4HB9uLZ TbHJrupSAjP 8194nk5LbLH""",
    "test": """
        pa4otMbVnkk yqstnuAEVhm 5ZKStnWn8Zo Vt2qJdWjCF2 wc2JMjhGNzB WYY7iVyf5p8 fzynW3qQPVF UwV83HsGsw3
        q9vSo1VnCiC ARNzJeq3xxb rqfALeAoiTq gYvKGZ5eRqb YFuZgdQ5vWj jtcxE69GiFV gxdoqLR6rwA""",
}
# Replica's 18 scenes. No separation dataset was published over them, and SoundSpaces tells its split only by the
# files of its navigation episodes. The test scenes are those that published work on depth from echoes
# uses, which has no validation scenes: one scene of each kind that has several is ours.
_REPLICA = {
    "train": """
        apartment_0 frl_apartment_0 frl_apartment_1 frl_apartment_2 frl_apartment_3 hotel_0 office_0 office_1
        office_2 room_0 room_1 room_2""",
    "val": "apartment_1 frl_apartment_4 office_3",
    "test": "apartment_2 frl_apartment_5 office_4",
}


def _table(splits: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    return {split: tuple(scenes.split()) for split, scenes in splits.items()}


PUBLISHED = {
    "mp3d": DatasetFacts("mp3d", rir_rate_hz=16000, splits=_table(_MP3D)),
    "replica": DatasetFacts(
        "replica",
        mic_height_m=1.5528907,
        rir_rate_hz=44100,
        splits=_table(_REPLICA),
        mesh="{scene}/habitat/mesh_semantic.ply",
    ),
}


def facts_of(dataset: str) -> DatasetFacts:
    """The facts of the dataset whose folders are named ``dataset``.

    Any name has an answer: a dataset that is not published has microphones at 1.5 m, meshes in
    ``<scene>/<scene>.glb`` and its splits in ``splits.json``.
    """
    if dataset == "homes":
        return DatasetFacts("homes", rir_rate_hz=16000)
    return PUBLISHED.get(dataset, DatasetFacts(dataset))
