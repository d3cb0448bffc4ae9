#!/usr/bin/env python3
"""Pack a SoundSpaces tree of WAV responses into one memory-mapped, checksummed file a scene.

    python scripts/pack_rirs.py sound_spaces/binaural_rirs/mp3d
    python scripts/pack_rirs.py sound_spaces/binaural_rirs/mp3d --verify

Writes <scene>.safetensors beside each <scene>/ folder, at 16 kHz (responses of Replica are resampled); the WAV
tree stays. A stopped run goes on where it was when it is started again; until a scene is done, its parts lie in
the hidden folder .<scene>.packing, so a scene takes up to twice its packed size for a while. Run one at a time on
a tree.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from audio_separation.audio.packed_rirs import DTYPES, PackedScene
from audio_separation.audio.packing import (
    Plan,
    join_parts,
    pack_part,
    plan_scene,
    prepare,
    remove_leftovers,
    tree_changed,
    unreadable_pairs,
    verify_rows,
    why_not_current,
)
from audio_separation.command_line import run_script
from audio_separation.errors import UserError
from audio_separation.scenes.datasets import facts_of
from audio_separation.scenes.generate.parallel import BACKENDS, run_tasks

VERIFY_ROWS = 8192  # responses a task
SHOWN = 3  # unreadable responses named in an error


def pack_tree(root: Path, args: argparse.Namespace) -> None:
    """Pack every scene of the tree that is not packed yet.

    Raises:
        UserError: no scenes; some responses cannot be read and ``--skip-broken`` is not given (the scenes
            without such responses are packed all the same); some packed files are kept that are outdated.
    """
    scenes = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not scenes:
        raise UserError(f"{root} has no scene folders; give binaural_rirs/<dataset> of a SoundSpaces tree")
    todo, kept = [], []
    for scene in scenes:
        reason = why_not_current(root / f"{scene}.safetensors", args.dtype)
        if reason is None or (args.overwrite and (reason or tree_changed(root, scene, args.dtype))):
            todo.append(scene)
        elif reason:
            kept.append(reason)
        else:
            remove_leftovers(root, scene)
    print(f"{len(scenes)} scenes, {len(scenes) - len(todo) - len(kept)} packed already")
    unreadable: list[str] = []
    totals = {"responses": 0, "tree": 0, "packed": 0}
    for number, scene in enumerate(todo, 1):
        unreadable += _pack_scene(root, scene, f"{scene} ({number}/{len(todo)})", args, totals)
    if totals["packed"]:
        print(
            f"packed {totals['responses']} responses: {_size(totals['tree'])} of WAV files in "
            f"{_size(totals['packed'])}, {totals['packed'] / totals['tree']:.2f} of the bytes"
        )
    _complain(root, unreadable, kept)


def _complain(root: Path, unreadable: list[str], kept: list[str]) -> None:
    sentences = []
    if unreadable:
        more = f" and {len(unreadable) - SHOWN} more" if len(unreadable) > SHOWN else ""
        sentences.append(
            f"{len(unreadable)} responses under {root} cannot be read, their scenes are not packed: "
            f"{'; '.join(unreadable[:SHOWN])}{more}. Restore them, or give --skip-broken to list them in the "
            f"packed files instead, where loading them says so"
        )
    if kept:
        sentences.append(f"kept as they are, {'; '.join(kept)}: give --overwrite to pack them anew")
    if sentences:
        raise UserError(". ".join(sentences))


def _pack_scene(
    root: Path, scene: str, title: str, args: argparse.Namespace, totals: dict[str, int]
) -> list[str]:
    """Pack one scene and add to the totals; returns the unreadable responses that kept it from being packed."""
    plan = plan_scene(root, scene, args.dtype)
    _make_parts(root, scene, plan, title, args)
    broken = unreadable_pairs(plan)
    if broken and not args.skip_broken:
        return [f"{scene} azimuth {a}, receiver {r}, source {s}: {why}" for (a, r, s), why in broken.items()]
    metadata = join_parts(plan, args.dtype)
    responses = sum(len(part.pairs) for part in plan.parts) - len(broken)
    packed = plan.target.stat().st_size
    totals["responses"] += responses
    totals["tree"] += plan.tree_bytes
    totals["packed"] += packed
    exact = args.dtype == "float32"
    tqdm.write(
        f"{scene}: {responses} responses, {_size(packed)}, "
        + ("exact" if exact else f"error at most {metadata['worst_error_db']} dB")
        + f"; {metadata['unreadable']} unreadable, {metadata['missing']} missing"
    )
    for (azimuth, receiver, source), why in broken.items():
        tqdm.write(f"  azimuth {azimuth}, receiver {receiver}, source {source}: {why}")
    return []


def _make_parts(root: Path, scene: str, plan: Plan, title: str, args: argparse.Namespace) -> None:
    todo = prepare(plan)
    total = sum(len(part.pairs) for part in plan.parts)
    done = total - sum(len(part.pairs) for part in todo)
    rate_hz = facts_of(root.name).rir_rate_hz
    convert = None if rate_hz is None else (rate_hz,)  # a tree of one's own may have any rate
    tasks = [(pack_part, root, scene, part, args.dtype, convert) for part in todo]
    with tqdm(desc=title, total=total, initial=done, unit="rir", leave=False) as bar:
        if tasks:
            with run_tasks(tasks, args.jobs, args.backend) as counts:
                for count in counts:
                    bar.update(count)


def verify_tree(root: Path, args: argparse.Namespace) -> int:
    """Check every response of every packed file; returns the number of faults, each of which is printed."""
    paths = sorted(root.glob("*.safetensors"))
    if not paths:
        raise UserError(f"{root} has no packed files (<scene>.safetensors): pack it first")
    faults, tasks, responses = [], [], 0
    for path in paths:
        try:
            scene = PackedScene(path, None)
        except UserError as error:
            faults.append(str(error))
            continue
        if scene.metadata["version"] == "1":
            print(
                f"{path} is of version 1, which has no checksums: only whether its values are finite is seen"
            )
        responses += len(scene)
        tasks += [
            (verify_rows, path, begin, min(begin + VERIFY_ROWS, len(scene)))
            for begin in range(0, len(scene), VERIFY_ROWS)
        ]
    if tasks:
        with run_tasks(tasks, args.jobs, args.backend) as results:
            for found in tqdm(results, total=len(tasks), desc="verify", unit="task", leave=False):
                faults += found
    for fault in faults:
        print(fault)
    print(f"{responses} responses in {len(paths)} files, {len(faults)} faults")
    return len(faults)


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, help="binaural_rirs/<dataset>, with a folder a scene")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="check the packed files' checksums instead; status 1 if any is wrong",
    )
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        default="float16",
        help="float16 (default): half the bytes, error 66 dB or more below each response; float32: exact",
    )
    parser.add_argument(
        "--skip-broken",
        action="store_true",
        help="pack without unreadable responses, and list them in the file",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="pack anew what is of another version or dtype, damaged, or made from WAV files that changed since",
    )
    parser.add_argument("--jobs", type=int, default=-1, help="processes (-1: one a core)")
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default="loky",
        help="joblib backend: processes of this machine, or the Dask cluster at DASK_SCHEDULER_ADDRESS",
    )
    return parser.parse_args(argv)


def work(args: argparse.Namespace) -> int:
    """Pack or verify; status 1 where a packed file is damaged."""
    if not args.root.is_dir():
        raise UserError(f"{args.root} is missing; give binaural_rirs/<dataset> of a SoundSpaces tree")
    root = args.root.absolute()  # as processes elsewhere have another working directory
    if args.verify:
        return 1 if verify_tree(root, args) else 0
    pack_tree(root, args)
    return 0


def main(argv: list[str]) -> int:
    """Run and return the exit status."""
    args = parse_args(argv)
    return run_script("pack_rirs", lambda: work(args))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
