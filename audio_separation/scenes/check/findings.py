"""What a check finds, and the table of all kinds of it with their cures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, NamedTuple

from audio_separation.scenes.layout import DatasetPaths

FAULT, NOTE = "fault", "note"


class Kind(NamedTuple):
    """What all findings of a kind share.

    Attributes:
        severity: ``fault`` (something will fail, or be wrong without a word) or ``note`` (worth knowing).
        meaning: what one such thing is.
        cure: name of the cure in ``_CURES``, or the sentence itself.
    """

    severity: str
    meaning: str
    cure: str


# name -> (for data that was fetched or made by others, for homes); {}: see cure_of
_CURES = {
    "metadata": (
        "unpack the metadata archive of SoundSpaces (1 MB; sound_spaces/README.md) into {metadata} again",
        "delete {metadata}/<scene> and make that home again: {generate}",
    ),
    "rirs": (
        "fetch these responses again (sound_spaces/README.md; --json lists all names); where the archive itself is "
        "broken there, train with AUDIO.MISSING_RIR skip, which leaves such pairs out and counts them",
        "delete {metadata}/<scene>/home.json and make that home again: {generate}",
    ),
    "scenes": (
        "fetch the responses (sound_spaces/README.md), or use only the scenes that have them: --scenes here, "
        "DATA.SCENES present in training",
        "make these homes again: {generate}",
    ),
    "packed": (
        "pack the WAV tree again: python scripts/pack_rirs.py {rirs} --overwrite",
        "delete {metadata}/<scene>/home.json and make that home again: {generate}",
    ),
    "views": (
        "cache the views of these scenes again: python scripts/cache_observations.py --dataset {dataset} --scenes "
        "<scene> --overwrite",
        "delete {metadata}/<scene>/home.json and make that home again: {generate}",
    ),
    "clips": (
        "fetch the corpus again (data/README.md), or make one of your own recordings: "
        "python scripts/prepare_audio.py --help",
        "delete {corpus} and make it again: {generate}",
    ),
    "episodes": (
        "fetch the active dataset again (data/README.md), or draw another: python scripts/make_episodes.py "
        "--dataset {dataset} --corpus {corpus_name} --kind near --name <name>",
        "draw them again: {generate}",
    ),
    "passive": (
        "fetch the passive dataset again (data/README.md), or draw another: python scripts/make_episodes.py "
        "--dataset {dataset} --kind passive --name <name>",
        "draw them again: {generate}",
    ),
}

KINDS = {
    # ---- metadata
    "metadata-missing": Kind(FAULT, "scenes without a metadata folder", "metadata"),
    "points-missing": Kind(FAULT, "scenes without points.txt", "metadata"),
    "points-malformed": Kind(FAULT, "points.txt that cannot be read", "metadata"),
    "graph-missing": Kind(FAULT, "scenes without graph.pkl", "metadata"),
    "graph-unreadable": Kind(FAULT, "graphs that are truncated or corrupt", "metadata"),
    "graph-hostile": Kind(
        FAULT,
        "graphs whose pickle asks to run code (it was not run)",
        "delete the file, find out who put it there, and fetch it from its original source",
    ),
    "graph-mismatch": Kind(FAULT, "graphs that do not fit points.txt, or hold no graph", "metadata"),
    "graph-disconnected": Kind(
        NOTE,
        "scenes whose graph has several parts",
        "nothing to do: an agent stays in the part where it starts; episodes whose target it cannot reach are "
        "faults of their own",
    ),
    "graph-isolated": Kind(
        NOTE, "nodes without a neighbour", "nothing to do: an agent that starts there can only turn"
    ),
    "home-malformed": Kind(FAULT, "records of a home, home.json, that cannot be read", "metadata"),
    # ---- responses
    "rirs-absent": Kind(FAULT, "scenes without any response, neither WAV tree nor packed file", "scenes"),
    "rir-missing": Kind(FAULT, "responses that are not there", "rirs"),
    "rir-empty": Kind(FAULT, "files of 0 bytes, or without a sample", "rirs"),
    "rir-truncated": Kind(FAULT, "files that end before what their header promises", "rirs"),
    "rir-not-wav": Kind(FAULT, "files that are no WAV files", "rirs"),
    "rir-corrupt": Kind(FAULT, "files whose samples cannot be decoded", "rirs"),
    "rir-unreadable": Kind(
        FAULT,
        "files that the system does not let read",
        "give yourself the right to read them (chmod -R u+rX), mend broken links, or copy them again",
    ),
    "rir-channels": Kind(FAULT, "responses that are not stereo", "rirs"),
    "rir-rate": Kind(
        FAULT,
        "responses of another rate than their dataset's, or than most of their scene",
        "these files belong to another dataset or were converted: fetch them again",
    ),
    "rir-not-finite": Kind(FAULT, "responses with samples that are NaN or infinite", "rirs"),
    "rir-silent": Kind(FAULT, "responses that are zero throughout: the source would not be heard", "rirs"),
    "rir-name": Kind(
        FAULT,
        "WAV files not named <azimuth>/<receiver>_<source>.wav",
        "rename or remove them: scripts/pack_rirs.py stops at them",
    ),
    "rir-twice": Kind(
        FAULT,
        "pairs with two files, <receiver>_<source>.wav and <receiver>-<source>.wav",
        "remove one of the two: only the one with _ is read, and scripts/pack_rirs.py stops at them",
    ),
    "rir-separators": Kind(
        NOTE, "scenes with both separators, _ and -, in their names", "nothing to do: both are read"
    ),
    "rir-foreign": Kind(
        NOTE,
        "responses of nodes that the graph does not have",
        "nothing to do: they are never read (published archives may hold some); removing them saves room",
    ),
    "rir-stray": Kind(
        NOTE, "other files and folders among the responses", "remove what is left of an interrupted copy"
    ),
    "rirs-both": Kind(
        NOTE,
        "scenes that have a packed file and a WAV tree: AUDIO.RIR_STORE auto reads the packed file",
        "nothing to do; removing one of the two saves room",
    ),
    "packed-corrupt": Kind(FAULT, "packed files that cannot be opened", "packed"),
    "packed-rate": Kind(FAULT, "packed files of another rate than 16000 Hz", "packed"),
    "packed-samples": Kind(
        FAULT, "packed responses that do not match their checksum, or are not finite", "packed"
    ),
    "packed-broken": Kind(
        FAULT,
        "pairs that were unreadable when the scene was packed",
        "fetch their WAV files again and run: python scripts/pack_rirs.py {rirs} --overwrite; or train with "
        "AUDIO.MISSING_RIR skip, which leaves such pairs out and counts them",
    ),
    "packed-missing": Kind(FAULT, "responses that a packed file does not hold", "packed"),
    "packed-old": Kind(
        NOTE,
        "packed files of version 1, which have no checksums",
        "nothing to do; to get checksums, where the WAV tree is there: python scripts/pack_rirs.py {rirs} --overwrite",
    ),
    # ---- views
    "views-absent": Kind(FAULT, "scenes without cached views", "views"),
    "views-unreadable": Kind(
        FAULT, "caches of views that are truncated, corrupt or of another form", "views"
    ),
    "views-hostile": Kind(
        FAULT,
        "caches of views whose pickle asks to run code (it was not run)",
        "delete the file, find out who put it there, and cache the views again",
    ),
    "view-missing": Kind(FAULT, "(node, rotation) without a view", "views"),
    "view-malformed": Kind(FAULT, "views of wrong shape or type", "views"),
    "view-size": Kind(FAULT, "views of another size than most of their scene", "views"),
    "view-depth": Kind(
        FAULT,
        "views with depth that is negative, not finite, or beyond 1 where the scene's is 0 to 1",
        "views",
    ),
    "view-foreign": Kind(FAULT, "views of no node of points.txt, or no rotation of the four", "views"),
    "view-unused": Kind(
        NOTE, "views of nodes that the graph does not have", "nothing to do: they are never looked at"
    ),
    "views-both": Kind(
        NOTE,
        "scenes that have their views in both forms: the memory-mapped file is read",
        "nothing to do; removing one of the two saves room",
    ),
    # ---- sounds
    "corpus-missing": Kind(FAULT, "corpora, or splits of one, without a folder or a clip", "clips"),
    "classes-malformed": Kind(
        FAULT,
        "lists of classes that cannot be read",
        'write {{"classes": [name, ...], "distractor_only": [name, ...]}} to classes.json in the order of the labels '
        "(data/README.md), or delete it",
    ),
    "clip-unreadable": Kind(FAULT, "clips that are empty, truncated, corrupt or no WAV files", "clips"),
    "clip-rate": Kind(FAULT, "clips of another rate than 16000 Hz", "clips"),
    "clip-channels": Kind(FAULT, "clips that are not mono", "clips"),
    "clip-coding": Kind(FAULT, "clips whose samples are not 16-bit integers", "clips"),
    "clip-short": Kind(FAULT, "clips of less than one second", "clips"),
    "clip-below-20s": Kind(
        NOTE, "clips of less than 20 s", "nothing to do: they begin again at their end, within an episode"
    ),
    "clip-silent": Kind(FAULT, "clips that are zero throughout", "clips"),
    "clip-class": Kind(
        FAULT,
        "clips of a class that the corpus does not list",
        "add the class to {corpus}/classes.json, or rename or remove the clip (the class is the text before the "
        "first _)",
    ),
    "clip-shared": Kind(
        FAULT,
        "clips that lie in two splits: what is scored as unheard has been heard",
        "remove them from one of the splits, and draw that split's episodes again",
    ),
    # ---- episodes
    "active-missing": Kind(FAULT, "active datasets without a split", "episodes"),
    "episodes-unreadable": Kind(FAULT, "files of episodes that are truncated or corrupt", "episodes"),
    "episode-malformed": Kind(FAULT, "episodes that do not have the published form", "episodes"),
    "episode-scene": Kind(FAULT, "episodes of another scene than their file's", "episodes"),
    "episode-off-graph": Kind(
        FAULT, "episodes that start, or have a source, where there is no node", "episodes"
    ),
    "episode-no-path": Kind(FAULT, "episodes whose target cannot be reached", "episodes"),
    "episode-rir": Kind(
        FAULT,
        "episodes with a source at a node from which there is no response at all",
        "fetch the responses of these nodes, or draw episodes that use other source nodes",
    ),
    "episode-sound": Kind(
        FAULT,
        "episodes that play a clip which their split of the corpus does not have",
        "use the corpus that the episodes were drawn with (DATA.CORPUS; --corpus here), or draw others for this one: "
        "python scripts/make_episodes.py --dataset {dataset} --corpus {corpus_name} --kind near --name <name>",
    ),
    "episode-label": Kind(
        FAULT,
        "episodes that label a clip otherwise than the corpus does",
        "give the corpus the order of classes that the episodes were drawn with, in {corpus}/classes.json "
        "(data/README.md; for AAViDSS configs/aavidss_classes.json)",
    ),
    "episode-distance": Kind(FAULT, "episodes whose stored distances are not those of the graph", "episodes"),
    "episode-twice": Kind(FAULT, "episodes that share their id with another of their scene", "episodes"),
    "episode-sources": Kind(
        FAULT,
        "episodes with another number of sources than most of their split",
        "keep them in another version of the dataset: a batch is rendered with one number of sources",
    ),
    "episode-split": Kind(
        FAULT,
        "episodes of a scene that belongs to another split: what is tested has been trained on",
        "remove the scene's file from that split, or draw the split again",
    ),
    # ---- datapoints
    "passive-missing": Kind(FAULT, "passive datasets, or scenes in them, without datapoints", "passive"),
    "passive-unreadable": Kind(
        FAULT, "files of datapoints that are truncated, corrupt or of another form", "passive"
    ),
    "passive-hostile": Kind(
        FAULT,
        "files of datapoints whose pickle asks to run code (it was not run)",
        "delete the file, find out who put it there, and fetch it from its original source",
    ),
    "passive-malformed": Kind(FAULT, "datapoints that do not have the published form", "passive"),
    "passive-off-graph": Kind(FAULT, "datapoints with a node that the graph does not have", "passive"),
    "passive-rir": Kind(
        FAULT,
        "datapoints that need a response which is missing or unreadable",
        "mend the responses (see above), or train with AUDIO.MISSING_RIR skip, which leaves such datapoints out",
    ),
    "passive-sources": Kind(
        FAULT,
        "datapoints with another number of sources than most of their split",
        "keep them in another version of the dataset: a split has one number of sources",
    ),
    "passive-split": Kind(
        FAULT,
        "datapoints of a scene that belongs to another split: what is tested has been trained on",
        "remove the scene's file from that split",
    ),
    # ---- scenes
    "splits-malformed": Kind(FAULT, "splits.json that cannot be read", "draw it again: {generate}"),
    "scene-split": Kind(
        FAULT,
        "scenes with episodes or datapoints in several of train, val and test",
        "decide which split each belongs to, and remove it from the others",
    ),
    "mesh-missing": Kind(
        NOTE,
        "scenes without a mesh: live rendering and caching views need it, nothing else",
        "see data/README.md where you need it",
    ),
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or several of a kind at one place.

    Attributes:
        kind: key of ``KINDS``.
        where: the file, or the folder that holds ``items``.
        what: what was found, in words.
        scene: scene name; "" where it concerns no scene.
        items: what is concerned within ``where``: names of files, episodes, nodes.
        count: how many; the number of items where there are any.
    """

    kind: str
    where: str
    what: str
    scene: str = ""
    items: tuple[str, ...] = ()
    count: int = 1

    @property
    def severity(self) -> str:
        """``fault`` or ``note``."""
        return KINDS[self.kind].severity


def of_items(kind: str, where: object, what: str, items: Iterable[object], scene: str = "") -> list[Finding]:
    """Return one finding on all ``items``, or none where there are none."""
    names = tuple(map(str, items))
    return [Finding(kind, str(where), what, scene, names, len(names))] if names else []


def cure_of(kind: str, paths: DatasetPaths) -> str:
    """Return what to do about findings of a kind: a command or a sentence."""
    cure = KINDS[kind].cure
    if cure in _CURES:
        cure = _CURES[cure][paths.dataset == "homes"]
    return cure.format(
        metadata=paths.metadata_root,
        rirs=paths.rirs_root,
        corpus=paths.corpus_root,
        corpus_name=paths.corpus,
        dataset=paths.dataset,
        generate=f"python scripts/generate_homes.py --out {paths.data_root.parent} (and the options of the first time)",
    )
