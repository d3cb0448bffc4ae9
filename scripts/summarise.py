"""Merge the test results of the policy and the scripted agents into one JSON file and one table.

python scripts/summarise.py runs/near --out summary.json --table table.md

Reads runs/near/eval/testHeard_<agent> and testUnheard_<agent>; --heard and --unheard give other names, and
either may be left empty ("") where there are no such results.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from audio_separation.errors import UserError
from audio_separation.evaluation.merge import format_merged, merge_splits
from audio_separation.scenes.layout import write_atomic
from audio_separation.training.run_dir import write_json


def main(argv: list[str]) -> int:
    """Run and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "model_dir", type=Path, help="model dir with eval/<prefix>_{policy,stand,rotate,random}"
    )
    for title, prefix in (("heard", "testHeard"), ("unheard", "testUnheard")):
        text = f"prefix of the results on {title} sounds (%(default)s)"
        parser.add_argument(f"--{title}", metavar="PREFIX", default=prefix, help=text)
    parser.add_argument("--out", type=Path, metavar="JSON", help="write all numbers here")
    parser.add_argument("--table", type=Path, metavar="MD", help="write the tables here, as Markdown")
    args = parser.parse_args(argv)
    prefixes = {title: getattr(args, title) for title in ("heard", "unheard") if getattr(args, title)}
    if not prefixes:
        parser.error("--heard and --unheard are both empty: nothing to summarise")
    try:
        merged = merge_splits(args.model_dir, prefixes)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.out:
        write_json(args.out, merged)
    if args.table:
        write_atomic(args.table, (format_merged(merged, markdown=True) + "\n").encode())
    print(format_merged(merged, markdown=False))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
