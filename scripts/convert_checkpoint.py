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

from audio_separation.errors import UserError
from audio_separation.training.published import (
    KINDS,
    Conversion,
    check_target,
    convert,
    unlike_default,
    write_model_dir,
)


def report(conversion: Conversion) -> None:
    """Print what was read, the settings of its training, and what differs from our defaults."""
    numbers = sum(tensor.numel() for tensor in conversion.tensors.values())
    what = "agent" if conversion.kind == "active" else "passive separators"
    print(
        f"{conversion.source['file']}: {what}, {len(conversion.tensors)} tensors, {numbers / 1e6:.1f} million "
        f"numbers, {len(conversion.classes)} classes; sha256 {conversion.source['sha256']}"
    )
    if not conversion.published:
        print("it holds no settings; the paper's are recorded")
    for theirs, value, ours, taken in conversion.settings:
        shown = repr(value)[:60]
        print(
            f"  {theirs} {shown}: {ours}" + ("" if taken else " cannot take that value and keeps the paper's")
        )
    print("unlike our defaults:")
    for key, (value, default) in unlike_default(conversion.config).items():
        print(f"  {key} {value} (default: {default})")


def explain_use(conversion: Conversion, out: Path) -> None:
    """Print the command that uses the result."""
    data = "DATASET mp3d DATA.CORPUS <corpus>"
    print(f"the corpus must have these {len(conversion.classes)} classes, by label, in its classes.json")
    if conversion.kind == "active":
        print(
            "play it (the networks and AUDIO.MODE are taken from it; the published evaluation draws its actions: "
            "EVAL.DETERMINISTIC False):\n"
            f"  python main.py --run-type eval --exp-config configs/test/near_target.yaml --model-dir {out} \\\n"
            f"    {data} DATA.ACTIVE_VERSION <version> DATA.SPLIT <split>"
        )
    else:
        print(
            "train an agent on it:\n"
            "  python main.py --run-type train --exp-config configs/train/near_target.yaml --model-dir runs/near \\\n"
            f"    TRAIN.PASSIVE_CHECKPOINT {out} SEPARATOR.VARIANT paper MEMORY.OUTPUT direct AUDIO.MODE paper \\\n"
            f"    {data} DATA.ACTIVE_VERSION <version>"
        )


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Convert; a user's mistake is one sentence and status 2."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="published .pth file")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="model dir to write")
    parser.add_argument(
        "--kind", choices=KINDS, default="auto", help="passive also takes the separators out of an agent"
    )
    parser.add_argument(
        "--classes",
        type=Path,
        metavar="JSON",
        help="classes.json with the labels that it was trained with; none: those of AAViDSS",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier conversion in --out")
    args = parser.parse_args(arguments)
    try:
        check_target(args.out, args.overwrite)
        conversion = convert(args.checkpoint, args.kind, args.classes)
        report(conversion)
        print(f"written: {write_model_dir(conversion, args.out, args.overwrite)}")
        explain_use(conversion, args.out)
    except UserError as error:
        print(f"convert_checkpoint: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
