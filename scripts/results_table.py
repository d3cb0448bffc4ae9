"""Gather results into rows with intervals, and make Markdown tables of them.

python scripts/results_table.py results/audition.json
python scripts/results_table.py rows.json --collect DQN=runs/oto0,runs/oto1,runs/oto2 random=runs/random
python scripts/results_table.py rows.json --collect DQN=runs/oto0,runs/oto1,runs/oto2 --figure docs/curves.png

The results are those of main.py --run-type eval on the tasks audition, synth and step_signal.

A method is a name and the model dirs (or folders of results) of its seeds. Its interval is, from three seeds on,
Student's t over the seeds' means, else over all episodes. Rows of the same task, split, method and metric are
replaced, others stay. Without --collect the tables of the file are printed. --figure draws the validations of the
collected methods over their training, for those that were trained.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from audio_separation.command_line import run_script
from audio_separation.errors import UserError
from audio_separation.evaluation.families import FAMILIES
from audio_separation.evaluation.figures import methods_figure, save_png
from audio_separation.evaluation.rows import (
    collect_rows,
    format_tables,
    merge_rows,
    parse_method,
    read_rows,
)
from audio_separation.training.logging import read_metrics
from audio_separation.training.run_dir import write_json, writing


def draw_validations(methods: list[tuple[str, list[Path]]], path: Path) -> None:
    """Draw the validations of those methods whose folders are model dirs with records of a training."""
    trained = {name: [d / "metrics.jsonl" for d in dirs] for name, dirs in methods}
    curves = {n: [read_metrics(p) for p in ps] for n, ps in trained.items() if all(p.exists() for p in ps)}
    if not curves:
        raise UserError(
            "--figure has nothing to draw: no collected folder holds the metrics.jsonl of a training"
        )
    with writing(path):
        panels = {key: panel for family in FAMILIES.values() for key, panel in family.curves.items()}
        save_png(methods_figure(curves, panels), path)


def work(args: argparse.Namespace) -> None:
    """Collect, where that is asked for, and print."""
    if args.collect:
        methods = [parse_method(words) for words in args.collect]
        new = collect_rows(methods, args.task)
        if args.figure:
            draw_validations(methods, args.figure)
        rows = merge_rows(read_rows(args.file) if args.file.exists() else [], new)
        with writing(args.file):
            args.file.parent.mkdir(parents=True, exist_ok=True)
            write_json(args.file, rows)
    else:
        rows = read_rows(args.file)
    print(format_tables(rows))


def main(argv: list[str]) -> int:
    """Run and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    text = "a method and the model dirs of its seeds"
    parser.add_argument("--collect", nargs="+", metavar="NAME=DIR,DIR", default=[], help=text)
    text = "name of the task in the rows; default: that of the experiment file"
    parser.add_argument("--task", metavar="NAME", help=text)
    parser.add_argument("file", type=Path, metavar="JSON", help="file of rows")
    text = "also draw the validations of the collected methods"
    parser.add_argument("--figure", type=Path, metavar="PNG", help=text)
    args = parser.parse_args(argv)
    return run_script("results_table", lambda: work(args), "nothing was written")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
