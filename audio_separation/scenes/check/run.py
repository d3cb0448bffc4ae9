"""From a data tree to a report: which tasks there are, running them, and what only all of them together tell."""

from __future__ import annotations

import shutil
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Iterator, NamedTuple, Optional, Sequence

import numpy as np
from tqdm import tqdm

from audio_separation.audio.clips import clip_folder
from audio_separation.audio.packed_rirs import pair_key
from audio_separation.errors import UserError
from audio_separation.scenes.check import episodes, passive, rir_packed, rir_tree, splits
from audio_separation.scenes.check.corpus import (
    BATCH,
    Clip,
    Corpus,
    check_clips,
    judge_clips,
    list_corpus,
    shared_clips,
    sounds_split,
)
from audio_separation.scenes.check.episodes import EpisodeFile, Sounds
from audio_separation.scenes.check.findings import FAULT, KINDS, Finding
from audio_separation.scenes.check.rir_tree import FileBatch
from audio_separation.scenes.check.scene import SceneScan, SceneTask, scan_index, scan_scene, usable_keys
from audio_separation.scenes.generate.parallel import run_tasks
from audio_separation.scenes.layout import DatasetPaths
from audio_separation.scenes.splits import known_splits


class Options(NamedTuple):
    """How to check.

    Attributes:
        scenes: names; None for all of the tree.
        quick: headers and lists only: no samples, no checksums, no values of depth.
        jobs: processes; -1 for one a core.
        backend: of joblib.
    """

    scenes: Optional[Sequence[str]] = None
    quick: bool = False
    jobs: int = -1
    backend: str = "loky"


@dataclass
class SceneReport:
    """What a scene holds.

    Attributes:
        scan: all but the samples of its responses; its sizes have them too.
        split: train, val or test; "" where nothing says it.
        rates: Hz -> number of WAV responses of that rate.
    """

    scan: SceneScan
    split: str
    rates: dict[int, int] = field(default_factory=dict)


@dataclass
class Report:
    """All that was found.

    Attributes:
        paths: of the dataset.
        quick: whether samples were left out.
        scenes: sorted by name.
        clips: split of the corpus -> its clips.
        classes: of the corpus; None where they are unknown.
        findings: sorted by kind, scene and place.
        free_bytes: left on the disk that holds ``sound_spaces``.
    """

    paths: DatasetPaths
    quick: bool
    scenes: list[SceneReport]
    clips: dict[str, list[Clip]]
    classes: Optional[list[str]]
    findings: list[Finding]
    free_bytes: int

    def count(self, severity: str, scene: Optional[str] = None) -> int:
        """Number of single faults or notes, of one scene if named: the items of every finding counted."""
        return sum(f.count for f in self.findings if f.severity == severity and scene in (None, f.scene))

    @property
    def sound(self) -> bool:
        """Whether there is no fault."""
        return not self.count(FAULT)


class _Plan(NamedTuple):
    """What there is to check, by the names of files and folders only."""

    paths: DatasetPaths
    options: Options
    names: list[str]
    split_of: dict[str, str]
    corpus: Corpus
    sounds: dict[str, Optional[Sounds]]  # split folder of the active dataset -> what its episodes may play
    passive_splits: tuple[str, ...]


def check_tree(paths: DatasetPaths, options: Options) -> Report:
    """Check everything of a dataset.

    Raises:
        UserError: nothing of the dataset is there, or not the scenes that were asked for.
    """
    plan, findings = _make_plan(paths, options)
    scans, episode_files, found = _scan(plan)
    findings += found
    reports = [SceneReport(scan, plan.split_of.get(scan.scene, "")) for scan in scans]
    clips, found = _read(plan, reports, episode_files)
    findings += found
    passive_files = [file for scan in scans for file in scan.passive]
    findings += splits.check_splits([*passive_files, *episode_files], plan.split_of)
    findings += splits.check_episode_sources(episode_files)
    findings += splits.check_passive_sources(passive_files)
    findings += splits.check_ids(episode_files)
    order = {kind: number for number, kind in enumerate(KINDS)}
    # the index of a split tells of scenes that were not asked for
    findings = [f for f in findings if not f.scene or f.scene in plan.names]
    findings.sort(key=lambda f: (order[f.kind], f.scene, f.where, f.what))
    free = shutil.disk_usage(paths.sound_spaces_root).free
    return Report(paths, options.quick, reports, clips, plan.corpus.classes, findings, free)


# ---- what there is -------------------------------------------------------------------------------------
def _make_plan(paths: DatasetPaths, options: Options) -> tuple[_Plan, list[Finding]]:
    for root, option in ((paths.data_root, "--data"), (paths.sound_spaces_root, "--sound-spaces")):
        if not root.is_dir():
            raise UserError(f"{root} is no folder; {option} names the folder that data/README.md describes")
    split_of: dict[str, str] = {}
    findings: list[Finding] = []
    try:
        split_of = {scene: name for name, scenes in known_splits(paths).items() for scene in scenes}
    except UserError as error:
        findings.append(Finding("splits-malformed", str(paths.metadata_root / "splits.json"), str(error)))
    names = scenes_of_tree(paths)
    listed = [] if paths.facts.splits else sorted(split_of)  # a splits.json lists what should be there
    names = sorted({*names, *listed})
    if options.scenes is not None:
        unknown = sorted(set(options.scenes) - set(names))
        if unknown:
            raise UserError(
                f"--scenes {unknown[0]}: no file below {paths.sound_spaces_root} or {paths.data_root} is of such "
                f"a scene of {paths.dataset}; there are {', '.join(names[:5]) or 'none'}"
                f"{', ...' if len(names) > 5 else ''}"
            )
        names = sorted(set(options.scenes))
    elif not names:
        raise UserError(
            f"nothing of dataset {paths.dataset} is below {paths.sound_spaces_root}, neither metadata nor "
            f"responses nor views; {paths.cure}"
        )
    corpus, found = list_corpus(paths.corpus_root)
    active = _folders(paths.active_root)
    findings += found + _missing_datasets(paths, active)
    sounds = {split: _sounds(corpus, split) for split in active}
    return _Plan(paths, options, names, split_of, corpus, sounds, _folders(paths.passive_root)), findings


def scenes_of_tree(paths: DatasetPaths) -> list[str]:
    """Sorted names of the scenes of which there is any file but a mesh."""
    names = {folder.name for folder in paths.metadata_root.glob("*") if folder.is_dir()}
    names |= {folder.name for folder in paths.rirs_root.glob("*") if folder.is_dir()}
    names |= {file.stem for file in paths.rirs_root.glob("*.safetensors")}
    views = paths.observations("any").parent
    names |= {file.stem for ending in ("pkl", "safetensors") for file in views.glob(f"*.{ending}")}
    names |= {file.stem for file in paths.passive_root.glob("*/*.pkl")}
    content = paths.active_root.glob("*/content/*.json.gz")
    names |= {file.name[: -len(".json.gz")] for file in content}
    return sorted(name for name in names if not name.startswith("."))


def _folders(root: Path) -> tuple[str, ...]:
    return tuple(sorted(folder.name for folder in root.glob("*") if folder.is_dir()))


def _missing_datasets(paths: DatasetPaths, active: Sequence[str]) -> list[Finding]:
    findings = []
    for kind, root, found in (
        ("passive-missing", paths.passive_root, _folders(paths.passive_root)),
        ("active-missing", paths.active_root, active),
    ):
        if not found:
            others = ", ".join(_folders(root.parent)) or "nothing"
            what = (
                f"no split in it; beside it: {others}"
                if root.is_dir()
                else f"no such folder; there: {others}"
            )
            findings.append(Finding(kind, str(root), what))
    return findings


def _sounds(corpus: Corpus, split: str) -> Optional[Sounds]:
    name = sounds_split(split)
    return Sounds(name, corpus.labels(name)) if name in corpus.clips else None


# ---- files that are read whole ---------------------------------------------------------------------------
def _scan(plan: _Plan) -> tuple[list[SceneScan], list[EpisodeFile], list[Finding]]:
    paths, quick = plan.paths, plan.options.quick
    # published splits list scenes that a user need not have; a splits.json of one's own lists those that there are
    listed = {} if paths.facts.splits else plan.split_of
    tasks: list[tuple] = [
        (scan_scene, SceneTask(paths, name, plan.passive_splits, listed.get(name, ""), plan.sounds, quick))
        for name in plan.names
    ]
    tasks += [
        (scan_index, paths, split, sounds)
        for split, sounds in plan.sounds.items()
        if (paths.active(split) / f"{split}.json.gz").is_file()
    ]
    with _running(tasks, len(tasks), "scenes and indices", "file", plan.options) as (results, bar):
        done = []
        for result in results:
            done.append(result)
            bar.update()
    scans: list[SceneScan] = done[: len(plan.names)]
    indices: list[tuple[EpisodeFile, list[Finding]]] = done[len(plan.names) :]
    files = [file for scan in scans for file in scan.episodes] + [file for file, _ in indices]
    findings = [finding for scan in scans for finding in scan.findings]
    findings += [finding for _, found in indices for finding in found]
    return scans, files, findings


@contextmanager
def _running(
    tasks: Any, total: int, title: str, unit: str, options: Options
) -> Iterator[tuple[Iterator[Any], tqdm]]:
    with tqdm(total=total, desc=title, unit=unit, leave=False) as bar:
        if total:
            with run_tasks(tasks, options.jobs, options.backend) as results:
                yield results, bar
        else:
            yield iter(()), bar


# ---- files of which there are many -------------------------------------------------------------------------
def _read(
    plan: _Plan, reports: list[SceneReport], episode_files: list[EpisodeFile]
) -> tuple[dict[str, list[Clip]], list[Finding]]:
    """Read responses and clips; the reports get rates and sizes."""
    total = sum(_num_responses(report.scan, plan.options.quick) for report in reports)
    total += sum(map(len, plan.corpus.clips.values()))
    findings: list[Finding] = []
    sources: dict[str, np.ndarray] = {}
    with _running(_tasks(plan, reports), total, "responses and clips", "file", plan.options) as (
        results,
        bar,
    ):
        for report in reports:
            lost = {
                "tree": _judge_tree(plan, report, results, bar, findings),
                "packed": _judge_packed(plan, report, results, bar, findings),
            }
            usable = usable_keys(report.scan, lost)
            if usable is not None:
                sources[report.scan.scene] = np.unique((usable >> 9) & 0x3FFFFF)
                for file in report.scan.passive:
                    findings += passive.check_responses(file, usable)
        clips = _judge_corpus(plan, results, bar, findings)
    for episode_file in episode_files:
        findings += episodes.check_sources(episode_file, sources)
    return clips, findings


def _num_responses(scan: SceneScan, quick: bool) -> int:
    packed = 0 if quick or scan.packed is None else scan.packed.rows
    return packed + sum(len(listing.receiver) for listing in scan.listings or ())


def _packed_path(plan: _Plan, scene: str) -> Path:
    return plan.paths.rirs_root / f"{scene}.safetensors"


def _row_batches(plan: _Plan, scan: SceneScan) -> list[tuple[int, int]]:
    if plan.options.quick or scan.packed is None:
        return []
    rows, step = scan.packed.rows, rir_packed.BATCH
    return [(begin, min(begin + step, rows)) for begin in range(0, rows, step)]


def _clip_batches(plan: _Plan) -> list[tuple[str, list[str]]]:
    return [
        (split, names[begin : begin + BATCH])
        for split, names in plan.corpus.clips.items()
        for begin in range(0, len(names), BATCH)
    ]


def _tasks(plan: _Plan, reports: list[SceneReport]) -> Iterator[tuple]:
    # made one by one as they are taken: a Matterport3D has ten thousand of them
    samples = not plan.options.quick
    for report in reports:
        for batch in rir_tree.batches(report.scan.listings or []):
            yield rir_tree.check_files, batch, samples
        for begin, end in _row_batches(plan, report.scan):
            yield rir_packed.check_rows, _packed_path(plan, report.scan.scene), begin, end
    for split, names in _clip_batches(plan):
        yield check_clips, clip_folder(plan.corpus.root, split), names, samples


def _judge_tree(
    plan: _Plan, report: SceneReport, results: Iterator[Any], bar: tqdm, findings: list[Finding]
) -> np.ndarray:
    """Take the results of a scene's WAV tree; returns ``pair_key`` of the responses that no store would load."""
    scan, lost = report.scan, [np.zeros(0, np.int64)]
    read: list[FileBatch] = []
    for listing in scan.listings or ():
        parts = []
        for part in islice(results, len(list(rir_tree.batches([listing])))):
            parts.append(part)
            bar.update(len(part.rate))
        read.append(rir_tree.joined(parts))
    rates = np.concatenate([np.zeros(0, np.int32), *(part.rate for part in read)])
    rate_hz = plan.paths.facts.rir_rate_hz or rir_tree.usual(rates)
    for listing, part in zip(scan.listings or (), read):
        found, unusable = rir_tree.judge_files(listing, part, rate_hz, scan.scene)
        findings += found
        lost.append(listing.keys[unusable])
    report.rates = dict(sorted(Counter(rates[rates > 0].tolist()).items()))
    if scan.listings is not None:
        scan.sizes["responses"] = sum(part.size for part in read)
    return np.concatenate(lost)


def _judge_packed(
    plan: _Plan, report: SceneReport, results: Iterator[Any], bar: tqdm, findings: list[Finding]
) -> np.ndarray:
    wrong = []
    for (begin, end), part in zip(_row_batches(plan, report.scan), results):
        wrong += part
        bar.update(end - begin)
    path = _packed_path(plan, report.scan.scene)
    findings += rir_packed.judge_rows(path, wrong, report.scan.scene)
    return np.array([pair_key(*pair) for pair, kind in wrong if kind != "rir-silent"], np.int64)


def _judge_corpus(
    plan: _Plan, results: Iterator[Any], bar: tqdm, findings: list[Finding]
) -> dict[str, list[Clip]]:
    clips: dict[str, list[Clip]] = {split: [] for split in plan.corpus.clips}
    for (split, names), part in zip(_clip_batches(plan), results):
        clips[split] += part
        bar.update(len(names))
    for split, found in clips.items():
        findings += judge_clips(clip_folder(plan.corpus.root, split), found)
    findings += shared_clips(plan.corpus.root, clips)
    return clips
