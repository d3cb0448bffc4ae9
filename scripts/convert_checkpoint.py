#!/usr/bin/env python3
"""Turn a published checkpoint (AAViDSS; the passive separators of Move2Hear too) into a model dir of ours.

    python scripts/convert_checkpoint.py near_target.pth --out runs/published
    python scripts/convert_checkpoint.py best_ckpt_nonoverlapping_val.pth --out runs/published_passive

Nothing in the file runs: it is read as data, the settings object in it too. An agent's folder is for
main.py --run-type eval --model-dir, one of passive separators for TRAIN.PASSIVE_CHECKPOINT.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Optional, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from audio_separation.command_line import run_script
from audio_separation.training.published import (
    AAVIDSS_CORPUS,
    KINDS,
    Conversion,
    check_target,
    convert,
    unlike_default,
    write_model_dir,
)


def report(conversion: Conversion) -> None:
    """Print what was read, the settings of its training, and what differs from our defaults."""
    source, numbers = conversion.source, sum(tensor.numel() for tensor in conversion.tensors.values())
    print(f"{source['file']}: {source['bytes'] / 1e6:.1f} MB, sha256 {source['sha256']}")
    what = "agent" if conversion.kind == "active" else "passive separators"
    print(
        f"{what}, {len(conversion.tensors)} tensors, {numbers / 1e6:.1f} million numbers, "
        f"{len(conversion.classes)} classes of {conversion.corpus or 'the given list'}"
    )
    if not conversion.published:
        print("it holds no settings; the paper's are recorded")
    for theirs, value, ours, taken in conversion.settings:
        shown = repr(value)[:60]
        print(f"  {theirs} {shown} -> {ours}" + ("" if taken else " (no value for it, left at the paper's)"))
    print("unlike our defaults:")
    for key, (value, default) in unlike_default(conversion.config).items():
        print(f"  {key} {value} (default: {default})")


def explain_use(conversion: Conversion, out: Path) -> None:
    """Print the command that uses the result on Matterport3D."""
    # the config files name the corpus of AAViDSS
    corpus = "" if conversion.corpus == AAVIDSS_CORPUS else f" DATA.CORPUS {conversion.corpus or '<corpus>'}"
    if conversion.kind == "active":
        print(
            "play it on Matterport3D:\n  python main.py --run-type eval --exp-config "
            f"configs/test/near_target_mp3d.yaml --model-dir {out}{corpus}"
        )
    else:
        print(
            "train an agent with it on Matterport3D:\n  python main.py --run-type train --exp-config "
            f"configs/train/near_target_mp3d.yaml --model-dir runs/near_mp3d TRAIN.PASSIVE_CHECKPOINT {out}{corpus}"
        )


def work(args: argparse.Namespace) -> None:
    """Convert, and say what was converted and how it is used."""
    check_target(args.out, args.overwrite)
    conversion = convert(args.checkpoint, args.kind, args.classes)
    report(conversion)
    print(f"written: {write_model_dir(conversion, args.out, args.overwrite)}")
    explain_use(conversion, args.out)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Convert; a user's mistake is one sentence and status 2."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help="published .pth file")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="model dir to write")
    parser.add_argument(
        "--kind",
        choices=KINDS,
        default="auto",
        help="auto (default): what the file is; passive also takes the separators out of an agent",
    )
    parser.add_argument(
        "--classes",
        type=Path,
        metavar="JSON",
        help="classes.json with the labels that it was trained with; none: those of the published corpus",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier conversion in --out")
    args = parser.parse_args(arguments)
    return run_script("convert_checkpoint", lambda: work(args))


if __name__ == "__main__":
    sys.exit(main())
