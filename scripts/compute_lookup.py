"""Compute the lookup table of a synthesizer: every combination of its parameters, and how it sounds.

python scripts/compute_lookup.py --synth fm3
python scripts/compute_lookup.py --synth mine --backend pd --patch mine/synth.pd --params 4 --subdivisions 11

Parameters go from 0 to 1 in equal steps, both ends included. A row holds the mean descriptors of one sound. The table
is lookup_table.csv, as published, and lookup_table.json beside it. Interrupted, the same command goes on; the result
does not depend on --jobs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tqdm import tqdm

from audio_separation.command_line import run_script
from audio_separation.envs.synth.table import CSV_NAME
from audio_separation.envs.synth.table_jobs import TableJob, TableRun

TABLES = Path("data/synth/tables")


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line; the published spellings are other names of the same options."""
    defaults = TableJob("")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    text = "sine, fm3, fm4, granular, or the name of your own patch"
    add("--synth", "--SYNTH_NAME", required=True, metavar="NAME", help=text)
    text = "parameters; default: those of the synthesizer, needed for a patch of your own"
    add("--params", "--N_params", "--N_PARAMS", type=int, metavar="P", help=text)
    text = "values of each parameter (%(default)s)"
    add("--subdivisions", "--SUBDIV", type=int, default=defaults.subdivisions, metavar="N", help=text)
    text = "samples of a frame of the analysis (%(default)s)"
    add("--window", "--WINDOW_SIZE", type=int, default=defaults.window, metavar="N", help=text)
    text = "samples from frame to frame; default: half the window"
    add("--hop", type=int, metavar="N", help=text)
    add("--seconds", type=float, default=defaults.seconds, help="of each sound (%(default)s)")
    add("--rate", type=int, default=defaults.rate_hz, metavar="HZ", help="of the sound (%(default)s)")
    text = "numpy: closed forms; pd: Pure Data (%(default)s)"
    add("--backend", choices=("numpy", "pd"), default=defaults.backend, help=text)
    add("--patch", type=Path, metavar="PD", help="your synth.pd, with --backend pd")
    add("--source", type=Path, metavar="WAV", help="sound that granular plays; default: a generated one")
    add("--out", type=Path, metavar="DIR", help=f"default: {TABLES}/<synth>")
    add("--jobs", type=int, default=-1, metavar="N", help="processes (-1: one a core)")
    add("--overwrite", action="store_true", help="replace a table that is there")
    return parser.parse_args(argv)


def work(args: argparse.Namespace) -> None:
    """Compute, or say that it is there."""
    job = TableJob(
        args.synth,
        args.params,
        args.subdivisions,
        args.seconds,
        args.rate,
        args.window,
        args.window // 2 if args.hop is None else args.hop,
        args.backend,
        str(args.patch) if args.patch else None,
        str(args.source) if args.source else None,
    )
    folder = args.out or TABLES / args.synth
    run = TableRun(job, folder, args.overwrite)
    if run.kept is not None:
        print(f"{folder / CSV_NAME}: finished before, kept")
        return
    with tqdm(total=run.rows, unit="row", disable=None) as bar:
        for rows in run.compute(args.jobs):
            bar.update(rows)
    table = run.finish()
    print(f"{folder / CSV_NAME}: {run.rows} rows of {table.num_params} parameters, hash {table.hash[:12]}")


def main(argv: list[str]) -> int:
    """Run and return the exit status."""
    args = parse_arguments(argv)
    return run_script("compute_lookup", lambda: work(args))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
