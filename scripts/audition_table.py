"""Gather the results of audition tasks into rows with intervals, and make Markdown tables of them.

python scripts/audition_table.py --collect DQN=runs/oto0,runs/oto1,runs/oto2 random=runs/random
python scripts/audition_table.py

A method is a name and the model dirs (or folders of results) of its seeds. Its interval is, from three seeds on,
Student's t over the seeds' means, else over all episodes. Rows of the same task, split, method and metric are
replaced, others stay. Without --collect the tables of the file are printed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from audio_separation.errors import UserError
from audio_separation.evaluation.audition.table import (
    collect_rows,
    format_tables,
    merge_rows,
    parse_method,
    read_rows,
)
from audio_separation.training.run_dir import write_json, writing

DEFAULT = Path("results/audition.json")


def main(argv: list[str]) -> int:
    """Run and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    text = "a method and the model dirs of its seeds"
    parser.add_argument("--collect", nargs="+", metavar="NAME=DIR,DIR", default=[], help=text)
    text = "name of the task in the rows; default: that of the experiment file"
    parser.add_argument("--task", metavar="NAME", help=text)
    text = "file of rows (%(default)s)"
    parser.add_argument("--out", type=Path, metavar="JSON", default=DEFAULT, help=text)
    args = parser.parse_args(argv)
    try:
        if args.collect:
            new = collect_rows([parse_method(words) for words in args.collect], args.task)
            rows = merge_rows(read_rows(args.out) if args.out.exists() else [], new)
            with writing(args.out):
                args.out.parent.mkdir(parents=True, exist_ok=True)
                write_json(args.out, rows)
        else:
            rows = read_rows(args.out)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(format_tables(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
