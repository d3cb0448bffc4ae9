#!/usr/bin/env python3
"""Pack a SoundSpaces tree of WAV responses into one memory-mapped file a scene.

    python scripts/pack_rirs.py sound_spaces/binaural_rirs/mp3d

Writes <scene>.safetensors beside each <scene>/ folder; the WAV tree stays. Scenes that are packed already are
skipped, so a stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Iterator

import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from audio_separation.audio.packed_rirs import write_packed
from audio_separation.audio.rir_store import WavRirStore
from audio_separation.errors import UserError

Key = tuple[int, int, int]  # azimuth, receiver, source


def scene_keys(folder: Path) -> list[Key]:
    """The responses of ``<azimuth>/<receiver>_<source>.wav`` (or ``-``), in a fixed order."""
    keys = []
    for path in folder.glob("*/*.wav"):
        try:
            receiver, source = (int(part) for part in path.stem.replace("-", "_").split("_"))
            keys.append((int(path.parent.name), receiver, source))
        except ValueError:
            raise UserError(
                f"{path} is not named <azimuth>/<receiver>_<source>.wav; move it elsewhere"
            ) from None
    return sorted(keys)


def pack_scene(root: Path, scene: str, dtype: str, skip_broken: bool) -> tuple[str, int, list[str]]:
    """Pack one scene; returns its name, the number of responses packed and what was left out."""
    store = WavRirStore(root, resample=True)
    broken: list[str] = []

    def responses() -> Iterator[tuple[Key, np.ndarray]]:
        for key in scene_keys(root / scene):
            try:
                yield key, store.load(scene, *key)
            except UserError as error:
                if not skip_broken:
                    raise
                broken.append(str(error))

    keys = scene_keys(root / scene)
    write_packed(root / f"{scene}.safetensors", responses(), store.rate, dtype, {"source": "WAV tree"})
    return scene, len(keys) - len(broken), broken


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, help="binaural_rirs/<dataset>, with a folder a scene")
    parser.add_argument(
        "--dtype", choices=["float16", "float32"], default="float16", help="of the samples (float16)"
    )
    parser.add_argument(
        "--skip-broken", action="store_true", help="leave out unreadable responses, and list them"
    )
    parser.add_argument("--jobs", type=int, default=-1, help="processes (-1: one a core)")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Run and return the exit status."""
    args = parse_args(argv)
    try:
        folders = sorted(p.name for p in args.root.iterdir() if p.is_dir()) if args.root.is_dir() else []
        if not folders:
            raise UserError(
                f"{args.root} has no scene folders; give binaural_rirs/<dataset> of a SoundSpaces tree"
            )
        todo = [scene for scene in folders if not (args.root / f"{scene}.safetensors").exists()]
        print(f"{len(folders)} scenes, {len(folders) - len(todo)} packed already")
        jobs = (delayed(pack_scene)(args.root, scene, args.dtype, args.skip_broken) for scene in todo)
        results = Parallel(n_jobs=args.jobs, return_as="generator_unordered")(jobs)
        for scene, count, broken in tqdm(results, total=len(todo), desc="pack", unit="scene"):
            tqdm.write(f"{scene}: {count} responses" + (f", left out {len(broken)}:" if broken else ""))
            for line in broken:
                tqdm.write(f"  {line}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; run again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
