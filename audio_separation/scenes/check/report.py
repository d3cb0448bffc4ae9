"""A report as text for people and as JSON for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterator, Sequence

from audio_separation.errors import UserError
from audio_separation.scenes.check.findings import FAULT, KINDS, NOTE, Finding, cure_of
from audio_separation.scenes.check.run import Report, SceneReport

FORMAT, VERSION = "audio_separation/check_data", 1
SHOWN = 3  # places named under a kind of finding
PARTS = {  # key of SceneScan.sizes -> heading
    "metadata": "metadata",
    "responses": "RIRs",
    "packed": "packed RIRs",
    "views": "views",
    "passive": "datapoints",
    "episodes": "episodes",
    "mesh": "mesh",
}


def size(num_bytes: int) -> str:
    """``867 GB``, ``1.5 MB``; 1 MB is 10^6 bytes."""
    value, unit = float(num_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"


# ---- text ------------------------------------------------------------------------------------------------
def text(report: Report) -> str:
    """A table of scenes, one of the corpus, the findings by kind with their cures, and the totals."""
    lines = [*_scene_table(report), "", *_corpus_table(report), ""]
    for severity, title in ((FAULT, "FAULTS"), (NOTE, "NOTES")):
        if report.count(severity):
            lines += [title, *_findings(report, severity), ""]
    return "\n".join([*lines, *_totals(report)])


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    # names to the left, numbers to the right
    return [
        "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths)))
        for row in rows
    ]


def _scene_table(report: Report) -> list[str]:
    heads = ("scene", "split", "nodes", "WAV RIRs", "size", "packed RIRs", "size", "views", "size")
    rows = [[*heads, "datapoints", "episodes", "faults", "notes"]]
    for scene in report.scenes:
        scan, sizes = scene.scan, scene.scan.sizes
        rows.append(
            [
                scan.scene,
                scene.split or "-",
                str(scan.nodes),
                str(_num_wavs(scene)),
                size(sizes.get("responses", 0)),
                str(scan.packed.rows if scan.packed else 0),
                size(sizes.get("packed", 0)),
                str(scan.views.views),
                size(sizes.get("views", 0)),
                str(sum(file.points for file in scan.passive)),
                str(sum(file.episodes for file in scan.episodes)),
                str(report.count(FAULT, scan.scene)),
                str(report.count(NOTE, scan.scene)),
            ]
        )
    # a dataset has a tree or packed files, seldom both
    used = [
        i
        for i in range(len(rows[0]))
        if i < 3 or i > 8 or any(row[i] not in ("0", "0 B") for row in rows[1:])
    ]
    return _aligned([[row[i] for i in used] for row in rows])


def _num_wavs(scene: SceneReport) -> int:
    return sum(len(listing.receiver) for listing in scene.scan.listings or ())


def _corpus_table(report: Report) -> list[str]:
    classes = "unknown classes" if report.classes is None else f"{len(report.classes)} classes"
    rows = [["sounds", "clips", "hours", "size"]]
    for split, clips in report.clips.items():
        hours = sum(clip.seconds for clip in clips) / 3600
        rows.append([split, str(len(clips)), f"{hours:.2f}", size(sum(clip.size for clip in clips))])
    return [f"corpus {report.paths.corpus}: {classes}", *_aligned(rows)]


def _findings(report: Report, severity: str) -> Iterator[str]:
    for kind in KINDS:
        of_kind = [f for f in report.findings if f.kind == kind and f.severity == severity]
        if not of_kind:
            continue
        count, scenes = sum(f.count for f in of_kind), {f.scene for f in of_kind if f.scene}
        spread = f" in {len(scenes)} scene{'s' if len(scenes) > 1 else ''}" if scenes else ""
        yield f"  {kind}: {count}{spread} - {KINDS[kind].meaning}"
        shown = 0
        for finding in of_kind[:SHOWN]:
            yield f"    {_place(finding)}"
            shown += finding.count
        if shown < count:
            yield f"    and {count - shown} more"
        yield f"    cure: {cure_of(kind, report.paths)}"


def _place(finding: Finding) -> str:
    items = ", ".join(finding.items[:SHOWN])
    more = finding.count - len(finding.items[:SHOWN])
    if items and more:
        items += f" and {more} more"
    elif not items and finding.count > 1:
        items = str(finding.count)
    # the errors of readers name the file themselves
    what = finding.what.removeprefix(f"{finding.where}: ")
    if what.startswith(f"{finding.where} "):
        what = "it" + what[len(finding.where) :]
    line = f"{finding.where}{': ' if items else ''}{items}: {what}"
    # names of files may hold anything, also what commands a terminal
    return "".join(c if c.isprintable() else "?" for c in line)


def _totals(report: Report) -> list[str]:
    paths = report.paths
    totals = {part: sum(scene.scan.sizes.get(part, 0) for scene in report.scenes) for part in PARTS}
    clips = sum(clip.size for found in report.clips.values() for clip in found)
    parts = [f"{title} {size(totals[part])}" for part, title in PARTS.items() if totals[part]]
    wavs = sum(map(_num_wavs, report.scenes))
    packed = sum(scene.scan.packed.rows for scene in report.scenes if scene.scan.packed)
    verdict = "no faults" if report.sound else f"{report.count(FAULT)} faults"
    published = sum(map(len, paths.facts.splits.values()))
    of = f" of the {published} of {paths.dataset}" if published else ""
    return [
        f"{len(report.scenes)} scenes{of}, {wavs} WAV responses, {packed} packed responses"
        + (" (samples not read: --quick)" if report.quick else ""),
        f"sizes: {', '.join([*parts, f'sounds {size(clips)}'])}; {size(report.free_bytes)} free",
        f"{verdict}, {report.count(NOTE)} notes",
    ]


# ---- JSON ------------------------------------------------------------------------------------------------
def check_output(path: Path) -> None:
    """See that a report may be written to ``path``: that nothing is there, or an earlier report.

    Raises:
        UserError: something else is there.
    """
    if not path.exists():
        return
    try:
        earlier = json.loads(path.read_bytes())
    except (OSError, ValueError):
        earlier = None
    if not isinstance(earlier, dict) or earlier.get("format") != FORMAT:
        raise UserError(
            f"--json {path}: something is there that is no report of this script; name another file"
        )


def tree(report: Report) -> dict[str, Any]:
    """Everything of a report as plain data, with all items of all findings."""
    paths = report.paths
    found = [kind for kind in KINDS if any(f.kind == kind for f in report.findings)]
    return {
        "format": FORMAT,
        "version": VERSION,
        "dataset": paths.dataset,
        "data": str(paths.data_root),
        "sound_spaces": str(paths.sound_spaces_root),
        "corpus": paths.corpus,
        "passive": paths.passive_version,
        "active": paths.active_version,
        "quick": report.quick,
        "sound": report.sound,
        "faults": report.count(FAULT),
        "notes": report.count(NOTE),
        "free_bytes": report.free_bytes,
        "scenes": {scene.scan.scene: _scene(report, scene) for scene in report.scenes},
        "sounds": {
            split: {
                "clips": len(clips),
                "seconds": round(sum(clip.seconds for clip in clips), 3),
                "bytes": sum(clip.size for clip in clips),
            }
            for split, clips in report.clips.items()
        },
        "kinds": {kind: _kind(report, kind) for kind in found},
        "findings": [_finding(finding) for finding in report.findings],
    }


def _kind(report: Report, kind: str) -> dict[str, Any]:
    return {
        "severity": KINDS[kind].severity,
        "meaning": KINDS[kind].meaning,
        "cure": cure_of(kind, report.paths),
        "count": sum(f.count for f in report.findings if f.kind == kind),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "severity": finding.severity,
        "scene": finding.scene,
        "where": finding.where,
        "what": finding.what,
        "items": list(finding.items),
        "count": finding.count,
    }


def _scene(report: Report, scene: SceneReport) -> dict[str, Any]:
    scan = scene.scan
    return {
        "split": scene.split,
        "nodes": scan.nodes,
        "edges": scan.edges,
        "wav_responses": _num_wavs(scene),
        "wav_rates_hz": {str(rate): count for rate, count in scene.rates.items()},
        "packed_responses": scan.packed.rows if scan.packed else 0,
        "views": scan.views.views,
        "view_pixels": list(scan.views.pixels),
        "depth_in_metres": scan.views.depth_in_metres,
        "datapoints": {file.split: file.points for file in scan.passive},
        "episodes": {file.split: file.episodes for file in scan.episodes},
        "bytes": {part: scan.sizes.get(part, 0) for part in PARTS},
        "faults": report.count(FAULT, scan.scene),
        "notes": report.count(NOTE, scan.scene),
    }
